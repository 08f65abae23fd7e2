From Proofs Require Import Tactics.
From Statements Require Import layer_norm.

Theorem layer_norm_correct : layer_norm_is_correct.
Proof. differentiate layer_norm layer_norm_is_correct. by_rows 3. name_roots. polynomial. Qed.

Theorem layer_norm_rows_correct : layer_norm_rows_is_correct.
Proof. differentiate layer_norm_rows layer_norm_rows_is_correct. by_rows 1. name_roots. polynomial. Qed.
