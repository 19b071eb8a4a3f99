"""A whole run under the global temporal split, with items and users that are new after the cut."""

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from command_line import recllm

from recllm.artifacts.manifest import Manifest
from recllm.catalog.histories import Sequences, SplitRows
from recllm.catalog.sids import SidIndex
from recllm.data_prep.embed import read_vectors
from recllm.data_prep.splits.temporal import to_seconds

RECIPE = """
extends: base/quickstart
description: A tiny run in time.
output_dir: {folder}/run
cache_dir: {folder}/cache
data:
  {{source: files, path: {folder}/log.csv, items: {folder}/items.csv, k_core: 0, split: temporal,
   valid_from: 2020-01-25, test_from: 2020-01-30}}
embed: {{dimensions: 16}}
sid: {{levels: 2, codes: 8, health: {{max_resolution_cost: 10, max_collision_rate: 1}}}}
model: {{from_scratch: {{hidden: 32, layers: 1, heads: 2, vocabulary: 320}}}}
sft: {{trainer: {{num_train_epochs: 1, per_device_train_batch_size: 16}}}}
eval: {{beams: 12, cutoffs: [5, 10], bootstrap: 100, exclude_history: false}}
"""
SUBJECTS = ("silver", "garden", "engine", "winter", "harbor")
ITEMS = 40
COLD = (38, 39)
START, TEST_FROM = to_seconds("2020-01-01"), to_seconds("2020-01-30")
DAY = 86_400


def log_rows() -> list[tuple[str, int, int]]:
    """(user, item, time): users follow a subject; 38 and 39 come out with the test's time."""
    rows = []
    for user in range(60):
        first = user % 25
        for step in range(12):
            day = first + step
            item = (user % 5 + 5 * step) % 38
            if START + DAY * day >= TEST_FROM and step % 2:
                item = COLD[user % 2]
            rows.append((f"u{user}", item, START + DAY * day + user))
    return rows


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("temporal")
    lines = [f"{user},i{item:02},{time}" for user, item, time in log_rows()]
    (folder / "log.csv").write_text("user,item,time\n" + "\n".join(lines) + "\n")
    titles = [f"i{i:02},the {SUBJECTS[i % 5]} {SUBJECTS[i % 5]}s" for i in range(ITEMS)]
    (folder / "items.csv").write_text("item_id,title\n" + "\n".join(titles) + "\n")
    (folder / "recipe.yaml").write_text(RECIPE.format(folder=folder))
    outcome = recllm("run", str(folder / "recipe.yaml"))
    assert outcome.code == 0, outcome.err
    return folder


def artifact(folder: Path, stage: str) -> Path:
    return next((folder / "cache" / stage).glob("*/"))


def metrics_of(folder: Path) -> dict:
    return json.loads((folder / "run" / "eval" / "metrics.json").read_text())


def test_users_have_several_test_rows_and_every_one_is_ranked(folder: Path) -> None:
    late = [row for row in log_rows() if row[2] >= TEST_FROM]
    table = pq.read_table(folder / "run" / "eval" / "predictions.parquet")
    assert table.num_rows == metrics_of(folder)["rows"] == len(late)
    assert len(set(table["user_id"].to_pylist())) == len({user for user, *_ in late}) < len(late)
    estimate = metrics_of(folder)["metrics"]["hit@10"]
    assert estimate["n"] == len(late)


def test_cold_targets_are_counted_sliced_and_can_be_recommended(folder: Path) -> None:
    targets = [item for *_, item, time in log_rows() if time >= TEST_FROM]
    cold = sum(item in COLD for item in targets)
    manifest = Manifest.read(artifact(folder, "split"))
    assert manifest and manifest.counts["cold_items"] == len(COLD)
    assert manifest.counts["cold_targets_test"] == cold > 0
    slices = {part["label"]: part for part in metrics_of(folder)["slices"]["cold_target"]}
    assert (slices["cold"]["n"], slices["warm"]["n"]) == (cold, len(targets) - cold)
    assert slices["cold"]["baselines"]["covisitation"]["hit@10"]["value"] == 0
    catalogue = SidIndex.read(artifact(folder, "sid") / "sids.parquet")
    assert len(catalogue) == ITEMS
    report = (folder / "run" / "report.html").read_text()
    assert "cold targets test" in report


def test_what_nobody_had_lies_where_its_text_does(folder: Path) -> None:
    vectors = read_vectors(artifact(folder, "embed"))
    for item in COLD:
        distances = np.linalg.norm(vectors - vectors[item], axis=1)
        distances[list(COLD)] = np.inf
        assert np.argmin(distances) % 5 == item % 5


def test_no_history_reaches_its_target_and_training_ends_before_the_cut(folder: Path) -> None:
    split = artifact(folder, "split")
    sequences = Sequences.read(split)
    rows = SplitRows.read(split, "test", sequences)
    times = np.array([time for *_, time in log_rows()])
    for index in range(len(rows)):
        first = sequences.offsets[rows.sequence[index]]
        history = sequences.rows[first + rows.start[index] : first + rows.end[index]]
        assert times[history].max() < times[rows.row[index]]
    trained = [
        sequences.rows[first : first + end]
        for first, end in zip(sequences.offsets[:-1], sequences.train_ends, strict=True)
    ]
    assert times[np.concatenate(trained)].max() < to_seconds("2020-01-25")


def test_costs_are_counted(folder: Path) -> None:
    cost = metrics_of(folder)["cost"]
    rows = metrics_of(folder)["rows"]
    codes = SidIndex.read(artifact(folder, "sid") / "sids.parquet").codes
    assert cost["beam_tokens"] == rows * min(12, len(np.unique(codes[:, 0])))
    assert cost["prompt_tokens"] > rows * 2  # of a history each item is two tokens
    total = cost["prompt_tokens"] + cost["beam_tokens"]
    assert cost["tokens_per_second"] == pytest.approx(total / cost["seconds"], rel=0.1)
    assert cost["peak_memory_bytes"] > 2**20
    prompts = Manifest.read(artifact(folder, "prompts"))
    assert prompts and cost["training"]["tokens"] == prompts.counts["tokens"]
    assert cost["training"]["tokens_per_second"] > 0
    assert "resumed_from_step" not in cost["training"]


def test_the_floors_of_data_stats_are_the_baselines_of_the_evaluation(folder: Path) -> None:
    outcome = recllm("data", "stats", str(folder / "recipe.yaml"), "--json")
    floors = json.loads(outcome.out)["floors"]["test"]
    for name, found in metrics_of(folder)["baselines"].items():
        assert floors[name] == {metric: found[metric] for metric in floors[name]}
