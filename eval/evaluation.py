"""One checkpoint on one split: ranked by an engine, written down, scored."""

from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from recllm.baselines.ranking import popularity_counts
from recllm.catalog.histories import History, Sequences, SplitRows
from recllm.catalog.items import Items
from recllm.catalog.outside import read_outside
from recllm.catalog.sids import ItemIndex
from recllm.catalog.split_names import SplitName
from recllm.config.schema import Recipe
from recllm.config.validation import dump
from recllm.decoding.engine import Ranking
from recllm.errors import UserError
from recllm.eval.candidates import evaluate_candidates
from recllm.eval.cost import cost_of_tokens, measured
from recllm.eval.engines import Engine, Known, Questions, Ranker
from recllm.eval.facts import Facts
from recllm.eval.phrasings import ask, over_phrasings
from recllm.eval.predictions import Predictions, outside_rows
from recllm.eval.scores import Scores, score
from recllm.eval.search import evaluate_search, search_task
from recllm.eval.shards import ShardedRanker
from recllm.metrics.ranking import ranks_of
from recllm.models.checkpoint_files import load_renderer
from recllm.models.references import file_hashes
from recllm.prompts.renderer import Renderer
from recllm.world import World

#: Where shards of rankings lie in the cache.
RANKINGS = "rankings"


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
    They are those of the question's first phrasing, as `metrics` is. Rows whose target is not in
    the catalogue stand at the end, row and target -1: they are misses. Where the recipe asks for
    candidate sets, `candidates.parquet` too; see `evaluate_candidates`.

    Args:
        checkpoint: a folder that `Recommender.save` wrote.
        inputs: the artifacts of the stages filter, split and baselines; with that of prompts,
            item search is evaluated too, where it was trained.

    Raises:
        UserError: the checkpoint was trained on another catalogue, or the split has no rows.
    """
    items = Items.read(inputs["filter"] / "items.parquet")
    renderer = load_renderer(checkpoint)
    check_catalogue(items, renderer.catalog.sids, checkpoint)
    section = recipe.eval
    sequences = Sequences.read(inputs["split"])
    rows = SplitRows.read(inputs["split"], split, sequences)
    if not len(rows):
        raise UserError(f"the {split} split has no rows: there is nothing to evaluate on")
    known = known_of(recipe, renderer, sequences, inputs["split"], len(items))
    engine: Engine = section.engine
    asked = ask(renderer, rows, section)
    with measured() as cost:
        opened = engine.open(checkpoint, known, section, recipe.model.dtype)
    with closing(opened):
        opening = cost["seconds"]
        with measured() as cost:
            ranker = _sharded(opened, recipe, checkpoint)
            ranking = ranker.rank(asked)
        # Shards that were ranked before have taken their time, too.
        cost["seconds"] = round(opening + ranker.seconds, 2)
        counts = dict(ranker.counts)
        invalid = count_invalid(ranking, asked.exclude, len(items))
        table = predictions_table(rows, ranking, invalid, items)
        predictions = _write(table, read_outside(inputs["filter"], split), items, out)
        codes = renderer.catalog.sids.prefixes()
        facts = Facts.read(inputs["split"], inputs["baselines"], split, rows.row, codes)
        tokens = sum(map(len, asked.prompts)), counts.pop("beam_tokens")
        cost |= cost_of_tokens(len(rows), *tokens, cost["seconds"])
        stated = {"asked_by": renderer.asked_by.name, **ranker.choices, **counts}
        settings = dump(recipe)["eval"] | stated
        found = score(predictions, facts, split, section, recipe.seed, settings, cost)
        # What else the recipe asks of the same checkpoint.
        if section.phrasings == "all":
            found["phrasings"] = over_phrasings(ranker, renderer, rows, predictions, section)
        if section.candidates is not None:
            found["candidates"] = evaluate_candidates(
                recipe, ranker, asked, rows, items=items, baselines=inputs["baselines"], out=out
            )
        if "prompts" in inputs and (task := search_task(recipe)):
            found["search"] = evaluate_search(
                recipe, task, ranker, renderer, sequences, rows, inputs, facts
            )
    return found


def _write(table: pa.Table, outside: list[str], items: Items, out: Path) -> Predictions:
    """Write the predictions, with the rows whose target is outside the catalogue at the end."""
    table = pa.concat_tables([table, outside_rows(outside, table.schema)])
    pq.write_table(table, out / "predictions.parquet")
    return Predictions.from_table(table, items)


def _sharded(ranker: Ranker, recipe: Recipe, checkpoint: Path) -> ShardedRanker:
    """A ranker that keeps its shards in the cache, and shares them out among the processes."""
    section = recipe.eval
    identity = {
        "checkpoint": file_hashes(checkpoint),
        "engine": [section.engine.name, section.engine.model_dump(mode="json")],
        "beams": section.beams,
        "scoring": section.scoring,
    }
    return ShardedRanker(ranker, identity, recipe.cache_dir / RANKINGS, World.current())


def known_of(
    recipe: Recipe, renderer: Renderer, sequences: Sequences, split: Path, items: int
) -> Known:
    """What an engine may know: popularity in training, and a sample of the validation rows."""

    def validation() -> tuple[Questions, NDArray[np.int32]]:
        rows = SplitRows.read(split, "valid", sequences)
        order = np.random.default_rng(recipe.seed).permutation(len(rows))
        chosen = rows.select(np.sort(order[: recipe.sft.validation_users]))
        return ask(renderer, chosen, recipe.eval), chosen.target

    return Known(popularity_counts(sequences.training, items), validation, recipe.cache_dir)


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
    ranking: Ranking, excluded: Sequence[History] | None, items: int
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
