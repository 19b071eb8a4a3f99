"""Where a checkpoint comes from: its recipe, the manifests of its stages, how it was evaluated."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from recllm.artifacts.manifest import Manifest
from recllm.config.schema import Recipe


@dataclass(frozen=True)
class Provenance:
    """What is known of a checkpoint beside its own files; nothing of a bare one.

    Attributes:
        recipe: of the run that it was trained by.
        manifests: by stage, in the order in which the stages ran.
        metrics: the content of the evaluation's metrics.json.
        statistics: the content of statistics.json: what the log and its split are like.
    """

    recipe: Recipe | None = None
    manifests: Mapping[str, Manifest] = field(default_factory=dict)
    metrics: Mapping[str, Any] | None = None
    statistics: Mapping[str, Any] | None = None

    @property
    def fine_tuned_from(self) -> str | None:
        """The model on the Hub that training began from; None: a folder's, none, or not known."""
        if "sft" not in self.manifests:
            return None
        model = self.manifests["sft"].settings["model"]
        return model["name"] if model["files"] is None else None
