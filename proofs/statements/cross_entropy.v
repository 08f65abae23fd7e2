(* Written by proofs/statements.py from vipnp/ops/cross_entropy.py; do not edit. *)
From Coq Require Import Reals.
From Coquelicot Require Import Coquelicot.
From Proofs Require Import Arrays.
Open Scope R_scope.

Definition cross_entropy (B K : nat) (label_smoothing : R) (labels : nat -> nat)
    (logits : nat -> nat -> R)
    : (R) * ((R) -> (nat -> nat -> R)) :=
  let v1 := fun iB iK : nat => if Nat.eqb (labels iB) iK then 1 else 0 in
  let v2 := (1) - label_smoothing in
  let v3 := fun iB iK : nat => (v1 iB iK) * v2 in
  let v4 := label_smoothing / (INR K) in
  let v5 := fun iB iK : nat => (v3 iB iK) + v4 in
  let v6 := fun iB : nat => (maximum K (fun iK => (logits iB iK))) in
  let v7 := fun iB iK : nat => (logits iB iK) - (v6 iB) in
  let v8 := fun iB iK : nat => exp (v7 iB iK) in
  let v9 := fun iB : nat => (sum K (fun iK => (v8 iB iK))) in
  let v10 := fun iB iK : nat => (v8 iB iK) / (v9 iB) in
  let v11 := fun iB : nat => ln (v9 iB) in
  let v12 := fun iB iK : nat => (v7 iB iK) - (v11 iB) in
  let v13 := fun iB iK : nat => if Req_EM_T (v5 iB iK) 0 then 0 else (v12 iB iK) in
  let v14 := fun iB iK : nat => (v5 iB iK) * (v13 iB iK) in
  let v15 := (sum B (fun iB => (sum K (fun iK => (v14 iB iK))))) in
  let v16 := - v15 in
  let v17 := v16 / (INR B) in
  (v17,
   fun dy : R =>
     let v18 := fun iB : nat => (sum K (fun iK => (v5 iB iK))) in
     let v19 := dy / (INR B) in
     let v20 := fun iB iK : nat => (v10 iB iK) * (v18 iB) in
     let v21 := fun iB iK : nat => (v20 iB iK) - (v5 iB iK) in
     let v22 := fun iB iK : nat => v19 * (v21 iB iK) in
     (fun iB iK : nat => (v22 iB iK))).

Definition cross_entropy_is_correct : Prop :=
  forall (B K : nat) (label_smoothing : R) (labels : nat -> nat)
    (logits : R -> nat -> nat -> R)
    (u_logits : nat -> nat -> R),
  (0 < B)%nat ->
  (0 < K)%nat ->
  (forall i, (labels i < K)%nat) ->
  (forall iB iK, is_derive (fun t => logits t iB iK) 0 (u_logits iB iK)) ->
  exists v : R,
  (is_derive (fun t => fst (cross_entropy B K label_smoothing labels (logits t))) 0 (v)) /\
  forall dy : R,
  let g := snd (cross_entropy B K label_smoothing labels (logits 0)) dy in
  dy * v =
  (sum B (fun iB => (sum K (fun iK => g iB iK * u_logits iB iK)))).
