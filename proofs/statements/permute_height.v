(* Written by proofs/statements.py from vipnp/ops/permute_height.py; do not edit. *)
From Coq Require Import Reals.
From Coquelicot Require Import Coquelicot.
From Proofs Require Import Arrays.
Open Scope R_scope.

Definition permute_height (B H W N S : nat)
    (x : nat -> nat -> nat -> nat -> nat -> R)
    : (nat -> nat -> nat -> nat -> nat -> R) * ((nat -> nat -> nat -> nat -> nat -> R) -> (nat -> nat -> nat -> nat -> nat -> R)) :=
  (fun iB iN iW iH iS : nat => (x iB iH iW iN iS),
   fun dy : nat -> nat -> nat -> nat -> nat -> R =>
     (fun iB iH iW iN iS : nat => (dy iB iN iW iH iS))).

Definition permute_height_is_correct : Prop :=
  forall (B H W N S : nat)
    (x : R -> nat -> nat -> nat -> nat -> nat -> R)
    (u_x : nat -> nat -> nat -> nat -> nat -> R),
  (0 < B)%nat ->
  (0 < H)%nat ->
  (0 < W)%nat ->
  (0 < N)%nat ->
  (0 < S)%nat ->
  (forall iB iH iW iN iS, is_derive (fun t => x t iB iH iW iN iS) 0 (u_x iB iH iW iN iS)) ->
  exists v : nat -> nat -> nat -> nat -> nat -> R,
  (forall iB iN iW iH iS, is_derive (fun t => fst (permute_height B H W N S (x t)) iB iN iW iH iS) 0 (v iB iN iW iH iS)) /\
  forall dy : nat -> nat -> nat -> nat -> nat -> R,
  let g := snd (permute_height B H W N S (x 0)) dy in
  (sum B (fun iB => (sum N (fun iN => (sum W (fun iW => (sum H (fun iH => (sum S (fun iS => dy iB iN iW iH iS * v iB iN iW iH iS)))))))))) =
  (sum B (fun iB => (sum H (fun iH => (sum W (fun iW => (sum N (fun iN => (sum S (fun iS => g iB iH iW iN iS * u_x iB iH iW iN iS)))))))))).

Definition permute_height_plane (B H W N S : nat)
    (x : nat -> nat -> nat -> nat -> nat -> R)
    : (nat -> nat -> nat -> nat -> nat -> R) * ((nat -> nat -> nat -> nat -> nat -> R) -> (nat -> nat -> nat -> nat -> nat -> R)) :=
  (fun iB iN iS iH iW : nat => (x iB iH iW iN iS),
   fun dy : nat -> nat -> nat -> nat -> nat -> R =>
     (fun iB iH iW iN iS : nat => (dy iB iN iS iH iW))).

Definition permute_height_plane_is_correct : Prop :=
  forall (B H W N S : nat)
    (x : R -> nat -> nat -> nat -> nat -> nat -> R)
    (u_x : nat -> nat -> nat -> nat -> nat -> R),
  (0 < B)%nat ->
  (0 < H)%nat ->
  (0 < W)%nat ->
  (0 < N)%nat ->
  (0 < S)%nat ->
  (forall iB iH iW iN iS, is_derive (fun t => x t iB iH iW iN iS) 0 (u_x iB iH iW iN iS)) ->
  exists v : nat -> nat -> nat -> nat -> nat -> R,
  (forall iB iN iS iH iW, is_derive (fun t => fst (permute_height_plane B H W N S (x t)) iB iN iS iH iW) 0 (v iB iN iS iH iW)) /\
  forall dy : nat -> nat -> nat -> nat -> nat -> R,
  let g := snd (permute_height_plane B H W N S (x 0)) dy in
  (sum B (fun iB => (sum N (fun iN => (sum S (fun iS => (sum H (fun iH => (sum W (fun iW => dy iB iN iS iH iW * v iB iN iS iH iW)))))))))) =
  (sum B (fun iB => (sum H (fun iH => (sum W (fun iW => (sum N (fun iN => (sum S (fun iS => g iB iH iW iN iS * u_x iB iH iW iN iS)))))))))).
