(* Written by proofs/layers.py from vipnp/layers (permute_mlp); do not edit. *)
From Proofs Require Import Tactics.
From Statements Require Import linear dropout.
From Ops Require Import linear dropout.
Open Scope R_scope.
Opaque sum.

Definition permute_mlp (B H W N S M V K T L U : nat) (mask : nat -> nat -> nat -> nat -> nat -> R) (rate : R) (branch_h : (nat -> nat -> nat -> nat -> nat -> R) -> (nat -> nat -> nat -> nat -> R) -> (nat -> nat -> nat -> nat -> nat -> R) * ((nat -> nat -> nat -> nat -> nat -> R) -> (nat -> nat -> nat -> nat -> nat -> R) * (nat -> nat -> nat -> nat -> R))) (branch_w : (nat -> nat -> nat -> nat -> nat -> R) -> (nat -> nat -> nat -> nat -> R) -> (nat -> nat -> nat -> nat -> nat -> R) * ((nat -> nat -> nat -> nat -> nat -> R) -> (nat -> nat -> nat -> nat -> nat -> R) * (nat -> nat -> nat -> nat -> R))) (branch_c : (nat -> nat -> nat -> nat -> nat -> R) -> (nat -> nat -> nat -> nat -> R) -> (nat -> nat -> nat -> nat -> nat -> R) * ((nat -> nat -> nat -> nat -> nat -> R) -> (nat -> nat -> nat -> nat -> nat -> R) * (nat -> nat -> nat -> nat -> R)))
    (x : nat -> nat -> nat -> nat -> nat -> R) (mlp_c_weight : nat -> nat -> nat -> nat -> R) (mlp_h_weight : nat -> nat -> nat -> nat -> R) (mlp_w_weight : nat -> nat -> nat -> nat -> R) (proj_weight : nat -> nat -> nat -> nat -> R) (proj_bias : nat -> nat -> R)
    : (nat -> nat -> nat -> nat -> nat -> R) * ((nat -> nat -> nat -> nat -> nat -> R) -> (nat -> nat -> nat -> nat -> nat -> R) * (nat -> nat -> nat -> nat -> R) * (nat -> nat -> nat -> nat -> R) * (nat -> nat -> nat -> nat -> R) * (nat -> nat -> nat -> nat -> R) * (nat -> nat -> R)) :=
  let y_branch_h_1 : nat -> nat -> nat -> nat -> nat -> R := fst (branch_h x mlp_h_weight) in
  let y_branch_w_2 : nat -> nat -> nat -> nat -> nat -> R := fst (branch_w x mlp_w_weight) in
  let y_branch_c_3 : nat -> nat -> nat -> nat -> nat -> R := fst (branch_c x mlp_c_weight) in
  let v1 := fun iB iH iW iN iS : nat => (y_branch_h_1 iB iH iW iN iS) + (y_branch_w_2 iB iH iW iN iS) in
  let v2 := fun iB iH iW iN iS : nat => (v1 iB iH iW iN iS) + (y_branch_c_3 iB iH iW iN iS) in
  let y_linear_4 : nat -> nat -> nat -> nat -> nat -> R := fst (linear_segments B H W N S N S v2 proj_weight proj_bias) in
  let y_dropout_5 : nat -> nat -> nat -> nat -> nat -> R := fst (dropout_segments B H W N S mask rate y_linear_4) in
  (fun iB iH iW iN iS : nat => (y_dropout_5 iB iH iW iN iS),
   fun dy : nat -> nat -> nat -> nat -> nat -> R =>
     let d_dropout_5 : (nat -> nat -> nat -> nat -> nat -> R) := snd (dropout_segments B H W N S mask rate y_linear_4) dy in
     let d_linear_4 : (nat -> nat -> nat -> nat -> nat -> R) * (nat -> nat -> nat -> nat -> R) * (nat -> nat -> R) := snd (linear_segments B H W N S N S v2 proj_weight proj_bias) d_dropout_5 in
     let d_branch_h_1 : (nat -> nat -> nat -> nat -> nat -> R) * (nat -> nat -> nat -> nat -> R) := snd (branch_h x mlp_h_weight) (fst (fst d_linear_4)) in
     let d_branch_w_2 : (nat -> nat -> nat -> nat -> nat -> R) * (nat -> nat -> nat -> nat -> R) := snd (branch_w x mlp_w_weight) (fst (fst d_linear_4)) in
     let d_branch_c_3 : (nat -> nat -> nat -> nat -> nat -> R) * (nat -> nat -> nat -> nat -> R) := snd (branch_c x mlp_c_weight) (fst (fst d_linear_4)) in
     let v3 := fun iB iH iW iN iS : nat => ((fst d_branch_h_1) iB iH iW iN iS) + ((fst d_branch_w_2) iB iH iW iN iS) in
     let v4 := fun iB iH iW iN iS : nat => (v3 iB iH iW iN iS) + ((fst d_branch_c_3) iB iH iW iN iS) in
     (fun iB iH iW iN iS : nat => (v4 iB iH iW iN iS), fun iM iV iM' iV' : nat => ((snd d_branch_c_3) iM iV iM' iV'), fun iK iT iK' iT' : nat => ((snd d_branch_h_1) iK iT iK' iT'), fun iL iU iL' iU' : nat => ((snd d_branch_w_2) iL iU iL' iU'), fun iN iS iN' iS' : nat => ((snd (fst d_linear_4)) iN iS iN' iS'), fun iN iS : nat => ((snd d_linear_4) iN iS))).

Definition permute_mlp_is_correct : Prop :=
  forall (B H W N S M V K T L U : nat) (mask : nat -> nat -> nat -> nat -> nat -> R) (rate : R) (branch_h : (nat -> nat -> nat -> nat -> nat -> R) -> (nat -> nat -> nat -> nat -> R) -> (nat -> nat -> nat -> nat -> nat -> R) * ((nat -> nat -> nat -> nat -> nat -> R) -> (nat -> nat -> nat -> nat -> nat -> R) * (nat -> nat -> nat -> nat -> R))) (branch_w : (nat -> nat -> nat -> nat -> nat -> R) -> (nat -> nat -> nat -> nat -> R) -> (nat -> nat -> nat -> nat -> nat -> R) * ((nat -> nat -> nat -> nat -> nat -> R) -> (nat -> nat -> nat -> nat -> nat -> R) * (nat -> nat -> nat -> nat -> R))) (branch_c : (nat -> nat -> nat -> nat -> nat -> R) -> (nat -> nat -> nat -> nat -> R) -> (nat -> nat -> nat -> nat -> nat -> R) * ((nat -> nat -> nat -> nat -> nat -> R) -> (nat -> nat -> nat -> nat -> nat -> R) * (nat -> nat -> nat -> nat -> R)))
    (x : R -> nat -> nat -> nat -> nat -> nat -> R) (mlp_c_weight : R -> nat -> nat -> nat -> nat -> R) (mlp_h_weight : R -> nat -> nat -> nat -> nat -> R) (mlp_w_weight : R -> nat -> nat -> nat -> nat -> R) (proj_weight : R -> nat -> nat -> nat -> nat -> R) (proj_bias : R -> nat -> nat -> R)
    (u_x : nat -> nat -> nat -> nat -> nat -> R) (u_mlp_c_weight : nat -> nat -> nat -> nat -> R) (u_mlp_h_weight : nat -> nat -> nat -> nat -> R) (u_mlp_w_weight : nat -> nat -> nat -> nat -> R) (u_proj_weight : nat -> nat -> nat -> nat -> R) (u_proj_bias : nat -> nat -> R),
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
  (forall (x : R -> nat -> nat -> nat -> nat -> nat -> R) (weight : R -> nat -> nat -> nat -> nat -> R) (u_x : nat -> nat -> nat -> nat -> nat -> R) (u_weight : nat -> nat -> nat -> nat -> R), (forall iB iH iW iN iS, is_derive (fun t => x t iB iH iW iN iS) 0 (u_x iB iH iW iN iS)) -> (forall iK iT iK' iT', is_derive (fun t => weight t iK iT iK' iT') 0 (u_weight iK iT iK' iT')) -> exists v : nat -> nat -> nat -> nat -> nat -> R, (forall iB iH iW iN iS, is_derive (fun t => fst (branch_h (x t) (weight t)) iB iH iW iN iS) 0 (v iB iH iW iN iS)) /\ forall dy : nat -> nat -> nat -> nat -> nat -> R, let g := snd (branch_h (x 0) (weight 0)) dy in (sum B (fun iB => (sum H (fun iH => (sum W (fun iW => (sum N (fun iN => (sum S (fun iS => dy iB iH iW iN iS * v iB iH iW iN iS)))))))))) = (sum B (fun iB => (sum H (fun iH => (sum W (fun iW => (sum N (fun iN => (sum S (fun iS => (fst g) iB iH iW iN iS * u_x iB iH iW iN iS)))))))))) + (sum K (fun iK => (sum T (fun iT => (sum K (fun iK' => (sum T (fun iT' => (snd g) iK iT iK' iT' * u_weight iK iT iK' iT'))))))))) ->
  (forall (x : R -> nat -> nat -> nat -> nat -> nat -> R) (weight : R -> nat -> nat -> nat -> nat -> R) (u_x : nat -> nat -> nat -> nat -> nat -> R) (u_weight : nat -> nat -> nat -> nat -> R), (forall iB iH iW iN iS, is_derive (fun t => x t iB iH iW iN iS) 0 (u_x iB iH iW iN iS)) -> (forall iL iU iL' iU', is_derive (fun t => weight t iL iU iL' iU') 0 (u_weight iL iU iL' iU')) -> exists v : nat -> nat -> nat -> nat -> nat -> R, (forall iB iH iW iN iS, is_derive (fun t => fst (branch_w (x t) (weight t)) iB iH iW iN iS) 0 (v iB iH iW iN iS)) /\ forall dy : nat -> nat -> nat -> nat -> nat -> R, let g := snd (branch_w (x 0) (weight 0)) dy in (sum B (fun iB => (sum H (fun iH => (sum W (fun iW => (sum N (fun iN => (sum S (fun iS => dy iB iH iW iN iS * v iB iH iW iN iS)))))))))) = (sum B (fun iB => (sum H (fun iH => (sum W (fun iW => (sum N (fun iN => (sum S (fun iS => (fst g) iB iH iW iN iS * u_x iB iH iW iN iS)))))))))) + (sum L (fun iL => (sum U (fun iU => (sum L (fun iL' => (sum U (fun iU' => (snd g) iL iU iL' iU' * u_weight iL iU iL' iU'))))))))) ->
  (forall (x : R -> nat -> nat -> nat -> nat -> nat -> R) (weight : R -> nat -> nat -> nat -> nat -> R) (u_x : nat -> nat -> nat -> nat -> nat -> R) (u_weight : nat -> nat -> nat -> nat -> R), (forall iB iH iW iN iS, is_derive (fun t => x t iB iH iW iN iS) 0 (u_x iB iH iW iN iS)) -> (forall iM iV iM' iV', is_derive (fun t => weight t iM iV iM' iV') 0 (u_weight iM iV iM' iV')) -> exists v : nat -> nat -> nat -> nat -> nat -> R, (forall iB iH iW iN iS, is_derive (fun t => fst (branch_c (x t) (weight t)) iB iH iW iN iS) 0 (v iB iH iW iN iS)) /\ forall dy : nat -> nat -> nat -> nat -> nat -> R, let g := snd (branch_c (x 0) (weight 0)) dy in (sum B (fun iB => (sum H (fun iH => (sum W (fun iW => (sum N (fun iN => (sum S (fun iS => dy iB iH iW iN iS * v iB iH iW iN iS)))))))))) = (sum B (fun iB => (sum H (fun iH => (sum W (fun iW => (sum N (fun iN => (sum S (fun iS => (fst g) iB iH iW iN iS * u_x iB iH iW iN iS)))))))))) + (sum M (fun iM => (sum V (fun iV => (sum M (fun iM' => (sum V (fun iV' => (snd g) iM iV iM' iV' * u_weight iM iV iM' iV'))))))))) ->
  (forall iB iH iW iN iS, is_derive (fun t => x t iB iH iW iN iS) 0 (u_x iB iH iW iN iS)) ->
  (forall iM iV iM' iV', is_derive (fun t => mlp_c_weight t iM iV iM' iV') 0 (u_mlp_c_weight iM iV iM' iV')) ->
  (forall iK iT iK' iT', is_derive (fun t => mlp_h_weight t iK iT iK' iT') 0 (u_mlp_h_weight iK iT iK' iT')) ->
  (forall iL iU iL' iU', is_derive (fun t => mlp_w_weight t iL iU iL' iU') 0 (u_mlp_w_weight iL iU iL' iU')) ->
  (forall iN iS iN' iS', is_derive (fun t => proj_weight t iN iS iN' iS') 0 (u_proj_weight iN iS iN' iS')) ->
  (forall iN iS, is_derive (fun t => proj_bias t iN iS) 0 (u_proj_bias iN iS)) ->
  exists v : nat -> nat -> nat -> nat -> nat -> R,
  (forall iB iH iW iN iS, is_derive (fun t => fst (permute_mlp B H W N S M V K T L U mask rate branch_h branch_w branch_c (x t) (mlp_c_weight t) (mlp_h_weight t) (mlp_w_weight t) (proj_weight t) (proj_bias t)) iB iH iW iN iS) 0 (v iB iH iW iN iS)) /\
  forall dy : nat -> nat -> nat -> nat -> nat -> R,
  let g := snd (permute_mlp B H W N S M V K T L U mask rate branch_h branch_w branch_c (x 0) (mlp_c_weight 0) (mlp_h_weight 0) (mlp_w_weight 0) (proj_weight 0) (proj_bias 0)) dy in
  (sum B (fun iB => (sum H (fun iH => (sum W (fun iW => (sum N (fun iN => (sum S (fun iS => dy iB iH iW iN iS * v iB iH iW iN iS)))))))))) =
  (sum B (fun iB => (sum H (fun iH => (sum W (fun iW => (sum N (fun iN => (sum S (fun iS => (fst (fst (fst (fst (fst g))))) iB iH iW iN iS * u_x iB iH iW iN iS)))))))))) +
  (sum M (fun iM => (sum V (fun iV => (sum M (fun iM' => (sum V (fun iV' => (snd (fst (fst (fst (fst g))))) iM iV iM' iV' * u_mlp_c_weight iM iV iM' iV')))))))) +
  (sum K (fun iK => (sum T (fun iT => (sum K (fun iK' => (sum T (fun iT' => (snd (fst (fst (fst g)))) iK iT iK' iT' * u_mlp_h_weight iK iT iK' iT')))))))) +
  (sum L (fun iL => (sum U (fun iU => (sum L (fun iL' => (sum U (fun iU' => (snd (fst (fst g))) iL iU iL' iU' * u_mlp_w_weight iL iU iL' iU')))))))) +
  (sum N (fun iN => (sum S (fun iS => (sum N (fun iN' => (sum S (fun iS' => (snd (fst g)) iN iS iN' iS' * u_proj_weight iN iS iN' iS')))))))) +
  (sum N (fun iN => (sum S (fun iS => (snd g) iN iS * u_proj_bias iN iS)))).

Theorem permute_mlp_correct : permute_mlp_is_correct.
Proof.
  cbv beta delta [permute_mlp_is_correct permute_mlp].
  generalize linear_segments_correct; cbv delta [linear_segments_is_correct]; generalize linear_segments; intros linear_segments C_linear_segments.
  generalize dropout_segments_correct; cbv delta [dropout_segments_is_correct]; generalize dropout_segments; intros dropout_segments C_dropout_segments.
  intros B H W N S M V K T L U mask rate branch_h branch_w branch_c x mlp_c_weight mlp_h_weight mlp_w_weight proj_weight proj_bias u_x u_mlp_c_weight u_mlp_h_weight u_mlp_w_weight u_proj_weight u_proj_bias P_B P_H P_W P_N P_S P_M P_V P_K P_T P_L P_U C_branch_h C_branch_w C_branch_c D_x D_mlp_c_weight D_mlp_h_weight D_mlp_w_weight D_proj_weight D_proj_bias.
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
  pose (d_branch_h_1 := snd (branch_h (x 0) (mlp_h_weight 0)) (fst (fst d_linear_4))).
  assert (E_branch_h_1 : (sum B (fun iB => (sum H (fun iH => (sum W (fun iW => (sum N (fun iN => (sum S (fun iS => (fst (fst d_linear_4)) iB iH iW iN iS * u_y_branch_h_1 iB iH iW iN iS)))))))))) = (sum B (fun iB => (sum H (fun iH => (sum W (fun iW => (sum N (fun iN => (sum S (fun iS => (fst d_branch_h_1) iB iH iW iN iS * u_x iB iH iW iN iS)))))))))) + (sum K (fun iK => (sum T (fun iT => (sum K (fun iK' => (sum T (fun iT' => (snd d_branch_h_1) iK iT iK' iT' * u_mlp_h_weight iK iT iK' iT'))))))))) by exact (A_y_branch_h_1 (fst (fst d_linear_4))).
  pose (d_branch_w_2 := snd (branch_w (x 0) (mlp_w_weight 0)) (fst (fst d_linear_4))).
  assert (E_branch_w_2 : (sum B (fun iB => (sum H (fun iH => (sum W (fun iW => (sum N (fun iN => (sum S (fun iS => (fst (fst d_linear_4)) iB iH iW iN iS * u_y_branch_w_2 iB iH iW iN iS)))))))))) = (sum B (fun iB => (sum H (fun iH => (sum W (fun iW => (sum N (fun iN => (sum S (fun iS => (fst d_branch_w_2) iB iH iW iN iS * u_x iB iH iW iN iS)))))))))) + (sum L (fun iL => (sum U (fun iU => (sum L (fun iL' => (sum U (fun iU' => (snd d_branch_w_2) iL iU iL' iU' * u_mlp_w_weight iL iU iL' iU'))))))))) by exact (A_y_branch_w_2 (fst (fst d_linear_4))).
  pose (d_branch_c_3 := snd (branch_c (x 0) (mlp_c_weight 0)) (fst (fst d_linear_4))).
  assert (E_branch_c_3 : (sum B (fun iB => (sum H (fun iH => (sum W (fun iW => (sum N (fun iN => (sum S (fun iS => (fst (fst d_linear_4)) iB iH iW iN iS * u_y_branch_c_3 iB iH iW iN iS)))))))))) = (sum B (fun iB => (sum H (fun iH => (sum W (fun iW => (sum N (fun iN => (sum S (fun iS => (fst d_branch_c_3) iB iH iW iN iS * u_x iB iH iW iN iS)))))))))) + (sum M (fun iM => (sum V (fun iV => (sum M (fun iM' => (sum V (fun iV' => (snd d_branch_c_3) iM iV iM' iV' * u_mlp_c_weight iM iV iM' iV'))))))))) by exact (A_y_branch_c_3 (fst (fst d_linear_4))).
  pose (v3 := fun iB iH iW iN iS : nat => ((fst d_branch_h_1) iB iH iW iN iS) + ((fst d_branch_w_2) iB iH iW iN iS)).
  pose (v4 := fun iB iH iW iN iS : nat => (v3 iB iH iW iN iS) + ((fst d_branch_c_3) iB iH iW iN iS)).
  assert (G : g = (v4, (snd d_branch_c_3), (snd d_branch_h_1), (snd d_branch_w_2), (snd (fst d_linear_4)), (snd d_linear_4))) by reflexivity.
  clearbody g; subst g; clearbody d_dropout_5 d_linear_4 d_branch_h_1 d_branch_w_2 d_branch_c_3; cbn [fst snd].
  unfold v4 in *.
  unfold v3 in *.
  unfold u_v2 in *.
  unfold u_v1 in *.
  cbv beta in *.
  spread_in E_linear_4.
  spread. lra.
Qed.
