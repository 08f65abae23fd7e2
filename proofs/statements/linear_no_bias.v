(* Written by proofs/statements.py from vipnp/ops/linear_no_bias.py; do not edit. *)
From Coq Require Import Reals.
From Coquelicot Require Import Coquelicot.
From Proofs Require Import Arrays.
Open Scope R_scope.

Definition linear_no_bias (B H W C K : nat)
    (x : nat -> nat -> nat -> nat -> R) (weight : nat -> nat -> R)
    : (nat -> nat -> nat -> nat -> R) * ((nat -> nat -> nat -> nat -> R) -> (nat -> nat -> nat -> nat -> R) * (nat -> nat -> R)) :=
  let v1 := fun iB iH iW iK : nat => (sum C (fun iC => (x iB iH iW iC) * (weight iK iC))) in
  (fun iB iH iW iK : nat => (v1 iB iH iW iK),
   fun dy : nat -> nat -> nat -> nat -> R =>
     let v2 := fun iB iH iW iC : nat => (sum K (fun iK => (dy iB iH iW iK) * (weight iK iC))) in
     let v3 := fun iK iC : nat => (sum B (fun iB => (sum H (fun iH => (sum W (fun iW => (dy iB iH iW iK) * (x iB iH iW iC))))))) in
     (fun iB iH iW iC : nat => (v2 iB iH iW iC), fun iK iC : nat => (v3 iK iC))).

Definition linear_no_bias_is_correct : Prop :=
  forall (B H W C K : nat)
    (x : R -> nat -> nat -> nat -> nat -> R) (weight : R -> nat -> nat -> R)
    (u_x : nat -> nat -> nat -> nat -> R) (u_weight : nat -> nat -> R),
  (0 < B)%nat ->
  (0 < H)%nat ->
  (0 < W)%nat ->
  (0 < C)%nat ->
  (0 < K)%nat ->
  (forall iB iH iW iC, is_derive (fun t => x t iB iH iW iC) 0 (u_x iB iH iW iC)) ->
  (forall iK iC, is_derive (fun t => weight t iK iC) 0 (u_weight iK iC)) ->
  exists v : nat -> nat -> nat -> nat -> R,
  (forall iB iH iW iK, is_derive (fun t => fst (linear_no_bias B H W C K (x t) (weight t)) iB iH iW iK) 0 (v iB iH iW iK)) /\
  forall dy : nat -> nat -> nat -> nat -> R,
  let g := snd (linear_no_bias B H W C K (x 0) (weight 0)) dy in
  (sum B (fun iB => (sum H (fun iH => (sum W (fun iW => (sum K (fun iK => dy iB iH iW iK * v iB iH iW iK)))))))) =
  (sum B (fun iB => (sum H (fun iH => (sum W (fun iW => (sum C (fun iC => (fst g) iB iH iW iC * u_x iB iH iW iC)))))))) +
  (sum K (fun iK => (sum C (fun iC => (snd g) iK iC * u_weight iK iC)))).

Definition linear_no_bias_rows (M C K : nat)
    (x : nat -> nat -> R) (weight : nat -> nat -> R)
    : (nat -> nat -> R) * ((nat -> nat -> R) -> (nat -> nat -> R) * (nat -> nat -> R)) :=
  let v1 := fun iM iK : nat => (sum C (fun iC => (x iM iC) * (weight iK iC))) in
  (fun iM iK : nat => (v1 iM iK),
   fun dy : nat -> nat -> R =>
     let v2 := fun iM iC : nat => (sum K (fun iK => (dy iM iK) * (weight iK iC))) in
     let v3 := fun iK iC : nat => (sum M (fun iM => (dy iM iK) * (x iM iC))) in
     (fun iM iC : nat => (v2 iM iC), fun iK iC : nat => (v3 iK iC))).

Definition linear_no_bias_rows_is_correct : Prop :=
  forall (M C K : nat)
    (x : R -> nat -> nat -> R) (weight : R -> nat -> nat -> R)
    (u_x : nat -> nat -> R) (u_weight : nat -> nat -> R),
  (0 < M)%nat ->
  (0 < C)%nat ->
  (0 < K)%nat ->
  (forall iM iC, is_derive (fun t => x t iM iC) 0 (u_x iM iC)) ->
  (forall iK iC, is_derive (fun t => weight t iK iC) 0 (u_weight iK iC)) ->
  exists v : nat -> nat -> R,
  (forall iM iK, is_derive (fun t => fst (linear_no_bias_rows M C K (x t) (weight t)) iM iK) 0 (v iM iK)) /\
  forall dy : nat -> nat -> R,
  let g := snd (linear_no_bias_rows M C K (x 0) (weight 0)) dy in
  (sum M (fun iM => (sum K (fun iK => dy iM iK * v iM iK)))) =
  (sum M (fun iM => (sum C (fun iC => (fst g) iM iC * u_x iM iC)))) +
  (sum K (fun iK => (sum C (fun iC => (snd g) iK iC * u_weight iK iC)))).

Definition linear_no_bias_plane (B N S H W K T : nat)
    (x : nat -> nat -> nat -> nat -> nat -> R) (weight : nat -> nat -> nat -> nat -> R)
    : (nat -> nat -> nat -> nat -> nat -> R) * ((nat -> nat -> nat -> nat -> nat -> R) -> (nat -> nat -> nat -> nat -> nat -> R) * (nat -> nat -> nat -> nat -> R)) :=
  let v1 := fun iB iN iS iK iT : nat => (sum H (fun iH => (sum W (fun iW => (x iB iN iS iH iW) * (weight iK iT iH iW))))) in
  (fun iB iN iS iK iT : nat => (v1 iB iN iS iK iT),
   fun dy : nat -> nat -> nat -> nat -> nat -> R =>
     let v2 := fun iB iN iS iH iW : nat => (sum K (fun iK => (sum T (fun iT => (dy iB iN iS iK iT) * (weight iK iT iH iW))))) in
     let v3 := fun iK iT iH iW : nat => (sum B (fun iB => (sum N (fun iN => (sum S (fun iS => (dy iB iN iS iK iT) * (x iB iN iS iH iW))))))) in
     (fun iB iN iS iH iW : nat => (v2 iB iN iS iH iW), fun iK iT iH iW : nat => (v3 iK iT iH iW))).

Definition linear_no_bias_plane_is_correct : Prop :=
  forall (B N S H W K T : nat)
    (x : R -> nat -> nat -> nat -> nat -> nat -> R) (weight : R -> nat -> nat -> nat -> nat -> R)
    (u_x : nat -> nat -> nat -> nat -> nat -> R) (u_weight : nat -> nat -> nat -> nat -> R),
  (0 < B)%nat ->
  (0 < N)%nat ->
  (0 < S)%nat ->
  (0 < H)%nat ->
  (0 < W)%nat ->
  (0 < K)%nat ->
  (0 < T)%nat ->
  (forall iB iN iS iH iW, is_derive (fun t => x t iB iN iS iH iW) 0 (u_x iB iN iS iH iW)) ->
  (forall iK iT iH iW, is_derive (fun t => weight t iK iT iH iW) 0 (u_weight iK iT iH iW)) ->
  exists v : nat -> nat -> nat -> nat -> nat -> R,
  (forall iB iN iS iK iT, is_derive (fun t => fst (linear_no_bias_plane B N S H W K T (x t) (weight t)) iB iN iS iK iT) 0 (v iB iN iS iK iT)) /\
  forall dy : nat -> nat -> nat -> nat -> nat -> R,
  let g := snd (linear_no_bias_plane B N S H W K T (x 0) (weight 0)) dy in
  (sum B (fun iB => (sum N (fun iN => (sum S (fun iS => (sum K (fun iK => (sum T (fun iT => dy iB iN iS iK iT * v iB iN iS iK iT)))))))))) =
  (sum B (fun iB => (sum N (fun iN => (sum S (fun iS => (sum H (fun iH => (sum W (fun iW => (fst g) iB iN iS iH iW * u_x iB iN iS iH iW)))))))))) +
  (sum K (fun iK => (sum T (fun iT => (sum H (fun iH => (sum W (fun iW => (snd g) iK iT iH iW * u_weight iK iT iH iW)))))))).

Definition linear_no_bias_segments (B H W N S K T : nat)
    (x : nat -> nat -> nat -> nat -> nat -> R) (weight : nat -> nat -> nat -> nat -> R)
    : (nat -> nat -> nat -> nat -> nat -> R) * ((nat -> nat -> nat -> nat -> nat -> R) -> (nat -> nat -> nat -> nat -> nat -> R) * (nat -> nat -> nat -> nat -> R)) :=
  let v1 := fun iB iH iW iK iT : nat => (sum N (fun iN => (sum S (fun iS => (x iB iH iW iN iS) * (weight iK iT iN iS))))) in
  (fun iB iH iW iK iT : nat => (v1 iB iH iW iK iT),
   fun dy : nat -> nat -> nat -> nat -> nat -> R =>
     let v2 := fun iB iH iW iN iS : nat => (sum K (fun iK => (sum T (fun iT => (dy iB iH iW iK iT) * (weight iK iT iN iS))))) in
     let v3 := fun iK iT iN iS : nat => (sum B (fun iB => (sum H (fun iH => (sum W (fun iW => (dy iB iH iW iK iT) * (x iB iH iW iN iS))))))) in
     (fun iB iH iW iN iS : nat => (v2 iB iH iW iN iS), fun iK iT iN iS : nat => (v3 iK iT iN iS))).

Definition linear_no_bias_segments_is_correct : Prop :=
  forall (B H W N S K T : nat)
    (x : R -> nat -> nat -> nat -> nat -> nat -> R) (weight : R -> nat -> nat -> nat -> nat -> R)
    (u_x : nat -> nat -> nat -> nat -> nat -> R) (u_weight : nat -> nat -> nat -> nat -> R),
  (0 < B)%nat ->
  (0 < H)%nat ->
  (0 < W)%nat ->
  (0 < N)%nat ->
  (0 < S)%nat ->
  (0 < K)%nat ->
  (0 < T)%nat ->
  (forall iB iH iW iN iS, is_derive (fun t => x t iB iH iW iN iS) 0 (u_x iB iH iW iN iS)) ->
  (forall iK iT iN iS, is_derive (fun t => weight t iK iT iN iS) 0 (u_weight iK iT iN iS)) ->
  exists v : nat -> nat -> nat -> nat -> nat -> R,
  (forall iB iH iW iK iT, is_derive (fun t => fst (linear_no_bias_segments B H W N S K T (x t) (weight t)) iB iH iW iK iT) 0 (v iB iH iW iK iT)) /\
  forall dy : nat -> nat -> nat -> nat -> nat -> R,
  let g := snd (linear_no_bias_segments B H W N S K T (x 0) (weight 0)) dy in
  (sum B (fun iB => (sum H (fun iH => (sum W (fun iW => (sum K (fun iK => (sum T (fun iT => dy iB iH iW iK iT * v iB iH iW iK iT)))))))))) =
  (sum B (fun iB => (sum H (fun iH => (sum W (fun iW => (sum N (fun iN => (sum S (fun iS => (fst g) iB iH iW iN iS * u_x iB iH iW iN iS)))))))))) +
  (sum K (fun iK => (sum T (fun iT => (sum N (fun iN => (sum S (fun iS => (snd g) iK iT iN iS * u_weight iK iT iN iS)))))))).
