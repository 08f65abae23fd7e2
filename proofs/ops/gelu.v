From Proofs Require Import Tactics.
From Statements Require Import gelu.

Theorem gelu_value :
  forall B H W C x b h w c,
  fst (gelu B H W C x) b h w c =
    x b h w c * Phi (x b h w c).
Proof. intros. reflexivity. Qed.

Theorem gelu_correct : gelu_is_correct.
Proof. differentiate gelu gelu_is_correct. multilinear. Qed.

Theorem gelu_rows_value :
  forall M C x m c,
  fst (gelu_rows M C x) m c =
    x m c * Phi (x m c).
Proof. intros. reflexivity. Qed.

Theorem gelu_rows_correct : gelu_rows_is_correct.
Proof. differentiate gelu_rows gelu_rows_is_correct. multilinear. Qed.
