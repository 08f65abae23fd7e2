(** The tactics that prove [OP_is_correct]: [differentiate] finds the derivative of the result and leaves an equation
    between sums; [multilinear] and [polynomial] prove it. *)
From Coq Require Export Reals Lra Lia Setoid Morphisms.
From Coquelicot Require Export Coquelicot.
From Proofs Require Export Arrays Derivatives.
Open Scope R_scope.

(** * Differentiation *)

Ltac size := first [assumption | lia].

(** Positive or nonzero for a reason that shows. *)
Ltac positive :=
  lazymatch goal with
  | |- _ <> 0 => apply Rgt_not_eq; red; positive
  | |- 0 < sqrt _ => apply sqrt_lt_R0; positive
  | |- 0 < exp _ => apply exp_pos
  | |- 0 < INR _ => apply lt_0_INR; size
  | |- 0 < sum _ _ => apply sum_pos; [size | intros ?; positive]
  | |- 0 < _ * _ => apply Rmult_lt_0_compat; positive
  | |- 0 < _ / _ => apply Rdiv_lt_0_compat; positive
  | |- 0 < _ + _ => apply Rplus_le_lt_0_compat; positive
  | |- 0 <= _ / _ => apply Rcomplements.Rdiv_le_0_compat; positive
  | |- 0 <= sum _ _ => apply sum_nonneg; intros ?; positive
  | |- 0 <= ?a * ?a => apply Rle_0_sqr
  | _ => first [assumption | lra]
  end.

Ltac constant f := lazymatch f with (fun _ => _) => idtac end.

(** Proves [D f ?v ?d] and finds v and d. *)
Ltac derive :=
  cbv beta;
  lazymatch goal with
  | |- D (fun _ => ?a) _ _ => apply D_const
  | |- D (fun t => exp (@?f t - @?m t) / sum ?n (fun k => exp (@?g k t - _))) _ _ =>
      eapply (D_softmax n f g m); [size | derive | intros ? ?; derive]
  | |- D (fun t => @?f t - @?m t - ln (sum ?n (fun k => exp (@?g k t - _)))) _ _ =>
      eapply (D_log_softmax n f g m); [size | derive | intros ? ?; derive]
  | |- D (fun t => sum ?n (fun i => @?f i t)) _ _ => eapply (D_sum n f); intros ? ?; derive
  | |- D (fun t => @?f t + @?g t) _ _ => eapply (D_plus f g); derive
  | |- D (fun t => @?f t - @?g t) _ _ => eapply (D_minus f g); derive
  | |- D (fun t => - @?f t) _ _ => eapply (D_opp f); derive
  | |- D (fun t => @?f t * @?g t) _ _ =>
      first [constant f; eapply D_mult_l | constant g; eapply D_mult_r | eapply (D_mult f g)]; derive
  | |- D (fun t => @?f t / @?g t) _ _ =>
      first [constant g; eapply D_div_r; derive | eapply (D_div f g); [derive | derive | positive]]
  | |- D (fun t => if ?c then ?a else @?f t) _ _ => eapply (D_if _ c a f); derive
  | |- D (fun t => exp (@?f t)) _ _ => eapply (D_exp f); derive
  | |- D (fun t => sqrt (@?f t)) _ _ => eapply (D_sqrt f); [derive | positive]
  | |- D (fun t => ln (@?f t)) _ _ => eapply (D_ln f); [derive | positive]
  | |- D (fun t => Phi (@?f t)) _ _ => eapply (D_Phi f); derive
  | _ => eapply D_leaf; [cbv beta; reflexivity | match goal with H : context [is_derive] |- _ => apply H end]
  end.

(** Leaves the equation: the sum of dy * derivative is the sum of pullback(dy) * velocities. *)
Ltac differentiate op op_is_correct :=
  unfold op_is_correct; intros; cbv beta zeta iota delta [op fst snd]; eexists; split;
  [intros; eapply D_is; derive | intros dy; cbv beta].

(** * Multilinear ops: everything under the sums, and the sums in one order *)

Global Instance sum_morphism : Proper (eq ==> pointwise_relation nat eq ==> eq) sum.
Proof. intros n _ <- f g E. apply sum_ext. intros i _. apply E. Qed.

Lemma push_l n a f : a * sum n f = sum n (fun i => a * f i).
Proof. symmetry. apply sum_scal_l. Qed.

Lemma push_r n a f : sum n f * a = sum n (fun i => f i * a).
Proof. symmetry. apply sum_scal_r. Qed.

Lemma push_div n a f : sum n f / a = sum n (fun i => f i / a).
Proof. symmetry. apply sum_scal_r. Qed.

Lemma div_plus a b c : (a + b) / c = a / c + b / c.
Proof. apply Rdiv_plus_distr. Qed.

Ltac inside :=
  repeat first
    [ setoid_rewrite Rmult_plus_distr_l | setoid_rewrite Rmult_plus_distr_r | setoid_rewrite div_plus
    | setoid_rewrite sum_plus | setoid_rewrite push_l | setoid_rewrite push_r | setoid_rewrite push_div ].

(** Marks the sizes of the hypotheses: [order] brings sums over them into one order, the same on both sides. *)
Definition to_order (n : nat) : Prop := True.

Ltac order :=
  repeat match goal with
  | _ : (0 < ?a)%nat |- _ =>
      lazymatch goal with _ : to_order a |- _ => fail | _ => assert (to_order a) by exact I end
  end;
  repeat match goal with
  | H : to_order ?a |- _ =>
      clear H; repeat match goal with _ : to_order ?b |- _ => setoid_rewrite (sum_exchange b a) end
  end.

Ltac algebra := first [ring | unfold Rdiv; ring | field; repeat split; positive].

(** Two sums over one size have no order: both are tried. *)
Ltac same_terms := repeat (apply sum_ext; intros ? ?); algebra.
Ltac same :=
  first [same_terms | rewrite sum_exchange; same_terms | apply sum_ext; intros ? ?; rewrite sum_exchange; same_terms].

(** Gives every sum a name, and equal sums the same one. *)
Ltac name_sums :=
  repeat match goal with
  | |- context [sum ?n ?f] =>
      repeat match goal with
        | |- context [sum n ?g] => lazymatch g with f => fail | _ => replace (sum n g) with (sum n f) by same end
        end;
      let s := fresh "s" in set (s := sum n f) in *; clearbody s
  end.

Ltac multilinear := inside; order; name_sums; algebra.

(** * Ops that work row by row: every sum of a row becomes a polynomial in sums of products of its entries *)

Lemma rows m n f u : sum n (fun c => sum m (fun r => f r c) * u c) = sum m (fun r => sum n (fun c => f r c * u c)).
Proof. rewrite sum_exchange. apply sum_ext. intros. symmetry. apply sum_scal_r. Qed.

(** The first n sums of both sides are the same: it is enough to look at one row. *)
Tactic Notation "by_rows" integer(n) := do n (repeat setoid_rewrite rows; rewrite <- ?sum_plus; apply sum_ext; intros ? ?).

(** Where the row is cut into n segments of length m, it becomes one row again. *)
Ltac one_row n m :=
  repeat setoid_rewrite (sum_segments n m); rewrite <- ?mult_INR;
  assert (0 < n * m)%nat by (apply Nat.mul_pos_pos; assumption).

Lemma minus_plus a b : a - b = a + (-1) * b.
Proof. ring. Qed.

Ltac monomials :=
  unfold Rdiv; repeat setoid_rewrite minus_plus;
  repeat first [setoid_rewrite Rmult_plus_distr_l | setoid_rewrite Rmult_plus_distr_r];
  repeat setoid_rewrite <- Rmult_assoc.

(** A factor that does not depend on the index leaves the sum, wherever it stands in a product. *)
Section Pull.
  Variables (n : nat) (a : R) (f g h k : nat -> R).
  Lemma pull_2 : sum n (fun i => f i * a * g i) = sum n (fun i => f i * g i) * a.
  Proof. rewrite <- sum_scal_r. apply sum_ext. intros. ring. Qed.
  Lemma pull_3 : sum n (fun i => f i * a * g i * h i) = sum n (fun i => f i * g i * h i) * a.
  Proof. rewrite <- sum_scal_r. apply sum_ext. intros. ring. Qed.
  Lemma pull_4 : sum n (fun i => f i * a * g i * h i * k i) = sum n (fun i => f i * g i * h i * k i) * a.
  Proof. rewrite <- sum_scal_r. apply sum_ext. intros. ring. Qed.
  Lemma head_2 : sum n (fun i => a * f i * g i) = sum n (fun i => f i * g i) * a.
  Proof. rewrite <- sum_scal_r. apply sum_ext. intros. ring. Qed.
  Lemma head_3 : sum n (fun i => a * f i * g i * h i) = sum n (fun i => f i * g i * h i) * a.
  Proof. rewrite <- sum_scal_r. apply sum_ext. intros. ring. Qed.
  Lemma head_4 : sum n (fun i => a * f i * g i * h i * k i) = sum n (fun i => f i * g i * h i * k i) * a.
  Proof. rewrite <- sum_scal_r. apply sum_ext. intros. ring. Qed.
End Pull.

Ltac pull :=
  repeat first
    [ rewrite sum_plus | rewrite sum_const | rewrite sum_scal_l | rewrite sum_scal_r | rewrite pull_2 | rewrite head_2
    | rewrite pull_3 | rewrite head_3 | rewrite pull_4 | rewrite head_4 ].

Ltac polynomial := monomials; pull; name_sums; algebra.

(** Roots by name: only that they are positive matters. *)
Ltac name_roots :=
  repeat match goal with
  | |- context [sqrt ?e] =>
      let r := fresh "r" in let P := fresh "P" in
      assert (P : 0 < sqrt e) by positive; set (r := sqrt e) in *; clearbody r
  end.

(** The exponentials under a sum by name, as a function of the index, and their total. *)
Ltac name_exp :=
  lazymatch goal with
  | |- context [sum ?n (fun k => exp (@?a k))] =>
      let e := fresh "e" in let E := fresh "E" in let P := fresh "P" in
      assert (exists e : nat -> R, (forall k, exp (a k) = e k) /\ (forall k, 0 < e k)) as [e [E P]]
        by (exists (fun k => exp (a k)); split; intros; [reflexivity | apply exp_pos]);
      cbv beta in E; repeat setoid_rewrite E; clear E;
      let T := fresh "T" in let Q := fresh "Q" in
      assert (Q : 0 < sum n (fun k => e k)) by (apply sum_pos; [size | exact P]);
      set (T := sum n (fun k => e k)) in *; clearbody T
  end.

(** * Layers: the equations of the ops, each at the cotangent that reaches it, add up *)

Lemma is_derive_sum (f g : R -> R) (d e : R) :
  is_derive f 0 d -> is_derive g 0 e -> is_derive (fun t => f t + g t) 0 (d + e).
Proof. exact (is_derive_plus f g 0 d e). Qed.

Ltac spread :=
  repeat setoid_rewrite Rmult_plus_distr_r; repeat setoid_rewrite Rmult_plus_distr_l; repeat setoid_rewrite sum_plus.

Ltac spread_in E :=
  repeat setoid_rewrite Rmult_plus_distr_r in E; repeat setoid_rewrite Rmult_plus_distr_l in E;
  repeat setoid_rewrite sum_plus in E.
