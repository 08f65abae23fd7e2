(* Written by proofs/statements.py from vipnp/ops/dropout.py; do not edit. *)
From Coq Require Import Reals.
From Coquelicot Require Import Coquelicot.
From Proofs Require Import Arrays.
Open Scope R_scope.

Definition dropout (B H W C : nat) (mask : nat -> nat -> nat -> nat -> R) (rate : R)
    (x : nat -> nat -> nat -> nat -> R)
    : (nat -> nat -> nat -> nat -> R) * ((nat -> nat -> nat -> nat -> R) -> (nat -> nat -> nat -> nat -> R)) :=
  let v1 := (1) - rate in
  let v2 := fun iB iH iW iC : nat => (x iB iH iW iC) * (mask iB iH iW iC) in
  let v3 := fun iB iH iW iC : nat => (v2 iB iH iW iC) / v1 in
  (fun iB iH iW iC : nat => (v3 iB iH iW iC),
   fun dy : nat -> nat -> nat -> nat -> R =>
     let v4 := fun iB iH iW iC : nat => (dy iB iH iW iC) * (mask iB iH iW iC) in
     let v5 := fun iB iH iW iC : nat => (v4 iB iH iW iC) / v1 in
     (fun iB iH iW iC : nat => (v5 iB iH iW iC))).

Definition dropout_is_correct : Prop :=
  forall (B H W C : nat) (mask : nat -> nat -> nat -> nat -> R) (rate : R)
    (x : R -> nat -> nat -> nat -> nat -> R)
    (u_x : nat -> nat -> nat -> nat -> R),
  (0 < B)%nat ->
  (0 < H)%nat ->
  (0 < W)%nat ->
  (0 < C)%nat ->
  (forall iB iH iW iC, is_derive (fun t => x t iB iH iW iC) 0 (u_x iB iH iW iC)) ->
  exists v : nat -> nat -> nat -> nat -> R,
  (forall iB iH iW iC, is_derive (fun t => fst (dropout B H W C mask rate (x t)) iB iH iW iC) 0 (v iB iH iW iC)) /\
  forall dy : nat -> nat -> nat -> nat -> R,
  let g := snd (dropout B H W C mask rate (x 0)) dy in
  (sum B (fun iB => (sum H (fun iH => (sum W (fun iW => (sum C (fun iC => dy iB iH iW iC * v iB iH iW iC)))))))) =
  (sum B (fun iB => (sum H (fun iH => (sum W (fun iW => (sum C (fun iC => g iB iH iW iC * u_x iB iH iW iC)))))))).

Definition dropout_rows (M C : nat) (mask : nat -> nat -> R) (rate : R)
    (x : nat -> nat -> R)
    : (nat -> nat -> R) * ((nat -> nat -> R) -> (nat -> nat -> R)) :=
  let v1 := (1) - rate in
  let v2 := fun iM iC : nat => (x iM iC) * (mask iM iC) in
  let v3 := fun iM iC : nat => (v2 iM iC) / v1 in
  (fun iM iC : nat => (v3 iM iC),
   fun dy : nat -> nat -> R =>
     let v4 := fun iM iC : nat => (dy iM iC) * (mask iM iC) in
     let v5 := fun iM iC : nat => (v4 iM iC) / v1 in
     (fun iM iC : nat => (v5 iM iC))).

Definition dropout_rows_is_correct : Prop :=
  forall (M C : nat) (mask : nat -> nat -> R) (rate : R)
    (x : R -> nat -> nat -> R)
    (u_x : nat -> nat -> R),
  (0 < M)%nat ->
  (0 < C)%nat ->
  (forall iM iC, is_derive (fun t => x t iM iC) 0 (u_x iM iC)) ->
  exists v : nat -> nat -> R,
  (forall iM iC, is_derive (fun t => fst (dropout_rows M C mask rate (x t)) iM iC) 0 (v iM iC)) /\
  forall dy : nat -> nat -> R,
  let g := snd (dropout_rows M C mask rate (x 0)) dy in
  (sum M (fun iM => (sum C (fun iC => dy iM iC * v iM iC)))) =
  (sum M (fun iM => (sum C (fun iC => g iM iC * u_x iM iC)))).

Definition dropout_segments (B H W N S : nat) (mask : nat -> nat -> nat -> nat -> nat -> R) (rate : R)
    (x : nat -> nat -> nat -> nat -> nat -> R)
    : (nat -> nat -> nat -> nat -> nat -> R) * ((nat -> nat -> nat -> nat -> nat -> R) -> (nat -> nat -> nat -> nat -> nat -> R)) :=
  let v1 := (1) - rate in
  let v2 := fun iB iH iW iN iS : nat => (x iB iH iW iN iS) * (mask iB iH iW iN iS) in
  let v3 := fun iB iH iW iN iS : nat => (v2 iB iH iW iN iS) / v1 in
  (fun iB iH iW iN iS : nat => (v3 iB iH iW iN iS),
   fun dy : nat -> nat -> nat -> nat -> nat -> R =>
     let v4 := fun iB iH iW iN iS : nat => (dy iB iH iW iN iS) * (mask iB iH iW iN iS) in
     let v5 := fun iB iH iW iN iS : nat => (v4 iB iH iW iN iS) / v1 in
     (fun iB iH iW iN iS : nat => (v5 iB iH iW iN iS))).

Definition dropout_segments_is_correct : Prop :=
  forall (B H W N S : nat) (mask : nat -> nat -> nat -> nat -> nat -> R) (rate : R)
    (x : R -> nat -> nat -> nat -> nat -> nat -> R)
    (u_x : nat -> nat -> nat -> nat -> nat -> R),
  (0 < B)%nat ->
  (0 < H)%nat ->
  (0 < W)%nat ->
  (0 < N)%nat ->
  (0 < S)%nat ->
  (forall iB iH iW iN iS, is_derive (fun t => x t iB iH iW iN iS) 0 (u_x iB iH iW iN iS)) ->
  exists v : nat -> nat -> nat -> nat -> nat -> R,
  (forall iB iH iW iN iS, is_derive (fun t => fst (dropout_segments B H W N S mask rate (x t)) iB iH iW iN iS) 0 (v iB iH iW iN iS)) /\
  forall dy : nat -> nat -> nat -> nat -> nat -> R,
  let g := snd (dropout_segments B H W N S mask rate (x 0)) dy in
  (sum B (fun iB => (sum H (fun iH => (sum W (fun iW => (sum N (fun iN => (sum S (fun iS => dy iB iH iW iN iS * v iB iH iW iN iS)))))))))) =
  (sum B (fun iB => (sum H (fun iH => (sum W (fun iW => (sum N (fun iN => (sum S (fun iS => g iB iH iW iN iS * u_x iB iH iW iN iS)))))))))).
