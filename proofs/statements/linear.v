(* Written by proofs/statements.py from vipnp/ops/linear.py; do not edit. *)
From Coq Require Import Reals.
From Coquelicot Require Import Coquelicot.
From Proofs Require Import Arrays.
Open Scope R_scope.

Definition linear (B H W C K : nat)
    (x : nat -> nat -> nat -> nat -> R) (weight : nat -> nat -> R) (bias : nat -> R)
    : (nat -> nat -> nat -> nat -> R) * ((nat -> nat -> nat -> nat -> R) -> (nat -> nat -> nat -> nat -> R) * (nat -> nat -> R) * (nat -> R)) :=
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
    (x : nat -> nat -> R) (weight : nat -> nat -> R) (bias : nat -> R)
    : (nat -> nat -> R) * ((nat -> nat -> R) -> (nat -> nat -> R) * (nat -> nat -> R) * (nat -> R)) :=
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

Definition linear_segments (B H W N S K T : nat)
    (x : nat -> nat -> nat -> nat -> nat -> R) (weight : nat -> nat -> nat -> nat -> R) (bias : nat -> nat -> R)
    : (nat -> nat -> nat -> nat -> nat -> R) * ((nat -> nat -> nat -> nat -> nat -> R) -> (nat -> nat -> nat -> nat -> nat -> R) * (nat -> nat -> nat -> nat -> R) * (nat -> nat -> R)) :=
  let v1 := fun iB iH iW iK iT : nat => (sum N (fun iN => (sum S (fun iS => (x iB iH iW iN iS) * (weight iK iT iN iS))))) in
  let v2 := fun iB iH iW iK iT : nat => (v1 iB iH iW iK iT) + (bias iK iT) in
  (fun iB iH iW iK iT : nat => (v2 iB iH iW iK iT),
   fun dy : nat -> nat -> nat -> nat -> nat -> R =>
     let v3 := fun iB iH iW iN iS : nat => (sum K (fun iK => (sum T (fun iT => (dy iB iH iW iK iT) * (weight iK iT iN iS))))) in
     let v4 := fun iK iT iN iS : nat => (sum B (fun iB => (sum H (fun iH => (sum W (fun iW => (dy iB iH iW iK iT) * (x iB iH iW iN iS))))))) in
     let v5 := fun iK iT : nat => (sum B (fun iB => (sum H (fun iH => (sum W (fun iW => (dy iB iH iW iK iT))))))) in
     (fun iB iH iW iN iS : nat => (v3 iB iH iW iN iS), fun iK iT iN iS : nat => (v4 iK iT iN iS), fun iK iT : nat => (v5 iK iT))).

Definition linear_segments_is_correct : Prop :=
  forall (B H W N S K T : nat)
    (x : R -> nat -> nat -> nat -> nat -> nat -> R) (weight : R -> nat -> nat -> nat -> nat -> R) (bias : R -> nat -> nat -> R)
    (u_x : nat -> nat -> nat -> nat -> nat -> R) (u_weight : nat -> nat -> nat -> nat -> R) (u_bias : nat -> nat -> R),
  (0 < B)%nat ->
  (0 < H)%nat ->
  (0 < W)%nat ->
  (0 < N)%nat ->
  (0 < S)%nat ->
  (0 < K)%nat ->
  (0 < T)%nat ->
  (forall iB iH iW iN iS, is_derive (fun t => x t iB iH iW iN iS) 0 (u_x iB iH iW iN iS)) ->
  (forall iK iT iN iS, is_derive (fun t => weight t iK iT iN iS) 0 (u_weight iK iT iN iS)) ->
  (forall iK iT, is_derive (fun t => bias t iK iT) 0 (u_bias iK iT)) ->
  exists v : nat -> nat -> nat -> nat -> nat -> R,
  (forall iB iH iW iK iT, is_derive (fun t => fst (linear_segments B H W N S K T (x t) (weight t) (bias t)) iB iH iW iK iT) 0 (v iB iH iW iK iT)) /\
  forall dy : nat -> nat -> nat -> nat -> nat -> R,
  let g := snd (linear_segments B H W N S K T (x 0) (weight 0) (bias 0)) dy in
  (sum B (fun iB => (sum H (fun iH => (sum W (fun iW => (sum K (fun iK => (sum T (fun iT => dy iB iH iW iK iT * v iB iH iW iK iT)))))))))) =
  (sum B (fun iB => (sum H (fun iH => (sum W (fun iW => (sum N (fun iN => (sum S (fun iS => (fst (fst g)) iB iH iW iN iS * u_x iB iH iW iN iS)))))))))) +
  (sum K (fun iK => (sum T (fun iT => (sum N (fun iN => (sum S (fun iS => (snd (fst g)) iK iT iN iS * u_weight iK iT iN iS)))))))) +
  (sum K (fun iK => (sum T (fun iT => (snd g) iK iT * u_bias iK iT)))).

Definition linear_from_segments (B H W N S K : nat)
    (x : nat -> nat -> nat -> nat -> nat -> R) (weight : nat -> nat -> nat -> R) (bias : nat -> R)
    : (nat -> nat -> nat -> nat -> R) * ((nat -> nat -> nat -> nat -> R) -> (nat -> nat -> nat -> nat -> nat -> R) * (nat -> nat -> nat -> R) * (nat -> R)) :=
  let v1 := fun iB iH iW iK : nat => (sum N (fun iN => (sum S (fun iS => (x iB iH iW iN iS) * (weight iK iN iS))))) in
  let v2 := fun iB iH iW iK : nat => (v1 iB iH iW iK) + (bias iK) in
  (fun iB iH iW iK : nat => (v2 iB iH iW iK),
   fun dy : nat -> nat -> nat -> nat -> R =>
     let v3 := fun iB iH iW iN iS : nat => (sum K (fun iK => (dy iB iH iW iK) * (weight iK iN iS))) in
     let v4 := fun iK iN iS : nat => (sum B (fun iB => (sum H (fun iH => (sum W (fun iW => (dy iB iH iW iK) * (x iB iH iW iN iS))))))) in
     let v5 := fun iK : nat => (sum B (fun iB => (sum H (fun iH => (sum W (fun iW => (dy iB iH iW iK))))))) in
     (fun iB iH iW iN iS : nat => (v3 iB iH iW iN iS), fun iK iN iS : nat => (v4 iK iN iS), fun iK : nat => (v5 iK))).

Definition linear_from_segments_is_correct : Prop :=
  forall (B H W N S K : nat)
    (x : R -> nat -> nat -> nat -> nat -> nat -> R) (weight : R -> nat -> nat -> nat -> R) (bias : R -> nat -> R)
    (u_x : nat -> nat -> nat -> nat -> nat -> R) (u_weight : nat -> nat -> nat -> R) (u_bias : nat -> R),
  (0 < B)%nat ->
  (0 < H)%nat ->
  (0 < W)%nat ->
  (0 < N)%nat ->
  (0 < S)%nat ->
  (0 < K)%nat ->
  (forall iB iH iW iN iS, is_derive (fun t => x t iB iH iW iN iS) 0 (u_x iB iH iW iN iS)) ->
  (forall iK iN iS, is_derive (fun t => weight t iK iN iS) 0 (u_weight iK iN iS)) ->
  (forall iK, is_derive (fun t => bias t iK) 0 (u_bias iK)) ->
  exists v : nat -> nat -> nat -> nat -> R,
  (forall iB iH iW iK, is_derive (fun t => fst (linear_from_segments B H W N S K (x t) (weight t) (bias t)) iB iH iW iK) 0 (v iB iH iW iK)) /\
  forall dy : nat -> nat -> nat -> nat -> R,
  let g := snd (linear_from_segments B H W N S K (x 0) (weight 0) (bias 0)) dy in
  (sum B (fun iB => (sum H (fun iH => (sum W (fun iW => (sum K (fun iK => dy iB iH iW iK * v iB iH iW iK)))))))) =
  (sum B (fun iB => (sum H (fun iH => (sum W (fun iW => (sum N (fun iN => (sum S (fun iS => (fst (fst g)) iB iH iW iN iS * u_x iB iH iW iN iS)))))))))) +
  (sum K (fun iK => (sum N (fun iN => (sum S (fun iS => (snd (fst g)) iK iN iS * u_weight iK iN iS)))))) +
  (sum K (fun iK => (snd g) iK * u_bias iK)).

Definition linear_to_segments (B H W C K T : nat)
    (x : nat -> nat -> nat -> nat -> R) (weight : nat -> nat -> nat -> R) (bias : nat -> nat -> R)
    : (nat -> nat -> nat -> nat -> nat -> R) * ((nat -> nat -> nat -> nat -> nat -> R) -> (nat -> nat -> nat -> nat -> R) * (nat -> nat -> nat -> R) * (nat -> nat -> R)) :=
  let v1 := fun iB iH iW iK iT : nat => (sum C (fun iC => (x iB iH iW iC) * (weight iK iT iC))) in
  let v2 := fun iB iH iW iK iT : nat => (v1 iB iH iW iK iT) + (bias iK iT) in
  (fun iB iH iW iK iT : nat => (v2 iB iH iW iK iT),
   fun dy : nat -> nat -> nat -> nat -> nat -> R =>
     let v3 := fun iB iH iW iC : nat => (sum K (fun iK => (sum T (fun iT => (dy iB iH iW iK iT) * (weight iK iT iC))))) in
     let v4 := fun iK iT iC : nat => (sum B (fun iB => (sum H (fun iH => (sum W (fun iW => (dy iB iH iW iK iT) * (x iB iH iW iC))))))) in
     let v5 := fun iK iT : nat => (sum B (fun iB => (sum H (fun iH => (sum W (fun iW => (dy iB iH iW iK iT))))))) in
     (fun iB iH iW iC : nat => (v3 iB iH iW iC), fun iK iT iC : nat => (v4 iK iT iC), fun iK iT : nat => (v5 iK iT))).

Definition linear_to_segments_is_correct : Prop :=
  forall (B H W C K T : nat)
    (x : R -> nat -> nat -> nat -> nat -> R) (weight : R -> nat -> nat -> nat -> R) (bias : R -> nat -> nat -> R)
    (u_x : nat -> nat -> nat -> nat -> R) (u_weight : nat -> nat -> nat -> R) (u_bias : nat -> nat -> R),
  (0 < B)%nat ->
  (0 < H)%nat ->
  (0 < W)%nat ->
  (0 < C)%nat ->
  (0 < K)%nat ->
  (0 < T)%nat ->
  (forall iB iH iW iC, is_derive (fun t => x t iB iH iW iC) 0 (u_x iB iH iW iC)) ->
  (forall iK iT iC, is_derive (fun t => weight t iK iT iC) 0 (u_weight iK iT iC)) ->
  (forall iK iT, is_derive (fun t => bias t iK iT) 0 (u_bias iK iT)) ->
  exists v : nat -> nat -> nat -> nat -> nat -> R,
  (forall iB iH iW iK iT, is_derive (fun t => fst (linear_to_segments B H W C K T (x t) (weight t) (bias t)) iB iH iW iK iT) 0 (v iB iH iW iK iT)) /\
  forall dy : nat -> nat -> nat -> nat -> nat -> R,
  let g := snd (linear_to_segments B H W C K T (x 0) (weight 0) (bias 0)) dy in
  (sum B (fun iB => (sum H (fun iH => (sum W (fun iW => (sum K (fun iK => (sum T (fun iT => dy iB iH iW iK iT * v iB iH iW iK iT)))))))))) =
  (sum B (fun iB => (sum H (fun iH => (sum W (fun iW => (sum C (fun iC => (fst (fst g)) iB iH iW iC * u_x iB iH iW iC)))))))) +
  (sum K (fun iK => (sum T (fun iT => (sum C (fun iC => (snd (fst g)) iK iT iC * u_weight iK iT iC)))))) +
  (sum K (fun iK => (sum T (fun iT => (snd g) iK iT * u_bias iK iT)))).

Definition linear_from_segment_rows (M N S K : nat)
    (x : nat -> nat -> nat -> R) (weight : nat -> nat -> nat -> R) (bias : nat -> R)
    : (nat -> nat -> R) * ((nat -> nat -> R) -> (nat -> nat -> nat -> R) * (nat -> nat -> nat -> R) * (nat -> R)) :=
  let v1 := fun iM iK : nat => (sum N (fun iN => (sum S (fun iS => (x iM iN iS) * (weight iK iN iS))))) in
  let v2 := fun iM iK : nat => (v1 iM iK) + (bias iK) in
  (fun iM iK : nat => (v2 iM iK),
   fun dy : nat -> nat -> R =>
     let v3 := fun iM iN iS : nat => (sum K (fun iK => (dy iM iK) * (weight iK iN iS))) in
     let v4 := fun iK iN iS : nat => (sum M (fun iM => (dy iM iK) * (x iM iN iS))) in
     let v5 := fun iK : nat => (sum M (fun iM => (dy iM iK))) in
     (fun iM iN iS : nat => (v3 iM iN iS), fun iK iN iS : nat => (v4 iK iN iS), fun iK : nat => (v5 iK))).

Definition linear_from_segment_rows_is_correct : Prop :=
  forall (M N S K : nat)
    (x : R -> nat -> nat -> nat -> R) (weight : R -> nat -> nat -> nat -> R) (bias : R -> nat -> R)
    (u_x : nat -> nat -> nat -> R) (u_weight : nat -> nat -> nat -> R) (u_bias : nat -> R),
  (0 < M)%nat ->
  (0 < N)%nat ->
  (0 < S)%nat ->
  (0 < K)%nat ->
  (forall iM iN iS, is_derive (fun t => x t iM iN iS) 0 (u_x iM iN iS)) ->
  (forall iK iN iS, is_derive (fun t => weight t iK iN iS) 0 (u_weight iK iN iS)) ->
  (forall iK, is_derive (fun t => bias t iK) 0 (u_bias iK)) ->
  exists v : nat -> nat -> R,
  (forall iM iK, is_derive (fun t => fst (linear_from_segment_rows M N S K (x t) (weight t) (bias t)) iM iK) 0 (v iM iK)) /\
  forall dy : nat -> nat -> R,
  let g := snd (linear_from_segment_rows M N S K (x 0) (weight 0) (bias 0)) dy in
  (sum M (fun iM => (sum K (fun iK => dy iM iK * v iM iK)))) =
  (sum M (fun iM => (sum N (fun iN => (sum S (fun iS => (fst (fst g)) iM iN iS * u_x iM iN iS)))))) +
  (sum K (fun iK => (sum N (fun iN => (sum S (fun iS => (snd (fst g)) iK iN iS * u_weight iK iN iS)))))) +
  (sum K (fun iK => (snd g) iK * u_bias iK)).

Definition linear_to_segment_rows (M C K T U : nat)
    (x : nat -> nat -> R) (weight : nat -> nat -> nat -> nat -> R) (bias : nat -> nat -> nat -> R)
    : (nat -> nat -> nat -> nat -> R) * ((nat -> nat -> nat -> nat -> R) -> (nat -> nat -> R) * (nat -> nat -> nat -> nat -> R) * (nat -> nat -> nat -> R)) :=
  let v1 := fun iM iK iT iU : nat => (sum C (fun iC => (x iM iC) * (weight iK iT iU iC))) in
  let v2 := fun iM iK iT iU : nat => (v1 iM iK iT iU) + (bias iK iT iU) in
  (fun iM iK iT iU : nat => (v2 iM iK iT iU),
   fun dy : nat -> nat -> nat -> nat -> R =>
     let v3 := fun iM iC : nat => (sum K (fun iK => (sum T (fun iT => (sum U (fun iU => (dy iM iK iT iU) * (weight iK iT iU iC))))))) in
     let v4 := fun iK iT iU iC : nat => (sum M (fun iM => (dy iM iK iT iU) * (x iM iC))) in
     let v5 := fun iK iT iU : nat => (sum M (fun iM => (dy iM iK iT iU))) in
     (fun iM iC : nat => (v3 iM iC), fun iK iT iU iC : nat => (v4 iK iT iU iC), fun iK iT iU : nat => (v5 iK iT iU))).

Definition linear_to_segment_rows_is_correct : Prop :=
  forall (M C K T U : nat)
    (x : R -> nat -> nat -> R) (weight : R -> nat -> nat -> nat -> nat -> R) (bias : R -> nat -> nat -> nat -> R)
    (u_x : nat -> nat -> R) (u_weight : nat -> nat -> nat -> nat -> R) (u_bias : nat -> nat -> nat -> R),
  (0 < M)%nat ->
  (0 < C)%nat ->
  (0 < K)%nat ->
  (0 < T)%nat ->
  (0 < U)%nat ->
  (forall iM iC, is_derive (fun t => x t iM iC) 0 (u_x iM iC)) ->
  (forall iK iT iU iC, is_derive (fun t => weight t iK iT iU iC) 0 (u_weight iK iT iU iC)) ->
  (forall iK iT iU, is_derive (fun t => bias t iK iT iU) 0 (u_bias iK iT iU)) ->
  exists v : nat -> nat -> nat -> nat -> R,
  (forall iM iK iT iU, is_derive (fun t => fst (linear_to_segment_rows M C K T U (x t) (weight t) (bias t)) iM iK iT iU) 0 (v iM iK iT iU)) /\
  forall dy : nat -> nat -> nat -> nat -> R,
  let g := snd (linear_to_segment_rows M C K T U (x 0) (weight 0) (bias 0)) dy in
  (sum M (fun iM => (sum K (fun iK => (sum T (fun iT => (sum U (fun iU => dy iM iK iT iU * v iM iK iT iU)))))))) =
  (sum M (fun iM => (sum C (fun iC => (fst (fst g)) iM iC * u_x iM iC)))) +
  (sum K (fun iK => (sum T (fun iT => (sum U (fun iU => (sum C (fun iC => (snd (fst g)) iK iT iU iC * u_weight iK iT iU iC)))))))) +
  (sum K (fun iK => (sum T (fun iT => (sum U (fun iU => (snd g) iK iT iU * u_bias iK iT iU)))))).
