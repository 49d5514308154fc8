"""Transactions, blocks, state, proofs, and the files that keep them."""
