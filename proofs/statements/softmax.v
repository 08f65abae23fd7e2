(* Written by proofs/statements.py from vipnp/ops/softmax.py; do not edit. *)
From Coq Require Import Reals.
From Coquelicot Require Import Coquelicot.
From Proofs Require Import Arrays.
Open Scope R_scope.

Definition softmax (B C K : nat)
    (x : nat -> nat -> nat -> R)
    : (nat -> nat -> nat -> R) * ((nat -> nat -> nat -> R) -> (nat -> nat -> nat -> R)) :=
  let v1 := fun iB iC : nat => (maximum K (fun iK => (x iB iC iK))) in
  let v2 := fun iB iC iK : nat => (x iB iC iK) - (v1 iB iC) in
  let v3 := fun iB iC iK : nat => exp (v2 iB iC iK) in
  let v4 := fun iB iC : nat => (sum K (fun iK => (v3 iB iC iK))) in
  let v5 := fun iB iC iK : nat => (v3 iB iC iK) / (v4 iB iC) in
  (fun iB iC iK : nat => (v5 iB iC iK),
   fun dy : nat -> nat -> nat -> R =>
     let v6 := fun iB iC iK : nat => (v5 iB iC iK) * (dy iB iC iK) in
     let v7 := fun iB iC : nat => (sum K (fun iK => (v6 iB iC iK))) in
     let v8 := fun iB iC iK : nat => (dy iB iC iK) - (v7 iB iC) in
     let v9 := fun iB iC iK : nat => (v5 iB iC iK) * (v8 iB iC iK) in
     (fun iB iC iK : nat => (v9 iB iC iK))).

Definition softmax_is_correct : Prop :=
  forall (B C K : nat)
    (x : R -> nat -> nat -> nat -> R)
    (u_x : nat -> nat -> nat -> R),
  (0 < B)%nat ->
  (0 < C)%nat ->
  (0 < K)%nat ->
  (forall iB iC iK, is_derive (fun t => x t iB iC iK) 0 (u_x iB iC iK)) ->
  exists v : nat -> nat -> nat -> R,
  (forall iB iC iK, is_derive (fun t => fst (softmax B C K (x t)) iB iC iK) 0 (v iB iC iK)) /\
  forall dy : nat -> nat -> nat -> R,
  let g := snd (softmax B C K (x 0)) dy in
  (sum B (fun iB => (sum C (fun iC => (sum K (fun iK => dy iB iC iK * v iB iC iK)))))) =
  (sum B (fun iB => (sum C (fun iC => (sum K (fun iK => g iB iC iK * u_x iB iC iK)))))).

Definition softmax_rows (M K : nat)
    (x : nat -> nat -> R)
    : (nat -> nat -> R) * ((nat -> nat -> R) -> (nat -> nat -> R)) :=
  let v1 := fun iM : nat => (maximum K (fun iK => (x iM iK))) in
  let v2 := fun iM iK : nat => (x iM iK) - (v1 iM) in
  let v3 := fun iM iK : nat => exp (v2 iM iK) in
  let v4 := fun iM : nat => (sum K (fun iK => (v3 iM iK))) in
  let v5 := fun iM iK : nat => (v3 iM iK) / (v4 iM) in
  (fun iM iK : nat => (v5 iM iK),
   fun dy : nat -> nat -> R =>
     let v6 := fun iM iK : nat => (v5 iM iK) * (dy iM iK) in
     let v7 := fun iM : nat => (sum K (fun iK => (v6 iM iK))) in
     let v8 := fun iM iK : nat => (dy iM iK) - (v7 iM) in
     let v9 := fun iM iK : nat => (v5 iM iK) * (v8 iM iK) in
     (fun iM iK : nat => (v9 iM iK))).

Definition softmax_rows_is_correct : Prop :=
  forall (M K : nat)
    (x : R -> nat -> nat -> R)
    (u_x : nat -> nat -> R),
  (0 < M)%nat ->
  (0 < K)%nat ->
  (forall iM iK, is_derive (fun t => x t iM iK) 0 (u_x iM iK)) ->
  exists v : nat -> nat -> R,
  (forall iM iK, is_derive (fun t => fst (softmax_rows M K (x t)) iM iK) 0 (v iM iK)) /\
  forall dy : nat -> nat -> R,
  let g := snd (softmax_rows M K (x 0)) dy in
  (sum M (fun iM => (sum K (fun iK => dy iM iK * v iM iK)))) =
  (sum M (fun iM => (sum K (fun iK => g iM iK * u_x iM iK)))).
