(* Written by proofs/layers.py from the theorem of permutator; do not edit. *)
From Proofs Require Import Tactics Chain.
From Coq Require Import List.
From Layers Require Import permutator.
Open Scope R_scope.
Opaque sum.

Section Stage.
  Variables (B H W N S D D2 : nat).

  Definition array : Type := nat -> nat -> nat -> nat -> nat -> R.
  (** norm1_weight, norm1_bias, attn_mlp_c_weight, attn_mlp_h_weight, attn_mlp_w_weight, attn_proj_weight, attn_proj_bias, attn_reweight_fc1_weight, attn_reweight_fc1_bias, attn_reweight_fc2_weight, attn_reweight_fc2_bias, norm2_weight, norm2_bias, mlp_fc1_weight, mlp_fc1_bias, mlp_fc2_weight, mlp_fc2_bias. *)
  Definition params : Type := ((nat -> nat -> R) * (nat -> nat -> R) * (nat -> nat -> nat -> nat -> R) * (nat -> nat -> nat -> nat -> R) * (nat -> nat -> nat -> nat -> R) * (nat -> nat -> nat -> nat -> R) * (nat -> nat -> R) * (nat -> nat -> nat -> R) * (nat -> R) * (nat -> nat -> nat -> nat -> R) * (nat -> nat -> nat -> R) * (nat -> nat -> R) * (nat -> nat -> R) * (nat -> nat -> nat -> R) * (nat -> R) * (nat -> nat -> nat -> R) * (nat -> nat -> R))%type.

  Definition dot_x (a u : array) : R := (sum B (fun iB => (sum H (fun iH => (sum W (fun iW => (sum N (fun iN => (sum S (fun iS => a iB iH iW iN iS * u iB iH iW iN iS)))))))))).
  Definition dot_p (p u : params) : R :=
    (sum N (fun iN => (sum S (fun iS => (fst (fst (fst (fst (fst (fst (fst (fst (fst (fst (fst (fst (fst (fst (fst (fst p)))))))))))))))) iN iS * (fst (fst (fst (fst (fst (fst (fst (fst (fst (fst (fst (fst (fst (fst (fst (fst u)))))))))))))))) iN iS)))) +
    (sum N (fun iN => (sum S (fun iS => (snd (fst (fst (fst (fst (fst (fst (fst (fst (fst (fst (fst (fst (fst (fst (fst p)))))))))))))))) iN iS * (snd (fst (fst (fst (fst (fst (fst (fst (fst (fst (fst (fst (fst (fst (fst (fst u)))))))))))))))) iN iS)))) +
    (sum N (fun iN => (sum S (fun iS => (sum N (fun iN' => (sum S (fun iS' => (snd (fst (fst (fst (fst (fst (fst (fst (fst (fst (fst (fst (fst (fst (fst p))))))))))))))) iN iS iN' iS' * (snd (fst (fst (fst (fst (fst (fst (fst (fst (fst (fst (fst (fst (fst (fst u))))))))))))))) iN iS iN' iS')))))))) +
    (sum H (fun iH => (sum S (fun iS => (sum H (fun iH' => (sum S (fun iS' => (snd (fst (fst (fst (fst (fst (fst (fst (fst (fst (fst (fst (fst (fst p)))))))))))))) iH iS iH' iS' * (snd (fst (fst (fst (fst (fst (fst (fst (fst (fst (fst (fst (fst (fst u)))))))))))))) iH iS iH' iS')))))))) +
    (sum W (fun iW => (sum S (fun iS => (sum W (fun iW' => (sum S (fun iS' => (snd (fst (fst (fst (fst (fst (fst (fst (fst (fst (fst (fst (fst p))))))))))))) iW iS iW' iS' * (snd (fst (fst (fst (fst (fst (fst (fst (fst (fst (fst (fst (fst u))))))))))))) iW iS iW' iS')))))))) +
    (sum N (fun iN => (sum S (fun iS => (sum N (fun iN' => (sum S (fun iS' => (snd (fst (fst (fst (fst (fst (fst (fst (fst (fst (fst (fst p)))))))))))) iN iS iN' iS' * (snd (fst (fst (fst (fst (fst (fst (fst (fst (fst (fst (fst u)))))))))))) iN iS iN' iS')))))))) +
    (sum N (fun iN => (sum S (fun iS => (snd (fst (fst (fst (fst (fst (fst (fst (fst (fst (fst p))))))))))) iN iS * (snd (fst (fst (fst (fst (fst (fst (fst (fst (fst (fst u))))))))))) iN iS)))) +
    (sum D (fun iD => (sum N (fun iN => (sum S (fun iS => (snd (fst (fst (fst (fst (fst (fst (fst (fst (fst p)))))))))) iD iN iS * (snd (fst (fst (fst (fst (fst (fst (fst (fst (fst u)))))))))) iD iN iS)))))) +
    (sum D (fun iD => (snd (fst (fst (fst (fst (fst (fst (fst (fst p))))))))) iD * (snd (fst (fst (fst (fst (fst (fst (fst (fst u))))))))) iD)) +
    (sum N (fun iN => (sum S (fun iS => (sum 3 (fun i3 => (sum D (fun iD => (snd (fst (fst (fst (fst (fst (fst (fst p)))))))) iN iS i3 iD * (snd (fst (fst (fst (fst (fst (fst (fst u)))))))) iN iS i3 iD)))))))) +
    (sum N (fun iN => (sum S (fun iS => (sum 3 (fun i3 => (snd (fst (fst (fst (fst (fst (fst p))))))) iN iS i3 * (snd (fst (fst (fst (fst (fst (fst u))))))) iN iS i3)))))) +
    (sum N (fun iN => (sum S (fun iS => (snd (fst (fst (fst (fst (fst p)))))) iN iS * (snd (fst (fst (fst (fst (fst u)))))) iN iS)))) +
    (sum N (fun iN => (sum S (fun iS => (snd (fst (fst (fst (fst p))))) iN iS * (snd (fst (fst (fst (fst u))))) iN iS)))) +
    (sum D2 (fun iD2 => (sum N (fun iN => (sum S (fun iS => (snd (fst (fst (fst p)))) iD2 iN iS * (snd (fst (fst (fst u)))) iD2 iN iS)))))) +
    (sum D2 (fun iD2 => (snd (fst (fst p))) iD2 * (snd (fst (fst u))) iD2)) +
    (sum N (fun iN => (sum S (fun iS => (sum D2 (fun iD2 => (snd (fst p)) iN iS iD2 * (snd (fst u)) iN iS iD2)))))) +
    (sum N (fun iN => (sum S (fun iS => (snd p) iN iS * (snd u) iN iS)))).

  Definition moves_x (x : R -> array) (u : array) : Prop := (forall iB iH iW iN iS, is_derive (fun t => x t iB iH iW iN iS) 0 (u iB iH iW iN iS)).
  Definition moves_p (p : R -> params) (u : params) : Prop :=
    (forall iN iS, is_derive (fun t => (fst (fst (fst (fst (fst (fst (fst (fst (fst (fst (fst (fst (fst (fst (fst (fst (p t))))))))))))))))) iN iS) 0 ((fst (fst (fst (fst (fst (fst (fst (fst (fst (fst (fst (fst (fst (fst (fst (fst u)))))))))))))))) iN iS)) /\
    (forall iN iS, is_derive (fun t => (snd (fst (fst (fst (fst (fst (fst (fst (fst (fst (fst (fst (fst (fst (fst (fst (p t))))))))))))))))) iN iS) 0 ((snd (fst (fst (fst (fst (fst (fst (fst (fst (fst (fst (fst (fst (fst (fst (fst u)))))))))))))))) iN iS)) /\
    (forall iN iS iN' iS', is_derive (fun t => (snd (fst (fst (fst (fst (fst (fst (fst (fst (fst (fst (fst (fst (fst (fst (p t)))))))))))))))) iN iS iN' iS') 0 ((snd (fst (fst (fst (fst (fst (fst (fst (fst (fst (fst (fst (fst (fst (fst u))))))))))))))) iN iS iN' iS')) /\
    (forall iH iS iH' iS', is_derive (fun t => (snd (fst (fst (fst (fst (fst (fst (fst (fst (fst (fst (fst (fst (fst (p t))))))))))))))) iH iS iH' iS') 0 ((snd (fst (fst (fst (fst (fst (fst (fst (fst (fst (fst (fst (fst (fst u)))))))))))))) iH iS iH' iS')) /\
    (forall iW iS iW' iS', is_derive (fun t => (snd (fst (fst (fst (fst (fst (fst (fst (fst (fst (fst (fst (fst (p t)))))))))))))) iW iS iW' iS') 0 ((snd (fst (fst (fst (fst (fst (fst (fst (fst (fst (fst (fst (fst u))))))))))))) iW iS iW' iS')) /\
    (forall iN iS iN' iS', is_derive (fun t => (snd (fst (fst (fst (fst (fst (fst (fst (fst (fst (fst (fst (p t))))))))))))) iN iS iN' iS') 0 ((snd (fst (fst (fst (fst (fst (fst (fst (fst (fst (fst (fst u)))))))))))) iN iS iN' iS')) /\
    (forall iN iS, is_derive (fun t => (snd (fst (fst (fst (fst (fst (fst (fst (fst (fst (fst (p t)))))))))))) iN iS) 0 ((snd (fst (fst (fst (fst (fst (fst (fst (fst (fst (fst u))))))))))) iN iS)) /\
    (forall iD iN iS, is_derive (fun t => (snd (fst (fst (fst (fst (fst (fst (fst (fst (fst (p t))))))))))) iD iN iS) 0 ((snd (fst (fst (fst (fst (fst (fst (fst (fst (fst u)))))))))) iD iN iS)) /\
    (forall iD, is_derive (fun t => (snd (fst (fst (fst (fst (fst (fst (fst (fst (p t)))))))))) iD) 0 ((snd (fst (fst (fst (fst (fst (fst (fst (fst u))))))))) iD)) /\
    (forall iN iS i3 iD, is_derive (fun t => (snd (fst (fst (fst (fst (fst (fst (fst (p t))))))))) iN iS i3 iD) 0 ((snd (fst (fst (fst (fst (fst (fst (fst u)))))))) iN iS i3 iD)) /\
    (forall iN iS i3, is_derive (fun t => (snd (fst (fst (fst (fst (fst (fst (p t)))))))) iN iS i3) 0 ((snd (fst (fst (fst (fst (fst (fst u))))))) iN iS i3)) /\
    (forall iN iS, is_derive (fun t => (snd (fst (fst (fst (fst (fst (p t))))))) iN iS) 0 ((snd (fst (fst (fst (fst (fst u)))))) iN iS)) /\
    (forall iN iS, is_derive (fun t => (snd (fst (fst (fst (fst (p t)))))) iN iS) 0 ((snd (fst (fst (fst (fst u))))) iN iS)) /\
    (forall iD2 iN iS, is_derive (fun t => (snd (fst (fst (fst (p t))))) iD2 iN iS) 0 ((snd (fst (fst (fst u)))) iD2 iN iS)) /\
    (forall iD2, is_derive (fun t => (snd (fst (fst (p t)))) iD2) 0 ((snd (fst (fst u))) iD2)) /\
    (forall iN iS iD2, is_derive (fun t => (snd (fst (p t))) iN iS iD2) 0 ((snd (fst u)) iN iS iD2)) /\
    (forall iN iS, is_derive (fun t => (snd (p t)) iN iS) 0 ((snd u) iN iS)).

  (** One block, with its masks. *)
  Definition one (skip_lam : R) (attn_path : nat -> R) (attn_path_rate : R) (mlp_path : nat -> R) (mlp_path_rate : R) (proj : nat -> nat -> nat -> nat -> nat -> R) (proj_rate : R) (hidden : nat -> nat -> nat -> nat -> R) (hidden_rate : R) (out : nat -> nat -> nat -> nat -> nat -> R) (out_rate : R) : block array params := fun p x =>
    let f := permutator B H W N S D D2 skip_lam attn_path attn_path_rate mlp_path mlp_path_rate proj proj_rate hidden hidden_rate out out_rate x (fst (fst (fst (fst (fst (fst (fst (fst (fst (fst (fst (fst (fst (fst (fst (fst p)))))))))))))))) (snd (fst (fst (fst (fst (fst (fst (fst (fst (fst (fst (fst (fst (fst (fst (fst p)))))))))))))))) (snd (fst (fst (fst (fst (fst (fst (fst (fst (fst (fst (fst (fst (fst (fst p))))))))))))))) (snd (fst (fst (fst (fst (fst (fst (fst (fst (fst (fst (fst (fst (fst p)))))))))))))) (snd (fst (fst (fst (fst (fst (fst (fst (fst (fst (fst (fst (fst p))))))))))))) (snd (fst (fst (fst (fst (fst (fst (fst (fst (fst (fst (fst p)))))))))))) (snd (fst (fst (fst (fst (fst (fst (fst (fst (fst (fst p))))))))))) (snd (fst (fst (fst (fst (fst (fst (fst (fst (fst p)))))))))) (snd (fst (fst (fst (fst (fst (fst (fst (fst p))))))))) (snd (fst (fst (fst (fst (fst (fst (fst p)))))))) (snd (fst (fst (fst (fst (fst (fst p))))))) (snd (fst (fst (fst (fst (fst p)))))) (snd (fst (fst (fst (fst p))))) (snd (fst (fst (fst p)))) (snd (fst (fst p))) (snd (fst p)) (snd p) in
    (fst f, fun dy => let g := snd f dy in ((fst (fst (fst (fst (fst (fst (fst (fst (fst (fst (fst (fst (fst (fst (fst (fst (fst g))))))))))))))))), ((snd (fst (fst (fst (fst (fst (fst (fst (fst (fst (fst (fst (fst (fst (fst (fst (fst g))))))))))))))))), (snd (fst (fst (fst (fst (fst (fst (fst (fst (fst (fst (fst (fst (fst (fst (fst g)))))))))))))))), (snd (fst (fst (fst (fst (fst (fst (fst (fst (fst (fst (fst (fst (fst (fst g))))))))))))))), (snd (fst (fst (fst (fst (fst (fst (fst (fst (fst (fst (fst (fst (fst g)))))))))))))), (snd (fst (fst (fst (fst (fst (fst (fst (fst (fst (fst (fst (fst g))))))))))))), (snd (fst (fst (fst (fst (fst (fst (fst (fst (fst (fst (fst g)))))))))))), (snd (fst (fst (fst (fst (fst (fst (fst (fst (fst (fst g))))))))))), (snd (fst (fst (fst (fst (fst (fst (fst (fst (fst g)))))))))), (snd (fst (fst (fst (fst (fst (fst (fst (fst g))))))))), (snd (fst (fst (fst (fst (fst (fst (fst g)))))))), (snd (fst (fst (fst (fst (fst (fst g))))))), (snd (fst (fst (fst (fst (fst g)))))), (snd (fst (fst (fst (fst g))))), (snd (fst (fst (fst g)))), (snd (fst (fst g))), (snd (fst g)), (snd g)))).

  Lemma one_correct (skip_lam : R) (attn_path : nat -> R) (attn_path_rate : R) (mlp_path : nat -> R) (mlp_path_rate : R) (proj : nat -> nat -> nat -> nat -> nat -> R) (proj_rate : R) (hidden : nat -> nat -> nat -> nat -> R) (hidden_rate : R) (out : nat -> nat -> nat -> nat -> nat -> R) (out_rate : R) : (0 < B)%nat -> (0 < H)%nat -> (0 < W)%nat -> (0 < N)%nat -> (0 < S)%nat -> (0 < D)%nat -> (0 < D2)%nat -> correct array params dot_x dot_p moves_x moves_p (one skip_lam attn_path attn_path_rate mlp_path mlp_path_rate proj proj_rate hidden hidden_rate out out_rate).
  Proof using Type.
    intros P_B P_H P_W P_N P_S P_D P_D2 x p u_x u M_x M_p. unfold moves_p in M_p. unfold one.
    generalize permutator_correct; cbv delta [permutator_is_correct]; generalize permutator; intros f C.
    destruct (C B H W N S D D2 skip_lam attn_path attn_path_rate mlp_path mlp_path_rate proj proj_rate hidden hidden_rate out out_rate x (fun t => (fst (fst (fst (fst (fst (fst (fst (fst (fst (fst (fst (fst (fst (fst (fst (fst (p t)))))))))))))))))) (fun t => (snd (fst (fst (fst (fst (fst (fst (fst (fst (fst (fst (fst (fst (fst (fst (fst (p t)))))))))))))))))) (fun t => (snd (fst (fst (fst (fst (fst (fst (fst (fst (fst (fst (fst (fst (fst (fst (p t))))))))))))))))) (fun t => (snd (fst (fst (fst (fst (fst (fst (fst (fst (fst (fst (fst (fst (fst (p t)))))))))))))))) (fun t => (snd (fst (fst (fst (fst (fst (fst (fst (fst (fst (fst (fst (fst (p t))))))))))))))) (fun t => (snd (fst (fst (fst (fst (fst (fst (fst (fst (fst (fst (fst (p t)))))))))))))) (fun t => (snd (fst (fst (fst (fst (fst (fst (fst (fst (fst (fst (p t))))))))))))) (fun t => (snd (fst (fst (fst (fst (fst (fst (fst (fst (fst (p t)))))))))))) (fun t => (snd (fst (fst (fst (fst (fst (fst (fst (fst (p t))))))))))) (fun t => (snd (fst (fst (fst (fst (fst (fst (fst (p t)))))))))) (fun t => (snd (fst (fst (fst (fst (fst (fst (p t))))))))) (fun t => (snd (fst (fst (fst (fst (fst (p t)))))))) (fun t => (snd (fst (fst (fst (fst (p t))))))) (fun t => (snd (fst (fst (fst (p t)))))) (fun t => (snd (fst (fst (p t))))) (fun t => (snd (fst (p t)))) (fun t => (snd (p t)))
      u_x (fst (fst (fst (fst (fst (fst (fst (fst (fst (fst (fst (fst (fst (fst (fst (fst u)))))))))))))))) (snd (fst (fst (fst (fst (fst (fst (fst (fst (fst (fst (fst (fst (fst (fst (fst u)))))))))))))))) (snd (fst (fst (fst (fst (fst (fst (fst (fst (fst (fst (fst (fst (fst (fst u))))))))))))))) (snd (fst (fst (fst (fst (fst (fst (fst (fst (fst (fst (fst (fst (fst u)))))))))))))) (snd (fst (fst (fst (fst (fst (fst (fst (fst (fst (fst (fst (fst u))))))))))))) (snd (fst (fst (fst (fst (fst (fst (fst (fst (fst (fst (fst u)))))))))))) (snd (fst (fst (fst (fst (fst (fst (fst (fst (fst (fst u))))))))))) (snd (fst (fst (fst (fst (fst (fst (fst (fst (fst u)))))))))) (snd (fst (fst (fst (fst (fst (fst (fst (fst u))))))))) (snd (fst (fst (fst (fst (fst (fst (fst u)))))))) (snd (fst (fst (fst (fst (fst (fst u))))))) (snd (fst (fst (fst (fst (fst u)))))) (snd (fst (fst (fst (fst u))))) (snd (fst (fst (fst u)))) (snd (fst (fst u))) (snd (fst u)) (snd u)
      P_B P_H P_W P_N P_S P_D P_D2 M_x
      (proj1 M_p) (proj1 (proj2 M_p)) (proj1 (proj2 (proj2 M_p))) (proj1 (proj2 (proj2 (proj2 M_p)))) (proj1 (proj2 (proj2 (proj2 (proj2 M_p))))) (proj1 (proj2 (proj2 (proj2 (proj2 (proj2 M_p)))))) (proj1 (proj2 (proj2 (proj2 (proj2 (proj2 (proj2 M_p))))))) (proj1 (proj2 (proj2 (proj2 (proj2 (proj2 (proj2 (proj2 M_p)))))))) (proj1 (proj2 (proj2 (proj2 (proj2 (proj2 (proj2 (proj2 (proj2 M_p))))))))) (proj1 (proj2 (proj2 (proj2 (proj2 (proj2 (proj2 (proj2 (proj2 (proj2 M_p)))))))))) (proj1 (proj2 (proj2 (proj2 (proj2 (proj2 (proj2 (proj2 (proj2 (proj2 (proj2 M_p))))))))))) (proj1 (proj2 (proj2 (proj2 (proj2 (proj2 (proj2 (proj2 (proj2 (proj2 (proj2 (proj2 M_p)))))))))))) (proj1 (proj2 (proj2 (proj2 (proj2 (proj2 (proj2 (proj2 (proj2 (proj2 (proj2 (proj2 (proj2 M_p))))))))))))) (proj1 (proj2 (proj2 (proj2 (proj2 (proj2 (proj2 (proj2 (proj2 (proj2 (proj2 (proj2 (proj2 (proj2 M_p)))))))))))))) (proj1 (proj2 (proj2 (proj2 (proj2 (proj2 (proj2 (proj2 (proj2 (proj2 (proj2 (proj2 (proj2 (proj2 (proj2 M_p))))))))))))))) (proj1 (proj2 (proj2 (proj2 (proj2 (proj2 (proj2 (proj2 (proj2 (proj2 (proj2 (proj2 (proj2 (proj2 (proj2 (proj2 M_p)))))))))))))))) (proj2 (proj2 (proj2 (proj2 (proj2 (proj2 (proj2 (proj2 (proj2 (proj2 (proj2 (proj2 (proj2 (proj2 (proj2 (proj2 M_p))))))))))))))))) as [v [M_v A]].
    exists v. split; [exact M_v|]. intros dy. specialize (A dy). cbv beta zeta in *. cbn [fst snd].
    etransitivity; [exact A|]. unfold dot_x, dot_p. cbn [fst snd].
    repeat apply one_later. reflexivity.
  Qed.

  Definition any_depth : Prop :=
    (0 < B)%nat -> (0 < H)%nat -> (0 < W)%nat -> (0 < N)%nat -> (0 < S)%nat -> (0 < D)%nat -> (0 < D2)%nat ->
    forall fs : list (block array params),
    Forall (fun f => exists skip_lam attn_path attn_path_rate mlp_path mlp_path_rate proj proj_rate hidden hidden_rate out out_rate, f = one skip_lam attn_path attn_path_rate mlp_path mlp_path_rate proj proj_rate hidden hidden_rate out out_rate) fs ->
    forall (ps : list (R -> params)) (us : list params) (x : R -> array) (u_x : array),
    length ps = length fs -> moves_x x u_x -> Forall2 moves_p ps us ->
    exists v : array, moves_x (fun t => fst (stage array params fs (map (fun p => p t) ps) (x t))) v /\
    forall dy : array, let g := snd (stage array params fs (map (fun p => p 0) ps) (x 0)) dy in
    dot_x dy v = dot_x (fst g) u_x + dots params dot_p (snd g) us.

  Lemma any_depth_correct : any_depth.
  Proof using Type.
    intros P_B P_H P_W P_N P_S P_D P_D2 fs F ps us x u_x L M Q.
    apply (Chain.stage_correct array params dot_x dot_p moves_x moves_p fs); [|exact L|exact M|exact Q].
    revert F. apply Forall_impl. intros f (skip_lam & attn_path & attn_path_rate & mlp_path & mlp_path_rate & proj & proj_rate & hidden & hidden_rate & out & out_rate & ->). apply one_correct; assumption.
  Qed.
End Stage.

Definition stage_is_correct : Prop := forall (B H W N S D D2 : nat), any_depth B H W N S D D2.

Theorem stage_correct : stage_is_correct.
Proof. exact any_depth_correct. Qed.
