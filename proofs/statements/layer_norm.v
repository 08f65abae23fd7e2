(* Written by proofs/statements.py from vipnp/ops/layer_norm.py; do not edit. *)
From Coq Require Import Reals.
From Coquelicot Require Import Coquelicot.
From Proofs Require Import Arrays.
Open Scope R_scope.

Definition layer_norm (B H W C : nat) (eps : R)
    (x : nat -> nat -> nat -> nat -> R) (weight : nat -> R) (bias : nat -> R)
    : (nat -> nat -> nat -> nat -> R) * ((nat -> nat -> nat -> nat -> R) -> (nat -> nat -> nat -> nat -> R) * (nat -> R) * (nat -> R)) :=
  let v1 := fun iB iH iW : nat => (sum C (fun iC => (x iB iH iW iC))) in
  let v2 := fun iB iH iW : nat => (v1 iB iH iW) / (INR C) in
  let v3 := fun iB iH iW iC : nat => (x iB iH iW iC) - (v2 iB iH iW) in
  let v4 := fun iB iH iW iC : nat => (v3 iB iH iW iC) * (v3 iB iH iW iC) in
  let v5 := fun iB iH iW : nat => (sum C (fun iC => (v4 iB iH iW iC))) in
  let v6 := fun iB iH iW : nat => (v5 iB iH iW) / (INR C) in
  let v7 := fun iB iH iW : nat => (v6 iB iH iW) + eps in
  let v8 := fun iB iH iW : nat => sqrt (v7 iB iH iW) in
  let v9 := fun iB iH iW : nat => (1) / (v8 iB iH iW) in
  let v10 := fun iB iH iW iC : nat => (v3 iB iH iW iC) * (v9 iB iH iW) in
  let v11 := fun iB iH iW iC : nat => (weight iC) * (v10 iB iH iW iC) in
  let v12 := fun iB iH iW iC : nat => (v11 iB iH iW iC) + (bias iC) in
  (fun iB iH iW iC : nat => (v12 iB iH iW iC),
   fun dy : nat -> nat -> nat -> nat -> R =>
     let v13 := fun iB iH iW iC : nat => (dy iB iH iW iC) * (weight iC) in
     let v14 := fun iB iH iW : nat => (sum C (fun iC => (v13 iB iH iW iC))) in
     let v15 := fun iB iH iW : nat => (v14 iB iH iW) / (INR C) in
     let v16 := fun iB iH iW iC : nat => (v13 iB iH iW iC) * (v10 iB iH iW iC) in
     let v17 := fun iB iH iW : nat => (sum C (fun iC => (v16 iB iH iW iC))) in
     let v18 := fun iB iH iW : nat => (v17 iB iH iW) / (INR C) in
     let v19 := fun iB iH iW iC : nat => (v13 iB iH iW iC) - (v15 iB iH iW) in
     let v20 := fun iB iH iW iC : nat => (v10 iB iH iW iC) * (v18 iB iH iW) in
     let v21 := fun iB iH iW iC : nat => (v19 iB iH iW iC) - (v20 iB iH iW iC) in
     let v22 := fun iB iH iW iC : nat => (v9 iB iH iW) * (v21 iB iH iW iC) in
     let v23 := fun iB iH iW iC : nat => (dy iB iH iW iC) * (v10 iB iH iW iC) in
     let v24 := fun iC : nat => (sum B (fun iB => (sum H (fun iH => (sum W (fun iW => (v23 iB iH iW iC))))))) in
     let v25 := fun iC : nat => (sum B (fun iB => (sum H (fun iH => (sum W (fun iW => (dy iB iH iW iC))))))) in
     (fun iB iH iW iC : nat => (v22 iB iH iW iC), fun iC : nat => (v24 iC), fun iC : nat => (v25 iC))).

Definition layer_norm_is_correct : Prop :=
  forall (B H W C : nat) (eps : R)
    (x : R -> nat -> nat -> nat -> nat -> R) (weight : R -> nat -> R) (bias : R -> nat -> R)
    (u_x : nat -> nat -> nat -> nat -> R) (u_weight : nat -> R) (u_bias : nat -> R),
  (0 < B)%nat ->
  (0 < H)%nat ->
  (0 < W)%nat ->
  (0 < C)%nat ->
  0 < eps ->
  (forall iB iH iW iC, is_derive (fun t => x t iB iH iW iC) 0 (u_x iB iH iW iC)) ->
  (forall iC, is_derive (fun t => weight t iC) 0 (u_weight iC)) ->
  (forall iC, is_derive (fun t => bias t iC) 0 (u_bias iC)) ->
  exists v : nat -> nat -> nat -> nat -> R,
  (forall iB iH iW iC, is_derive (fun t => fst (layer_norm B H W C eps (x t) (weight t) (bias t)) iB iH iW iC) 0 (v iB iH iW iC)) /\
  forall dy : nat -> nat -> nat -> nat -> R,
  let g := snd (layer_norm B H W C eps (x 0) (weight 0) (bias 0)) dy in
  (sum B (fun iB => (sum H (fun iH => (sum W (fun iW => (sum C (fun iC => dy iB iH iW iC * v iB iH iW iC)))))))) =
  (sum B (fun iB => (sum H (fun iH => (sum W (fun iW => (sum C (fun iC => (fst (fst g)) iB iH iW iC * u_x iB iH iW iC)))))))) +
  (sum C (fun iC => (snd (fst g)) iC * u_weight iC)) +
  (sum C (fun iC => (snd g) iC * u_bias iC)).

Definition layer_norm_rows (M C : nat) (eps : R)
    (x : nat -> nat -> R) (weight : nat -> R) (bias : nat -> R)
    : (nat -> nat -> R) * ((nat -> nat -> R) -> (nat -> nat -> R) * (nat -> R) * (nat -> R)) :=
  let v1 := fun iM : nat => (sum C (fun iC => (x iM iC))) in
  let v2 := fun iM : nat => (v1 iM) / (INR C) in
  let v3 := fun iM iC : nat => (x iM iC) - (v2 iM) in
  let v4 := fun iM iC : nat => (v3 iM iC) * (v3 iM iC) in
  let v5 := fun iM : nat => (sum C (fun iC => (v4 iM iC))) in
  let v6 := fun iM : nat => (v5 iM) / (INR C) in
  let v7 := fun iM : nat => (v6 iM) + eps in
  let v8 := fun iM : nat => sqrt (v7 iM) in
  let v9 := fun iM : nat => (1) / (v8 iM) in
  let v10 := fun iM iC : nat => (v3 iM iC) * (v9 iM) in
  let v11 := fun iM iC : nat => (weight iC) * (v10 iM iC) in
  let v12 := fun iM iC : nat => (v11 iM iC) + (bias iC) in
  (fun iM iC : nat => (v12 iM iC),
   fun dy : nat -> nat -> R =>
     let v13 := fun iM iC : nat => (dy iM iC) * (weight iC) in
     let v14 := fun iM : nat => (sum C (fun iC => (v13 iM iC))) in
     let v15 := fun iM : nat => (v14 iM) / (INR C) in
     let v16 := fun iM iC : nat => (v13 iM iC) * (v10 iM iC) in
     let v17 := fun iM : nat => (sum C (fun iC => (v16 iM iC))) in
     let v18 := fun iM : nat => (v17 iM) / (INR C) in
     let v19 := fun iM iC : nat => (v13 iM iC) - (v15 iM) in
     let v20 := fun iM iC : nat => (v10 iM iC) * (v18 iM) in
     let v21 := fun iM iC : nat => (v19 iM iC) - (v20 iM iC) in
     let v22 := fun iM iC : nat => (v9 iM) * (v21 iM iC) in
     let v23 := fun iM iC : nat => (dy iM iC) * (v10 iM iC) in
     let v24 := fun iC : nat => (sum M (fun iM => (v23 iM iC))) in
     let v25 := fun iC : nat => (sum M (fun iM => (dy iM iC))) in
     (fun iM iC : nat => (v22 iM iC), fun iC : nat => (v24 iC), fun iC : nat => (v25 iC))).

Definition layer_norm_rows_is_correct : Prop :=
  forall (M C : nat) (eps : R)
    (x : R -> nat -> nat -> R) (weight : R -> nat -> R) (bias : R -> nat -> R)
    (u_x : nat -> nat -> R) (u_weight : nat -> R) (u_bias : nat -> R),
  (0 < M)%nat ->
  (0 < C)%nat ->
  0 < eps ->
  (forall iM iC, is_derive (fun t => x t iM iC) 0 (u_x iM iC)) ->
  (forall iC, is_derive (fun t => weight t iC) 0 (u_weight iC)) ->
  (forall iC, is_derive (fun t => bias t iC) 0 (u_bias iC)) ->
  exists v : nat -> nat -> R,
  (forall iM iC, is_derive (fun t => fst (layer_norm_rows M C eps (x t) (weight t) (bias t)) iM iC) 0 (v iM iC)) /\
  forall dy : nat -> nat -> R,
  let g := snd (layer_norm_rows M C eps (x 0) (weight 0) (bias 0)) dy in
  (sum M (fun iM => (sum C (fun iC => dy iM iC * v iM iC)))) =
  (sum M (fun iM => (sum C (fun iC => (fst (fst g)) iM iC * u_x iM iC)))) +
  (sum C (fun iC => (snd (fst g)) iC * u_weight iC)) +
  (sum C (fun iC => (snd g) iC * u_bias iC)).

Definition layer_norm_segments (B H W N S : nat) (eps : R)
    (x : nat -> nat -> nat -> nat -> nat -> R) (weight : nat -> nat -> R) (bias : nat -> nat -> R)
    : (nat -> nat -> nat -> nat -> nat -> R) * ((nat -> nat -> nat -> nat -> nat -> R) -> (nat -> nat -> nat -> nat -> nat -> R) * (nat -> nat -> R) * (nat -> nat -> R)) :=
  let v1 := fun iB iH iW : nat => (sum N (fun iN => (sum S (fun iS => (x iB iH iW iN iS))))) in
  let v2 := fun iB iH iW : nat => (v1 iB iH iW) / (INR N * INR S) in
  let v3 := fun iB iH iW iN iS : nat => (x iB iH iW iN iS) - (v2 iB iH iW) in
  let v4 := fun iB iH iW iN iS : nat => (v3 iB iH iW iN iS) * (v3 iB iH iW iN iS) in
  let v5 := fun iB iH iW : nat => (sum N (fun iN => (sum S (fun iS => (v4 iB iH iW iN iS))))) in
  let v6 := fun iB iH iW : nat => (v5 iB iH iW) / (INR N * INR S) in
  let v7 := fun iB iH iW : nat => (v6 iB iH iW) + eps in
  let v8 := fun iB iH iW : nat => sqrt (v7 iB iH iW) in
  let v9 := fun iB iH iW : nat => (1) / (v8 iB iH iW) in
  let v10 := fun iB iH iW iN iS : nat => (v3 iB iH iW iN iS) * (v9 iB iH iW) in
  let v11 := fun iB iH iW iN iS : nat => (weight iN iS) * (v10 iB iH iW iN iS) in
  let v12 := fun iB iH iW iN iS : nat => (v11 iB iH iW iN iS) + (bias iN iS) in
  (fun iB iH iW iN iS : nat => (v12 iB iH iW iN iS),
   fun dy : nat -> nat -> nat -> nat -> nat -> R =>
     let v13 := fun iB iH iW iN iS : nat => (dy iB iH iW iN iS) * (weight iN iS) in
     let v14 := fun iB iH iW : nat => (sum N (fun iN => (sum S (fun iS => (v13 iB iH iW iN iS))))) in
     let v15 := fun iB iH iW : nat => (v14 iB iH iW) / (INR N * INR S) in
     let v16 := fun iB iH iW iN iS : nat => (v13 iB iH iW iN iS) * (v10 iB iH iW iN iS) in
     let v17 := fun iB iH iW : nat => (sum N (fun iN => (sum S (fun iS => (v16 iB iH iW iN iS))))) in
     let v18 := fun iB iH iW : nat => (v17 iB iH iW) / (INR N * INR S) in
     let v19 := fun iB iH iW iN iS : nat => (v13 iB iH iW iN iS) - (v15 iB iH iW) in
     let v20 := fun iB iH iW iN iS : nat => (v10 iB iH iW iN iS) * (v18 iB iH iW) in
     let v21 := fun iB iH iW iN iS : nat => (v19 iB iH iW iN iS) - (v20 iB iH iW iN iS) in
     let v22 := fun iB iH iW iN iS : nat => (v9 iB iH iW) * (v21 iB iH iW iN iS) in
     let v23 := fun iB iH iW iN iS : nat => (dy iB iH iW iN iS) * (v10 iB iH iW iN iS) in
     let v24 := fun iN iS : nat => (sum B (fun iB => (sum H (fun iH => (sum W (fun iW => (v23 iB iH iW iN iS))))))) in
     let v25 := fun iN iS : nat => (sum B (fun iB => (sum H (fun iH => (sum W (fun iW => (dy iB iH iW iN iS))))))) in
     (fun iB iH iW iN iS : nat => (v22 iB iH iW iN iS), fun iN iS : nat => (v24 iN iS), fun iN iS : nat => (v25 iN iS))).

Definition layer_norm_segments_is_correct : Prop :=
  forall (B H W N S : nat) (eps : R)
    (x : R -> nat -> nat -> nat -> nat -> nat -> R) (weight : R -> nat -> nat -> R) (bias : R -> nat -> nat -> R)
    (u_x : nat -> nat -> nat -> nat -> nat -> R) (u_weight : nat -> nat -> R) (u_bias : nat -> nat -> R),
  (0 < B)%nat ->
  (0 < H)%nat ->
  (0 < W)%nat ->
  (0 < N)%nat ->
  (0 < S)%nat ->
  0 < eps ->
  (forall iB iH iW iN iS, is_derive (fun t => x t iB iH iW iN iS) 0 (u_x iB iH iW iN iS)) ->
  (forall iN iS, is_derive (fun t => weight t iN iS) 0 (u_weight iN iS)) ->
  (forall iN iS, is_derive (fun t => bias t iN iS) 0 (u_bias iN iS)) ->
  exists v : nat -> nat -> nat -> nat -> nat -> R,
  (forall iB iH iW iN iS, is_derive (fun t => fst (layer_norm_segments B H W N S eps (x t) (weight t) (bias t)) iB iH iW iN iS) 0 (v iB iH iW iN iS)) /\
  forall dy : nat -> nat -> nat -> nat -> nat -> R,
  let g := snd (layer_norm_segments B H W N S eps (x 0) (weight 0) (bias 0)) dy in
  (sum B (fun iB => (sum H (fun iH => (sum W (fun iW => (sum N (fun iN => (sum S (fun iS => dy iB iH iW iN iS * v iB iH iW iN iS)))))))))) =
  (sum B (fun iB => (sum H (fun iH => (sum W (fun iW => (sum N (fun iN => (sum S (fun iS => (fst (fst g)) iB iH iW iN iS * u_x iB iH iW iN iS)))))))))) +
  (sum N (fun iN => (sum S (fun iS => (snd (fst g)) iN iS * u_weight iN iS)))) +
  (sum N (fun iN => (sum S (fun iS => (snd g) iN iS * u_bias iN iS)))).
