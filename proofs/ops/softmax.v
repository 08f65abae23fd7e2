From Proofs Require Import Tactics.
From Statements Require Import softmax.

Theorem softmax_value :
  forall B C K x b c k, (0 < K)%nat ->
  fst (softmax B C K x) b c k = exp (x b c k) / sum K (fun j => exp (x b c j)).
Proof. intros. unfold softmax; cbn. apply softmax_shift. assumption. Qed.

Theorem softmax_correct : softmax_is_correct.
Proof. differentiate softmax softmax_is_correct. by_rows 2. name_exp. polynomial. Qed.

Theorem softmax_rows_value :
  forall M K x m k, (0 < K)%nat ->
  fst (softmax_rows M K x) m k = exp (x m k) / sum K (fun j => exp (x m j)).
Proof. intros. unfold softmax_rows; cbn. apply softmax_shift. assumption. Qed.

Theorem softmax_rows_correct : softmax_rows_is_correct.
Proof. differentiate softmax_rows softmax_rows_is_correct. by_rows 1. name_exp. polynomial. Qed.
