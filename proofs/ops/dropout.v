From Proofs Require Import Tactics.
From Statements Require Import dropout.

Theorem dropout_value :
  forall B H W C mask rate x b h w c,
  fst (dropout B H W C mask rate x) b h w c =
    x b h w c * (mask b h w c / (1 - rate)).
Proof. intros. unfold dropout, Rdiv; cbn; ring. Qed.

Theorem dropout_correct : dropout_is_correct.
Proof. differentiate dropout dropout_is_correct. multilinear. Qed.

Theorem dropout_rows_value :
  forall M C mask rate x m c,
  fst (dropout_rows M C mask rate x) m c =
    x m c * (mask m c / (1 - rate)).
Proof. intros. unfold dropout_rows, Rdiv; cbn; ring. Qed.

Theorem dropout_rows_correct : dropout_rows_is_correct.
Proof. differentiate dropout_rows dropout_rows_is_correct. multilinear. Qed.

Theorem dropout_segments_correct : dropout_segments_is_correct.
Proof. differentiate dropout_segments dropout_segments_is_correct. multilinear. Qed.
