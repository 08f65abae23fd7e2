From Proofs Require Import Tactics.
From Statements Require Import linear_no_bias.

Theorem linear_no_bias_value :
  forall B H W C K x weight b h w k,
  fst (linear_no_bias B H W C K x weight) b h w k =
    sum C (fun c => x b h w c * weight k c).
Proof. intros. reflexivity. Qed.

Theorem linear_no_bias_correct : linear_no_bias_is_correct.
Proof. differentiate linear_no_bias linear_no_bias_is_correct. multilinear. Qed.

Theorem linear_no_bias_rows_value :
  forall M C K x weight m k,
  fst (linear_no_bias_rows M C K x weight) m k =
    sum C (fun c => x m c * weight k c).
Proof. intros. reflexivity. Qed.

Theorem linear_no_bias_rows_correct : linear_no_bias_rows_is_correct.
Proof. differentiate linear_no_bias_rows linear_no_bias_rows_is_correct. multilinear. Qed.

Theorem linear_no_bias_segments_correct : linear_no_bias_segments_is_correct.
Proof. differentiate linear_no_bias_segments linear_no_bias_segments_is_correct. multilinear. Qed.

Theorem linear_no_bias_plane_correct : linear_no_bias_plane_is_correct.
Proof. differentiate linear_no_bias_plane linear_no_bias_plane_is_correct. multilinear. Qed.
