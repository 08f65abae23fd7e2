From Proofs Require Import Tactics.
From Statements Require Import softmax.

Theorem softmax_correct : softmax_is_correct.
Proof. differentiate softmax softmax_is_correct. by_rows 2. name_exp. polynomial. Qed.

Theorem softmax_rows_correct : softmax_rows_is_correct.
Proof. differentiate softmax_rows softmax_rows_is_correct. by_rows 1. name_exp. polynomial. Qed.
