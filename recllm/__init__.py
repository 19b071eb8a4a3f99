"""recllm: make an open LLM a recommender."""

__version__ = "0.1.0"
