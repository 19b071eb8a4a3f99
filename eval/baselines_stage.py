"""The stage `baselines`: what a model must beat, on the valid and test rows."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from recllm.artifacts.stage import Stage
from recllm.baselines.popularity import Popularity
from recllm.baselines.ranking import BaselineRanking, popularity_counts
from recllm.baselines.recent_repeat import RecentRepeat
from recllm.catalog.histories import Sequences, Spans, SplitRows
from recllm.catalog.items import Items
from recllm.catalog.split_names import HELD_OUT, SplitName
from recllm.config.schema import Recipe
from recllm.eval.baseline_choices import Validation, choose_covisitation, choose_item_knn
from recllm.eval.candidate_sets import check_file, identify, make_sets
from recllm.eval.padding import list_lengths, pad

#: How many items of each ranking are written.
TOP = 10
#: Where candidate sets of the test rows and their rankings are written.
CANDIDATES, RANKED_CANDIDATES = "candidates.parquet", "ranked_candidates.parquet"

SCHEMA = pa.schema(
    {
        "row": pa.int64(),
        "baseline": pa.string(),
        "rank": pa.int32(),
        "items": pa.list_(pa.int32()),
    }
)


class Baseline(Protocol):
    """What ranks the catalogue for each row."""

    def rank(
        self,
        histories: Spans,
        targets: NDArray[np.int32],
        beams: int,
        excluded: Spans | None = None,
        only: Spans | None = None,
    ) -> BaselineRanking:
        """See `recllm.baselines.ranking.rank_by_keys`."""
        ...


class Baselines(Stage):
    """Fits on training interactions, chooses on valid, ranks valid and test.

    Popularity, co-visitation, the history repeated (where it is not excluded) and item-based
    neighbours; where the recipe has a section `sasrec`, what that stage trained is ranked too.

    Writes `valid.parquet` and `test.parquet` (row int64, baseline string, rank int32 with -1 for
    a miss, items list<int32>, the top 10) and `choices.json` (what was chosen, and by which
    figures). Where the recipe has a section `eval.candidates`, `candidates.parquet` (row int64,
    items list<int32>), the sets of the test rows, and `ranked_candidates.parquet`, the rankings of
    these alone, as of `test.parquet`.
    """

    name = "baselines"
    version = 2  # recent_repeat, item_knn

    def __init__(self, recipe: Recipe) -> None:
        super().__init__(recipe)
        self.parents = ("filter", "split", *(("sasrec",) if recipe.sasrec else ()))

    def settings(self) -> dict[str, Any]:
        """The cut of the ranks, whether a history's own items are excluded, and candidates."""
        section = self.recipe.eval
        found = {"beams": section.beams, "exclude_history": section.exclude_history}
        if section.candidates is None:
            return found
        return found | {"candidates": identify(section.candidates, self.recipe.seed)}

    def check(self) -> None:
        """Refuse a file of candidates that lacks a column."""
        if self.recipe.eval.candidates is not None:
            check_file(self.recipe.eval.candidates)

    def build(self, inputs: Mapping[str, Path], out: Path) -> dict[str, int]:
        """Write the rankings; see the base class."""
        items = pq.read_metadata(inputs["filter"] / "items.parquet").num_rows
        sequences = Sequences.read(inputs["split"])
        rows = {name: SplitRows.read(inputs["split"], name, sequences) for name in HELD_OUT}
        training = sequences.training
        fitted, choices = self._fit(training, items, rows["valid"])
        if "sasrec" in inputs:
            from recllm.baselines.sasrec import SasRec  # torch

            fitted["sasrec"] = SasRec.load(inputs["sasrec"])
        for split, held_out in rows.items():
            rankings = {name: self._rank(each, held_out) for name, each in fitted.items()}
            _write(out / f"{split}.parquet", held_out, rankings)
        (out / "choices.json").write_text(json.dumps(choices, indent=2))
        return {
            "training_interactions": int(training.lengths.sum()),
            **{split: len(held_out) for split, held_out in rows.items()},
            **self._rank_candidates(fitted, training, rows["test"], inputs["filter"], out),
        }

    def _fit(
        self, training: Spans, items: int, valid: SplitRows
    ) -> tuple[dict[str, Baseline], dict[str, Any]]:
        """The baselines by name, and what was chosen of them, with the validation figures."""
        validation = Validation(valid, self.recipe.eval.exclude_history)
        fitted: dict[str, Baseline] = {"popularity": Popularity.fit(training, items)}
        choices: dict[str, Any] = {}
        fitted["covisitation"], choices["covisitation"] = choose_covisitation(
            training, items, validation
        )
        if validation.exclude_history:
            choices["recent_repeat"] = {"left_out": "without the history it is popularity alone"}
        else:
            fitted["recent_repeat"] = RecentRepeat.fit(training, items)
        fitted["item_knn"], choices["item_knn"] = choose_item_knn(training, items, validation)
        return fitted, choices

    def _rank_candidates(
        self,
        fitted: Mapping[str, Baseline],
        training: Spans,
        rows: SplitRows,
        filtered: Path,
        out: Path,
    ) -> Mapping[str, int]:
        """Make the candidate sets of some rows and rank them; what was met with, counted."""
        section = self.recipe.eval.candidates
        if section is None:
            return {}
        items = Items.read(filtered / "items.parquet")
        popularity = popularity_counts(training, len(items))
        made = make_sets(section, rows, items, popularity, self.recipe.seed)
        offsets = np.concatenate([[0], np.cumsum(made.items.lengths)]).astype(np.int32)
        sets = pa.ListArray.from_arrays(offsets, pa.array(made.items.flatten()[1]))
        pq.write_table(pa.table({"row": rows.row, "items": sets}), out / CANDIDATES)
        rankings = {
            name: each.rank(rows.histories, rows.target, made.largest, only=made.items)
            for name, each in fitted.items()
        }
        _write(out / RANKED_CANDIDATES, rows, rankings)
        return made.counts

    def _rank(self, baseline: Baseline, rows: SplitRows) -> BaselineRanking:
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
    return read_rankings(folder / f"{split}.parquet")


def read_rankings(path: Path) -> dict[str, BaselineRows]:
    """The rankings in one file of the stage, by the baseline's name."""
    table = pq.read_table(path)
    return {
        name: _rows_of(table.filter(pc.field("baseline") == name))
        for name in table["baseline"].unique().to_pylist()
    }


def _rows_of(part: pa.Table) -> BaselineRows:
    items = part["items"].combine_chunks().flatten().to_numpy()
    ranking = BaselineRanking(part["rank"].to_numpy(), pad(items, list_lengths(part["items"])))
    return BaselineRows(part["row"].to_numpy(), ranking)


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
