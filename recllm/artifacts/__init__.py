"""Artifacts: folders with a manifest, a cache of them, atomic writes and locks."""
