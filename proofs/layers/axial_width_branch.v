(* Written by proofs/layers.py from vipnp/layers (axial_width_branch); do not edit. *)
From Proofs Require Import Tactics.
From Statements Require Import shift linear_no_bias.
From Ops Require Import shift linear_no_bias.
Open Scope R_scope.
Opaque sum.

Definition axial_width_branch (B H W N S : nat) (rows : nat -> nat -> nat -> R) (columns : nat -> nat -> nat -> R)
    (x : nat -> nat -> nat -> nat -> nat -> R) (weight : nat -> nat -> nat -> nat -> R)
    : (nat -> nat -> nat -> nat -> nat -> R) * ((nat -> nat -> nat -> nat -> nat -> R) -> (nat -> nat -> nat -> nat -> nat -> R) * (nat -> nat -> nat -> nat -> R)) :=
  let y_shift_1 : nat -> nat -> nat -> nat -> nat -> R := fst (shift B H W N S H W rows columns x) in
  let y_linear_no_bias_2 : nat -> nat -> nat -> nat -> nat -> R := fst (linear_no_bias_segments B H W N S N S y_shift_1 weight) in
  (fun iB iH iW iN iS : nat => (y_linear_no_bias_2 iB iH iW iN iS),
   fun dy : nat -> nat -> nat -> nat -> nat -> R =>
     let d_linear_no_bias_2 : (nat -> nat -> nat -> nat -> nat -> R) * (nat -> nat -> nat -> nat -> R) := snd (linear_no_bias_segments B H W N S N S y_shift_1 weight) dy in
     let d_shift_1 : (nat -> nat -> nat -> nat -> nat -> R) := snd (shift B H W N S H W rows columns x) (fst d_linear_no_bias_2) in
     (fun iB iH iW iN iS : nat => (d_shift_1 iB iH iW iN iS), fun iN iS iN' iS' : nat => ((snd d_linear_no_bias_2) iN iS iN' iS'))).

Definition axial_width_branch_is_correct : Prop :=
  forall (B H W N S : nat) (rows : nat -> nat -> nat -> R) (columns : nat -> nat -> nat -> R)
    (x : R -> nat -> nat -> nat -> nat -> nat -> R) (weight : R -> nat -> nat -> nat -> nat -> R)
    (u_x : nat -> nat -> nat -> nat -> nat -> R) (u_weight : nat -> nat -> nat -> nat -> R),
  (0 < B)%nat ->
  (0 < H)%nat ->
  (0 < W)%nat ->
  (0 < N)%nat ->
  (0 < S)%nat ->
  (forall iB iH iW iN iS, is_derive (fun t => x t iB iH iW iN iS) 0 (u_x iB iH iW iN iS)) ->
  (forall iN iS iN' iS', is_derive (fun t => weight t iN iS iN' iS') 0 (u_weight iN iS iN' iS')) ->
  exists v : nat -> nat -> nat -> nat -> nat -> R,
  (forall iB iH iW iN iS, is_derive (fun t => fst (axial_width_branch B H W N S rows columns (x t) (weight t)) iB iH iW iN iS) 0 (v iB iH iW iN iS)) /\
  forall dy : nat -> nat -> nat -> nat -> nat -> R,
  let g := snd (axial_width_branch B H W N S rows columns (x 0) (weight 0)) dy in
  (sum B (fun iB => (sum H (fun iH => (sum W (fun iW => (sum N (fun iN => (sum S (fun iS => dy iB iH iW iN iS * v iB iH iW iN iS)))))))))) =
  (sum B (fun iB => (sum H (fun iH => (sum W (fun iW => (sum N (fun iN => (sum S (fun iS => (fst g) iB iH iW iN iS * u_x iB iH iW iN iS)))))))))) +
  (sum N (fun iN => (sum S (fun iS => (sum N (fun iN' => (sum S (fun iS' => (snd g) iN iS iN' iS' * u_weight iN iS iN' iS')))))))).

Theorem axial_width_branch_correct : axial_width_branch_is_correct.
Proof.
  cbv beta delta [axial_width_branch_is_correct axial_width_branch].
  generalize shift_correct; cbv delta [shift_is_correct]; generalize shift; intros shift C_shift.
  generalize linear_no_bias_segments_correct; cbv delta [linear_no_bias_segments_is_correct]; generalize linear_no_bias_segments; intros linear_no_bias_segments C_linear_no_bias_segments.
  intros B H W N S rows columns x weight u_x u_weight P_B P_H P_W P_N P_S D_x D_weight.
  pose (y_shift_1 := fun t => fst (shift B H W N S H W rows columns (x t))).
  destruct (C_shift B H W N S H W rows columns (fun t => (x t)) u_x P_B P_H P_W P_N P_S P_H P_W D_x)
    as [u_y_shift_1 [D_y_shift_1 A_y_shift_1]].
  change (forall iB iH iW iN iS, is_derive (fun t => y_shift_1 t iB iH iW iN iS) 0 (u_y_shift_1 iB iH iW iN iS)) in D_y_shift_1.
  pose (y_linear_no_bias_2 := fun t => fst (linear_no_bias_segments B H W N S N S (y_shift_1 t) (weight t))).
  destruct (C_linear_no_bias_segments B H W N S N S (fun t => (y_shift_1 t)) (fun t => (weight t)) u_y_shift_1 u_weight P_B P_H P_W P_N P_S P_N P_S D_y_shift_1 D_weight)
    as [u_y_linear_no_bias_2 [D_y_linear_no_bias_2 A_y_linear_no_bias_2]].
  change (forall iB iH iW iN iS, is_derive (fun t => y_linear_no_bias_2 t iB iH iW iN iS) 0 (u_y_linear_no_bias_2 iB iH iW iN iS)) in D_y_linear_no_bias_2.
  exists u_y_linear_no_bias_2. split; [exact D_y_linear_no_bias_2 | intros dy g].
  pose (d_linear_no_bias_2 := snd (linear_no_bias_segments B H W N S N S (y_shift_1 0) (weight 0)) dy).
  assert (E_linear_no_bias_2 : (sum B (fun iB => (sum H (fun iH => (sum W (fun iW => (sum N (fun iN => (sum S (fun iS => dy iB iH iW iN iS * u_y_linear_no_bias_2 iB iH iW iN iS)))))))))) = (sum B (fun iB => (sum H (fun iH => (sum W (fun iW => (sum N (fun iN => (sum S (fun iS => (fst d_linear_no_bias_2) iB iH iW iN iS * u_y_shift_1 iB iH iW iN iS)))))))))) + (sum N (fun iN => (sum S (fun iS => (sum N (fun iN' => (sum S (fun iS' => (snd d_linear_no_bias_2) iN iS iN' iS' * u_weight iN iS iN' iS'))))))))) by exact (A_y_linear_no_bias_2 dy).
  pose (d_shift_1 := snd (shift B H W N S H W rows columns (x 0)) (fst d_linear_no_bias_2)).
  assert (E_shift_1 : (sum B (fun iB => (sum H (fun iH => (sum W (fun iW => (sum N (fun iN => (sum S (fun iS => (fst d_linear_no_bias_2) iB iH iW iN iS * u_y_shift_1 iB iH iW iN iS)))))))))) = (sum B (fun iB => (sum H (fun iH => (sum W (fun iW => (sum N (fun iN => (sum S (fun iS => d_shift_1 iB iH iW iN iS * u_x iB iH iW iN iS))))))))))) by exact (A_y_shift_1 (fst d_linear_no_bias_2)).
  assert (G : g = (d_shift_1, (snd d_linear_no_bias_2))) by reflexivity.
  clearbody g; subst g; clearbody d_linear_no_bias_2 d_shift_1; cbn [fst snd].
  cbv beta in *.
  spread. lra.
Qed.
