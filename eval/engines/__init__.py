"""Engines: each ranks the catalogue for a batch of histories with a checkpoint."""
