"""The stage `baselines`: popularity and co-visitation on the valid and test rows."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from recllm.artifacts.stage import Stage
from recllm.baselines.covisitation import CoVisitation
from recllm.baselines.popularity import Popularity
from recllm.baselines.ranking import BaselineRanking
from recllm.catalog.histories import Sequences, SplitRows
from recllm.catalog.split_names import SplitName
from recllm.eval.padding import list_lengths, pad
from recllm.metrics.ranking.ndcg import ndcg

#: How many items of each ranking are written.
TOP = 10

SCHEMA = pa.schema(
    {
        "row": pa.int64(),
        "baseline": pa.string(),
        "rank": pa.int32(),
        "items": pa.list_(pa.int32()),
    }
)


class Baselines(Stage):
    """Fits on training interactions, chooses on valid, ranks valid and test.

    Writes `valid.parquet` and `test.parquet` (row int64, baseline string, rank int32 with -1 for
    a miss, items list<int32>, the top 10) and `choices.json` (what was chosen, and by which
    figures).
    """

    name = "baselines"
    parents = ("filter", "split")

    def settings(self) -> dict[str, Any]:
        """The cut of the ranks, and whether a history's own items are excluded."""
        section = self.recipe.eval
        return {"beams": section.beams, "exclude_history": section.exclude_history}

    def build(self, inputs: Mapping[str, Path], out: Path) -> dict[str, int]:
        """Write the rankings; see the base class."""
        items = pq.read_metadata(inputs["filter"] / "items.parquet").num_rows
        sequences = Sequences.read(inputs["split"])
        valid = SplitRows.read(inputs["split"], "valid", sequences)
        test = SplitRows.read(inputs["split"], "test", sequences)
        training = sequences.training
        popularity = Popularity.fit(training, items)
        candidates = {
            symmetric: CoVisitation.fit(training, items, symmetric) for symmetric in (False, True)
        }
        tried = {name: self._rank(candidate, valid) for name, candidate in candidates.items()}
        figures = {name: _mean_ndcg(ranking) for name, ranking in tried.items() if len(valid)}
        chosen = figures.get(True, 0.0) > figures.get(False, 0.0)
        _write(
            out / "valid.parquet",
            valid,
            {"popularity": self._rank(popularity, valid), "covisitation": tried[chosen]},
        )
        _write(
            out / "test.parquet",
            test,
            {
                "popularity": self._rank(popularity, test),
                "covisitation": self._rank(candidates[chosen], test),
            },
        )
        (out / "choices.json").write_text(json.dumps(_describe(chosen, figures), indent=2))
        return {
            "training_interactions": int(training.lengths.sum()),
            "valid": len(valid),
            "test": len(test),
        }

    def _rank(self, baseline: Popularity | CoVisitation, rows: SplitRows) -> BaselineRanking:
        section = self.recipe.eval
        excluded = rows.histories if section.exclude_history else None
        return baseline.rank(rows.histories, rows.target, section.beams, excluded)


@dataclass(frozen=True)
class BaselineRows:
    """One baseline on one split, as `BaselineRanking`, of each row the best `TOP` items.

    Attributes:
        row: (rows,) int64, the log row of each target.
    """

    row: NDArray[np.int64]
    ranking: BaselineRanking


def read_baselines(folder: Path, split: SplitName) -> dict[str, BaselineRows]:
    """The baselines that the stage ranked, by name."""
    table = pq.read_table(folder / f"{split}.parquet")
    return {
        name: _rows_of(table.filter(pc.field("baseline") == name))
        for name in table["baseline"].unique().to_pylist()
    }


def _rows_of(part: pa.Table) -> BaselineRows:
    items = part["items"].combine_chunks().flatten().to_numpy()
    ranking = BaselineRanking(part["rank"].to_numpy(), pad(items, list_lengths(part["items"])))
    return BaselineRows(part["row"].to_numpy(), ranking)


def _mean_ndcg(ranking: BaselineRanking) -> float:
    """ndcg@10, or at the beams where those are fewer."""
    return float(ndcg(ranking.ranks, 10).mean())


def _write(path: Path, rows: SplitRows, rankings: Mapping[str, BaselineRanking]) -> None:
    with pq.ParquetWriter(path, SCHEMA) as writer:
        for name, ranking in rankings.items():
            top = ranking.items[:, :TOP]
            present = top >= 0
            offsets = np.concatenate([[0], np.cumsum(present.sum(axis=1))]).astype(np.int32)
            columns = {
                "row": rows.row,
                "baseline": pa.array([name] * len(rows), pa.string()),
                "rank": ranking.ranks,
                "items": pa.ListArray.from_arrays(offsets, pa.array(top[present])),
            }
            writer.write_table(pa.table(columns, schema=SCHEMA))


def _describe(symmetric: bool, figures: Mapping[bool, float]) -> dict[str, Any]:
    """What was chosen and the validation figures of each choice; none where valid has no rows."""
    names = {False: "S", True: "S + S^T"}
    by_name = {names[choice]: figure for choice, figure in figures.items()}
    return {"covisitation": {"symmetric": symmetric, "valid_ndcg@10": by_name}}
