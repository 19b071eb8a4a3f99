"""What the report shows of single predictions of a ranking."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq

from recllm.baselines.ranking import popularity_counts
from recllm.catalog.histories import Sequences, SplitRows
from recllm.catalog.items import Items
from recllm.eval.baselines_stage import read_baselines
from recllm.eval.predictions import Predictions, with_misses
from recllm.metrics.beyond_accuracy import popularity_profile
from recllm.metrics.ranking import compute

EXAMPLES = 8
SHOWN = 10


def hit_curve(inputs: Mapping[str, Path], beams: int) -> dict[str, dict[int, float]]:
    """hit@k of the model and of the baselines at every k up to the beams."""
    table = pq.read_table(inputs["eval"] / "predictions.parquet", columns=["rank"])
    ranks = {"model": table["rank"].to_numpy()}
    ranks |= {
        name: with_misses(found.ranking.ranks, len(table) - len(found.row))
        for name, found in read_baselines(inputs["baselines"], "test").items()
    }
    cutoffs = range(1, beams + 1)
    return {
        name: {k: float(compute(f"hit@{k}", found).mean()) for k in cutoffs}
        for name, found in ranks.items()
    }


def popularity_profiles(inputs: Mapping[str, Path], depth: int) -> dict[str, list[float]]:
    """The share of each tenth of the catalogue, most popular first, in what is recommended.

    Of the model and the baselines by name, in the first `depth` items of each row, and of
    `targets`, which were consumed.
    """
    items = Items.read(inputs["filter"] / "items.parquet")
    table = pq.read_table(inputs["eval"] / "predictions.parquet")
    predictions = Predictions.from_table(table, items)
    lists = {"model": predictions.items}
    lists |= {
        name: found.ranking.items
        for name, found in read_baselines(inputs["baselines"], "test").items()
    }
    popularity = popularity_counts(Sequences.read(inputs["split"]).training, len(items))
    tops = {name: found[:, :depth] for name, found in lists.items()}
    tops["targets"] = predictions.targets
    return {name: popularity_profile(top, popularity).tolist() for name, top in tops.items()}


def find_examples(inputs: Mapping[str, Path], seed: int) -> list[dict[str, Any]]:
    """A few test rows with titles: half of them with a hit in the first ten, where there are."""
    items = Items.read(inputs["filter"] / "items.parquet")
    titles = dict(zip(items.ids, items.titles, strict=True))
    rows = SplitRows.read(inputs["split"], "test", Sequences.read(inputs["split"]))
    asked = pc.field("target") >= 0
    table = pq.read_table(inputs["eval"] / "predictions.parquet", filters=asked)
    ranks = table["rank"].to_numpy()
    hit = (ranks >= 0) & (ranks < SHOWN)
    rng = np.random.default_rng(seed)
    chosen = [*rng.permutation(np.flatnonzero(hit))[: EXAMPLES // 2]]
    chosen += [*rng.permutation(np.flatnonzero(~hit))[: EXAMPLES - len(chosen)]]
    examples = []
    for index in sorted(int(i) for i in chosen):
        (prediction,) = table.slice(index, 1).to_pylist()
        target = items.ids[prediction["target"]]
        top = zip(prediction["item_ids"][:SHOWN], prediction["scores"][:SHOWN], strict=True)
        examples.append(
            {
                "user_id": prediction["user_id"],
                "history_titles": [items.titles[item] for item in rows.history(index)],
                "target_title": titles[target],
                "recommended": [
                    {"title": titles[item_id], "score": score, "hit": item_id == target}
                    for item_id, score in top
                ],
            }
        )
    return examples
