(* Written by proofs/layers.py from vipnp/layers (permutator); do not edit. *)
From Proofs Require Import Tactics.
From Statements Require Import layer_norm drop_path residual.
From Ops Require Import layer_norm drop_path residual.
From Layers Require Import permute_mlp mlp_segments.
Open Scope R_scope.
Opaque sum.

Definition permutator_sum (B H W N S D2 : nat) (skip_lam : R) (attn_path : nat -> R) (attn_path_rate : R) (mlp_path : nat -> R) (mlp_path_rate : R) (proj : nat -> nat -> nat -> nat -> nat -> R) (proj_rate : R) (hidden : nat -> nat -> nat -> nat -> R) (hidden_rate : R) (out : nat -> nat -> nat -> nat -> nat -> R) (out_rate : R)
    (x : nat -> nat -> nat -> nat -> nat -> R) (norm1_weight : nat -> nat -> R) (norm1_bias : nat -> nat -> R) (attn_mlp_c_weight : nat -> nat -> nat -> nat -> R) (attn_mlp_h_weight : nat -> nat -> nat -> nat -> R) (attn_mlp_w_weight : nat -> nat -> nat -> nat -> R) (attn_proj_weight : nat -> nat -> nat -> nat -> R) (attn_proj_bias : nat -> nat -> R) (norm2_weight : nat -> nat -> R) (norm2_bias : nat -> nat -> R) (mlp_fc1_weight : nat -> nat -> nat -> R) (mlp_fc1_bias : nat -> R) (mlp_fc2_weight : nat -> nat -> nat -> R) (mlp_fc2_bias : nat -> nat -> R)
    : (nat -> nat -> nat -> nat -> nat -> R) * ((nat -> nat -> nat -> nat -> nat -> R) -> (nat -> nat -> nat -> nat -> nat -> R) * (nat -> nat -> R) * (nat -> nat -> R) * (nat -> nat -> nat -> nat -> R) * (nat -> nat -> nat -> nat -> R) * (nat -> nat -> nat -> nat -> R) * (nat -> nat -> nat -> nat -> R) * (nat -> nat -> R) * (nat -> nat -> R) * (nat -> nat -> R) * (nat -> nat -> nat -> R) * (nat -> R) * (nat -> nat -> nat -> R) * (nat -> nat -> R)) :=
  let y_layer_norm_1 : nat -> nat -> nat -> nat -> nat -> R := fst (layer_norm_segments B H W N S (5902958103587057 / 590295810358705651712) x norm1_weight norm1_bias) in
  let y_permute_mlp_2 : nat -> nat -> nat -> nat -> nat -> R := fst (permute_mlp B H W N S proj proj_rate y_layer_norm_1 attn_mlp_c_weight attn_mlp_h_weight attn_mlp_w_weight attn_proj_weight attn_proj_bias) in
  let y_drop_path_3 : nat -> nat -> nat -> nat -> nat -> R := fst (drop_path_segments B H W N S attn_path attn_path_rate y_permute_mlp_2) in
  let y_residual_4 : nat -> nat -> nat -> nat -> nat -> R := fst (residual_segments B H W N S skip_lam x y_drop_path_3) in
  let y_layer_norm_5 : nat -> nat -> nat -> nat -> nat -> R := fst (layer_norm_segments B H W N S (5902958103587057 / 590295810358705651712) y_residual_4 norm2_weight norm2_bias) in
  let y_mlp_6 : nat -> nat -> nat -> nat -> nat -> R := fst (mlp_segments B H W N S D2 hidden hidden_rate out out_rate y_layer_norm_5 mlp_fc1_weight mlp_fc1_bias mlp_fc2_weight mlp_fc2_bias) in
  let y_drop_path_7 : nat -> nat -> nat -> nat -> nat -> R := fst (drop_path_segments B H W N S mlp_path mlp_path_rate y_mlp_6) in
  let y_residual_8 : nat -> nat -> nat -> nat -> nat -> R := fst (residual_segments B H W N S skip_lam y_residual_4 y_drop_path_7) in
  (fun iB iH iW iN iS : nat => (y_residual_8 iB iH iW iN iS),
   fun dy : nat -> nat -> nat -> nat -> nat -> R =>
     let d_residual_8 : (nat -> nat -> nat -> nat -> nat -> R) * (nat -> nat -> nat -> nat -> nat -> R) := snd (residual_segments B H W N S skip_lam y_residual_4 y_drop_path_7) dy in
     let d_drop_path_7 : (nat -> nat -> nat -> nat -> nat -> R) := snd (drop_path_segments B H W N S mlp_path mlp_path_rate y_mlp_6) (snd d_residual_8) in
     let d_mlp_6 : (nat -> nat -> nat -> nat -> nat -> R) * (nat -> nat -> nat -> R) * (nat -> R) * (nat -> nat -> nat -> R) * (nat -> nat -> R) := snd (mlp_segments B H W N S D2 hidden hidden_rate out out_rate y_layer_norm_5 mlp_fc1_weight mlp_fc1_bias mlp_fc2_weight mlp_fc2_bias) d_drop_path_7 in
     let d_layer_norm_5 : (nat -> nat -> nat -> nat -> nat -> R) * (nat -> nat -> R) * (nat -> nat -> R) := snd (layer_norm_segments B H W N S (5902958103587057 / 590295810358705651712) y_residual_4 norm2_weight norm2_bias) (fst (fst (fst (fst d_mlp_6)))) in
     let v1 := fun iB iH iW iN iS : nat => ((fst d_residual_8) iB iH iW iN iS) + ((fst (fst d_layer_norm_5)) iB iH iW iN iS) in
     let d_residual_4 : (nat -> nat -> nat -> nat -> nat -> R) * (nat -> nat -> nat -> nat -> nat -> R) := snd (residual_segments B H W N S skip_lam x y_drop_path_3) v1 in
     let d_drop_path_3 : (nat -> nat -> nat -> nat -> nat -> R) := snd (drop_path_segments B H W N S attn_path attn_path_rate y_permute_mlp_2) (snd d_residual_4) in
     let d_permute_mlp_2 : (nat -> nat -> nat -> nat -> nat -> R) * (nat -> nat -> nat -> nat -> R) * (nat -> nat -> nat -> nat -> R) * (nat -> nat -> nat -> nat -> R) * (nat -> nat -> nat -> nat -> R) * (nat -> nat -> R) := snd (permute_mlp B H W N S proj proj_rate y_layer_norm_1 attn_mlp_c_weight attn_mlp_h_weight attn_mlp_w_weight attn_proj_weight attn_proj_bias) d_drop_path_3 in
     let d_layer_norm_1 : (nat -> nat -> nat -> nat -> nat -> R) * (nat -> nat -> R) * (nat -> nat -> R) := snd (layer_norm_segments B H W N S (5902958103587057 / 590295810358705651712) x norm1_weight norm1_bias) (fst (fst (fst (fst (fst d_permute_mlp_2))))) in
     let v2 := fun iB iH iW iN iS : nat => ((fst d_residual_4) iB iH iW iN iS) + ((fst (fst d_layer_norm_1)) iB iH iW iN iS) in
     (fun iB iH iW iN iS : nat => (v2 iB iH iW iN iS), fun iN iS : nat => ((snd (fst d_layer_norm_1)) iN iS), fun iN iS : nat => ((snd d_layer_norm_1) iN iS), fun iN iS iN' iS' : nat => ((snd (fst (fst (fst (fst d_permute_mlp_2))))) iN iS iN' iS'), fun iH iS iH' iS' : nat => ((snd (fst (fst (fst d_permute_mlp_2)))) iH iS iH' iS'), fun iW iS iW' iS' : nat => ((snd (fst (fst d_permute_mlp_2))) iW iS iW' iS'), fun iN iS iN' iS' : nat => ((snd (fst d_permute_mlp_2)) iN iS iN' iS'), fun iN iS : nat => ((snd d_permute_mlp_2) iN iS), fun iN iS : nat => ((snd (fst d_layer_norm_5)) iN iS), fun iN iS : nat => ((snd d_layer_norm_5) iN iS), fun iD2 iN iS : nat => ((snd (fst (fst (fst d_mlp_6)))) iD2 iN iS), fun iD2 : nat => ((snd (fst (fst d_mlp_6))) iD2), fun iN iS iD2 : nat => ((snd (fst d_mlp_6)) iN iS iD2), fun iN iS : nat => ((snd d_mlp_6) iN iS))).

Definition permutator_sum_is_correct : Prop :=
  forall (B H W N S D2 : nat) (skip_lam : R) (attn_path : nat -> R) (attn_path_rate : R) (mlp_path : nat -> R) (mlp_path_rate : R) (proj : nat -> nat -> nat -> nat -> nat -> R) (proj_rate : R) (hidden : nat -> nat -> nat -> nat -> R) (hidden_rate : R) (out : nat -> nat -> nat -> nat -> nat -> R) (out_rate : R)
    (x : R -> nat -> nat -> nat -> nat -> nat -> R) (norm1_weight : R -> nat -> nat -> R) (norm1_bias : R -> nat -> nat -> R) (attn_mlp_c_weight : R -> nat -> nat -> nat -> nat -> R) (attn_mlp_h_weight : R -> nat -> nat -> nat -> nat -> R) (attn_mlp_w_weight : R -> nat -> nat -> nat -> nat -> R) (attn_proj_weight : R -> nat -> nat -> nat -> nat -> R) (attn_proj_bias : R -> nat -> nat -> R) (norm2_weight : R -> nat -> nat -> R) (norm2_bias : R -> nat -> nat -> R) (mlp_fc1_weight : R -> nat -> nat -> nat -> R) (mlp_fc1_bias : R -> nat -> R) (mlp_fc2_weight : R -> nat -> nat -> nat -> R) (mlp_fc2_bias : R -> nat -> nat -> R)
    (u_x : nat -> nat -> nat -> nat -> nat -> R) (u_norm1_weight : nat -> nat -> R) (u_norm1_bias : nat -> nat -> R) (u_attn_mlp_c_weight : nat -> nat -> nat -> nat -> R) (u_attn_mlp_h_weight : nat -> nat -> nat -> nat -> R) (u_attn_mlp_w_weight : nat -> nat -> nat -> nat -> R) (u_attn_proj_weight : nat -> nat -> nat -> nat -> R) (u_attn_proj_bias : nat -> nat -> R) (u_norm2_weight : nat -> nat -> R) (u_norm2_bias : nat -> nat -> R) (u_mlp_fc1_weight : nat -> nat -> nat -> R) (u_mlp_fc1_bias : nat -> R) (u_mlp_fc2_weight : nat -> nat -> nat -> R) (u_mlp_fc2_bias : nat -> nat -> R),
  (0 < B)%nat ->
  (0 < H)%nat ->
  (0 < W)%nat ->
  (0 < N)%nat ->
  (0 < S)%nat ->
  (0 < D2)%nat ->
  (forall iB iH iW iN iS, is_derive (fun t => x t iB iH iW iN iS) 0 (u_x iB iH iW iN iS)) ->
  (forall iN iS, is_derive (fun t => norm1_weight t iN iS) 0 (u_norm1_weight iN iS)) ->
  (forall iN iS, is_derive (fun t => norm1_bias t iN iS) 0 (u_norm1_bias iN iS)) ->
  (forall iN iS iN' iS', is_derive (fun t => attn_mlp_c_weight t iN iS iN' iS') 0 (u_attn_mlp_c_weight iN iS iN' iS')) ->
  (forall iH iS iH' iS', is_derive (fun t => attn_mlp_h_weight t iH iS iH' iS') 0 (u_attn_mlp_h_weight iH iS iH' iS')) ->
  (forall iW iS iW' iS', is_derive (fun t => attn_mlp_w_weight t iW iS iW' iS') 0 (u_attn_mlp_w_weight iW iS iW' iS')) ->
  (forall iN iS iN' iS', is_derive (fun t => attn_proj_weight t iN iS iN' iS') 0 (u_attn_proj_weight iN iS iN' iS')) ->
  (forall iN iS, is_derive (fun t => attn_proj_bias t iN iS) 0 (u_attn_proj_bias iN iS)) ->
  (forall iN iS, is_derive (fun t => norm2_weight t iN iS) 0 (u_norm2_weight iN iS)) ->
  (forall iN iS, is_derive (fun t => norm2_bias t iN iS) 0 (u_norm2_bias iN iS)) ->
  (forall iD2 iN iS, is_derive (fun t => mlp_fc1_weight t iD2 iN iS) 0 (u_mlp_fc1_weight iD2 iN iS)) ->
  (forall iD2, is_derive (fun t => mlp_fc1_bias t iD2) 0 (u_mlp_fc1_bias iD2)) ->
  (forall iN iS iD2, is_derive (fun t => mlp_fc2_weight t iN iS iD2) 0 (u_mlp_fc2_weight iN iS iD2)) ->
  (forall iN iS, is_derive (fun t => mlp_fc2_bias t iN iS) 0 (u_mlp_fc2_bias iN iS)) ->
  exists v : nat -> nat -> nat -> nat -> nat -> R,
  (forall iB iH iW iN iS, is_derive (fun t => fst (permutator_sum B H W N S D2 skip_lam attn_path attn_path_rate mlp_path mlp_path_rate proj proj_rate hidden hidden_rate out out_rate (x t) (norm1_weight t) (norm1_bias t) (attn_mlp_c_weight t) (attn_mlp_h_weight t) (attn_mlp_w_weight t) (attn_proj_weight t) (attn_proj_bias t) (norm2_weight t) (norm2_bias t) (mlp_fc1_weight t) (mlp_fc1_bias t) (mlp_fc2_weight t) (mlp_fc2_bias t)) iB iH iW iN iS) 0 (v iB iH iW iN iS)) /\
  forall dy : nat -> nat -> nat -> nat -> nat -> R,
  let g := snd (permutator_sum B H W N S D2 skip_lam attn_path attn_path_rate mlp_path mlp_path_rate proj proj_rate hidden hidden_rate out out_rate (x 0) (norm1_weight 0) (norm1_bias 0) (attn_mlp_c_weight 0) (attn_mlp_h_weight 0) (attn_mlp_w_weight 0) (attn_proj_weight 0) (attn_proj_bias 0) (norm2_weight 0) (norm2_bias 0) (mlp_fc1_weight 0) (mlp_fc1_bias 0) (mlp_fc2_weight 0) (mlp_fc2_bias 0)) dy in
  (sum B (fun iB => (sum H (fun iH => (sum W (fun iW => (sum N (fun iN => (sum S (fun iS => dy iB iH iW iN iS * v iB iH iW iN iS)))))))))) =
  (sum B (fun iB => (sum H (fun iH => (sum W (fun iW => (sum N (fun iN => (sum S (fun iS => (fst (fst (fst (fst (fst (fst (fst (fst (fst (fst (fst (fst (fst g))))))))))))) iB iH iW iN iS * u_x iB iH iW iN iS)))))))))) +
  (sum N (fun iN => (sum S (fun iS => (snd (fst (fst (fst (fst (fst (fst (fst (fst (fst (fst (fst (fst g))))))))))))) iN iS * u_norm1_weight iN iS)))) +
  (sum N (fun iN => (sum S (fun iS => (snd (fst (fst (fst (fst (fst (fst (fst (fst (fst (fst (fst g)))))))))))) iN iS * u_norm1_bias iN iS)))) +
  (sum N (fun iN => (sum S (fun iS => (sum N (fun iN' => (sum S (fun iS' => (snd (fst (fst (fst (fst (fst (fst (fst (fst (fst (fst g))))))))))) iN iS iN' iS' * u_attn_mlp_c_weight iN iS iN' iS')))))))) +
  (sum H (fun iH => (sum S (fun iS => (sum H (fun iH' => (sum S (fun iS' => (snd (fst (fst (fst (fst (fst (fst (fst (fst (fst g)))))))))) iH iS iH' iS' * u_attn_mlp_h_weight iH iS iH' iS')))))))) +
  (sum W (fun iW => (sum S (fun iS => (sum W (fun iW' => (sum S (fun iS' => (snd (fst (fst (fst (fst (fst (fst (fst (fst g))))))))) iW iS iW' iS' * u_attn_mlp_w_weight iW iS iW' iS')))))))) +
  (sum N (fun iN => (sum S (fun iS => (sum N (fun iN' => (sum S (fun iS' => (snd (fst (fst (fst (fst (fst (fst (fst g)))))))) iN iS iN' iS' * u_attn_proj_weight iN iS iN' iS')))))))) +
  (sum N (fun iN => (sum S (fun iS => (snd (fst (fst (fst (fst (fst (fst g))))))) iN iS * u_attn_proj_bias iN iS)))) +
  (sum N (fun iN => (sum S (fun iS => (snd (fst (fst (fst (fst (fst g)))))) iN iS * u_norm2_weight iN iS)))) +
  (sum N (fun iN => (sum S (fun iS => (snd (fst (fst (fst (fst g))))) iN iS * u_norm2_bias iN iS)))) +
  (sum D2 (fun iD2 => (sum N (fun iN => (sum S (fun iS => (snd (fst (fst (fst g)))) iD2 iN iS * u_mlp_fc1_weight iD2 iN iS)))))) +
  (sum D2 (fun iD2 => (snd (fst (fst g))) iD2 * u_mlp_fc1_bias iD2)) +
  (sum N (fun iN => (sum S (fun iS => (sum D2 (fun iD2 => (snd (fst g)) iN iS iD2 * u_mlp_fc2_weight iN iS iD2)))))) +
  (sum N (fun iN => (sum S (fun iS => (snd g) iN iS * u_mlp_fc2_bias iN iS)))).

Theorem permutator_sum_correct : permutator_sum_is_correct.
Proof.
  cbv beta delta [permutator_sum_is_correct permutator_sum].
  generalize layer_norm_segments_correct; cbv delta [layer_norm_segments_is_correct]; generalize layer_norm_segments; intros layer_norm_segments C_layer_norm_segments.
  generalize permute_mlp_correct; cbv delta [permute_mlp_is_correct]; generalize permute_mlp; intros permute_mlp C_permute_mlp.
  generalize drop_path_segments_correct; cbv delta [drop_path_segments_is_correct]; generalize drop_path_segments; intros drop_path_segments C_drop_path_segments.
  generalize residual_segments_correct; cbv delta [residual_segments_is_correct]; generalize residual_segments; intros residual_segments C_residual_segments.
  generalize mlp_segments_correct; cbv delta [mlp_segments_is_correct]; generalize mlp_segments; intros mlp_segments C_mlp_segments.
  intros B H W N S D2 skip_lam attn_path attn_path_rate mlp_path mlp_path_rate proj proj_rate hidden hidden_rate out out_rate x norm1_weight norm1_bias attn_mlp_c_weight attn_mlp_h_weight attn_mlp_w_weight attn_proj_weight attn_proj_bias norm2_weight norm2_bias mlp_fc1_weight mlp_fc1_bias mlp_fc2_weight mlp_fc2_bias u_x u_norm1_weight u_norm1_bias u_attn_mlp_c_weight u_attn_mlp_h_weight u_attn_mlp_w_weight u_attn_proj_weight u_attn_proj_bias u_norm2_weight u_norm2_bias u_mlp_fc1_weight u_mlp_fc1_bias u_mlp_fc2_weight u_mlp_fc2_bias P_B P_H P_W P_N P_S P_D2 D_x D_norm1_weight D_norm1_bias D_attn_mlp_c_weight D_attn_mlp_h_weight D_attn_mlp_w_weight D_attn_proj_weight D_attn_proj_bias D_norm2_weight D_norm2_bias D_mlp_fc1_weight D_mlp_fc1_bias D_mlp_fc2_weight D_mlp_fc2_bias.
  pose (y_layer_norm_1 := fun t => fst (layer_norm_segments B H W N S (5902958103587057 / 590295810358705651712) (x t) (norm1_weight t) (norm1_bias t))).
  destruct (C_layer_norm_segments B H W N S (5902958103587057 / 590295810358705651712) (fun t => (x t)) (fun t => (norm1_weight t)) (fun t => (norm1_bias t)) u_x u_norm1_weight u_norm1_bias P_B P_H P_W P_N P_S ltac:(lra) D_x D_norm1_weight D_norm1_bias)
    as [u_y_layer_norm_1 [D_y_layer_norm_1 A_y_layer_norm_1]].
  change (forall iB iH iW iN iS, is_derive (fun t => y_layer_norm_1 t iB iH iW iN iS) 0 (u_y_layer_norm_1 iB iH iW iN iS)) in D_y_layer_norm_1.
  pose (y_permute_mlp_2 := fun t => fst (permute_mlp B H W N S proj proj_rate (y_layer_norm_1 t) (attn_mlp_c_weight t) (attn_mlp_h_weight t) (attn_mlp_w_weight t) (attn_proj_weight t) (attn_proj_bias t))).
  destruct (C_permute_mlp B H W N S proj proj_rate (fun t => (y_layer_norm_1 t)) (fun t => (attn_mlp_c_weight t)) (fun t => (attn_mlp_h_weight t)) (fun t => (attn_mlp_w_weight t)) (fun t => (attn_proj_weight t)) (fun t => (attn_proj_bias t)) u_y_layer_norm_1 u_attn_mlp_c_weight u_attn_mlp_h_weight u_attn_mlp_w_weight u_attn_proj_weight u_attn_proj_bias P_B P_H P_W P_N P_S D_y_layer_norm_1 D_attn_mlp_c_weight D_attn_mlp_h_weight D_attn_mlp_w_weight D_attn_proj_weight D_attn_proj_bias)
    as [u_y_permute_mlp_2 [D_y_permute_mlp_2 A_y_permute_mlp_2]].
  change (forall iB iH iW iN iS, is_derive (fun t => y_permute_mlp_2 t iB iH iW iN iS) 0 (u_y_permute_mlp_2 iB iH iW iN iS)) in D_y_permute_mlp_2.
  pose (y_drop_path_3 := fun t => fst (drop_path_segments B H W N S attn_path attn_path_rate (y_permute_mlp_2 t))).
  destruct (C_drop_path_segments B H W N S attn_path attn_path_rate (fun t => (y_permute_mlp_2 t)) u_y_permute_mlp_2 P_B P_H P_W P_N P_S D_y_permute_mlp_2)
    as [u_y_drop_path_3 [D_y_drop_path_3 A_y_drop_path_3]].
  change (forall iB iH iW iN iS, is_derive (fun t => y_drop_path_3 t iB iH iW iN iS) 0 (u_y_drop_path_3 iB iH iW iN iS)) in D_y_drop_path_3.
  pose (y_residual_4 := fun t => fst (residual_segments B H W N S skip_lam (x t) (y_drop_path_3 t))).
  destruct (C_residual_segments B H W N S skip_lam (fun t => (x t)) (fun t => (y_drop_path_3 t)) u_x u_y_drop_path_3 P_B P_H P_W P_N P_S D_x D_y_drop_path_3)
    as [u_y_residual_4 [D_y_residual_4 A_y_residual_4]].
  change (forall iB iH iW iN iS, is_derive (fun t => y_residual_4 t iB iH iW iN iS) 0 (u_y_residual_4 iB iH iW iN iS)) in D_y_residual_4.
  pose (y_layer_norm_5 := fun t => fst (layer_norm_segments B H W N S (5902958103587057 / 590295810358705651712) (y_residual_4 t) (norm2_weight t) (norm2_bias t))).
  destruct (C_layer_norm_segments B H W N S (5902958103587057 / 590295810358705651712) (fun t => (y_residual_4 t)) (fun t => (norm2_weight t)) (fun t => (norm2_bias t)) u_y_residual_4 u_norm2_weight u_norm2_bias P_B P_H P_W P_N P_S ltac:(lra) D_y_residual_4 D_norm2_weight D_norm2_bias)
    as [u_y_layer_norm_5 [D_y_layer_norm_5 A_y_layer_norm_5]].
  change (forall iB iH iW iN iS, is_derive (fun t => y_layer_norm_5 t iB iH iW iN iS) 0 (u_y_layer_norm_5 iB iH iW iN iS)) in D_y_layer_norm_5.
  pose (y_mlp_6 := fun t => fst (mlp_segments B H W N S D2 hidden hidden_rate out out_rate (y_layer_norm_5 t) (mlp_fc1_weight t) (mlp_fc1_bias t) (mlp_fc2_weight t) (mlp_fc2_bias t))).
  destruct (C_mlp_segments B H W N S D2 hidden hidden_rate out out_rate (fun t => (y_layer_norm_5 t)) (fun t => (mlp_fc1_weight t)) (fun t => (mlp_fc1_bias t)) (fun t => (mlp_fc2_weight t)) (fun t => (mlp_fc2_bias t)) u_y_layer_norm_5 u_mlp_fc1_weight u_mlp_fc1_bias u_mlp_fc2_weight u_mlp_fc2_bias P_B P_H P_W P_N P_S P_D2 D_y_layer_norm_5 D_mlp_fc1_weight D_mlp_fc1_bias D_mlp_fc2_weight D_mlp_fc2_bias)
    as [u_y_mlp_6 [D_y_mlp_6 A_y_mlp_6]].
  change (forall iB iH iW iN iS, is_derive (fun t => y_mlp_6 t iB iH iW iN iS) 0 (u_y_mlp_6 iB iH iW iN iS)) in D_y_mlp_6.
  pose (y_drop_path_7 := fun t => fst (drop_path_segments B H W N S mlp_path mlp_path_rate (y_mlp_6 t))).
  destruct (C_drop_path_segments B H W N S mlp_path mlp_path_rate (fun t => (y_mlp_6 t)) u_y_mlp_6 P_B P_H P_W P_N P_S D_y_mlp_6)
    as [u_y_drop_path_7 [D_y_drop_path_7 A_y_drop_path_7]].
  change (forall iB iH iW iN iS, is_derive (fun t => y_drop_path_7 t iB iH iW iN iS) 0 (u_y_drop_path_7 iB iH iW iN iS)) in D_y_drop_path_7.
  pose (y_residual_8 := fun t => fst (residual_segments B H W N S skip_lam (y_residual_4 t) (y_drop_path_7 t))).
  destruct (C_residual_segments B H W N S skip_lam (fun t => (y_residual_4 t)) (fun t => (y_drop_path_7 t)) u_y_residual_4 u_y_drop_path_7 P_B P_H P_W P_N P_S D_y_residual_4 D_y_drop_path_7)
    as [u_y_residual_8 [D_y_residual_8 A_y_residual_8]].
  change (forall iB iH iW iN iS, is_derive (fun t => y_residual_8 t iB iH iW iN iS) 0 (u_y_residual_8 iB iH iW iN iS)) in D_y_residual_8.
  exists u_y_residual_8. split; [exact D_y_residual_8 | intros dy g].
  pose (d_residual_8 := snd (residual_segments B H W N S skip_lam (y_residual_4 0) (y_drop_path_7 0)) dy).
  assert (E_residual_8 : (sum B (fun iB => (sum H (fun iH => (sum W (fun iW => (sum N (fun iN => (sum S (fun iS => dy iB iH iW iN iS * u_y_residual_8 iB iH iW iN iS)))))))))) = (sum B (fun iB => (sum H (fun iH => (sum W (fun iW => (sum N (fun iN => (sum S (fun iS => (fst d_residual_8) iB iH iW iN iS * u_y_residual_4 iB iH iW iN iS)))))))))) + (sum B (fun iB => (sum H (fun iH => (sum W (fun iW => (sum N (fun iN => (sum S (fun iS => (snd d_residual_8) iB iH iW iN iS * u_y_drop_path_7 iB iH iW iN iS))))))))))) by exact (A_y_residual_8 dy).
  pose (d_drop_path_7 := snd (drop_path_segments B H W N S mlp_path mlp_path_rate (y_mlp_6 0)) (snd d_residual_8)).
  assert (E_drop_path_7 : (sum B (fun iB => (sum H (fun iH => (sum W (fun iW => (sum N (fun iN => (sum S (fun iS => (snd d_residual_8) iB iH iW iN iS * u_y_drop_path_7 iB iH iW iN iS)))))))))) = (sum B (fun iB => (sum H (fun iH => (sum W (fun iW => (sum N (fun iN => (sum S (fun iS => d_drop_path_7 iB iH iW iN iS * u_y_mlp_6 iB iH iW iN iS))))))))))) by exact (A_y_drop_path_7 (snd d_residual_8)).
  pose (d_mlp_6 := snd (mlp_segments B H W N S D2 hidden hidden_rate out out_rate (y_layer_norm_5 0) (mlp_fc1_weight 0) (mlp_fc1_bias 0) (mlp_fc2_weight 0) (mlp_fc2_bias 0)) d_drop_path_7).
  assert (E_mlp_6 : (sum B (fun iB => (sum H (fun iH => (sum W (fun iW => (sum N (fun iN => (sum S (fun iS => d_drop_path_7 iB iH iW iN iS * u_y_mlp_6 iB iH iW iN iS)))))))))) = (sum B (fun iB => (sum H (fun iH => (sum W (fun iW => (sum N (fun iN => (sum S (fun iS => (fst (fst (fst (fst d_mlp_6)))) iB iH iW iN iS * u_y_layer_norm_5 iB iH iW iN iS)))))))))) + (sum D2 (fun iD2 => (sum N (fun iN => (sum S (fun iS => (snd (fst (fst (fst d_mlp_6)))) iD2 iN iS * u_mlp_fc1_weight iD2 iN iS)))))) + (sum D2 (fun iD2 => (snd (fst (fst d_mlp_6))) iD2 * u_mlp_fc1_bias iD2)) + (sum N (fun iN => (sum S (fun iS => (sum D2 (fun iD2 => (snd (fst d_mlp_6)) iN iS iD2 * u_mlp_fc2_weight iN iS iD2)))))) + (sum N (fun iN => (sum S (fun iS => (snd d_mlp_6) iN iS * u_mlp_fc2_bias iN iS))))) by exact (A_y_mlp_6 d_drop_path_7).
  pose (d_layer_norm_5 := snd (layer_norm_segments B H W N S (5902958103587057 / 590295810358705651712) (y_residual_4 0) (norm2_weight 0) (norm2_bias 0)) (fst (fst (fst (fst d_mlp_6))))).
  assert (E_layer_norm_5 : (sum B (fun iB => (sum H (fun iH => (sum W (fun iW => (sum N (fun iN => (sum S (fun iS => (fst (fst (fst (fst d_mlp_6)))) iB iH iW iN iS * u_y_layer_norm_5 iB iH iW iN iS)))))))))) = (sum B (fun iB => (sum H (fun iH => (sum W (fun iW => (sum N (fun iN => (sum S (fun iS => (fst (fst d_layer_norm_5)) iB iH iW iN iS * u_y_residual_4 iB iH iW iN iS)))))))))) + (sum N (fun iN => (sum S (fun iS => (snd (fst d_layer_norm_5)) iN iS * u_norm2_weight iN iS)))) + (sum N (fun iN => (sum S (fun iS => (snd d_layer_norm_5) iN iS * u_norm2_bias iN iS))))) by exact (A_y_layer_norm_5 (fst (fst (fst (fst d_mlp_6))))).
  pose (v1 := fun iB iH iW iN iS : nat => ((fst d_residual_8) iB iH iW iN iS) + ((fst (fst d_layer_norm_5)) iB iH iW iN iS)).
  pose (d_residual_4 := snd (residual_segments B H W N S skip_lam (x 0) (y_drop_path_3 0)) v1).
  assert (E_residual_4 : (sum B (fun iB => (sum H (fun iH => (sum W (fun iW => (sum N (fun iN => (sum S (fun iS => v1 iB iH iW iN iS * u_y_residual_4 iB iH iW iN iS)))))))))) = (sum B (fun iB => (sum H (fun iH => (sum W (fun iW => (sum N (fun iN => (sum S (fun iS => (fst d_residual_4) iB iH iW iN iS * u_x iB iH iW iN iS)))))))))) + (sum B (fun iB => (sum H (fun iH => (sum W (fun iW => (sum N (fun iN => (sum S (fun iS => (snd d_residual_4) iB iH iW iN iS * u_y_drop_path_3 iB iH iW iN iS))))))))))) by exact (A_y_residual_4 v1).
  pose (d_drop_path_3 := snd (drop_path_segments B H W N S attn_path attn_path_rate (y_permute_mlp_2 0)) (snd d_residual_4)).
  assert (E_drop_path_3 : (sum B (fun iB => (sum H (fun iH => (sum W (fun iW => (sum N (fun iN => (sum S (fun iS => (snd d_residual_4) iB iH iW iN iS * u_y_drop_path_3 iB iH iW iN iS)))))))))) = (sum B (fun iB => (sum H (fun iH => (sum W (fun iW => (sum N (fun iN => (sum S (fun iS => d_drop_path_3 iB iH iW iN iS * u_y_permute_mlp_2 iB iH iW iN iS))))))))))) by exact (A_y_drop_path_3 (snd d_residual_4)).
  pose (d_permute_mlp_2 := snd (permute_mlp B H W N S proj proj_rate (y_layer_norm_1 0) (attn_mlp_c_weight 0) (attn_mlp_h_weight 0) (attn_mlp_w_weight 0) (attn_proj_weight 0) (attn_proj_bias 0)) d_drop_path_3).
  assert (E_permute_mlp_2 : (sum B (fun iB => (sum H (fun iH => (sum W (fun iW => (sum N (fun iN => (sum S (fun iS => d_drop_path_3 iB iH iW iN iS * u_y_permute_mlp_2 iB iH iW iN iS)))))))))) = (sum B (fun iB => (sum H (fun iH => (sum W (fun iW => (sum N (fun iN => (sum S (fun iS => (fst (fst (fst (fst (fst d_permute_mlp_2))))) iB iH iW iN iS * u_y_layer_norm_1 iB iH iW iN iS)))))))))) + (sum N (fun iN => (sum S (fun iS => (sum N (fun iN' => (sum S (fun iS' => (snd (fst (fst (fst (fst d_permute_mlp_2))))) iN iS iN' iS' * u_attn_mlp_c_weight iN iS iN' iS')))))))) + (sum H (fun iH => (sum S (fun iS => (sum H (fun iH' => (sum S (fun iS' => (snd (fst (fst (fst d_permute_mlp_2)))) iH iS iH' iS' * u_attn_mlp_h_weight iH iS iH' iS')))))))) + (sum W (fun iW => (sum S (fun iS => (sum W (fun iW' => (sum S (fun iS' => (snd (fst (fst d_permute_mlp_2))) iW iS iW' iS' * u_attn_mlp_w_weight iW iS iW' iS')))))))) + (sum N (fun iN => (sum S (fun iS => (sum N (fun iN' => (sum S (fun iS' => (snd (fst d_permute_mlp_2)) iN iS iN' iS' * u_attn_proj_weight iN iS iN' iS')))))))) + (sum N (fun iN => (sum S (fun iS => (snd d_permute_mlp_2) iN iS * u_attn_proj_bias iN iS))))) by exact (A_y_permute_mlp_2 d_drop_path_3).
  pose (d_layer_norm_1 := snd (layer_norm_segments B H W N S (5902958103587057 / 590295810358705651712) (x 0) (norm1_weight 0) (norm1_bias 0)) (fst (fst (fst (fst (fst d_permute_mlp_2)))))).
  assert (E_layer_norm_1 : (sum B (fun iB => (sum H (fun iH => (sum W (fun iW => (sum N (fun iN => (sum S (fun iS => (fst (fst (fst (fst (fst d_permute_mlp_2))))) iB iH iW iN iS * u_y_layer_norm_1 iB iH iW iN iS)))))))))) = (sum B (fun iB => (sum H (fun iH => (sum W (fun iW => (sum N (fun iN => (sum S (fun iS => (fst (fst d_layer_norm_1)) iB iH iW iN iS * u_x iB iH iW iN iS)))))))))) + (sum N (fun iN => (sum S (fun iS => (snd (fst d_layer_norm_1)) iN iS * u_norm1_weight iN iS)))) + (sum N (fun iN => (sum S (fun iS => (snd d_layer_norm_1) iN iS * u_norm1_bias iN iS))))) by exact (A_y_layer_norm_1 (fst (fst (fst (fst (fst d_permute_mlp_2)))))).
  pose (v2 := fun iB iH iW iN iS : nat => ((fst d_residual_4) iB iH iW iN iS) + ((fst (fst d_layer_norm_1)) iB iH iW iN iS)).
  assert (G : g = (v2, (snd (fst d_layer_norm_1)), (snd d_layer_norm_1), (snd (fst (fst (fst (fst d_permute_mlp_2))))), (snd (fst (fst (fst d_permute_mlp_2)))), (snd (fst (fst d_permute_mlp_2))), (snd (fst d_permute_mlp_2)), (snd d_permute_mlp_2), (snd (fst d_layer_norm_5)), (snd d_layer_norm_5), (snd (fst (fst (fst d_mlp_6)))), (snd (fst (fst d_mlp_6))), (snd (fst d_mlp_6)), (snd d_mlp_6))) by reflexivity.
  clearbody g; subst g; clearbody d_residual_8 d_drop_path_7 d_mlp_6 d_layer_norm_5 d_residual_4 d_drop_path_3 d_permute_mlp_2 d_layer_norm_1; cbn [fst snd].
  unfold v2 in *.
  unfold v1 in *.
  cbv beta in *.
  spread_in E_residual_4.
  spread. lra.
Qed.
