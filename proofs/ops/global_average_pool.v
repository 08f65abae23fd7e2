From Proofs Require Import Tactics.
From Statements Require Import global_average_pool.

Theorem global_average_pool_correct : global_average_pool_is_correct.
Proof. differentiate global_average_pool global_average_pool_is_correct. multilinear. Qed.
