From Proofs Require Import Tactics.
From Statements Require Import residual.

Theorem residual_value :
  forall B H W C skip_lam x branch b h w c,
  fst (residual B H W C skip_lam x branch) b h w c =
    x b h w c + branch b h w c / skip_lam.
Proof. intros. reflexivity. Qed.

Theorem residual_correct : residual_is_correct.
Proof. differentiate residual residual_is_correct. multilinear. Qed.

Theorem residual_rows_value :
  forall M C skip_lam x branch m c,
  fst (residual_rows M C skip_lam x branch) m c =
    x m c + branch m c / skip_lam.
Proof. intros. reflexivity. Qed.

Theorem residual_rows_correct : residual_rows_is_correct.
Proof. differentiate residual_rows residual_rows_is_correct. multilinear. Qed.

Theorem residual_segments_correct : residual_segments_is_correct.
Proof. differentiate residual_segments residual_segments_is_correct. multilinear. Qed.
