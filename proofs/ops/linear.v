From Proofs Require Import Tactics.
From Statements Require Import linear.

Theorem linear_value :
  forall B H W C K x weight bias b h w k,
  fst (linear B H W C K x weight bias) b h w k =
    sum C (fun c => x b h w c * weight k c) + bias k.
Proof. intros. reflexivity. Qed.

Theorem linear_correct : linear_is_correct.
Proof. differentiate linear linear_is_correct. multilinear. Qed.

Theorem linear_rows_value :
  forall M C K x weight bias m k,
  fst (linear_rows M C K x weight bias) m k =
    sum C (fun c => x m c * weight k c) + bias k.
Proof. intros. reflexivity. Qed.

Theorem linear_rows_correct : linear_rows_is_correct.
Proof. differentiate linear_rows linear_rows_is_correct. multilinear. Qed.

Theorem linear_segments_correct : linear_segments_is_correct.
Proof. differentiate linear_segments linear_segments_is_correct. multilinear. Qed.

Theorem linear_from_segments_correct : linear_from_segments_is_correct.
Proof. differentiate linear_from_segments linear_from_segments_is_correct. multilinear. Qed.

Theorem linear_to_segments_correct : linear_to_segments_is_correct.
Proof. differentiate linear_to_segments linear_to_segments_is_correct. multilinear. Qed.

Theorem linear_from_segment_rows_correct : linear_from_segment_rows_is_correct.
Proof. differentiate linear_from_segment_rows linear_from_segment_rows_is_correct. multilinear. Qed.

Theorem linear_to_segment_rows_correct : linear_to_segment_rows_is_correct.
Proof. differentiate linear_to_segment_rows linear_to_segment_rows_is_correct. multilinear. Qed.
