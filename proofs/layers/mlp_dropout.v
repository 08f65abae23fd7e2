(* Written by proofs/layers.py from vipnp/layers (mlp); do not edit. *)
From Proofs Require Import Tactics.
From Statements Require Import linear gelu dropout.
From Ops Require Import linear gelu dropout.
Open Scope R_scope.
Opaque sum.

Definition mlp_dropout (B H W C D K : nat) (hidden_mask : nat -> nat -> nat -> nat -> R) (hidden_rate : R) (out_mask : nat -> nat -> nat -> nat -> R) (out_rate : R)
    (x : nat -> nat -> nat -> nat -> R) (fc1_weight : nat -> nat -> R) (fc1_bias : nat -> R) (fc2_weight : nat -> nat -> R) (fc2_bias : nat -> R)
    : (nat -> nat -> nat -> nat -> R) * ((nat -> nat -> nat -> nat -> R) -> (nat -> nat -> nat -> nat -> R) * (nat -> nat -> R) * (nat -> R) * (nat -> nat -> R) * (nat -> R)) :=
  let y_linear_1 : nat -> nat -> nat -> nat -> R := fst (linear B H W C D x fc1_weight fc1_bias) in
  let y_gelu_2 : nat -> nat -> nat -> nat -> R := fst (gelu B H W D y_linear_1) in
  let y_dropout_3 : nat -> nat -> nat -> nat -> R := fst (dropout B H W D hidden_mask hidden_rate y_gelu_2) in
  let y_linear_4 : nat -> nat -> nat -> nat -> R := fst (linear B H W D K y_dropout_3 fc2_weight fc2_bias) in
  let y_dropout_5 : nat -> nat -> nat -> nat -> R := fst (dropout B H W K out_mask out_rate y_linear_4) in
  (fun iB iH iW iK : nat => (y_dropout_5 iB iH iW iK),
   fun dy : nat -> nat -> nat -> nat -> R =>
     let d_dropout_5 : (nat -> nat -> nat -> nat -> R) := snd (dropout B H W K out_mask out_rate y_linear_4) dy in
     let d_linear_4 : (nat -> nat -> nat -> nat -> R) * (nat -> nat -> R) * (nat -> R) := snd (linear B H W D K y_dropout_3 fc2_weight fc2_bias) d_dropout_5 in
     let d_dropout_3 : (nat -> nat -> nat -> nat -> R) := snd (dropout B H W D hidden_mask hidden_rate y_gelu_2) (fst (fst d_linear_4)) in
     let d_gelu_2 : (nat -> nat -> nat -> nat -> R) := snd (gelu B H W D y_linear_1) d_dropout_3 in
     let d_linear_1 : (nat -> nat -> nat -> nat -> R) * (nat -> nat -> R) * (nat -> R) := snd (linear B H W C D x fc1_weight fc1_bias) d_gelu_2 in
     (fun iB iH iW iC : nat => ((fst (fst d_linear_1)) iB iH iW iC), fun iD iC : nat => ((snd (fst d_linear_1)) iD iC), fun iD : nat => ((snd d_linear_1) iD), fun iK iD : nat => ((snd (fst d_linear_4)) iK iD), fun iK : nat => ((snd d_linear_4) iK))).

Definition mlp_dropout_is_correct : Prop :=
  forall (B H W C D K : nat) (hidden_mask : nat -> nat -> nat -> nat -> R) (hidden_rate : R) (out_mask : nat -> nat -> nat -> nat -> R) (out_rate : R)
    (x : R -> nat -> nat -> nat -> nat -> R) (fc1_weight : R -> nat -> nat -> R) (fc1_bias : R -> nat -> R) (fc2_weight : R -> nat -> nat -> R) (fc2_bias : R -> nat -> R)
    (u_x : nat -> nat -> nat -> nat -> R) (u_fc1_weight : nat -> nat -> R) (u_fc1_bias : nat -> R) (u_fc2_weight : nat -> nat -> R) (u_fc2_bias : nat -> R),
  (0 < B)%nat ->
  (0 < H)%nat ->
  (0 < W)%nat ->
  (0 < C)%nat ->
  (0 < D)%nat ->
  (0 < K)%nat ->
  (forall iB iH iW iC, is_derive (fun t => x t iB iH iW iC) 0 (u_x iB iH iW iC)) ->
  (forall iD iC, is_derive (fun t => fc1_weight t iD iC) 0 (u_fc1_weight iD iC)) ->
  (forall iD, is_derive (fun t => fc1_bias t iD) 0 (u_fc1_bias iD)) ->
  (forall iK iD, is_derive (fun t => fc2_weight t iK iD) 0 (u_fc2_weight iK iD)) ->
  (forall iK, is_derive (fun t => fc2_bias t iK) 0 (u_fc2_bias iK)) ->
  exists v : nat -> nat -> nat -> nat -> R,
  (forall iB iH iW iK, is_derive (fun t => fst (mlp_dropout B H W C D K hidden_mask hidden_rate out_mask out_rate (x t) (fc1_weight t) (fc1_bias t) (fc2_weight t) (fc2_bias t)) iB iH iW iK) 0 (v iB iH iW iK)) /\
  forall dy : nat -> nat -> nat -> nat -> R,
  let g := snd (mlp_dropout B H W C D K hidden_mask hidden_rate out_mask out_rate (x 0) (fc1_weight 0) (fc1_bias 0) (fc2_weight 0) (fc2_bias 0)) dy in
  (sum B (fun iB => (sum H (fun iH => (sum W (fun iW => (sum K (fun iK => dy iB iH iW iK * v iB iH iW iK)))))))) =
  (sum B (fun iB => (sum H (fun iH => (sum W (fun iW => (sum C (fun iC => (fst (fst (fst (fst g)))) iB iH iW iC * u_x iB iH iW iC)))))))) +
  (sum D (fun iD => (sum C (fun iC => (snd (fst (fst (fst g)))) iD iC * u_fc1_weight iD iC)))) +
  (sum D (fun iD => (snd (fst (fst g))) iD * u_fc1_bias iD)) +
  (sum K (fun iK => (sum D (fun iD => (snd (fst g)) iK iD * u_fc2_weight iK iD)))) +
  (sum K (fun iK => (snd g) iK * u_fc2_bias iK)).

Theorem mlp_dropout_correct : mlp_dropout_is_correct.
Proof.
  cbv beta delta [mlp_dropout_is_correct mlp_dropout].
  generalize linear_correct; cbv delta [linear_is_correct]; generalize linear; intros linear C_linear.
  generalize gelu_correct; cbv delta [gelu_is_correct]; generalize gelu; intros gelu C_gelu.
  generalize dropout_correct; cbv delta [dropout_is_correct]; generalize dropout; intros dropout C_dropout.
  intros B H W C D K hidden_mask hidden_rate out_mask out_rate x fc1_weight fc1_bias fc2_weight fc2_bias u_x u_fc1_weight u_fc1_bias u_fc2_weight u_fc2_bias P_B P_H P_W P_C P_D P_K D_x D_fc1_weight D_fc1_bias D_fc2_weight D_fc2_bias.
  pose (y_linear_1 := fun t => fst (linear B H W C D (x t) (fc1_weight t) (fc1_bias t))).
  destruct (C_linear B H W C D (fun t => (x t)) (fun t => (fc1_weight t)) (fun t => (fc1_bias t)) u_x u_fc1_weight u_fc1_bias P_B P_H P_W P_C P_D D_x D_fc1_weight D_fc1_bias)
    as [u_y_linear_1 [D_y_linear_1 A_y_linear_1]].
  change (forall iB iH iW iD, is_derive (fun t => y_linear_1 t iB iH iW iD) 0 (u_y_linear_1 iB iH iW iD)) in D_y_linear_1.
  pose (y_gelu_2 := fun t => fst (gelu B H W D (y_linear_1 t))).
  destruct (C_gelu B H W D (fun t => (y_linear_1 t)) u_y_linear_1 P_B P_H P_W P_D D_y_linear_1)
    as [u_y_gelu_2 [D_y_gelu_2 A_y_gelu_2]].
  change (forall iB iH iW iD, is_derive (fun t => y_gelu_2 t iB iH iW iD) 0 (u_y_gelu_2 iB iH iW iD)) in D_y_gelu_2.
  pose (y_dropout_3 := fun t => fst (dropout B H W D hidden_mask hidden_rate (y_gelu_2 t))).
  destruct (C_dropout B H W D hidden_mask hidden_rate (fun t => (y_gelu_2 t)) u_y_gelu_2 P_B P_H P_W P_D D_y_gelu_2)
    as [u_y_dropout_3 [D_y_dropout_3 A_y_dropout_3]].
  change (forall iB iH iW iD, is_derive (fun t => y_dropout_3 t iB iH iW iD) 0 (u_y_dropout_3 iB iH iW iD)) in D_y_dropout_3.
  pose (y_linear_4 := fun t => fst (linear B H W D K (y_dropout_3 t) (fc2_weight t) (fc2_bias t))).
  destruct (C_linear B H W D K (fun t => (y_dropout_3 t)) (fun t => (fc2_weight t)) (fun t => (fc2_bias t)) u_y_dropout_3 u_fc2_weight u_fc2_bias P_B P_H P_W P_D P_K D_y_dropout_3 D_fc2_weight D_fc2_bias)
    as [u_y_linear_4 [D_y_linear_4 A_y_linear_4]].
  change (forall iB iH iW iK, is_derive (fun t => y_linear_4 t iB iH iW iK) 0 (u_y_linear_4 iB iH iW iK)) in D_y_linear_4.
  pose (y_dropout_5 := fun t => fst (dropout B H W K out_mask out_rate (y_linear_4 t))).
  destruct (C_dropout B H W K out_mask out_rate (fun t => (y_linear_4 t)) u_y_linear_4 P_B P_H P_W P_K D_y_linear_4)
    as [u_y_dropout_5 [D_y_dropout_5 A_y_dropout_5]].
  change (forall iB iH iW iK, is_derive (fun t => y_dropout_5 t iB iH iW iK) 0 (u_y_dropout_5 iB iH iW iK)) in D_y_dropout_5.
  exists u_y_dropout_5. split; [exact D_y_dropout_5 | intros dy g].
  pose (d_dropout_5 := snd (dropout B H W K out_mask out_rate (y_linear_4 0)) dy).
  assert (E_dropout_5 : (sum B (fun iB => (sum H (fun iH => (sum W (fun iW => (sum K (fun iK => dy iB iH iW iK * u_y_dropout_5 iB iH iW iK)))))))) = (sum B (fun iB => (sum H (fun iH => (sum W (fun iW => (sum K (fun iK => d_dropout_5 iB iH iW iK * u_y_linear_4 iB iH iW iK))))))))) by exact (A_y_dropout_5 dy).
  pose (d_linear_4 := snd (linear B H W D K (y_dropout_3 0) (fc2_weight 0) (fc2_bias 0)) d_dropout_5).
  assert (E_linear_4 : (sum B (fun iB => (sum H (fun iH => (sum W (fun iW => (sum K (fun iK => d_dropout_5 iB iH iW iK * u_y_linear_4 iB iH iW iK)))))))) = (sum B (fun iB => (sum H (fun iH => (sum W (fun iW => (sum D (fun iD => (fst (fst d_linear_4)) iB iH iW iD * u_y_dropout_3 iB iH iW iD)))))))) + (sum K (fun iK => (sum D (fun iD => (snd (fst d_linear_4)) iK iD * u_fc2_weight iK iD)))) + (sum K (fun iK => (snd d_linear_4) iK * u_fc2_bias iK))) by exact (A_y_linear_4 d_dropout_5).
  pose (d_dropout_3 := snd (dropout B H W D hidden_mask hidden_rate (y_gelu_2 0)) (fst (fst d_linear_4))).
  assert (E_dropout_3 : (sum B (fun iB => (sum H (fun iH => (sum W (fun iW => (sum D (fun iD => (fst (fst d_linear_4)) iB iH iW iD * u_y_dropout_3 iB iH iW iD)))))))) = (sum B (fun iB => (sum H (fun iH => (sum W (fun iW => (sum D (fun iD => d_dropout_3 iB iH iW iD * u_y_gelu_2 iB iH iW iD))))))))) by exact (A_y_dropout_3 (fst (fst d_linear_4))).
  pose (d_gelu_2 := snd (gelu B H W D (y_linear_1 0)) d_dropout_3).
  assert (E_gelu_2 : (sum B (fun iB => (sum H (fun iH => (sum W (fun iW => (sum D (fun iD => d_dropout_3 iB iH iW iD * u_y_gelu_2 iB iH iW iD)))))))) = (sum B (fun iB => (sum H (fun iH => (sum W (fun iW => (sum D (fun iD => d_gelu_2 iB iH iW iD * u_y_linear_1 iB iH iW iD))))))))) by exact (A_y_gelu_2 d_dropout_3).
  pose (d_linear_1 := snd (linear B H W C D (x 0) (fc1_weight 0) (fc1_bias 0)) d_gelu_2).
  assert (E_linear_1 : (sum B (fun iB => (sum H (fun iH => (sum W (fun iW => (sum D (fun iD => d_gelu_2 iB iH iW iD * u_y_linear_1 iB iH iW iD)))))))) = (sum B (fun iB => (sum H (fun iH => (sum W (fun iW => (sum C (fun iC => (fst (fst d_linear_1)) iB iH iW iC * u_x iB iH iW iC)))))))) + (sum D (fun iD => (sum C (fun iC => (snd (fst d_linear_1)) iD iC * u_fc1_weight iD iC)))) + (sum D (fun iD => (snd d_linear_1) iD * u_fc1_bias iD))) by exact (A_y_linear_1 d_gelu_2).
  assert (G : g = ((fst (fst d_linear_1)), (snd (fst d_linear_1)), (snd d_linear_1), (snd (fst d_linear_4)), (snd d_linear_4))) by reflexivity.
  clearbody g; subst g; clearbody d_dropout_5 d_linear_4 d_dropout_3 d_gelu_2 d_linear_1; cbn [fst snd].
  cbv beta in *.
  spread. lra.
Qed.
