(** A run of blocks, each with its own parameters, as [vipnp/layers/stage.py] runs them: if the theorem holds of every
    block, it holds of the run, of any length. The arrays and the parameters are of any type, with a product each. *)
From Coq Require Import Reals List Lra.
Import ListNotations.
Open Scope R_scope.

Lemma one_later (a b c d : R) : a = b + c -> a + d = b + (c + d).
Proof. intros ->. apply Rplus_assoc. Qed.

Section Chain.
  Variables (X P : Type) (dot_x : X -> X -> R) (dot_p : P -> P -> R).
  (** [moves c u]: the curve c has the derivative u at 0. *)
  Variables (moves_x : (R -> X) -> X -> Prop) (moves_p : (R -> P) -> P -> Prop).

  (** A function of parameters and input; its pullback returns the gradient of the input, then of the parameters. *)
  Definition block := P -> X -> X * (X -> X * P).

  Definition correct (f : block) : Prop :=
    forall x p u_x u_p, moves_x x u_x -> moves_p p u_p ->
    exists v, moves_x (fun t => fst (f (p t) (x t))) v /\
    forall dy, let g := snd (f (p 0) (x 0)) dy in dot_x dy v = dot_x (fst g) u_x + dot_p (snd g) u_p.

  (** The forward pass goes through the list, the pullback comes back through it. *)
  Fixpoint stage (fs : list block) (ps : list P) (x : X) : X * (X -> X * list P) :=
    match fs, ps with
    | f :: fs, p :: ps =>
        let first := f p x in
        let rest := stage fs ps (fst first) in
        (fst rest, fun dy =>
           let later := snd rest dy in
           let g := snd first (fst later) in
           (fst g, snd g :: snd later))
    | _, _ => (x, fun dy => (dy, []))
    end.

  Fixpoint dots (dps us : list P) : R :=
    match dps, us with
    | dp :: dps, u :: us => dot_p dp u + dots dps us
    | _, _ => 0
    end.

  Theorem stage_correct (fs : list block) : Forall correct fs ->
    forall (ps : list (R -> P)) us x u_x, length ps = length fs -> moves_x x u_x -> Forall2 moves_p ps us ->
    let at_ t := map (fun p => p t) ps in
    exists v, moves_x (fun t => fst (stage fs (at_ t) (x t))) v /\
    forall dy, let g := snd (stage fs (at_ 0) (x 0)) dy in dot_x dy v = dot_x (fst g) u_x + dots (snd g) us.
  Proof using Type.
    induction 1 as [|f fs F _ IH]; intros [|p ps] us x u_x L M Q; simpl in L; try discriminate.
    - exists u_x. split; [exact M|]. intros dy. inversion_clear Q. simpl. lra.
    - inversion_clear Q as [|? u ? us' M_p Q']. destruct (F x p u_x u M M_p) as [w [D A]].
      destruct (IH ps us' (fun t => fst (f (p t) (x t))) w (eq_add_S _ _ L) D Q') as [v [E B]].
      exists v. split; [exact E|]. intros dy. specialize (B dy). simpl in *. rewrite B, A. lra.
  Qed.
End Chain.
