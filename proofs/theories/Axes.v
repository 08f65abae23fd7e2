(** An axis of length n*m is read as two, row-major, or two as one: between layers, where one works on segments or
    patches and the next does not. In memory nothing happens; here an index has another form. *)
From Proofs Require Import Spaces Arrays.
From Coq Require Import Reals Lia.
Open Scope R_scope.

(** A function of the last axes, under the first ones. *)
Fixpoint under (first : list nat) {s s' : list nat} (f : entries s -> entries s') :
    entries (first ++ s) -> entries (first ++ s') :=
  match first with [] => f | _ :: first => fun a i => under first f (a i) end.

Definition merged {n m s} (a : entries (n :: m :: s)) : entries ((n * m)%nat :: s) :=
  fun k => a (k / m)%nat (k mod m)%nat.
Definition split {n m s} (a : entries ((n * m)%nat :: s)) : entries (n :: m :: s) := fun i j => a (i * m + j)%nat.

Definition merge_axes (first : list nat) (n m : nat) (last : list nat) (a : array (first ++ n :: m :: last)) :
    result (array (first ++ n :: m :: last)) (array (first ++ (n * m)%nat :: last)) :=
  (under first merged a, under first split).

Definition split_axis (first : list nat) (n m : nat) (last : list nat) (a : array (first ++ (n * m)%nat :: last)) :
    result (array (first ++ (n * m)%nat :: last)) (array (first ++ n :: m :: last)) :=
  (under first split a, under first merged).

Lemma one_axis n m last a b : (0 < m)%nat ->
  dot (array ((n * m)%nat :: last)) a (merged b) = dot (array (n :: m :: last)) (split a) b.
Proof.
  intros M. simpl. symmetry. rewrite sum_segments. apply sum_ext. intros k _. unfold split.
  rewrite Nat.mul_comm, <- Nat.div_mod by lia. reflexivity.
Qed.

Lemma two_axes n m last a b : (0 < m)%nat ->
  dot (array (n :: m :: last)) a (split b) = dot (array ((n * m)%nat :: last)) (merged a) b.
Proof.
  intros M. simpl. rewrite sum_segments. apply sum_ext. intros k _. unfold split.
  rewrite Nat.mul_comm, <- Nat.div_mod by lia. reflexivity.
Qed.

(** A function that only reads entries elsewhere, with what reads them back. *)
Lemma read (first : list nat) {s s'} (f : entries s -> entries s') (g : entries s' -> entries s) :
  (forall a u, moves (array s) a u -> moves (array s') (fun t => f (a t)) (f u)) ->
  (forall a b, dot (array s') a (f b) = dot (array s) (g a) b) ->
  correct (array (first ++ s)) (array (first ++ s')) (fun a => (under first f a, under first g)).
Proof.
  intros F G x u M. exists (under first f u). split.
  - clear G. revert x u M. induction first as [|n first IH]; intros x u M; [exact (F x u M)|].
    intros i. exact (IH (fun t => x t i) (u i) (M i)).
  - intros dy. simpl. clear F M x. revert dy u. induction first as [|n first IH]; intros dy u; [exact (G dy u)|].
    apply sum_ext. intros i _. apply IH.
Qed.

Lemma merge_axes_correct first n m last : (0 < m)%nat ->
  correct (array (first ++ n :: m :: last)) (array (first ++ (n * m)%nat :: last)) (merge_axes first n m last).
Proof.
  intros M. apply read; [intros a u H k; exact (H (k / m)%nat (k mod m)%nat)|]. intros a b. apply one_axis, M.
Qed.

Lemma split_axis_correct first n m last : (0 < m)%nat ->
  correct (array (first ++ (n * m)%nat :: last)) (array (first ++ n :: m :: last)) (split_axis first n m last).
Proof. intros M. apply read; [intros a u H i j; exact (H (i * m + j)%nat)|]. intros a b. apply two_axes, M. Qed.
