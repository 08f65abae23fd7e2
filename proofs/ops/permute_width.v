From Proofs Require Import Tactics.
From Statements Require Import permute_width.

Theorem permute_width_value :
  forall B H W N S x b h n w s,
  fst (permute_width B H W N S x) b h n w s =
    x b h w n s.
Proof. intros. reflexivity. Qed.

Theorem permute_width_correct : permute_width_is_correct.
Proof. differentiate permute_width permute_width_is_correct. multilinear. Qed.
