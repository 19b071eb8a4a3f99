"""Backbones: loading, building from scratch, and the vocabulary of SID tokens."""
