(* Written by proofs/layers.py from vipnp/layers (weighted_permute_mlp); do not edit. *)
From Proofs Require Import Tactics.
From Statements Require Import global_average_pool split_attention linear dropout.
From Ops Require Import global_average_pool split_attention linear dropout.
From Layers Require Import reweight.
Open Scope R_scope.
Opaque sum.

Definition weighted_permute_mlp (B H W N S M V K T L U D : nat) (mask : nat -> nat -> nat -> nat -> nat -> R) (rate : R) (branch_h : (nat -> nat -> nat -> nat -> nat -> R) -> (nat -> nat -> nat -> nat -> R) -> (nat -> nat -> nat -> nat -> nat -> R) * ((nat -> nat -> nat -> nat -> nat -> R) -> (nat -> nat -> nat -> nat -> nat -> R) * (nat -> nat -> nat -> nat -> R))) (branch_w : (nat -> nat -> nat -> nat -> nat -> R) -> (nat -> nat -> nat -> nat -> R) -> (nat -> nat -> nat -> nat -> nat -> R) * ((nat -> nat -> nat -> nat -> nat -> R) -> (nat -> nat -> nat -> nat -> nat -> R) * (nat -> nat -> nat -> nat -> R))) (branch_c : (nat -> nat -> nat -> nat -> nat -> R) -> (nat -> nat -> nat -> nat -> R) -> (nat -> nat -> nat -> nat -> nat -> R) * ((nat -> nat -> nat -> nat -> nat -> R) -> (nat -> nat -> nat -> nat -> nat -> R) * (nat -> nat -> nat -> nat -> R)))
    (x : nat -> nat -> nat -> nat -> nat -> R) (mlp_c_weight : nat -> nat -> nat -> nat -> R) (mlp_h_weight : nat -> nat -> nat -> nat -> R) (mlp_w_weight : nat -> nat -> nat -> nat -> R) (proj_weight : nat -> nat -> nat -> nat -> R) (proj_bias : nat -> nat -> R) (reweight_fc1_weight : nat -> nat -> nat -> R) (reweight_fc1_bias : nat -> R) (reweight_fc2_weight : nat -> nat -> nat -> nat -> R) (reweight_fc2_bias : nat -> nat -> nat -> R)
    : (nat -> nat -> nat -> nat -> nat -> R) * ((nat -> nat -> nat -> nat -> nat -> R) -> (nat -> nat -> nat -> nat -> nat -> R) * (nat -> nat -> nat -> nat -> R) * (nat -> nat -> nat -> nat -> R) * (nat -> nat -> nat -> nat -> R) * (nat -> nat -> nat -> nat -> R) * (nat -> nat -> R) * (nat -> nat -> nat -> R) * (nat -> R) * (nat -> nat -> nat -> nat -> R) * (nat -> nat -> nat -> R)) :=
  let y_branch_h_1 : nat -> nat -> nat -> nat -> nat -> R := fst (branch_h x mlp_h_weight) in
  let y_branch_w_2 : nat -> nat -> nat -> nat -> nat -> R := fst (branch_w x mlp_w_weight) in
  let y_branch_c_3 : nat -> nat -> nat -> nat -> nat -> R := fst (branch_c x mlp_c_weight) in
  let v1 := fun iB iH iW iN iS : nat => (y_branch_h_1 iB iH iW iN iS) + (y_branch_w_2 iB iH iW iN iS) in
  let v2 := fun iB iH iW iN iS : nat => (v1 iB iH iW iN iS) + (y_branch_c_3 iB iH iW iN iS) in
  let y_global_average_pool_4 : nat -> nat -> nat -> R := fst (global_average_pool_segments B H W N S v2) in
  let y_mlp_5 : nat -> nat -> nat -> nat -> R := fst (reweight B N S D y_global_average_pool_4 reweight_fc1_weight reweight_fc1_bias reweight_fc2_weight reweight_fc2_bias) in
  let y_split_attention_6 : nat -> nat -> nat -> nat -> nat -> R := fst (split_attention_segments B N S H W (fun iB iN iS i3 : nat => (y_mlp_5 iB iN iS i3)) y_branch_h_1 y_branch_w_2 y_branch_c_3) in
  let y_linear_7 : nat -> nat -> nat -> nat -> nat -> R := fst (linear_segments B H W N S N S y_split_attention_6 proj_weight proj_bias) in
  let y_dropout_8 : nat -> nat -> nat -> nat -> nat -> R := fst (dropout_segments B H W N S mask rate y_linear_7) in
  (fun iB iH iW iN iS : nat => (y_dropout_8 iB iH iW iN iS),
   fun dy : nat -> nat -> nat -> nat -> nat -> R =>
     let d_dropout_8 : (nat -> nat -> nat -> nat -> nat -> R) := snd (dropout_segments B H W N S mask rate y_linear_7) dy in
     let d_linear_7 : (nat -> nat -> nat -> nat -> nat -> R) * (nat -> nat -> nat -> nat -> R) * (nat -> nat -> R) := snd (linear_segments B H W N S N S y_split_attention_6 proj_weight proj_bias) d_dropout_8 in
     let d_split_attention_6 : (nat -> nat -> nat -> nat -> R) * (nat -> nat -> nat -> nat -> nat -> R) * (nat -> nat -> nat -> nat -> nat -> R) * (nat -> nat -> nat -> nat -> nat -> R) := snd (split_attention_segments B N S H W (fun iB iN iS i3 : nat => (y_mlp_5 iB iN iS i3)) y_branch_h_1 y_branch_w_2 y_branch_c_3) (fst (fst d_linear_7)) in
     let d_mlp_5 : (nat -> nat -> nat -> R) * (nat -> nat -> nat -> R) * (nat -> R) * (nat -> nat -> nat -> nat -> R) * (nat -> nat -> nat -> R) := snd (reweight B N S D y_global_average_pool_4 reweight_fc1_weight reweight_fc1_bias reweight_fc2_weight reweight_fc2_bias) (fun iB iN iS i3 : nat => ((fst (fst (fst d_split_attention_6))) iB iN iS i3)) in
     let d_global_average_pool_4 : (nat -> nat -> nat -> nat -> nat -> R) := snd (global_average_pool_segments B H W N S v2) (fst (fst (fst (fst d_mlp_5)))) in
     let v3 := fun iB iH iW iN iS : nat => ((snd (fst (fst d_split_attention_6))) iB iH iW iN iS) + (d_global_average_pool_4 iB iH iW iN iS) in
     let d_branch_h_1 : (nat -> nat -> nat -> nat -> nat -> R) * (nat -> nat -> nat -> nat -> R) := snd (branch_h x mlp_h_weight) v3 in
     let v4 := fun iB iH iW iN iS : nat => ((snd (fst d_split_attention_6)) iB iH iW iN iS) + (d_global_average_pool_4 iB iH iW iN iS) in
     let d_branch_w_2 : (nat -> nat -> nat -> nat -> nat -> R) * (nat -> nat -> nat -> nat -> R) := snd (branch_w x mlp_w_weight) v4 in
     let v5 := fun iB iH iW iN iS : nat => ((snd d_split_attention_6) iB iH iW iN iS) + (d_global_average_pool_4 iB iH iW iN iS) in
     let d_branch_c_3 : (nat -> nat -> nat -> nat -> nat -> R) * (nat -> nat -> nat -> nat -> R) := snd (branch_c x mlp_c_weight) v5 in
     let v6 := fun iB iH iW iN iS : nat => ((fst d_branch_h_1) iB iH iW iN iS) + ((fst d_branch_w_2) iB iH iW iN iS) in
     let v7 := fun iB iH iW iN iS : nat => (v6 iB iH iW iN iS) + ((fst d_branch_c_3) iB iH iW iN iS) in
     (fun iB iH iW iN iS : nat => (v7 iB iH iW iN iS), fun iM iV iM' iV' : nat => ((snd d_branch_c_3) iM iV iM' iV'), fun iK iT iK' iT' : nat => ((snd d_branch_h_1) iK iT iK' iT'), fun iL iU iL' iU' : nat => ((snd d_branch_w_2) iL iU iL' iU'), fun iN iS iN' iS' : nat => ((snd (fst d_linear_7)) iN iS iN' iS'), fun iN iS : nat => ((snd d_linear_7) iN iS), fun iD iN iS : nat => ((snd (fst (fst (fst d_mlp_5)))) iD iN iS), fun iD : nat => ((snd (fst (fst d_mlp_5))) iD), fun iN iS i3 iD : nat => ((snd (fst d_mlp_5)) iN iS i3 iD), fun iN iS i3 : nat => ((snd d_mlp_5) iN iS i3))).

Definition weighted_permute_mlp_is_correct : Prop :=
  forall (B H W N S M V K T L U D : nat) (mask : nat -> nat -> nat -> nat -> nat -> R) (rate : R) (branch_h : (nat -> nat -> nat -> nat -> nat -> R) -> (nat -> nat -> nat -> nat -> R) -> (nat -> nat -> nat -> nat -> nat -> R) * ((nat -> nat -> nat -> nat -> nat -> R) -> (nat -> nat -> nat -> nat -> nat -> R) * (nat -> nat -> nat -> nat -> R))) (branch_w : (nat -> nat -> nat -> nat -> nat -> R) -> (nat -> nat -> nat -> nat -> R) -> (nat -> nat -> nat -> nat -> nat -> R) * ((nat -> nat -> nat -> nat -> nat -> R) -> (nat -> nat -> nat -> nat -> nat -> R) * (nat -> nat -> nat -> nat -> R))) (branch_c : (nat -> nat -> nat -> nat -> nat -> R) -> (nat -> nat -> nat -> nat -> R) -> (nat -> nat -> nat -> nat -> nat -> R) * ((nat -> nat -> nat -> nat -> nat -> R) -> (nat -> nat -> nat -> nat -> nat -> R) * (nat -> nat -> nat -> nat -> R)))
    (x : R -> nat -> nat -> nat -> nat -> nat -> R) (mlp_c_weight : R -> nat -> nat -> nat -> nat -> R) (mlp_h_weight : R -> nat -> nat -> nat -> nat -> R) (mlp_w_weight : R -> nat -> nat -> nat -> nat -> R) (proj_weight : R -> nat -> nat -> nat -> nat -> R) (proj_bias : R -> nat -> nat -> R) (reweight_fc1_weight : R -> nat -> nat -> nat -> R) (reweight_fc1_bias : R -> nat -> R) (reweight_fc2_weight : R -> nat -> nat -> nat -> nat -> R) (reweight_fc2_bias : R -> nat -> nat -> nat -> R)
    (u_x : nat -> nat -> nat -> nat -> nat -> R) (u_mlp_c_weight : nat -> nat -> nat -> nat -> R) (u_mlp_h_weight : nat -> nat -> nat -> nat -> R) (u_mlp_w_weight : nat -> nat -> nat -> nat -> R) (u_proj_weight : nat -> nat -> nat -> nat -> R) (u_proj_bias : nat -> nat -> R) (u_reweight_fc1_weight : nat -> nat -> nat -> R) (u_reweight_fc1_bias : nat -> R) (u_reweight_fc2_weight : nat -> nat -> nat -> nat -> R) (u_reweight_fc2_bias : nat -> nat -> nat -> R),
  (0 < B)%nat ->
  (0 < H)%nat ->
  (0 < W)%nat ->
  (0 < N)%nat ->
  (0 < S)%nat ->
  (0 < M)%nat ->
  (0 < V)%nat ->
  (0 < K)%nat ->
  (0 < T)%nat ->
  (0 < L)%nat ->
  (0 < U)%nat ->
  (0 < D)%nat ->
  (forall (x : R -> nat -> nat -> nat -> nat -> nat -> R) (weight : R -> nat -> nat -> nat -> nat -> R) (u_x : nat -> nat -> nat -> nat -> nat -> R) (u_weight : nat -> nat -> nat -> nat -> R), (forall iB iH iW iN iS, is_derive (fun t => x t iB iH iW iN iS) 0 (u_x iB iH iW iN iS)) -> (forall iK iT iK' iT', is_derive (fun t => weight t iK iT iK' iT') 0 (u_weight iK iT iK' iT')) -> exists v : nat -> nat -> nat -> nat -> nat -> R, (forall iB iH iW iN iS, is_derive (fun t => fst (branch_h (x t) (weight t)) iB iH iW iN iS) 0 (v iB iH iW iN iS)) /\ forall dy : nat -> nat -> nat -> nat -> nat -> R, let g := snd (branch_h (x 0) (weight 0)) dy in (sum B (fun iB => (sum H (fun iH => (sum W (fun iW => (sum N (fun iN => (sum S (fun iS => dy iB iH iW iN iS * v iB iH iW iN iS)))))))))) = (sum B (fun iB => (sum H (fun iH => (sum W (fun iW => (sum N (fun iN => (sum S (fun iS => (fst g) iB iH iW iN iS * u_x iB iH iW iN iS)))))))))) + (sum K (fun iK => (sum T (fun iT => (sum K (fun iK' => (sum T (fun iT' => (snd g) iK iT iK' iT' * u_weight iK iT iK' iT'))))))))) ->
  (forall (x : R -> nat -> nat -> nat -> nat -> nat -> R) (weight : R -> nat -> nat -> nat -> nat -> R) (u_x : nat -> nat -> nat -> nat -> nat -> R) (u_weight : nat -> nat -> nat -> nat -> R), (forall iB iH iW iN iS, is_derive (fun t => x t iB iH iW iN iS) 0 (u_x iB iH iW iN iS)) -> (forall iL iU iL' iU', is_derive (fun t => weight t iL iU iL' iU') 0 (u_weight iL iU iL' iU')) -> exists v : nat -> nat -> nat -> nat -> nat -> R, (forall iB iH iW iN iS, is_derive (fun t => fst (branch_w (x t) (weight t)) iB iH iW iN iS) 0 (v iB iH iW iN iS)) /\ forall dy : nat -> nat -> nat -> nat -> nat -> R, let g := snd (branch_w (x 0) (weight 0)) dy in (sum B (fun iB => (sum H (fun iH => (sum W (fun iW => (sum N (fun iN => (sum S (fun iS => dy iB iH iW iN iS * v iB iH iW iN iS)))))))))) = (sum B (fun iB => (sum H (fun iH => (sum W (fun iW => (sum N (fun iN => (sum S (fun iS => (fst g) iB iH iW iN iS * u_x iB iH iW iN iS)))))))))) + (sum L (fun iL => (sum U (fun iU => (sum L (fun iL' => (sum U (fun iU' => (snd g) iL iU iL' iU' * u_weight iL iU iL' iU'))))))))) ->
  (forall (x : R -> nat -> nat -> nat -> nat -> nat -> R) (weight : R -> nat -> nat -> nat -> nat -> R) (u_x : nat -> nat -> nat -> nat -> nat -> R) (u_weight : nat -> nat -> nat -> nat -> R), (forall iB iH iW iN iS, is_derive (fun t => x t iB iH iW iN iS) 0 (u_x iB iH iW iN iS)) -> (forall iM iV iM' iV', is_derive (fun t => weight t iM iV iM' iV') 0 (u_weight iM iV iM' iV')) -> exists v : nat -> nat -> nat -> nat -> nat -> R, (forall iB iH iW iN iS, is_derive (fun t => fst (branch_c (x t) (weight t)) iB iH iW iN iS) 0 (v iB iH iW iN iS)) /\ forall dy : nat -> nat -> nat -> nat -> nat -> R, let g := snd (branch_c (x 0) (weight 0)) dy in (sum B (fun iB => (sum H (fun iH => (sum W (fun iW => (sum N (fun iN => (sum S (fun iS => dy iB iH iW iN iS * v iB iH iW iN iS)))))))))) = (sum B (fun iB => (sum H (fun iH => (sum W (fun iW => (sum N (fun iN => (sum S (fun iS => (fst g) iB iH iW iN iS * u_x iB iH iW iN iS)))))))))) + (sum M (fun iM => (sum V (fun iV => (sum M (fun iM' => (sum V (fun iV' => (snd g) iM iV iM' iV' * u_weight iM iV iM' iV'))))))))) ->
  (forall iB iH iW iN iS, is_derive (fun t => x t iB iH iW iN iS) 0 (u_x iB iH iW iN iS)) ->
  (forall iM iV iM' iV', is_derive (fun t => mlp_c_weight t iM iV iM' iV') 0 (u_mlp_c_weight iM iV iM' iV')) ->
  (forall iK iT iK' iT', is_derive (fun t => mlp_h_weight t iK iT iK' iT') 0 (u_mlp_h_weight iK iT iK' iT')) ->
  (forall iL iU iL' iU', is_derive (fun t => mlp_w_weight t iL iU iL' iU') 0 (u_mlp_w_weight iL iU iL' iU')) ->
  (forall iN iS iN' iS', is_derive (fun t => proj_weight t iN iS iN' iS') 0 (u_proj_weight iN iS iN' iS')) ->
  (forall iN iS, is_derive (fun t => proj_bias t iN iS) 0 (u_proj_bias iN iS)) ->
  (forall iD iN iS, is_derive (fun t => reweight_fc1_weight t iD iN iS) 0 (u_reweight_fc1_weight iD iN iS)) ->
  (forall iD, is_derive (fun t => reweight_fc1_bias t iD) 0 (u_reweight_fc1_bias iD)) ->
  (forall iN iS i3 iD, is_derive (fun t => reweight_fc2_weight t iN iS i3 iD) 0 (u_reweight_fc2_weight iN iS i3 iD)) ->
  (forall iN iS i3, is_derive (fun t => reweight_fc2_bias t iN iS i3) 0 (u_reweight_fc2_bias iN iS i3)) ->
  exists v : nat -> nat -> nat -> nat -> nat -> R,
  (forall iB iH iW iN iS, is_derive (fun t => fst (weighted_permute_mlp B H W N S M V K T L U D mask rate branch_h branch_w branch_c (x t) (mlp_c_weight t) (mlp_h_weight t) (mlp_w_weight t) (proj_weight t) (proj_bias t) (reweight_fc1_weight t) (reweight_fc1_bias t) (reweight_fc2_weight t) (reweight_fc2_bias t)) iB iH iW iN iS) 0 (v iB iH iW iN iS)) /\
  forall dy : nat -> nat -> nat -> nat -> nat -> R,
  let g := snd (weighted_permute_mlp B H W N S M V K T L U D mask rate branch_h branch_w branch_c (x 0) (mlp_c_weight 0) (mlp_h_weight 0) (mlp_w_weight 0) (proj_weight 0) (proj_bias 0) (reweight_fc1_weight 0) (reweight_fc1_bias 0) (reweight_fc2_weight 0) (reweight_fc2_bias 0)) dy in
  (sum B (fun iB => (sum H (fun iH => (sum W (fun iW => (sum N (fun iN => (sum S (fun iS => dy iB iH iW iN iS * v iB iH iW iN iS)))))))))) =
  (sum B (fun iB => (sum H (fun iH => (sum W (fun iW => (sum N (fun iN => (sum S (fun iS => (fst (fst (fst (fst (fst (fst (fst (fst (fst g))))))))) iB iH iW iN iS * u_x iB iH iW iN iS)))))))))) +
  (sum M (fun iM => (sum V (fun iV => (sum M (fun iM' => (sum V (fun iV' => (snd (fst (fst (fst (fst (fst (fst (fst (fst g))))))))) iM iV iM' iV' * u_mlp_c_weight iM iV iM' iV')))))))) +
  (sum K (fun iK => (sum T (fun iT => (sum K (fun iK' => (sum T (fun iT' => (snd (fst (fst (fst (fst (fst (fst (fst g)))))))) iK iT iK' iT' * u_mlp_h_weight iK iT iK' iT')))))))) +
  (sum L (fun iL => (sum U (fun iU => (sum L (fun iL' => (sum U (fun iU' => (snd (fst (fst (fst (fst (fst (fst g))))))) iL iU iL' iU' * u_mlp_w_weight iL iU iL' iU')))))))) +
  (sum N (fun iN => (sum S (fun iS => (sum N (fun iN' => (sum S (fun iS' => (snd (fst (fst (fst (fst (fst g)))))) iN iS iN' iS' * u_proj_weight iN iS iN' iS')))))))) +
  (sum N (fun iN => (sum S (fun iS => (snd (fst (fst (fst (fst g))))) iN iS * u_proj_bias iN iS)))) +
  (sum D (fun iD => (sum N (fun iN => (sum S (fun iS => (snd (fst (fst (fst g)))) iD iN iS * u_reweight_fc1_weight iD iN iS)))))) +
  (sum D (fun iD => (snd (fst (fst g))) iD * u_reweight_fc1_bias iD)) +
  (sum N (fun iN => (sum S (fun iS => (sum 3 (fun i3 => (sum D (fun iD => (snd (fst g)) iN iS i3 iD * u_reweight_fc2_weight iN iS i3 iD)))))))) +
  (sum N (fun iN => (sum S (fun iS => (sum 3 (fun i3 => (snd g) iN iS i3 * u_reweight_fc2_bias iN iS i3)))))).

Theorem weighted_permute_mlp_correct : weighted_permute_mlp_is_correct.
Proof.
  cbv beta delta [weighted_permute_mlp_is_correct weighted_permute_mlp].
  generalize global_average_pool_segments_correct; cbv delta [global_average_pool_segments_is_correct]; generalize global_average_pool_segments; intros global_average_pool_segments C_global_average_pool_segments.
  generalize reweight_correct; cbv delta [reweight_is_correct]; generalize reweight; intros reweight C_reweight.
  generalize split_attention_segments_correct; cbv delta [split_attention_segments_is_correct]; generalize split_attention_segments; intros split_attention_segments C_split_attention_segments.
  generalize linear_segments_correct; cbv delta [linear_segments_is_correct]; generalize linear_segments; intros linear_segments C_linear_segments.
  generalize dropout_segments_correct; cbv delta [dropout_segments_is_correct]; generalize dropout_segments; intros dropout_segments C_dropout_segments.
  intros B H W N S M V K T L U D mask rate branch_h branch_w branch_c x mlp_c_weight mlp_h_weight mlp_w_weight proj_weight proj_bias reweight_fc1_weight reweight_fc1_bias reweight_fc2_weight reweight_fc2_bias u_x u_mlp_c_weight u_mlp_h_weight u_mlp_w_weight u_proj_weight u_proj_bias u_reweight_fc1_weight u_reweight_fc1_bias u_reweight_fc2_weight u_reweight_fc2_bias P_B P_H P_W P_N P_S P_M P_V P_K P_T P_L P_U P_D C_branch_h C_branch_w C_branch_c D_x D_mlp_c_weight D_mlp_h_weight D_mlp_w_weight D_proj_weight D_proj_bias D_reweight_fc1_weight D_reweight_fc1_bias D_reweight_fc2_weight D_reweight_fc2_bias.
  pose (y_branch_h_1 := fun t => fst (branch_h (x t) (mlp_h_weight t))).
  destruct (C_branch_h (fun t => (x t)) (fun t => (mlp_h_weight t)) u_x u_mlp_h_weight D_x D_mlp_h_weight)
    as [u_y_branch_h_1 [D_y_branch_h_1 A_y_branch_h_1]].
  change (forall iB iH iW iN iS, is_derive (fun t => y_branch_h_1 t iB iH iW iN iS) 0 (u_y_branch_h_1 iB iH iW iN iS)) in D_y_branch_h_1.
  pose (y_branch_w_2 := fun t => fst (branch_w (x t) (mlp_w_weight t))).
  destruct (C_branch_w (fun t => (x t)) (fun t => (mlp_w_weight t)) u_x u_mlp_w_weight D_x D_mlp_w_weight)
    as [u_y_branch_w_2 [D_y_branch_w_2 A_y_branch_w_2]].
  change (forall iB iH iW iN iS, is_derive (fun t => y_branch_w_2 t iB iH iW iN iS) 0 (u_y_branch_w_2 iB iH iW iN iS)) in D_y_branch_w_2.
  pose (y_branch_c_3 := fun t => fst (branch_c (x t) (mlp_c_weight t))).
  destruct (C_branch_c (fun t => (x t)) (fun t => (mlp_c_weight t)) u_x u_mlp_c_weight D_x D_mlp_c_weight)
    as [u_y_branch_c_3 [D_y_branch_c_3 A_y_branch_c_3]].
  change (forall iB iH iW iN iS, is_derive (fun t => y_branch_c_3 t iB iH iW iN iS) 0 (u_y_branch_c_3 iB iH iW iN iS)) in D_y_branch_c_3.
  pose (v1 := fun t => fun iB iH iW iN iS : nat => ((y_branch_h_1 t) iB iH iW iN iS) + ((y_branch_w_2 t) iB iH iW iN iS)).
  pose (u_v1 := fun iB iH iW iN iS : nat => (u_y_branch_h_1 iB iH iW iN iS) + (u_y_branch_w_2 iB iH iW iN iS)).
  assert (D_v1 : forall iB iH iW iN iS, is_derive (fun t => v1 t iB iH iW iN iS) 0 (u_v1 iB iH iW iN iS)) by exact (fun iB iH iW iN iS => is_derive_sum _ _ _ _ (D_y_branch_h_1 iB iH iW iN iS) (D_y_branch_w_2 iB iH iW iN iS)).
  pose (v2 := fun t => fun iB iH iW iN iS : nat => ((v1 t) iB iH iW iN iS) + ((y_branch_c_3 t) iB iH iW iN iS)).
  pose (u_v2 := fun iB iH iW iN iS : nat => (u_v1 iB iH iW iN iS) + (u_y_branch_c_3 iB iH iW iN iS)).
  assert (D_v2 : forall iB iH iW iN iS, is_derive (fun t => v2 t iB iH iW iN iS) 0 (u_v2 iB iH iW iN iS)) by exact (fun iB iH iW iN iS => is_derive_sum _ _ _ _ (D_v1 iB iH iW iN iS) (D_y_branch_c_3 iB iH iW iN iS)).
  pose (y_global_average_pool_4 := fun t => fst (global_average_pool_segments B H W N S (v2 t))).
  destruct (C_global_average_pool_segments B H W N S (fun t => (v2 t)) u_v2 P_B P_H P_W P_N P_S D_v2)
    as [u_y_global_average_pool_4 [D_y_global_average_pool_4 A_y_global_average_pool_4]].
  change (forall iB iN iS, is_derive (fun t => y_global_average_pool_4 t iB iN iS) 0 (u_y_global_average_pool_4 iB iN iS)) in D_y_global_average_pool_4.
  pose (y_mlp_5 := fun t => fst (reweight B N S D (y_global_average_pool_4 t) (reweight_fc1_weight t) (reweight_fc1_bias t) (reweight_fc2_weight t) (reweight_fc2_bias t))).
  destruct (C_reweight B N S D (fun t => (y_global_average_pool_4 t)) (fun t => (reweight_fc1_weight t)) (fun t => (reweight_fc1_bias t)) (fun t => (reweight_fc2_weight t)) (fun t => (reweight_fc2_bias t)) u_y_global_average_pool_4 u_reweight_fc1_weight u_reweight_fc1_bias u_reweight_fc2_weight u_reweight_fc2_bias P_B P_N P_S P_D D_y_global_average_pool_4 D_reweight_fc1_weight D_reweight_fc1_bias D_reweight_fc2_weight D_reweight_fc2_bias)
    as [u_y_mlp_5 [D_y_mlp_5 A_y_mlp_5]].
  change (forall iB iN iS i3, is_derive (fun t => y_mlp_5 t iB iN iS i3) 0 (u_y_mlp_5 iB iN iS i3)) in D_y_mlp_5.
  pose (y_split_attention_6 := fun t => fst (split_attention_segments B N S H W (fun iB iN iS i3 : nat => ((y_mlp_5 t) iB iN iS i3)) (y_branch_h_1 t) (y_branch_w_2 t) (y_branch_c_3 t))).
  destruct (C_split_attention_segments B N S H W (fun t => (fun iB iN iS i3 : nat => ((y_mlp_5 t) iB iN iS i3))) (fun t => (y_branch_h_1 t)) (fun t => (y_branch_w_2 t)) (fun t => (y_branch_c_3 t)) (fun iB iN iS i3 : nat => (u_y_mlp_5 iB iN iS i3)) u_y_branch_h_1 u_y_branch_w_2 u_y_branch_c_3 P_B P_N P_S P_H P_W (fun iB iN iS i3 => (D_y_mlp_5 iB iN iS i3)) D_y_branch_h_1 D_y_branch_w_2 D_y_branch_c_3)
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
  pose (d_split_attention_6 := snd (split_attention_segments B N S H W (fun iB iN iS i3 : nat => ((y_mlp_5 0) iB iN iS i3)) (y_branch_h_1 0) (y_branch_w_2 0) (y_branch_c_3 0)) (fst (fst d_linear_7))).
  assert (E_split_attention_6 : (sum B (fun iB => (sum H (fun iH => (sum W (fun iW => (sum N (fun iN => (sum S (fun iS => (fst (fst d_linear_7)) iB iH iW iN iS * u_y_split_attention_6 iB iH iW iN iS)))))))))) = (sum B (fun iB => (sum N (fun iN => (sum S (fun iS => (sum 3 (fun i3 => (fst (fst (fst d_split_attention_6))) iB iN iS i3 * (fun iB iN iS i3 : nat => (u_y_mlp_5 iB iN iS i3)) iB iN iS i3)))))))) + (sum B (fun iB => (sum H (fun iH => (sum W (fun iW => (sum N (fun iN => (sum S (fun iS => (snd (fst (fst d_split_attention_6))) iB iH iW iN iS * u_y_branch_h_1 iB iH iW iN iS)))))))))) + (sum B (fun iB => (sum H (fun iH => (sum W (fun iW => (sum N (fun iN => (sum S (fun iS => (snd (fst d_split_attention_6)) iB iH iW iN iS * u_y_branch_w_2 iB iH iW iN iS)))))))))) + (sum B (fun iB => (sum H (fun iH => (sum W (fun iW => (sum N (fun iN => (sum S (fun iS => (snd d_split_attention_6) iB iH iW iN iS * u_y_branch_c_3 iB iH iW iN iS))))))))))) by exact (A_y_split_attention_6 (fst (fst d_linear_7))).
  pose (d_mlp_5 := snd (reweight B N S D (y_global_average_pool_4 0) (reweight_fc1_weight 0) (reweight_fc1_bias 0) (reweight_fc2_weight 0) (reweight_fc2_bias 0)) (fun iB iN iS i3 : nat => ((fst (fst (fst d_split_attention_6))) iB iN iS i3))).
  assert (E_mlp_5 : (sum B (fun iB => (sum N (fun iN => (sum S (fun iS => (sum 3 (fun i3 => (fun iB iN iS i3 : nat => ((fst (fst (fst d_split_attention_6))) iB iN iS i3)) iB iN iS i3 * u_y_mlp_5 iB iN iS i3)))))))) = (sum B (fun iB => (sum N (fun iN => (sum S (fun iS => (fst (fst (fst (fst d_mlp_5)))) iB iN iS * u_y_global_average_pool_4 iB iN iS)))))) + (sum D (fun iD => (sum N (fun iN => (sum S (fun iS => (snd (fst (fst (fst d_mlp_5)))) iD iN iS * u_reweight_fc1_weight iD iN iS)))))) + (sum D (fun iD => (snd (fst (fst d_mlp_5))) iD * u_reweight_fc1_bias iD)) + (sum N (fun iN => (sum S (fun iS => (sum 3 (fun i3 => (sum D (fun iD => (snd (fst d_mlp_5)) iN iS i3 iD * u_reweight_fc2_weight iN iS i3 iD)))))))) + (sum N (fun iN => (sum S (fun iS => (sum 3 (fun i3 => (snd d_mlp_5) iN iS i3 * u_reweight_fc2_bias iN iS i3))))))) by exact (A_y_mlp_5 (fun iB iN iS i3 : nat => ((fst (fst (fst d_split_attention_6))) iB iN iS i3))).
  pose (d_global_average_pool_4 := snd (global_average_pool_segments B H W N S (v2 0)) (fst (fst (fst (fst d_mlp_5))))).
  assert (E_global_average_pool_4 : (sum B (fun iB => (sum N (fun iN => (sum S (fun iS => (fst (fst (fst (fst d_mlp_5)))) iB iN iS * u_y_global_average_pool_4 iB iN iS)))))) = (sum B (fun iB => (sum H (fun iH => (sum W (fun iW => (sum N (fun iN => (sum S (fun iS => d_global_average_pool_4 iB iH iW iN iS * u_v2 iB iH iW iN iS))))))))))) by exact (A_y_global_average_pool_4 (fst (fst (fst (fst d_mlp_5))))).
  pose (v3 := fun iB iH iW iN iS : nat => ((snd (fst (fst d_split_attention_6))) iB iH iW iN iS) + (d_global_average_pool_4 iB iH iW iN iS)).
  pose (d_branch_h_1 := snd (branch_h (x 0) (mlp_h_weight 0)) v3).
  assert (E_branch_h_1 : (sum B (fun iB => (sum H (fun iH => (sum W (fun iW => (sum N (fun iN => (sum S (fun iS => v3 iB iH iW iN iS * u_y_branch_h_1 iB iH iW iN iS)))))))))) = (sum B (fun iB => (sum H (fun iH => (sum W (fun iW => (sum N (fun iN => (sum S (fun iS => (fst d_branch_h_1) iB iH iW iN iS * u_x iB iH iW iN iS)))))))))) + (sum K (fun iK => (sum T (fun iT => (sum K (fun iK' => (sum T (fun iT' => (snd d_branch_h_1) iK iT iK' iT' * u_mlp_h_weight iK iT iK' iT'))))))))) by exact (A_y_branch_h_1 v3).
  pose (v4 := fun iB iH iW iN iS : nat => ((snd (fst d_split_attention_6)) iB iH iW iN iS) + (d_global_average_pool_4 iB iH iW iN iS)).
  pose (d_branch_w_2 := snd (branch_w (x 0) (mlp_w_weight 0)) v4).
  assert (E_branch_w_2 : (sum B (fun iB => (sum H (fun iH => (sum W (fun iW => (sum N (fun iN => (sum S (fun iS => v4 iB iH iW iN iS * u_y_branch_w_2 iB iH iW iN iS)))))))))) = (sum B (fun iB => (sum H (fun iH => (sum W (fun iW => (sum N (fun iN => (sum S (fun iS => (fst d_branch_w_2) iB iH iW iN iS * u_x iB iH iW iN iS)))))))))) + (sum L (fun iL => (sum U (fun iU => (sum L (fun iL' => (sum U (fun iU' => (snd d_branch_w_2) iL iU iL' iU' * u_mlp_w_weight iL iU iL' iU'))))))))) by exact (A_y_branch_w_2 v4).
  pose (v5 := fun iB iH iW iN iS : nat => ((snd d_split_attention_6) iB iH iW iN iS) + (d_global_average_pool_4 iB iH iW iN iS)).
  pose (d_branch_c_3 := snd (branch_c (x 0) (mlp_c_weight 0)) v5).
  assert (E_branch_c_3 : (sum B (fun iB => (sum H (fun iH => (sum W (fun iW => (sum N (fun iN => (sum S (fun iS => v5 iB iH iW iN iS * u_y_branch_c_3 iB iH iW iN iS)))))))))) = (sum B (fun iB => (sum H (fun iH => (sum W (fun iW => (sum N (fun iN => (sum S (fun iS => (fst d_branch_c_3) iB iH iW iN iS * u_x iB iH iW iN iS)))))))))) + (sum M (fun iM => (sum V (fun iV => (sum M (fun iM' => (sum V (fun iV' => (snd d_branch_c_3) iM iV iM' iV' * u_mlp_c_weight iM iV iM' iV'))))))))) by exact (A_y_branch_c_3 v5).
  pose (v6 := fun iB iH iW iN iS : nat => ((fst d_branch_h_1) iB iH iW iN iS) + ((fst d_branch_w_2) iB iH iW iN iS)).
  pose (v7 := fun iB iH iW iN iS : nat => (v6 iB iH iW iN iS) + ((fst d_branch_c_3) iB iH iW iN iS)).
  assert (G : g = (v7, (snd d_branch_c_3), (snd d_branch_h_1), (snd d_branch_w_2), (snd (fst d_linear_7)), (snd d_linear_7), (snd (fst (fst (fst d_mlp_5)))), (snd (fst (fst d_mlp_5))), (snd (fst d_mlp_5)), (snd d_mlp_5))) by reflexivity.
  clearbody g; subst g; clearbody d_dropout_8 d_linear_7 d_split_attention_6 d_mlp_5 d_global_average_pool_4 d_branch_h_1 d_branch_w_2 d_branch_c_3; cbn [fst snd].
  unfold v7 in *.
  unfold v6 in *.
  unfold v5 in *.
  unfold v4 in *.
  unfold v3 in *.
  unfold u_v2 in *.
  unfold u_v1 in *.
  cbv beta in *.
  spread_in E_global_average_pool_4.
  spread_in E_branch_h_1.
  spread_in E_branch_w_2.
  spread_in E_branch_c_3.
  spread. lra.
Qed.
