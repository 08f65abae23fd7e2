From Proofs Require Import Tactics.
From Statements Require Import permute_height.

Theorem permute_height_value :
  forall B H W N S x b n w h s,
  fst (permute_height B H W N S x) b n w h s =
    x b h w n s.
Proof. intros. reflexivity. Qed.

Theorem permute_height_correct : permute_height_is_correct.
Proof. differentiate permute_height permute_height_is_correct. multilinear. Qed.

Theorem permute_height_plane_correct : permute_height_plane_is_correct.
Proof. differentiate permute_height_plane permute_height_plane_is_correct. multilinear. Qed.
