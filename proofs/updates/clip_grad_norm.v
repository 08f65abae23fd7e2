(* Written by proofs/optimisers.py from vipnp/optim/clip.py; do not edit. *)
From Coq Require Import Reals.
From Proofs Require Import Arrays.
Open Scope R_scope.

Definition clip_grad_norm (K C P Q : nat) (max_norm : R)
    (g_filter : nat -> nat -> nat -> nat -> R) (g_weight : nat -> nat -> R) (g_bias : nat -> R) :=
  let v1 := fun iK iC iP iQ : nat => (g_filter iK iC iP iQ) * (g_filter iK iC iP iQ) in
  let v2 := (sum K (fun iK => (sum C (fun iC => (sum P (fun iP => (sum Q (fun iQ => (v1 iK iC iP iQ))))))))) in
  let v3 := (0) + v2 in
  let v4 := fun iK iC : nat => (g_weight iK iC) * (g_weight iK iC) in
  let v5 := (sum K (fun iK => (sum C (fun iC => (v4 iK iC))))) in
  let v6 := v3 + v5 in
  let v7 := fun iK : nat => (g_bias iK) * (g_bias iK) in
  let v8 := (sum K (fun iK => (v7 iK))) in
  let v9 := v6 + v8 in
  let v10 := sqrt v9 in
  let v11 := v10 + (4722366482869645 / 4722366482869645213696) in
  let v12 := max_norm / v11 in
  let v13 := if Rlt_dec (1) v12 then 1 else v12 in
  let v14 := fun iK iC iP iQ : nat => (g_filter iK iC iP iQ) * v13 in
  let v15 := fun iK iC : nat => (g_weight iK iC) * v13 in
  let v16 := fun iK : nat => (g_bias iK) * v13 in
  ((fun iK iC iP iQ : nat => (v14 iK iC iP iQ), (fun iK iC : nat => (v15 iK iC), fun iK : nat => (v16 iK))), v10).
