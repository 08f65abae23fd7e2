"""Theorems in Coq about the ops, for every shape, stated by the source of the ops. See docs/proofs.md."""
