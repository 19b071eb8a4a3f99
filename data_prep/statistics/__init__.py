"""Figures of a log and of its split, computed in Ibis from what the stages wrote."""
