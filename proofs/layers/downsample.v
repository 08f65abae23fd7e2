(* Written by proofs/layers.py from vipnp/layers (downsample); do not edit. *)
From Proofs Require Import Tactics.
From Statements Require Import patch_embed.
From Ops Require Import patch_embed.
Open Scope R_scope.
Opaque sum.

Definition downsample (B h P w C K : nat)
    (x : nat -> nat -> nat -> nat -> nat -> nat -> R) (proj_weight : nat -> nat -> nat -> nat -> R) (proj_bias : nat -> R)
    : (nat -> nat -> nat -> nat -> R) * ((nat -> nat -> nat -> nat -> R) -> (nat -> nat -> nat -> nat -> nat -> nat -> R) * (nat -> nat -> nat -> nat -> R) * (nat -> R)) :=
  let y_patch_embed_1 : nat -> nat -> nat -> nat -> R := fst (patch_embed B C h P w P K (fun iB iC ih iP iw iP' : nat => (x iB ih iP iw iP' iC)) proj_weight proj_bias) in
  (fun iB ih iw iK : nat => (y_patch_embed_1 iB ih iw iK),
   fun dy : nat -> nat -> nat -> nat -> R =>
     let d_patch_embed_1 : (nat -> nat -> nat -> nat -> nat -> nat -> R) * (nat -> nat -> nat -> nat -> R) * (nat -> R) := snd (patch_embed B C h P w P K (fun iB iC ih iP iw iP' : nat => (x iB ih iP iw iP' iC)) proj_weight proj_bias) dy in
     (fun iB ih iP iw iP' iC : nat => ((fst (fst d_patch_embed_1)) iB iC ih iP iw iP'), fun iK iC iP iP' : nat => ((snd (fst d_patch_embed_1)) iK iC iP iP'), fun iK : nat => ((snd d_patch_embed_1) iK))).

Definition downsample_is_correct : Prop :=
  forall (B h P w C K : nat)
    (x : R -> nat -> nat -> nat -> nat -> nat -> nat -> R) (proj_weight : R -> nat -> nat -> nat -> nat -> R) (proj_bias : R -> nat -> R)
    (u_x : nat -> nat -> nat -> nat -> nat -> nat -> R) (u_proj_weight : nat -> nat -> nat -> nat -> R) (u_proj_bias : nat -> R),
  (0 < B)%nat ->
  (0 < h)%nat ->
  (0 < P)%nat ->
  (0 < w)%nat ->
  (0 < C)%nat ->
  (0 < K)%nat ->
  (forall iB ih iP iw iP' iC, is_derive (fun t => x t iB ih iP iw iP' iC) 0 (u_x iB ih iP iw iP' iC)) ->
  (forall iK iC iP iP', is_derive (fun t => proj_weight t iK iC iP iP') 0 (u_proj_weight iK iC iP iP')) ->
  (forall iK, is_derive (fun t => proj_bias t iK) 0 (u_proj_bias iK)) ->
  exists v : nat -> nat -> nat -> nat -> R,
  (forall iB ih iw iK, is_derive (fun t => fst (downsample B h P w C K (x t) (proj_weight t) (proj_bias t)) iB ih iw iK) 0 (v iB ih iw iK)) /\
  forall dy : nat -> nat -> nat -> nat -> R,
  let g := snd (downsample B h P w C K (x 0) (proj_weight 0) (proj_bias 0)) dy in
  (sum B (fun iB => (sum h (fun ih => (sum w (fun iw => (sum K (fun iK => dy iB ih iw iK * v iB ih iw iK)))))))) =
  (sum B (fun iB => (sum h (fun ih => (sum P (fun iP => (sum w (fun iw => (sum P (fun iP' => (sum C (fun iC => (fst (fst g)) iB ih iP iw iP' iC * u_x iB ih iP iw iP' iC)))))))))))) +
  (sum K (fun iK => (sum C (fun iC => (sum P (fun iP => (sum P (fun iP' => (snd (fst g)) iK iC iP iP' * u_proj_weight iK iC iP iP')))))))) +
  (sum K (fun iK => (snd g) iK * u_proj_bias iK)).

Theorem downsample_correct : downsample_is_correct.
Proof.
  cbv beta delta [downsample_is_correct downsample].
  generalize patch_embed_correct; cbv delta [patch_embed_is_correct]; generalize patch_embed; intros patch_embed C_patch_embed.
  intros B h P w C K x proj_weight proj_bias u_x u_proj_weight u_proj_bias P_B P_h P_P P_w P_C P_K D_x D_proj_weight D_proj_bias.
  pose (y_patch_embed_1 := fun t => fst (patch_embed B C h P w P K (fun iB iC ih iP iw iP' : nat => ((x t) iB ih iP iw iP' iC)) (proj_weight t) (proj_bias t))).
  destruct (C_patch_embed B C h P w P K (fun t => (fun iB iC ih iP iw iP' : nat => ((x t) iB ih iP iw iP' iC))) (fun t => (proj_weight t)) (fun t => (proj_bias t)) (fun iB iC ih iP iw iP' : nat => (u_x iB ih iP iw iP' iC)) u_proj_weight u_proj_bias P_B P_C P_h P_P P_w P_P P_K (fun iB iC ih iP iw iP' => (D_x iB ih iP iw iP' iC)) D_proj_weight D_proj_bias)
    as [u_y_patch_embed_1 [D_y_patch_embed_1 A_y_patch_embed_1]].
  change (forall iB ih iw iK, is_derive (fun t => y_patch_embed_1 t iB ih iw iK) 0 (u_y_patch_embed_1 iB ih iw iK)) in D_y_patch_embed_1.
  exists u_y_patch_embed_1. split; [exact D_y_patch_embed_1 | intros dy g].
  pose (d_patch_embed_1 := snd (patch_embed B C h P w P K (fun iB iC ih iP iw iP' : nat => ((x 0) iB ih iP iw iP' iC)) (proj_weight 0) (proj_bias 0)) dy).
  assert (E_patch_embed_1 : (sum B (fun iB => (sum h (fun ih => (sum w (fun iw => (sum K (fun iK => dy iB ih iw iK * u_y_patch_embed_1 iB ih iw iK)))))))) = (sum B (fun iB => (sum C (fun iC => (sum h (fun ih => (sum P (fun iP => (sum w (fun iw => (sum P (fun iP' => (fst (fst d_patch_embed_1)) iB iC ih iP iw iP' * (fun iB iC ih iP iw iP' : nat => (u_x iB ih iP iw iP' iC)) iB iC ih iP iw iP')))))))))))) + (sum K (fun iK => (sum C (fun iC => (sum P (fun iP => (sum P (fun iP' => (snd (fst d_patch_embed_1)) iK iC iP iP' * u_proj_weight iK iC iP iP')))))))) + (sum K (fun iK => (snd d_patch_embed_1) iK * u_proj_bias iK))) by exact (A_y_patch_embed_1 dy).
  assert (G : g = ((fun iB ih iP iw iP' iC : nat => ((fst (fst d_patch_embed_1)) iB iC ih iP iw iP')), (snd (fst d_patch_embed_1)), (snd d_patch_embed_1))) by reflexivity.
  clearbody g; subst g; clearbody d_patch_embed_1; cbn [fst snd].
  cbv beta in *.
  try setoid_rewrite (sum_exchange C h).
  try setoid_rewrite (sum_exchange C h) in E_patch_embed_1.
  try setoid_rewrite (sum_exchange C P).
  try setoid_rewrite (sum_exchange C P) in E_patch_embed_1.
  try setoid_rewrite (sum_exchange C w).
  try setoid_rewrite (sum_exchange C w) in E_patch_embed_1.
  try setoid_rewrite (sum_exchange C P).
  try setoid_rewrite (sum_exchange C P) in E_patch_embed_1.
  spread. lra.
Qed.
