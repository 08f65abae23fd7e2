From Proofs Require Import Tactics.
From Statements Require Import soft_cross_entropy.

Theorem soft_cross_entropy_correct : soft_cross_entropy_is_correct.
Proof.
  differentiate soft_cross_entropy soft_cross_entropy_is_correct.
  rewrite <- sum_opp, push_div, push_l. by_rows 1. name_exp. polynomial.
Qed.
