"""Several checkpoints on the same rows, in one table."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from recllm.artifacts.cache import Artifact
from recllm.config.schema import Recipe
from recllm.eval.comparison import Comparison, Origin, compare, group_seeds
from recllm.eval.estimates import Bootstrap, headline_names
from recllm.eval.protocols import protocol_of
from recllm.results.formats import beside_base, outside_catalogue, with_interval

COLUMNS = ("hit@10", "ndcg@10", "auc")


def evaluate_checkpoints(
    recipe: Recipe,
    artifacts: Mapping[str, Artifact],
    checkpoints: Mapping[str, Path],
    origins: Mapping[str, Origin],
    folder: Path,
) -> str:
    """Evaluate each checkpoint on the test split; a table of them and of the baselines.

    Where there are several, they are compared too; that is written as `comparison.json`.

    Args:
        artifacts: those of the stages filter, split and baselines.
        checkpoints: the folder of each, by the name that the table shows.
        origins: the runs that they come from, where these are known.
        folder: where predictions and metrics of each are written, in folders numbered from 0.

    Raises:
        UserError: a checkpoint does not fit the recipe.
    """
    inputs = {name: artifact.path for name, artifact in artifacts.items()}
    protocol = protocol_of(recipe)
    results: dict[str, Mapping[str, Any]] = {}
    folders: dict[str, Path] = {}
    for number, (name, checkpoint) in enumerate(checkpoints.items()):
        out = folders[name] = folder / str(number)
        out.mkdir()
        results[name] = protocol.evaluate(checkpoint, inputs, out)
        stated = {"checkpoint": name, **results[name]}
        (out / "metrics.json").write_text(json.dumps(stated, indent=2, allow_nan=False))
    table = _table(results)
    if len(checkpoints) == 1 or recipe.asked_by.verdicts:
        return table
    comparison = _compare(recipe, folders, origins)
    text = json.dumps(asdict(comparison), indent=2, allow_nan=False)
    (folder / "comparison.json").write_text(text)
    return f"{table}\n\n{comparison.as_text()}"


def _compare(
    recipe: Recipe, folders: Mapping[str, Path], origins: Mapping[str, Origin]
) -> Comparison:
    tables = {
        name: pq.read_table(folder / "predictions.parquet", columns=["user_id", "rank"])
        for name, folder in folders.items()
    }
    ranks = {name: table["rank"].to_numpy() for name, table in tables.items()}
    users = np.array(next(iter(tables.values()))["user_id"].to_pylist())
    section = recipe.eval
    bootstrap = Bootstrap(section.bootstrap, recipe.seed)
    return compare(group_seeds(ranks, origins), users, headline_names(section), bootstrap)


def _table(results: Mapping[str, Mapping[str, Any]]) -> str:
    first = next(iter(results.values()))
    rows = {name: scores["metrics"] for name, scores in results.items()} | first["baselines"]
    width = max(len(name) for name in rows) + 2
    columns = [name for name in COLUMNS if any(name in metrics for metrics in rows.values())]
    has_text = any("perplexity" in scores for scores in results.values())
    head = "".join(f"{column:<26}" for column in columns) + ("perplexity" if has_text else "")
    lines = [" " * width + head]
    for name, metrics in rows.items():
        cells = "".join(f"{with_interval(metrics.get(column)):<26}" for column in columns)
        text = beside_base(results.get(name, {}).get("perplexity"))
        lines.append(f"{name:<{width}}{cells}{text}".rstrip())
    if outside := first.get("outside_catalogue"):
        lines.append(f"{first['rows']:,} rows, {outside_catalogue(outside)}")
    return "\n".join(lines)
