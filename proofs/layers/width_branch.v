(* Written by proofs/layers.py from vipnp/layers (width_branch); do not edit. *)
From Proofs Require Import Tactics.
From Statements Require Import permute_width linear_no_bias.
From Ops Require Import permute_width linear_no_bias.
Open Scope R_scope.
Opaque sum.

Definition width_branch (B H W N S : nat)
    (x : nat -> nat -> nat -> nat -> nat -> R) (weight : nat -> nat -> nat -> nat -> R)
    : (nat -> nat -> nat -> nat -> nat -> R) * ((nat -> nat -> nat -> nat -> nat -> R) -> (nat -> nat -> nat -> nat -> nat -> R) * (nat -> nat -> nat -> nat -> R)) :=
  let y_permute_width_1 : nat -> nat -> nat -> nat -> nat -> R := fst (permute_width B H W N S x) in
  let y_linear_no_bias_2 : nat -> nat -> nat -> nat -> nat -> R := fst (linear_no_bias_segments B H N W S W S y_permute_width_1 weight) in
  let y_permute_width_3 : nat -> nat -> nat -> nat -> nat -> R := fst (permute_width B H N W S y_linear_no_bias_2) in
  (fun iB iH iW iN iS : nat => (y_permute_width_3 iB iH iW iN iS),
   fun dy : nat -> nat -> nat -> nat -> nat -> R =>
     let d_permute_width_3 : (nat -> nat -> nat -> nat -> nat -> R) := snd (permute_width B H N W S y_linear_no_bias_2) dy in
     let d_linear_no_bias_2 : (nat -> nat -> nat -> nat -> nat -> R) * (nat -> nat -> nat -> nat -> R) := snd (linear_no_bias_segments B H N W S W S y_permute_width_1 weight) d_permute_width_3 in
     let d_permute_width_1 : (nat -> nat -> nat -> nat -> nat -> R) := snd (permute_width B H W N S x) (fst d_linear_no_bias_2) in
     (fun iB iH iW iN iS : nat => (d_permute_width_1 iB iH iW iN iS), fun iW iS iW' iS' : nat => ((snd d_linear_no_bias_2) iW iS iW' iS'))).

Definition width_branch_is_correct : Prop :=
  forall (B H W N S : nat)
    (x : R -> nat -> nat -> nat -> nat -> nat -> R) (weight : R -> nat -> nat -> nat -> nat -> R)
    (u_x : nat -> nat -> nat -> nat -> nat -> R) (u_weight : nat -> nat -> nat -> nat -> R),
  (0 < B)%nat ->
  (0 < H)%nat ->
  (0 < W)%nat ->
  (0 < N)%nat ->
  (0 < S)%nat ->
  (forall iB iH iW iN iS, is_derive (fun t => x t iB iH iW iN iS) 0 (u_x iB iH iW iN iS)) ->
  (forall iW iS iW' iS', is_derive (fun t => weight t iW iS iW' iS') 0 (u_weight iW iS iW' iS')) ->
  exists v : nat -> nat -> nat -> nat -> nat -> R,
  (forall iB iH iW iN iS, is_derive (fun t => fst (width_branch B H W N S (x t) (weight t)) iB iH iW iN iS) 0 (v iB iH iW iN iS)) /\
  forall dy : nat -> nat -> nat -> nat -> nat -> R,
  let g := snd (width_branch B H W N S (x 0) (weight 0)) dy in
  (sum B (fun iB => (sum H (fun iH => (sum W (fun iW => (sum N (fun iN => (sum S (fun iS => dy iB iH iW iN iS * v iB iH iW iN iS)))))))))) =
  (sum B (fun iB => (sum H (fun iH => (sum W (fun iW => (sum N (fun iN => (sum S (fun iS => (fst g) iB iH iW iN iS * u_x iB iH iW iN iS)))))))))) +
  (sum W (fun iW => (sum S (fun iS => (sum W (fun iW' => (sum S (fun iS' => (snd g) iW iS iW' iS' * u_weight iW iS iW' iS')))))))).

Theorem width_branch_correct : width_branch_is_correct.
Proof.
  cbv beta delta [width_branch_is_correct width_branch].
  generalize permute_width_correct; cbv delta [permute_width_is_correct]; generalize permute_width; intros permute_width C_permute_width.
  generalize linear_no_bias_segments_correct; cbv delta [linear_no_bias_segments_is_correct]; generalize linear_no_bias_segments; intros linear_no_bias_segments C_linear_no_bias_segments.
  intros B H W N S x weight u_x u_weight P_B P_H P_W P_N P_S D_x D_weight.
  pose (y_permute_width_1 := fun t => fst (permute_width B H W N S (x t))).
  destruct (C_permute_width B H W N S (fun t => (x t)) u_x P_B P_H P_W P_N P_S D_x)
    as [u_y_permute_width_1 [D_y_permute_width_1 A_y_permute_width_1]].
  change (forall iB iH iN iW iS, is_derive (fun t => y_permute_width_1 t iB iH iN iW iS) 0 (u_y_permute_width_1 iB iH iN iW iS)) in D_y_permute_width_1.
  pose (y_linear_no_bias_2 := fun t => fst (linear_no_bias_segments B H N W S W S (y_permute_width_1 t) (weight t))).
  destruct (C_linear_no_bias_segments B H N W S W S (fun t => (y_permute_width_1 t)) (fun t => (weight t)) u_y_permute_width_1 u_weight P_B P_H P_N P_W P_S P_W P_S D_y_permute_width_1 D_weight)
    as [u_y_linear_no_bias_2 [D_y_linear_no_bias_2 A_y_linear_no_bias_2]].
  change (forall iB iH iN iW iS, is_derive (fun t => y_linear_no_bias_2 t iB iH iN iW iS) 0 (u_y_linear_no_bias_2 iB iH iN iW iS)) in D_y_linear_no_bias_2.
  pose (y_permute_width_3 := fun t => fst (permute_width B H N W S (y_linear_no_bias_2 t))).
  destruct (C_permute_width B H N W S (fun t => (y_linear_no_bias_2 t)) u_y_linear_no_bias_2 P_B P_H P_N P_W P_S D_y_linear_no_bias_2)
    as [u_y_permute_width_3 [D_y_permute_width_3 A_y_permute_width_3]].
  change (forall iB iH iW iN iS, is_derive (fun t => y_permute_width_3 t iB iH iW iN iS) 0 (u_y_permute_width_3 iB iH iW iN iS)) in D_y_permute_width_3.
  exists u_y_permute_width_3. split; [exact D_y_permute_width_3 | intros dy g].
  pose (d_permute_width_3 := snd (permute_width B H N W S (y_linear_no_bias_2 0)) dy).
  assert (E_permute_width_3 : (sum B (fun iB => (sum H (fun iH => (sum W (fun iW => (sum N (fun iN => (sum S (fun iS => dy iB iH iW iN iS * u_y_permute_width_3 iB iH iW iN iS)))))))))) = (sum B (fun iB => (sum H (fun iH => (sum N (fun iN => (sum W (fun iW => (sum S (fun iS => d_permute_width_3 iB iH iN iW iS * u_y_linear_no_bias_2 iB iH iN iW iS))))))))))) by exact (A_y_permute_width_3 dy).
  pose (d_linear_no_bias_2 := snd (linear_no_bias_segments B H N W S W S (y_permute_width_1 0) (weight 0)) d_permute_width_3).
  assert (E_linear_no_bias_2 : (sum B (fun iB => (sum H (fun iH => (sum N (fun iN => (sum W (fun iW => (sum S (fun iS => d_permute_width_3 iB iH iN iW iS * u_y_linear_no_bias_2 iB iH iN iW iS)))))))))) = (sum B (fun iB => (sum H (fun iH => (sum N (fun iN => (sum W (fun iW => (sum S (fun iS => (fst d_linear_no_bias_2) iB iH iN iW iS * u_y_permute_width_1 iB iH iN iW iS)))))))))) + (sum W (fun iW => (sum S (fun iS => (sum W (fun iW' => (sum S (fun iS' => (snd d_linear_no_bias_2) iW iS iW' iS' * u_weight iW iS iW' iS'))))))))) by exact (A_y_linear_no_bias_2 d_permute_width_3).
  pose (d_permute_width_1 := snd (permute_width B H W N S (x 0)) (fst d_linear_no_bias_2)).
  assert (E_permute_width_1 : (sum B (fun iB => (sum H (fun iH => (sum N (fun iN => (sum W (fun iW => (sum S (fun iS => (fst d_linear_no_bias_2) iB iH iN iW iS * u_y_permute_width_1 iB iH iN iW iS)))))))))) = (sum B (fun iB => (sum H (fun iH => (sum W (fun iW => (sum N (fun iN => (sum S (fun iS => d_permute_width_1 iB iH iW iN iS * u_x iB iH iW iN iS))))))))))) by exact (A_y_permute_width_1 (fst d_linear_no_bias_2)).
  assert (G : g = (d_permute_width_1, (snd d_linear_no_bias_2))) by reflexivity.
  clearbody g; subst g; clearbody d_permute_width_3 d_linear_no_bias_2 d_permute_width_1; cbn [fst snd].
  cbv beta in *.
  spread. lra.
Qed.
