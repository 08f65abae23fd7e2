From Proofs Require Import Tactics.
From Statements Require Import global_average_pool.

Theorem global_average_pool_value :
  forall B H W C x b c, (0 < H)%nat -> (0 < W)%nat ->
  fst (global_average_pool B H W C x) b c = 1 / (INR H * INR W) * sum H (fun h => sum W (fun w => x b h w c)).
Proof.
  intros. unfold global_average_pool; cbn. setoid_rewrite <- push_div. field. split; positive.
Qed.

Theorem global_average_pool_correct : global_average_pool_is_correct.
Proof. differentiate global_average_pool global_average_pool_is_correct. multilinear. Qed.

Theorem global_average_pool_segments_correct : global_average_pool_segments_is_correct.
Proof. differentiate global_average_pool_segments global_average_pool_segments_is_correct. multilinear. Qed.
