"""recllm: make an open LLM a recommender."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from recllm.models.recommender import Recommender
    from recllm.models.requests import Recommendation

__version__ = "0.1.0"
__all__ = ["Recommendation", "Recommender", "__version__"]


def __getattr__(name: str) -> Any:
    """What needs torch is imported when it is asked for."""
    if name == "Recommender":
        from recllm.models.recommender import Recommender

        return Recommender
    if name == "Recommendation":
        from recllm.models.requests import Recommendation

        return Recommendation
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
