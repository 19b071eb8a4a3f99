"""One checkpoint on one split: ranked by an engine, written down, scored."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from recllm.catalog.histories import Sequences, SplitRows
from recllm.catalog.items import Items
from recllm.catalog.sids import ItemIndex, read_index
from recllm.catalog.split_names import SplitName
from recllm.config.schema import Recipe
from recllm.config.validation import dump
from recllm.decoding.engine import Ranking
from recllm.errors import UserError
from recllm.eval.cost import count_tokens, measured
from recllm.eval.engines import Engine
from recllm.eval.facts import Facts
from recllm.eval.predictions import Predictions
from recllm.eval.scores import Scores, score
from recllm.metrics.ranking import ranks_of


def evaluate(
    recipe: Recipe,
    checkpoint: Path,
    inputs: Mapping[str, Path],
    out: Path,
    split: SplitName = "test",
) -> Scores:
    """Rank every row of a split with a checkpoint, and score it beside the baselines.

    Writes `predictions.parquet` into `out`: row, user_id, target (dense index), rank (0-based, -1
    for a miss), item_ids and scores (best first), invalid (how many of them should not be there).

    Args:
        checkpoint: a folder that `Recommender.save` wrote.
        inputs: the artifacts of the stages filter, split and baselines.

    Raises:
        UserError: the checkpoint was trained on another catalogue, or the split has no rows.
    """
    items = Items.read(inputs["filter"] / "items.parquet")
    sids = read_index(checkpoint / "sids.parquet")
    check_catalogue(items, sids, checkpoint)
    rows = SplitRows.read(inputs["split"], split, Sequences.read(inputs["split"]))
    if not len(rows):
        raise UserError(f"the {split} split has no rows: there is nothing to evaluate on")
    engine: Engine = recipe.eval.engine
    histories = list(rows.histories)
    with measured() as cost:
        ranking = engine.rank(checkpoint, histories, recipe.eval, recipe.model.dtype)
    invalid = count_invalid(ranking, histories if recipe.eval.exclude_history else None, len(items))
    table = predictions_table(rows, ranking, invalid, items)
    pq.write_table(table, out / "predictions.parquet")
    predictions = Predictions.from_table(table, items)
    facts = Facts.read(inputs["split"], inputs["baselines"], split, rows.row, sids.prefixes())
    settings = dump(recipe)["eval"] | engine.choices(recipe.eval, recipe.model.dtype)
    tokens = count_tokens(checkpoint, histories, recipe.eval.beams)
    seconds = max(cost["seconds"], 0.01)
    cost |= {"rows_per_second": round(len(rows) / seconds, 2), **tokens}
    cost["tokens_per_second"] = round(sum(tokens.values()) / seconds, 1)
    return score(predictions, facts, split, recipe.eval, recipe.seed, settings, cost)


def check_catalogue(items: Items, sids: ItemIndex, checkpoint: Path) -> None:
    """Refuse a checkpoint whose items are not the run's, in the same order.

    Raises:
        UserError: they differ.
    """
    if items.ids != sids.item_ids:
        shared = len(set(items.ids) & set(sids.item_ids))
        raise UserError(
            f"{checkpoint}: the checkpoint's catalogue of {len(sids)} items is not the recipe's of "
            f"{len(items)} ({shared} in common); evaluate it with the recipe it was trained with"
        )


def count_invalid(
    ranking: Ranking, excluded: list[NDArray[np.int32]] | None, items: int
) -> NDArray[np.int64]:
    """(rows,) how many recommendations stand twice in a row, or were excluded.

    Zero by construction of the search; counted all the same.

    Raises:
        RuntimeError: the engine returned an item that the catalogue does not have.
    """
    if ranking.items.max(initial=-1) >= items:
        raise RuntimeError(f"the engine recommended item {ranking.items.max()} of {items}")
    ordered = np.sort(ranking.items, axis=1)
    wrong = ((ordered[:, 1:] == ordered[:, :-1]) & (ordered[:, 1:] >= 0)).sum(axis=1)
    if excluded is not None:
        wrong = wrong + np.array(
            [
                np.isin(row, history).sum()
                for row, history in zip(ranking.items, excluded, strict=True)
            ]
        )
    return wrong.astype(np.int64)


def predictions_table(
    rows: SplitRows, ranking: Ranking, invalid: NDArray[np.int64], items: Items
) -> pa.Table:
    """The rows of `predictions.parquet`."""
    present = ranking.items >= 0
    offsets = np.concatenate([[0], np.cumsum(present.sum(axis=1))]).astype(np.int32)
    ids = pa.array(items.ids).take(pa.array(ranking.items[present]))
    columns: dict[str, Any] = {
        "row": rows.row,
        "user_id": rows.user_ids,
        "target": rows.target,
        "rank": ranks_of(ranking.items, rows.target),
        "item_ids": pa.ListArray.from_arrays(offsets, ids),
        "scores": pa.ListArray.from_arrays(offsets, pa.array(ranking.scores[present])),
        "invalid": invalid,
    }
    return pa.table(columns)
