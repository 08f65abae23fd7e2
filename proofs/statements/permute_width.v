(* Written by proofs/statements.py from vipnp/ops/permute_width.py; do not edit. *)
From Coq Require Import Reals.
From Coquelicot Require Import Coquelicot.
From Proofs Require Import Arrays.
Open Scope R_scope.

Definition permute_width (B H W N S : nat)
    (x : nat -> nat -> nat -> nat -> nat -> R)
    : (nat -> nat -> nat -> nat -> nat -> R) * ((nat -> nat -> nat -> nat -> nat -> R) -> (nat -> nat -> nat -> nat -> nat -> R)) :=
  (fun iB iH iN iW iS : nat => (x iB iH iW iN iS),
   fun dy : nat -> nat -> nat -> nat -> nat -> R =>
     (fun iB iH iW iN iS : nat => (dy iB iH iN iW iS))).

Definition permute_width_is_correct : Prop :=
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
  (forall iB iH iN iW iS, is_derive (fun t => fst (permute_width B H W N S (x t)) iB iH iN iW iS) 0 (v iB iH iN iW iS)) /\
  forall dy : nat -> nat -> nat -> nat -> nat -> R,
  let g := snd (permute_width B H W N S (x 0)) dy in
  (sum B (fun iB => (sum H (fun iH => (sum N (fun iN => (sum W (fun iW => (sum S (fun iS => dy iB iH iN iW iS * v iB iH iN iW iS)))))))))) =
  (sum B (fun iB => (sum H (fun iH => (sum W (fun iW => (sum N (fun iN => (sum S (fun iS => g iB iH iW iN iS * u_x iB iH iW iN iS)))))))))).
