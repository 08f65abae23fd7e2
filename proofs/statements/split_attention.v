(* Written by proofs/statements.py from vipnp/ops/split_attention.py; do not edit. *)
From Coq Require Import Reals.
From Coquelicot Require Import Coquelicot.
From Proofs Require Import Arrays.
Open Scope R_scope.

Definition split_attention (B C H W : nat)
    (logits : nat -> nat -> nat -> R) (branch1 : nat -> nat -> nat -> nat -> R) (branch2 : nat -> nat -> nat -> nat -> R) (branch3 : nat -> nat -> nat -> nat -> R)
    : (nat -> nat -> nat -> nat -> R) * ((nat -> nat -> nat -> nat -> R) -> (nat -> nat -> nat -> R) * (nat -> nat -> nat -> nat -> R) * (nat -> nat -> nat -> nat -> R) * (nat -> nat -> nat -> nat -> R)) :=
  let v1 := fun iB iC : nat => (maximum 3 (fun i3 => (logits iB iC i3))) in
  let v2 := fun iB iC i3 : nat => (logits iB iC i3) - (v1 iB iC) in
  let v3 := fun iB iC i3 : nat => exp (v2 iB iC i3) in
  let v4 := fun iB iC : nat => (sum 3 (fun i3 => (v3 iB iC i3))) in
  let v5 := fun iB iC i3 : nat => (v3 iB iC i3) / (v4 iB iC) in
  let v6 := fun iB iH iW iC : nat => (v5 iB iC 0%nat) * (branch1 iB iH iW iC) in
  let v7 := fun iB iH iW iC : nat => (v5 iB iC 1%nat) * (branch2 iB iH iW iC) in
  let v8 := fun iB iH iW iC : nat => (v6 iB iH iW iC) + (v7 iB iH iW iC) in
  let v9 := fun iB iH iW iC : nat => (v5 iB iC 2%nat) * (branch3 iB iH iW iC) in
  let v10 := fun iB iH iW iC : nat => (v8 iB iH iW iC) + (v9 iB iH iW iC) in
  (fun iB iH iW iC : nat => (v10 iB iH iW iC),
   fun dy : nat -> nat -> nat -> nat -> R =>
     let v11 := fun iB iH iW iC : nat => (dy iB iH iW iC) * (branch1 iB iH iW iC) in
     let v12 := fun iB iH iC : nat => (sum W (fun iW => (v11 iB iH iW iC))) in
     let v13 := fun iB iC : nat => (sum H (fun iH => (v12 iB iH iC))) in
     let v14 := fun iB iH iW iC : nat => (dy iB iH iW iC) * (branch2 iB iH iW iC) in
     let v15 := fun iB iH iC : nat => (sum W (fun iW => (v14 iB iH iW iC))) in
     let v16 := fun iB iC : nat => (sum H (fun iH => (v15 iB iH iC))) in
     let v17 := fun iB iH iW iC : nat => (dy iB iH iW iC) * (branch3 iB iH iW iC) in
     let v18 := fun iB iH iC : nat => (sum W (fun iW => (v17 iB iH iW iC))) in
     let v19 := fun iB iC : nat => (sum H (fun iH => (v18 iB iH iC))) in
     let v20 := fun iB iC i3 : nat => match i3 with 0%nat => (v13 iB iC) | 1%nat => (v16 iB iC) | _ => (v19 iB iC) end in
     let v21 := fun iB iC i3 : nat => (v5 iB iC i3) * (v20 iB iC i3) in
     let v22 := fun iB iC : nat => (sum 3 (fun i3 => (v21 iB iC i3))) in
     let v23 := fun iB iC i3 : nat => (v20 iB iC i3) - (v22 iB iC) in
     let v24 := fun iB iC i3 : nat => (v5 iB iC i3) * (v23 iB iC i3) in
     let v25 := fun iB iH iW iC : nat => (dy iB iH iW iC) * (v5 iB iC 0%nat) in
     let v26 := fun iB iH iW iC : nat => (dy iB iH iW iC) * (v5 iB iC 1%nat) in
     let v27 := fun iB iH iW iC : nat => (dy iB iH iW iC) * (v5 iB iC 2%nat) in
     (fun iB iC i3 : nat => (v24 iB iC i3), fun iB iH iW iC : nat => (v25 iB iH iW iC), fun iB iH iW iC : nat => (v26 iB iH iW iC), fun iB iH iW iC : nat => (v27 iB iH iW iC))).

Definition split_attention_is_correct : Prop :=
  forall (B C H W : nat)
    (logits : R -> nat -> nat -> nat -> R) (branch1 : R -> nat -> nat -> nat -> nat -> R) (branch2 : R -> nat -> nat -> nat -> nat -> R) (branch3 : R -> nat -> nat -> nat -> nat -> R)
    (u_logits : nat -> nat -> nat -> R) (u_branch1 : nat -> nat -> nat -> nat -> R) (u_branch2 : nat -> nat -> nat -> nat -> R) (u_branch3 : nat -> nat -> nat -> nat -> R),
  (0 < B)%nat ->
  (0 < C)%nat ->
  (0 < H)%nat ->
  (0 < W)%nat ->
  (forall iB iC i3, is_derive (fun t => logits t iB iC i3) 0 (u_logits iB iC i3)) ->
  (forall iB iH iW iC, is_derive (fun t => branch1 t iB iH iW iC) 0 (u_branch1 iB iH iW iC)) ->
  (forall iB iH iW iC, is_derive (fun t => branch2 t iB iH iW iC) 0 (u_branch2 iB iH iW iC)) ->
  (forall iB iH iW iC, is_derive (fun t => branch3 t iB iH iW iC) 0 (u_branch3 iB iH iW iC)) ->
  exists v : nat -> nat -> nat -> nat -> R,
  (forall iB iH iW iC, is_derive (fun t => fst (split_attention B C H W (logits t) (branch1 t) (branch2 t) (branch3 t)) iB iH iW iC) 0 (v iB iH iW iC)) /\
  forall dy : nat -> nat -> nat -> nat -> R,
  let g := snd (split_attention B C H W (logits 0) (branch1 0) (branch2 0) (branch3 0)) dy in
  (sum B (fun iB => (sum H (fun iH => (sum W (fun iW => (sum C (fun iC => dy iB iH iW iC * v iB iH iW iC)))))))) =
  (sum B (fun iB => (sum C (fun iC => (sum 3 (fun i3 => (fst (fst (fst g))) iB iC i3 * u_logits iB iC i3)))))) +
  (sum B (fun iB => (sum H (fun iH => (sum W (fun iW => (sum C (fun iC => (snd (fst (fst g))) iB iH iW iC * u_branch1 iB iH iW iC)))))))) +
  (sum B (fun iB => (sum H (fun iH => (sum W (fun iW => (sum C (fun iC => (snd (fst g)) iB iH iW iC * u_branch2 iB iH iW iC)))))))) +
  (sum B (fun iB => (sum H (fun iH => (sum W (fun iW => (sum C (fun iC => (snd g) iB iH iW iC * u_branch3 iB iH iW iC)))))))).

Definition split_attention_2 (B C H W : nat)
    (logits : nat -> nat -> nat -> R) (branch1 : nat -> nat -> nat -> nat -> R) (branch2 : nat -> nat -> nat -> nat -> R)
    : (nat -> nat -> nat -> nat -> R) * ((nat -> nat -> nat -> nat -> R) -> (nat -> nat -> nat -> R) * (nat -> nat -> nat -> nat -> R) * (nat -> nat -> nat -> nat -> R)) :=
  let v1 := fun iB iC : nat => (maximum 2 (fun i2 => (logits iB iC i2))) in
  let v2 := fun iB iC i2 : nat => (logits iB iC i2) - (v1 iB iC) in
  let v3 := fun iB iC i2 : nat => exp (v2 iB iC i2) in
  let v4 := fun iB iC : nat => (sum 2 (fun i2 => (v3 iB iC i2))) in
  let v5 := fun iB iC i2 : nat => (v3 iB iC i2) / (v4 iB iC) in
  let v6 := fun iB iH iW iC : nat => (v5 iB iC 0%nat) * (branch1 iB iH iW iC) in
  let v7 := fun iB iH iW iC : nat => (v5 iB iC 1%nat) * (branch2 iB iH iW iC) in
  let v8 := fun iB iH iW iC : nat => (v6 iB iH iW iC) + (v7 iB iH iW iC) in
  (fun iB iH iW iC : nat => (v8 iB iH iW iC),
   fun dy : nat -> nat -> nat -> nat -> R =>
     let v9 := fun iB iH iW iC : nat => (dy iB iH iW iC) * (branch1 iB iH iW iC) in
     let v10 := fun iB iH iC : nat => (sum W (fun iW => (v9 iB iH iW iC))) in
     let v11 := fun iB iC : nat => (sum H (fun iH => (v10 iB iH iC))) in
     let v12 := fun iB iH iW iC : nat => (dy iB iH iW iC) * (branch2 iB iH iW iC) in
     let v13 := fun iB iH iC : nat => (sum W (fun iW => (v12 iB iH iW iC))) in
     let v14 := fun iB iC : nat => (sum H (fun iH => (v13 iB iH iC))) in
     let v15 := fun iB iC i2 : nat => match i2 with 0%nat => (v11 iB iC) | _ => (v14 iB iC) end in
     let v16 := fun iB iC i2 : nat => (v5 iB iC i2) * (v15 iB iC i2) in
     let v17 := fun iB iC : nat => (sum 2 (fun i2 => (v16 iB iC i2))) in
     let v18 := fun iB iC i2 : nat => (v15 iB iC i2) - (v17 iB iC) in
     let v19 := fun iB iC i2 : nat => (v5 iB iC i2) * (v18 iB iC i2) in
     let v20 := fun iB iH iW iC : nat => (dy iB iH iW iC) * (v5 iB iC 0%nat) in
     let v21 := fun iB iH iW iC : nat => (dy iB iH iW iC) * (v5 iB iC 1%nat) in
     (fun iB iC i2 : nat => (v19 iB iC i2), fun iB iH iW iC : nat => (v20 iB iH iW iC), fun iB iH iW iC : nat => (v21 iB iH iW iC))).

Definition split_attention_2_is_correct : Prop :=
  forall (B C H W : nat)
    (logits : R -> nat -> nat -> nat -> R) (branch1 : R -> nat -> nat -> nat -> nat -> R) (branch2 : R -> nat -> nat -> nat -> nat -> R)
    (u_logits : nat -> nat -> nat -> R) (u_branch1 : nat -> nat -> nat -> nat -> R) (u_branch2 : nat -> nat -> nat -> nat -> R),
  (0 < B)%nat ->
  (0 < C)%nat ->
  (0 < H)%nat ->
  (0 < W)%nat ->
  (forall iB iC i2, is_derive (fun t => logits t iB iC i2) 0 (u_logits iB iC i2)) ->
  (forall iB iH iW iC, is_derive (fun t => branch1 t iB iH iW iC) 0 (u_branch1 iB iH iW iC)) ->
  (forall iB iH iW iC, is_derive (fun t => branch2 t iB iH iW iC) 0 (u_branch2 iB iH iW iC)) ->
  exists v : nat -> nat -> nat -> nat -> R,
  (forall iB iH iW iC, is_derive (fun t => fst (split_attention_2 B C H W (logits t) (branch1 t) (branch2 t)) iB iH iW iC) 0 (v iB iH iW iC)) /\
  forall dy : nat -> nat -> nat -> nat -> R,
  let g := snd (split_attention_2 B C H W (logits 0) (branch1 0) (branch2 0)) dy in
  (sum B (fun iB => (sum H (fun iH => (sum W (fun iW => (sum C (fun iC => dy iB iH iW iC * v iB iH iW iC)))))))) =
  (sum B (fun iB => (sum C (fun iC => (sum 2 (fun i2 => (fst (fst g)) iB iC i2 * u_logits iB iC i2)))))) +
  (sum B (fun iB => (sum H (fun iH => (sum W (fun iW => (sum C (fun iC => (snd (fst g)) iB iH iW iC * u_branch1 iB iH iW iC)))))))) +
  (sum B (fun iB => (sum H (fun iH => (sum W (fun iW => (sum C (fun iC => (snd g) iB iH iW iC * u_branch2 iB iH iW iC)))))))).

Definition split_attention_segments (B N S H W : nat)
    (logits : nat -> nat -> nat -> nat -> R) (branch1 : nat -> nat -> nat -> nat -> nat -> R) (branch2 : nat -> nat -> nat -> nat -> nat -> R) (branch3 : nat -> nat -> nat -> nat -> nat -> R)
    : (nat -> nat -> nat -> nat -> nat -> R) * ((nat -> nat -> nat -> nat -> nat -> R) -> (nat -> nat -> nat -> nat -> R) * (nat -> nat -> nat -> nat -> nat -> R) * (nat -> nat -> nat -> nat -> nat -> R) * (nat -> nat -> nat -> nat -> nat -> R)) :=
  let v1 := fun iB iN iS : nat => (maximum 3 (fun i3 => (logits iB iN iS i3))) in
  let v2 := fun iB iN iS i3 : nat => (logits iB iN iS i3) - (v1 iB iN iS) in
  let v3 := fun iB iN iS i3 : nat => exp (v2 iB iN iS i3) in
  let v4 := fun iB iN iS : nat => (sum 3 (fun i3 => (v3 iB iN iS i3))) in
  let v5 := fun iB iN iS i3 : nat => (v3 iB iN iS i3) / (v4 iB iN iS) in
  let v6 := fun iB iH iW iN iS : nat => (v5 iB iN iS 0%nat) * (branch1 iB iH iW iN iS) in
  let v7 := fun iB iH iW iN iS : nat => (v5 iB iN iS 1%nat) * (branch2 iB iH iW iN iS) in
  let v8 := fun iB iH iW iN iS : nat => (v6 iB iH iW iN iS) + (v7 iB iH iW iN iS) in
  let v9 := fun iB iH iW iN iS : nat => (v5 iB iN iS 2%nat) * (branch3 iB iH iW iN iS) in
  let v10 := fun iB iH iW iN iS : nat => (v8 iB iH iW iN iS) + (v9 iB iH iW iN iS) in
  (fun iB iH iW iN iS : nat => (v10 iB iH iW iN iS),
   fun dy : nat -> nat -> nat -> nat -> nat -> R =>
     let v11 := fun iB iH iW iN iS : nat => (dy iB iH iW iN iS) * (branch1 iB iH iW iN iS) in
     let v12 := fun iB iH iN iS : nat => (sum W (fun iW => (v11 iB iH iW iN iS))) in
     let v13 := fun iB iN iS : nat => (sum H (fun iH => (v12 iB iH iN iS))) in
     let v14 := fun iB iH iW iN iS : nat => (dy iB iH iW iN iS) * (branch2 iB iH iW iN iS) in
     let v15 := fun iB iH iN iS : nat => (sum W (fun iW => (v14 iB iH iW iN iS))) in
     let v16 := fun iB iN iS : nat => (sum H (fun iH => (v15 iB iH iN iS))) in
     let v17 := fun iB iH iW iN iS : nat => (dy iB iH iW iN iS) * (branch3 iB iH iW iN iS) in
     let v18 := fun iB iH iN iS : nat => (sum W (fun iW => (v17 iB iH iW iN iS))) in
     let v19 := fun iB iN iS : nat => (sum H (fun iH => (v18 iB iH iN iS))) in
     let v20 := fun iB iN iS i3 : nat => match i3 with 0%nat => (v13 iB iN iS) | 1%nat => (v16 iB iN iS) | _ => (v19 iB iN iS) end in
     let v21 := fun iB iN iS i3 : nat => (v5 iB iN iS i3) * (v20 iB iN iS i3) in
     let v22 := fun iB iN iS : nat => (sum 3 (fun i3 => (v21 iB iN iS i3))) in
     let v23 := fun iB iN iS i3 : nat => (v20 iB iN iS i3) - (v22 iB iN iS) in
     let v24 := fun iB iN iS i3 : nat => (v5 iB iN iS i3) * (v23 iB iN iS i3) in
     let v25 := fun iB iH iW iN iS : nat => (dy iB iH iW iN iS) * (v5 iB iN iS 0%nat) in
     let v26 := fun iB iH iW iN iS : nat => (dy iB iH iW iN iS) * (v5 iB iN iS 1%nat) in
     let v27 := fun iB iH iW iN iS : nat => (dy iB iH iW iN iS) * (v5 iB iN iS 2%nat) in
     (fun iB iN iS i3 : nat => (v24 iB iN iS i3), fun iB iH iW iN iS : nat => (v25 iB iH iW iN iS), fun iB iH iW iN iS : nat => (v26 iB iH iW iN iS), fun iB iH iW iN iS : nat => (v27 iB iH iW iN iS))).

Definition split_attention_segments_is_correct : Prop :=
  forall (B N S H W : nat)
    (logits : R -> nat -> nat -> nat -> nat -> R) (branch1 : R -> nat -> nat -> nat -> nat -> nat -> R) (branch2 : R -> nat -> nat -> nat -> nat -> nat -> R) (branch3 : R -> nat -> nat -> nat -> nat -> nat -> R)
    (u_logits : nat -> nat -> nat -> nat -> R) (u_branch1 : nat -> nat -> nat -> nat -> nat -> R) (u_branch2 : nat -> nat -> nat -> nat -> nat -> R) (u_branch3 : nat -> nat -> nat -> nat -> nat -> R),
  (0 < B)%nat ->
  (0 < N)%nat ->
  (0 < S)%nat ->
  (0 < H)%nat ->
  (0 < W)%nat ->
  (forall iB iN iS i3, is_derive (fun t => logits t iB iN iS i3) 0 (u_logits iB iN iS i3)) ->
  (forall iB iH iW iN iS, is_derive (fun t => branch1 t iB iH iW iN iS) 0 (u_branch1 iB iH iW iN iS)) ->
  (forall iB iH iW iN iS, is_derive (fun t => branch2 t iB iH iW iN iS) 0 (u_branch2 iB iH iW iN iS)) ->
  (forall iB iH iW iN iS, is_derive (fun t => branch3 t iB iH iW iN iS) 0 (u_branch3 iB iH iW iN iS)) ->
  exists v : nat -> nat -> nat -> nat -> nat -> R,
  (forall iB iH iW iN iS, is_derive (fun t => fst (split_attention_segments B N S H W (logits t) (branch1 t) (branch2 t) (branch3 t)) iB iH iW iN iS) 0 (v iB iH iW iN iS)) /\
  forall dy : nat -> nat -> nat -> nat -> nat -> R,
  let g := snd (split_attention_segments B N S H W (logits 0) (branch1 0) (branch2 0) (branch3 0)) dy in
  (sum B (fun iB => (sum H (fun iH => (sum W (fun iW => (sum N (fun iN => (sum S (fun iS => dy iB iH iW iN iS * v iB iH iW iN iS)))))))))) =
  (sum B (fun iB => (sum N (fun iN => (sum S (fun iS => (sum 3 (fun i3 => (fst (fst (fst g))) iB iN iS i3 * u_logits iB iN iS i3)))))))) +
  (sum B (fun iB => (sum H (fun iH => (sum W (fun iW => (sum N (fun iN => (sum S (fun iS => (snd (fst (fst g))) iB iH iW iN iS * u_branch1 iB iH iW iN iS)))))))))) +
  (sum B (fun iB => (sum H (fun iH => (sum W (fun iW => (sum N (fun iN => (sum S (fun iS => (snd (fst g)) iB iH iW iN iS * u_branch2 iB iH iW iN iS)))))))))) +
  (sum B (fun iB => (sum H (fun iH => (sum W (fun iW => (sum N (fun iN => (sum S (fun iS => (snd g) iB iH iW iN iS * u_branch3 iB iH iW iN iS)))))))))).
