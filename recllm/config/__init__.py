"""Recipes: their schema, loading, inheritance and overrides."""
