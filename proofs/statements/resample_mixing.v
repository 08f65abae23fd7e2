(* Written by proofs/statements.py from vipnp/ops/resample_mixing.py; do not edit. *)
From Coq Require Import Reals.
From Coquelicot Require Import Coquelicot.
From Proofs Require Import Arrays.
Open Scope R_scope.

Definition resample_mixing (G S H : nat) (spread : nat -> nat -> R) (gather : nat -> nat -> R)
    (weight : nat -> nat -> nat -> nat -> R)
    : (nat -> nat -> nat -> nat -> R) * ((nat -> nat -> nat -> nat -> R) -> (nat -> nat -> nat -> nat -> R)) :=
  let v1 := fun iH iS iG iS' : nat => (sum G (fun iG' => (spread iH iG') * (weight iG' iS iG iS'))) in
  let v2 := fun iH iS iS' iH' : nat => (sum G (fun iG => (v1 iH iS iG iS') * (gather iG iH'))) in
  (fun iH iS iH' iS' : nat => (v2 iH iS iS' iH'),
   fun dy : nat -> nat -> nat -> nat -> R =>
     let v3 := fun iH iS iS' iG : nat => (sum H (fun iH' => (dy iH iS iH' iS') * (gather iG iH'))) in
     let v4 := fun iG iS iG' iS' : nat => (sum H (fun iH => (spread iH iG) * (v3 iH iS iS' iG'))) in
     (fun iG iS iG' iS' : nat => (v4 iG iS iG' iS'))).

Definition resample_mixing_is_correct : Prop :=
  forall (G S H : nat) (spread : nat -> nat -> R) (gather : nat -> nat -> R)
    (weight : R -> nat -> nat -> nat -> nat -> R)
    (u_weight : nat -> nat -> nat -> nat -> R),
  (0 < G)%nat ->
  (0 < S)%nat ->
  (0 < H)%nat ->
  (forall iG iS iG' iS', is_derive (fun t => weight t iG iS iG' iS') 0 (u_weight iG iS iG' iS')) ->
  exists v : nat -> nat -> nat -> nat -> R,
  (forall iH iS iH' iS', is_derive (fun t => fst (resample_mixing G S H spread gather (weight t)) iH iS iH' iS') 0 (v iH iS iH' iS')) /\
  forall dy : nat -> nat -> nat -> nat -> R,
  let g := snd (resample_mixing G S H spread gather (weight 0)) dy in
  (sum H (fun iH => (sum S (fun iS => (sum H (fun iH' => (sum S (fun iS' => dy iH iS iH' iS' * v iH iS iH' iS')))))))) =
  (sum G (fun iG => (sum S (fun iS => (sum G (fun iG' => (sum S (fun iS' => g iG iS iG' iS' * u_weight iG iS iG' iS')))))))).
