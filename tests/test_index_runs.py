"""Whole runs where items are something else than SIDs of one length, each its own."""

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from command_line import Outcome, recllm

from recllm.catalog.sids import SidIndex, TitleIndex, read_index

RECIPE = """
extends: base/quickstart
data: {source: files, path: FOLDER/log.csv, items: FOLDER/items.csv, k_core: 3}
embed: {dimensions: 8}
sid: {levels: 3, codes: 8}
model: {from_scratch: {hidden: 32, layers: 1, heads: 2, vocabulary: 400}}
prompts: {max_history: 5}
sft:
  targets: last
  loss: vocab
  validation_users: 20
  trainer: {num_train_epochs: 1, per_device_train_batch_size: 32, learning_rate: 5e-3}
eval: {scoring: vocab, beams: 10, cutoffs: [5, 10], bootstrap: 100}
"""
NOUNS = ("river", "harbor", "silent road", "garden", "night", "old mill", "tower", "sea")


def run(folder: Path, *arguments: str) -> Outcome:
    (folder / "recipe.yaml").write_text(RECIPE.replace("FOLDER", str(folder)))
    if not (folder / "log.csv").exists():
        write_log(folder)
    places = [f"output_dir={folder / 'run'}", f"cache_dir={folder / 'cache'}"]
    return recllm(arguments[0], str(folder / "recipe.yaml"), *places, *arguments[1:])


def write_log(folder: Path) -> None:
    """120 users, 40 items with category paths of one to three names; one title occurs twice."""
    rng = np.random.default_rng(0)
    firsts = rng.integers(0, 40, 120)
    log = [
        f"u{user},i{(first + step) % 40},{place}\n"
        for user, first in enumerate(firsts)
        for place, step in enumerate(rng.permutation(9)[:7])
    ]
    (folder / "log.csv").write_text("user_id,item_id,timestamp\n" + "".join(log))
    kinds = ["Books", "Books > Crime", "Books > Crime > Old", "Films", "Films > Silent"]
    named = [min(i, 38) for i in range(40)]
    items = [f"i{i},The {NOUNS[n % 8]} part {n},{kinds[i % 5]}\n" for i, n in enumerate(named)]
    (folder / "items.csv").write_text("item_id,title,categories\n" + "".join(items))


def predictions(folder: Path) -> list[dict]:
    return pq.read_table(folder / "run" / "eval" / "predictions.parquet").to_pylist()


def health_of(folder: Path) -> dict:
    (path,) = (folder / "cache" / "sid").glob("*/health.json")
    return json.loads(path.read_text())


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [["sid.quantizer=semantic"], ["sid.quantizer=hybrid", "sid.prefix=semantic"],
     ["sid.quantizer=title"]],
    ids=["semantic", "hybrid", "title"],
)  # fmt: skip
def test_items_of_different_lengths(tmp_path: Path, options: list[str]) -> None:
    outcome = run(tmp_path, "run", *options)
    assert outcome.code == 0, outcome.err
    index = read_index(tmp_path / "run" / "model" / "sids.parquet")
    assert index.variable_depth and len(set(index.texts())) == len(index)
    assert not (tmp_path / "cache" / "embed").exists()
    rows = predictions(tmp_path)
    assert len(rows) > 50
    for row in rows:
        assert len(set(row["item_ids"])) == 10 and row["invalid"] == 0
        assert row["scores"] == sorted(row["scores"], reverse=True)
    # every answer that was trained is an item's whole path, closed by the end-of-sequence token
    (trained,) = (tmp_path / "cache" / "prompts").glob("*/train.parquet")
    labels = pq.read_table(trained)["labels"].to_pylist()
    ends = {row[-1] for row in labels}
    assert len(ends) == 1
    assert len({sum(label >= 0 for label in row) for row in labels}) > 1
    samples = (tmp_path / "run" / "samples.md").read_text()
    assert any(f"⟦{text}" in samples for text in index.texts())
    assert "Semantic IDs" in (tmp_path / "run" / "report.html").read_text()
    assert isinstance(index, TitleIndex) == (health_of(tmp_path)["levels"] == [])
    item = index.item_ids[0]
    told = recllm("recommend", str(tmp_path / "run"), "--history", item, "-k", "3")
    assert told.code == 0, told.err
    assert len(told.out.split("recommended")[1].splitlines()) == 4


@pytest.mark.slow
def test_items_that_share_a_sid_are_recommended_together(tmp_path: Path) -> None:
    assert run(tmp_path, "prep", "sid.quantizer=random").code == 0
    (path,) = (tmp_path / "cache" / "sid").glob("*/sids.parquet")
    ids = SidIndex.read(path).item_ids
    # item i and item i + 20 share a SID
    half = (len(ids) + 1) // 2
    sids = {item: [f"<a_{i % half % 5}>", f"<b_{i % half}>"] for i, item in enumerate(ids)}
    (tmp_path / "given.index.json").write_text(json.dumps(sids))
    options = ["sid.quantizer=import", f"sid.path={tmp_path / 'given.index.json'}"]
    refused = run(tmp_path, "run", *options)
    assert refused.code == 2 and "share their SID" in refused.err
    strict = run(tmp_path, "run", *options, "sid.on_collision=keep")
    assert strict.code == 2 and "max_collision_rate" in strict.err
    options += ["sid.on_collision=keep", "sid.health.max_collision_rate=1"]
    outcome = run(tmp_path, "run", *options)
    assert outcome.code == 0, outcome.err
    place = {item: i for i, item in enumerate(ids)}
    for row in predictions(tmp_path):
        items, scores = row["item_ids"], row["scores"]
        assert len(set(items)) == 10 and row["invalid"] == 0
        for rank, item in enumerate(items):
            if place[item] >= half:
                assert place[items[rank - 1]] == place[item] - half
                assert scores[rank - 1] == scores[rank]
            elif place[item] + half < len(ids) and rank < 9:
                assert place[items[rank + 1]] == place[item] + half
    metrics = json.loads((tmp_path / "run" / "eval" / "metrics.json").read_text())
    item_level, sid_level = metrics["metrics"]["hit@5"], metrics["sid_metrics"]["hit@5"]
    assert sid_level["value"] >= item_level["value"]
    assert np.isclose(metrics["invalid_rate"], 0)


@pytest.mark.slow
def test_an_imported_index_of_different_lengths_is_held_to_the_same_settings(
    tmp_path: Path,
) -> None:
    assert run(tmp_path, "prep", "sid.quantizer=semantic").code == 0
    (path,) = (tmp_path / "cache" / "sid").glob("*/sids.parquet")
    index = SidIndex.read(path)
    tokens = {item: [f"{t}>" for t in text.split(">")[:-1]] for item, text in
              zip(index.item_ids, index.texts(), strict=True)}  # fmt: skip
    (tmp_path / "given.index.json").write_text(json.dumps(tokens))
    options = ["sid.quantizer=import", f"sid.path={tmp_path / 'given.index.json'}"]
    refused = run(tmp_path, "prep", *options, "sft.targets=all")
    assert refused.code == 2
    assert "import gives items of different lengths, but sft.targets: all" in refused.err
    refused = run(tmp_path, "sft", *options, "eval.scoring=level")
    assert refused.code == 2 and "eval.scoring: level" in refused.err
