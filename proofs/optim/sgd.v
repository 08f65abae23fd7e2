(** SGD with momentum is the published one in the form of PyTorch, at every step. *)
From Coq Require Import Reals Lra.
From Proofs Require Import Arrays.
From Updates Require Import sgd.
Open Scope R_scope.

Notation "p .1" := (fst p) (at level 2, left associativity, format "p .1").
Notation "p .2" := (snd p) (at level 2, left associativity, format "p .2").

(** One parameter, whose gradients are g 1, g 2, ..., and its buffer. *)
Section Published.
  Variables (momentum weight_decay : R) (nesterov : bool) (lr : nat -> R) (start : R) (g : nat -> R).

  Fixpoint published (t : nat) : R * R :=
    match t with
    | O => (start, 0)
    | S s => let (p, b) := published s in
      let d := g t + weight_decay * p in
      let b := momentum * b + d in
      (p - lr t * (if nesterov then d + momentum * b else b), b)
    end.
End Published.

(** The source, step after step. *)
Section Source.
  Variables (K C P Q : nat) (lr : nat -> R) (momentum weight_decay : R) (nesterov : bool).
  Variables (p_filter : nat -> nat -> nat -> nat -> R) (p_weight : nat -> nat -> R) (p_bias : nat -> R).
  Variables (g_filter : nat -> nat -> nat -> nat -> nat -> R) (g_weight : nat -> nat -> nat -> R).
  Variable g_bias : nat -> nat -> R.

  (** Of the filter, the weight and the bias. *)
  Definition tensors : Type := (nat -> nat -> nat -> nat -> R) * ((nat -> nat -> R) * (nat -> R)).

  (** The first of all steps, and every one where there are no buffers, begins without them. *)
  Definition next (t : nat) (s : tensors * option tensors) :=
    match s.2 with
    | None => sgd_first K C P Q (lr t) momentum weight_decay nesterov s.1.1 s.1.2.1 s.1.2.2
        (g_filter t) (g_weight t) (g_bias t)
    | Some b => sgd_later K C P Q (lr t) momentum weight_decay nesterov s.1.1 s.1.2.1 s.1.2.2
        (g_filter t) (g_weight t) (g_bias t) b.1 b.2.1 b.2.2
    end.

  Fixpoint steps (t : nat) : tensors * option tensors :=
    match t with O => ((p_filter, (p_weight, p_bias)), None) | S s => next t (steps s) end.

  (** The parameters are the published ones, and the buffers, where there are any: without momentum there are none. *)
  Definition sgd_is_published : Prop :=
    forall t i j k l, let s := steps t in
    let entry start g := published momentum weight_decay nesterov lr start g t in
    let f := entry (p_filter i j k l) (fun t => g_filter t i j k l) in
    let w := entry (p_weight i j) (fun t => g_weight t i j) in
    let b := entry (p_bias i) (fun t => g_bias t i) in
    s.1.1 i j k l = f.1 /\ s.1.2.1 i j = w.1 /\ s.1.2.2 i = b.1 /\
    match s.2 with
    | Some a => a.1 i j k l = f.2 /\ a.2.1 i j = w.2 /\ a.2.2 i = b.2
    | None => t = O \/ momentum = 0
    end.

  Theorem sgd_published : sgd_is_published.
  Proof using Type.
    intros t i j k l. induction t as [|t IH]; cbv zeta in *; [cbn; tauto|].
    cbn [steps published].
    set (s := steps t) in *. clearbody s. destruct s as [[a [b c]] buffers].
    destruct (published _ _ _ _ (p_filter i j k l) _ t) as [x1 y1] eqn:E1.
    destruct (published _ _ _ _ (p_weight i j) _ t) as [x2 y2] eqn:E2.
    destruct (published _ _ _ _ (p_bias i) _ t) as [x3 y3] eqn:E3.
    cbn [fst snd] in *. destruct IH as (A1 & A2 & A3 & B).
    unfold next; cbn [fst snd].
    destruct buffers as [[b1 [b2 b3]]|]; cbn [fst snd] in *.
    - destruct B as (B1 & B2 & B3). unfold sgd_later.
      destruct (Req_EM_T weight_decay 0) as [->|], (Req_EM_T momentum 0) as [->|], nesterov; cbn [fst snd];
        rewrite ?A1, ?A2, ?A3, ?B1, ?B2, ?B3; repeat split; first [ring | right; reflexivity].
    - assert (Z : momentum = 0 \/ (y1 = 0 /\ y2 = 0 /\ y3 = 0)).
      { destruct B as [->|]; [right|left; assumption]. cbn in E1, E2, E3.
        inversion E1; inversion E2; inversion E3. tauto. }
      clear E1 E2 E3 B. unfold sgd_first.
      destruct Z as [->|(-> & -> & ->)];
        destruct (Req_EM_T weight_decay 0) as [->|]; try destruct (Req_EM_T momentum 0) as [->|];
        try (destruct (Req_EM_T 0 0) as [_|N]; [|contradiction N; reflexivity]);
        destruct nesterov; cbn [fst snd];
        rewrite ?A1, ?A2, ?A3; repeat split; first [ring | right; reflexivity].
  Qed.
End Source.
