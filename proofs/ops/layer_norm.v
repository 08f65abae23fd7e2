From Proofs Require Import Tactics.
From Statements Require Import layer_norm.

(** What is left of a row without its mean adds up to nothing. *)
Lemma centred n f : (0 < n)%nat -> exists d : nat -> R,
  (forall c, f c - sum n f / INR n = d c) /\ sum n d = 0.
Proof.
  intros N. exists (fun c => f c - sum n f / INR n). split; [reflexivity|].
  unfold Rminus. rewrite sum_plus, sum_opp, sum_const. change (sum n (fun i => f i)) with (sum n f). field. positive.
Qed.

(** The row without its mean by a name: that it adds up to nothing is all that matters. *)
Ltac centre :=
  lazymatch goal with
  | |- context [sum ?n ?f / INR ?n] =>
      let d := fresh "d" in let E := fresh "E" in let Z := fresh "Z" in
      destruct (centred n f ltac:(size)) as [d [E Z]]; cbv beta in E; repeat setoid_rewrite E; clear E;
      repeat setoid_rewrite Rminus_0_l; repeat setoid_rewrite Rplus_0_r; monomials; pull; rewrite ?Z
  end.

Theorem layer_norm_value :
  forall B H W C eps x weight bias b h w c,
  let mean f := sum C f / INR C in
  let mu := mean (fun j => x b h w j) in
  let var := mean (fun j => (x b h w j - mu) * (x b h w j - mu)) in
  fst (layer_norm B H W C eps x weight bias) b h w c =
    weight c * ((x b h w c - mu) / sqrt (var + eps)) + bias c.
Proof. intros. unfold layer_norm, Rdiv; cbn. rewrite Rmult_1_l. reflexivity. Qed.

Theorem layer_norm_correct : layer_norm_is_correct.
Proof. differentiate layer_norm layer_norm_is_correct. by_rows 3. name_roots. centre. name_sums. algebra. Qed.

Theorem layer_norm_rows_value :
  forall M C eps x weight bias m c,
  let mean f := sum C f / INR C in
  let mu := mean (fun j => x m j) in
  let var := mean (fun j => (x m j - mu) * (x m j - mu)) in
  fst (layer_norm_rows M C eps x weight bias) m c =
    weight c * ((x m c - mu) / sqrt (var + eps)) + bias c.
Proof. intros. unfold layer_norm_rows, Rdiv; cbn. rewrite Rmult_1_l. reflexivity. Qed.

Theorem layer_norm_rows_correct : layer_norm_rows_is_correct.
Proof. differentiate layer_norm_rows layer_norm_rows_is_correct. by_rows 1. name_roots. centre. name_sums. algebra. Qed.

Theorem layer_norm_segments_correct : layer_norm_segments_is_correct.
Proof. differentiate layer_norm_segments layer_norm_segments_is_correct. one_row N S. by_rows 3. name_roots. centre. name_sums. algebra. Qed.
