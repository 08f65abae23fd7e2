(** How the value and the derivative at 0 of a curve follow from those of the curves it is made of. *)
From Coq Require Import Reals Lra Lia.
From Coquelicot Require Import Coquelicot.
From Proofs Require Import Arrays.
Open Scope R_scope.

(** At 0 the function f has the value v and the derivative d. *)
Definition D (f : R -> R) (v d : R) : Prop := f 0 = v /\ is_derive f 0 d.

Lemma D_is f v d : D f v d -> is_derive f 0 d.
Proof. intros [_ H]. exact H. Qed.

Lemma D_leaf f v d : f 0 = v -> is_derive f 0 d -> D f v d.
Proof. easy. Qed.

Lemma D_ext f g v d : (forall t, f t = g t) -> D f v d -> D g v d.
Proof. intros E [V F]. split; [rewrite <- E; exact V | exact (is_derive_ext f g 0 d E F)]. Qed.

Lemma D_const a : D (fun _ => a) a 0.
Proof. split; [easy|]. exact (is_derive_const a 0). Qed.

Lemma D_plus f g v w d e : D f v d -> D g w e -> D (fun t => f t + g t) (v + w) (d + e).
Proof. intros [<- F] [<- G]. split; [easy|]. exact (is_derive_plus f g 0 d e F G). Qed.

Lemma D_minus f g v w d e : D f v d -> D g w e -> D (fun t => f t - g t) (v - w) (d - e).
Proof. intros [<- F] [<- G]. split; [easy|]. exact (is_derive_minus f g 0 d e F G). Qed.

Lemma D_opp f v d : D f v d -> D (fun t => - f t) (- v) (- d).
Proof. intros [<- F]. split; [easy|]. exact (is_derive_opp f 0 d F). Qed.

Lemma D_mult f g v w d e : D f v d -> D g w e -> D (fun t => f t * g t) (v * w) (d * w + v * e).
Proof. intros [<- F] [<- G]. split; [easy|]. exact (is_derive_mult f g 0 d e F G Rmult_comm). Qed.

(** With a constant factor the product rule would leave zeros behind. *)
Lemma D_mult_l a f v d : D f v d -> D (fun t => a * f t) (a * v) (a * d).
Proof. intros F. replace (a * d) with (0 * v + a * d) by ring. apply D_mult; [apply D_const | exact F]. Qed.

Lemma D_mult_r a f v d : D f v d -> D (fun t => f t * a) (v * a) (d * a).
Proof. intros F. replace (d * a) with (d * a + v * 0) by ring. apply D_mult; [exact F | apply D_const]. Qed.

Lemma D_div_r a f v d : D f v d -> D (fun t => f t / a) (v / a) (d / a).
Proof. apply D_mult_r. Qed.

Lemma D_div f g v w d e : D f v d -> D g w e -> w <> 0 -> D (fun t => f t / g t) (v / w) ((d - v / w * e) / w).
Proof.
  intros [<- F] [<- G] W. split; [easy|].
  replace ((d - f 0 / g 0 * e) / g 0) with ((d * g 0 - f 0 * e) / g 0 ^ 2) by (field; auto).
  exact (is_derive_div f g 0 d e F G W).
Qed.

Lemma D_comp f g v d e : D f v d -> is_derive g v e -> D (fun t => g (f t)) (g v) (e * d).
Proof.
  intros [<- F] G. split; [easy|]. replace (e * d) with (scal d e) by apply Rmult_comm.
  exact (is_derive_comp g f 0 e d G F).
Qed.

Lemma D_exp f v d : D f v d -> D (fun t => exp (f t)) (exp v) (exp v * d).
Proof. intros F. apply D_comp; [exact F | apply is_derive_exp]. Qed.

Lemma D_sqrt f v d : D f v d -> 0 < v -> D (fun t => sqrt (f t)) (sqrt v) (/ (2 * sqrt v) * d).
Proof.
  intros F V. apply (D_comp f sqrt v d); [exact F|]. auto_derive; [exact V|]. field. apply Rgt_not_eq, sqrt_lt_R0, V.
Qed.

Lemma D_ln f v d : D f v d -> 0 < v -> D (fun t => ln (f t)) (ln v) (/ v * d).
Proof. intros F V. apply D_comp; [exact F | apply is_derive_ln, V]. Qed.

(** A choice that does not depend on t. *)
Lemma D_if (P : Prop) (c : {P} + {~ P}) a f v d :
  D f v d -> D (fun t => if c then a else f t) (if c then a else v) (if c then 0 else d).
Proof. intros F. destruct c; [apply D_const | exact F]. Qed.

(** The fundamental theorem of calculus: the derivative of Phi is the density. *)
Lemma D_Phi f v d : D f v d -> D (fun t => Phi (f t)) (Phi v) (exp ((-1 / 2) * (v * v)) * rsqrt_2pi * d).
Proof.
  intros F. apply D_comp; [exact F|]. unfold Phi.
  set (density := fun s => exp ((-1 / 2) * (s * s)) * rsqrt_2pi).
  assert (C : forall s, continuous density s).
  { intros s. apply (ex_derive_continuous (V := R_NormedModule)). unfold density. auto_derive. easy. }
  replace (exp _ * rsqrt_2pi) with (plus 0 (density v)) by apply Rplus_0_l.
  apply @is_derive_plus; [apply @is_derive_const|].
  apply is_derive_RInt with (a := 0); [|apply C].
  exists (mkposreal 1 Rlt_0_1). intros s _. apply (RInt_correct (V := R_CompleteNormedModule)).
  apply (ex_RInt_continuous (V := R_CompleteNormedModule)). auto.
Qed.

Lemma D_sum n f v d :
  (forall i, (i < n)%nat -> D (fun t => f i t) (v i) (d i)) ->
  D (fun t => sum n (fun i => f i t)) (sum n (fun i => v i)) (sum n (fun i => d i)).
Proof.
  intros H. induction n; simpl; [apply D_const|]. apply (D_plus (fun t => sum n (fun i => f i t)) (f n)); auto.
Qed.

(** Softmax and its logarithm as they are computed, with m subtracted first. Of m no derivative is asked: the maximum
    has none where two entries are equal, and the quotient does not depend on it. *)
Section Softmax.
  Variables (n : nat) (f : R -> R) (g : nat -> R -> R) (m : R -> R) (v d : R) (w e : nat -> R).
  Hypotheses (N : (0 < n)%nat) (F : D f v d).
  Hypothesis G : forall k, (k < n)%nat -> D (fun t => g k t) (w k) (e k).

  Let p (k : nat) := exp (w k - m 0) / sum n (fun j => exp (w j - m 0)).

  Lemma D_sum_exp :
    D (fun t => sum n (fun k => exp (g k t))) (sum n (fun k => exp (w k))) (sum n (fun k => exp (w k) * e k)).
  Proof using F G. apply D_sum. intros k K. apply D_exp, G, K. Qed.

  Lemma weighted : sum n (fun k => p k * e k) = sum n (fun k => exp (w k) * e k) / sum n (fun k => exp (w k)).
  Proof using N.
    unfold Rdiv. rewrite <- sum_scal_r. apply sum_ext. intros k _. unfold p. rewrite softmax_shift by exact N.
    unfold Rdiv. ring.
  Qed.

  Lemma D_softmax :
    D (fun t => exp (f t - m t) / sum n (fun k => exp (g k t - m t)))
      (exp (v - m 0) / sum n (fun j => exp (w j - m 0)))
      (exp (v - m 0) / sum n (fun j => exp (w j - m 0)) * (d - sum n (fun k => p k * e k))).
  Proof using N F G.
    eapply D_ext. { intros t. symmetry. apply softmax_shift, N. }
    rewrite weighted, softmax_shift by exact N. assert (P := sum_exp_pos n w N).
    destruct (D_div _ _ _ _ _ _ (D_exp f v d F) D_sum_exp (Rgt_not_eq _ _ P)) as [V Q]. split; [exact V|].
    evar_last; [exact Q|]. field. lra.
  Qed.

  Lemma D_log_softmax :
    D (fun t => f t - m t - ln (sum n (fun k => exp (g k t - m t))))
      (v - m 0 - ln (sum n (fun j => exp (w j - m 0))))
      (d - sum n (fun k => p k * e k)).
  Proof using N F G.
    eapply D_ext. { intros t. symmetry. apply log_softmax_shift, N. }
    rewrite weighted, log_softmax_shift by exact N. assert (P := sum_exp_pos n w N).
    destruct (D_minus _ _ _ _ _ _ F (D_ln _ _ _ D_sum_exp P)) as [V Q]. split; [exact V|].
    evar_last; [exact Q|]. field. lra.
  Qed.
End Softmax.

(** Else a hypothesis about another array is compared with the goal by unfolding limits, which takes forever. *)
Global Opaque is_derive.
