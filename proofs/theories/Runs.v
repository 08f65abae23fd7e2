(** Functions one after another, each with its own parameters, as [vipnp/layers/stage.py] runs blocks and
    [vipnp/models/vision_permutator.py] runs stages: if the theorem holds of every one, it holds of their run, of any
    length. *)
From Proofs Require Import Spaces.
From Coq Require Import Reals Lra.
Open Scope R_scope.

(** No parameters. *)
Definition nothing : space := Space unit (fun _ _ => 0) (fun _ _ => True).

Definition without_parameters {X Y : space} (f : X -> result X Y) : (X ** nothing)%space -> result (X ** nothing) Y :=
  fun p => ((f p.1).1, fun dy => ((f p.1).2 dy, tt)).

Lemma without_parameters_correct X Y f : correct X Y f -> correct (X ** nothing) Y (without_parameters f).
Proof.
  intros F p u [M _]. destruct (F _ _ M) as [v [D A]]. exists v. split; [exact D|]. intros dy.
  etransitivity; [exact (A dy)|]. symmetry. apply Rplus_0_r.
Qed.

(** One after the other: first f, with the parameters P, then g, with Q. *)
Definition followed {X P Y Q Z : space}
    (f : (X ** P)%space -> result (X ** P) Y) (g : (Y ** Q)%space -> result (Y ** Q) Z) :
    (X ** P ** Q)%space -> result (X ** P ** Q) Z := fun p =>
  let y := f (p.1, p.2.1) in
  let z := g (y.1, p.2.2) in
  (z.1, fun dz => let dy := z.2 dz in let dx := y.2 dy.1 in (dx.1, (dx.2, dy.2))).

Lemma followed_correct X P Y Q Z f g :
  correct (X ** P) Y f -> correct (Y ** Q) Z g -> correct (X ** P ** Q) Z (followed f g).
Proof.
  intros F G p u (M & N & O). destruct (F (fun t => ((p t).1, (p t).2.1)) (u.1, u.2.1) (conj M N)) as [v [D A]].
  destruct (G (fun t => ((f ((p t).1, (p t).2.1)).1, (p t).2.2)) (v, u.2.2) (conj D O)) as [w [E B]].
  exists w. split; [exact E|]. intros dy. specialize (B dy). simpl in *. rewrite B, A. lra.
Qed.

Section Run.
  (** What may stand in a run. *)
  Variable part : forall X P Y : space, ((X ** P)%space -> result (X ** P) Y) -> Prop.

  Inductive run : space -> space -> space -> Type :=
  | stop X : run X nothing X
  | next X P Y Q Z f : part X P Y f -> run Y Q Z -> run X (P ** Q) Z.

  (** Forward through the list, and back through it. *)
  Fixpoint along_run {X P Y} (r : run X P Y) : (X ** P)%space -> result (X ** P) Y :=
    match r with
    | stop X => fun p => (p.1, fun dy => (dy, tt))
    | next X P Y Q Z f _ later => followed f (along_run later)
    end.

  Theorem along_run_correct : (forall X P Y f, part X P Y f -> correct (X ** P) Y f) ->
    forall X P Y (r : run X P Y), correct (X ** P) Y (along_run r).
  Proof using Type.
    intros C X P Y r. induction r as [X | X P Y Q Z f F later IH].
    - intros p u [M _]. exists u.1. split; [exact M|]. intros dy. symmetry. apply Rplus_0_r.
    - exact (followed_correct _ _ _ _ _ _ _ (C _ _ _ _ F) IH).
  Qed.
End Run.
