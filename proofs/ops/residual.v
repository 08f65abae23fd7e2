From Proofs Require Import Tactics.
From Statements Require Import residual.

Theorem residual_correct : residual_is_correct.
Proof. differentiate residual residual_is_correct. multilinear. Qed.

Theorem residual_rows_correct : residual_rows_is_correct.
Proof. differentiate residual_rows residual_rows_is_correct. multilinear. Qed.
