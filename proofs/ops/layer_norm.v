From Proofs Require Import Tactics.
From Statements Require Import layer_norm.

Theorem layer_norm_value :
  forall B H W C eps x weight bias b h w c,
  let mean f := sum C f / INR C in
  let mu := mean (fun j => x b h w j) in
  let var := mean (fun j => (x b h w j - mu) * (x b h w j - mu)) in
  fst (layer_norm B H W C eps x weight bias) b h w c =
    weight c * ((x b h w c - mu) / sqrt (var + eps)) + bias c.
Proof. intros. unfold layer_norm, Rdiv; cbn. rewrite Rmult_1_l. reflexivity. Qed.

Theorem layer_norm_correct : layer_norm_is_correct.
Proof. differentiate layer_norm layer_norm_is_correct. by_rows 3. name_roots. polynomial. Qed.

Theorem layer_norm_rows_value :
  forall M C eps x weight bias m c,
  let mean f := sum C f / INR C in
  let mu := mean (fun j => x m j) in
  let var := mean (fun j => (x m j - mu) * (x m j - mu)) in
  fst (layer_norm_rows M C eps x weight bias) m c =
    weight c * ((x m c - mu) / sqrt (var + eps)) + bias c.
Proof. intros. unfold layer_norm_rows, Rdiv; cbn. rewrite Rmult_1_l. reflexivity. Qed.

Theorem layer_norm_rows_correct : layer_norm_rows_is_correct.
Proof. differentiate layer_norm_rows layer_norm_rows_is_correct. by_rows 1. name_roots. polynomial. Qed.

Theorem layer_norm_segments_correct : layer_norm_segments_is_correct.
Proof. differentiate layer_norm_segments layer_norm_segments_is_correct. one_row N S. by_rows 3. name_roots. polynomial. Qed.
