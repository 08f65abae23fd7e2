(* Written by proofs/statements.py from vipnp/ops/drop_path.py; do not edit. *)
From Coq Require Import Reals.
From Coquelicot Require Import Coquelicot.
From Proofs Require Import Arrays.
Open Scope R_scope.

Definition drop_path (B H W C : nat) (mask : nat -> R) (rate : R)
    (x : nat -> nat -> nat -> nat -> R)
    : (nat -> nat -> nat -> nat -> R) * ((nat -> nat -> nat -> nat -> R) -> (nat -> nat -> nat -> nat -> R)) :=
  let v1 := (1) - rate in
  let v2 := fun iB : nat => (mask iB) / v1 in
  let v3 := fun iB iH iW iC : nat => (x iB iH iW iC) * (v2 iB) in
  (fun iB iH iW iC : nat => (v3 iB iH iW iC),
   fun dy : nat -> nat -> nat -> nat -> R =>
     let v4 := fun iB iH iW iC : nat => (dy iB iH iW iC) * (v2 iB) in
     (fun iB iH iW iC : nat => (v4 iB iH iW iC))).

Definition drop_path_is_correct : Prop :=
  forall (B H W C : nat) (mask : nat -> R) (rate : R)
    (x : R -> nat -> nat -> nat -> nat -> R)
    (u_x : nat -> nat -> nat -> nat -> R),
  (0 < B)%nat ->
  (0 < H)%nat ->
  (0 < W)%nat ->
  (0 < C)%nat ->
  (forall iB iH iW iC, is_derive (fun t => x t iB iH iW iC) 0 (u_x iB iH iW iC)) ->
  exists v : nat -> nat -> nat -> nat -> R,
  (forall iB iH iW iC, is_derive (fun t => fst (drop_path B H W C mask rate (x t)) iB iH iW iC) 0 (v iB iH iW iC)) /\
  forall dy : nat -> nat -> nat -> nat -> R,
  let g := snd (drop_path B H W C mask rate (x 0)) dy in
  (sum B (fun iB => (sum H (fun iH => (sum W (fun iW => (sum C (fun iC => dy iB iH iW iC * v iB iH iW iC)))))))) =
  (sum B (fun iB => (sum H (fun iH => (sum W (fun iW => (sum C (fun iC => g iB iH iW iC * u_x iB iH iW iC)))))))).

Definition drop_path_segments (B H W N S : nat) (mask : nat -> R) (rate : R)
    (x : nat -> nat -> nat -> nat -> nat -> R)
    : (nat -> nat -> nat -> nat -> nat -> R) * ((nat -> nat -> nat -> nat -> nat -> R) -> (nat -> nat -> nat -> nat -> nat -> R)) :=
  let v1 := (1) - rate in
  let v2 := fun iB : nat => (mask iB) / v1 in
  let v3 := fun iB iH iW iN iS : nat => (x iB iH iW iN iS) * (v2 iB) in
  (fun iB iH iW iN iS : nat => (v3 iB iH iW iN iS),
   fun dy : nat -> nat -> nat -> nat -> nat -> R =>
     let v4 := fun iB iH iW iN iS : nat => (dy iB iH iW iN iS) * (v2 iB) in
     (fun iB iH iW iN iS : nat => (v4 iB iH iW iN iS))).

Definition drop_path_segments_is_correct : Prop :=
  forall (B H W N S : nat) (mask : nat -> R) (rate : R)
    (x : R -> nat -> nat -> nat -> nat -> nat -> R)
    (u_x : nat -> nat -> nat -> nat -> nat -> R),
  (0 < B)%nat ->
  (0 < H)%nat ->
  (0 < W)%nat ->
  (0 < N)%nat ->
  (0 < S)%nat ->
  (forall iB iH iW iN iS, is_derive (fun t => x t iB iH iW iN iS) 0 (u_x iB iH iW iN iS)) ->
  exists v : nat -> nat -> nat -> nat -> nat -> R,
  (forall iB iH iW iN iS, is_derive (fun t => fst (drop_path_segments B H W N S mask rate (x t)) iB iH iW iN iS) 0 (v iB iH iW iN iS)) /\
  forall dy : nat -> nat -> nat -> nat -> nat -> R,
  let g := snd (drop_path_segments B H W N S mask rate (x 0)) dy in
  (sum B (fun iB => (sum H (fun iH => (sum W (fun iW => (sum N (fun iN => (sum S (fun iS => dy iB iH iW iN iS * v iB iH iW iN iS)))))))))) =
  (sum B (fun iB => (sum H (fun iH => (sum W (fun iW => (sum N (fun iN => (sum S (fun iS => g iB iH iW iN iS * u_x iB iH iW iN iS)))))))))).
