(* Written by proofs/layers.py from vipnp/layers (permute_mlp); do not edit. *)
From Proofs Require Import Tactics.
From Statements Require Import linear dropout.
From Ops Require Import linear dropout.
From Layers Require Import height_branch width_branch channel_branch.
Open Scope R_scope.
Opaque sum.

Definition permute_mlp (B H W N S : nat) (mask : nat -> nat -> nat -> nat -> nat -> R) (rate : R)
    (x : nat -> nat -> nat -> nat -> nat -> R) (mlp_c_weight : nat -> nat -> nat -> nat -> R) (mlp_h_weight : nat -> nat -> nat -> nat -> R) (mlp_w_weight : nat -> nat -> nat -> nat -> R) (proj_weight : nat -> nat -> nat -> nat -> R) (proj_bias : nat -> nat -> R)
    : (nat -> nat -> nat -> nat -> nat -> R) * ((nat -> nat -> nat -> nat -> nat -> R) -> (nat -> nat -> nat -> nat -> nat -> R) * (nat -> nat -> nat -> nat -> R) * (nat -> nat -> nat -> nat -> R) * (nat -> nat -> nat -> nat -> R) * (nat -> nat -> nat -> nat -> R) * (nat -> nat -> R)) :=
  let y_height_branch_1 : nat -> nat -> nat -> nat -> nat -> R := fst (height_branch B H W N S x mlp_h_weight) in
  let y_width_branch_2 : nat -> nat -> nat -> nat -> nat -> R := fst (width_branch B H W N S x mlp_w_weight) in
  let y_channel_branch_3 : nat -> nat -> nat -> nat -> nat -> R := fst (channel_branch B H W N S x mlp_c_weight) in
  let v1 := fun iB iH iW iN iS : nat => (y_height_branch_1 iB iH iW iN iS) + (y_width_branch_2 iB iH iW iN iS) in
  let v2 := fun iB iH iW iN iS : nat => (v1 iB iH iW iN iS) + (y_channel_branch_3 iB iH iW iN iS) in
  let y_linear_4 : nat -> nat -> nat -> nat -> nat -> R := fst (linear_segments B H W N S N S v2 proj_weight proj_bias) in
  let y_dropout_5 : nat -> nat -> nat -> nat -> nat -> R := fst (dropout_segments B H W N S mask rate y_linear_4) in
  (fun iB iH iW iN iS : nat => (y_dropout_5 iB iH iW iN iS),
   fun dy : nat -> nat -> nat -> nat -> nat -> R =>
     let d_dropout_5 : (nat -> nat -> nat -> nat -> nat -> R) := snd (dropout_segments B H W N S mask rate y_linear_4) dy in
     let d_linear_4 : (nat -> nat -> nat -> nat -> nat -> R) * (nat -> nat -> nat -> nat -> R) * (nat -> nat -> R) := snd (linear_segments B H W N S N S v2 proj_weight proj_bias) d_dropout_5 in
     let d_height_branch_1 : (nat -> nat -> nat -> nat -> nat -> R) * (nat -> nat -> nat -> nat -> R) := snd (height_branch B H W N S x mlp_h_weight) (fst (fst d_linear_4)) in
     let d_width_branch_2 : (nat -> nat -> nat -> nat -> nat -> R) * (nat -> nat -> nat -> nat -> R) := snd (width_branch B H W N S x mlp_w_weight) (fst (fst d_linear_4)) in
     let d_channel_branch_3 : (nat -> nat -> nat -> nat -> nat -> R) * (nat -> nat -> nat -> nat -> R) := snd (channel_branch B H W N S x mlp_c_weight) (fst (fst d_linear_4)) in
     let v3 := fun iB iH iW iN iS : nat => ((fst d_height_branch_1) iB iH iW iN iS) + ((fst d_width_branch_2) iB iH iW iN iS) in
     let v4 := fun iB iH iW iN iS : nat => (v3 iB iH iW iN iS) + ((fst d_channel_branch_3) iB iH iW iN iS) in
     (fun iB iH iW iN iS : nat => (v4 iB iH iW iN iS), fun iN iS iN' iS' : nat => ((snd d_channel_branch_3) iN iS iN' iS'), fun iH iS iH' iS' : nat => ((snd d_height_branch_1) iH iS iH' iS'), fun iW iS iW' iS' : nat => ((snd d_width_branch_2) iW iS iW' iS'), fun iN iS iN' iS' : nat => ((snd (fst d_linear_4)) iN iS iN' iS'), fun iN iS : nat => ((snd d_linear_4) iN iS))).

Definition permute_mlp_is_correct : Prop :=
  forall (B H W N S : nat) (mask : nat -> nat -> nat -> nat -> nat -> R) (rate : R)
    (x : R -> nat -> nat -> nat -> nat -> nat -> R) (mlp_c_weight : R -> nat -> nat -> nat -> nat -> R) (mlp_h_weight : R -> nat -> nat -> nat -> nat -> R) (mlp_w_weight : R -> nat -> nat -> nat -> nat -> R) (proj_weight : R -> nat -> nat -> nat -> nat -> R) (proj_bias : R -> nat -> nat -> R)
    (u_x : nat -> nat -> nat -> nat -> nat -> R) (u_mlp_c_weight : nat -> nat -> nat -> nat -> R) (u_mlp_h_weight : nat -> nat -> nat -> nat -> R) (u_mlp_w_weight : nat -> nat -> nat -> nat -> R) (u_proj_weight : nat -> nat -> nat -> nat -> R) (u_proj_bias : nat -> nat -> R),
  (0 < B)%nat ->
  (0 < H)%nat ->
  (0 < W)%nat ->
  (0 < N)%nat ->
  (0 < S)%nat ->
  (forall iB iH iW iN iS, is_derive (fun t => x t iB iH iW iN iS) 0 (u_x iB iH iW iN iS)) ->
  (forall iN iS iN' iS', is_derive (fun t => mlp_c_weight t iN iS iN' iS') 0 (u_mlp_c_weight iN iS iN' iS')) ->
  (forall iH iS iH' iS', is_derive (fun t => mlp_h_weight t iH iS iH' iS') 0 (u_mlp_h_weight iH iS iH' iS')) ->
  (forall iW iS iW' iS', is_derive (fun t => mlp_w_weight t iW iS iW' iS') 0 (u_mlp_w_weight iW iS iW' iS')) ->
  (forall iN iS iN' iS', is_derive (fun t => proj_weight t iN iS iN' iS') 0 (u_proj_weight iN iS iN' iS')) ->
  (forall iN iS, is_derive (fun t => proj_bias t iN iS) 0 (u_proj_bias iN iS)) ->
  exists v : nat -> nat -> nat -> nat -> nat -> R,
  (forall iB iH iW iN iS, is_derive (fun t => fst (permute_mlp B H W N S mask rate (x t) (mlp_c_weight t) (mlp_h_weight t) (mlp_w_weight t) (proj_weight t) (proj_bias t)) iB iH iW iN iS) 0 (v iB iH iW iN iS)) /\
  forall dy : nat -> nat -> nat -> nat -> nat -> R,
  let g := snd (permute_mlp B H W N S mask rate (x 0) (mlp_c_weight 0) (mlp_h_weight 0) (mlp_w_weight 0) (proj_weight 0) (proj_bias 0)) dy in
  (sum B (fun iB => (sum H (fun iH => (sum W (fun iW => (sum N (fun iN => (sum S (fun iS => dy iB iH iW iN iS * v iB iH iW iN iS)))))))))) =
  (sum B (fun iB => (sum H (fun iH => (sum W (fun iW => (sum N (fun iN => (sum S (fun iS => (fst (fst (fst (fst (fst g))))) iB iH iW iN iS * u_x iB iH iW iN iS)))))))))) +
  (sum N (fun iN => (sum S (fun iS => (sum N (fun iN' => (sum S (fun iS' => (snd (fst (fst (fst (fst g))))) iN iS iN' iS' * u_mlp_c_weight iN iS iN' iS')))))))) +
  (sum H (fun iH => (sum S (fun iS => (sum H (fun iH' => (sum S (fun iS' => (snd (fst (fst (fst g)))) iH iS iH' iS' * u_mlp_h_weight iH iS iH' iS')))))))) +
  (sum W (fun iW => (sum S (fun iS => (sum W (fun iW' => (sum S (fun iS' => (snd (fst (fst g))) iW iS iW' iS' * u_mlp_w_weight iW iS iW' iS')))))))) +
  (sum N (fun iN => (sum S (fun iS => (sum N (fun iN' => (sum S (fun iS' => (snd (fst g)) iN iS iN' iS' * u_proj_weight iN iS iN' iS')))))))) +
  (sum N (fun iN => (sum S (fun iS => (snd g) iN iS * u_proj_bias iN iS)))).

Theorem permute_mlp_correct : permute_mlp_is_correct.
Proof.
  cbv beta delta [permute_mlp_is_correct permute_mlp].
  generalize height_branch_correct; cbv delta [height_branch_is_correct]; generalize height_branch; intros height_branch C_height_branch.
  generalize width_branch_correct; cbv delta [width_branch_is_correct]; generalize width_branch; intros width_branch C_width_branch.
  generalize channel_branch_correct; cbv delta [channel_branch_is_correct]; generalize channel_branch; intros channel_branch C_channel_branch.
  generalize linear_segments_correct; cbv delta [linear_segments_is_correct]; generalize linear_segments; intros linear_segments C_linear_segments.
  generalize dropout_segments_correct; cbv delta [dropout_segments_is_correct]; generalize dropout_segments; intros dropout_segments C_dropout_segments.
  intros B H W N S mask rate x mlp_c_weight mlp_h_weight mlp_w_weight proj_weight proj_bias u_x u_mlp_c_weight u_mlp_h_weight u_mlp_w_weight u_proj_weight u_proj_bias P_B P_H P_W P_N P_S D_x D_mlp_c_weight D_mlp_h_weight D_mlp_w_weight D_proj_weight D_proj_bias.
  pose (y_height_branch_1 := fun t => fst (height_branch B H W N S (x t) (mlp_h_weight t))).
  destruct (C_height_branch B H W N S (fun t => (x t)) (fun t => (mlp_h_weight t)) u_x u_mlp_h_weight P_B P_H P_W P_N P_S D_x D_mlp_h_weight)
    as [u_y_height_branch_1 [D_y_height_branch_1 A_y_height_branch_1]].
  change (forall iB iH iW iN iS, is_derive (fun t => y_height_branch_1 t iB iH iW iN iS) 0 (u_y_height_branch_1 iB iH iW iN iS)) in D_y_height_branch_1.
  pose (y_width_branch_2 := fun t => fst (width_branch B H W N S (x t) (mlp_w_weight t))).
  destruct (C_width_branch B H W N S (fun t => (x t)) (fun t => (mlp_w_weight t)) u_x u_mlp_w_weight P_B P_H P_W P_N P_S D_x D_mlp_w_weight)
    as [u_y_width_branch_2 [D_y_width_branch_2 A_y_width_branch_2]].
  change (forall iB iH iW iN iS, is_derive (fun t => y_width_branch_2 t iB iH iW iN iS) 0 (u_y_width_branch_2 iB iH iW iN iS)) in D_y_width_branch_2.
  pose (y_channel_branch_3 := fun t => fst (channel_branch B H W N S (x t) (mlp_c_weight t))).
  destruct (C_channel_branch B H W N S (fun t => (x t)) (fun t => (mlp_c_weight t)) u_x u_mlp_c_weight P_B P_H P_W P_N P_S D_x D_mlp_c_weight)
    as [u_y_channel_branch_3 [D_y_channel_branch_3 A_y_channel_branch_3]].
  change (forall iB iH iW iN iS, is_derive (fun t => y_channel_branch_3 t iB iH iW iN iS) 0 (u_y_channel_branch_3 iB iH iW iN iS)) in D_y_channel_branch_3.
  pose (v1 := fun t => fun iB iH iW iN iS : nat => ((y_height_branch_1 t) iB iH iW iN iS) + ((y_width_branch_2 t) iB iH iW iN iS)).
  pose (u_v1 := fun iB iH iW iN iS : nat => (u_y_height_branch_1 iB iH iW iN iS) + (u_y_width_branch_2 iB iH iW iN iS)).
  assert (D_v1 : forall iB iH iW iN iS, is_derive (fun t => v1 t iB iH iW iN iS) 0 (u_v1 iB iH iW iN iS)) by exact (fun iB iH iW iN iS => is_derive_sum _ _ _ _ (D_y_height_branch_1 iB iH iW iN iS) (D_y_width_branch_2 iB iH iW iN iS)).
  pose (v2 := fun t => fun iB iH iW iN iS : nat => ((v1 t) iB iH iW iN iS) + ((y_channel_branch_3 t) iB iH iW iN iS)).
  pose (u_v2 := fun iB iH iW iN iS : nat => (u_v1 iB iH iW iN iS) + (u_y_channel_branch_3 iB iH iW iN iS)).
  assert (D_v2 : forall iB iH iW iN iS, is_derive (fun t => v2 t iB iH iW iN iS) 0 (u_v2 iB iH iW iN iS)) by exact (fun iB iH iW iN iS => is_derive_sum _ _ _ _ (D_v1 iB iH iW iN iS) (D_y_channel_branch_3 iB iH iW iN iS)).
  pose (y_linear_4 := fun t => fst (linear_segments B H W N S N S (v2 t) (proj_weight t) (proj_bias t))).
  destruct (C_linear_segments B H W N S N S (fun t => (v2 t)) (fun t => (proj_weight t)) (fun t => (proj_bias t)) u_v2 u_proj_weight u_proj_bias P_B P_H P_W P_N P_S P_N P_S D_v2 D_proj_weight D_proj_bias)
    as [u_y_linear_4 [D_y_linear_4 A_y_linear_4]].
  change (forall iB iH iW iN iS, is_derive (fun t => y_linear_4 t iB iH iW iN iS) 0 (u_y_linear_4 iB iH iW iN iS)) in D_y_linear_4.
  pose (y_dropout_5 := fun t => fst (dropout_segments B H W N S mask rate (y_linear_4 t))).
  destruct (C_dropout_segments B H W N S mask rate (fun t => (y_linear_4 t)) u_y_linear_4 P_B P_H P_W P_N P_S D_y_linear_4)
    as [u_y_dropout_5 [D_y_dropout_5 A_y_dropout_5]].
  change (forall iB iH iW iN iS, is_derive (fun t => y_dropout_5 t iB iH iW iN iS) 0 (u_y_dropout_5 iB iH iW iN iS)) in D_y_dropout_5.
  exists u_y_dropout_5. split; [exact D_y_dropout_5 | intros dy g].
  pose (d_dropout_5 := snd (dropout_segments B H W N S mask rate (y_linear_4 0)) dy).
  assert (E_dropout_5 : (sum B (fun iB => (sum H (fun iH => (sum W (fun iW => (sum N (fun iN => (sum S (fun iS => dy iB iH iW iN iS * u_y_dropout_5 iB iH iW iN iS)))))))))) = (sum B (fun iB => (sum H (fun iH => (sum W (fun iW => (sum N (fun iN => (sum S (fun iS => d_dropout_5 iB iH iW iN iS * u_y_linear_4 iB iH iW iN iS))))))))))) by exact (A_y_dropout_5 dy).
  pose (d_linear_4 := snd (linear_segments B H W N S N S (v2 0) (proj_weight 0) (proj_bias 0)) d_dropout_5).
  assert (E_linear_4 : (sum B (fun iB => (sum H (fun iH => (sum W (fun iW => (sum N (fun iN => (sum S (fun iS => d_dropout_5 iB iH iW iN iS * u_y_linear_4 iB iH iW iN iS)))))))))) = (sum B (fun iB => (sum H (fun iH => (sum W (fun iW => (sum N (fun iN => (sum S (fun iS => (fst (fst d_linear_4)) iB iH iW iN iS * u_v2 iB iH iW iN iS)))))))))) + (sum N (fun iN => (sum S (fun iS => (sum N (fun iN' => (sum S (fun iS' => (snd (fst d_linear_4)) iN iS iN' iS' * u_proj_weight iN iS iN' iS')))))))) + (sum N (fun iN => (sum S (fun iS => (snd d_linear_4) iN iS * u_proj_bias iN iS))))) by exact (A_y_linear_4 d_dropout_5).
  pose (d_height_branch_1 := snd (height_branch B H W N S (x 0) (mlp_h_weight 0)) (fst (fst d_linear_4))).
  assert (E_height_branch_1 : (sum B (fun iB => (sum H (fun iH => (sum W (fun iW => (sum N (fun iN => (sum S (fun iS => (fst (fst d_linear_4)) iB iH iW iN iS * u_y_height_branch_1 iB iH iW iN iS)))))))))) = (sum B (fun iB => (sum H (fun iH => (sum W (fun iW => (sum N (fun iN => (sum S (fun iS => (fst d_height_branch_1) iB iH iW iN iS * u_x iB iH iW iN iS)))))))))) + (sum H (fun iH => (sum S (fun iS => (sum H (fun iH' => (sum S (fun iS' => (snd d_height_branch_1) iH iS iH' iS' * u_mlp_h_weight iH iS iH' iS'))))))))) by exact (A_y_height_branch_1 (fst (fst d_linear_4))).
  pose (d_width_branch_2 := snd (width_branch B H W N S (x 0) (mlp_w_weight 0)) (fst (fst d_linear_4))).
  assert (E_width_branch_2 : (sum B (fun iB => (sum H (fun iH => (sum W (fun iW => (sum N (fun iN => (sum S (fun iS => (fst (fst d_linear_4)) iB iH iW iN iS * u_y_width_branch_2 iB iH iW iN iS)))))))))) = (sum B (fun iB => (sum H (fun iH => (sum W (fun iW => (sum N (fun iN => (sum S (fun iS => (fst d_width_branch_2) iB iH iW iN iS * u_x iB iH iW iN iS)))))))))) + (sum W (fun iW => (sum S (fun iS => (sum W (fun iW' => (sum S (fun iS' => (snd d_width_branch_2) iW iS iW' iS' * u_mlp_w_weight iW iS iW' iS'))))))))) by exact (A_y_width_branch_2 (fst (fst d_linear_4))).
  pose (d_channel_branch_3 := snd (channel_branch B H W N S (x 0) (mlp_c_weight 0)) (fst (fst d_linear_4))).
  assert (E_channel_branch_3 : (sum B (fun iB => (sum H (fun iH => (sum W (fun iW => (sum N (fun iN => (sum S (fun iS => (fst (fst d_linear_4)) iB iH iW iN iS * u_y_channel_branch_3 iB iH iW iN iS)))))))))) = (sum B (fun iB => (sum H (fun iH => (sum W (fun iW => (sum N (fun iN => (sum S (fun iS => (fst d_channel_branch_3) iB iH iW iN iS * u_x iB iH iW iN iS)))))))))) + (sum N (fun iN => (sum S (fun iS => (sum N (fun iN' => (sum S (fun iS' => (snd d_channel_branch_3) iN iS iN' iS' * u_mlp_c_weight iN iS iN' iS'))))))))) by exact (A_y_channel_branch_3 (fst (fst d_linear_4))).
  pose (v3 := fun iB iH iW iN iS : nat => ((fst d_height_branch_1) iB iH iW iN iS) + ((fst d_width_branch_2) iB iH iW iN iS)).
  pose (v4 := fun iB iH iW iN iS : nat => (v3 iB iH iW iN iS) + ((fst d_channel_branch_3) iB iH iW iN iS)).
  assert (G : g = (v4, (snd d_channel_branch_3), (snd d_height_branch_1), (snd d_width_branch_2), (snd (fst d_linear_4)), (snd d_linear_4))) by reflexivity.
  clearbody g; subst g; clearbody d_dropout_5 d_linear_4 d_height_branch_1 d_width_branch_2 d_channel_branch_3; cbn [fst snd].
  unfold v4 in *.
  unfold v3 in *.
  unfold u_v2 in *.
  unfold u_v1 in *.
  cbv beta in *.
  spread_in E_linear_4.
  spread. lra.
Qed.
