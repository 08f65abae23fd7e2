From Proofs Require Import Tactics.
From Statements Require Import split_attention.

(** A sum over the branches, whose number is given, is written out. *)
Lemma sum_S n f : sum (S n) f = sum n f + f n.
Proof. reflexivity. Qed.

Ltac write_out := rewrite ?sum_S; cbn [sum]; cbv beta iota; rewrite ?Rplus_0_l.

(** The weights of the branches by name: nothing but that they are numbers matters. *)
Ltac name_weights :=
  repeat match goal with |- context [exp ?a / ?s] => let w := fresh "w" in set (w := exp a / s) in *; clearbody w end.

(** Factors go under the sums, and sums of sums become one. *)
Ltac join := unfold Rminus; repeat first [rewrite push_l | rewrite push_r | rewrite <- sum_opp | rewrite <- sum_plus].

(** Image by image and channel by channel; then every token has the same on both sides. *)
Ltac attention H W C :=
  setoid_rewrite (sum_exchange W C); setoid_rewrite (sum_exchange H C); by_rows 2;
  write_out; name_weights; do 2 (join; apply sum_ext; intros ? ?); ring.

Theorem split_attention_value :
  forall B C H W logits x1 x2 x3 b h w c,
  let a k := exp (logits b c k) / sum 3 (fun j => exp (logits b c j)) in
  fst (split_attention B C H W logits x1 x2 x3) b h w c =
    a 0%nat * x1 b h w c + a 1%nat * x2 b h w c + a 2%nat * x3 b h w c.
Proof. intros. unfold split_attention; cbv beta zeta; cbn [fst]. rewrite !softmax_shift by lia. reflexivity. Qed.

Theorem split_attention_correct : split_attention_is_correct.
Proof. differentiate split_attention split_attention_is_correct. attention H W C. Qed.

Theorem split_attention_2_value :
  forall B C H W logits x1 x2 b h w c,
  let a k := exp (logits b c k) / sum 2 (fun j => exp (logits b c j)) in
  fst (split_attention_2 B C H W logits x1 x2) b h w c =
    a 0%nat * x1 b h w c + a 1%nat * x2 b h w c.
Proof. intros. unfold split_attention_2; cbv beta zeta; cbn [fst]. rewrite !softmax_shift by lia. reflexivity. Qed.

Theorem split_attention_2_correct : split_attention_2_is_correct.
Proof. differentiate split_attention_2 split_attention_2_is_correct. attention H W C. Qed.

Theorem split_attention_segments_correct : split_attention_segments_is_correct.
Proof. differentiate split_attention_segments split_attention_segments_is_correct. one_row N S. attention H W (N * S)%nat. Qed.
