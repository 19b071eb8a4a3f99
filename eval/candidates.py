"""A checkpoint and the baselines on candidate sets, beside the ranking of the whole catalogue."""

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from recllm.catalog.histories import Spans, SplitRows
from recllm.catalog.items import Items
from recllm.config.schema import Recipe
from recllm.config.validation import dump
from recllm.eval.baselines_stage import CANDIDATES, RANKED_CANDIDATES, read_rankings
from recllm.eval.engines import Questions, Ranker
from recllm.eval.estimates import Bootstrap, metric_names
from recllm.eval.facts import align
from recllm.eval.padding import list_lengths
from recllm.eval.scores import columns, differences
from recllm.eval.slices import regroup
from recllm.metrics.ranking import ranks_of


def evaluate_candidates(
    recipe: Recipe,
    ranker: Ranker,
    asked: Questions,
    rows: SplitRows,
    *,
    items: Items,
    baselines: Path,
    out: Path,
) -> dict[str, Any]:
    """Rank each row's candidates, all of them, with a checkpoint; the baselines have done so.

    How well a target is ranked among a few candidates is another question than how well it is
    ranked in the catalogue, and may order models differently (Krichene & Rendle, "On sampled
    metrics for item recommendation", 2020): these figures stand beside the others, never for them.

    Writes `candidates.parquet` into `out`: row, item_ids.

    Args:
        asked: about `rows`, in their order.
        baselines: the artifact of that stage, which has made the sets.

    Returns:
        `settings`, `rows`, `sets` (the smallest and the largest, how many lack the target, which
        is a miss), `metrics`, `baselines` and `paired` as in metrics.json, `seconds`. Metrics are
        given at the cutoffs below the size of the largest set, and at that size.
    """
    started = time.monotonic()
    sets = _read_sets(baselines, rows)
    ids = pa.array(items.ids).take(pa.array(sets.flatten()[1]))
    offsets = np.concatenate([[0], np.cumsum(sets.lengths)]).astype(np.int32)
    stored = {"row": rows.row, "item_ids": pa.ListArray.from_arrays(offsets, ids)}
    pq.write_table(pa.table(stored), out / "candidates.parquet")
    ranking = ranker.rank(replace(asked, exclude=None, only=list(sets)))
    ranks = {"model": ranks_of(ranking.items, rows.target)}
    for name, found in read_rankings(baselines / RANKED_CANDIDATES).items():
        ranks[name] = found.ranking.ranks[align(found.row, rows.row)]
    largest = int(sets.lengths.max())
    cutoffs = tuple(k for k in recipe.eval.cutoffs if k < largest)
    section = recipe.eval.model_copy(update={"beams": largest, "cutoffs": cutoffs})
    names, users = metric_names(section), np.array(rows.user_ids)
    bootstrap = Bootstrap(section.bootstrap, recipe.seed)
    estimates = regroup(bootstrap.estimate(columns(ranks, names), users), ranks)
    paired = bootstrap.estimate(differences(ranks, names), users)
    metrics = estimates.pop("model")
    return {
        "settings": dump(recipe)["eval"]["candidates"],
        "rows": len(rows),
        "sets": {
            "smallest": int(sets.lengths.min()),
            "largest": largest,
            "without_target": len(rows) - _count_targets(sets, rows),
        },
        "metrics": metrics,
        "baselines": estimates,
        "paired": regroup(paired, estimates),
        "seconds": round(time.monotonic() - started, 2),
    }


def _count_targets(sets: Spans, rows: SplitRows) -> int:
    """How many sets have their row's target."""
    row, item = sets.flatten()
    return len(np.unique(row[item == rows.target[row]]))


def _read_sets(baselines: Path, rows: SplitRows) -> Spans:
    """The sets that the stage `baselines` made, in the order of some rows."""
    table = pq.read_table(baselines / CANDIDATES)
    ends = np.cumsum(list_lengths(table["items"]))
    items = table["items"].combine_chunks().flatten().to_numpy()
    starts = np.concatenate([[0], ends[:-1]])
    return Spans(items, starts, ends).select(align(table["row"].to_numpy(), rows.row))
