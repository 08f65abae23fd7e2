(* Written by proofs/statements.py from vipnp/ops/gelu.py; do not edit. *)
From Coq Require Import Reals.
From Coquelicot Require Import Coquelicot.
From Proofs Require Import Arrays.
Open Scope R_scope.

Definition gelu (B H W C : nat)
    (x : nat -> nat -> nat -> nat -> R)
    : (nat -> nat -> nat -> nat -> R) * ((nat -> nat -> nat -> nat -> R) -> (nat -> nat -> nat -> nat -> R)) :=
  let v1 := fun iB iH iW iC : nat => Phi (x iB iH iW iC) in
  let v2 := fun iB iH iW iC : nat => (x iB iH iW iC) * (v1 iB iH iW iC) in
  (fun iB iH iW iC : nat => (v2 iB iH iW iC),
   fun dy : nat -> nat -> nat -> nat -> R =>
     let v3 := fun iB iH iW iC : nat => (x iB iH iW iC) * (x iB iH iW iC) in
     let v4 := fun iB iH iW iC : nat => (-1 / 2) * (v3 iB iH iW iC) in
     let v5 := fun iB iH iW iC : nat => exp (v4 iB iH iW iC) in
     let v6 := fun iB iH iW iC : nat => (v5 iB iH iW iC) * rsqrt_2pi in
     let v7 := fun iB iH iW iC : nat => (x iB iH iW iC) * (v6 iB iH iW iC) in
     let v8 := fun iB iH iW iC : nat => (v1 iB iH iW iC) + (v7 iB iH iW iC) in
     let v9 := fun iB iH iW iC : nat => (dy iB iH iW iC) * (v8 iB iH iW iC) in
     (fun iB iH iW iC : nat => (v9 iB iH iW iC))).

Definition gelu_is_correct : Prop :=
  forall (B H W C : nat)
    (x : R -> nat -> nat -> nat -> nat -> R)
    (u_x : nat -> nat -> nat -> nat -> R),
  (0 < B)%nat ->
  (0 < H)%nat ->
  (0 < W)%nat ->
  (0 < C)%nat ->
  (forall iB iH iW iC, is_derive (fun t => x t iB iH iW iC) 0 (u_x iB iH iW iC)) ->
  exists v : nat -> nat -> nat -> nat -> R,
  (forall iB iH iW iC, is_derive (fun t => fst (gelu B H W C (x t)) iB iH iW iC) 0 (v iB iH iW iC)) /\
  forall dy : nat -> nat -> nat -> nat -> R,
  let g := snd (gelu B H W C (x 0)) dy in
  (sum B (fun iB => (sum H (fun iH => (sum W (fun iW => (sum C (fun iC => dy iB iH iW iC * v iB iH iW iC)))))))) =
  (sum B (fun iB => (sum H (fun iH => (sum W (fun iW => (sum C (fun iC => g iB iH iW iC * u_x iB iH iW iC)))))))).

Definition gelu_rows (M C : nat)
    (x : nat -> nat -> R)
    : (nat -> nat -> R) * ((nat -> nat -> R) -> (nat -> nat -> R)) :=
  let v1 := fun iM iC : nat => Phi (x iM iC) in
  let v2 := fun iM iC : nat => (x iM iC) * (v1 iM iC) in
  (fun iM iC : nat => (v2 iM iC),
   fun dy : nat -> nat -> R =>
     let v3 := fun iM iC : nat => (x iM iC) * (x iM iC) in
     let v4 := fun iM iC : nat => (-1 / 2) * (v3 iM iC) in
     let v5 := fun iM iC : nat => exp (v4 iM iC) in
     let v6 := fun iM iC : nat => (v5 iM iC) * rsqrt_2pi in
     let v7 := fun iM iC : nat => (x iM iC) * (v6 iM iC) in
     let v8 := fun iM iC : nat => (v1 iM iC) + (v7 iM iC) in
     let v9 := fun iM iC : nat => (dy iM iC) * (v8 iM iC) in
     (fun iM iC : nat => (v9 iM iC))).

Definition gelu_rows_is_correct : Prop :=
  forall (M C : nat)
    (x : R -> nat -> nat -> R)
    (u_x : nat -> nat -> R),
  (0 < M)%nat ->
  (0 < C)%nat ->
  (forall iM iC, is_derive (fun t => x t iM iC) 0 (u_x iM iC)) ->
  exists v : nat -> nat -> R,
  (forall iM iC, is_derive (fun t => fst (gelu_rows M C (x t)) iM iC) 0 (v iM iC)) /\
  forall dy : nat -> nat -> R,
  let g := snd (gelu_rows M C (x 0)) dy in
  (sum M (fun iM => (sum C (fun iC => dy iM iC * v iM iC)))) =
  (sum M (fun iM => (sum C (fun iC => g iM iC * u_x iM iC)))).
