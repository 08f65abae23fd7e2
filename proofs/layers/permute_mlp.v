(* Written by proofs/layers.py from vipnp/layers (permute_mlp); do not edit. *)
From Proofs Require Import Tactics.
From Statements Require Import permute_height linear_no_bias permute_width linear dropout.
From Ops Require Import permute_height linear_no_bias permute_width linear dropout.
Open Scope R_scope.
Opaque sum.

Definition permute_mlp (B H W N S : nat) (mask : nat -> nat -> nat -> nat -> nat -> R) (rate : R)
    (x : nat -> nat -> nat -> nat -> nat -> R) (mlp_c_weight : nat -> nat -> nat -> nat -> R) (mlp_h_weight : nat -> nat -> nat -> nat -> R) (mlp_w_weight : nat -> nat -> nat -> nat -> R) (proj_weight : nat -> nat -> nat -> nat -> R) (proj_bias : nat -> nat -> R)
    : (nat -> nat -> nat -> nat -> nat -> R) * ((nat -> nat -> nat -> nat -> nat -> R) -> (nat -> nat -> nat -> nat -> nat -> R) * (nat -> nat -> nat -> nat -> R) * (nat -> nat -> nat -> nat -> R) * (nat -> nat -> nat -> nat -> R) * (nat -> nat -> nat -> nat -> R) * (nat -> nat -> R)) :=
  let y_permute_height_1 : nat -> nat -> nat -> nat -> nat -> R := fst (permute_height B H W N S x) in
  let y_linear_no_bias_2 : nat -> nat -> nat -> nat -> nat -> R := fst (linear_no_bias_segments B N W H S H S y_permute_height_1 mlp_h_weight) in
  let y_permute_height_3 : nat -> nat -> nat -> nat -> nat -> R := fst (permute_height B N W H S y_linear_no_bias_2) in
  let y_permute_width_4 : nat -> nat -> nat -> nat -> nat -> R := fst (permute_width B H W N S x) in
  let y_linear_no_bias_5 : nat -> nat -> nat -> nat -> nat -> R := fst (linear_no_bias_segments B H N W S W S y_permute_width_4 mlp_w_weight) in
  let y_permute_width_6 : nat -> nat -> nat -> nat -> nat -> R := fst (permute_width B H N W S y_linear_no_bias_5) in
  let y_linear_no_bias_7 : nat -> nat -> nat -> nat -> nat -> R := fst (linear_no_bias_segments B H W N S N S x mlp_c_weight) in
  let v1 := fun iB iH iW iN iS : nat => (y_permute_height_3 iB iH iW iN iS) + (y_permute_width_6 iB iH iW iN iS) in
  let v2 := fun iB iH iW iN iS : nat => (v1 iB iH iW iN iS) + (y_linear_no_bias_7 iB iH iW iN iS) in
  let y_linear_8 : nat -> nat -> nat -> nat -> nat -> R := fst (linear_segments B H W N S N S v2 proj_weight proj_bias) in
  let y_dropout_9 : nat -> nat -> nat -> nat -> nat -> R := fst (dropout_segments B H W N S mask rate y_linear_8) in
  (fun iB iH iW iN iS : nat => (y_dropout_9 iB iH iW iN iS),
   fun dy : nat -> nat -> nat -> nat -> nat -> R =>
     let d_dropout_9 : (nat -> nat -> nat -> nat -> nat -> R) := snd (dropout_segments B H W N S mask rate y_linear_8) dy in
     let d_linear_8 : (nat -> nat -> nat -> nat -> nat -> R) * (nat -> nat -> nat -> nat -> R) * (nat -> nat -> R) := snd (linear_segments B H W N S N S v2 proj_weight proj_bias) d_dropout_9 in
     let d_permute_height_3 : (nat -> nat -> nat -> nat -> nat -> R) := snd (permute_height B N W H S y_linear_no_bias_2) (fst (fst d_linear_8)) in
     let d_linear_no_bias_2 : (nat -> nat -> nat -> nat -> nat -> R) * (nat -> nat -> nat -> nat -> R) := snd (linear_no_bias_segments B N W H S H S y_permute_height_1 mlp_h_weight) d_permute_height_3 in
     let d_permute_height_1 : (nat -> nat -> nat -> nat -> nat -> R) := snd (permute_height B H W N S x) (fst d_linear_no_bias_2) in
     let d_permute_width_6 : (nat -> nat -> nat -> nat -> nat -> R) := snd (permute_width B H N W S y_linear_no_bias_5) (fst (fst d_linear_8)) in
     let d_linear_no_bias_5 : (nat -> nat -> nat -> nat -> nat -> R) * (nat -> nat -> nat -> nat -> R) := snd (linear_no_bias_segments B H N W S W S y_permute_width_4 mlp_w_weight) d_permute_width_6 in
     let d_permute_width_4 : (nat -> nat -> nat -> nat -> nat -> R) := snd (permute_width B H W N S x) (fst d_linear_no_bias_5) in
     let d_linear_no_bias_7 : (nat -> nat -> nat -> nat -> nat -> R) * (nat -> nat -> nat -> nat -> R) := snd (linear_no_bias_segments B H W N S N S x mlp_c_weight) (fst (fst d_linear_8)) in
     let v3 := fun iB iH iW iN iS : nat => (d_permute_height_1 iB iH iW iN iS) + (d_permute_width_4 iB iH iW iN iS) in
     let v4 := fun iB iH iW iN iS : nat => (v3 iB iH iW iN iS) + ((fst d_linear_no_bias_7) iB iH iW iN iS) in
     (fun iB iH iW iN iS : nat => (v4 iB iH iW iN iS), fun iN iS iN' iS' : nat => ((snd d_linear_no_bias_7) iN iS iN' iS'), fun iH iS iH' iS' : nat => ((snd d_linear_no_bias_2) iH iS iH' iS'), fun iW iS iW' iS' : nat => ((snd d_linear_no_bias_5) iW iS iW' iS'), fun iN iS iN' iS' : nat => ((snd (fst d_linear_8)) iN iS iN' iS'), fun iN iS : nat => ((snd d_linear_8) iN iS))).

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
  intros B H W N S mask rate x mlp_c_weight mlp_h_weight mlp_w_weight proj_weight proj_bias u_x u_mlp_c_weight u_mlp_h_weight u_mlp_w_weight u_proj_weight u_proj_bias P_B P_H P_W P_N P_S D_x D_mlp_c_weight D_mlp_h_weight D_mlp_w_weight D_proj_weight D_proj_bias.
  pose (y_permute_height_1 := fun t => fst (permute_height B H W N S (x t))).
  destruct (permute_height_correct B H W N S (fun t => (x t)) u_x P_B P_H P_W P_N P_S D_x)
    as [u_y_permute_height_1 [D_y_permute_height_1 A_y_permute_height_1]].
  change (forall iB iN iW iH iS, is_derive (fun t => y_permute_height_1 t iB iN iW iH iS) 0 (u_y_permute_height_1 iB iN iW iH iS)) in D_y_permute_height_1.
  pose (y_linear_no_bias_2 := fun t => fst (linear_no_bias_segments B N W H S H S (y_permute_height_1 t) (mlp_h_weight t))).
  destruct (linear_no_bias_segments_correct B N W H S H S (fun t => (y_permute_height_1 t)) (fun t => (mlp_h_weight t)) u_y_permute_height_1 u_mlp_h_weight P_B P_N P_W P_H P_S P_H P_S D_y_permute_height_1 D_mlp_h_weight)
    as [u_y_linear_no_bias_2 [D_y_linear_no_bias_2 A_y_linear_no_bias_2]].
  change (forall iB iN iW iH iS, is_derive (fun t => y_linear_no_bias_2 t iB iN iW iH iS) 0 (u_y_linear_no_bias_2 iB iN iW iH iS)) in D_y_linear_no_bias_2.
  pose (y_permute_height_3 := fun t => fst (permute_height B N W H S (y_linear_no_bias_2 t))).
  destruct (permute_height_correct B N W H S (fun t => (y_linear_no_bias_2 t)) u_y_linear_no_bias_2 P_B P_N P_W P_H P_S D_y_linear_no_bias_2)
    as [u_y_permute_height_3 [D_y_permute_height_3 A_y_permute_height_3]].
  change (forall iB iH iW iN iS, is_derive (fun t => y_permute_height_3 t iB iH iW iN iS) 0 (u_y_permute_height_3 iB iH iW iN iS)) in D_y_permute_height_3.
  pose (y_permute_width_4 := fun t => fst (permute_width B H W N S (x t))).
  destruct (permute_width_correct B H W N S (fun t => (x t)) u_x P_B P_H P_W P_N P_S D_x)
    as [u_y_permute_width_4 [D_y_permute_width_4 A_y_permute_width_4]].
  change (forall iB iH iN iW iS, is_derive (fun t => y_permute_width_4 t iB iH iN iW iS) 0 (u_y_permute_width_4 iB iH iN iW iS)) in D_y_permute_width_4.
  pose (y_linear_no_bias_5 := fun t => fst (linear_no_bias_segments B H N W S W S (y_permute_width_4 t) (mlp_w_weight t))).
  destruct (linear_no_bias_segments_correct B H N W S W S (fun t => (y_permute_width_4 t)) (fun t => (mlp_w_weight t)) u_y_permute_width_4 u_mlp_w_weight P_B P_H P_N P_W P_S P_W P_S D_y_permute_width_4 D_mlp_w_weight)
    as [u_y_linear_no_bias_5 [D_y_linear_no_bias_5 A_y_linear_no_bias_5]].
  change (forall iB iH iN iW iS, is_derive (fun t => y_linear_no_bias_5 t iB iH iN iW iS) 0 (u_y_linear_no_bias_5 iB iH iN iW iS)) in D_y_linear_no_bias_5.
  pose (y_permute_width_6 := fun t => fst (permute_width B H N W S (y_linear_no_bias_5 t))).
  destruct (permute_width_correct B H N W S (fun t => (y_linear_no_bias_5 t)) u_y_linear_no_bias_5 P_B P_H P_N P_W P_S D_y_linear_no_bias_5)
    as [u_y_permute_width_6 [D_y_permute_width_6 A_y_permute_width_6]].
  change (forall iB iH iW iN iS, is_derive (fun t => y_permute_width_6 t iB iH iW iN iS) 0 (u_y_permute_width_6 iB iH iW iN iS)) in D_y_permute_width_6.
  pose (y_linear_no_bias_7 := fun t => fst (linear_no_bias_segments B H W N S N S (x t) (mlp_c_weight t))).
  destruct (linear_no_bias_segments_correct B H W N S N S (fun t => (x t)) (fun t => (mlp_c_weight t)) u_x u_mlp_c_weight P_B P_H P_W P_N P_S P_N P_S D_x D_mlp_c_weight)
    as [u_y_linear_no_bias_7 [D_y_linear_no_bias_7 A_y_linear_no_bias_7]].
  change (forall iB iH iW iN iS, is_derive (fun t => y_linear_no_bias_7 t iB iH iW iN iS) 0 (u_y_linear_no_bias_7 iB iH iW iN iS)) in D_y_linear_no_bias_7.
  pose (v1 := fun t => fun iB iH iW iN iS : nat => ((y_permute_height_3 t) iB iH iW iN iS) + ((y_permute_width_6 t) iB iH iW iN iS)).
  pose (u_v1 := fun iB iH iW iN iS : nat => (u_y_permute_height_3 iB iH iW iN iS) + (u_y_permute_width_6 iB iH iW iN iS)).
  assert (D_v1 : forall iB iH iW iN iS, is_derive (fun t => v1 t iB iH iW iN iS) 0 (u_v1 iB iH iW iN iS)) by exact (fun iB iH iW iN iS => is_derive_sum _ _ _ _ (D_y_permute_height_3 iB iH iW iN iS) (D_y_permute_width_6 iB iH iW iN iS)).
  pose (v2 := fun t => fun iB iH iW iN iS : nat => ((v1 t) iB iH iW iN iS) + ((y_linear_no_bias_7 t) iB iH iW iN iS)).
  pose (u_v2 := fun iB iH iW iN iS : nat => (u_v1 iB iH iW iN iS) + (u_y_linear_no_bias_7 iB iH iW iN iS)).
  assert (D_v2 : forall iB iH iW iN iS, is_derive (fun t => v2 t iB iH iW iN iS) 0 (u_v2 iB iH iW iN iS)) by exact (fun iB iH iW iN iS => is_derive_sum _ _ _ _ (D_v1 iB iH iW iN iS) (D_y_linear_no_bias_7 iB iH iW iN iS)).
  pose (y_linear_8 := fun t => fst (linear_segments B H W N S N S (v2 t) (proj_weight t) (proj_bias t))).
  destruct (linear_segments_correct B H W N S N S (fun t => (v2 t)) (fun t => (proj_weight t)) (fun t => (proj_bias t)) u_v2 u_proj_weight u_proj_bias P_B P_H P_W P_N P_S P_N P_S D_v2 D_proj_weight D_proj_bias)
    as [u_y_linear_8 [D_y_linear_8 A_y_linear_8]].
  change (forall iB iH iW iN iS, is_derive (fun t => y_linear_8 t iB iH iW iN iS) 0 (u_y_linear_8 iB iH iW iN iS)) in D_y_linear_8.
  pose (y_dropout_9 := fun t => fst (dropout_segments B H W N S mask rate (y_linear_8 t))).
  destruct (dropout_segments_correct B H W N S mask rate (fun t => (y_linear_8 t)) u_y_linear_8 P_B P_H P_W P_N P_S D_y_linear_8)
    as [u_y_dropout_9 [D_y_dropout_9 A_y_dropout_9]].
  change (forall iB iH iW iN iS, is_derive (fun t => y_dropout_9 t iB iH iW iN iS) 0 (u_y_dropout_9 iB iH iW iN iS)) in D_y_dropout_9.
  exists u_y_dropout_9. split; [exact D_y_dropout_9 | intros dy].
  change (
    let d_dropout_9 := snd (dropout_segments B H W N S mask rate (y_linear_8 0)) dy in
    let d_linear_8 := snd (linear_segments B H W N S N S (v2 0) (proj_weight 0) (proj_bias 0)) d_dropout_9 in
    let d_permute_height_3 := snd (permute_height B N W H S (y_linear_no_bias_2 0)) (fst (fst d_linear_8)) in
    let d_linear_no_bias_2 := snd (linear_no_bias_segments B N W H S H S (y_permute_height_1 0) (mlp_h_weight 0)) d_permute_height_3 in
    let d_permute_height_1 := snd (permute_height B H W N S (x 0)) (fst d_linear_no_bias_2) in
    let d_permute_width_6 := snd (permute_width B H N W S (y_linear_no_bias_5 0)) (fst (fst d_linear_8)) in
    let d_linear_no_bias_5 := snd (linear_no_bias_segments B H N W S W S (y_permute_width_4 0) (mlp_w_weight 0)) d_permute_width_6 in
    let d_permute_width_4 := snd (permute_width B H W N S (x 0)) (fst d_linear_no_bias_5) in
    let d_linear_no_bias_7 := snd (linear_no_bias_segments B H W N S N S (x 0) (mlp_c_weight 0)) (fst (fst d_linear_8)) in
    let v3 := fun iB iH iW iN iS : nat => (d_permute_height_1 iB iH iW iN iS) + (d_permute_width_4 iB iH iW iN iS) in
    let v4 := fun iB iH iW iN iS : nat => (v3 iB iH iW iN iS) + ((fst d_linear_no_bias_7) iB iH iW iN iS) in
    (sum B (fun iB => (sum H (fun iH => (sum W (fun iW => (sum N (fun iN => (sum S (fun iS => dy iB iH iW iN iS * u_y_dropout_9 iB iH iW iN iS)))))))))) =
    (sum B (fun iB => (sum H (fun iH => (sum W (fun iW => (sum N (fun iN => (sum S (fun iS => v4 iB iH iW iN iS * u_x iB iH iW iN iS)))))))))) + (sum N (fun iN => (sum S (fun iS => (sum N (fun iN' => (sum S (fun iS' => (snd d_linear_no_bias_7) iN iS iN' iS' * u_mlp_c_weight iN iS iN' iS')))))))) + (sum H (fun iH => (sum S (fun iS => (sum H (fun iH' => (sum S (fun iS' => (snd d_linear_no_bias_2) iH iS iH' iS' * u_mlp_h_weight iH iS iH' iS')))))))) + (sum W (fun iW => (sum S (fun iS => (sum W (fun iW' => (sum S (fun iS' => (snd d_linear_no_bias_5) iW iS iW' iS' * u_mlp_w_weight iW iS iW' iS')))))))) + (sum N (fun iN => (sum S (fun iS => (sum N (fun iN' => (sum S (fun iS' => (snd (fst d_linear_8)) iN iS iN' iS' * u_proj_weight iN iS iN' iS')))))))) + (sum N (fun iN => (sum S (fun iS => (snd d_linear_8) iN iS * u_proj_bias iN iS))))).
  intros d_dropout_9.
  assert (E_dropout_9 : (sum B (fun iB => (sum H (fun iH => (sum W (fun iW => (sum N (fun iN => (sum S (fun iS => dy iB iH iW iN iS * u_y_dropout_9 iB iH iW iN iS)))))))))) = (sum B (fun iB => (sum H (fun iH => (sum W (fun iW => (sum N (fun iN => (sum S (fun iS => d_dropout_9 iB iH iW iN iS * u_y_linear_8 iB iH iW iN iS))))))))))) by exact (A_y_dropout_9 dy).
  clearbody d_dropout_9.
  intros d_linear_8.
  assert (E_linear_8 : (sum B (fun iB => (sum H (fun iH => (sum W (fun iW => (sum N (fun iN => (sum S (fun iS => d_dropout_9 iB iH iW iN iS * u_y_linear_8 iB iH iW iN iS)))))))))) = (sum B (fun iB => (sum H (fun iH => (sum W (fun iW => (sum N (fun iN => (sum S (fun iS => (fst (fst d_linear_8)) iB iH iW iN iS * u_v2 iB iH iW iN iS)))))))))) + (sum N (fun iN => (sum S (fun iS => (sum N (fun iN' => (sum S (fun iS' => (snd (fst d_linear_8)) iN iS iN' iS' * u_proj_weight iN iS iN' iS')))))))) + (sum N (fun iN => (sum S (fun iS => (snd d_linear_8) iN iS * u_proj_bias iN iS))))) by exact (A_y_linear_8 d_dropout_9).
  clearbody d_linear_8.
  intros d_permute_height_3.
  assert (E_permute_height_3 : (sum B (fun iB => (sum H (fun iH => (sum W (fun iW => (sum N (fun iN => (sum S (fun iS => (fst (fst d_linear_8)) iB iH iW iN iS * u_y_permute_height_3 iB iH iW iN iS)))))))))) = (sum B (fun iB => (sum N (fun iN => (sum W (fun iW => (sum H (fun iH => (sum S (fun iS => d_permute_height_3 iB iN iW iH iS * u_y_linear_no_bias_2 iB iN iW iH iS))))))))))) by exact (A_y_permute_height_3 (fst (fst d_linear_8))).
  clearbody d_permute_height_3.
  intros d_linear_no_bias_2.
  assert (E_linear_no_bias_2 : (sum B (fun iB => (sum N (fun iN => (sum W (fun iW => (sum H (fun iH => (sum S (fun iS => d_permute_height_3 iB iN iW iH iS * u_y_linear_no_bias_2 iB iN iW iH iS)))))))))) = (sum B (fun iB => (sum N (fun iN => (sum W (fun iW => (sum H (fun iH => (sum S (fun iS => (fst d_linear_no_bias_2) iB iN iW iH iS * u_y_permute_height_1 iB iN iW iH iS)))))))))) + (sum H (fun iH => (sum S (fun iS => (sum H (fun iH' => (sum S (fun iS' => (snd d_linear_no_bias_2) iH iS iH' iS' * u_mlp_h_weight iH iS iH' iS'))))))))) by exact (A_y_linear_no_bias_2 d_permute_height_3).
  clearbody d_linear_no_bias_2.
  intros d_permute_height_1.
  assert (E_permute_height_1 : (sum B (fun iB => (sum N (fun iN => (sum W (fun iW => (sum H (fun iH => (sum S (fun iS => (fst d_linear_no_bias_2) iB iN iW iH iS * u_y_permute_height_1 iB iN iW iH iS)))))))))) = (sum B (fun iB => (sum H (fun iH => (sum W (fun iW => (sum N (fun iN => (sum S (fun iS => d_permute_height_1 iB iH iW iN iS * u_x iB iH iW iN iS))))))))))) by exact (A_y_permute_height_1 (fst d_linear_no_bias_2)).
  clearbody d_permute_height_1.
  intros d_permute_width_6.
  assert (E_permute_width_6 : (sum B (fun iB => (sum H (fun iH => (sum W (fun iW => (sum N (fun iN => (sum S (fun iS => (fst (fst d_linear_8)) iB iH iW iN iS * u_y_permute_width_6 iB iH iW iN iS)))))))))) = (sum B (fun iB => (sum H (fun iH => (sum N (fun iN => (sum W (fun iW => (sum S (fun iS => d_permute_width_6 iB iH iN iW iS * u_y_linear_no_bias_5 iB iH iN iW iS))))))))))) by exact (A_y_permute_width_6 (fst (fst d_linear_8))).
  clearbody d_permute_width_6.
  intros d_linear_no_bias_5.
  assert (E_linear_no_bias_5 : (sum B (fun iB => (sum H (fun iH => (sum N (fun iN => (sum W (fun iW => (sum S (fun iS => d_permute_width_6 iB iH iN iW iS * u_y_linear_no_bias_5 iB iH iN iW iS)))))))))) = (sum B (fun iB => (sum H (fun iH => (sum N (fun iN => (sum W (fun iW => (sum S (fun iS => (fst d_linear_no_bias_5) iB iH iN iW iS * u_y_permute_width_4 iB iH iN iW iS)))))))))) + (sum W (fun iW => (sum S (fun iS => (sum W (fun iW' => (sum S (fun iS' => (snd d_linear_no_bias_5) iW iS iW' iS' * u_mlp_w_weight iW iS iW' iS'))))))))) by exact (A_y_linear_no_bias_5 d_permute_width_6).
  clearbody d_linear_no_bias_5.
  intros d_permute_width_4.
  assert (E_permute_width_4 : (sum B (fun iB => (sum H (fun iH => (sum N (fun iN => (sum W (fun iW => (sum S (fun iS => (fst d_linear_no_bias_5) iB iH iN iW iS * u_y_permute_width_4 iB iH iN iW iS)))))))))) = (sum B (fun iB => (sum H (fun iH => (sum W (fun iW => (sum N (fun iN => (sum S (fun iS => d_permute_width_4 iB iH iW iN iS * u_x iB iH iW iN iS))))))))))) by exact (A_y_permute_width_4 (fst d_linear_no_bias_5)).
  clearbody d_permute_width_4.
  intros d_linear_no_bias_7.
  assert (E_linear_no_bias_7 : (sum B (fun iB => (sum H (fun iH => (sum W (fun iW => (sum N (fun iN => (sum S (fun iS => (fst (fst d_linear_8)) iB iH iW iN iS * u_y_linear_no_bias_7 iB iH iW iN iS)))))))))) = (sum B (fun iB => (sum H (fun iH => (sum W (fun iW => (sum N (fun iN => (sum S (fun iS => (fst d_linear_no_bias_7) iB iH iW iN iS * u_x iB iH iW iN iS)))))))))) + (sum N (fun iN => (sum S (fun iS => (sum N (fun iN' => (sum S (fun iS' => (snd d_linear_no_bias_7) iN iS iN' iS' * u_mlp_c_weight iN iS iN' iS'))))))))) by exact (A_y_linear_no_bias_7 (fst (fst d_linear_8))).
  clearbody d_linear_no_bias_7.
  intros v3.
  intros v4.
  unfold v4 in *.
  unfold v3 in *.
  unfold u_v2 in *.
  unfold u_v1 in *.
  cbv beta in *.
  spread_in E_linear_8.
  spread. lra.
Qed.
