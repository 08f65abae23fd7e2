(* Written by proofs/statements.py from vipnp/ops/linear.py; do not edit. *)
From Coq Require Import Reals.
From Coquelicot Require Import Coquelicot.
From Proofs Require Import Arrays.
Open Scope R_scope.

Definition linear (B H W C K : nat)
    (x : nat -> nat -> nat -> nat -> R) (weight : nat -> nat -> R) (bias : nat -> R) :=
  let v1 := fun iB iH iW iK : nat => (sum C (fun iC => (x iB iH iW iC) * (weight iK iC))) in
  let v2 := fun iB iH iW iK : nat => (v1 iB iH iW iK) + (bias iK) in
  (fun iB iH iW iK : nat => (v2 iB iH iW iK),
   fun dy : nat -> nat -> nat -> nat -> R =>
     let v3 := fun iB iH iW iC : nat => (sum K (fun iK => (dy iB iH iW iK) * (weight iK iC))) in
     let v4 := fun iK iC : nat => (sum B (fun iB => (sum H (fun iH => (sum W (fun iW => (dy iB iH iW iK) * (x iB iH iW iC))))))) in
     let v5 := fun iK : nat => (sum B (fun iB => (sum H (fun iH => (sum W (fun iW => (dy iB iH iW iK))))))) in
     (fun iB iH iW iC : nat => (v3 iB iH iW iC), fun iK iC : nat => (v4 iK iC), fun iK : nat => (v5 iK))).

Definition linear_is_correct : Prop :=
  forall (B H W C K : nat)
    (x : R -> nat -> nat -> nat -> nat -> R) (weight : R -> nat -> nat -> R) (bias : R -> nat -> R)
    (u_x : nat -> nat -> nat -> nat -> R) (u_weight : nat -> nat -> R) (u_bias : nat -> R),
  (0 < B)%nat ->
  (0 < H)%nat ->
  (0 < W)%nat ->
  (0 < C)%nat ->
  (0 < K)%nat ->
  (forall iB iH iW iC, is_derive (fun t => x t iB iH iW iC) 0 (u_x iB iH iW iC)) ->
  (forall iK iC, is_derive (fun t => weight t iK iC) 0 (u_weight iK iC)) ->
  (forall iK, is_derive (fun t => bias t iK) 0 (u_bias iK)) ->
  exists v : nat -> nat -> nat -> nat -> R,
  (forall iB iH iW iK, is_derive (fun t => fst (linear B H W C K (x t) (weight t) (bias t)) iB iH iW iK) 0 (v iB iH iW iK)) /\
  forall dy : nat -> nat -> nat -> nat -> R,
  let g := snd (linear B H W C K (x 0) (weight 0) (bias 0)) dy in
  (sum B (fun iB => (sum H (fun iH => (sum W (fun iW => (sum K (fun iK => dy iB iH iW iK * v iB iH iW iK)))))))) =
  (sum B (fun iB => (sum H (fun iH => (sum W (fun iW => (sum C (fun iC => (fst (fst g)) iB iH iW iC * u_x iB iH iW iC)))))))) +
  (sum K (fun iK => (sum C (fun iC => (snd (fst g)) iK iC * u_weight iK iC)))) +
  (sum K (fun iK => (snd g) iK * u_bias iK)).

Definition linear_rows (M C K : nat)
    (x : nat -> nat -> R) (weight : nat -> nat -> R) (bias : nat -> R) :=
  let v1 := fun iM iK : nat => (sum C (fun iC => (x iM iC) * (weight iK iC))) in
  let v2 := fun iM iK : nat => (v1 iM iK) + (bias iK) in
  (fun iM iK : nat => (v2 iM iK),
   fun dy : nat -> nat -> R =>
     let v3 := fun iM iC : nat => (sum K (fun iK => (dy iM iK) * (weight iK iC))) in
     let v4 := fun iK iC : nat => (sum M (fun iM => (dy iM iK) * (x iM iC))) in
     let v5 := fun iK : nat => (sum M (fun iM => (dy iM iK))) in
     (fun iM iC : nat => (v3 iM iC), fun iK iC : nat => (v4 iK iC), fun iK : nat => (v5 iK))).

Definition linear_rows_is_correct : Prop :=
  forall (M C K : nat)
    (x : R -> nat -> nat -> R) (weight : R -> nat -> nat -> R) (bias : R -> nat -> R)
    (u_x : nat -> nat -> R) (u_weight : nat -> nat -> R) (u_bias : nat -> R),
  (0 < M)%nat ->
  (0 < C)%nat ->
  (0 < K)%nat ->
  (forall iM iC, is_derive (fun t => x t iM iC) 0 (u_x iM iC)) ->
  (forall iK iC, is_derive (fun t => weight t iK iC) 0 (u_weight iK iC)) ->
  (forall iK, is_derive (fun t => bias t iK) 0 (u_bias iK)) ->
  exists v : nat -> nat -> R,
  (forall iM iK, is_derive (fun t => fst (linear_rows M C K (x t) (weight t) (bias t)) iM iK) 0 (v iM iK)) /\
  forall dy : nat -> nat -> R,
  let g := snd (linear_rows M C K (x 0) (weight 0) (bias 0)) dy in
  (sum M (fun iM => (sum K (fun iK => dy iM iK * v iM iK)))) =
  (sum M (fun iM => (sum C (fun iC => (fst (fst g)) iM iC * u_x iM iC)))) +
  (sum K (fun iK => (sum C (fun iC => (snd (fst g)) iK iC * u_weight iK iC)))) +
  (sum K (fun iK => (snd g) iK * u_bias iK)).
