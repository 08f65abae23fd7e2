(* Written by proofs/statements.py from vipnp/ops/global_average_pool.py; do not edit. *)
From Coq Require Import Reals.
From Coquelicot Require Import Coquelicot.
From Proofs Require Import Arrays.
Open Scope R_scope.

Definition global_average_pool (B H W C : nat)
    (x : nat -> nat -> nat -> nat -> R)
    : (nat -> nat -> R) * ((nat -> nat -> R) -> (nat -> nat -> nat -> nat -> R)) :=
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

Definition global_average_pool_segments (B H W N S : nat)
    (x : nat -> nat -> nat -> nat -> nat -> R)
    : (nat -> nat -> nat -> R) * ((nat -> nat -> nat -> R) -> (nat -> nat -> nat -> nat -> nat -> R)) :=
  let v1 := fun iB iH iN iS : nat => (sum W (fun iW => (x iB iH iW iN iS))) in
  let v2 := fun iB iH iN iS : nat => (v1 iB iH iN iS) / (INR W) in
  let v3 := fun iB iN iS : nat => (sum H (fun iH => (v2 iB iH iN iS))) in
  let v4 := fun iB iN iS : nat => (v3 iB iN iS) / (INR H) in
  (fun iB iN iS : nat => (v4 iB iN iS),
   fun dy : nat -> nat -> nat -> R =>
     let v5 := fun iB iN iS : nat => (dy iB iN iS) / (INR H * INR W) in
     (fun iB iH iW iN iS : nat => (v5 iB iN iS))).

Definition global_average_pool_segments_is_correct : Prop :=
  forall (B H W N S : nat)
    (x : R -> nat -> nat -> nat -> nat -> nat -> R)
    (u_x : nat -> nat -> nat -> nat -> nat -> R),
  (0 < B)%nat ->
  (0 < H)%nat ->
  (0 < W)%nat ->
  (0 < N)%nat ->
  (0 < S)%nat ->
  (forall iB iH iW iN iS, is_derive (fun t => x t iB iH iW iN iS) 0 (u_x iB iH iW iN iS)) ->
  exists v : nat -> nat -> nat -> R,
  (forall iB iN iS, is_derive (fun t => fst (global_average_pool_segments B H W N S (x t)) iB iN iS) 0 (v iB iN iS)) /\
  forall dy : nat -> nat -> nat -> R,
  let g := snd (global_average_pool_segments B H W N S (x 0)) dy in
  (sum B (fun iB => (sum N (fun iN => (sum S (fun iS => dy iB iN iS * v iB iN iS)))))) =
  (sum B (fun iB => (sum H (fun iH => (sum W (fun iW => (sum N (fun iN => (sum S (fun iS => g iB iH iW iN iS * u_x iB iH iW iN iS)))))))))).
