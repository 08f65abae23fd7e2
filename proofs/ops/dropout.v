From Proofs Require Import Tactics.
From Statements Require Import dropout.

Theorem dropout_correct : dropout_is_correct.
Proof. differentiate dropout dropout_is_correct. multilinear. Qed.

Theorem dropout_rows_correct : dropout_rows_is_correct.
Proof. differentiate dropout_rows dropout_rows_is_correct. multilinear. Qed.
