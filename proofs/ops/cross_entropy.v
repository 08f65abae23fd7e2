From Proofs Require Import Tactics.
From Statements Require Import cross_entropy soft_cross_entropy.
From Ops Require Import soft_cross_entropy.

(** The source calls soft_cross_entropy, whose theorem holds for any targets. *)
Theorem cross_entropy_value :
  forall B K label_smoothing labels z, (0 < K)%nat ->
  let p b k := exp (z b k) / sum K (fun j => exp (z b j)) in
  let onehot b k := if Nat.eqb (labels b) k then 1 else 0 in
  fst (cross_entropy B K label_smoothing labels z) =
    - (1 / INR B) * sum B (fun b => sum K (fun k =>
      ((1 - label_smoothing) * onehot b k + label_smoothing / INR K) * ln (p b k))).
Proof.
  intros B K label_smoothing labels z P p onehot.
  transitivity (fst (soft_cross_entropy B K (fun b k => onehot b k * (1 - label_smoothing) + label_smoothing / INR K) z));
    [reflexivity|].
  rewrite soft_cross_entropy_value by exact P. f_equal.
  apply sum_ext; intros b _; apply sum_ext; intros k _. f_equal. ring.
Qed.

(** Without smoothing it is the mean of -log p of the labels. *)
Theorem cross_entropy_hard_value :
  forall B K labels z, (0 < K)%nat -> (forall b, (labels b < K)%nat) ->
  fst (cross_entropy B K 0 labels z) =
    - (1 / INR B) * sum B (fun b => ln (exp (z b (labels b)) / sum K (fun j => exp (z b j)))).
Proof.
  intros B K labels z P L. rewrite cross_entropy_value by exact P. f_equal. apply sum_ext; intros b _.
  rewrite <- (sum_delta K (labels b) (fun k => ln (exp (z b k) / sum K (fun j => exp (z b j))))) by apply L.
  apply sum_ext; intros k _. unfold Rdiv at 1. ring.
Qed.

Theorem cross_entropy_correct : cross_entropy_is_correct.
Proof.
  intros B K label_smoothing labels logits u_logits HB HK _ M.
  exact (soft_cross_entropy_correct B K
    (fun b k => (if Nat.eqb (labels b) k then 1 else 0) * (1 - label_smoothing) + label_smoothing / INR K)
    logits u_logits HB HK M).
Qed.
