(* Written by proofs/layers.py from vipnp/layers (plane_branch); do not edit. *)
From Proofs Require Import Tactics.
From Statements Require Import permute_height linear_no_bias.
From Ops Require Import permute_height linear_no_bias.
Open Scope R_scope.
Opaque sum.

Definition plane_branch (B H W N S : nat)
    (x : nat -> nat -> nat -> nat -> nat -> R) (weight : nat -> nat -> nat -> nat -> R)
    : (nat -> nat -> nat -> nat -> nat -> R) * ((nat -> nat -> nat -> nat -> nat -> R) -> (nat -> nat -> nat -> nat -> nat -> R) * (nat -> nat -> nat -> nat -> R)) :=
  let y_permute_height_1 : nat -> nat -> nat -> nat -> nat -> R := fst (permute_height_plane B H W N S (fun iB iH iW iN iS : nat => (x iB iH iW iN iS))) in
  let y_linear_no_bias_2 : nat -> nat -> nat -> nat -> nat -> R := fst (linear_no_bias_plane B N S H W H W y_permute_height_1 weight) in
  let y_permute_height_3 : nat -> nat -> nat -> nat -> nat -> R := fst (permute_height_plane B N S H W y_linear_no_bias_2) in
  (fun iB iH iW iN iS : nat => (y_permute_height_3 iB iH iW iN iS),
   fun dy : nat -> nat -> nat -> nat -> nat -> R =>
     let d_permute_height_3 : (nat -> nat -> nat -> nat -> nat -> R) := snd (permute_height_plane B N S H W y_linear_no_bias_2) (fun iB iH iW iN iS : nat => (dy iB iH iW iN iS)) in
     let d_linear_no_bias_2 : (nat -> nat -> nat -> nat -> nat -> R) * (nat -> nat -> nat -> nat -> R) := snd (linear_no_bias_plane B N S H W H W y_permute_height_1 weight) d_permute_height_3 in
     let d_permute_height_1 : (nat -> nat -> nat -> nat -> nat -> R) := snd (permute_height_plane B H W N S (fun iB iH iW iN iS : nat => (x iB iH iW iN iS))) (fst d_linear_no_bias_2) in
     (fun iB iH iW iN iS : nat => (d_permute_height_1 iB iH iW iN iS), fun iH iW iH' iW' : nat => ((snd d_linear_no_bias_2) iH iW iH' iW'))).

Definition plane_branch_is_correct : Prop :=
  forall (B H W N S : nat)
    (x : R -> nat -> nat -> nat -> nat -> nat -> R) (weight : R -> nat -> nat -> nat -> nat -> R)
    (u_x : nat -> nat -> nat -> nat -> nat -> R) (u_weight : nat -> nat -> nat -> nat -> R),
  (0 < B)%nat ->
  (0 < H)%nat ->
  (0 < W)%nat ->
  (0 < N)%nat ->
  (0 < S)%nat ->
  (forall iB iH iW iN iS, is_derive (fun t => x t iB iH iW iN iS) 0 (u_x iB iH iW iN iS)) ->
  (forall iH iW iH' iW', is_derive (fun t => weight t iH iW iH' iW') 0 (u_weight iH iW iH' iW')) ->
  exists v : nat -> nat -> nat -> nat -> nat -> R,
  (forall iB iH iW iN iS, is_derive (fun t => fst (plane_branch B H W N S (x t) (weight t)) iB iH iW iN iS) 0 (v iB iH iW iN iS)) /\
  forall dy : nat -> nat -> nat -> nat -> nat -> R,
  let g := snd (plane_branch B H W N S (x 0) (weight 0)) dy in
  (sum B (fun iB => (sum H (fun iH => (sum W (fun iW => (sum N (fun iN => (sum S (fun iS => dy iB iH iW iN iS * v iB iH iW iN iS)))))))))) =
  (sum B (fun iB => (sum H (fun iH => (sum W (fun iW => (sum N (fun iN => (sum S (fun iS => (fst g) iB iH iW iN iS * u_x iB iH iW iN iS)))))))))) +
  (sum H (fun iH => (sum W (fun iW => (sum H (fun iH' => (sum W (fun iW' => (snd g) iH iW iH' iW' * u_weight iH iW iH' iW')))))))).

Theorem plane_branch_correct : plane_branch_is_correct.
Proof.
  cbv beta delta [plane_branch_is_correct plane_branch].
  generalize permute_height_plane_correct; cbv delta [permute_height_plane_is_correct]; generalize permute_height_plane; intros permute_height_plane C_permute_height_plane.
  generalize linear_no_bias_plane_correct; cbv delta [linear_no_bias_plane_is_correct]; generalize linear_no_bias_plane; intros linear_no_bias_plane C_linear_no_bias_plane.
  intros B H W N S x weight u_x u_weight P_B P_H P_W P_N P_S D_x D_weight.
  pose (y_permute_height_1 := fun t => fst (permute_height_plane B H W N S (fun iB iH iW iN iS : nat => ((x t) iB iH iW iN iS)))).
  destruct (C_permute_height_plane B H W N S (fun t => (fun iB iH iW iN iS : nat => ((x t) iB iH iW iN iS))) (fun iB iH iW iN iS : nat => (u_x iB iH iW iN iS)) P_B P_H P_W P_N P_S (fun iB iH iW iN iS => (D_x iB iH iW iN iS)))
    as [u_y_permute_height_1 [D_y_permute_height_1 A_y_permute_height_1]].
  change (forall iB iN iS iH iW, is_derive (fun t => y_permute_height_1 t iB iN iS iH iW) 0 (u_y_permute_height_1 iB iN iS iH iW)) in D_y_permute_height_1.
  pose (y_linear_no_bias_2 := fun t => fst (linear_no_bias_plane B N S H W H W (y_permute_height_1 t) (weight t))).
  destruct (C_linear_no_bias_plane B N S H W H W (fun t => (y_permute_height_1 t)) (fun t => (weight t)) u_y_permute_height_1 u_weight P_B P_N P_S P_H P_W P_H P_W D_y_permute_height_1 D_weight)
    as [u_y_linear_no_bias_2 [D_y_linear_no_bias_2 A_y_linear_no_bias_2]].
  change (forall iB iN iS iH iW, is_derive (fun t => y_linear_no_bias_2 t iB iN iS iH iW) 0 (u_y_linear_no_bias_2 iB iN iS iH iW)) in D_y_linear_no_bias_2.
  pose (y_permute_height_3 := fun t => fst (permute_height_plane B N S H W (y_linear_no_bias_2 t))).
  destruct (C_permute_height_plane B N S H W (fun t => (y_linear_no_bias_2 t)) u_y_linear_no_bias_2 P_B P_N P_S P_H P_W D_y_linear_no_bias_2)
    as [u_y_permute_height_3 [D_y_permute_height_3 A_y_permute_height_3]].
  change (forall iB iH iW iN iS, is_derive (fun t => y_permute_height_3 t iB iH iW iN iS) 0 (u_y_permute_height_3 iB iH iW iN iS)) in D_y_permute_height_3.
  exists u_y_permute_height_3. split; [exact D_y_permute_height_3 | intros dy g].
  pose (d_permute_height_3 := snd (permute_height_plane B N S H W (y_linear_no_bias_2 0)) (fun iB iH iW iN iS : nat => (dy iB iH iW iN iS))).
  assert (E_permute_height_3 : (sum B (fun iB => (sum H (fun iH => (sum W (fun iW => (sum N (fun iN => (sum S (fun iS => (fun iB iH iW iN iS : nat => (dy iB iH iW iN iS)) iB iH iW iN iS * u_y_permute_height_3 iB iH iW iN iS)))))))))) = (sum B (fun iB => (sum N (fun iN => (sum S (fun iS => (sum H (fun iH => (sum W (fun iW => d_permute_height_3 iB iN iS iH iW * u_y_linear_no_bias_2 iB iN iS iH iW))))))))))) by exact (A_y_permute_height_3 (fun iB iH iW iN iS : nat => (dy iB iH iW iN iS))).
  pose (d_linear_no_bias_2 := snd (linear_no_bias_plane B N S H W H W (y_permute_height_1 0) (weight 0)) d_permute_height_3).
  assert (E_linear_no_bias_2 : (sum B (fun iB => (sum N (fun iN => (sum S (fun iS => (sum H (fun iH => (sum W (fun iW => d_permute_height_3 iB iN iS iH iW * u_y_linear_no_bias_2 iB iN iS iH iW)))))))))) = (sum B (fun iB => (sum N (fun iN => (sum S (fun iS => (sum H (fun iH => (sum W (fun iW => (fst d_linear_no_bias_2) iB iN iS iH iW * u_y_permute_height_1 iB iN iS iH iW)))))))))) + (sum H (fun iH => (sum W (fun iW => (sum H (fun iH' => (sum W (fun iW' => (snd d_linear_no_bias_2) iH iW iH' iW' * u_weight iH iW iH' iW'))))))))) by exact (A_y_linear_no_bias_2 d_permute_height_3).
  pose (d_permute_height_1 := snd (permute_height_plane B H W N S (fun iB iH iW iN iS : nat => ((x 0) iB iH iW iN iS))) (fst d_linear_no_bias_2)).
  assert (E_permute_height_1 : (sum B (fun iB => (sum N (fun iN => (sum S (fun iS => (sum H (fun iH => (sum W (fun iW => (fst d_linear_no_bias_2) iB iN iS iH iW * u_y_permute_height_1 iB iN iS iH iW)))))))))) = (sum B (fun iB => (sum H (fun iH => (sum W (fun iW => (sum N (fun iN => (sum S (fun iS => d_permute_height_1 iB iH iW iN iS * (fun iB iH iW iN iS : nat => (u_x iB iH iW iN iS)) iB iH iW iN iS))))))))))) by exact (A_y_permute_height_1 (fst d_linear_no_bias_2)).
  assert (G : g = ((fun iB iH iW iN iS : nat => (d_permute_height_1 iB iH iW iN iS)), (snd d_linear_no_bias_2))) by reflexivity.
  clearbody g; subst g; clearbody d_permute_height_3 d_linear_no_bias_2 d_permute_height_1; cbn [fst snd].
  cbv beta in *.
  spread. lra.
Qed.
