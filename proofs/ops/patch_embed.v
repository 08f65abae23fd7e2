From Proofs Require Import Tactics.
From Statements Require Import patch_embed.

Theorem patch_embed_value :
  forall B C h P w Q K x weight bias b i j k,
  fst (patch_embed B C h P w Q K x weight bias) b i j k =
    sum C (fun c => sum P (fun p => sum Q (fun q => x b c i p j q * weight k c p q))) + bias k.
Proof. intros. reflexivity. Qed.

Theorem patch_embed_correct : patch_embed_is_correct.
Proof. differentiate patch_embed patch_embed_is_correct. multilinear. Qed.
