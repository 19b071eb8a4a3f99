"""The stage `baselines`: fitted on training interactions only, chosen on valid."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from builders import write_leave_one_out

from recllm.baselines.item_knn import ItemKnn, Neighbours
from recllm.catalog.histories import Sequences, SplitRows
from recllm.config.schema import EvalSection, Recipe
from recllm.eval.baseline_choices import LAST, NEIGHBOURS, SHRINKAGE
from recllm.eval.baselines_stage import Baselines, read_baselines
from recllm.eval.facts import Facts
from recllm.metrics.ranking.ndcg import ndcg

#: Training is all but the last two. In training 1 follows 0, never the other way.
SEQUENCES = [[0, 1, 0, 1, 2], [0, 1, 0, 1, 3], [4, 0, 1, 0, 1, 2, 0], [4, 5, 4, 5]]


def write_inputs(folder: Path) -> dict[str, Path]:
    return write_leave_one_out(folder, SEQUENCES, 7)


def stage(**settings: object) -> Baselines:
    section = EvalSection.model_validate(
        {"engine": None, "beams": 3, "cutoffs": (1, 3), **settings}
    )
    return Baselines(Recipe.model_construct(eval=section))


def test_writes_the_baselines_and_what_was_chosen(tmp_path: Path) -> None:
    inputs = write_inputs(tmp_path)
    counts = stage().build(inputs, tmp_path)
    assert counts == {"training_interactions": 13, "valid": 4, "test": 4}
    table = pq.read_table(tmp_path / "test.parquet")
    assert table.schema.types == [pa.int64(), pa.string(), pa.int32(), pa.list_(pa.int32())]
    popular = table.filter(pc.field("baseline") == "popularity")
    # training counts: 0 six times, 1 four times, 4 twice, 5 once; the same list for everyone
    assert popular["items"].to_pylist() == [[0, 1, 4]] * 4
    assert popular["rank"].to_pylist() == [-1, -1, 0, -1]
    repeated = table.filter(pc.field("baseline") == "recent_repeat")
    assert repeated["items"].to_pylist() == [[1, 0, 4], [1, 0, 4], [2, 1, 0], [4, 5, 0]]
    assert repeated["rank"].to_pylist() == [-1, -1, 2, 1]
    choices = json.loads((tmp_path / "choices.json").read_text())
    assert list(choices) == ["covisitation", "item_knn"]
    figures = choices["covisitation"]["valid_ndcg@10"]
    assert choices["covisitation"]["symmetric"] == (figures["S + S^T"] > figures["S"])


def test_validation_and_test_interactions_change_nothing_in_the_fit(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    inputs = write_inputs(tmp_path / "a")
    stage().build(inputs, tmp_path / "a")
    before = pq.read_table(tmp_path / "a" / "test.parquet")
    sequences = pq.read_table(inputs["split"] / "sequences.parquet")
    # 6 is never seen in training: make it every last item, in the sequences but not in the rows
    changed = [[*s[:-1], 6] for s in SEQUENCES]
    index = sequences.schema.get_field_index("items")
    sequences = sequences.set_column(index, "items", pa.array(changed, pa.list_(pa.int32())))
    pq.write_table(sequences, inputs["split"] / "sequences.parquet")
    (tmp_path / "b").mkdir()
    stage().build(inputs, tmp_path / "b")
    assert pq.read_table(tmp_path / "b" / "test.parquet").equals(before)


def test_excluded_histories_are_not_recommended(tmp_path: Path) -> None:
    inputs = write_inputs(tmp_path)
    stage(exclude_history=True).build(inputs, tmp_path)
    table = pq.read_table(tmp_path / "test.parquet").to_pylist()
    histories = {sum(map(len, SEQUENCES[: i + 1])) - 1: s[:-1] for i, s in enumerate(SEQUENCES)}
    for entry in table:
        assert not set(entry["items"]) & set(histories[entry["row"]])
    assert [e["rank"] for e in table if e["row"] == 16] == [-1, -1, -1]  # the target is a repeat
    names = {entry["baseline"] for entry in table}
    assert names == {"popularity", "covisitation", "item_knn"}  # no history to repeat
    choices = json.loads((tmp_path / "choices.json").read_text())
    assert "popularity alone" in choices["recent_repeat"]["left_out"]


def test_facts_follow_the_order_of_the_predictions(tmp_path: Path) -> None:
    inputs = write_inputs(tmp_path)
    stage().build(inputs, tmp_path)
    ranked = read_baselines(tmp_path, "test")
    assert list(ranked) == ["popularity", "covisitation", "recent_repeat", "item_knn"]
    rows = np.array([16, 4])
    codes = np.zeros((7, 2), dtype=np.int32)
    facts = Facts.read(inputs["split"], tmp_path, "test", rows, codes)
    assert facts.history_lengths.tolist() == [6, 4]
    assert facts.popularity.tolist() == [6, 4, 0, 0, 2, 1, 0]
    popular = facts.baselines["popularity"]
    assert popular.ranks.tolist() == [0, -1]
    assert popular.items.tolist() == [[0, 1, 4]] * 2


def test_lists_of_different_lengths_are_read_as_they_were_written(tmp_path: Path) -> None:
    inputs = write_inputs(tmp_path)
    stage(exclude_history=True, beams=6).build(inputs, tmp_path)
    written = pq.read_table(tmp_path / "test.parquet").to_pylist()
    for name, found in read_baselines(tmp_path, "test").items():
        lists = [e["items"] for e in written if e["baseline"] == name]
        assert len({len(items) for items in lists}) > 1
        assert [[i for i in row if i >= 0] for row in found.ranking.items.tolist()] == lists


def test_settings_are_what_the_rankings_depend_on() -> None:
    assert stage(cutoffs=(2,)).settings() == stage().settings()
    assert stage(beams=5).settings() != stage().settings()
    assert stage(exclude_history=True).settings() != stage().settings()


def test_neighbours_are_those_that_rank_validation_best(tmp_path: Path) -> None:
    inputs = write_inputs(tmp_path)
    stage().build(inputs, tmp_path)
    chosen = json.loads((tmp_path / "choices.json").read_text())["item_knn"]
    figures = chosen["valid_ndcg@10"]
    assert len(figures) == len(NEIGHBOURS) * len(SHRINKAGE) * len(LAST)
    settings = [chosen[name] for name in ("neighbours", "shrinkage", "last")]
    assert next(iter(figures)) == "neighbours 20, shrinkage 0, last 1"
    best = "neighbours {}, shrinkage {}, last {}".format(*settings)
    assert figures[best] == max(figures.values()) > min(figures.values())
    sequences = Sequences.read(inputs["split"])
    rows = SplitRows.read(inputs["split"], "valid", sequences)
    found = Neighbours.find(sequences.training, 7, settings[0], settings[1])
    model = ItemKnn(found.nearest(settings[0]), found.counts, settings[2])
    expected = model.rank(rows.histories, rows.target, 3)
    assert (
        expected.ranks.tolist()
        == read_baselines(tmp_path, "valid")["item_knn"].ranking.ranks.tolist()
    )
    assert figures[best] == ndcg(model.rank(rows.histories, rows.target, 7).ranks, 10).mean()


def test_without_validation_rows_the_first_are_taken(tmp_path: Path) -> None:
    inputs = write_inputs(tmp_path)
    path = inputs["split"] / "valid.parquet"
    pq.write_table(pq.read_table(path).slice(0, 0), path)
    stage().build(inputs, tmp_path)
    found = json.loads((tmp_path / "choices.json").read_text())
    assert found["covisitation"] == {"symmetric": False, "valid_ndcg@10": {}}
    first = {"neighbours": NEIGHBOURS[0], "shrinkage": SHRINKAGE[0], "last": LAST[0]}
    assert found["item_knn"] == {**first, "valid_ndcg@10": {}}
    assert read_baselines(tmp_path, "valid") == {}
