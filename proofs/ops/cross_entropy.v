From Proofs Require Import Tactics.
From Statements Require Import cross_entropy soft_cross_entropy.
From Ops Require Import soft_cross_entropy.

(** The source calls soft_cross_entropy, whose theorem holds for any targets. *)
Theorem cross_entropy_correct : cross_entropy_is_correct.
Proof.
  intros B K label_smoothing labels logits u_logits HB HK _ M.
  exact (soft_cross_entropy_correct B K
    (fun b k => (if Nat.eqb (labels b) k then 1 else 0) * (1 - label_smoothing) + label_smoothing / INR K)
    logits u_logits HB HK M).
Qed.
