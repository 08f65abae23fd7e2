(** AdamW is the algorithm that was published, at every step. *)
From Coq Require Import Reals Lra Lia.
From Proofs Require Import Arrays.
From Updates Require Import adamw.
Open Scope R_scope.

Notation "p .1" := (fst p) (at level 2, left associativity, format "p .1").
Notation "p .2" := (snd p) (at level 2, left associativity, format "p .2").

(** Loshchilov and Hutter, arXiv 1711.05101, algorithm 2: that of Kingma and Ba, arXiv 1412.6980, with decoupled decay.
    Of one parameter, whose gradients are g 1, g 2, ...; lr t is their alpha times the multiplier of step t, and decay
    their lambda over alpha. *)
Section Published.
  Variables (beta1 beta2 eps : R) (lr : nat -> R) (decay start : R) (g : nat -> R).

  Fixpoint mean (t : nat) : R := match t with O => 0 | S s => beta1 * mean s + (1 - beta1) * g t end.
  Fixpoint square (t : nat) : R := match t with O => 0 | S s => beta2 * square s + (1 - beta2) * (g t * g t) end.
  Definition mean_corrected t := mean t / (1 - beta1 ^ t).
  Definition square_corrected t := square t / (1 - beta2 ^ t).

  Fixpoint parameter (t : nat) : R :=
    match t with
    | O => start
    | S s => parameter s
        - (lr t * (mean_corrected t / (sqrt (square_corrected t) + eps)) + lr t * decay * parameter s)
    end.

  Definition follows (t : nat) (p m v : R) : Prop := p = parameter t /\ m = mean t /\ v = square t.
End Published.

(** The source, step after step. *)
Section Source.
  Variables (K C P Q : nat) (beta1 beta2 eps : R) (lr : nat -> R) (weight_decay : R).
  Variables (p_filter : nat -> nat -> nat -> nat -> R) (p_weight : nat -> nat -> R) (p_bias : nat -> R).
  Variables (g_filter : nat -> nat -> nat -> nat -> nat -> R) (g_weight : nat -> nat -> nat -> R).
  Variable g_bias : nat -> nat -> R.

  (** What there is after one step and n more: parameters, means, means of squares. *)
  Fixpoint steps (n : nat) :=
    match n with
    | O => adamw_first K C P Q beta1 beta2 eps (lr 1%nat) weight_decay p_filter p_weight p_bias
        (g_filter 1%nat) (g_weight 1%nat) (g_bias 1%nat)
    | S k => let s := steps k in
      adamw_later K C P Q beta1 beta2 eps (lr (S n)) weight_decay k s.1.1 s.1.2.1 s.1.2.2
        (g_filter (S n)) (g_weight (S n)) (g_bias (S n)) s.2.1.1 s.2.1.2.1 s.2.1.2.2 s.2.2.1 s.2.2.2.1 s.2.2.2.2
    end.

  (** Biases, and whatever else has one axis, do not decay. *)
  Definition adamw_is_published : Prop :=
    0 <= beta2 < 1 -> forall n i j k l, let s := steps n in
    let entry decay start g p m v := follows beta1 beta2 eps lr decay start g (S n) p m v in
    entry weight_decay (p_filter i j k l) (fun t => g_filter t i j k l)
      (s.1.1 i j k l) (s.2.1.1 i j k l) (s.2.2.1 i j k l) /\
    entry weight_decay (p_weight i j) (fun t => g_weight t i j) (s.1.2.1 i j) (s.2.1.2.1 i j) (s.2.2.2.1 i j) /\
    entry 0 (p_bias i) (fun t => g_bias t i) (s.1.2.2 i) (s.2.1.2.2 i) (s.2.2.2.2 i).

  Lemma step (n : nat) (rate decay p m v : R) : 0 <= beta2 < 1 ->
    p * (1 - rate * decay) - rate / (1 - beta1 ^ S n) * m / (sqrt v / sqrt (1 - beta2 ^ S n) + eps) =
    p - (rate * (m / (1 - beta1 ^ S n) / (sqrt (v / (1 - beta2 ^ S n)) + eps)) + rate * decay * p).
  Proof using Type.
    intros B. pose proof (pow_lt_1_compat beta2 (S n) B ltac:(lia)).
    rewrite sqrt_div_alt by lra. unfold Rdiv. ring.
  Qed.

  Lemma step_without_decay (n : nat) (rate p m v : R) : 0 <= beta2 < 1 ->
    p - rate / (1 - beta1 ^ S n) * m / (sqrt v / sqrt (1 - beta2 ^ S n) + eps) =
    p - (rate * (m / (1 - beta1 ^ S n) / (sqrt (v / (1 - beta2 ^ S n)) + eps)) + rate * 0 * p).
  Proof using Type. intros B. rewrite <- step by exact B. rewrite Rmult_0_r, Rminus_0_r, Rmult_1_r. reflexivity. Qed.

  Lemma first_mean g : (1 - beta1) * g 1%nat = mean beta1 g 1.
  Proof using Type. cbn. ring. Qed.
  Lemma next_mean g n : (1 - beta1) * g (S n) + beta1 * mean beta1 g n = mean beta1 g (S n).
  Proof using Type. cbn. ring. Qed.
  Lemma first_square g : (1 - beta2) * g 1%nat * g 1%nat = square beta2 g 1.
  Proof using Type. cbn. ring. Qed.
  Lemma next_square g n : (1 - beta2) * g (S n) * g (S n) + beta2 * square beta2 g n = square beta2 g (S n).
  Proof using Type. cbn. ring. Qed.

  Theorem adamw_published : adamw_is_published.
  Proof using Type.
    intros B n i j k l. induction n as [|n IH]; cbv zeta in *.
    - unfold steps, adamw_first; cbv beta zeta; cbn [fst snd].
      repeat split;
        rewrite ?(first_mean (fun t => g_filter t i j k l)), ?(first_mean (fun t => g_weight t i j)),
          ?(first_mean (fun t => g_bias t i)), ?(first_square (fun t => g_filter t i j k l)),
          ?(first_square (fun t => g_weight t i j)), ?(first_square (fun t => g_bias t i)); try reflexivity;
        first [apply (step 0); exact B | apply (step_without_decay 0); exact B].
    - destruct IH as ((P1 & M1 & V1) & (P2 & M2 & V2) & (P3 & M3 & V3)).
      cbn [steps]. set (s := steps n) in *. clearbody s. unfold adamw_later; cbv beta zeta; cbn [fst snd].
      rewrite P1, M1, V1, P2, M2, V2, P3, M3, V3.
      rewrite (next_mean (fun t => g_filter t i j k l)), (next_mean (fun t => g_weight t i j)),
        (next_mean (fun t => g_bias t i)), (next_square (fun t => g_filter t i j k l)),
        (next_square (fun t => g_weight t i j)), (next_square (fun t => g_bias t i)).
      repeat split; first [apply step; exact B | apply step_without_decay; exact B].
  Qed.
End Source.
