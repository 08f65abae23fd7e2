(** The Vision Permutator as [vipnp/models/vision_permutator.py] puts it together, of any depth and widths, and its
    loss. *)
From Coq Require Import Reals.
From Proofs Require Import Spaces Runs.
From Statements Require Import global_average_pool cross_entropy soft_cross_entropy.
From Network Require Import parts.
Open Scope R_scope.

(** Patch embedding, then any number of parts in any order, LayerNorm, the mean over the tokens, and the head. *)
Section Network.
  Variables (B C h P w Q K H W M L : nat) (eps : R) (Ps : space).
  Variable tokens : run part (array [B; h; w; K]) Ps (array [B; H; W; M]).

  Definition images := array [B; C; h; P; w; Q].
  Definition parameters : space :=
    (array [K; C; P; Q] ** array [K]) ** Ps ** (array [M] ** array [M]) ** nothing ** (array [L; M] ** array [L]).

  Definition vision_permutator : (images ** parameters)%space -> result (images ** parameters) (array [B; L]) :=
    followed (embed B C h P w Q K) (
    followed (along_run part tokens) (
    followed (norm B H W M eps) (
    followed (without_parameters (mean B H W M))
      (head B M L)))).

  (** The cross-entropy of its logits, for labels and for distributions over the classes. *)
  Definition with_labels label_smoothing labels :=
    followed vision_permutator (without_parameters (of_labels B L label_smoothing labels)).
  Definition with_distributions targets :=
    followed vision_permutator (without_parameters (of_distributions B L targets)).

  Definition sizes : Prop :=
    (0 < B)%nat /\ (0 < C)%nat /\ (0 < h)%nat /\ (0 < P)%nat /\ (0 < w)%nat /\ (0 < Q)%nat /\ (0 < K)%nat /\
    (0 < H)%nat /\ (0 < W)%nat /\ (0 < M)%nat /\ (0 < L)%nat /\ 0 < eps.

  Lemma logits_correct : sizes -> correct (images ** parameters) (array [B; L]) vision_permutator.
  Proof using Type.
    intros (? & ? & ? & ? & ? & ? & ? & ? & ? & ? & ? & ?). repeat apply followed_correct.
    - apply embed_correct; assumption.
    - apply along_run_correct, part_correct.
    - apply norm_correct; assumption.
    - apply without_parameters_correct, mean_correct; assumption.
    - apply head_correct; assumption.
  Qed.
End Network.

Definition network_is_correct : Prop :=
  forall B C h P w Q K H W M L eps Ps (tokens : run part (array [B; h; w; K]) Ps (array [B; H; W; M])),
  sizes B C h P w Q K H W M L eps ->
  correct (images B C h P w Q ** parameters C P Q K M L Ps) (array [B; L])
    (vision_permutator B C h P w Q K H W M L eps Ps tokens).

Theorem network_correct : network_is_correct.
Proof. exact logits_correct. Qed.

Definition network_with_loss_is_correct : Prop :=
  forall B C h P w Q K H W M L eps Ps (tokens : run part (array [B; h; w; K]) Ps (array [B; H; W; M])),
  sizes B C h P w Q K H W M L eps ->
  (forall label_smoothing labels, (forall i, (labels i < L)%nat) ->
   correct (images B C h P w Q ** parameters C P Q K M L Ps ** nothing) (array [])
     (with_labels B C h P w Q K H W M L eps Ps tokens label_smoothing labels)) /\
  forall targets,
   correct (images B C h P w Q ** parameters C P Q K M L Ps ** nothing) (array [])
     (with_distributions B C h P w Q K H W M L eps Ps tokens targets).

Theorem network_with_loss_correct : network_with_loss_is_correct.
Proof.
  intros B C h P w Q K H W M L eps Ps tokens S.
  assert (0 < B)%nat as P_B by apply S. assert (0 < L)%nat as P_L by apply S.
  split; intros; (apply followed_correct; [exact (logits_correct _ _ _ _ _ _ _ _ _ _ _ _ _ tokens S)|]);
    apply without_parameters_correct.
  - apply of_labels_correct; assumption.
  - apply of_distributions_correct; assumption.
Qed.

(** Two stages of one block each, with a transition between them, as such a run. *)
Section Example.
  Variables (B h w P N S N' S' : nat) (Q Q' : space).
  Let X := array [B; (h * P)%nat; (w * P)%nat; N; S].
  Let Y := array [B; h; w; N'; S'].
  Variables (f : (X ** Q)%space -> result (X ** Q) X) (g : (Y ** Q')%space -> result (Y ** Q') Y).
  Hypotheses (first_block : part X Q X f) (second_block : part Y Q' Y g).
  Hypotheses (P_B : (0 < B)%nat) (P_h : (0 < h)%nat) (P_w : (0 < w)%nat) (P_P : (0 < P)%nat) (P_S : (0 < S)%nat).
  Hypotheses (P_S' : (0 < S')%nat) (P_C : (0 < N * S)%nat) (P_K : (0 < N' * S')%nat).

  Definition two_stages :
      {Ps : space & run part (array [B; (h * P)%nat; (w * P)%nat; (N * S)%nat]) Ps (array [B; h; w; (N' * S')%nat])}.
  Proof using P_B P_h P_w P_P P_S P_S' P_C P_K first_block second_block.
    eexists.
    eapply next; [exact (one_axis_as_two [B; (h * P)%nat; (w * P)%nat] N S [] P_S)|].
    eapply next; [exact first_block|].
    eapply next; [exact (two_axes_as_one [B; (h * P)%nat; (w * P)%nat] N S [] P_S)|].
    eapply next; [exact (one_axis_as_two [B] h P [(w * P)%nat; (N * S)%nat] P_P)|].
    eapply next; [exact (one_axis_as_two [B; h; P] w P [(N * S)%nat] P_P)|].
    eapply next; [exact (a_transition B h P w (N * S) (N' * S') P_B P_h P_P P_w P_C P_K)|].
    eapply next; [exact (one_axis_as_two [B; h; w] N' S' [] P_S')|].
    eapply next; [exact second_block|].
    eapply next; [exact (two_axes_as_one [B; h; w] N' S' [] P_S')|].
    apply stop.
  Defined.
End Example.
