"""The stage `sasrec`: trained on training interactions only, and shown among the baselines."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from builders import write_leave_one_out
from safetensors.numpy import load_file

from recllm.baselines.sasrec import SasRec
from recllm.catalog.histories import Sequences, SplitRows
from recllm.cli import pipeline
from recllm.config.loading import load_recipe
from recllm.config.sasrec_section import SasrecSection
from recllm.config.schema import EvalSection, Recipe
from recllm.config.validation import dump
from recllm.errors import UserError
from recllm.eval.baselines_stage import Baselines, read_baselines
from recllm.eval.sasrec_stage import Sasrec

#: Each item is followed by the next of 8.
SEQUENCES = [[(start + i) % 8 for i in range(7)] for start in range(8)] * 3
SMALL = {"width": 16, "epochs": 4, "batch_size": 4, "learning_rate": 0.01, "dropout": 0.0}


def recipe(section: dict | None = SMALL, **settings: object) -> Recipe:
    chosen = {"engine": None, "beams": 3, "cutoffs": (1, 3), **settings}
    return Recipe.model_construct(
        eval=EvalSection.model_validate(chosen),
        sasrec=None if section is None else SasrecSection.model_validate(section),
        seed=0,
    )


def test_what_it_writes(tmp_path: Path) -> None:
    inputs = write_leave_one_out(tmp_path, SEQUENCES, 8)
    out = tmp_path / "sasrec"
    out.mkdir()
    counts = Sasrec(recipe()).build(inputs, out)
    assert counts == {
        "training_interactions": 120, "training_targets": 96, "valid": 24, "epochs": 4,
    }  # fmt: skip
    names = ["metrics.jsonl", "model.safetensors", "settings.json"]
    assert sorted(path.name for path in out.iterdir()) == names
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in lines] == [1, 2, 3, 4]
    assert all({"loss", "seconds", "hit@10", "ndcg@10"} <= set(line) for line in lines)
    assert lines[-1]["loss"] < lines[0]["loss"]
    model = SasRec.load(out)
    assert model.items == 8 and model.settings == SasrecSection.model_validate(SMALL)


def test_it_is_ranked_on_the_rows_of_the_other_baselines(tmp_path: Path) -> None:
    inputs = write_leave_one_out(tmp_path, SEQUENCES, 8)
    trained, out = tmp_path / "sasrec", tmp_path / "baselines"
    trained.mkdir()
    out.mkdir()
    Sasrec(recipe()).build(inputs, trained)
    stage = Baselines(recipe(exclude_history=True))
    assert stage.parents == ("filter", "split", "sasrec")
    stage.build(inputs | {"sasrec": trained}, out)
    model = SasRec.load(trained)
    for split in ("valid", "test"):
        found = read_baselines(out, split)
        assert list(found) == ["popularity", "covisitation", "item_knn", "sasrec"]
        assert np.array_equal(found["sasrec"].row, found["popularity"].row)
        rows = SplitRows.read(inputs["split"], split, Sequences.read(inputs["split"]))
        expected = model.rank(rows.histories, rows.target, 3, rows.histories)
        assert np.array_equal(found["sasrec"].ranking.ranks, expected.ranks)
        shown = found["sasrec"].ranking.items
        assert np.array_equal(shown, expected.items[:, : shown.shape[1]])
        assert (expected.ranks == 0).mean() > 0.5


def test_without_a_section_there_is_none() -> None:
    assert Baselines(recipe(None)).parents == ("filter", "split")
    assert Sasrec(recipe(None)).settings() == Sasrec(recipe({})).settings()
    assert Sasrec(recipe()).settings() != Sasrec(recipe({})).settings()
    assert Sasrec(recipe(beams=5)).settings() == Sasrec(recipe()).settings()
    assert Sasrec(recipe(exclude_history=True)).settings() != Sasrec(recipe()).settings()


def test_held_out_interactions_train_nothing(tmp_path: Path) -> None:
    weights = []
    for name, last in (("a", None), ("b", 7)):
        folder = tmp_path / name
        folder.mkdir()
        inputs = write_leave_one_out(folder, SEQUENCES, 8)
        if last is not None:  # other held-out items, in the sequences too
            table = pq.read_table(inputs["split"] / "sequences.parquet")
            items = pa.array([[*s[:-2], last, last] for s in SEQUENCES], pa.list_(pa.int32()))
            table = table.set_column(table.schema.get_field_index("items"), "items", items)
            pq.write_table(table, inputs["split"] / "sequences.parquet")
        out = folder / "out"
        out.mkdir()
        path = inputs["split"] / "valid.parquet"
        pq.write_table(pq.read_table(path).slice(0, 0), path)
        Sasrec(recipe()).build(inputs, out)
        weights.append(load_file(out / "model.safetensors"))
    for name, first in weights[0].items():
        assert np.array_equal(first, weights[1][name]), name


def test_a_recipe_asks_for_it(tmp_path: Path) -> None:
    places = [f"output_dir={tmp_path}/run", f"cache_dir={tmp_path}/cache"]
    plain = load_recipe("demo", places)
    assert plain.sasrec is None
    assert "sasrec" not in [stage.name for stage in pipeline.build_stages(plain)]
    asked = load_recipe("demo", [*places, "sasrec.width=32", "sasrec.loss=bce"])
    assert dump(asked)["sasrec"] | {"width": 32, "loss": "bce"} == dump(asked)["sasrec"]
    names = [stage.name for stage in pipeline.build_stages(asked)]
    assert names.index("split") < names.index("sasrec") < names.index("baselines")
    assert load_recipe("demo", [*places, "sasrec={}"]).sasrec == SasrecSection()


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("sasrec.widht=3", r"sasrec\.widht: unknown key; did you mean 'width'\?"),
        ("sasrec.width=127", r"sasrec: width \(127\) must be a multiple of heads \(2\)"),
        ("sasrec.loss=softmax", r"sasrec\.loss: expected 'cross-entropy' or 'bce', found 'soft"),
        ("sasrec.dropout=1", r"sasrec\.dropout: expected less than 1"),
        ("sasrec=3", r"sasrec: expected keys with values, found 3"),
    ],
)
def test_mistakes_are_told(override: str, expected: str) -> None:
    with pytest.raises(UserError, match=expected):
        load_recipe("demo", [override])


@pytest.mark.slow
def test_a_run_shows_it_beside_the_model(tmp_path: Path) -> None:
    places = [f"output_dir={tmp_path}/run", f"cache_dir={tmp_path}/cache"]
    short = ["sft.trainer.num_train_epochs=1", "sasrec.epochs=3", "sasrec.width=32"]
    done = pipeline.run(load_recipe("demo", [*places, *short]))
    metrics = json.loads((done["eval"].path / "metrics.json").read_text())
    assert list(metrics["baselines"]) == ["popularity", "covisitation", "item_knn", "sasrec"]
    assert metrics["baselines"]["sasrec"]["hit@10"]["n"] == metrics["rows"]
    assert set(metrics["paired"]) == set(metrics["baselines"])
    assert "SASRec" in (tmp_path / "run" / "report.html").read_text()
