(** What a theorem says: [array], [**] and [correct] are part of every statement, and so of what is trusted; what
    stands below them is not. *)
From Coq Require Import Reals Lra.
From Coq Require Export List.
From Coquelicot Require Import Coquelicot.
From Proofs Require Import Arrays.
Export ListNotations.
Open Scope R_scope.

(** Where an argument lives: its values, the sum of products of two of them, and what it means that a curve has the
    derivative u at 0. *)
Record space : Type := Space {
  point :> Type;
  dot : point -> point -> R;
  moves : (R -> point) -> point -> Prop }.

(** An array by its shape. What stands beyond the end of an axis is never summed. *)
Fixpoint entries (s : list nat) : Type :=
  match s with [] => R | _ :: s => nat -> entries s end.

Fixpoint dot_entries (s : list nat) : entries s -> entries s -> R :=
  match s with
  | [] => fun a b => a * b
  | n :: s => fun a b => sum n (fun i => dot_entries s (a i) (b i))
  end.

Fixpoint moves_entries (s : list nat) : (R -> entries s) -> entries s -> Prop :=
  match s with
  | [] => fun a u => is_derive a 0 u
  | n :: s => fun a u => forall i, moves_entries s (fun t => a t i) (u i)
  end.

Definition array (s : list nat) : space := Space (entries s) (dot_entries s) (moves_entries s).

(** Two arguments. *)
Definition times (X Y : space) : space := {|
  point := X * Y;
  dot := fun a b => dot X (fst a) (fst b) + dot Y (snd a) (snd b);
  moves := fun a u => moves X (fun t => fst (a t)) (fst u) /\ moves Y (fun t => snd (a t)) (snd u) |}.

Declare Scope space_scope.
Delimit Scope space_scope with space.
Bind Scope space_scope with space.
Notation "X ** Y" := (times X Y) (at level 38, right associativity) : space_scope.
Notation "p .1" := (fst p) (at level 2, left associativity, format "p .1").
Notation "p .2" := (snd p) (at level 2, left associativity, format "p .2").

(** What a function returns: y, and its pullback, which makes of dy the gradient of x. *)
Definition result (X Y : space) : Type := Y * (Y -> X).

(** Let the arguments x move along any curve with the derivative u at 0. Then y = f(x) has a derivative v, and for every
    dy the sum of dy * v is the sum of pullback(dy) * u. *)
Definition correct (X Y : space) (f : X -> result X Y) : Prop :=
  forall (x : R -> X) (u : X), moves X x u ->
  exists v : Y, moves Y (fun t => fst (f (x t))) v /\ forall dy, dot Y dy v = dot X (snd (f (x 0)) dy) u.

Arguments correct (X Y)%space.
Arguments result (X Y)%space.

(** * Two arguments are two curves *)

Lemma two_curves (X Y : space) (Q : (R -> X * Y) -> X * Y -> Prop) :
  (forall a u, moves X a u -> forall b w, moves Y b w -> Q (fun t => (a t, b t)) (u, w)) ->
  forall p u, moves (X ** Y) p u -> Q p u.
Proof.
  intros H p [u w] [M N].
  replace p with (fun t => (fst (p t), snd (p t)))
    by (apply FunctionalExtensionality.functional_extensionality; intros t; symmetry; apply surjective_pairing).
  exact (H _ u M _ w N).
Qed.
