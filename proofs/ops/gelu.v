From Proofs Require Import Tactics.
From Statements Require Import gelu.

Theorem gelu_correct : gelu_is_correct.
Proof. differentiate gelu gelu_is_correct. multilinear. Qed.

Theorem gelu_rows_correct : gelu_rows_is_correct.
Proof. differentiate gelu_rows gelu_rows_is_correct. multilinear. Qed.
