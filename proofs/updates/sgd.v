(* Written by proofs/optimisers.py from vipnp/optim/sgd.py; do not edit. *)
From Coq Require Import Reals.
From Proofs Require Import Arrays.
Open Scope R_scope.

Definition sgd_first (K C P Q : nat) (lr momentum weight_decay : R) (nesterov : bool)
    (p_filter : nat -> nat -> nat -> nat -> R) (p_weight : nat -> nat -> R) (p_bias : nat -> R) (g_filter : nat -> nat -> nat -> nat -> R) (g_weight : nat -> nat -> R) (g_bias : nat -> R) :=
  if Req_EM_T weight_decay 0 then
    if Req_EM_T momentum 0 then
      let v1 := fun iK iC iP iQ : nat => lr * (g_filter iK iC iP iQ) in
      let v2 := fun iK iC iP iQ : nat => (p_filter iK iC iP iQ) - (v1 iK iC iP iQ) in
      let v3 := fun iK iC : nat => lr * (g_weight iK iC) in
      let v4 := fun iK iC : nat => (p_weight iK iC) - (v3 iK iC) in
      let v5 := fun iK : nat => lr * (g_bias iK) in
      let v6 := fun iK : nat => (p_bias iK) - (v5 iK) in
      ((fun iK iC iP iQ : nat => (v2 iK iC iP iQ), (fun iK iC : nat => (v4 iK iC), fun iK : nat => (v6 iK))), None)
    else
      if nesterov then
        let v1 := fun iK iC iP iQ : nat => momentum * (g_filter iK iC iP iQ) in
        let v2 := fun iK iC iP iQ : nat => (g_filter iK iC iP iQ) + (v1 iK iC iP iQ) in
        let v3 := fun iK iC iP iQ : nat => lr * (v2 iK iC iP iQ) in
        let v4 := fun iK iC iP iQ : nat => (p_filter iK iC iP iQ) - (v3 iK iC iP iQ) in
        let v5 := fun iK iC : nat => momentum * (g_weight iK iC) in
        let v6 := fun iK iC : nat => (g_weight iK iC) + (v5 iK iC) in
        let v7 := fun iK iC : nat => lr * (v6 iK iC) in
        let v8 := fun iK iC : nat => (p_weight iK iC) - (v7 iK iC) in
        let v9 := fun iK : nat => momentum * (g_bias iK) in
        let v10 := fun iK : nat => (g_bias iK) + (v9 iK) in
        let v11 := fun iK : nat => lr * (v10 iK) in
        let v12 := fun iK : nat => (p_bias iK) - (v11 iK) in
        ((fun iK iC iP iQ : nat => (v4 iK iC iP iQ), (fun iK iC : nat => (v8 iK iC), fun iK : nat => (v12 iK))), Some (fun iK iC iP iQ : nat => (g_filter iK iC iP iQ), (fun iK iC : nat => (g_weight iK iC), fun iK : nat => (g_bias iK))))
      else
        let v1 := fun iK iC iP iQ : nat => lr * (g_filter iK iC iP iQ) in
        let v2 := fun iK iC iP iQ : nat => (p_filter iK iC iP iQ) - (v1 iK iC iP iQ) in
        let v3 := fun iK iC : nat => lr * (g_weight iK iC) in
        let v4 := fun iK iC : nat => (p_weight iK iC) - (v3 iK iC) in
        let v5 := fun iK : nat => lr * (g_bias iK) in
        let v6 := fun iK : nat => (p_bias iK) - (v5 iK) in
        ((fun iK iC iP iQ : nat => (v2 iK iC iP iQ), (fun iK iC : nat => (v4 iK iC), fun iK : nat => (v6 iK))), Some (fun iK iC iP iQ : nat => (g_filter iK iC iP iQ), (fun iK iC : nat => (g_weight iK iC), fun iK : nat => (g_bias iK))))
  else
    if Req_EM_T momentum 0 then
      let v1 := fun iK iC iP iQ : nat => weight_decay * (p_filter iK iC iP iQ) in
      let v2 := fun iK iC iP iQ : nat => (g_filter iK iC iP iQ) + (v1 iK iC iP iQ) in
      let v3 := fun iK iC iP iQ : nat => lr * (v2 iK iC iP iQ) in
      let v4 := fun iK iC iP iQ : nat => (p_filter iK iC iP iQ) - (v3 iK iC iP iQ) in
      let v5 := fun iK iC : nat => weight_decay * (p_weight iK iC) in
      let v6 := fun iK iC : nat => (g_weight iK iC) + (v5 iK iC) in
      let v7 := fun iK iC : nat => lr * (v6 iK iC) in
      let v8 := fun iK iC : nat => (p_weight iK iC) - (v7 iK iC) in
      let v9 := fun iK : nat => weight_decay * (p_bias iK) in
      let v10 := fun iK : nat => (g_bias iK) + (v9 iK) in
      let v11 := fun iK : nat => lr * (v10 iK) in
      let v12 := fun iK : nat => (p_bias iK) - (v11 iK) in
      ((fun iK iC iP iQ : nat => (v4 iK iC iP iQ), (fun iK iC : nat => (v8 iK iC), fun iK : nat => (v12 iK))), None)
    else
      if nesterov then
        let v1 := fun iK iC iP iQ : nat => weight_decay * (p_filter iK iC iP iQ) in
        let v2 := fun iK iC iP iQ : nat => (g_filter iK iC iP iQ) + (v1 iK iC iP iQ) in
        let v3 := fun iK iC iP iQ : nat => momentum * (v2 iK iC iP iQ) in
        let v4 := fun iK iC iP iQ : nat => (v2 iK iC iP iQ) + (v3 iK iC iP iQ) in
        let v5 := fun iK iC iP iQ : nat => lr * (v4 iK iC iP iQ) in
        let v6 := fun iK iC iP iQ : nat => (p_filter iK iC iP iQ) - (v5 iK iC iP iQ) in
        let v7 := fun iK iC : nat => weight_decay * (p_weight iK iC) in
        let v8 := fun iK iC : nat => (g_weight iK iC) + (v7 iK iC) in
        let v9 := fun iK iC : nat => momentum * (v8 iK iC) in
        let v10 := fun iK iC : nat => (v8 iK iC) + (v9 iK iC) in
        let v11 := fun iK iC : nat => lr * (v10 iK iC) in
        let v12 := fun iK iC : nat => (p_weight iK iC) - (v11 iK iC) in
        let v13 := fun iK : nat => weight_decay * (p_bias iK) in
        let v14 := fun iK : nat => (g_bias iK) + (v13 iK) in
        let v15 := fun iK : nat => momentum * (v14 iK) in
        let v16 := fun iK : nat => (v14 iK) + (v15 iK) in
        let v17 := fun iK : nat => lr * (v16 iK) in
        let v18 := fun iK : nat => (p_bias iK) - (v17 iK) in
        ((fun iK iC iP iQ : nat => (v6 iK iC iP iQ), (fun iK iC : nat => (v12 iK iC), fun iK : nat => (v18 iK))), Some (fun iK iC iP iQ : nat => (v2 iK iC iP iQ), (fun iK iC : nat => (v8 iK iC), fun iK : nat => (v14 iK))))
      else
        let v1 := fun iK iC iP iQ : nat => weight_decay * (p_filter iK iC iP iQ) in
        let v2 := fun iK iC iP iQ : nat => (g_filter iK iC iP iQ) + (v1 iK iC iP iQ) in
        let v3 := fun iK iC iP iQ : nat => lr * (v2 iK iC iP iQ) in
        let v4 := fun iK iC iP iQ : nat => (p_filter iK iC iP iQ) - (v3 iK iC iP iQ) in
        let v5 := fun iK iC : nat => weight_decay * (p_weight iK iC) in
        let v6 := fun iK iC : nat => (g_weight iK iC) + (v5 iK iC) in
        let v7 := fun iK iC : nat => lr * (v6 iK iC) in
        let v8 := fun iK iC : nat => (p_weight iK iC) - (v7 iK iC) in
        let v9 := fun iK : nat => weight_decay * (p_bias iK) in
        let v10 := fun iK : nat => (g_bias iK) + (v9 iK) in
        let v11 := fun iK : nat => lr * (v10 iK) in
        let v12 := fun iK : nat => (p_bias iK) - (v11 iK) in
        ((fun iK iC iP iQ : nat => (v4 iK iC iP iQ), (fun iK iC : nat => (v8 iK iC), fun iK : nat => (v12 iK))), Some (fun iK iC iP iQ : nat => (v2 iK iC iP iQ), (fun iK iC : nat => (v6 iK iC), fun iK : nat => (v10 iK)))).

Definition sgd_later (K C P Q : nat) (lr momentum weight_decay : R) (nesterov : bool)
    (p_filter : nat -> nat -> nat -> nat -> R) (p_weight : nat -> nat -> R) (p_bias : nat -> R) (g_filter : nat -> nat -> nat -> nat -> R) (g_weight : nat -> nat -> R) (g_bias : nat -> R) (b_filter : nat -> nat -> nat -> nat -> R) (b_weight : nat -> nat -> R) (b_bias : nat -> R) :=
  if Req_EM_T weight_decay 0 then
    if Req_EM_T momentum 0 then
      let v1 := fun iK iC iP iQ : nat => lr * (g_filter iK iC iP iQ) in
      let v2 := fun iK iC iP iQ : nat => (p_filter iK iC iP iQ) - (v1 iK iC iP iQ) in
      let v3 := fun iK iC : nat => lr * (g_weight iK iC) in
      let v4 := fun iK iC : nat => (p_weight iK iC) - (v3 iK iC) in
      let v5 := fun iK : nat => lr * (g_bias iK) in
      let v6 := fun iK : nat => (p_bias iK) - (v5 iK) in
      ((fun iK iC iP iQ : nat => (v2 iK iC iP iQ), (fun iK iC : nat => (v4 iK iC), fun iK : nat => (v6 iK))), None)
    else
      if nesterov then
        let v1 := fun iK iC iP iQ : nat => momentum * (b_filter iK iC iP iQ) in
        let v2 := fun iK iC iP iQ : nat => (v1 iK iC iP iQ) + (g_filter iK iC iP iQ) in
        let v3 := fun iK iC iP iQ : nat => momentum * (v2 iK iC iP iQ) in
        let v4 := fun iK iC iP iQ : nat => (g_filter iK iC iP iQ) + (v3 iK iC iP iQ) in
        let v5 := fun iK iC iP iQ : nat => lr * (v4 iK iC iP iQ) in
        let v6 := fun iK iC iP iQ : nat => (p_filter iK iC iP iQ) - (v5 iK iC iP iQ) in
        let v7 := fun iK iC : nat => momentum * (b_weight iK iC) in
        let v8 := fun iK iC : nat => (v7 iK iC) + (g_weight iK iC) in
        let v9 := fun iK iC : nat => momentum * (v8 iK iC) in
        let v10 := fun iK iC : nat => (g_weight iK iC) + (v9 iK iC) in
        let v11 := fun iK iC : nat => lr * (v10 iK iC) in
        let v12 := fun iK iC : nat => (p_weight iK iC) - (v11 iK iC) in
        let v13 := fun iK : nat => momentum * (b_bias iK) in
        let v14 := fun iK : nat => (v13 iK) + (g_bias iK) in
        let v15 := fun iK : nat => momentum * (v14 iK) in
        let v16 := fun iK : nat => (g_bias iK) + (v15 iK) in
        let v17 := fun iK : nat => lr * (v16 iK) in
        let v18 := fun iK : nat => (p_bias iK) - (v17 iK) in
        ((fun iK iC iP iQ : nat => (v6 iK iC iP iQ), (fun iK iC : nat => (v12 iK iC), fun iK : nat => (v18 iK))), Some (fun iK iC iP iQ : nat => (v2 iK iC iP iQ), (fun iK iC : nat => (v8 iK iC), fun iK : nat => (v14 iK))))
      else
        let v1 := fun iK iC iP iQ : nat => momentum * (b_filter iK iC iP iQ) in
        let v2 := fun iK iC iP iQ : nat => (v1 iK iC iP iQ) + (g_filter iK iC iP iQ) in
        let v3 := fun iK iC iP iQ : nat => lr * (v2 iK iC iP iQ) in
        let v4 := fun iK iC iP iQ : nat => (p_filter iK iC iP iQ) - (v3 iK iC iP iQ) in
        let v5 := fun iK iC : nat => momentum * (b_weight iK iC) in
        let v6 := fun iK iC : nat => (v5 iK iC) + (g_weight iK iC) in
        let v7 := fun iK iC : nat => lr * (v6 iK iC) in
        let v8 := fun iK iC : nat => (p_weight iK iC) - (v7 iK iC) in
        let v9 := fun iK : nat => momentum * (b_bias iK) in
        let v10 := fun iK : nat => (v9 iK) + (g_bias iK) in
        let v11 := fun iK : nat => lr * (v10 iK) in
        let v12 := fun iK : nat => (p_bias iK) - (v11 iK) in
        ((fun iK iC iP iQ : nat => (v4 iK iC iP iQ), (fun iK iC : nat => (v8 iK iC), fun iK : nat => (v12 iK))), Some (fun iK iC iP iQ : nat => (v2 iK iC iP iQ), (fun iK iC : nat => (v6 iK iC), fun iK : nat => (v10 iK))))
  else
    if Req_EM_T momentum 0 then
      let v1 := fun iK iC iP iQ : nat => weight_decay * (p_filter iK iC iP iQ) in
      let v2 := fun iK iC iP iQ : nat => (g_filter iK iC iP iQ) + (v1 iK iC iP iQ) in
      let v3 := fun iK iC iP iQ : nat => lr * (v2 iK iC iP iQ) in
      let v4 := fun iK iC iP iQ : nat => (p_filter iK iC iP iQ) - (v3 iK iC iP iQ) in
      let v5 := fun iK iC : nat => weight_decay * (p_weight iK iC) in
      let v6 := fun iK iC : nat => (g_weight iK iC) + (v5 iK iC) in
      let v7 := fun iK iC : nat => lr * (v6 iK iC) in
      let v8 := fun iK iC : nat => (p_weight iK iC) - (v7 iK iC) in
      let v9 := fun iK : nat => weight_decay * (p_bias iK) in
      let v10 := fun iK : nat => (g_bias iK) + (v9 iK) in
      let v11 := fun iK : nat => lr * (v10 iK) in
      let v12 := fun iK : nat => (p_bias iK) - (v11 iK) in
      ((fun iK iC iP iQ : nat => (v4 iK iC iP iQ), (fun iK iC : nat => (v8 iK iC), fun iK : nat => (v12 iK))), None)
    else
      if nesterov then
        let v1 := fun iK iC iP iQ : nat => weight_decay * (p_filter iK iC iP iQ) in
        let v2 := fun iK iC iP iQ : nat => (g_filter iK iC iP iQ) + (v1 iK iC iP iQ) in
        let v3 := fun iK iC iP iQ : nat => momentum * (b_filter iK iC iP iQ) in
        let v4 := fun iK iC iP iQ : nat => (v3 iK iC iP iQ) + (v2 iK iC iP iQ) in
        let v5 := fun iK iC iP iQ : nat => momentum * (v4 iK iC iP iQ) in
        let v6 := fun iK iC iP iQ : nat => (v2 iK iC iP iQ) + (v5 iK iC iP iQ) in
        let v7 := fun iK iC iP iQ : nat => lr * (v6 iK iC iP iQ) in
        let v8 := fun iK iC iP iQ : nat => (p_filter iK iC iP iQ) - (v7 iK iC iP iQ) in
        let v9 := fun iK iC : nat => weight_decay * (p_weight iK iC) in
        let v10 := fun iK iC : nat => (g_weight iK iC) + (v9 iK iC) in
        let v11 := fun iK iC : nat => momentum * (b_weight iK iC) in
        let v12 := fun iK iC : nat => (v11 iK iC) + (v10 iK iC) in
        let v13 := fun iK iC : nat => momentum * (v12 iK iC) in
        let v14 := fun iK iC : nat => (v10 iK iC) + (v13 iK iC) in
        let v15 := fun iK iC : nat => lr * (v14 iK iC) in
        let v16 := fun iK iC : nat => (p_weight iK iC) - (v15 iK iC) in
        let v17 := fun iK : nat => weight_decay * (p_bias iK) in
        let v18 := fun iK : nat => (g_bias iK) + (v17 iK) in
        let v19 := fun iK : nat => momentum * (b_bias iK) in
        let v20 := fun iK : nat => (v19 iK) + (v18 iK) in
        let v21 := fun iK : nat => momentum * (v20 iK) in
        let v22 := fun iK : nat => (v18 iK) + (v21 iK) in
        let v23 := fun iK : nat => lr * (v22 iK) in
        let v24 := fun iK : nat => (p_bias iK) - (v23 iK) in
        ((fun iK iC iP iQ : nat => (v8 iK iC iP iQ), (fun iK iC : nat => (v16 iK iC), fun iK : nat => (v24 iK))), Some (fun iK iC iP iQ : nat => (v4 iK iC iP iQ), (fun iK iC : nat => (v12 iK iC), fun iK : nat => (v20 iK))))
      else
        let v1 := fun iK iC iP iQ : nat => weight_decay * (p_filter iK iC iP iQ) in
        let v2 := fun iK iC iP iQ : nat => (g_filter iK iC iP iQ) + (v1 iK iC iP iQ) in
        let v3 := fun iK iC iP iQ : nat => momentum * (b_filter iK iC iP iQ) in
        let v4 := fun iK iC iP iQ : nat => (v3 iK iC iP iQ) + (v2 iK iC iP iQ) in
        let v5 := fun iK iC iP iQ : nat => lr * (v4 iK iC iP iQ) in
        let v6 := fun iK iC iP iQ : nat => (p_filter iK iC iP iQ) - (v5 iK iC iP iQ) in
        let v7 := fun iK iC : nat => weight_decay * (p_weight iK iC) in
        let v8 := fun iK iC : nat => (g_weight iK iC) + (v7 iK iC) in
        let v9 := fun iK iC : nat => momentum * (b_weight iK iC) in
        let v10 := fun iK iC : nat => (v9 iK iC) + (v8 iK iC) in
        let v11 := fun iK iC : nat => lr * (v10 iK iC) in
        let v12 := fun iK iC : nat => (p_weight iK iC) - (v11 iK iC) in
        let v13 := fun iK : nat => weight_decay * (p_bias iK) in
        let v14 := fun iK : nat => (g_bias iK) + (v13 iK) in
        let v15 := fun iK : nat => momentum * (b_bias iK) in
        let v16 := fun iK : nat => (v15 iK) + (v14 iK) in
        let v17 := fun iK : nat => lr * (v16 iK) in
        let v18 := fun iK : nat => (p_bias iK) - (v17 iK) in
        ((fun iK iC iP iQ : nat => (v6 iK iC iP iQ), (fun iK iC : nat => (v12 iK iC), fun iK : nat => (v18 iK))), Some (fun iK iC iP iQ : nat => (v4 iK iC iP iQ), (fun iK iC : nat => (v10 iK iC), fun iK : nat => (v16 iK)))).
