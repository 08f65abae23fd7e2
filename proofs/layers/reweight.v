(* Written by proofs/layers.py from vipnp/layers (mlp); do not edit. *)
From Proofs Require Import Tactics.
From Statements Require Import linear gelu.
From Ops Require Import linear gelu.
Open Scope R_scope.
Opaque sum.

Definition reweight (B N S D : nat)
    (x : nat -> nat -> nat -> R) (fc1_weight : nat -> nat -> nat -> R) (fc1_bias : nat -> R) (fc2_weight : nat -> nat -> nat -> nat -> R) (fc2_bias : nat -> nat -> nat -> R)
    : (nat -> nat -> nat -> nat -> R) * ((nat -> nat -> nat -> nat -> R) -> (nat -> nat -> nat -> R) * (nat -> nat -> nat -> R) * (nat -> R) * (nat -> nat -> nat -> nat -> R) * (nat -> nat -> nat -> R)) :=
  let y_linear_1 : nat -> nat -> R := fst (linear_from_segment_rows B N S D x fc1_weight fc1_bias) in
  let y_gelu_2 : nat -> nat -> R := fst (gelu_rows B D y_linear_1) in
  let y_linear_3 : nat -> nat -> nat -> nat -> R := fst (linear_to_segment_rows B D N S 3%nat y_gelu_2 fc2_weight fc2_bias) in
  (fun iB iN iS i3 : nat => (y_linear_3 iB iN iS i3),
   fun dy : nat -> nat -> nat -> nat -> R =>
     let d_linear_3 : (nat -> nat -> R) * (nat -> nat -> nat -> nat -> R) * (nat -> nat -> nat -> R) := snd (linear_to_segment_rows B D N S 3%nat y_gelu_2 fc2_weight fc2_bias) dy in
     let d_gelu_2 : (nat -> nat -> R) := snd (gelu_rows B D y_linear_1) (fst (fst d_linear_3)) in
     let d_linear_1 : (nat -> nat -> nat -> R) * (nat -> nat -> nat -> R) * (nat -> R) := snd (linear_from_segment_rows B N S D x fc1_weight fc1_bias) d_gelu_2 in
     (fun iB iN iS : nat => ((fst (fst d_linear_1)) iB iN iS), fun iD iN iS : nat => ((snd (fst d_linear_1)) iD iN iS), fun iD : nat => ((snd d_linear_1) iD), fun iN iS i3 iD : nat => ((snd (fst d_linear_3)) iN iS i3 iD), fun iN iS i3 : nat => ((snd d_linear_3) iN iS i3))).

Definition reweight_is_correct : Prop :=
  forall (B N S D : nat)
    (x : R -> nat -> nat -> nat -> R) (fc1_weight : R -> nat -> nat -> nat -> R) (fc1_bias : R -> nat -> R) (fc2_weight : R -> nat -> nat -> nat -> nat -> R) (fc2_bias : R -> nat -> nat -> nat -> R)
    (u_x : nat -> nat -> nat -> R) (u_fc1_weight : nat -> nat -> nat -> R) (u_fc1_bias : nat -> R) (u_fc2_weight : nat -> nat -> nat -> nat -> R) (u_fc2_bias : nat -> nat -> nat -> R),
  (0 < B)%nat ->
  (0 < N)%nat ->
  (0 < S)%nat ->
  (0 < D)%nat ->
  (forall iB iN iS, is_derive (fun t => x t iB iN iS) 0 (u_x iB iN iS)) ->
  (forall iD iN iS, is_derive (fun t => fc1_weight t iD iN iS) 0 (u_fc1_weight iD iN iS)) ->
  (forall iD, is_derive (fun t => fc1_bias t iD) 0 (u_fc1_bias iD)) ->
  (forall iN iS i3 iD, is_derive (fun t => fc2_weight t iN iS i3 iD) 0 (u_fc2_weight iN iS i3 iD)) ->
  (forall iN iS i3, is_derive (fun t => fc2_bias t iN iS i3) 0 (u_fc2_bias iN iS i3)) ->
  exists v : nat -> nat -> nat -> nat -> R,
  (forall iB iN iS i3, is_derive (fun t => fst (reweight B N S D (x t) (fc1_weight t) (fc1_bias t) (fc2_weight t) (fc2_bias t)) iB iN iS i3) 0 (v iB iN iS i3)) /\
  forall dy : nat -> nat -> nat -> nat -> R,
  let g := snd (reweight B N S D (x 0) (fc1_weight 0) (fc1_bias 0) (fc2_weight 0) (fc2_bias 0)) dy in
  (sum B (fun iB => (sum N (fun iN => (sum S (fun iS => (sum 3 (fun i3 => dy iB iN iS i3 * v iB iN iS i3)))))))) =
  (sum B (fun iB => (sum N (fun iN => (sum S (fun iS => (fst (fst (fst (fst g)))) iB iN iS * u_x iB iN iS)))))) +
  (sum D (fun iD => (sum N (fun iN => (sum S (fun iS => (snd (fst (fst (fst g)))) iD iN iS * u_fc1_weight iD iN iS)))))) +
  (sum D (fun iD => (snd (fst (fst g))) iD * u_fc1_bias iD)) +
  (sum N (fun iN => (sum S (fun iS => (sum 3 (fun i3 => (sum D (fun iD => (snd (fst g)) iN iS i3 iD * u_fc2_weight iN iS i3 iD)))))))) +
  (sum N (fun iN => (sum S (fun iS => (sum 3 (fun i3 => (snd g) iN iS i3 * u_fc2_bias iN iS i3)))))).

Theorem reweight_correct : reweight_is_correct.
Proof.
  cbv beta delta [reweight_is_correct reweight].
  generalize linear_from_segment_rows_correct; cbv delta [linear_from_segment_rows_is_correct]; generalize linear_from_segment_rows; intros linear_from_segment_rows C_linear_from_segment_rows.
  generalize gelu_rows_correct; cbv delta [gelu_rows_is_correct]; generalize gelu_rows; intros gelu_rows C_gelu_rows.
  generalize linear_to_segment_rows_correct; cbv delta [linear_to_segment_rows_is_correct]; generalize linear_to_segment_rows; intros linear_to_segment_rows C_linear_to_segment_rows.
  intros B N S D x fc1_weight fc1_bias fc2_weight fc2_bias u_x u_fc1_weight u_fc1_bias u_fc2_weight u_fc2_bias P_B P_N P_S P_D D_x D_fc1_weight D_fc1_bias D_fc2_weight D_fc2_bias.
  pose (y_linear_1 := fun t => fst (linear_from_segment_rows B N S D (x t) (fc1_weight t) (fc1_bias t))).
  destruct (C_linear_from_segment_rows B N S D (fun t => (x t)) (fun t => (fc1_weight t)) (fun t => (fc1_bias t)) u_x u_fc1_weight u_fc1_bias P_B P_N P_S P_D D_x D_fc1_weight D_fc1_bias)
    as [u_y_linear_1 [D_y_linear_1 A_y_linear_1]].
  change (forall iB iD, is_derive (fun t => y_linear_1 t iB iD) 0 (u_y_linear_1 iB iD)) in D_y_linear_1.
  pose (y_gelu_2 := fun t => fst (gelu_rows B D (y_linear_1 t))).
  destruct (C_gelu_rows B D (fun t => (y_linear_1 t)) u_y_linear_1 P_B P_D D_y_linear_1)
    as [u_y_gelu_2 [D_y_gelu_2 A_y_gelu_2]].
  change (forall iB iD, is_derive (fun t => y_gelu_2 t iB iD) 0 (u_y_gelu_2 iB iD)) in D_y_gelu_2.
  pose (y_linear_3 := fun t => fst (linear_to_segment_rows B D N S 3%nat (y_gelu_2 t) (fc2_weight t) (fc2_bias t))).
  destruct (C_linear_to_segment_rows B D N S 3%nat (fun t => (y_gelu_2 t)) (fun t => (fc2_weight t)) (fun t => (fc2_bias t)) u_y_gelu_2 u_fc2_weight u_fc2_bias P_B P_D P_N P_S ltac:(lia) D_y_gelu_2 D_fc2_weight D_fc2_bias)
    as [u_y_linear_3 [D_y_linear_3 A_y_linear_3]].
  change (forall iB iN iS i3, is_derive (fun t => y_linear_3 t iB iN iS i3) 0 (u_y_linear_3 iB iN iS i3)) in D_y_linear_3.
  exists u_y_linear_3. split; [exact D_y_linear_3 | intros dy g].
  pose (d_linear_3 := snd (linear_to_segment_rows B D N S 3%nat (y_gelu_2 0) (fc2_weight 0) (fc2_bias 0)) dy).
  assert (E_linear_3 : (sum B (fun iB => (sum N (fun iN => (sum S (fun iS => (sum 3 (fun i3 => dy iB iN iS i3 * u_y_linear_3 iB iN iS i3)))))))) = (sum B (fun iB => (sum D (fun iD => (fst (fst d_linear_3)) iB iD * u_y_gelu_2 iB iD)))) + (sum N (fun iN => (sum S (fun iS => (sum 3 (fun i3 => (sum D (fun iD => (snd (fst d_linear_3)) iN iS i3 iD * u_fc2_weight iN iS i3 iD)))))))) + (sum N (fun iN => (sum S (fun iS => (sum 3 (fun i3 => (snd d_linear_3) iN iS i3 * u_fc2_bias iN iS i3))))))) by exact (A_y_linear_3 dy).
  pose (d_gelu_2 := snd (gelu_rows B D (y_linear_1 0)) (fst (fst d_linear_3))).
  assert (E_gelu_2 : (sum B (fun iB => (sum D (fun iD => (fst (fst d_linear_3)) iB iD * u_y_gelu_2 iB iD)))) = (sum B (fun iB => (sum D (fun iD => d_gelu_2 iB iD * u_y_linear_1 iB iD))))) by exact (A_y_gelu_2 (fst (fst d_linear_3))).
  pose (d_linear_1 := snd (linear_from_segment_rows B N S D (x 0) (fc1_weight 0) (fc1_bias 0)) d_gelu_2).
  assert (E_linear_1 : (sum B (fun iB => (sum D (fun iD => d_gelu_2 iB iD * u_y_linear_1 iB iD)))) = (sum B (fun iB => (sum N (fun iN => (sum S (fun iS => (fst (fst d_linear_1)) iB iN iS * u_x iB iN iS)))))) + (sum D (fun iD => (sum N (fun iN => (sum S (fun iS => (snd (fst d_linear_1)) iD iN iS * u_fc1_weight iD iN iS)))))) + (sum D (fun iD => (snd d_linear_1) iD * u_fc1_bias iD))) by exact (A_y_linear_1 d_gelu_2).
  assert (G : g = ((fst (fst d_linear_1)), (snd (fst d_linear_1)), (snd d_linear_1), (snd (fst d_linear_3)), (snd d_linear_3))) by reflexivity.
  clearbody g; subst g; clearbody d_linear_3 d_gelu_2 d_linear_1; cbn [fst snd].
  cbv beta in *.
  spread. lra.
Qed.
