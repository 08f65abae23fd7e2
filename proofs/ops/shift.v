From Proofs Require Import Tactics.
From Statements Require Import shift.

Theorem shift_value :
  forall B H W N S G V rows columns x b g v n s,
  fst (shift B H W N S G V rows columns x) b g v n s =
    sum W (fun w => columns n v w * sum H (fun h => rows n g h * x b h w n s)).
Proof. reflexivity. Qed.

Theorem shift_correct : shift_is_correct.
Proof. differentiate shift shift_is_correct. multilinear. Qed.
