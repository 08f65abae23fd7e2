From Proofs Require Import Tactics.
From Statements Require Import resample_mixing.

Theorem resample_mixing_value :
  forall G S H spread gather weight h t k s,
  fst (resample_mixing G S H spread gather weight) h t k s =
    sum G (fun i => sum G (fun j => spread h i * weight i t j s * gather j k)).
Proof.
  intros. rewrite sum_exchange. unfold resample_mixing; cbn. apply sum_ext; intros j _. symmetry. apply sum_scal_r.
Qed.

Theorem resample_mixing_correct : resample_mixing_is_correct.
Proof. differentiate resample_mixing resample_mixing_is_correct. multilinear. Qed.
