From Proofs Require Import Tactics.
From Statements Require Import drop_path.

Theorem drop_path_correct : drop_path_is_correct.
Proof. differentiate drop_path drop_path_is_correct. multilinear. Qed.
