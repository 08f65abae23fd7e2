(* Written by proofs/layers.py from vipnp/layers (channel_branch); do not edit. *)
From Proofs Require Import Tactics.
From Statements Require Import linear_no_bias.
From Ops Require Import linear_no_bias.
Open Scope R_scope.
Opaque sum.

Definition channel_branch (B H W N S : nat)
    (x : nat -> nat -> nat -> nat -> nat -> R) (weight : nat -> nat -> nat -> nat -> R)
    : (nat -> nat -> nat -> nat -> nat -> R) * ((nat -> nat -> nat -> nat -> nat -> R) -> (nat -> nat -> nat -> nat -> nat -> R) * (nat -> nat -> nat -> nat -> R)) :=
  let y_linear_no_bias_1 : nat -> nat -> nat -> nat -> nat -> R := fst (linear_no_bias_segments B H W N S N S x weight) in
  (fun iB iH iW iN iS : nat => (y_linear_no_bias_1 iB iH iW iN iS),
   fun dy : nat -> nat -> nat -> nat -> nat -> R =>
     let d_linear_no_bias_1 : (nat -> nat -> nat -> nat -> nat -> R) * (nat -> nat -> nat -> nat -> R) := snd (linear_no_bias_segments B H W N S N S x weight) dy in
     (fun iB iH iW iN iS : nat => ((fst d_linear_no_bias_1) iB iH iW iN iS), fun iN iS iN' iS' : nat => ((snd d_linear_no_bias_1) iN iS iN' iS'))).

Definition channel_branch_is_correct : Prop :=
  forall (B H W N S : nat)
    (x : R -> nat -> nat -> nat -> nat -> nat -> R) (weight : R -> nat -> nat -> nat -> nat -> R)
    (u_x : nat -> nat -> nat -> nat -> nat -> R) (u_weight : nat -> nat -> nat -> nat -> R),
  (0 < B)%nat ->
  (0 < H)%nat ->
  (0 < W)%nat ->
  (0 < N)%nat ->
  (0 < S)%nat ->
  (forall iB iH iW iN iS, is_derive (fun t => x t iB iH iW iN iS) 0 (u_x iB iH iW iN iS)) ->
  (forall iN iS iN' iS', is_derive (fun t => weight t iN iS iN' iS') 0 (u_weight iN iS iN' iS')) ->
  exists v : nat -> nat -> nat -> nat -> nat -> R,
  (forall iB iH iW iN iS, is_derive (fun t => fst (channel_branch B H W N S (x t) (weight t)) iB iH iW iN iS) 0 (v iB iH iW iN iS)) /\
  forall dy : nat -> nat -> nat -> nat -> nat -> R,
  let g := snd (channel_branch B H W N S (x 0) (weight 0)) dy in
  (sum B (fun iB => (sum H (fun iH => (sum W (fun iW => (sum N (fun iN => (sum S (fun iS => dy iB iH iW iN iS * v iB iH iW iN iS)))))))))) =
  (sum B (fun iB => (sum H (fun iH => (sum W (fun iW => (sum N (fun iN => (sum S (fun iS => (fst g) iB iH iW iN iS * u_x iB iH iW iN iS)))))))))) +
  (sum N (fun iN => (sum S (fun iS => (sum N (fun iN' => (sum S (fun iS' => (snd g) iN iS iN' iS' * u_weight iN iS iN' iS')))))))).

Theorem channel_branch_correct : channel_branch_is_correct.
Proof.
  cbv beta delta [channel_branch_is_correct channel_branch].
  generalize linear_no_bias_segments_correct; cbv delta [linear_no_bias_segments_is_correct]; generalize linear_no_bias_segments; intros linear_no_bias_segments C_linear_no_bias_segments.
  intros B H W N S x weight u_x u_weight P_B P_H P_W P_N P_S D_x D_weight.
  pose (y_linear_no_bias_1 := fun t => fst (linear_no_bias_segments B H W N S N S (x t) (weight t))).
  destruct (C_linear_no_bias_segments B H W N S N S (fun t => (x t)) (fun t => (weight t)) u_x u_weight P_B P_H P_W P_N P_S P_N P_S D_x D_weight)
    as [u_y_linear_no_bias_1 [D_y_linear_no_bias_1 A_y_linear_no_bias_1]].
  change (forall iB iH iW iN iS, is_derive (fun t => y_linear_no_bias_1 t iB iH iW iN iS) 0 (u_y_linear_no_bias_1 iB iH iW iN iS)) in D_y_linear_no_bias_1.
  exists u_y_linear_no_bias_1. split; [exact D_y_linear_no_bias_1 | intros dy g].
  pose (d_linear_no_bias_1 := snd (linear_no_bias_segments B H W N S N S (x 0) (weight 0)) dy).
  assert (E_linear_no_bias_1 : (sum B (fun iB => (sum H (fun iH => (sum W (fun iW => (sum N (fun iN => (sum S (fun iS => dy iB iH iW iN iS * u_y_linear_no_bias_1 iB iH iW iN iS)))))))))) = (sum B (fun iB => (sum H (fun iH => (sum W (fun iW => (sum N (fun iN => (sum S (fun iS => (fst d_linear_no_bias_1) iB iH iW iN iS * u_x iB iH iW iN iS)))))))))) + (sum N (fun iN => (sum S (fun iS => (sum N (fun iN' => (sum S (fun iS' => (snd d_linear_no_bias_1) iN iS iN' iS' * u_weight iN iS iN' iS'))))))))) by exact (A_y_linear_no_bias_1 dy).
  assert (G : g = ((fst d_linear_no_bias_1), (snd d_linear_no_bias_1))) by reflexivity.
  clearbody g; subst g; clearbody d_linear_no_bias_1; cbn [fst snd].
  cbv beta in *.
  spread. lra.
Qed.
