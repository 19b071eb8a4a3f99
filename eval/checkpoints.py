"""Several checkpoints on the same rows, in one table."""

import json
from collections.abc import Mapping
from pathlib import Path

from recllm.artifacts.atomic import write_text
from recllm.artifacts.cache import Artifact
from recllm.config.schema import Recipe
from recllm.errors import UserError
from recllm.eval.evaluation import evaluate
from recllm.eval.scores import Scores

COLUMNS = ("hit@10", "ndcg@10")


def evaluate_checkpoints(
    recipe: Recipe, artifacts: Mapping[str, Artifact], checkpoints: list[str]
) -> str:
    """Evaluate each checkpoint on the test split; a table of them and of the baselines.

    Predictions and metrics of each go into `eval/checkpoints/` of the run's folder.

    Args:
        artifacts: those of the stages filter, split and baselines.

    Raises:
        UserError: a checkpoint does not exist or does not fit the recipe.
    """
    folders = [_folder(name) for name in checkpoints]
    inputs = {name: artifact.path for name, artifact in artifacts.items()}
    results: dict[str, Scores] = {}
    for number, folder in enumerate(folders):
        out = recipe.output_dir / "eval" / "checkpoints" / str(number)
        out.mkdir(parents=True, exist_ok=True)
        scores = evaluate(recipe, folder, inputs, out)
        write_text(out / "metrics.json", json.dumps(scores, indent=2, allow_nan=False))
        write_text(out / "checkpoint.txt", f"{checkpoints[number]}\n")
        results[checkpoints[number]] = scores
    return _table(results)


def _folder(name: str) -> Path:
    folder = Path(name)
    if not folder.is_dir():
        raise UserError(f"--checkpoint {name}: expected the folder of a checkpoint; there is none")
    return folder / "model" if (folder / "model" / "recllm.json").is_file() else folder


def _table(results: dict[str, Scores]) -> str:
    first = next(iter(results.values()))
    rows = {name: scores["metrics"] for name, scores in results.items()} | first["baselines"]
    width = max(len(name) for name in rows) + 2
    lines = [" " * width + "".join(f"{column:<26}" for column in COLUMNS)]
    for name, metrics in rows.items():
        cells = ""
        for column in COLUMNS:
            if column in metrics:
                low, high = metrics[column]["ci95"]
                cells += f"{metrics[column]['value']:.4f} [{low:.4f}, {high:.4f}]".ljust(26)
        lines.append(f"{name:<{width}}{cells}".rstrip())
    return "\n".join(lines)
