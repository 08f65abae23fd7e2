(* Written by proofs/layers.py from vipnp/layers (permutator); do not edit. *)
From Proofs Require Import Tactics.
From Statements Require Import layer_norm linear residual gelu.
From Ops Require Import layer_norm linear residual gelu.
Open Scope R_scope.
Opaque sum.

Definition permutator_sum_unmasked (B H W N S M V K T L U D2 : nat) (skip_lam : R) (branch_h : (nat -> nat -> nat -> nat -> nat -> R) -> (nat -> nat -> nat -> nat -> R) -> (nat -> nat -> nat -> nat -> nat -> R) * ((nat -> nat -> nat -> nat -> nat -> R) -> (nat -> nat -> nat -> nat -> nat -> R) * (nat -> nat -> nat -> nat -> R))) (branch_w : (nat -> nat -> nat -> nat -> nat -> R) -> (nat -> nat -> nat -> nat -> R) -> (nat -> nat -> nat -> nat -> nat -> R) * ((nat -> nat -> nat -> nat -> nat -> R) -> (nat -> nat -> nat -> nat -> nat -> R) * (nat -> nat -> nat -> nat -> R))) (branch_c : (nat -> nat -> nat -> nat -> nat -> R) -> (nat -> nat -> nat -> nat -> R) -> (nat -> nat -> nat -> nat -> nat -> R) * ((nat -> nat -> nat -> nat -> nat -> R) -> (nat -> nat -> nat -> nat -> nat -> R) * (nat -> nat -> nat -> nat -> R)))
    (x : nat -> nat -> nat -> nat -> nat -> R) (norm1_weight : nat -> nat -> R) (norm1_bias : nat -> nat -> R) (attn_mlp_c_weight : nat -> nat -> nat -> nat -> R) (attn_mlp_h_weight : nat -> nat -> nat -> nat -> R) (attn_mlp_w_weight : nat -> nat -> nat -> nat -> R) (attn_proj_weight : nat -> nat -> nat -> nat -> R) (attn_proj_bias : nat -> nat -> R) (norm2_weight : nat -> nat -> R) (norm2_bias : nat -> nat -> R) (mlp_fc1_weight : nat -> nat -> nat -> R) (mlp_fc1_bias : nat -> R) (mlp_fc2_weight : nat -> nat -> nat -> R) (mlp_fc2_bias : nat -> nat -> R)
    : (nat -> nat -> nat -> nat -> nat -> R) * ((nat -> nat -> nat -> nat -> nat -> R) -> (nat -> nat -> nat -> nat -> nat -> R) * (nat -> nat -> R) * (nat -> nat -> R) * (nat -> nat -> nat -> nat -> R) * (nat -> nat -> nat -> nat -> R) * (nat -> nat -> nat -> nat -> R) * (nat -> nat -> nat -> nat -> R) * (nat -> nat -> R) * (nat -> nat -> R) * (nat -> nat -> R) * (nat -> nat -> nat -> R) * (nat -> R) * (nat -> nat -> nat -> R) * (nat -> nat -> R)) :=
  let y_layer_norm_1 : nat -> nat -> nat -> nat -> nat -> R := fst (layer_norm_segments B H W N S (5902958103587057 / 590295810358705651712) x norm1_weight norm1_bias) in
  let y_branch_h_2 : nat -> nat -> nat -> nat -> nat -> R := fst (branch_h y_layer_norm_1 attn_mlp_h_weight) in
  let y_branch_w_3 : nat -> nat -> nat -> nat -> nat -> R := fst (branch_w y_layer_norm_1 attn_mlp_w_weight) in
  let y_branch_c_4 : nat -> nat -> nat -> nat -> nat -> R := fst (branch_c y_layer_norm_1 attn_mlp_c_weight) in
  let v1 := fun iB iH iW iN iS : nat => (y_branch_h_2 iB iH iW iN iS) + (y_branch_w_3 iB iH iW iN iS) in
  let v2 := fun iB iH iW iN iS : nat => (v1 iB iH iW iN iS) + (y_branch_c_4 iB iH iW iN iS) in
  let y_linear_5 : nat -> nat -> nat -> nat -> nat -> R := fst (linear_segments B H W N S N S v2 attn_proj_weight attn_proj_bias) in
  let y_residual_6 : nat -> nat -> nat -> nat -> nat -> R := fst (residual_segments B H W N S skip_lam x y_linear_5) in
  let y_layer_norm_7 : nat -> nat -> nat -> nat -> nat -> R := fst (layer_norm_segments B H W N S (5902958103587057 / 590295810358705651712) y_residual_6 norm2_weight norm2_bias) in
  let y_linear_8 : nat -> nat -> nat -> nat -> R := fst (linear_from_segments B H W N S D2 y_layer_norm_7 mlp_fc1_weight mlp_fc1_bias) in
  let y_gelu_9 : nat -> nat -> nat -> nat -> R := fst (gelu B H W D2 y_linear_8) in
  let y_linear_10 : nat -> nat -> nat -> nat -> nat -> R := fst (linear_to_segments B H W D2 N S y_gelu_9 mlp_fc2_weight mlp_fc2_bias) in
  let y_residual_11 : nat -> nat -> nat -> nat -> nat -> R := fst (residual_segments B H W N S skip_lam y_residual_6 y_linear_10) in
  (fun iB iH iW iN iS : nat => (y_residual_11 iB iH iW iN iS),
   fun dy : nat -> nat -> nat -> nat -> nat -> R =>
     let d_residual_11 : (nat -> nat -> nat -> nat -> nat -> R) * (nat -> nat -> nat -> nat -> nat -> R) := snd (residual_segments B H W N S skip_lam y_residual_6 y_linear_10) dy in
     let d_linear_10 : (nat -> nat -> nat -> nat -> R) * (nat -> nat -> nat -> R) * (nat -> nat -> R) := snd (linear_to_segments B H W D2 N S y_gelu_9 mlp_fc2_weight mlp_fc2_bias) (snd d_residual_11) in
     let d_gelu_9 : (nat -> nat -> nat -> nat -> R) := snd (gelu B H W D2 y_linear_8) (fst (fst d_linear_10)) in
     let d_linear_8 : (nat -> nat -> nat -> nat -> nat -> R) * (nat -> nat -> nat -> R) * (nat -> R) := snd (linear_from_segments B H W N S D2 y_layer_norm_7 mlp_fc1_weight mlp_fc1_bias) d_gelu_9 in
     let d_layer_norm_7 : (nat -> nat -> nat -> nat -> nat -> R) * (nat -> nat -> R) * (nat -> nat -> R) := snd (layer_norm_segments B H W N S (5902958103587057 / 590295810358705651712) y_residual_6 norm2_weight norm2_bias) (fst (fst d_linear_8)) in
     let v3 := fun iB iH iW iN iS : nat => ((fst d_residual_11) iB iH iW iN iS) + ((fst (fst d_layer_norm_7)) iB iH iW iN iS) in
     let d_residual_6 : (nat -> nat -> nat -> nat -> nat -> R) * (nat -> nat -> nat -> nat -> nat -> R) := snd (residual_segments B H W N S skip_lam x y_linear_5) v3 in
     let d_linear_5 : (nat -> nat -> nat -> nat -> nat -> R) * (nat -> nat -> nat -> nat -> R) * (nat -> nat -> R) := snd (linear_segments B H W N S N S v2 attn_proj_weight attn_proj_bias) (snd d_residual_6) in
     let d_branch_h_2 : (nat -> nat -> nat -> nat -> nat -> R) * (nat -> nat -> nat -> nat -> R) := snd (branch_h y_layer_norm_1 attn_mlp_h_weight) (fst (fst d_linear_5)) in
     let d_branch_w_3 : (nat -> nat -> nat -> nat -> nat -> R) * (nat -> nat -> nat -> nat -> R) := snd (branch_w y_layer_norm_1 attn_mlp_w_weight) (fst (fst d_linear_5)) in
     let d_branch_c_4 : (nat -> nat -> nat -> nat -> nat -> R) * (nat -> nat -> nat -> nat -> R) := snd (branch_c y_layer_norm_1 attn_mlp_c_weight) (fst (fst d_linear_5)) in
     let v4 := fun iB iH iW iN iS : nat => ((fst d_branch_h_2) iB iH iW iN iS) + ((fst d_branch_w_3) iB iH iW iN iS) in
     let v5 := fun iB iH iW iN iS : nat => (v4 iB iH iW iN iS) + ((fst d_branch_c_4) iB iH iW iN iS) in
     let d_layer_norm_1 : (nat -> nat -> nat -> nat -> nat -> R) * (nat -> nat -> R) * (nat -> nat -> R) := snd (layer_norm_segments B H W N S (5902958103587057 / 590295810358705651712) x norm1_weight norm1_bias) v5 in
     let v6 := fun iB iH iW iN iS : nat => ((fst d_residual_6) iB iH iW iN iS) + ((fst (fst d_layer_norm_1)) iB iH iW iN iS) in
     (fun iB iH iW iN iS : nat => (v6 iB iH iW iN iS), fun iN iS : nat => ((snd (fst d_layer_norm_1)) iN iS), fun iN iS : nat => ((snd d_layer_norm_1) iN iS), fun iM iV iM' iV' : nat => ((snd d_branch_c_4) iM iV iM' iV'), fun iK iT iK' iT' : nat => ((snd d_branch_h_2) iK iT iK' iT'), fun iL iU iL' iU' : nat => ((snd d_branch_w_3) iL iU iL' iU'), fun iN iS iN' iS' : nat => ((snd (fst d_linear_5)) iN iS iN' iS'), fun iN iS : nat => ((snd d_linear_5) iN iS), fun iN iS : nat => ((snd (fst d_layer_norm_7)) iN iS), fun iN iS : nat => ((snd d_layer_norm_7) iN iS), fun iD2 iN iS : nat => ((snd (fst d_linear_8)) iD2 iN iS), fun iD2 : nat => ((snd d_linear_8) iD2), fun iN iS iD2 : nat => ((snd (fst d_linear_10)) iN iS iD2), fun iN iS : nat => ((snd d_linear_10) iN iS))).

Definition permutator_sum_unmasked_is_correct : Prop :=
  forall (B H W N S M V K T L U D2 : nat) (skip_lam : R) (branch_h : (nat -> nat -> nat -> nat -> nat -> R) -> (nat -> nat -> nat -> nat -> R) -> (nat -> nat -> nat -> nat -> nat -> R) * ((nat -> nat -> nat -> nat -> nat -> R) -> (nat -> nat -> nat -> nat -> nat -> R) * (nat -> nat -> nat -> nat -> R))) (branch_w : (nat -> nat -> nat -> nat -> nat -> R) -> (nat -> nat -> nat -> nat -> R) -> (nat -> nat -> nat -> nat -> nat -> R) * ((nat -> nat -> nat -> nat -> nat -> R) -> (nat -> nat -> nat -> nat -> nat -> R) * (nat -> nat -> nat -> nat -> R))) (branch_c : (nat -> nat -> nat -> nat -> nat -> R) -> (nat -> nat -> nat -> nat -> R) -> (nat -> nat -> nat -> nat -> nat -> R) * ((nat -> nat -> nat -> nat -> nat -> R) -> (nat -> nat -> nat -> nat -> nat -> R) * (nat -> nat -> nat -> nat -> R)))
    (x : R -> nat -> nat -> nat -> nat -> nat -> R) (norm1_weight : R -> nat -> nat -> R) (norm1_bias : R -> nat -> nat -> R) (attn_mlp_c_weight : R -> nat -> nat -> nat -> nat -> R) (attn_mlp_h_weight : R -> nat -> nat -> nat -> nat -> R) (attn_mlp_w_weight : R -> nat -> nat -> nat -> nat -> R) (attn_proj_weight : R -> nat -> nat -> nat -> nat -> R) (attn_proj_bias : R -> nat -> nat -> R) (norm2_weight : R -> nat -> nat -> R) (norm2_bias : R -> nat -> nat -> R) (mlp_fc1_weight : R -> nat -> nat -> nat -> R) (mlp_fc1_bias : R -> nat -> R) (mlp_fc2_weight : R -> nat -> nat -> nat -> R) (mlp_fc2_bias : R -> nat -> nat -> R)
    (u_x : nat -> nat -> nat -> nat -> nat -> R) (u_norm1_weight : nat -> nat -> R) (u_norm1_bias : nat -> nat -> R) (u_attn_mlp_c_weight : nat -> nat -> nat -> nat -> R) (u_attn_mlp_h_weight : nat -> nat -> nat -> nat -> R) (u_attn_mlp_w_weight : nat -> nat -> nat -> nat -> R) (u_attn_proj_weight : nat -> nat -> nat -> nat -> R) (u_attn_proj_bias : nat -> nat -> R) (u_norm2_weight : nat -> nat -> R) (u_norm2_bias : nat -> nat -> R) (u_mlp_fc1_weight : nat -> nat -> nat -> R) (u_mlp_fc1_bias : nat -> R) (u_mlp_fc2_weight : nat -> nat -> nat -> R) (u_mlp_fc2_bias : nat -> nat -> R),
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
  (0 < D2)%nat ->
  (forall (x : R -> nat -> nat -> nat -> nat -> nat -> R) (weight : R -> nat -> nat -> nat -> nat -> R) (u_x : nat -> nat -> nat -> nat -> nat -> R) (u_weight : nat -> nat -> nat -> nat -> R), (forall iB iH iW iN iS, is_derive (fun t => x t iB iH iW iN iS) 0 (u_x iB iH iW iN iS)) -> (forall iK iT iK' iT', is_derive (fun t => weight t iK iT iK' iT') 0 (u_weight iK iT iK' iT')) -> exists v : nat -> nat -> nat -> nat -> nat -> R, (forall iB iH iW iN iS, is_derive (fun t => fst (branch_h (x t) (weight t)) iB iH iW iN iS) 0 (v iB iH iW iN iS)) /\ forall dy : nat -> nat -> nat -> nat -> nat -> R, let g := snd (branch_h (x 0) (weight 0)) dy in (sum B (fun iB => (sum H (fun iH => (sum W (fun iW => (sum N (fun iN => (sum S (fun iS => dy iB iH iW iN iS * v iB iH iW iN iS)))))))))) = (sum B (fun iB => (sum H (fun iH => (sum W (fun iW => (sum N (fun iN => (sum S (fun iS => (fst g) iB iH iW iN iS * u_x iB iH iW iN iS)))))))))) + (sum K (fun iK => (sum T (fun iT => (sum K (fun iK' => (sum T (fun iT' => (snd g) iK iT iK' iT' * u_weight iK iT iK' iT'))))))))) ->
  (forall (x : R -> nat -> nat -> nat -> nat -> nat -> R) (weight : R -> nat -> nat -> nat -> nat -> R) (u_x : nat -> nat -> nat -> nat -> nat -> R) (u_weight : nat -> nat -> nat -> nat -> R), (forall iB iH iW iN iS, is_derive (fun t => x t iB iH iW iN iS) 0 (u_x iB iH iW iN iS)) -> (forall iL iU iL' iU', is_derive (fun t => weight t iL iU iL' iU') 0 (u_weight iL iU iL' iU')) -> exists v : nat -> nat -> nat -> nat -> nat -> R, (forall iB iH iW iN iS, is_derive (fun t => fst (branch_w (x t) (weight t)) iB iH iW iN iS) 0 (v iB iH iW iN iS)) /\ forall dy : nat -> nat -> nat -> nat -> nat -> R, let g := snd (branch_w (x 0) (weight 0)) dy in (sum B (fun iB => (sum H (fun iH => (sum W (fun iW => (sum N (fun iN => (sum S (fun iS => dy iB iH iW iN iS * v iB iH iW iN iS)))))))))) = (sum B (fun iB => (sum H (fun iH => (sum W (fun iW => (sum N (fun iN => (sum S (fun iS => (fst g) iB iH iW iN iS * u_x iB iH iW iN iS)))))))))) + (sum L (fun iL => (sum U (fun iU => (sum L (fun iL' => (sum U (fun iU' => (snd g) iL iU iL' iU' * u_weight iL iU iL' iU'))))))))) ->
  (forall (x : R -> nat -> nat -> nat -> nat -> nat -> R) (weight : R -> nat -> nat -> nat -> nat -> R) (u_x : nat -> nat -> nat -> nat -> nat -> R) (u_weight : nat -> nat -> nat -> nat -> R), (forall iB iH iW iN iS, is_derive (fun t => x t iB iH iW iN iS) 0 (u_x iB iH iW iN iS)) -> (forall iM iV iM' iV', is_derive (fun t => weight t iM iV iM' iV') 0 (u_weight iM iV iM' iV')) -> exists v : nat -> nat -> nat -> nat -> nat -> R, (forall iB iH iW iN iS, is_derive (fun t => fst (branch_c (x t) (weight t)) iB iH iW iN iS) 0 (v iB iH iW iN iS)) /\ forall dy : nat -> nat -> nat -> nat -> nat -> R, let g := snd (branch_c (x 0) (weight 0)) dy in (sum B (fun iB => (sum H (fun iH => (sum W (fun iW => (sum N (fun iN => (sum S (fun iS => dy iB iH iW iN iS * v iB iH iW iN iS)))))))))) = (sum B (fun iB => (sum H (fun iH => (sum W (fun iW => (sum N (fun iN => (sum S (fun iS => (fst g) iB iH iW iN iS * u_x iB iH iW iN iS)))))))))) + (sum M (fun iM => (sum V (fun iV => (sum M (fun iM' => (sum V (fun iV' => (snd g) iM iV iM' iV' * u_weight iM iV iM' iV'))))))))) ->
  (forall iB iH iW iN iS, is_derive (fun t => x t iB iH iW iN iS) 0 (u_x iB iH iW iN iS)) ->
  (forall iN iS, is_derive (fun t => norm1_weight t iN iS) 0 (u_norm1_weight iN iS)) ->
  (forall iN iS, is_derive (fun t => norm1_bias t iN iS) 0 (u_norm1_bias iN iS)) ->
  (forall iM iV iM' iV', is_derive (fun t => attn_mlp_c_weight t iM iV iM' iV') 0 (u_attn_mlp_c_weight iM iV iM' iV')) ->
  (forall iK iT iK' iT', is_derive (fun t => attn_mlp_h_weight t iK iT iK' iT') 0 (u_attn_mlp_h_weight iK iT iK' iT')) ->
  (forall iL iU iL' iU', is_derive (fun t => attn_mlp_w_weight t iL iU iL' iU') 0 (u_attn_mlp_w_weight iL iU iL' iU')) ->
  (forall iN iS iN' iS', is_derive (fun t => attn_proj_weight t iN iS iN' iS') 0 (u_attn_proj_weight iN iS iN' iS')) ->
  (forall iN iS, is_derive (fun t => attn_proj_bias t iN iS) 0 (u_attn_proj_bias iN iS)) ->
  (forall iN iS, is_derive (fun t => norm2_weight t iN iS) 0 (u_norm2_weight iN iS)) ->
  (forall iN iS, is_derive (fun t => norm2_bias t iN iS) 0 (u_norm2_bias iN iS)) ->
  (forall iD2 iN iS, is_derive (fun t => mlp_fc1_weight t iD2 iN iS) 0 (u_mlp_fc1_weight iD2 iN iS)) ->
  (forall iD2, is_derive (fun t => mlp_fc1_bias t iD2) 0 (u_mlp_fc1_bias iD2)) ->
  (forall iN iS iD2, is_derive (fun t => mlp_fc2_weight t iN iS iD2) 0 (u_mlp_fc2_weight iN iS iD2)) ->
  (forall iN iS, is_derive (fun t => mlp_fc2_bias t iN iS) 0 (u_mlp_fc2_bias iN iS)) ->
  exists v : nat -> nat -> nat -> nat -> nat -> R,
  (forall iB iH iW iN iS, is_derive (fun t => fst (permutator_sum_unmasked B H W N S M V K T L U D2 skip_lam branch_h branch_w branch_c (x t) (norm1_weight t) (norm1_bias t) (attn_mlp_c_weight t) (attn_mlp_h_weight t) (attn_mlp_w_weight t) (attn_proj_weight t) (attn_proj_bias t) (norm2_weight t) (norm2_bias t) (mlp_fc1_weight t) (mlp_fc1_bias t) (mlp_fc2_weight t) (mlp_fc2_bias t)) iB iH iW iN iS) 0 (v iB iH iW iN iS)) /\
  forall dy : nat -> nat -> nat -> nat -> nat -> R,
  let g := snd (permutator_sum_unmasked B H W N S M V K T L U D2 skip_lam branch_h branch_w branch_c (x 0) (norm1_weight 0) (norm1_bias 0) (attn_mlp_c_weight 0) (attn_mlp_h_weight 0) (attn_mlp_w_weight 0) (attn_proj_weight 0) (attn_proj_bias 0) (norm2_weight 0) (norm2_bias 0) (mlp_fc1_weight 0) (mlp_fc1_bias 0) (mlp_fc2_weight 0) (mlp_fc2_bias 0)) dy in
  (sum B (fun iB => (sum H (fun iH => (sum W (fun iW => (sum N (fun iN => (sum S (fun iS => dy iB iH iW iN iS * v iB iH iW iN iS)))))))))) =
  (sum B (fun iB => (sum H (fun iH => (sum W (fun iW => (sum N (fun iN => (sum S (fun iS => (fst (fst (fst (fst (fst (fst (fst (fst (fst (fst (fst (fst (fst g))))))))))))) iB iH iW iN iS * u_x iB iH iW iN iS)))))))))) +
  (sum N (fun iN => (sum S (fun iS => (snd (fst (fst (fst (fst (fst (fst (fst (fst (fst (fst (fst (fst g))))))))))))) iN iS * u_norm1_weight iN iS)))) +
  (sum N (fun iN => (sum S (fun iS => (snd (fst (fst (fst (fst (fst (fst (fst (fst (fst (fst (fst g)))))))))))) iN iS * u_norm1_bias iN iS)))) +
  (sum M (fun iM => (sum V (fun iV => (sum M (fun iM' => (sum V (fun iV' => (snd (fst (fst (fst (fst (fst (fst (fst (fst (fst (fst g))))))))))) iM iV iM' iV' * u_attn_mlp_c_weight iM iV iM' iV')))))))) +
  (sum K (fun iK => (sum T (fun iT => (sum K (fun iK' => (sum T (fun iT' => (snd (fst (fst (fst (fst (fst (fst (fst (fst (fst g)))))))))) iK iT iK' iT' * u_attn_mlp_h_weight iK iT iK' iT')))))))) +
  (sum L (fun iL => (sum U (fun iU => (sum L (fun iL' => (sum U (fun iU' => (snd (fst (fst (fst (fst (fst (fst (fst (fst g))))))))) iL iU iL' iU' * u_attn_mlp_w_weight iL iU iL' iU')))))))) +
  (sum N (fun iN => (sum S (fun iS => (sum N (fun iN' => (sum S (fun iS' => (snd (fst (fst (fst (fst (fst (fst (fst g)))))))) iN iS iN' iS' * u_attn_proj_weight iN iS iN' iS')))))))) +
  (sum N (fun iN => (sum S (fun iS => (snd (fst (fst (fst (fst (fst (fst g))))))) iN iS * u_attn_proj_bias iN iS)))) +
  (sum N (fun iN => (sum S (fun iS => (snd (fst (fst (fst (fst (fst g)))))) iN iS * u_norm2_weight iN iS)))) +
  (sum N (fun iN => (sum S (fun iS => (snd (fst (fst (fst (fst g))))) iN iS * u_norm2_bias iN iS)))) +
  (sum D2 (fun iD2 => (sum N (fun iN => (sum S (fun iS => (snd (fst (fst (fst g)))) iD2 iN iS * u_mlp_fc1_weight iD2 iN iS)))))) +
  (sum D2 (fun iD2 => (snd (fst (fst g))) iD2 * u_mlp_fc1_bias iD2)) +
  (sum N (fun iN => (sum S (fun iS => (sum D2 (fun iD2 => (snd (fst g)) iN iS iD2 * u_mlp_fc2_weight iN iS iD2)))))) +
  (sum N (fun iN => (sum S (fun iS => (snd g) iN iS * u_mlp_fc2_bias iN iS)))).

Theorem permutator_sum_unmasked_correct : permutator_sum_unmasked_is_correct.
Proof.
  cbv beta delta [permutator_sum_unmasked_is_correct permutator_sum_unmasked].
  generalize layer_norm_segments_correct; cbv delta [layer_norm_segments_is_correct]; generalize layer_norm_segments; intros layer_norm_segments C_layer_norm_segments.
  generalize linear_segments_correct; cbv delta [linear_segments_is_correct]; generalize linear_segments; intros linear_segments C_linear_segments.
  generalize residual_segments_correct; cbv delta [residual_segments_is_correct]; generalize residual_segments; intros residual_segments C_residual_segments.
  generalize linear_from_segments_correct; cbv delta [linear_from_segments_is_correct]; generalize linear_from_segments; intros linear_from_segments C_linear_from_segments.
  generalize gelu_correct; cbv delta [gelu_is_correct]; generalize gelu; intros gelu C_gelu.
  generalize linear_to_segments_correct; cbv delta [linear_to_segments_is_correct]; generalize linear_to_segments; intros linear_to_segments C_linear_to_segments.
  intros B H W N S M V K T L U D2 skip_lam branch_h branch_w branch_c x norm1_weight norm1_bias attn_mlp_c_weight attn_mlp_h_weight attn_mlp_w_weight attn_proj_weight attn_proj_bias norm2_weight norm2_bias mlp_fc1_weight mlp_fc1_bias mlp_fc2_weight mlp_fc2_bias u_x u_norm1_weight u_norm1_bias u_attn_mlp_c_weight u_attn_mlp_h_weight u_attn_mlp_w_weight u_attn_proj_weight u_attn_proj_bias u_norm2_weight u_norm2_bias u_mlp_fc1_weight u_mlp_fc1_bias u_mlp_fc2_weight u_mlp_fc2_bias P_B P_H P_W P_N P_S P_M P_V P_K P_T P_L P_U P_D2 C_branch_h C_branch_w C_branch_c D_x D_norm1_weight D_norm1_bias D_attn_mlp_c_weight D_attn_mlp_h_weight D_attn_mlp_w_weight D_attn_proj_weight D_attn_proj_bias D_norm2_weight D_norm2_bias D_mlp_fc1_weight D_mlp_fc1_bias D_mlp_fc2_weight D_mlp_fc2_bias.
  pose (y_layer_norm_1 := fun t => fst (layer_norm_segments B H W N S (5902958103587057 / 590295810358705651712) (x t) (norm1_weight t) (norm1_bias t))).
  destruct (C_layer_norm_segments B H W N S (5902958103587057 / 590295810358705651712) (fun t => (x t)) (fun t => (norm1_weight t)) (fun t => (norm1_bias t)) u_x u_norm1_weight u_norm1_bias P_B P_H P_W P_N P_S ltac:(lra) D_x D_norm1_weight D_norm1_bias)
    as [u_y_layer_norm_1 [D_y_layer_norm_1 A_y_layer_norm_1]].
  change (forall iB iH iW iN iS, is_derive (fun t => y_layer_norm_1 t iB iH iW iN iS) 0 (u_y_layer_norm_1 iB iH iW iN iS)) in D_y_layer_norm_1.
  pose (y_branch_h_2 := fun t => fst (branch_h (y_layer_norm_1 t) (attn_mlp_h_weight t))).
  destruct (C_branch_h (fun t => (y_layer_norm_1 t)) (fun t => (attn_mlp_h_weight t)) u_y_layer_norm_1 u_attn_mlp_h_weight D_y_layer_norm_1 D_attn_mlp_h_weight)
    as [u_y_branch_h_2 [D_y_branch_h_2 A_y_branch_h_2]].
  change (forall iB iH iW iN iS, is_derive (fun t => y_branch_h_2 t iB iH iW iN iS) 0 (u_y_branch_h_2 iB iH iW iN iS)) in D_y_branch_h_2.
  pose (y_branch_w_3 := fun t => fst (branch_w (y_layer_norm_1 t) (attn_mlp_w_weight t))).
  destruct (C_branch_w (fun t => (y_layer_norm_1 t)) (fun t => (attn_mlp_w_weight t)) u_y_layer_norm_1 u_attn_mlp_w_weight D_y_layer_norm_1 D_attn_mlp_w_weight)
    as [u_y_branch_w_3 [D_y_branch_w_3 A_y_branch_w_3]].
  change (forall iB iH iW iN iS, is_derive (fun t => y_branch_w_3 t iB iH iW iN iS) 0 (u_y_branch_w_3 iB iH iW iN iS)) in D_y_branch_w_3.
  pose (y_branch_c_4 := fun t => fst (branch_c (y_layer_norm_1 t) (attn_mlp_c_weight t))).
  destruct (C_branch_c (fun t => (y_layer_norm_1 t)) (fun t => (attn_mlp_c_weight t)) u_y_layer_norm_1 u_attn_mlp_c_weight D_y_layer_norm_1 D_attn_mlp_c_weight)
    as [u_y_branch_c_4 [D_y_branch_c_4 A_y_branch_c_4]].
  change (forall iB iH iW iN iS, is_derive (fun t => y_branch_c_4 t iB iH iW iN iS) 0 (u_y_branch_c_4 iB iH iW iN iS)) in D_y_branch_c_4.
  pose (v1 := fun t => fun iB iH iW iN iS : nat => ((y_branch_h_2 t) iB iH iW iN iS) + ((y_branch_w_3 t) iB iH iW iN iS)).
  pose (u_v1 := fun iB iH iW iN iS : nat => (u_y_branch_h_2 iB iH iW iN iS) + (u_y_branch_w_3 iB iH iW iN iS)).
  assert (D_v1 : forall iB iH iW iN iS, is_derive (fun t => v1 t iB iH iW iN iS) 0 (u_v1 iB iH iW iN iS)) by exact (fun iB iH iW iN iS => is_derive_sum _ _ _ _ (D_y_branch_h_2 iB iH iW iN iS) (D_y_branch_w_3 iB iH iW iN iS)).
  pose (v2 := fun t => fun iB iH iW iN iS : nat => ((v1 t) iB iH iW iN iS) + ((y_branch_c_4 t) iB iH iW iN iS)).
  pose (u_v2 := fun iB iH iW iN iS : nat => (u_v1 iB iH iW iN iS) + (u_y_branch_c_4 iB iH iW iN iS)).
  assert (D_v2 : forall iB iH iW iN iS, is_derive (fun t => v2 t iB iH iW iN iS) 0 (u_v2 iB iH iW iN iS)) by exact (fun iB iH iW iN iS => is_derive_sum _ _ _ _ (D_v1 iB iH iW iN iS) (D_y_branch_c_4 iB iH iW iN iS)).
  pose (y_linear_5 := fun t => fst (linear_segments B H W N S N S (v2 t) (attn_proj_weight t) (attn_proj_bias t))).
  destruct (C_linear_segments B H W N S N S (fun t => (v2 t)) (fun t => (attn_proj_weight t)) (fun t => (attn_proj_bias t)) u_v2 u_attn_proj_weight u_attn_proj_bias P_B P_H P_W P_N P_S P_N P_S D_v2 D_attn_proj_weight D_attn_proj_bias)
    as [u_y_linear_5 [D_y_linear_5 A_y_linear_5]].
  change (forall iB iH iW iN iS, is_derive (fun t => y_linear_5 t iB iH iW iN iS) 0 (u_y_linear_5 iB iH iW iN iS)) in D_y_linear_5.
  pose (y_residual_6 := fun t => fst (residual_segments B H W N S skip_lam (x t) (y_linear_5 t))).
  destruct (C_residual_segments B H W N S skip_lam (fun t => (x t)) (fun t => (y_linear_5 t)) u_x u_y_linear_5 P_B P_H P_W P_N P_S D_x D_y_linear_5)
    as [u_y_residual_6 [D_y_residual_6 A_y_residual_6]].
  change (forall iB iH iW iN iS, is_derive (fun t => y_residual_6 t iB iH iW iN iS) 0 (u_y_residual_6 iB iH iW iN iS)) in D_y_residual_6.
  pose (y_layer_norm_7 := fun t => fst (layer_norm_segments B H W N S (5902958103587057 / 590295810358705651712) (y_residual_6 t) (norm2_weight t) (norm2_bias t))).
  destruct (C_layer_norm_segments B H W N S (5902958103587057 / 590295810358705651712) (fun t => (y_residual_6 t)) (fun t => (norm2_weight t)) (fun t => (norm2_bias t)) u_y_residual_6 u_norm2_weight u_norm2_bias P_B P_H P_W P_N P_S ltac:(lra) D_y_residual_6 D_norm2_weight D_norm2_bias)
    as [u_y_layer_norm_7 [D_y_layer_norm_7 A_y_layer_norm_7]].
  change (forall iB iH iW iN iS, is_derive (fun t => y_layer_norm_7 t iB iH iW iN iS) 0 (u_y_layer_norm_7 iB iH iW iN iS)) in D_y_layer_norm_7.
  pose (y_linear_8 := fun t => fst (linear_from_segments B H W N S D2 (y_layer_norm_7 t) (mlp_fc1_weight t) (mlp_fc1_bias t))).
  destruct (C_linear_from_segments B H W N S D2 (fun t => (y_layer_norm_7 t)) (fun t => (mlp_fc1_weight t)) (fun t => (mlp_fc1_bias t)) u_y_layer_norm_7 u_mlp_fc1_weight u_mlp_fc1_bias P_B P_H P_W P_N P_S P_D2 D_y_layer_norm_7 D_mlp_fc1_weight D_mlp_fc1_bias)
    as [u_y_linear_8 [D_y_linear_8 A_y_linear_8]].
  change (forall iB iH iW iD2, is_derive (fun t => y_linear_8 t iB iH iW iD2) 0 (u_y_linear_8 iB iH iW iD2)) in D_y_linear_8.
  pose (y_gelu_9 := fun t => fst (gelu B H W D2 (y_linear_8 t))).
  destruct (C_gelu B H W D2 (fun t => (y_linear_8 t)) u_y_linear_8 P_B P_H P_W P_D2 D_y_linear_8)
    as [u_y_gelu_9 [D_y_gelu_9 A_y_gelu_9]].
  change (forall iB iH iW iD2, is_derive (fun t => y_gelu_9 t iB iH iW iD2) 0 (u_y_gelu_9 iB iH iW iD2)) in D_y_gelu_9.
  pose (y_linear_10 := fun t => fst (linear_to_segments B H W D2 N S (y_gelu_9 t) (mlp_fc2_weight t) (mlp_fc2_bias t))).
  destruct (C_linear_to_segments B H W D2 N S (fun t => (y_gelu_9 t)) (fun t => (mlp_fc2_weight t)) (fun t => (mlp_fc2_bias t)) u_y_gelu_9 u_mlp_fc2_weight u_mlp_fc2_bias P_B P_H P_W P_D2 P_N P_S D_y_gelu_9 D_mlp_fc2_weight D_mlp_fc2_bias)
    as [u_y_linear_10 [D_y_linear_10 A_y_linear_10]].
  change (forall iB iH iW iN iS, is_derive (fun t => y_linear_10 t iB iH iW iN iS) 0 (u_y_linear_10 iB iH iW iN iS)) in D_y_linear_10.
  pose (y_residual_11 := fun t => fst (residual_segments B H W N S skip_lam (y_residual_6 t) (y_linear_10 t))).
  destruct (C_residual_segments B H W N S skip_lam (fun t => (y_residual_6 t)) (fun t => (y_linear_10 t)) u_y_residual_6 u_y_linear_10 P_B P_H P_W P_N P_S D_y_residual_6 D_y_linear_10)
    as [u_y_residual_11 [D_y_residual_11 A_y_residual_11]].
  change (forall iB iH iW iN iS, is_derive (fun t => y_residual_11 t iB iH iW iN iS) 0 (u_y_residual_11 iB iH iW iN iS)) in D_y_residual_11.
  exists u_y_residual_11. split; [exact D_y_residual_11 | intros dy g].
  pose (d_residual_11 := snd (residual_segments B H W N S skip_lam (y_residual_6 0) (y_linear_10 0)) dy).
  assert (E_residual_11 : (sum B (fun iB => (sum H (fun iH => (sum W (fun iW => (sum N (fun iN => (sum S (fun iS => dy iB iH iW iN iS * u_y_residual_11 iB iH iW iN iS)))))))))) = (sum B (fun iB => (sum H (fun iH => (sum W (fun iW => (sum N (fun iN => (sum S (fun iS => (fst d_residual_11) iB iH iW iN iS * u_y_residual_6 iB iH iW iN iS)))))))))) + (sum B (fun iB => (sum H (fun iH => (sum W (fun iW => (sum N (fun iN => (sum S (fun iS => (snd d_residual_11) iB iH iW iN iS * u_y_linear_10 iB iH iW iN iS))))))))))) by exact (A_y_residual_11 dy).
  pose (d_linear_10 := snd (linear_to_segments B H W D2 N S (y_gelu_9 0) (mlp_fc2_weight 0) (mlp_fc2_bias 0)) (snd d_residual_11)).
  assert (E_linear_10 : (sum B (fun iB => (sum H (fun iH => (sum W (fun iW => (sum N (fun iN => (sum S (fun iS => (snd d_residual_11) iB iH iW iN iS * u_y_linear_10 iB iH iW iN iS)))))))))) = (sum B (fun iB => (sum H (fun iH => (sum W (fun iW => (sum D2 (fun iD2 => (fst (fst d_linear_10)) iB iH iW iD2 * u_y_gelu_9 iB iH iW iD2)))))))) + (sum N (fun iN => (sum S (fun iS => (sum D2 (fun iD2 => (snd (fst d_linear_10)) iN iS iD2 * u_mlp_fc2_weight iN iS iD2)))))) + (sum N (fun iN => (sum S (fun iS => (snd d_linear_10) iN iS * u_mlp_fc2_bias iN iS))))) by exact (A_y_linear_10 (snd d_residual_11)).
  pose (d_gelu_9 := snd (gelu B H W D2 (y_linear_8 0)) (fst (fst d_linear_10))).
  assert (E_gelu_9 : (sum B (fun iB => (sum H (fun iH => (sum W (fun iW => (sum D2 (fun iD2 => (fst (fst d_linear_10)) iB iH iW iD2 * u_y_gelu_9 iB iH iW iD2)))))))) = (sum B (fun iB => (sum H (fun iH => (sum W (fun iW => (sum D2 (fun iD2 => d_gelu_9 iB iH iW iD2 * u_y_linear_8 iB iH iW iD2))))))))) by exact (A_y_gelu_9 (fst (fst d_linear_10))).
  pose (d_linear_8 := snd (linear_from_segments B H W N S D2 (y_layer_norm_7 0) (mlp_fc1_weight 0) (mlp_fc1_bias 0)) d_gelu_9).
  assert (E_linear_8 : (sum B (fun iB => (sum H (fun iH => (sum W (fun iW => (sum D2 (fun iD2 => d_gelu_9 iB iH iW iD2 * u_y_linear_8 iB iH iW iD2)))))))) = (sum B (fun iB => (sum H (fun iH => (sum W (fun iW => (sum N (fun iN => (sum S (fun iS => (fst (fst d_linear_8)) iB iH iW iN iS * u_y_layer_norm_7 iB iH iW iN iS)))))))))) + (sum D2 (fun iD2 => (sum N (fun iN => (sum S (fun iS => (snd (fst d_linear_8)) iD2 iN iS * u_mlp_fc1_weight iD2 iN iS)))))) + (sum D2 (fun iD2 => (snd d_linear_8) iD2 * u_mlp_fc1_bias iD2))) by exact (A_y_linear_8 d_gelu_9).
  pose (d_layer_norm_7 := snd (layer_norm_segments B H W N S (5902958103587057 / 590295810358705651712) (y_residual_6 0) (norm2_weight 0) (norm2_bias 0)) (fst (fst d_linear_8))).
  assert (E_layer_norm_7 : (sum B (fun iB => (sum H (fun iH => (sum W (fun iW => (sum N (fun iN => (sum S (fun iS => (fst (fst d_linear_8)) iB iH iW iN iS * u_y_layer_norm_7 iB iH iW iN iS)))))))))) = (sum B (fun iB => (sum H (fun iH => (sum W (fun iW => (sum N (fun iN => (sum S (fun iS => (fst (fst d_layer_norm_7)) iB iH iW iN iS * u_y_residual_6 iB iH iW iN iS)))))))))) + (sum N (fun iN => (sum S (fun iS => (snd (fst d_layer_norm_7)) iN iS * u_norm2_weight iN iS)))) + (sum N (fun iN => (sum S (fun iS => (snd d_layer_norm_7) iN iS * u_norm2_bias iN iS))))) by exact (A_y_layer_norm_7 (fst (fst d_linear_8))).
  pose (v3 := fun iB iH iW iN iS : nat => ((fst d_residual_11) iB iH iW iN iS) + ((fst (fst d_layer_norm_7)) iB iH iW iN iS)).
  pose (d_residual_6 := snd (residual_segments B H W N S skip_lam (x 0) (y_linear_5 0)) v3).
  assert (E_residual_6 : (sum B (fun iB => (sum H (fun iH => (sum W (fun iW => (sum N (fun iN => (sum S (fun iS => v3 iB iH iW iN iS * u_y_residual_6 iB iH iW iN iS)))))))))) = (sum B (fun iB => (sum H (fun iH => (sum W (fun iW => (sum N (fun iN => (sum S (fun iS => (fst d_residual_6) iB iH iW iN iS * u_x iB iH iW iN iS)))))))))) + (sum B (fun iB => (sum H (fun iH => (sum W (fun iW => (sum N (fun iN => (sum S (fun iS => (snd d_residual_6) iB iH iW iN iS * u_y_linear_5 iB iH iW iN iS))))))))))) by exact (A_y_residual_6 v3).
  pose (d_linear_5 := snd (linear_segments B H W N S N S (v2 0) (attn_proj_weight 0) (attn_proj_bias 0)) (snd d_residual_6)).
  assert (E_linear_5 : (sum B (fun iB => (sum H (fun iH => (sum W (fun iW => (sum N (fun iN => (sum S (fun iS => (snd d_residual_6) iB iH iW iN iS * u_y_linear_5 iB iH iW iN iS)))))))))) = (sum B (fun iB => (sum H (fun iH => (sum W (fun iW => (sum N (fun iN => (sum S (fun iS => (fst (fst d_linear_5)) iB iH iW iN iS * u_v2 iB iH iW iN iS)))))))))) + (sum N (fun iN => (sum S (fun iS => (sum N (fun iN' => (sum S (fun iS' => (snd (fst d_linear_5)) iN iS iN' iS' * u_attn_proj_weight iN iS iN' iS')))))))) + (sum N (fun iN => (sum S (fun iS => (snd d_linear_5) iN iS * u_attn_proj_bias iN iS))))) by exact (A_y_linear_5 (snd d_residual_6)).
  pose (d_branch_h_2 := snd (branch_h (y_layer_norm_1 0) (attn_mlp_h_weight 0)) (fst (fst d_linear_5))).
  assert (E_branch_h_2 : (sum B (fun iB => (sum H (fun iH => (sum W (fun iW => (sum N (fun iN => (sum S (fun iS => (fst (fst d_linear_5)) iB iH iW iN iS * u_y_branch_h_2 iB iH iW iN iS)))))))))) = (sum B (fun iB => (sum H (fun iH => (sum W (fun iW => (sum N (fun iN => (sum S (fun iS => (fst d_branch_h_2) iB iH iW iN iS * u_y_layer_norm_1 iB iH iW iN iS)))))))))) + (sum K (fun iK => (sum T (fun iT => (sum K (fun iK' => (sum T (fun iT' => (snd d_branch_h_2) iK iT iK' iT' * u_attn_mlp_h_weight iK iT iK' iT'))))))))) by exact (A_y_branch_h_2 (fst (fst d_linear_5))).
  pose (d_branch_w_3 := snd (branch_w (y_layer_norm_1 0) (attn_mlp_w_weight 0)) (fst (fst d_linear_5))).
  assert (E_branch_w_3 : (sum B (fun iB => (sum H (fun iH => (sum W (fun iW => (sum N (fun iN => (sum S (fun iS => (fst (fst d_linear_5)) iB iH iW iN iS * u_y_branch_w_3 iB iH iW iN iS)))))))))) = (sum B (fun iB => (sum H (fun iH => (sum W (fun iW => (sum N (fun iN => (sum S (fun iS => (fst d_branch_w_3) iB iH iW iN iS * u_y_layer_norm_1 iB iH iW iN iS)))))))))) + (sum L (fun iL => (sum U (fun iU => (sum L (fun iL' => (sum U (fun iU' => (snd d_branch_w_3) iL iU iL' iU' * u_attn_mlp_w_weight iL iU iL' iU'))))))))) by exact (A_y_branch_w_3 (fst (fst d_linear_5))).
  pose (d_branch_c_4 := snd (branch_c (y_layer_norm_1 0) (attn_mlp_c_weight 0)) (fst (fst d_linear_5))).
  assert (E_branch_c_4 : (sum B (fun iB => (sum H (fun iH => (sum W (fun iW => (sum N (fun iN => (sum S (fun iS => (fst (fst d_linear_5)) iB iH iW iN iS * u_y_branch_c_4 iB iH iW iN iS)))))))))) = (sum B (fun iB => (sum H (fun iH => (sum W (fun iW => (sum N (fun iN => (sum S (fun iS => (fst d_branch_c_4) iB iH iW iN iS * u_y_layer_norm_1 iB iH iW iN iS)))))))))) + (sum M (fun iM => (sum V (fun iV => (sum M (fun iM' => (sum V (fun iV' => (snd d_branch_c_4) iM iV iM' iV' * u_attn_mlp_c_weight iM iV iM' iV'))))))))) by exact (A_y_branch_c_4 (fst (fst d_linear_5))).
  pose (v4 := fun iB iH iW iN iS : nat => ((fst d_branch_h_2) iB iH iW iN iS) + ((fst d_branch_w_3) iB iH iW iN iS)).
  pose (v5 := fun iB iH iW iN iS : nat => (v4 iB iH iW iN iS) + ((fst d_branch_c_4) iB iH iW iN iS)).
  pose (d_layer_norm_1 := snd (layer_norm_segments B H W N S (5902958103587057 / 590295810358705651712) (x 0) (norm1_weight 0) (norm1_bias 0)) v5).
  assert (E_layer_norm_1 : (sum B (fun iB => (sum H (fun iH => (sum W (fun iW => (sum N (fun iN => (sum S (fun iS => v5 iB iH iW iN iS * u_y_layer_norm_1 iB iH iW iN iS)))))))))) = (sum B (fun iB => (sum H (fun iH => (sum W (fun iW => (sum N (fun iN => (sum S (fun iS => (fst (fst d_layer_norm_1)) iB iH iW iN iS * u_x iB iH iW iN iS)))))))))) + (sum N (fun iN => (sum S (fun iS => (snd (fst d_layer_norm_1)) iN iS * u_norm1_weight iN iS)))) + (sum N (fun iN => (sum S (fun iS => (snd d_layer_norm_1) iN iS * u_norm1_bias iN iS))))) by exact (A_y_layer_norm_1 v5).
  pose (v6 := fun iB iH iW iN iS : nat => ((fst d_residual_6) iB iH iW iN iS) + ((fst (fst d_layer_norm_1)) iB iH iW iN iS)).
  assert (G : g = (v6, (snd (fst d_layer_norm_1)), (snd d_layer_norm_1), (snd d_branch_c_4), (snd d_branch_h_2), (snd d_branch_w_3), (snd (fst d_linear_5)), (snd d_linear_5), (snd (fst d_layer_norm_7)), (snd d_layer_norm_7), (snd (fst d_linear_8)), (snd d_linear_8), (snd (fst d_linear_10)), (snd d_linear_10))) by reflexivity.
  clearbody g; subst g; clearbody d_residual_11 d_linear_10 d_gelu_9 d_linear_8 d_layer_norm_7 d_residual_6 d_linear_5 d_branch_h_2 d_branch_w_3 d_branch_c_4 d_layer_norm_1; cbn [fst snd].
  unfold v6 in *.
  unfold v5 in *.
  unfold v4 in *.
  unfold v3 in *.
  unfold u_v2 in *.
  unfold u_v1 in *.
  cbv beta in *.
  spread_in E_residual_6.
  spread_in E_linear_5.
  spread_in E_layer_norm_1.
  spread. lra.
Qed.
