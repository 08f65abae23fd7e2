(* Written by proofs/optimisers.py from vipnp/optim/adamw.py; do not edit. *)
From Coq Require Import Reals.
From Proofs Require Import Arrays.
Open Scope R_scope.

Definition adamw_first (K C P Q : nat) (beta1 beta2 eps lr weight_decay : R)
    (p_filter : nat -> nat -> nat -> nat -> R) (p_weight : nat -> nat -> R) (p_bias : nat -> R) (g_filter : nat -> nat -> nat -> nat -> R) (g_weight : nat -> nat -> R) (g_bias : nat -> R) :=
  let v1 := beta1 ^ 1%nat in
  let v2 := (1) - v1 in
  let v3 := lr / v2 in
  let v4 := beta2 ^ 1%nat in
  let v5 := (1) - v4 in
  let v6 := sqrt v5 in
  let v7 := (1) - beta1 in
  let v8 := fun iK iC iP iQ : nat => v7 * (g_filter iK iC iP iQ) in
  let v9 := (1) - beta2 in
  let v10 := fun iK iC iP iQ : nat => v9 * (g_filter iK iC iP iQ) in
  let v11 := fun iK iC iP iQ : nat => (v10 iK iC iP iQ) * (g_filter iK iC iP iQ) in
  let v12 := lr * weight_decay in
  let v13 := (1) - v12 in
  let v14 := fun iK iC iP iQ : nat => (p_filter iK iC iP iQ) * v13 in
  let v15 := fun iK iC iP iQ : nat => v3 * (v8 iK iC iP iQ) in
  let v16 := fun iK iC iP iQ : nat => sqrt (v11 iK iC iP iQ) in
  let v17 := fun iK iC iP iQ : nat => (v16 iK iC iP iQ) / v6 in
  let v18 := fun iK iC iP iQ : nat => (v17 iK iC iP iQ) + eps in
  let v19 := fun iK iC iP iQ : nat => (v15 iK iC iP iQ) / (v18 iK iC iP iQ) in
  let v20 := fun iK iC iP iQ : nat => (v14 iK iC iP iQ) - (v19 iK iC iP iQ) in
  let v21 := (1) - beta1 in
  let v22 := fun iK iC : nat => v21 * (g_weight iK iC) in
  let v23 := (1) - beta2 in
  let v24 := fun iK iC : nat => v23 * (g_weight iK iC) in
  let v25 := fun iK iC : nat => (v24 iK iC) * (g_weight iK iC) in
  let v26 := lr * weight_decay in
  let v27 := (1) - v26 in
  let v28 := fun iK iC : nat => (p_weight iK iC) * v27 in
  let v29 := fun iK iC : nat => v3 * (v22 iK iC) in
  let v30 := fun iK iC : nat => sqrt (v25 iK iC) in
  let v31 := fun iK iC : nat => (v30 iK iC) / v6 in
  let v32 := fun iK iC : nat => (v31 iK iC) + eps in
  let v33 := fun iK iC : nat => (v29 iK iC) / (v32 iK iC) in
  let v34 := fun iK iC : nat => (v28 iK iC) - (v33 iK iC) in
  let v35 := (1) - beta1 in
  let v36 := fun iK : nat => v35 * (g_bias iK) in
  let v37 := (1) - beta2 in
  let v38 := fun iK : nat => v37 * (g_bias iK) in
  let v39 := fun iK : nat => (v38 iK) * (g_bias iK) in
  let v40 := fun iK : nat => v3 * (v36 iK) in
  let v41 := fun iK : nat => sqrt (v39 iK) in
  let v42 := fun iK : nat => (v41 iK) / v6 in
  let v43 := fun iK : nat => (v42 iK) + eps in
  let v44 := fun iK : nat => (v40 iK) / (v43 iK) in
  let v45 := fun iK : nat => (p_bias iK) - (v44 iK) in
  ((fun iK iC iP iQ : nat => (v20 iK iC iP iQ), (fun iK iC : nat => (v34 iK iC), fun iK : nat => (v45 iK))), ((fun iK iC iP iQ : nat => (v8 iK iC iP iQ), (fun iK iC : nat => (v22 iK iC), fun iK : nat => (v36 iK))), (fun iK iC iP iQ : nat => (v11 iK iC iP iQ), (fun iK iC : nat => (v25 iK iC), fun iK : nat => (v39 iK))))).

Definition adamw_later (K C P Q : nat) (beta1 beta2 eps lr weight_decay : R) (n : nat)
    (p_filter : nat -> nat -> nat -> nat -> R) (p_weight : nat -> nat -> R) (p_bias : nat -> R) (g_filter : nat -> nat -> nat -> nat -> R) (g_weight : nat -> nat -> R) (g_bias : nat -> R) (m_filter : nat -> nat -> nat -> nat -> R) (m_weight : nat -> nat -> R) (m_bias : nat -> R) (v_filter : nat -> nat -> nat -> nat -> R) (v_weight : nat -> nat -> R) (v_bias : nat -> R) :=
  let v1 := beta1 ^ (S (S n)) in
  let v2 := (1) - v1 in
  let v3 := lr / v2 in
  let v4 := beta2 ^ (S (S n)) in
  let v5 := (1) - v4 in
  let v6 := sqrt v5 in
  let v7 := (1) - beta1 in
  let v8 := fun iK iC iP iQ : nat => v7 * (g_filter iK iC iP iQ) in
  let v9 := (1) - beta2 in
  let v10 := fun iK iC iP iQ : nat => v9 * (g_filter iK iC iP iQ) in
  let v11 := fun iK iC iP iQ : nat => (v10 iK iC iP iQ) * (g_filter iK iC iP iQ) in
  let v12 := fun iK iC iP iQ : nat => beta1 * (m_filter iK iC iP iQ) in
  let v13 := fun iK iC iP iQ : nat => (v8 iK iC iP iQ) + (v12 iK iC iP iQ) in
  let v14 := fun iK iC iP iQ : nat => beta2 * (v_filter iK iC iP iQ) in
  let v15 := fun iK iC iP iQ : nat => (v11 iK iC iP iQ) + (v14 iK iC iP iQ) in
  let v16 := lr * weight_decay in
  let v17 := (1) - v16 in
  let v18 := fun iK iC iP iQ : nat => (p_filter iK iC iP iQ) * v17 in
  let v19 := fun iK iC iP iQ : nat => v3 * (v13 iK iC iP iQ) in
  let v20 := fun iK iC iP iQ : nat => sqrt (v15 iK iC iP iQ) in
  let v21 := fun iK iC iP iQ : nat => (v20 iK iC iP iQ) / v6 in
  let v22 := fun iK iC iP iQ : nat => (v21 iK iC iP iQ) + eps in
  let v23 := fun iK iC iP iQ : nat => (v19 iK iC iP iQ) / (v22 iK iC iP iQ) in
  let v24 := fun iK iC iP iQ : nat => (v18 iK iC iP iQ) - (v23 iK iC iP iQ) in
  let v25 := (1) - beta1 in
  let v26 := fun iK iC : nat => v25 * (g_weight iK iC) in
  let v27 := (1) - beta2 in
  let v28 := fun iK iC : nat => v27 * (g_weight iK iC) in
  let v29 := fun iK iC : nat => (v28 iK iC) * (g_weight iK iC) in
  let v30 := fun iK iC : nat => beta1 * (m_weight iK iC) in
  let v31 := fun iK iC : nat => (v26 iK iC) + (v30 iK iC) in
  let v32 := fun iK iC : nat => beta2 * (v_weight iK iC) in
  let v33 := fun iK iC : nat => (v29 iK iC) + (v32 iK iC) in
  let v34 := lr * weight_decay in
  let v35 := (1) - v34 in
  let v36 := fun iK iC : nat => (p_weight iK iC) * v35 in
  let v37 := fun iK iC : nat => v3 * (v31 iK iC) in
  let v38 := fun iK iC : nat => sqrt (v33 iK iC) in
  let v39 := fun iK iC : nat => (v38 iK iC) / v6 in
  let v40 := fun iK iC : nat => (v39 iK iC) + eps in
  let v41 := fun iK iC : nat => (v37 iK iC) / (v40 iK iC) in
  let v42 := fun iK iC : nat => (v36 iK iC) - (v41 iK iC) in
  let v43 := (1) - beta1 in
  let v44 := fun iK : nat => v43 * (g_bias iK) in
  let v45 := (1) - beta2 in
  let v46 := fun iK : nat => v45 * (g_bias iK) in
  let v47 := fun iK : nat => (v46 iK) * (g_bias iK) in
  let v48 := fun iK : nat => beta1 * (m_bias iK) in
  let v49 := fun iK : nat => (v44 iK) + (v48 iK) in
  let v50 := fun iK : nat => beta2 * (v_bias iK) in
  let v51 := fun iK : nat => (v47 iK) + (v50 iK) in
  let v52 := fun iK : nat => v3 * (v49 iK) in
  let v53 := fun iK : nat => sqrt (v51 iK) in
  let v54 := fun iK : nat => (v53 iK) / v6 in
  let v55 := fun iK : nat => (v54 iK) + eps in
  let v56 := fun iK : nat => (v52 iK) / (v55 iK) in
  let v57 := fun iK : nat => (p_bias iK) - (v56 iK) in
  ((fun iK iC iP iQ : nat => (v24 iK iC iP iQ), (fun iK iC : nat => (v42 iK iC), fun iK : nat => (v57 iK))), ((fun iK iC iP iQ : nat => (v13 iK iC iP iQ), (fun iK iC : nat => (v31 iK iC), fun iK : nat => (v49 iK))), (fun iK iC iP iQ : nat => (v15 iK iC iP iQ), (fun iK iC : nat => (v33 iK iC), fun iK : nat => (v51 iK))))).
