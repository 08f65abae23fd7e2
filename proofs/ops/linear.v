From Proofs Require Import Tactics.
From Statements Require Import linear.

Theorem linear_correct : linear_is_correct.
Proof. differentiate linear linear_is_correct. multilinear. Qed.

Theorem linear_rows_correct : linear_rows_is_correct.
Proof. differentiate linear_rows linear_rows_is_correct. multilinear. Qed.
