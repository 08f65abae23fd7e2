(** What the network puts in a row, each as a function of its input and its parameters: their theorems are those of
    the ops and layers. *)
From Coq Require Import Reals.
From Proofs Require Import Spaces Runs Axes.
From Statements Require Import patch_embed layer_norm global_average_pool linear cross_entropy soft_cross_entropy.
From Statements Require Import dropout drop_path.
From Ops Require Import patch_embed layer_norm global_average_pool linear cross_entropy soft_cross_entropy.
From Layers Require Import downsample height_branch width_branch channel_branch plane_branch.
From Layers Require Import point_branch axial_height_branch axial_width_branch.
From Layers Require stage stage_sum.
Open Scope R_scope.

(** Coq nests tuples to the left, and spaces nest to the right. *)
Definition with_two (X P Q Y : space) (f : X -> P -> Q -> Y * (Y -> X * P * Q)) :
    (X ** P ** Q)%space -> result (X ** P ** Q) Y := fun p =>
  let r := f p.1 p.2.1 p.2.2 in (r.1, fun dy => let g := r.2 dy in (g.1.1, (g.1.2, g.2))).

(** * Ops *)

Definition embed B C h P w Q K :
    (array [B; C; h; P; w; Q] ** array [K; C; P; Q] ** array [K])%space -> result _ (array [B; h; w; K]) :=
  with_two (array [B; C; h; P; w; Q]) (array [K; C; P; Q]) (array [K]) (array [B; h; w; K]) (patch_embed B C h P w Q K).

Lemma embed_correct B C h P w Q K :
  (0 < B)%nat -> (0 < C)%nat -> (0 < h)%nat -> (0 < P)%nat -> (0 < w)%nat -> (0 < Q)%nat -> (0 < K)%nat ->
  correct (array [B; C; h; P; w; Q] ** array [K; C; P; Q] ** array [K]) (array [B; h; w; K]) (embed B C h P w Q K).
Proof.
  intros P_B P_C P_h P_P P_w P_Q P_K p u (M & M' & M'').
  destruct (patch_embed_correct B C h P w Q K (fun t => (p t).1) (fun t => (p t).2.1) (fun t => (p t).2.2)
    u.1 u.2.1 u.2.2 P_B P_C P_h P_P P_w P_Q P_K M M' M'') as [v [D A]].
  exists v. split; [exact D|]. intros dy. specialize (A dy). cbv zeta in A. rewrite Rplus_assoc in A. exact A.
Qed.

Definition merge B h P w C K :
    (array [B; h; P; w; P; C] ** array [K; C; P; P] ** array [K])%space -> result _ (array [B; h; w; K]) :=
  with_two (array [B; h; P; w; P; C]) (array [K; C; P; P]) (array [K]) (array [B; h; w; K]) (downsample B h P w C K).

Lemma merge_correct B h P w C K :
  (0 < B)%nat -> (0 < h)%nat -> (0 < P)%nat -> (0 < w)%nat -> (0 < C)%nat -> (0 < K)%nat ->
  correct (array [B; h; P; w; P; C] ** array [K; C; P; P] ** array [K]) (array [B; h; w; K]) (merge B h P w C K).
Proof.
  intros P_B P_h P_P P_w P_C P_K p u (M & M' & M'').
  destruct (downsample_correct B h P w C K (fun t => (p t).1) (fun t => (p t).2.1) (fun t => (p t).2.2)
    u.1 u.2.1 u.2.2 P_B P_h P_P P_w P_C P_K M M' M'') as [v [D A]].
  exists v. split; [exact D|]. intros dy. specialize (A dy). cbv zeta in A. rewrite Rplus_assoc in A. exact A.
Qed.

Definition norm B H W C eps :
    (array [B; H; W; C] ** array [C] ** array [C])%space -> result _ (array [B; H; W; C]) :=
  with_two (array [B; H; W; C]) (array [C]) (array [C]) (array [B; H; W; C]) (layer_norm B H W C eps).

Lemma norm_correct B H W C eps : (0 < B)%nat -> (0 < H)%nat -> (0 < W)%nat -> (0 < C)%nat -> 0 < eps ->
  correct (array [B; H; W; C] ** array [C] ** array [C]) (array [B; H; W; C]) (norm B H W C eps).
Proof.
  intros P_B P_H P_W P_C E p u (M & M' & M'').
  destruct (layer_norm_correct B H W C eps (fun t => (p t).1) (fun t => (p t).2.1) (fun t => (p t).2.2)
    u.1 u.2.1 u.2.2 P_B P_H P_W P_C E M M' M'') as [v [D A]].
  exists v. split; [exact D|]. intros dy. specialize (A dy). cbv zeta in A. rewrite Rplus_assoc in A. exact A.
Qed.

Definition head B C K : (array [B; C] ** array [K; C] ** array [K])%space -> result _ (array [B; K]) :=
  with_two (array [B; C]) (array [K; C]) (array [K]) (array [B; K]) (linear_rows B C K).

Lemma head_correct B C K : (0 < B)%nat -> (0 < C)%nat -> (0 < K)%nat ->
  correct (array [B; C] ** array [K; C] ** array [K]) (array [B; K]) (head B C K).
Proof.
  intros P_B P_C P_K p u (M & M' & M'').
  destruct (linear_rows_correct B C K (fun t => (p t).1) (fun t => (p t).2.1) (fun t => (p t).2.2)
    u.1 u.2.1 u.2.2 P_B P_C P_K M M' M'') as [v [D A]].
  exists v. split; [exact D|]. intros dy. specialize (A dy). cbv zeta in A. rewrite Rplus_assoc in A. exact A.
Qed.

Definition mean B H W C : array [B; H; W; C] -> result (array [B; H; W; C]) (array [B; C]) :=
  global_average_pool B H W C.

Lemma mean_correct B H W C : (0 < B)%nat -> (0 < H)%nat -> (0 < W)%nat -> (0 < C)%nat ->
  correct (array [B; H; W; C]) (array [B; C]) (mean B H W C).
Proof. intros P_B P_H P_W P_C x u M. exact (global_average_pool_correct B H W C x u P_B P_H P_W P_C M). Qed.

Definition of_labels B K label_smoothing labels : array [B; K] -> result (array [B; K]) (array []) :=
  cross_entropy B K label_smoothing labels.

Lemma of_labels_correct B K label_smoothing labels :
  (0 < B)%nat -> (0 < K)%nat -> (forall i, (labels i < K)%nat) ->
  correct (array [B; K]) (array []) (of_labels B K label_smoothing labels).
Proof. intros P_B P_K L x u M. exact (cross_entropy_correct B K label_smoothing labels x u P_B P_K L M). Qed.

Definition of_distributions B K targets : array [B; K] -> result (array [B; K]) (array []) :=
  soft_cross_entropy B K targets.

Lemma of_distributions_correct B K targets : (0 < B)%nat -> (0 < K)%nat ->
  correct (array [B; K]) (array []) (of_distributions B K targets).
Proof. intros P_B P_K x u M. exact (soft_cross_entropy_correct B K targets x u P_B P_K M). Qed.

(** * Between the patch embedding and the last LayerNorm *)

(** What may stand in each of the three places of a Permute-MLP: a function of x and of a weight of the shape
    (K*T, K*T), whose theorem holds. *)
Definition branch B H W N S K T : Type :=
  array [B; H; W; N; S] -> array [K; T; K; T] ->
  result (array [B; H; W; N; S] ** array [K; T; K; T]) (array [B; H; W; N; S]).

Definition branch_correct B H W N S K T (f : branch B H W N S K T) : Prop :=
  correct (array [B; H; W; N; S] ** array [K; T; K; T]) (array [B; H; W; N; S]) (fun p => f p.1 p.2).

(** All that there are; those that shift for any matrices. *)
Theorem branches_correct B H W N S :
  (0 < B)%nat -> (0 < H)%nat -> (0 < W)%nat -> (0 < N)%nat -> (0 < S)%nat ->
  branch_correct B H W N S H S (height_branch B H W N S) /\
  branch_correct B H W N S W S (width_branch B H W N S) /\
  branch_correct B H W N S N S (channel_branch B H W N S) /\
  branch_correct B H W N S H W (plane_branch B H W N S) /\
  forall (rows : array [N; H; H]) (columns : array [N; W; W]),
  branch_correct B H W N S N S (point_branch B H W N S rows columns) /\
  branch_correct B H W N S N S (axial_height_branch B H W N S rows columns) /\
  branch_correct B H W N S N S (axial_width_branch B H W N S rows columns).
Proof.
  intros P_B P_H P_W P_N P_S. repeat split; intros p u [M M'].
  - exact (height_branch_correct B H W N S _ _ u.1 u.2 P_B P_H P_W P_N P_S M M').
  - exact (width_branch_correct B H W N S _ _ u.1 u.2 P_B P_H P_W P_N P_S M M').
  - exact (channel_branch_correct B H W N S _ _ u.1 u.2 P_B P_H P_W P_N P_S M M').
  - exact (plane_branch_correct B H W N S _ _ u.1 u.2 P_B P_H P_W P_N P_S M M').
  - exact (point_branch_correct B H W N S rows columns _ _ u.1 u.2 P_B P_H P_W P_N P_S M M').
  - exact (axial_height_branch_correct B H W N S rows columns _ _ u.1 u.2 P_B P_H P_W P_N P_S M M').
  - exact (axial_width_branch_correct B H W N S rows columns _ _ u.1 u.2 P_B P_H P_W P_N P_S M M').
Qed.

(** As the theorems of the layers ask for it: with two curves. *)
Lemma two_arguments B H W N S K T (f : branch B H W N S K T) : branch_correct B H W N S K T f ->
  forall x w u_x u_w, moves (array [B; H; W; N; S]) x u_x -> moves (array [K; T; K; T]) w u_w ->
  exists v, moves (array [B; H; W; N; S]) (fun t => (f (x t) (w t)).1) v /\
  forall dy, let g := (f (x 0) (w 0)).2 dy in
  dot (array [B; H; W; N; S]) dy v = dot (array [B; H; W; N; S]) g.1 u_x + dot (array [K; T; K; T]) g.2 u_w.
Proof. intros C x w u_x u_w M M'. exact (C (fun t => (x t, w t)) (u_x, u_w) (conj M M')). Qed.

(** Where a block has no mask, vipnp/layers/masks.py does nothing: it is a block with a mask of ones at rate 0, because
    that does nothing either, forward or backward. *)
Theorem masks_left_out B H W N S D :
  (forall x dy b h w n s, let d := drop_path_segments B H W N S (fun _ => 1) 0 x in
   d.1 b h w n s = x b h w n s /\ d.2 dy b h w n s = dy b h w n s) /\
  (forall x dy b h w n s, let d := dropout_segments B H W N S (fun _ _ _ _ _ => 1) 0 x in
   d.1 b h w n s = x b h w n s /\ d.2 dy b h w n s = dy b h w n s) /\
  (forall x dy b h w k, let d := dropout B H W D (fun _ _ _ _ => 1) 0 x in
   d.1 b h w k = x b h w k /\ d.2 dy b h w k = dy b h w k).
Proof. repeat split; cbn; field. Qed.

(** The parameters of a block, of which proofs/layers/stage.v and stage_sum.v name the order. *)
Definition weighted N S M V K T L U D D2 : space :=
  Space stage.params (stage.dot_p N S M V K T L U D D2) stage.moves_p.
Definition summed N S M V K T L U D2 : space :=
  Space stage_sum.params (stage_sum.dot_p N S M V K T L U D2) stage_sum.moves_p.

(** Blocks, each at its own sizes, with its own branches and masks, and transitions; an axis may be read as two, or two
    as one. *)
Inductive part : forall X P Y : space, ((X ** P)%space -> result (X ** P) Y) -> Prop :=
| a_weighted_block : forall (B H W N S M V K T L U D D2 : nat) branch_h branch_w branch_c skip_lam
    attn_path attn_path_rate mlp_path mlp_path_rate proj proj_rate hidden hidden_rate out out_rate,
  (0 < B)%nat -> (0 < H)%nat -> (0 < W)%nat -> (0 < N)%nat -> (0 < S)%nat -> (0 < M)%nat -> (0 < V)%nat ->
  (0 < K)%nat -> (0 < T)%nat -> (0 < L)%nat -> (0 < U)%nat -> (0 < D)%nat -> (0 < D2)%nat ->
  branch_correct B H W N S K T branch_h -> branch_correct B H W N S L U branch_w ->
  branch_correct B H W N S M V branch_c ->
  part (array [B; H; W; N; S]) (weighted N S M V K T L U D D2) (array [B; H; W; N; S])
    (fun p => stage.one B H W N S M V K T L U D D2 branch_h branch_w branch_c skip_lam
       attn_path attn_path_rate mlp_path mlp_path_rate proj proj_rate hidden hidden_rate out out_rate p.2 p.1)
| a_summed_block : forall (B H W N S M V K T L U D2 : nat) branch_h branch_w branch_c skip_lam
    attn_path attn_path_rate mlp_path mlp_path_rate proj proj_rate hidden hidden_rate out out_rate,
  (0 < B)%nat -> (0 < H)%nat -> (0 < W)%nat -> (0 < N)%nat -> (0 < S)%nat -> (0 < M)%nat -> (0 < V)%nat ->
  (0 < K)%nat -> (0 < T)%nat -> (0 < L)%nat -> (0 < U)%nat -> (0 < D2)%nat ->
  branch_correct B H W N S K T branch_h -> branch_correct B H W N S L U branch_w ->
  branch_correct B H W N S M V branch_c ->
  part (array [B; H; W; N; S]) (summed N S M V K T L U D2) (array [B; H; W; N; S])
    (fun p => stage_sum.one B H W N S M V K T L U D2 branch_h branch_w branch_c skip_lam
       attn_path attn_path_rate mlp_path mlp_path_rate proj proj_rate hidden hidden_rate out out_rate p.2 p.1)
| a_transition : forall (B h P w C K : nat),
  (0 < B)%nat -> (0 < h)%nat -> (0 < P)%nat -> (0 < w)%nat -> (0 < C)%nat -> (0 < K)%nat ->
  part (array [B; h; P; w; P; C]) (array [K; C; P; P] ** array [K])%space (array [B; h; w; K]) (merge B h P w C K)
| two_axes_as_one : forall first n m last, (0 < m)%nat ->
  part (array (first ++ n :: m :: last)) nothing (array (first ++ (n * m)%nat :: last))
    (without_parameters (merge_axes first n m last))
| one_axis_as_two : forall first n m last, (0 < m)%nat ->
  part (array (first ++ (n * m)%nat :: last)) nothing (array (first ++ n :: m :: last))
    (without_parameters (split_axis first n m last)).

(** A function of parameters and input, as Chain.v has it, is one of a pair. *)
Lemma pair_correct (X P : space) (f : Chain.block X P) :
  Chain.correct X P (dot X) (dot P) (moves X) (moves P) f -> correct (X ** P) X (fun p => f p.2 p.1).
Proof. intros F p u [M N]. exact (F (fun t => (p t).1) (fun t => (p t).2) u.1 u.2 M N). Qed.

Ltac by_hypothesis :=
  first
    [ assumption
    | match goal with C : branch_correct _ _ _ _ _ _ _ _ |- _ => exact (two_arguments _ _ _ _ _ _ _ _ C) end ].

Theorem part_correct : forall X P Y f, part X P Y f -> correct (X ** P) Y f.
Proof.
  intros X P Y f [].
  - apply pair_correct, stage.one_correct; by_hypothesis.
  - apply pair_correct, stage_sum.one_correct; by_hypothesis.
  - apply merge_correct; assumption.
  - apply without_parameters_correct, merge_axes_correct. assumption.
  - apply without_parameters_correct, split_axis_correct. assumption.
Qed.
