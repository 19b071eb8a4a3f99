"""Several checkpoints on the same rows, in one table."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from recllm.artifacts.cache import Artifact
from recllm.config.schema import Recipe
from recllm.errors import UserError
from recllm.eval.protocols import protocol_of
from recllm.eval.report.formats import with_interval
from recllm.models.references import DESCRIPTION

COLUMNS = ("hit@10", "ndcg@10", "auc")


def evaluate_checkpoints(
    recipe: Recipe,
    artifacts: Mapping[str, Artifact],
    checkpoints: Mapping[str, Path],
    folder: Path,
) -> str:
    """Evaluate each checkpoint on the test split; a table of them and of the baselines.

    Args:
        artifacts: those of the stages filter, split and baselines.
        checkpoints: the folder of each, by the name that the table shows.
        folder: where predictions and metrics of each are written, in folders numbered from 0.

    Raises:
        UserError: a checkpoint does not fit the recipe.
    """
    inputs = {name: artifact.path for name, artifact in artifacts.items()}
    protocol = protocol_of(recipe)
    protocol.check()
    results: dict[str, Mapping[str, Any]] = {}
    for number, (name, checkpoint) in enumerate(checkpoints.items()):
        out = folder / str(number)
        out.mkdir()
        results[name] = protocol.evaluate(checkpoint, inputs, out)
        stated = {"checkpoint": name, **results[name]}
        (out / "metrics.json").write_text(json.dumps(stated, indent=2, allow_nan=False))
    return _table(results)


def find_checkpoint(name: str) -> Path:
    """The checkpoint in a folder: the folder itself, or `model` in the folder of a run.

    Raises:
        UserError: there is no such folder, or it holds no checkpoint.
    """
    folder = Path(name)
    if not folder.is_dir():
        raise UserError(f"--checkpoint {name}: expected the folder of a checkpoint; there is none")
    for found in (folder / "model", folder):
        if (found / DESCRIPTION).is_file():
            return found
    raise UserError(
        f"--checkpoint {name}: expected a recllm checkpoint, found no {DESCRIPTION}; "
        "give the folder of a finished run, or `model` in it"
    )


def _table(results: Mapping[str, Mapping[str, Any]]) -> str:
    first = next(iter(results.values()))
    rows = {name: scores["metrics"] for name, scores in results.items()} | first["baselines"]
    width = max(len(name) for name in rows) + 2
    columns = [name for name in COLUMNS if any(name in metrics for metrics in rows.values())]
    lines = [" " * width + "".join(f"{column:<26}" for column in columns)]
    for name, metrics in rows.items():
        cells = "".join(f"{with_interval(metrics.get(column)):<26}" for column in columns)
        lines.append(f"{name:<{width}}{cells}".rstrip())
    return "\n".join(lines)
