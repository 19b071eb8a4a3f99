"""Log-probabilities of rolled-out items, computed inside the model's own forward."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import wraps
from types import MethodType
from typing import Any

from torch import Tensor
from transformers import PreTrainedModel

from recllm.catalog.histories import History
from recllm.catalog.trie import Trie
from recllm.decoding.paths import score_paths
from recllm.decoding.scoring import Head, Scoring
from recllm.decoding.support import uses_boolean_mask


@dataclass(frozen=True)
class PathRequest:
    """Which items are to be scored after which prompts.

    Attributes:
        prompts: token ids of each group.
        items: (groups, items) int64 dense items; -1 where there is none.
        exclude: for each group the items that its rollout could not return; None: none.
    """

    prompts: Sequence[Sequence[int]]
    items: Tensor
    trie: Trie
    scoring: Scoring
    exclude: Sequence[History] | None


def add_path_scores(model: PreTrainedModel) -> None:
    """Let `model(paths=request)` return `log_probs` and `entropy`, (groups, items, tokens) each.

    The call is a part of the model's own forward, since what wraps a model for several processes
    (DDP, DeepSpeed) hooks into that. Without `paths` the forward is what it was.

    Args:
        model: the base model, where it is inside a PEFT model.
    """
    original = model.forward

    @wraps(type(model).forward)
    def forward(
        self: PreTrainedModel, *args: Any, paths: PathRequest | None = None, **inputs: Any
    ) -> Any:
        if paths is None:
            return original(*args, **inputs)
        scores = score_paths(
            self.get_decoder(),
            Head.of(self),
            paths.trie,
            paths.prompts,
            paths.items,
            scoring=paths.scoring,
            subset=paths.trie.restrict(paths.exclude, None),
            boolean_mask=uses_boolean_mask(self),
        )
        return {"log_probs": scores.log_probs, "entropy": scores.entropy}

    model.forward = MethodType(forward, model)
