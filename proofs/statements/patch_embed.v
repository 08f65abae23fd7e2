(* Written by proofs/statements.py from vipnp/ops/patch_embed.py; do not edit. *)
From Coq Require Import Reals.
From Coquelicot Require Import Coquelicot.
From Proofs Require Import Arrays.
Open Scope R_scope.

Definition patch_embed (B C h P w Q K : nat)
    (x : nat -> nat -> nat -> nat -> nat -> nat -> R) (weight : nat -> nat -> nat -> nat -> R) (bias : nat -> R)
    : (nat -> nat -> nat -> nat -> R) * ((nat -> nat -> nat -> nat -> R) -> (nat -> nat -> nat -> nat -> nat -> nat -> R) * (nat -> nat -> nat -> nat -> R) * (nat -> R)) :=
  let v1 := fun iB ih iw iK : nat => (sum C (fun iC => (sum P (fun iP => (sum Q (fun iQ => (x iB iC ih iP iw iQ) * (weight iK iC iP iQ))))))) in
  let v2 := fun iB ih iw iK : nat => (v1 iB ih iw iK) + (bias iK) in
  (fun iB ih iw iK : nat => (v2 iB ih iw iK),
   fun dy : nat -> nat -> nat -> nat -> R =>
     let v3 := fun iB ih iw iC iP iQ : nat => (sum K (fun iK => (dy iB ih iw iK) * (weight iK iC iP iQ))) in
     let v4 := fun iK iC iP iQ : nat => (sum B (fun iB => (sum h (fun ih => (sum w (fun iw => (dy iB ih iw iK) * (x iB iC ih iP iw iQ))))))) in
     let v5 := fun iK : nat => (sum B (fun iB => (sum h (fun ih => (sum w (fun iw => (dy iB ih iw iK))))))) in
     (fun iB iC ih iP iw iQ : nat => (v3 iB ih iw iC iP iQ), fun iK iC iP iQ : nat => (v4 iK iC iP iQ), fun iK : nat => (v5 iK))).

Definition patch_embed_is_correct : Prop :=
  forall (B C h P w Q K : nat)
    (x : R -> nat -> nat -> nat -> nat -> nat -> nat -> R) (weight : R -> nat -> nat -> nat -> nat -> R) (bias : R -> nat -> R)
    (u_x : nat -> nat -> nat -> nat -> nat -> nat -> R) (u_weight : nat -> nat -> nat -> nat -> R) (u_bias : nat -> R),
  (0 < B)%nat ->
  (0 < C)%nat ->
  (0 < h)%nat ->
  (0 < P)%nat ->
  (0 < w)%nat ->
  (0 < Q)%nat ->
  (0 < K)%nat ->
  (forall iB iC ih iP iw iQ, is_derive (fun t => x t iB iC ih iP iw iQ) 0 (u_x iB iC ih iP iw iQ)) ->
  (forall iK iC iP iQ, is_derive (fun t => weight t iK iC iP iQ) 0 (u_weight iK iC iP iQ)) ->
  (forall iK, is_derive (fun t => bias t iK) 0 (u_bias iK)) ->
  exists v : nat -> nat -> nat -> nat -> R,
  (forall iB ih iw iK, is_derive (fun t => fst (patch_embed B C h P w Q K (x t) (weight t) (bias t)) iB ih iw iK) 0 (v iB ih iw iK)) /\
  forall dy : nat -> nat -> nat -> nat -> R,
  let g := snd (patch_embed B C h P w Q K (x 0) (weight 0) (bias 0)) dy in
  (sum B (fun iB => (sum h (fun ih => (sum w (fun iw => (sum K (fun iK => dy iB ih iw iK * v iB ih iw iK)))))))) =
  (sum B (fun iB => (sum C (fun iC => (sum h (fun ih => (sum P (fun iP => (sum w (fun iw => (sum Q (fun iQ => (fst (fst g)) iB iC ih iP iw iQ * u_x iB iC ih iP iw iQ)))))))))))) +
  (sum K (fun iK => (sum C (fun iC => (sum P (fun iP => (sum Q (fun iQ => (snd (fst g)) iK iC iP iQ * u_weight iK iC iP iQ)))))))) +
  (sum K (fun iK => (snd g) iK * u_bias iK)).
