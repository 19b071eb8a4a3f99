"""What a run shows in its output_dir, and that one run at a time does."""

import logging
from contextlib import ExitStack

from recllm.artifacts.atomic import write_text
from recllm.artifacts.cache import Artifact
from recllm.artifacts.manifest import hash_json
from recllm.artifacts.output import occupied
from recllm.artifacts.publish import is_published, publish, withdraw
from recllm.artifacts.stage import Stage
from recllm.artifacts.storage import writing
from recllm.config.loading import to_yaml
from recllm.config.schema import Recipe
from recllm.config.validation import dump

log = logging.getLogger(__name__)

RESOLVED = "resolved.yaml"
#: What is shown of the stages after `sft` and speaks of its model.
RESULTS = ("eval/metrics.json", "eval/predictions.parquet", "report.html", "report.md")
#: Keys that say where things go, not what they are.
PLACES = ("output_dir", "cache_dir", "description")


class RunFolder:
    """The folder `output_dir` of a recipe; nobody else writes there once it is occupied.

    What stands there belongs together: where another model or recipe takes the place of an
    earlier one, the earlier one's results are taken away before (they are still in its cache).
    """

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe
        self.folder = recipe.output_dir
        self._held = ExitStack()
        self._occupied = False

    def __enter__(self) -> "RunFolder":
        return self

    def __exit__(self, *_: object) -> None:
        self._held.close()

    def occupy(self) -> None:
        """Wait for a run of the same recipe that writes there, and keep others from it.

        Raises:
            UserError: a run of another recipe writes there.
        """
        if not self._occupied:
            self._held.enter_context(occupied(self.folder, _identity(self.recipe)))
            self._occupied = True

    def publish(self, stage: Stage, artifact: Artifact) -> None:
        """Show what the stage wants to be shown."""
        if not stage.publishes:
            return
        self.occupy()
        with writing(self.folder, "output_dir"):
            if stage.name == "sft":
                self._start_anew(stage, artifact)
            for source, target in stage.publishes.items():
                publish(artifact.path / source, self.folder / target)

    def _start_anew(self, stage: Stage, artifact: Artifact) -> None:
        """Say which recipe this is; take away the results of any other one."""
        resolved, text = self.folder / RESOLVED, to_yaml(self.recipe)
        same = resolved.is_file() and resolved.read_text(encoding="utf-8") == text
        targets = [(artifact.path / a, self.folder / b) for a, b in stage.publishes.items()]
        if same and all(is_published(source, target) for source, target in targets):
            return
        taken = [name for name in RESULTS if withdraw(self.folder / name)]
        if taken:
            log.info("%s: took away an earlier model's results: %s", self.folder, ", ".join(taken))
        write_text(resolved, text)


def _identity(recipe: Recipe) -> str:
    """Equal for recipes that give equal results, wherever they are put."""
    return hash_json({k: v for k, v in dump(recipe).items() if k not in PLACES})
