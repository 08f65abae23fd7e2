(* Written by proofs/statements.py from vipnp/ops/shift.py; do not edit. *)
From Coq Require Import Reals.
From Coquelicot Require Import Coquelicot.
From Proofs Require Import Arrays.
Open Scope R_scope.

Definition shift (B H W N S G V : nat) (rows : nat -> nat -> nat -> R) (columns : nat -> nat -> nat -> R)
    (x : nat -> nat -> nat -> nat -> nat -> R)
    : (nat -> nat -> nat -> nat -> nat -> R) * ((nat -> nat -> nat -> nat -> nat -> R) -> (nat -> nat -> nat -> nat -> nat -> R)) :=
  let v1 := fun iN iG iW iB iS : nat => (sum H (fun iH => (rows iN iG iH) * (x iB iH iW iN iS))) in
  let v2 := fun iN iV iG iB iS : nat => (sum W (fun iW => (columns iN iV iW) * (v1 iN iG iW iB iS))) in
  (fun iB iG iV iN iS : nat => (v2 iN iV iG iB iS),
   fun dy : nat -> nat -> nat -> nat -> nat -> R =>
     let v3 := fun iN iH iV iB iS : nat => (sum G (fun iG => (rows iN iG iH) * (dy iB iG iV iN iS))) in
     let v4 := fun iN iW iH iB iS : nat => (sum V (fun iV => (columns iN iV iW) * (v3 iN iH iV iB iS))) in
     (fun iB iH iW iN iS : nat => (v4 iN iW iH iB iS))).

Definition shift_is_correct : Prop :=
  forall (B H W N S G V : nat) (rows : nat -> nat -> nat -> R) (columns : nat -> nat -> nat -> R)
    (x : R -> nat -> nat -> nat -> nat -> nat -> R)
    (u_x : nat -> nat -> nat -> nat -> nat -> R),
  (0 < B)%nat ->
  (0 < H)%nat ->
  (0 < W)%nat ->
  (0 < N)%nat ->
  (0 < S)%nat ->
  (0 < G)%nat ->
  (0 < V)%nat ->
  (forall iB iH iW iN iS, is_derive (fun t => x t iB iH iW iN iS) 0 (u_x iB iH iW iN iS)) ->
  exists v : nat -> nat -> nat -> nat -> nat -> R,
  (forall iB iG iV iN iS, is_derive (fun t => fst (shift B H W N S G V rows columns (x t)) iB iG iV iN iS) 0 (v iB iG iV iN iS)) /\
  forall dy : nat -> nat -> nat -> nat -> nat -> R,
  let g := snd (shift B H W N S G V rows columns (x 0)) dy in
  (sum B (fun iB => (sum G (fun iG => (sum V (fun iV => (sum N (fun iN => (sum S (fun iS => dy iB iG iV iN iS * v iB iG iV iN iS)))))))))) =
  (sum B (fun iB => (sum H (fun iH => (sum W (fun iW => (sum N (fun iN => (sum S (fun iS => g iB iH iW iN iS * u_x iB iH iW iN iS)))))))))).
