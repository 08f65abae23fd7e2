(* Written by proofs/layers.py from vipnp/layers (weighted_permute_mlp); do not edit. *)
From Proofs Require Import Tactics.
From Statements Require Import global_average_pool split_attention linear dropout.
From Ops Require Import global_average_pool split_attention linear dropout.
From Layers Require Import height_branch width_branch channel_branch reweight.
Open Scope R_scope.
Opaque sum.

Definition weighted_permute_mlp (B H W N S D : nat) (mask : nat -> nat -> nat -> nat -> nat -> R) (rate : R)
    (x : nat -> nat -> nat -> nat -> nat -> R) (mlp_c_weight : nat -> nat -> nat -> nat -> R) (mlp_h_weight : nat -> nat -> nat -> nat -> R) (mlp_w_weight : nat -> nat -> nat -> nat -> R) (proj_weight : nat -> nat -> nat -> nat -> R) (proj_bias : nat -> nat -> R) (reweight_fc1_weight : nat -> nat -> nat -> R) (reweight_fc1_bias : nat -> R) (reweight_fc2_weight : nat -> nat -> nat -> nat -> R) (reweight_fc2_bias : nat -> nat -> nat -> R)
    : (nat -> nat -> nat -> nat -> nat -> R) * ((nat -> nat -> nat -> nat -> nat -> R) -> (nat -> nat -> nat -> nat -> nat -> R) * (nat -> nat -> nat -> nat -> R) * (nat -> nat -> nat -> nat -> R) * (nat -> nat -> nat -> nat -> R) * (nat -> nat -> nat -> nat -> R) * (nat -> nat -> R) * (nat -> nat -> nat -> R) * (nat -> R) * (nat -> nat -> nat -> nat -> R) * (nat -> nat -> nat -> R)) :=
  let y_height_branch_1 : nat -> nat -> nat -> nat -> nat -> R := fst (height_branch B H W N S x mlp_h_weight) in
  let y_width_branch_2 : nat -> nat -> nat -> nat -> nat -> R := fst (width_branch B H W N S x mlp_w_weight) in
  let y_channel_branch_3 : nat -> nat -> nat -> nat -> nat -> R := fst (channel_branch B H W N S x mlp_c_weight) in
  let v1 := fun iB iH iW iN iS : nat => (y_height_branch_1 iB iH iW iN iS) + (y_width_branch_2 iB iH iW iN iS) in
  let v2 := fun iB iH iW iN iS : nat => (v1 iB iH iW iN iS) + (y_channel_branch_3 iB iH iW iN iS) in
  let y_global_average_pool_4 : nat -> nat -> nat -> R := fst (global_average_pool_segments B H W N S v2) in
  let y_mlp_5 : nat -> nat -> nat -> nat -> R := fst (reweight B N S D y_global_average_pool_4 reweight_fc1_weight reweight_fc1_bias reweight_fc2_weight reweight_fc2_bias) in
  let y_split_attention_6 : nat -> nat -> nat -> nat -> nat -> R := fst (split_attention_segments B N S H W (fun iB iN iS i3 : nat => (y_mlp_5 iB iN iS i3)) y_height_branch_1 y_width_branch_2 y_channel_branch_3) in
  let y_linear_7 : nat -> nat -> nat -> nat -> nat -> R := fst (linear_segments B H W N S N S y_split_attention_6 proj_weight proj_bias) in
  let y_dropout_8 : nat -> nat -> nat -> nat -> nat -> R := fst (dropout_segments B H W N S mask rate y_linear_7) in
  (fun iB iH iW iN iS : nat => (y_dropout_8 iB iH iW iN iS),
   fun dy : nat -> nat -> nat -> nat -> nat -> R =>
     let d_dropout_8 : (nat -> nat -> nat -> nat -> nat -> R) := snd (dropout_segments B H W N S mask rate y_linear_7) dy in
     let d_linear_7 : (nat -> nat -> nat -> nat -> nat -> R) * (nat -> nat -> nat -> nat -> R) * (nat -> nat -> R) := snd (linear_segments B H W N S N S y_split_attention_6 proj_weight proj_bias) d_dropout_8 in
     let d_split_attention_6 : (nat -> nat -> nat -> nat -> R) * (nat -> nat -> nat -> nat -> nat -> R) * (nat -> nat -> nat -> nat -> nat -> R) * (nat -> nat -> nat -> nat -> nat -> R) := snd (split_attention_segments B N S H W (fun iB iN iS i3 : nat => (y_mlp_5 iB iN iS i3)) y_height_branch_1 y_width_branch_2 y_channel_branch_3) (fst (fst d_linear_7)) in
     let d_mlp_5 : (nat -> nat -> nat -> R) * (nat -> nat -> nat -> R) * (nat -> R) * (nat -> nat -> nat -> nat -> R) * (nat -> nat -> nat -> R) := snd (reweight B N S D y_global_average_pool_4 reweight_fc1_weight reweight_fc1_bias reweight_fc2_weight reweight_fc2_bias) (fun iB iN iS i3 : nat => ((fst (fst (fst d_split_attention_6))) iB iN iS i3)) in
     let d_global_average_pool_4 : (nat -> nat -> nat -> nat -> nat -> R) := snd (global_average_pool_segments B H W N S v2) (fst (fst (fst (fst d_mlp_5)))) in
     let v3 := fun iB iH iW iN iS : nat => ((snd (fst (fst d_split_attention_6))) iB iH iW iN iS) + (d_global_average_pool_4 iB iH iW iN iS) in
     let d_height_branch_1 : (nat -> nat -> nat -> nat -> nat -> R) * (nat -> nat -> nat -> nat -> R) := snd (height_branch B H W N S x mlp_h_weight) v3 in
     let v4 := fun iB iH iW iN iS : nat => ((snd (fst d_split_attention_6)) iB iH iW iN iS) + (d_global_average_pool_4 iB iH iW iN iS) in
     let d_width_branch_2 : (nat -> nat -> nat -> nat -> nat -> R) * (nat -> nat -> nat -> nat -> R) := snd (width_branch B H W N S x mlp_w_weight) v4 in
     let v5 := fun iB iH iW iN iS : nat => ((snd d_split_attention_6) iB iH iW iN iS) + (d_global_average_pool_4 iB iH iW iN iS) in
     let d_channel_branch_3 : (nat -> nat -> nat -> nat -> nat -> R) * (nat -> nat -> nat -> nat -> R) := snd (channel_branch B H W N S x mlp_c_weight) v5 in
     let v6 := fun iB iH iW iN iS : nat => ((fst d_height_branch_1) iB iH iW iN iS) + ((fst d_width_branch_2) iB iH iW iN iS) in
     let v7 := fun iB iH iW iN iS : nat => (v6 iB iH iW iN iS) + ((fst d_channel_branch_3) iB iH iW iN iS) in
     (fun iB iH iW iN iS : nat => (v7 iB iH iW iN iS), fun iN iS iN' iS' : nat => ((snd d_channel_branch_3) iN iS iN' iS'), fun iH iS iH' iS' : nat => ((snd d_height_branch_1) iH iS iH' iS'), fun iW iS iW' iS' : nat => ((snd d_width_branch_2) iW iS iW' iS'), fun iN iS iN' iS' : nat => ((snd (fst d_linear_7)) iN iS iN' iS'), fun iN iS : nat => ((snd d_linear_7) iN iS), fun iD iN iS : nat => ((snd (fst (fst (fst d_mlp_5)))) iD iN iS), fun iD : nat => ((snd (fst (fst d_mlp_5))) iD), fun iN iS i3 iD : nat => ((snd (fst d_mlp_5)) iN iS i3 iD), fun iN iS i3 : nat => ((snd d_mlp_5) iN iS i3))).

Definition weighted_permute_mlp_is_correct : Prop :=
  forall (B H W N S D : nat) (mask : nat -> nat -> nat -> nat -> nat -> R) (rate : R)
    (x : R -> nat -> nat -> nat -> nat -> nat -> R) (mlp_c_weight : R -> nat -> nat -> nat -> nat -> R) (mlp_h_weight : R -> nat -> nat -> nat -> nat -> R) (mlp_w_weight : R -> nat -> nat -> nat -> nat -> R) (proj_weight : R -> nat -> nat -> nat -> nat -> R) (proj_bias : R -> nat -> nat -> R) (reweight_fc1_weight : R -> nat -> nat -> nat -> R) (reweight_fc1_bias : R -> nat -> R) (reweight_fc2_weight : R -> nat -> nat -> nat -> nat -> R) (reweight_fc2_bias : R -> nat -> nat -> nat -> R)
    (u_x : nat -> nat -> nat -> nat -> nat -> R) (u_mlp_c_weight : nat -> nat -> nat -> nat -> R) (u_mlp_h_weight : nat -> nat -> nat -> nat -> R) (u_mlp_w_weight : nat -> nat -> nat -> nat -> R) (u_proj_weight : nat -> nat -> nat -> nat -> R) (u_proj_bias : nat -> nat -> R) (u_reweight_fc1_weight : nat -> nat -> nat -> R) (u_reweight_fc1_bias : nat -> R) (u_reweight_fc2_weight : nat -> nat -> nat -> nat -> R) (u_reweight_fc2_bias : nat -> nat -> nat -> R),
  (0 < B)%nat ->
  (0 < H)%nat ->
  (0 < W)%nat ->
  (0 < N)%nat ->
  (0 < S)%nat ->
  (0 < D)%nat ->
  (forall iB iH iW iN iS, is_derive (fun t => x t iB iH iW iN iS) 0 (u_x iB iH iW iN iS)) ->
  (forall iN iS iN' iS', is_derive (fun t => mlp_c_weight t iN iS iN' iS') 0 (u_mlp_c_weight iN iS iN' iS')) ->
  (forall iH iS iH' iS', is_derive (fun t => mlp_h_weight t iH iS iH' iS') 0 (u_mlp_h_weight iH iS iH' iS')) ->
  (forall iW iS iW' iS', is_derive (fun t => mlp_w_weight t iW iS iW' iS') 0 (u_mlp_w_weight iW iS iW' iS')) ->
  (forall iN iS iN' iS', is_derive (fun t => proj_weight t iN iS iN' iS') 0 (u_proj_weight iN iS iN' iS')) ->
  (forall iN iS, is_derive (fun t => proj_bias t iN iS) 0 (u_proj_bias iN iS)) ->
  (forall iD iN iS, is_derive (fun t => reweight_fc1_weight t iD iN iS) 0 (u_reweight_fc1_weight iD iN iS)) ->
  (forall iD, is_derive (fun t => reweight_fc1_bias t iD) 0 (u_reweight_fc1_bias iD)) ->
  (forall iN iS i3 iD, is_derive (fun t => reweight_fc2_weight t iN iS i3 iD) 0 (u_reweight_fc2_weight iN iS i3 iD)) ->
  (forall iN iS i3, is_derive (fun t => reweight_fc2_bias t iN iS i3) 0 (u_reweight_fc2_bias iN iS i3)) ->
  exists v : nat -> nat -> nat -> nat -> nat -> R,
  (forall iB iH iW iN iS, is_derive (fun t => fst (weighted_permute_mlp B H W N S D mask rate (x t) (mlp_c_weight t) (mlp_h_weight t) (mlp_w_weight t) (proj_weight t) (proj_bias t) (reweight_fc1_weight t) (reweight_fc1_bias t) (reweight_fc2_weight t) (reweight_fc2_bias t)) iB iH iW iN iS) 0 (v iB iH iW iN iS)) /\
  forall dy : nat -> nat -> nat -> nat -> nat -> R,
  let g := snd (weighted_permute_mlp B H W N S D mask rate (x 0) (mlp_c_weight 0) (mlp_h_weight 0) (mlp_w_weight 0) (proj_weight 0) (proj_bias 0) (reweight_fc1_weight 0) (reweight_fc1_bias 0) (reweight_fc2_weight 0) (reweight_fc2_bias 0)) dy in
  (sum B (fun iB => (sum H (fun iH => (sum W (fun iW => (sum N (fun iN => (sum S (fun iS => dy iB iH iW iN iS * v iB iH iW iN iS)))))))))) =
  (sum B (fun iB => (sum H (fun iH => (sum W (fun iW => (sum N (fun iN => (sum S (fun iS => (fst (fst (fst (fst (fst (fst (fst (fst (fst g))))))))) iB iH iW iN iS * u_x iB iH iW iN iS)))))))))) +
  (sum N (fun iN => (sum S (fun iS => (sum N (fun iN' => (sum S (fun iS' => (snd (fst (fst (fst (fst (fst (fst (fst (fst g))))))))) iN iS iN' iS' * u_mlp_c_weight iN iS iN' iS')))))))) +
  (sum H (fun iH => (sum S (fun iS => (sum H (fun iH' => (sum S (fun iS' => (snd (fst (fst (fst (fst (fst (fst (fst g)))))))) iH iS iH' iS' * u_mlp_h_weight iH iS iH' iS')))))))) +
  (sum W (fun iW => (sum S (fun iS => (sum W (fun iW' => (sum S (fun iS' => (snd (fst (fst (fst (fst (fst (fst g))))))) iW iS iW' iS' * u_mlp_w_weight iW iS iW' iS')))))))) +
  (sum N (fun iN => (sum S (fun iS => (sum N (fun iN' => (sum S (fun iS' => (snd (fst (fst (fst (fst (fst g)))))) iN iS iN' iS' * u_proj_weight iN iS iN' iS')))))))) +
  (sum N (fun iN => (sum S (fun iS => (snd (fst (fst (fst (fst g))))) iN iS * u_proj_bias iN iS)))) +
  (sum D (fun iD => (sum N (fun iN => (sum S (fun iS => (snd (fst (fst (fst g)))) iD iN iS * u_reweight_fc1_weight iD iN iS)))))) +
  (sum D (fun iD => (snd (fst (fst g))) iD * u_reweight_fc1_bias iD)) +
  (sum N (fun iN => (sum S (fun iS => (sum 3 (fun i3 => (sum D (fun iD => (snd (fst g)) iN iS i3 iD * u_reweight_fc2_weight iN iS i3 iD)))))))) +
  (sum N (fun iN => (sum S (fun iS => (sum 3 (fun i3 => (snd g) iN iS i3 * u_reweight_fc2_bias iN iS i3)))))).

Theorem weighted_permute_mlp_correct : weighted_permute_mlp_is_correct.
Proof.
  cbv beta delta [weighted_permute_mlp_is_correct weighted_permute_mlp].
  generalize height_branch_correct; cbv delta [height_branch_is_correct]; generalize height_branch; intros height_branch C_height_branch.
  generalize width_branch_correct; cbv delta [width_branch_is_correct]; generalize width_branch; intros width_branch C_width_branch.
  generalize channel_branch_correct; cbv delta [channel_branch_is_correct]; generalize channel_branch; intros channel_branch C_channel_branch.
  generalize global_average_pool_segments_correct; cbv delta [global_average_pool_segments_is_correct]; generalize global_average_pool_segments; intros global_average_pool_segments C_global_average_pool_segments.
  generalize reweight_correct; cbv delta [reweight_is_correct]; generalize reweight; intros reweight C_reweight.
  generalize split_attention_segments_correct; cbv delta [split_attention_segments_is_correct]; generalize split_attention_segments; intros split_attention_segments C_split_attention_segments.
  generalize linear_segments_correct; cbv delta [linear_segments_is_correct]; generalize linear_segments; intros linear_segments C_linear_segments.
  generalize dropout_segments_correct; cbv delta [dropout_segments_is_correct]; generalize dropout_segments; intros dropout_segments C_dropout_segments.
  intros B H W N S D mask rate x mlp_c_weight mlp_h_weight mlp_w_weight proj_weight proj_bias reweight_fc1_weight reweight_fc1_bias reweight_fc2_weight reweight_fc2_bias u_x u_mlp_c_weight u_mlp_h_weight u_mlp_w_weight u_proj_weight u_proj_bias u_reweight_fc1_weight u_reweight_fc1_bias u_reweight_fc2_weight u_reweight_fc2_bias P_B P_H P_W P_N P_S P_D D_x D_mlp_c_weight D_mlp_h_weight D_mlp_w_weight D_proj_weight D_proj_bias D_reweight_fc1_weight D_reweight_fc1_bias D_reweight_fc2_weight D_reweight_fc2_bias.
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
  pose (y_global_average_pool_4 := fun t => fst (global_average_pool_segments B H W N S (v2 t))).
  destruct (C_global_average_pool_segments B H W N S (fun t => (v2 t)) u_v2 P_B P_H P_W P_N P_S D_v2)
    as [u_y_global_average_pool_4 [D_y_global_average_pool_4 A_y_global_average_pool_4]].
  change (forall iB iN iS, is_derive (fun t => y_global_average_pool_4 t iB iN iS) 0 (u_y_global_average_pool_4 iB iN iS)) in D_y_global_average_pool_4.
  pose (y_mlp_5 := fun t => fst (reweight B N S D (y_global_average_pool_4 t) (reweight_fc1_weight t) (reweight_fc1_bias t) (reweight_fc2_weight t) (reweight_fc2_bias t))).
  destruct (C_reweight B N S D (fun t => (y_global_average_pool_4 t)) (fun t => (reweight_fc1_weight t)) (fun t => (reweight_fc1_bias t)) (fun t => (reweight_fc2_weight t)) (fun t => (reweight_fc2_bias t)) u_y_global_average_pool_4 u_reweight_fc1_weight u_reweight_fc1_bias u_reweight_fc2_weight u_reweight_fc2_bias P_B P_N P_S P_D D_y_global_average_pool_4 D_reweight_fc1_weight D_reweight_fc1_bias D_reweight_fc2_weight D_reweight_fc2_bias)
    as [u_y_mlp_5 [D_y_mlp_5 A_y_mlp_5]].
  change (forall iB iN iS i3, is_derive (fun t => y_mlp_5 t iB iN iS i3) 0 (u_y_mlp_5 iB iN iS i3)) in D_y_mlp_5.
  pose (y_split_attention_6 := fun t => fst (split_attention_segments B N S H W (fun iB iN iS i3 : nat => ((y_mlp_5 t) iB iN iS i3)) (y_height_branch_1 t) (y_width_branch_2 t) (y_channel_branch_3 t))).
  destruct (C_split_attention_segments B N S H W (fun t => (fun iB iN iS i3 : nat => ((y_mlp_5 t) iB iN iS i3))) (fun t => (y_height_branch_1 t)) (fun t => (y_width_branch_2 t)) (fun t => (y_channel_branch_3 t)) (fun iB iN iS i3 : nat => (u_y_mlp_5 iB iN iS i3)) u_y_height_branch_1 u_y_width_branch_2 u_y_channel_branch_3 P_B P_N P_S P_H P_W (fun iB iN iS i3 => (D_y_mlp_5 iB iN iS i3)) D_y_height_branch_1 D_y_width_branch_2 D_y_channel_branch_3)
    as [u_y_split_attention_6 [D_y_split_attention_6 A_y_split_attention_6]].
  change (forall iB iH iW iN iS, is_derive (fun t => y_split_attention_6 t iB iH iW iN iS) 0 (u_y_split_attention_6 iB iH iW iN iS)) in D_y_split_attention_6.
  pose (y_linear_7 := fun t => fst (linear_segments B H W N S N S (y_split_attention_6 t) (proj_weight t) (proj_bias t))).
  destruct (C_linear_segments B H W N S N S (fun t => (y_split_attention_6 t)) (fun t => (proj_weight t)) (fun t => (proj_bias t)) u_y_split_attention_6 u_proj_weight u_proj_bias P_B P_H P_W P_N P_S P_N P_S D_y_split_attention_6 D_proj_weight D_proj_bias)
    as [u_y_linear_7 [D_y_linear_7 A_y_linear_7]].
  change (forall iB iH iW iN iS, is_derive (fun t => y_linear_7 t iB iH iW iN iS) 0 (u_y_linear_7 iB iH iW iN iS)) in D_y_linear_7.
  pose (y_dropout_8 := fun t => fst (dropout_segments B H W N S mask rate (y_linear_7 t))).
  destruct (C_dropout_segments B H W N S mask rate (fun t => (y_linear_7 t)) u_y_linear_7 P_B P_H P_W P_N P_S D_y_linear_7)
    as [u_y_dropout_8 [D_y_dropout_8 A_y_dropout_8]].
  change (forall iB iH iW iN iS, is_derive (fun t => y_dropout_8 t iB iH iW iN iS) 0 (u_y_dropout_8 iB iH iW iN iS)) in D_y_dropout_8.
  exists u_y_dropout_8. split; [exact D_y_dropout_8 | intros dy g].
  pose (d_dropout_8 := snd (dropout_segments B H W N S mask rate (y_linear_7 0)) dy).
  assert (E_dropout_8 : (sum B (fun iB => (sum H (fun iH => (sum W (fun iW => (sum N (fun iN => (sum S (fun iS => dy iB iH iW iN iS * u_y_dropout_8 iB iH iW iN iS)))))))))) = (sum B (fun iB => (sum H (fun iH => (sum W (fun iW => (sum N (fun iN => (sum S (fun iS => d_dropout_8 iB iH iW iN iS * u_y_linear_7 iB iH iW iN iS))))))))))) by exact (A_y_dropout_8 dy).
  pose (d_linear_7 := snd (linear_segments B H W N S N S (y_split_attention_6 0) (proj_weight 0) (proj_bias 0)) d_dropout_8).
  assert (E_linear_7 : (sum B (fun iB => (sum H (fun iH => (sum W (fun iW => (sum N (fun iN => (sum S (fun iS => d_dropout_8 iB iH iW iN iS * u_y_linear_7 iB iH iW iN iS)))))))))) = (sum B (fun iB => (sum H (fun iH => (sum W (fun iW => (sum N (fun iN => (sum S (fun iS => (fst (fst d_linear_7)) iB iH iW iN iS * u_y_split_attention_6 iB iH iW iN iS)))))))))) + (sum N (fun iN => (sum S (fun iS => (sum N (fun iN' => (sum S (fun iS' => (snd (fst d_linear_7)) iN iS iN' iS' * u_proj_weight iN iS iN' iS')))))))) + (sum N (fun iN => (sum S (fun iS => (snd d_linear_7) iN iS * u_proj_bias iN iS))))) by exact (A_y_linear_7 d_dropout_8).
  pose (d_split_attention_6 := snd (split_attention_segments B N S H W (fun iB iN iS i3 : nat => ((y_mlp_5 0) iB iN iS i3)) (y_height_branch_1 0) (y_width_branch_2 0) (y_channel_branch_3 0)) (fst (fst d_linear_7))).
  assert (E_split_attention_6 : (sum B (fun iB => (sum H (fun iH => (sum W (fun iW => (sum N (fun iN => (sum S (fun iS => (fst (fst d_linear_7)) iB iH iW iN iS * u_y_split_attention_6 iB iH iW iN iS)))))))))) = (sum B (fun iB => (sum N (fun iN => (sum S (fun iS => (sum 3 (fun i3 => (fst (fst (fst d_split_attention_6))) iB iN iS i3 * (fun iB iN iS i3 : nat => (u_y_mlp_5 iB iN iS i3)) iB iN iS i3)))))))) + (sum B (fun iB => (sum H (fun iH => (sum W (fun iW => (sum N (fun iN => (sum S (fun iS => (snd (fst (fst d_split_attention_6))) iB iH iW iN iS * u_y_height_branch_1 iB iH iW iN iS)))))))))) + (sum B (fun iB => (sum H (fun iH => (sum W (fun iW => (sum N (fun iN => (sum S (fun iS => (snd (fst d_split_attention_6)) iB iH iW iN iS * u_y_width_branch_2 iB iH iW iN iS)))))))))) + (sum B (fun iB => (sum H (fun iH => (sum W (fun iW => (sum N (fun iN => (sum S (fun iS => (snd d_split_attention_6) iB iH iW iN iS * u_y_channel_branch_3 iB iH iW iN iS))))))))))) by exact (A_y_split_attention_6 (fst (fst d_linear_7))).
  pose (d_mlp_5 := snd (reweight B N S D (y_global_average_pool_4 0) (reweight_fc1_weight 0) (reweight_fc1_bias 0) (reweight_fc2_weight 0) (reweight_fc2_bias 0)) (fun iB iN iS i3 : nat => ((fst (fst (fst d_split_attention_6))) iB iN iS i3))).
  assert (E_mlp_5 : (sum B (fun iB => (sum N (fun iN => (sum S (fun iS => (sum 3 (fun i3 => (fun iB iN iS i3 : nat => ((fst (fst (fst d_split_attention_6))) iB iN iS i3)) iB iN iS i3 * u_y_mlp_5 iB iN iS i3)))))))) = (sum B (fun iB => (sum N (fun iN => (sum S (fun iS => (fst (fst (fst (fst d_mlp_5)))) iB iN iS * u_y_global_average_pool_4 iB iN iS)))))) + (sum D (fun iD => (sum N (fun iN => (sum S (fun iS => (snd (fst (fst (fst d_mlp_5)))) iD iN iS * u_reweight_fc1_weight iD iN iS)))))) + (sum D (fun iD => (snd (fst (fst d_mlp_5))) iD * u_reweight_fc1_bias iD)) + (sum N (fun iN => (sum S (fun iS => (sum 3 (fun i3 => (sum D (fun iD => (snd (fst d_mlp_5)) iN iS i3 iD * u_reweight_fc2_weight iN iS i3 iD)))))))) + (sum N (fun iN => (sum S (fun iS => (sum 3 (fun i3 => (snd d_mlp_5) iN iS i3 * u_reweight_fc2_bias iN iS i3))))))) by exact (A_y_mlp_5 (fun iB iN iS i3 : nat => ((fst (fst (fst d_split_attention_6))) iB iN iS i3))).
  pose (d_global_average_pool_4 := snd (global_average_pool_segments B H W N S (v2 0)) (fst (fst (fst (fst d_mlp_5))))).
  assert (E_global_average_pool_4 : (sum B (fun iB => (sum N (fun iN => (sum S (fun iS => (fst (fst (fst (fst d_mlp_5)))) iB iN iS * u_y_global_average_pool_4 iB iN iS)))))) = (sum B (fun iB => (sum H (fun iH => (sum W (fun iW => (sum N (fun iN => (sum S (fun iS => d_global_average_pool_4 iB iH iW iN iS * u_v2 iB iH iW iN iS))))))))))) by exact (A_y_global_average_pool_4 (fst (fst (fst (fst d_mlp_5))))).
  pose (v3 := fun iB iH iW iN iS : nat => ((snd (fst (fst d_split_attention_6))) iB iH iW iN iS) + (d_global_average_pool_4 iB iH iW iN iS)).
  pose (d_height_branch_1 := snd (height_branch B H W N S (x 0) (mlp_h_weight 0)) v3).
  assert (E_height_branch_1 : (sum B (fun iB => (sum H (fun iH => (sum W (fun iW => (sum N (fun iN => (sum S (fun iS => v3 iB iH iW iN iS * u_y_height_branch_1 iB iH iW iN iS)))))))))) = (sum B (fun iB => (sum H (fun iH => (sum W (fun iW => (sum N (fun iN => (sum S (fun iS => (fst d_height_branch_1) iB iH iW iN iS * u_x iB iH iW iN iS)))))))))) + (sum H (fun iH => (sum S (fun iS => (sum H (fun iH' => (sum S (fun iS' => (snd d_height_branch_1) iH iS iH' iS' * u_mlp_h_weight iH iS iH' iS'))))))))) by exact (A_y_height_branch_1 v3).
  pose (v4 := fun iB iH iW iN iS : nat => ((snd (fst d_split_attention_6)) iB iH iW iN iS) + (d_global_average_pool_4 iB iH iW iN iS)).
  pose (d_width_branch_2 := snd (width_branch B H W N S (x 0) (mlp_w_weight 0)) v4).
  assert (E_width_branch_2 : (sum B (fun iB => (sum H (fun iH => (sum W (fun iW => (sum N (fun iN => (sum S (fun iS => v4 iB iH iW iN iS * u_y_width_branch_2 iB iH iW iN iS)))))))))) = (sum B (fun iB => (sum H (fun iH => (sum W (fun iW => (sum N (fun iN => (sum S (fun iS => (fst d_width_branch_2) iB iH iW iN iS * u_x iB iH iW iN iS)))))))))) + (sum W (fun iW => (sum S (fun iS => (sum W (fun iW' => (sum S (fun iS' => (snd d_width_branch_2) iW iS iW' iS' * u_mlp_w_weight iW iS iW' iS'))))))))) by exact (A_y_width_branch_2 v4).
  pose (v5 := fun iB iH iW iN iS : nat => ((snd d_split_attention_6) iB iH iW iN iS) + (d_global_average_pool_4 iB iH iW iN iS)).
  pose (d_channel_branch_3 := snd (channel_branch B H W N S (x 0) (mlp_c_weight 0)) v5).
  assert (E_channel_branch_3 : (sum B (fun iB => (sum H (fun iH => (sum W (fun iW => (sum N (fun iN => (sum S (fun iS => v5 iB iH iW iN iS * u_y_channel_branch_3 iB iH iW iN iS)))))))))) = (sum B (fun iB => (sum H (fun iH => (sum W (fun iW => (sum N (fun iN => (sum S (fun iS => (fst d_channel_branch_3) iB iH iW iN iS * u_x iB iH iW iN iS)))))))))) + (sum N (fun iN => (sum S (fun iS => (sum N (fun iN' => (sum S (fun iS' => (snd d_channel_branch_3) iN iS iN' iS' * u_mlp_c_weight iN iS iN' iS'))))))))) by exact (A_y_channel_branch_3 v5).
  pose (v6 := fun iB iH iW iN iS : nat => ((fst d_height_branch_1) iB iH iW iN iS) + ((fst d_width_branch_2) iB iH iW iN iS)).
  pose (v7 := fun iB iH iW iN iS : nat => (v6 iB iH iW iN iS) + ((fst d_channel_branch_3) iB iH iW iN iS)).
  assert (G : g = (v7, (snd d_channel_branch_3), (snd d_height_branch_1), (snd d_width_branch_2), (snd (fst d_linear_7)), (snd d_linear_7), (snd (fst (fst (fst d_mlp_5)))), (snd (fst (fst d_mlp_5))), (snd (fst d_mlp_5)), (snd d_mlp_5))) by reflexivity.
  clearbody g; subst g; clearbody d_dropout_8 d_linear_7 d_split_attention_6 d_mlp_5 d_global_average_pool_4 d_height_branch_1 d_width_branch_2 d_channel_branch_3; cbn [fst snd].
  unfold v7 in *.
  unfold v6 in *.
  unfold v5 in *.
  unfold v4 in *.
  unfold v3 in *.
  unfold u_v2 in *.
  unfold u_v1 in *.
  cbv beta in *.
  spread_in E_global_average_pool_4.
  spread_in E_height_branch_1.
  spread_in E_width_branch_2.
  spread_in E_channel_branch_3.
  spread. lra.
Qed.
