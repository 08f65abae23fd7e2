From Proofs Require Import Tactics.
From Statements Require Import patch_embed.

Theorem patch_embed_correct : patch_embed_is_correct.
Proof. differentiate patch_embed patch_embed_is_correct. multilinear. Qed.
