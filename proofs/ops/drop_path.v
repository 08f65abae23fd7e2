From Proofs Require Import Tactics.
From Statements Require Import drop_path.

Theorem drop_path_value :
  forall B H W C mask rate x b h w c,
  fst (drop_path B H W C mask rate x) b h w c =
    x b h w c * (mask b / (1 - rate)).
Proof. intros. reflexivity. Qed.

Theorem drop_path_correct : drop_path_is_correct.
Proof. differentiate drop_path drop_path_is_correct. multilinear. Qed.

Theorem drop_path_segments_correct : drop_path_segments_is_correct.
Proof. differentiate drop_path_segments drop_path_segments_is_correct. multilinear. Qed.
