From Proofs Require Import Tactics.
From Statements Require Import soft_cross_entropy.

(** The convention 0 log 0 = 0 changes nothing where the logarithm is a number. *)
Lemma zero_log t l : t * (if Req_EM_T t 0 then 0 else l) = t * l.
Proof. destruct (Req_EM_T t 0) as [->|_]; ring. Qed.

Lemma ln_quotient a s : 0 < s -> ln (exp a / s) = a - ln s.
Proof.
  intros P. unfold Rdiv. rewrite ln_mult, ln_Rinv, ln_exp; [ring | exact P | apply exp_pos | apply Rinv_0_lt_compat, P].
Qed.

Theorem soft_cross_entropy_value :
  forall B K targets z, (0 < K)%nat ->
  let p b k := exp (z b k) / sum K (fun j => exp (z b j)) in
  fst (soft_cross_entropy B K targets z) =
    - (1 / INR B) * sum B (fun b => sum K (fun k => targets b k * ln (p b k))).
Proof.
  intros B K targets z P p. unfold soft_cross_entropy; cbn. unfold Rdiv at 1.
  rewrite <- Ropp_mult_distr_l, Rmult_comm, Ropp_mult_distr_l. f_equal; [unfold Rdiv; ring|].
  apply sum_ext; intros b _; apply sum_ext; intros k _. rewrite zero_log. f_equal.
  rewrite log_softmax_shift by exact P. unfold p. symmetry. apply ln_quotient, sum_exp_pos, P.
Qed.

Theorem soft_cross_entropy_correct : soft_cross_entropy_is_correct.
Proof.
  differentiate soft_cross_entropy soft_cross_entropy_is_correct. repeat setoid_rewrite zero_log.
  rewrite <- sum_opp, push_div, push_l. by_rows 1. name_exp. polynomial.
Qed.
