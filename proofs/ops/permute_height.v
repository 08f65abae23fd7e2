From Proofs Require Import Tactics.
From Statements Require Import permute_height.

Theorem permute_height_correct : permute_height_is_correct.
Proof. differentiate permute_height permute_height_is_correct. multilinear. Qed.
