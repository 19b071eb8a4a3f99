"""Where a checkpoint comes from: its recipe, the manifests of its stages, how it was evaluated."""

import json
import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from recllm.artifacts.manifest import Manifest
from recllm.config.loading import read_recipe
from recllm.config.schema import Recipe
from recllm.config.validation import validate
from recllm.errors import UserError

log = logging.getLogger(__name__)

Parsed = TypeVar("Parsed")

#: Where a repository on the Hub has it all, beside a checkpoint's own files.
RECIPE, METRICS, MANIFESTS = "recipe.yaml", "metrics.json", "manifests"


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


def read_published(folder: Path) -> Provenance:
    """What stands beside a checkpoint that came from the Hub; nothing where it did not.

    What cannot be read is logged, and taken for missing.
    """
    if not (folder / MANIFESTS).is_dir():
        return Provenance()
    manifests = [
        manifest
        for path in (folder / MANIFESTS).glob("*.json")
        if (manifest := _read(path, Manifest.model_validate_json)) and manifest.stage == path.stem
    ]
    return Provenance(
        recipe=_read(folder / RECIPE, lambda _: validate(read_recipe(folder / RECIPE))),
        manifests={manifest.stage: manifest for manifest in _in_order(manifests)},
        metrics=_read(folder / METRICS, json.loads),
    )


def _read(path: Path, parse: Callable[[str], Parsed]) -> Parsed | None:
    if not path.is_file():
        return None
    try:
        return parse(path.read_text(encoding="utf-8"))
    except (UserError, ValueError) as error:
        log.warning("%s cannot be read, and is left out: %s", path, " ".join(str(error).split()))
        return None


def _in_order(manifests: Iterable[Manifest]) -> list[Manifest]:
    """Parents before children."""
    waiting, ordered = sorted(manifests, key=lambda m: m.stage), list[Manifest]()
    while waiting:
        names = {manifest.stage for manifest in waiting}
        ready = [m for m in waiting if names.isdisjoint(m.parents)] or waiting
        ordered += ready
        waiting = [manifest for manifest in waiting if manifest not in ready]
    return ordered
