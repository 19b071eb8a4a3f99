"""Constrained tree beam search: how a model's probabilities become ranked items."""
