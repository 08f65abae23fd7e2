(** What the array functions mean. These four definitions are part of every statement, and so of what is trusted;
    the lemmas below are not. *)
From Coq Require Import Reals Lra Lia.
From Coquelicot Require Import Coquelicot.
Open Scope R_scope.

Fixpoint sum (n : nat) (f : nat -> R) : R :=
  match n with O => 0 | S m => sum m f + f m end.

Fixpoint maximum (n : nat) (f : nat -> R) : R :=
  match n with O => 0 | S O => f O | S m => Rmax (maximum m f) (f m) end.

Definition rsqrt_2pi : R := 1 / sqrt (2 * PI).

(** The normal distribution function as one half and the integral of the density from 0. That the density integrates
    to one, so that this is also its integral from minus infinity, is used nowhere. *)
Definition Phi (x : R) : R := 1 / 2 + RInt (fun s => exp ((-1 / 2) * (s * s)) * rsqrt_2pi) 0 x.

(** * Finite sums *)

Lemma sum_ext n f g : (forall i, (i < n)%nat -> f i = g i) -> sum n f = sum n g.
Proof. intros E. induction n; simpl; [easy|]. rewrite IHn, E; auto. Qed.

Lemma sum_plus n f g : sum n (fun i => f i + g i) = sum n f + sum n g.
Proof. induction n; simpl; [ring|]. rewrite IHn. ring. Qed.

Lemma sum_opp n f : sum n (fun i => - f i) = - sum n f.
Proof. induction n; simpl; [ring|]. rewrite IHn. ring. Qed.

Lemma sum_scal_l n a f : sum n (fun i => a * f i) = a * sum n f.
Proof. induction n; simpl; [ring|]. rewrite IHn. ring. Qed.

Lemma sum_scal_r n a f : sum n (fun i => f i * a) = sum n f * a.
Proof. induction n; simpl; [ring|]. rewrite IHn. ring. Qed.

Lemma sum_const n a : sum n (fun _ => a) = INR n * a.
Proof. induction n; simpl sum; [simpl; ring|]. rewrite IHn, S_INR. ring. Qed.

Lemma sum_exchange n m f : sum n (fun i => sum m (fun j => f i j)) = sum m (fun j => sum n (fun i => f i j)).
Proof.
  induction n; simpl.
  - rewrite sum_const. ring.
  - rewrite IHn, <- sum_plus. easy.
Qed.

(** A sum over segments of length S, one after another, is one sum. *)
Lemma sum_add n m f : sum (n + m) f = sum n f + sum m (fun i => f (n + i)%nat).
Proof.
  induction m; simpl; [rewrite Nat.add_0_r; ring|].
  rewrite Nat.add_succ_r. simpl. rewrite IHm. ring.
Qed.

Lemma sum_segments n m f :
  sum n (fun i => sum m (fun j => f i j)) = sum (n * m) (fun k => f (k / m)%nat (k mod m)%nat).
Proof.
  induction n; [reflexivity|]. cbn [sum]. rewrite IHn.
  replace (S n * m)%nat with (n * m + m)%nat by lia. rewrite sum_add. f_equal.
  apply sum_ext; intros j J. rewrite Nat.div_add_l, Nat.div_small, Nat.add_0_r by lia.
  rewrite Nat.add_comm, Nat.mod_add, Nat.mod_small by lia. reflexivity.
Qed.

Lemma sum_delta n k f : (k < n)%nat -> sum n (fun i => (if Nat.eqb k i then 1 else 0) * f i) = f k.
Proof.
  induction n; simpl; intros L; [lia|]. destruct (Nat.eqb_spec k n) as [->|Other].
  - rewrite (sum_ext n _ (fun _ => 0)); [rewrite sum_const; ring|].
    intros i I. destruct (Nat.eqb_spec n i); [lia | ring].
  - rewrite IHn by lia. ring.
Qed.

Lemma sum_nonneg n f : (forall i, 0 <= f i) -> 0 <= sum n f.
Proof. intros P. induction n; simpl; [lra|]. specialize (P n). lra. Qed.

Lemma sum_pos n f : (0 < n)%nat -> (forall i, 0 < f i) -> 0 < sum n f.
Proof.
  intros N P. destruct n; [lia|]. simpl.
  assert (0 <= sum n f) by (apply sum_nonneg; intros i; apply Rlt_le, P). specialize (P n). lra.
Qed.

(** * Softmax and its logarithm do not see the maximum m that is subtracted first *)

Lemma exp_shift a b : exp (a - b) = exp a * exp (- b).
Proof. unfold Rminus. apply exp_plus. Qed.

Lemma sum_exp_pos n f : (0 < n)%nat -> 0 < sum n (fun i => exp (f i)).
Proof. intros N. apply sum_pos; [exact N|]. intros i. apply exp_pos. Qed.

Lemma sum_exp_shift n g m : sum n (fun k => exp (g k - m)) = sum n (fun k => exp (g k)) * exp (- m).
Proof. rewrite <- sum_scal_r. apply sum_ext. intros k _. apply exp_shift. Qed.

Lemma softmax_shift n a g m :
  (0 < n)%nat -> exp (a - m) / sum n (fun k => exp (g k - m)) = exp a / sum n (fun k => exp (g k)).
Proof.
  intros N. rewrite sum_exp_shift, exp_shift. field.
  split; apply Rgt_not_eq; [apply sum_exp_pos, N | apply exp_pos].
Qed.

Lemma log_softmax_shift n a g m :
  (0 < n)%nat -> a - m - ln (sum n (fun k => exp (g k - m))) = a - ln (sum n (fun k => exp (g k))).
Proof.
  intros N. rewrite sum_exp_shift, ln_mult, ln_exp; [ring | apply sum_exp_pos, N | apply exp_pos].
Qed.
