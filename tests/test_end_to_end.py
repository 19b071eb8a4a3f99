"""A whole run on a tiny log: from the log to the report, again, and once more elsewhere."""

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from command_line import Outcome, recllm

from recllm.catalog.histories import Sequences, SplitRows

RECIPE = """
extends: base/quickstart
description: A tiny run.
data: {source: simulated, users: 400, items: 80, k_core: 3}
embed: {dimensions: 16}
sid: {levels: 2, codes: 16, health: {max_resolution_cost: 1}}
model: {from_scratch: {hidden: 32, layers: 1, heads: 2, dropout: 0.1, vocabulary: 320}}
sft: {trainer: {num_train_epochs: 2, per_device_train_batch_size: 32, learning_rate: 5e-3}}
eval: {beams: 20, cutoffs: [5, 10], bootstrap: 200}
"""


def run(folder: Path, *arguments: str) -> Outcome:
    (folder / "recipe.yaml").write_text(RECIPE)
    places = [f"output_dir={folder / 'run'}", f"cache_dir={folder / 'cache'}"]
    command, *rest = arguments
    return recllm(command, str(folder / "recipe.yaml"), *places, *rest)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("first")
    outcome = run(folder, "run")
    assert outcome.code == 0, outcome.err
    assert "popularity" in outcome.out and "covisitation" in outcome.out
    return folder


def metrics_of(folder: Path) -> dict:
    metrics = json.loads((folder / "run" / "eval" / "metrics.json").read_text())
    del metrics["cost"]
    return metrics


def test_a_run_leaves_what_it_promises(folder: Path) -> None:
    run_folder = folder / "run"
    names = {path.name for path in run_folder.iterdir()}
    assert names == {
        "resolved.yaml", "samples.md", "metrics.jsonl", "model", "eval", "report.html", "report.md",
        "report.csv", ".lock",
    }  # fmt: skip
    rows = [json.loads(line) for line in (run_folder / "metrics.jsonl").read_text().splitlines()]
    assert sum("eval_ndcg@10" in row for row in rows) == 2
    assert "⟦<a_" in (run_folder / "samples.md").read_text()
    report = (run_folder / "report.html").read_text()
    assert "<svg" in report and "co-visitation" in report


def test_every_test_row_has_a_prediction_and_none_is_invalid(folder: Path) -> None:
    table = pq.read_table(folder / "run" / "eval" / "predictions.parquet")
    metrics = metrics_of(folder)
    assert table.num_rows == metrics["rows"] > 100
    assert metrics["invalid_rate"] == 0
    assert metrics["settings"]["batch_tokens"] > 0  # what was taken where the recipe says nothing
    assert metrics["settings"]["dtype"] in ("float32", "bfloat16")
    assert table["invalid"].to_numpy().sum() == 0
    assert all(len(set(ids)) == 20 for ids in table["item_ids"].to_pylist())
    hits = [ids.index(t) if t in ids else -1 for ids, t in _ids_and_targets(folder, table)]
    assert hits == table["rank"].to_pylist()
    value = sum(0 <= rank < 10 for rank in hits) / len(hits)
    assert metrics["metrics"]["hit@10"]["value"] == pytest.approx(value)


def _ids_and_targets(folder: Path, table) -> list[tuple[list[str], str]]:
    items = pq.read_table(folder / "run" / "model" / "items.parquet")["item_id"].to_pylist()
    targets = [items[i] for i in table["target"].to_pylist()]
    return list(zip(table["item_ids"].to_pylist(), targets, strict=True))


def test_a_second_run_does_nothing_again(folder: Path) -> None:
    planned = run(folder, "run", "--dry-run")
    stages = len(planned.out.splitlines())
    assert planned.out.count("done already") == stages > 10
    outcome = run(folder, "run")
    assert outcome.code == 0
    assert outcome.out.count("cached") == stages


def test_a_changed_setting_runs_what_depends_on_it_alone(folder: Path) -> None:
    planned = run(folder, "run", "sid.codes=12", "--dry-run").out.splitlines()
    states = {line.split()[0]: "would run" in line for line in planned}
    assert [name for name, runs in states.items() if not runs] == [
        "ingest", "filter", "split", "statistics", "embed", "baselines",
    ]  # fmt: skip
    assert any("sid will run" in line for line in planned)


def test_a_part_of_the_run(folder: Path) -> None:
    shown = {path.name for path in (folder / "run").iterdir()}
    for part, last in {"prep": "prompts", "sft": "sft", "eval": "eval", "report": "report"}.items():
        outcome = run(folder, part)
        assert outcome.code == 0
        stages = [line.split()[0] for line in outcome.out.splitlines() if "cached" in line]
        assert stages[-1] == last
        assert {path.name for path in (folder / "run").iterdir()} == shown


def test_one_seed_gives_one_result(folder: Path, tmp_path: Path) -> None:
    outcome = run(tmp_path, "run")
    assert outcome.code == 0, outcome.err
    for name in ("model/sids.parquet", "samples.md", "model/model.safetensors"):
        assert (folder / "run" / name).read_bytes() == (tmp_path / "run" / name).read_bytes(), name
    first, second = (
        next((f / "cache" / "prompts").glob("*/train.parquet")) for f in (folder, tmp_path)
    )
    assert pq.read_table(first).equals(pq.read_table(second))
    assert metrics_of(folder) == metrics_of(tmp_path)


def test_recommend_prints_titles_and_scores(folder: Path) -> None:
    items = pq.read_table(folder / "run" / "model" / "items.parquet")
    ids, titles = items["item_id"].to_pylist(), items["title"].to_pylist()
    history = f"{ids[0]},{ids[3]}"
    outcome = recllm("recommend", str(folder / "run"), "--history", history, "-k", "5")
    assert outcome.code == 0, outcome.err
    shown = outcome.out.split("recommended")[1].splitlines()[1:]
    assert len(shown) == 5
    assert all(any(title in line for title in titles) for line in shown)
    excluded = recllm(
        "recommend", str(folder / "run"), "--history", history, "-k", "80", "--exclude-history"
    )
    lines = excluded.out.split("recommended")[1].splitlines()[1:]
    assert len(lines) == len(ids) - 2
    assert not any(f" {ids[0]} " in line for line in lines)


def test_recommend_ranks_as_the_evaluation_did(folder: Path) -> None:
    split = next((folder / "cache" / "split").glob("*/"))
    rows = SplitRows.read(split, "test", Sequences.read(split))
    ids = pq.read_table(folder / "run" / "model" / "items.parquet")["item_id"].to_pylist()
    predicted = pq.read_table(folder / "run" / "eval" / "predictions.parquet")["item_ids"]
    for index in range(3):
        history = ",".join(ids[item] for item in rows.history(index))
        outcome = recllm("recommend", str(folder / "run"), "--history", history, "-k", "5")
        lines = outcome.out.split("recommended")[1].splitlines()[1:]
        assert [line.split()[1] for line in lines] == predicted[index].as_py()[:5]


@pytest.mark.parametrize(
    ("history", "message"),
    [("nothing-like-it", "1 item id(s) are not in the catalogue"), (",", "at least one item id")],
)
def test_recommend_for_items_that_do_not_exist(folder: Path, history: str, message: str) -> None:
    outcome = recllm("recommend", str(folder / "run"), "--history", history)
    assert outcome.code == 2
    assert message in outcome.err


def test_a_checkpoint_evaluated_by_its_folder_scores_the_same(folder: Path) -> None:
    value = metrics_of(folder)["metrics"]["hit@10"]["value"]
    outcome = run(folder, "eval", "--checkpoint", str(folder / "run"))
    assert outcome.code == 0, outcome.err
    assert f"{value:.4f}" in outcome.out
    assert "covisitation" in outcome.out


def test_runs_of_two_seeds_are_found_by_wildcards_and_shown_as_one(
    folder: Path, tmp_path: Path
) -> None:
    other = run(folder, "sft", "seed=1", f"output_dir={folder / 'run-seed-1'}")
    assert other.code == 0, other.err
    (folder / "run-of-nothing").mkdir(exist_ok=True)
    tail = ("--checkpoint", str(folder / "run*"), "--checkpoint", str(folder / "run" / "model"))
    outcome = run(folder, "eval", *tail, f"output_dir={tmp_path / 'compared'}")
    assert outcome.code == 0, outcome.err
    compared = tmp_path / "compared" / "eval" / "checkpoints"
    comparison = json.loads((compared / "comparison.json").read_text())
    (spread,) = comparison["spreads"]
    assert spread["name"] == f"{folder / 'run'} (2 seeds)"
    one, two = (
        json.loads((compared / number / "metrics.json").read_text())["metrics"]["hit@10"]["value"]
        for number in "01"
    )
    assert spread["metrics"]["hit@10"]["mean"] == pytest.approx((one + two) / 2)
    same = {d["metric"]: d for d in comparison["differences"]}["hit@10"]  # its own second name
    assert same["second"] == str(folder / "run" / "model")
    assert same["value"] == pytest.approx((two - one) / 2)
    assert "mean ± standard deviation over seeds" in outcome.out
    assert "differences on the same rows" in outcome.out
    assert "left out 1 path(s) that are no checkpoint" in outcome.err


def test_a_checkpoint_of_another_catalogue_is_refused(folder: Path) -> None:
    outcome = run(folder, "eval", "--checkpoint", str(folder / "run"), "data.items=60")
    assert outcome.code == 2
    assert "the checkpoint's catalogue" in outcome.err
