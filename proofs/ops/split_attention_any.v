(** Split attention of any number K of branches. Python counts the branches, so for an open K the op cannot be traced
    and its definition is written by hand here; the softmax in it is the traced one. What links it to
    [vipnp/ops/split_attention.py]: for two and three branches the traced ops are this one, proved below; for two to
    six a test compares them. *)
From Proofs Require Import Tactics.
From Statements Require Import softmax split_attention.
From Ops Require Import softmax.

Definition split_attention_any (K B C H W : nat)
    (logits : nat -> nat -> nat -> R) (branches : nat -> nat -> nat -> nat -> nat -> R)
    : (nat -> nat -> nat -> nat -> R) *
      ((nat -> nat -> nat -> nat -> R) -> (nat -> nat -> nat -> R) * (nat -> nat -> nat -> nat -> nat -> R)) :=
  let weights := softmax B C K logits in
  let a := fst weights in
  (fun b h w c : nat => sum K (fun k => a b c k * branches k b h w c),
   fun dy : nat -> nat -> nat -> nat -> R =>
     let da := fun b c k : nat => sum H (fun h => sum W (fun w => dy b h w c * branches k b h w c)) in
     (snd weights da, fun k b h w c : nat => dy b h w c * a b c k)).

Definition split_attention_any_is_correct : Prop :=
  forall (K B C H W : nat)
    (logits : R -> nat -> nat -> nat -> R) (branches : R -> nat -> nat -> nat -> nat -> nat -> R)
    (u_logits : nat -> nat -> nat -> R) (u_branches : nat -> nat -> nat -> nat -> nat -> R),
  (0 < K)%nat ->
  (0 < B)%nat ->
  (0 < C)%nat ->
  (0 < H)%nat ->
  (0 < W)%nat ->
  (forall b c k, is_derive (fun t => logits t b c k) 0 (u_logits b c k)) ->
  (forall k b h w c, is_derive (fun t => branches t k b h w c) 0 (u_branches k b h w c)) ->
  exists v : nat -> nat -> nat -> nat -> R,
  (forall b h w c,
    is_derive (fun t => fst (split_attention_any K B C H W (logits t) (branches t)) b h w c) 0 (v b h w c)) /\
  forall dy : nat -> nat -> nat -> nat -> R,
  let g := snd (split_attention_any K B C H W (logits 0) (branches 0)) dy in
  sum B (fun b => sum H (fun h => sum W (fun w => sum C (fun c => dy b h w c * v b h w c)))) =
  sum B (fun b => sum C (fun c => sum K (fun k => fst g b c k * u_logits b c k))) +
  sum K (fun k => sum B (fun b => sum H (fun h => sum W (fun w => sum C (fun c =>
    snd g k b h w c * u_branches k b h w c))))).

Theorem split_attention_any_value :
  forall K B C H W logits branches b h w c, (0 < K)%nat ->
  fst (split_attention_any K B C H W logits branches) b h w c =
    sum K (fun k => exp (logits b c k) / sum K (fun j => exp (logits b c j)) * branches k b h w c).
Proof.
  intros. unfold split_attention_any; cbv zeta; cbn [fst]. apply sum_ext. intros k _.
  rewrite softmax_value by assumption. reflexivity.
Qed.

(** The theorem of softmax at the gradient [da] of its result; the rest is linear in every argument. *)
Theorem split_attention_any_correct : split_attention_any_is_correct.
Proof.
  unfold split_attention_any_is_correct. intros K B C H W logits branches u_logits u_branches ? ? ? ? ? L X.
  destruct (softmax_correct B C K logits u_logits) as [v [V A]]; try assumption.
  exists (fun b h w c => sum K (fun k =>
    v b c k * branches 0 k b h w c + fst (softmax B C K (logits 0)) b c k * u_branches k b h w c)). split.
  - intros. unfold split_attention_any; cbv zeta; cbn [fst].
    eapply D_is, D_sum. intros k _. cbv beta. apply D_mult; (eapply D_leaf; [reflexivity | first [apply V | apply X]]).
  - intros dy. unfold split_attention_any; cbv zeta; cbn [fst snd]. cbv zeta in A. rewrite <- A.
    generalize (fst (softmax B C K (logits 0))). intros a. inside. setoid_rewrite (sum_exchange C K). f_equal.
    + setoid_rewrite (sum_exchange W K). setoid_rewrite (sum_exchange H K). setoid_rewrite (sum_exchange W C).
      setoid_rewrite (sum_exchange H C). setoid_rewrite (sum_exchange K C). same_terms.
    + setoid_rewrite (sum_exchange W K). setoid_rewrite (sum_exchange H K). rewrite (sum_exchange B K). same_terms.
Qed.

(** * The traced ops of two and of three branches *)

Definition two (x1 x2 : nat -> nat -> nat -> nat -> R) (k : nat) := match k with 0%nat => x1 | _ => x2 end.

Lemma split_attention_2_is_any B C H W logits x1 x2 :
  let traced := split_attention_2 B C H W logits x1 x2 in
  let any := split_attention_any 2 B C H W logits (two x1 x2) in
  (forall b h w c, fst traced b h w c = fst any b h w c) /\
  forall dy, let g := snd traced dy in let g_any := snd any dy in
  (forall b c k, fst (fst g) b c k = fst g_any b c k) /\
  (forall b h w c, snd (fst g) b h w c = snd g_any 0%nat b h w c) /\
  (forall b h w c, snd g b h w c = snd g_any 1%nat b h w c).
Proof.
  split; [intros; cbn; ring|]. intros dy. repeat split. intros b c [|k]; reflexivity.
Qed.

Definition three (x1 x2 x3 : nat -> nat -> nat -> nat -> R) (k : nat) :=
  match k with 0%nat => x1 | 1%nat => x2 | _ => x3 end.

Lemma split_attention_is_any B C H W logits x1 x2 x3 :
  let traced := split_attention B C H W logits x1 x2 x3 in
  let any := split_attention_any 3 B C H W logits (three x1 x2 x3) in
  (forall b h w c, fst traced b h w c = fst any b h w c) /\
  forall dy, let g := snd traced dy in let g_any := snd any dy in
  (forall b c k, fst (fst (fst g)) b c k = fst g_any b c k) /\
  (forall b h w c, snd (fst (fst g)) b h w c = snd g_any 0%nat b h w c) /\
  (forall b h w c, snd (fst g) b h w c = snd g_any 1%nat b h w c) /\
  (forall b h w c, snd g b h w c = snd g_any 2%nat b h w c).
Proof.
  split; [intros; cbn; ring|]. intros dy. repeat split. intros b c [|[|k]]; reflexivity.
Qed.
