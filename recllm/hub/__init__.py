"""Recommenders on the Hugging Face Hub."""
