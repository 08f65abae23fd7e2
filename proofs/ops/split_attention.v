From Proofs Require Import Tactics.
From Statements Require Import split_attention.

(** A sum over the branches, whose number is given, is written out. *)
Lemma sum_S n f : sum (S n) f = sum n f + f n.
Proof. reflexivity. Qed.

Ltac write_out := rewrite ?sum_S; cbn [sum]; cbv beta iota; rewrite ?Rplus_0_l.

(** The weights of the branches by name: nothing but that they are numbers matters. *)
Ltac name_weights :=
  repeat match goal with |- context [exp ?a / ?s] => let w := fresh "w" in set (w := exp a / s) in *; clearbody w end.

(** Image by image and channel by channel. *)
Ltac attention H W C :=
  setoid_rewrite (sum_exchange W C); setoid_rewrite (sum_exchange H C); by_rows 2;
  write_out; name_weights; setoid_rewrite minus_plus; inside; name_sums; ring.

Theorem split_attention_correct : split_attention_is_correct.
Proof. differentiate split_attention split_attention_is_correct. attention H W C. Qed.

Theorem split_attention_2_correct : split_attention_2_is_correct.
Proof. differentiate split_attention_2 split_attention_2_is_correct. attention H W C. Qed.
