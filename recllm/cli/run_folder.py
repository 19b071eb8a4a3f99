"""What a run shows in its output_dir, and that one run at a time does."""

import logging
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import yaml

from recllm.artifacts.atomic import write_text
from recllm.artifacts.cache import Artifact
from recllm.artifacts.manifest import hash_json
from recllm.artifacts.output import occupied
from recllm.artifacts.publish import check_replaceable, is_published, publish, withdraw
from recllm.artifacts.stage import Stage
from recllm.artifacts.storage import writing
from recllm.config.loading import to_yaml
from recllm.config.schema import Recipe
from recllm.config.validation import dump
from recllm.errors import UserError

log = logging.getLogger(__name__)

#: The recipe of what is shown. Only a folder that has it is a run's.
RESOLVED = "resolved.yaml"
#: What `recllm eval --checkpoint` shows.
CHECKPOINTS = "eval/checkpoints"
#: What `recllm sid extend` shows: the model with a larger catalogue.
EXTENDED = "extended"
#: What each stage shows, and that command, in the order of the stages; what is later speaks of
#: what is earlier.
SHOWN: dict[str, tuple[str, ...]] = {
    "prompts": ("samples.md",),
    "sft": ("model", "metrics.jsonl", "sft/model", "sft/metrics.jsonl"),
    "rl": ("model", "metrics.jsonl"),
    "sid extend": (EXTENDED,),
    "eval": (
        "eval/metrics.json",
        "eval/predictions.parquet",
        "eval/candidates.parquet",
        CHECKPOINTS,
    ),
    "report": ("report.html", "report.md", "report.csv"),
}
FOLDERS = ("model", "sft/model", EXTENDED, CHECKPOINTS)
#: Keys that say where things go, not what they are.
PLACES = ("output_dir", "cache_dir", "description", "hub")


class RunFolder:
    """The folder `output_dir` of a recipe; nobody else writes there once it is occupied.

    What stands there belongs together: where another recipe takes the place of an earlier one,
    or a stage shows something new, what was shown of the earlier recipe or of later stages is
    taken away before. The stages' own results are still in their cache; those of
    `recllm eval --checkpoint` and `recllm sid extend` are nowhere else.

    Attributes:
        waiting: whether it waits for another run to leave the folder.
    """

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe
        self.folder = recipe.output_dir
        self.waiting = False
        self._held = ExitStack()
        self._occupied = False

    def __enter__(self) -> "RunFolder":
        return self

    def __exit__(self, *_: object) -> None:
        self._held.close()

    def check(self) -> None:
        """Refuse a folder in which something that no run has shown would be replaced.

        Raises:
            UserError: it holds such a thing; nothing was changed.
        """
        is_a_runs = (self.folder / RESOLVED).is_file()
        for name in _names(SHOWN):
            target = self.folder / name
            check_replaceable(target)
            if target.is_dir() or not (target.exists() or target.is_symlink()):
                continue
            if name in FOLDERS or not is_a_runs:
                raise UserError(
                    f"{target} exists and was not made by recllm, which would replace it; "
                    "move it, or set another output_dir"
                )

    def occupy(self) -> None:
        """Wait for a run of the same recipe that writes there, and keep others from it.

        Raises:
            UserError: a run of another recipe writes there.
        """
        if not self._occupied:
            self.waiting = True
            places = {str(Path(name).parent) for name in _names(SHOWN)}
            identity = identity_of(dump(self.recipe))
            self._held.enter_context(occupied(self.folder, identity, places))
            self._occupied, self.waiting = True, False

    def publish(self, stage: Stage, artifact: Artifact) -> None:
        """Show what the stage wants to be shown."""
        self._show(stage.name, {artifact.path / a: b for a, b in stage.publishes.items()})

    def publish_checkpoints(self, results: Path) -> None:
        """Show what `recllm eval --checkpoint` found."""
        self._show(None, {results: CHECKPOINTS})

    def publish_extension(self, model: Path) -> None:
        """Show the run's model with a larger catalogue, beside what is shown."""
        self.occupy()
        with writing(self.folder, "output_dir"):
            publish(model, self.folder / EXTENDED)

    def _show(self, stage: str | None, sources: Mapping[Path, str]) -> None:
        if not sources:
            return
        self.occupy()
        with writing(self.folder, "output_dir"):
            self._start_anew()
            targets = {source: self.folder / name for source, name in sources.items()}
            if stage and not all(is_published(*pair) for pair in targets.items()):
                later = list(SHOWN)[list(SHOWN).index(stage) + 1 :]
                self._take_away("spoke of what is replaced", _names(later))
            for source, target in targets.items():
                publish(source, target)

    def _start_anew(self) -> None:
        """Say which recipe this is; take away what was shown of any other one."""
        resolved, text = self.folder / RESOLVED, to_yaml(self.recipe)
        before = resolved.read_text(encoding="utf-8") if resolved.is_file() else ""
        if before == text:
            return
        self.check()
        same = identity_of(read_resolved(before)) == identity_of(dump(self.recipe))
        # The report shows the recipe's description and places too.
        self._take_away("was another recipe's", _names(["report"] if same else SHOWN))
        write_text(resolved, text)

    def _take_away(self, why: str, names: Iterable[str]) -> None:
        taken = [name for name in names if withdraw(self.folder / name)]
        if taken:
            log.info("%s: took away what %s: %s", self.folder, why, ", ".join(taken))


def _names(stages: Iterable[str]) -> list[str]:
    return [name for stage in stages for name in SHOWN[stage]]


def read_resolved(text: str) -> dict[str, Any]:
    """The keys of a resolved recipe; none where it is not one."""
    try:
        keys = yaml.safe_load(text)
    except yaml.YAMLError:
        return {}
    return keys if isinstance(keys, dict) else {}


def identity_of(keys: Mapping[str, Any]) -> str:
    """Equal for recipes that give equal results, wherever they are put."""
    return hash_json({k: v for k, v in keys.items() if k not in PLACES})
