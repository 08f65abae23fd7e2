From Proofs Require Import Tactics.
From Statements Require Import permute_width.

Theorem permute_width_correct : permute_width_is_correct.
Proof. differentiate permute_width permute_width_is_correct. multilinear. Qed.
