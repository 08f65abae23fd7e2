(** Clipping by the norm of all gradients together is the published one, and bounds that norm. *)
From Coq Require Import Reals Lra.
From Coquelicot Require Import Coquelicot.
From Proofs Require Import Arrays.
From Updates Require Import clip_grad_norm.
Open Scope R_scope.

Notation "p .1" := (fst p) (at level 2, left associativity, format "p .1").
Notation "p .2" := (snd p) (at level 2, left associativity, format "p .2").

Section Clipping.
  Variables (K C P Q : nat) (max_norm : R).
  Variables (g_filter : nat -> nat -> nat -> nat -> R) (g_weight : nat -> nat -> R) (g_bias : nat -> R).

  (** The sum of the squares of all entries. *)
  Definition squares (f : nat -> nat -> nat -> nat -> R) (w : nat -> nat -> R) (b : nat -> R) : R :=
    sum K (fun i => sum C (fun j => sum P (fun k => sum Q (fun l => f i j k l * f i j k l)))) +
    sum K (fun i => sum C (fun j => w i j * w i j)) + sum K (fun i => b i * b i).

  Definition norm := sqrt (squares g_filter g_weight g_bias).

  (** PyTorch's 1e-6, as it is in binary. *)
  Definition guard := 4722366482869645 / 4722366482869645213696.
  Definition scale := Rmin 1 (max_norm / (norm + guard)).

  Definition result_of_source := clip_grad_norm K C P Q max_norm g_filter g_weight g_bias.

  Definition clip_grad_norm_is_published : Prop :=
    let r := result_of_source in
    r.2 = norm /\ forall i j k l,
    r.1.1 i j k l = g_filter i j k l * scale /\ r.1.2.1 i j = g_weight i j * scale /\ r.1.2.2 i = g_bias i * scale.

  Lemma total :
    sqrt (0 + sum K (fun i => sum C (fun j => sum P (fun k => sum Q (fun l => g_filter i j k l * g_filter i j k l)))) +
      sum K (fun i => sum C (fun j => g_weight i j * g_weight i j)) + sum K (fun i => g_bias i * g_bias i)) = norm.
  Proof using Type. rewrite Rplus_0_l. reflexivity. Qed.

  Lemma smaller x : (if Rlt_dec 1 x then 1 else x) = Rmin 1 x.
  Proof using Type. unfold Rmin. destruct (Rlt_dec 1 x), (Rle_dec 1 x); lra. Qed.

  Theorem clip_grad_norm_published : clip_grad_norm_is_published.
  Proof using Type.
    unfold clip_grad_norm_is_published, result_of_source, clip_grad_norm. cbv beta zeta. cbn [fst snd].
    rewrite total, smaller. repeat split.
  Qed.

  (** What comes out has a norm of at most max_norm. *)
  Definition clip_grad_norm_is_bounded : Prop :=
    0 < max_norm -> let r := result_of_source in sqrt (squares r.1.1 r.1.2.1 r.1.2.2) <= max_norm.

  Lemma squares_scaled c :
    squares (fun i j k l => g_filter i j k l * c) (fun i j => g_weight i j * c) (fun i => g_bias i * c) =
    c * c * squares g_filter g_weight g_bias.
  Proof using Type.
    unfold squares. rewrite !Rmult_plus_distr_l.
    repeat match goal with |- _ + _ = _ + _ => f_equal end;
      repeat (rewrite <- sum_scal_l; apply sum_ext; intros ? _); ring.
  Qed.

  Lemma squares_nonneg : 0 <= squares g_filter g_weight g_bias.
  Proof using Type.
    unfold squares.
    repeat match goal with |- 0 <= _ + _ => apply Rplus_le_le_0_compat end;
      repeat (apply sum_nonneg; intros ?); apply Rle_0_sqr.
  Qed.

  Theorem clip_grad_norm_bounded : clip_grad_norm_is_bounded.
  Proof using Type.
    intros M. cbv zeta. pose proof (sqrt_pos (squares g_filter g_weight g_bias)) as N. fold norm in N.
    assert (G : 0 < guard) by (unfold guard; lra).
    assert (S : 0 <= scale) by (unfold scale; apply Rmin_glb; [lra|]; apply Rlt_le, Rdiv_lt_0_compat; lra).
    apply Rle_trans with (scale * norm).
    - apply Req_le. unfold result_of_source, clip_grad_norm. cbv beta zeta. cbn [fst snd].
      rewrite total, smaller. fold guard. fold scale. rewrite squares_scaled.
      rewrite sqrt_mult by (apply Rle_0_sqr || apply squares_nonneg). rewrite sqrt_square by exact S. reflexivity.
    - apply Rle_trans with (max_norm / (norm + guard) * norm); [apply Rmult_le_compat_r; [exact N | apply Rmin_r]|].
      apply Rle_trans with (max_norm / (norm + guard) * (norm + guard)).
      + apply Rmult_le_compat_l; [|lra]. apply Rlt_le, Rdiv_lt_0_compat; lra.
      + right. field. lra.
  Qed.
End Clipping.
