(* Written by proofs/statements.py from vipnp/ops/residual.py; do not edit. *)
From Coq Require Import Reals.
From Coquelicot Require Import Coquelicot.
From Proofs Require Import Arrays.
Open Scope R_scope.

Definition residual (B H W C : nat) (skip_lam : R)
    (x : nat -> nat -> nat -> nat -> R) (branch : nat -> nat -> nat -> nat -> R)
    : (nat -> nat -> nat -> nat -> R) * ((nat -> nat -> nat -> nat -> R) -> (nat -> nat -> nat -> nat -> R) * (nat -> nat -> nat -> nat -> R)) :=
  let v1 := fun iB iH iW iC : nat => (branch iB iH iW iC) / skip_lam in
  let v2 := fun iB iH iW iC : nat => (x iB iH iW iC) + (v1 iB iH iW iC) in
  (fun iB iH iW iC : nat => (v2 iB iH iW iC),
   fun dy : nat -> nat -> nat -> nat -> R =>
     let v3 := fun iB iH iW iC : nat => (dy iB iH iW iC) / skip_lam in
     (fun iB iH iW iC : nat => (dy iB iH iW iC), fun iB iH iW iC : nat => (v3 iB iH iW iC))).

Definition residual_is_correct : Prop :=
  forall (B H W C : nat) (skip_lam : R)
    (x : R -> nat -> nat -> nat -> nat -> R) (branch : R -> nat -> nat -> nat -> nat -> R)
    (u_x : nat -> nat -> nat -> nat -> R) (u_branch : nat -> nat -> nat -> nat -> R),
  (0 < B)%nat ->
  (0 < H)%nat ->
  (0 < W)%nat ->
  (0 < C)%nat ->
  (forall iB iH iW iC, is_derive (fun t => x t iB iH iW iC) 0 (u_x iB iH iW iC)) ->
  (forall iB iH iW iC, is_derive (fun t => branch t iB iH iW iC) 0 (u_branch iB iH iW iC)) ->
  exists v : nat -> nat -> nat -> nat -> R,
  (forall iB iH iW iC, is_derive (fun t => fst (residual B H W C skip_lam (x t) (branch t)) iB iH iW iC) 0 (v iB iH iW iC)) /\
  forall dy : nat -> nat -> nat -> nat -> R,
  let g := snd (residual B H W C skip_lam (x 0) (branch 0)) dy in
  (sum B (fun iB => (sum H (fun iH => (sum W (fun iW => (sum C (fun iC => dy iB iH iW iC * v iB iH iW iC)))))))) =
  (sum B (fun iB => (sum H (fun iH => (sum W (fun iW => (sum C (fun iC => (fst g) iB iH iW iC * u_x iB iH iW iC)))))))) +
  (sum B (fun iB => (sum H (fun iH => (sum W (fun iW => (sum C (fun iC => (snd g) iB iH iW iC * u_branch iB iH iW iC)))))))).

Definition residual_rows (M C : nat) (skip_lam : R)
    (x : nat -> nat -> R) (branch : nat -> nat -> R)
    : (nat -> nat -> R) * ((nat -> nat -> R) -> (nat -> nat -> R) * (nat -> nat -> R)) :=
  let v1 := fun iM iC : nat => (branch iM iC) / skip_lam in
  let v2 := fun iM iC : nat => (x iM iC) + (v1 iM iC) in
  (fun iM iC : nat => (v2 iM iC),
   fun dy : nat -> nat -> R =>
     let v3 := fun iM iC : nat => (dy iM iC) / skip_lam in
     (fun iM iC : nat => (dy iM iC), fun iM iC : nat => (v3 iM iC))).

Definition residual_rows_is_correct : Prop :=
  forall (M C : nat) (skip_lam : R)
    (x : R -> nat -> nat -> R) (branch : R -> nat -> nat -> R)
    (u_x : nat -> nat -> R) (u_branch : nat -> nat -> R),
  (0 < M)%nat ->
  (0 < C)%nat ->
  (forall iM iC, is_derive (fun t => x t iM iC) 0 (u_x iM iC)) ->
  (forall iM iC, is_derive (fun t => branch t iM iC) 0 (u_branch iM iC)) ->
  exists v : nat -> nat -> R,
  (forall iM iC, is_derive (fun t => fst (residual_rows M C skip_lam (x t) (branch t)) iM iC) 0 (v iM iC)) /\
  forall dy : nat -> nat -> R,
  let g := snd (residual_rows M C skip_lam (x 0) (branch 0)) dy in
  (sum M (fun iM => (sum C (fun iC => dy iM iC * v iM iC)))) =
  (sum M (fun iM => (sum C (fun iC => (fst g) iM iC * u_x iM iC)))) +
  (sum M (fun iM => (sum C (fun iC => (snd g) iM iC * u_branch iM iC)))).

Definition residual_segments (B H W N S : nat) (skip_lam : R)
    (x : nat -> nat -> nat -> nat -> nat -> R) (branch : nat -> nat -> nat -> nat -> nat -> R)
    : (nat -> nat -> nat -> nat -> nat -> R) * ((nat -> nat -> nat -> nat -> nat -> R) -> (nat -> nat -> nat -> nat -> nat -> R) * (nat -> nat -> nat -> nat -> nat -> R)) :=
  let v1 := fun iB iH iW iN iS : nat => (branch iB iH iW iN iS) / skip_lam in
  let v2 := fun iB iH iW iN iS : nat => (x iB iH iW iN iS) + (v1 iB iH iW iN iS) in
  (fun iB iH iW iN iS : nat => (v2 iB iH iW iN iS),
   fun dy : nat -> nat -> nat -> nat -> nat -> R =>
     let v3 := fun iB iH iW iN iS : nat => (dy iB iH iW iN iS) / skip_lam in
     (fun iB iH iW iN iS : nat => (dy iB iH iW iN iS), fun iB iH iW iN iS : nat => (v3 iB iH iW iN iS))).

Definition residual_segments_is_correct : Prop :=
  forall (B H W N S : nat) (skip_lam : R)
    (x : R -> nat -> nat -> nat -> nat -> nat -> R) (branch : R -> nat -> nat -> nat -> nat -> nat -> R)
    (u_x : nat -> nat -> nat -> nat -> nat -> R) (u_branch : nat -> nat -> nat -> nat -> nat -> R),
  (0 < B)%nat ->
  (0 < H)%nat ->
  (0 < W)%nat ->
  (0 < N)%nat ->
  (0 < S)%nat ->
  (forall iB iH iW iN iS, is_derive (fun t => x t iB iH iW iN iS) 0 (u_x iB iH iW iN iS)) ->
  (forall iB iH iW iN iS, is_derive (fun t => branch t iB iH iW iN iS) 0 (u_branch iB iH iW iN iS)) ->
  exists v : nat -> nat -> nat -> nat -> nat -> R,
  (forall iB iH iW iN iS, is_derive (fun t => fst (residual_segments B H W N S skip_lam (x t) (branch t)) iB iH iW iN iS) 0 (v iB iH iW iN iS)) /\
  forall dy : nat -> nat -> nat -> nat -> nat -> R,
  let g := snd (residual_segments B H W N S skip_lam (x 0) (branch 0)) dy in
  (sum B (fun iB => (sum H (fun iH => (sum W (fun iW => (sum N (fun iN => (sum S (fun iS => dy iB iH iW iN iS * v iB iH iW iN iS)))))))))) =
  (sum B (fun iB => (sum H (fun iH => (sum W (fun iW => (sum N (fun iN => (sum S (fun iS => (fst g) iB iH iW iN iS * u_x iB iH iW iN iS)))))))))) +
  (sum B (fun iB => (sum H (fun iH => (sum W (fun iW => (sum N (fun iN => (sum S (fun iS => (snd g) iB iH iW iN iS * u_branch iB iH iW iN iS)))))))))).
