(* Written by proofs/statements.py from vipnp/ops/global_average_pool.py; do not edit. *)
From Coq Require Import Reals.
From Coquelicot Require Import Coquelicot.
From Proofs Require Import Arrays.
Open Scope R_scope.

Definition global_average_pool (B H W C : nat)
    (x : nat -> nat -> nat -> nat -> R) :=
  let v1 := fun iB iH iC : nat => (sum W (fun iW => (x iB iH iW iC))) in
  let v2 := fun iB iH iC : nat => (v1 iB iH iC) / (INR W) in
  let v3 := fun iB iC : nat => (sum H (fun iH => (v2 iB iH iC))) in
  let v4 := fun iB iC : nat => (v3 iB iC) / (INR H) in
  (fun iB iC : nat => (v4 iB iC),
   fun dy : nat -> nat -> R =>
     let v5 := fun iB iC : nat => (dy iB iC) / (INR H * INR W) in
     (fun iB iH iW iC : nat => (v5 iB iC))).

Definition global_average_pool_is_correct : Prop :=
  forall (B H W C : nat)
    (x : R -> nat -> nat -> nat -> nat -> R)
    (u_x : nat -> nat -> nat -> nat -> R),
  (0 < B)%nat ->
  (0 < H)%nat ->
  (0 < W)%nat ->
  (0 < C)%nat ->
  (forall iB iH iW iC, is_derive (fun t => x t iB iH iW iC) 0 (u_x iB iH iW iC)) ->
  exists v : nat -> nat -> R,
  (forall iB iC, is_derive (fun t => fst (global_average_pool B H W C (x t)) iB iC) 0 (v iB iC)) /\
  forall dy : nat -> nat -> R,
  let g := snd (global_average_pool B H W C (x 0)) dy in
  (sum B (fun iB => (sum C (fun iC => dy iB iC * v iB iC)))) =
  (sum B (fun iB => (sum H (fun iH => (sum W (fun iW => (sum C (fun iC => g iB iH iW iC * u_x iB iH iW iC)))))))).
