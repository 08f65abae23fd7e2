From Proofs Require Import Tactics.
From Statements Require Import linear_no_bias.

Theorem linear_no_bias_correct : linear_no_bias_is_correct.
Proof. differentiate linear_no_bias linear_no_bias_is_correct. multilinear. Qed.

Theorem linear_no_bias_rows_correct : linear_no_bias_rows_is_correct.
Proof. differentiate linear_no_bias_rows linear_no_bias_rows_is_correct. multilinear. Qed.
