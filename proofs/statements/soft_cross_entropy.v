(* Written by proofs/statements.py from vipnp/ops/soft_cross_entropy.py; do not edit. *)
From Coq Require Import Reals.
From Coquelicot Require Import Coquelicot.
From Proofs Require Import Arrays.
Open Scope R_scope.

Definition soft_cross_entropy (B K : nat) (targets : nat -> nat -> R)
    (logits : nat -> nat -> R)
    : (R) * ((R) -> (nat -> nat -> R)) :=
  let v1 := fun iB : nat => (maximum K (fun iK => (logits iB iK))) in
  let v2 := fun iB iK : nat => (logits iB iK) - (v1 iB) in
  let v3 := fun iB iK : nat => exp (v2 iB iK) in
  let v4 := fun iB : nat => (sum K (fun iK => (v3 iB iK))) in
  let v5 := fun iB iK : nat => (v3 iB iK) / (v4 iB) in
  let v6 := fun iB : nat => ln (v4 iB) in
  let v7 := fun iB iK : nat => (v2 iB iK) - (v6 iB) in
  let v8 := fun iB iK : nat => if Req_EM_T (targets iB iK) 0 then 0 else (v7 iB iK) in
  let v9 := fun iB iK : nat => (targets iB iK) * (v8 iB iK) in
  let v10 := (sum B (fun iB => (sum K (fun iK => (v9 iB iK))))) in
  let v11 := - v10 in
  let v12 := v11 / (INR B) in
  (v12,
   fun dy : R =>
     let v13 := fun iB : nat => (sum K (fun iK => (targets iB iK))) in
     let v14 := dy / (INR B) in
     let v15 := fun iB iK : nat => (v5 iB iK) * (v13 iB) in
     let v16 := fun iB iK : nat => (v15 iB iK) - (targets iB iK) in
     let v17 := fun iB iK : nat => v14 * (v16 iB iK) in
     (fun iB iK : nat => (v17 iB iK))).

Definition soft_cross_entropy_is_correct : Prop :=
  forall (B K : nat) (targets : nat -> nat -> R)
    (logits : R -> nat -> nat -> R)
    (u_logits : nat -> nat -> R),
  (0 < B)%nat ->
  (0 < K)%nat ->
  (forall iB iK, is_derive (fun t => logits t iB iK) 0 (u_logits iB iK)) ->
  exists v : R,
  (is_derive (fun t => fst (soft_cross_entropy B K targets (logits t))) 0 (v)) /\
  forall dy : R,
  let g := snd (soft_cross_entropy B K targets (logits 0)) dy in
  dy * v =
  (sum B (fun iB => (sum K (fun iK => g iB iK * u_logits iB iK)))).
