"""The prompts of reinforcement learning are those of fine-tuning, each with its own target."""

from pathlib import Path

import pyarrow.parquet as pq
from command_line import recllm

from recllm.catalog.histories import Sequences, SplitRows
from recllm.catalog.sids import read_index
from recllm.train.rl_rows import RlRows

RECIPE = """
extends: base/quickstart
data: {source: simulated, users: 60, items: 40, k_core: 2}
embed: {dimensions: 8}
sid: {levels: 2, codes: 16, health: {max_resolution_cost: 5}}
prompts: {max_history: 4}
sft:
  targets: last
  loss: vocab
  tasks: {seqrec: 1.0, title_to_sid: 1.0, title_history_to_sid: {cap: 30}}
eval: {scoring: vocab}
rl:
  tasks: {seqrec: 1.0, title_to_sid: 1.0, title_history_to_sid: {cap: 30}}
"""


def artifact(folder: Path, stage: str) -> Path:
    (manifest,) = (folder / "cache" / stage).glob("*/manifest.json")
    return manifest.parent


def test_prompts_are_those_of_fine_tuning_keyed_by_row(tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    places = [f"output_dir={tmp_path / 'run'}", f"cache_dir={tmp_path / 'cache'}"]
    outcome = recllm("run", str(tmp_path / "recipe.yaml"), "--until", "rl_prompts", *places)
    assert outcome.code == 0, outcome.err
    trained = pq.read_table(artifact(tmp_path, "prompts") / "train.parquet").to_pylist()
    asked = pq.read_table(artifact(tmp_path, "rl_prompts") / "prompts.parquet").to_pylist()
    assert [(row["task"], row["row"]) for row in asked] == [
        (row["task"], row["row"]) for row in trained
    ]
    for row, with_answer in zip(asked, trained, strict=True):
        prompt = [i for i, n in zip(with_answer["input_ids"], with_answer["labels"], strict=True)
                  if n < 0]  # fmt: skip
        assert row["prompt"] == prompt

    split = artifact(tmp_path, "split")
    sequences = Sequences.read(split)
    train = SplitRows.read(split, "train", sequences)
    rows = RlRows.read(artifact(tmp_path, "rl_prompts"), train, sequences)
    place = {int(row): index for index, row in enumerate(train.row)}
    of_log = [i for i, row in enumerate(asked) if row["row"] is not None]
    for i in of_log:
        at = place[asked[i]["row"]]
        assert rows.targets[i] == train.target[at]
        assert list(rows.histories[i]) == train.history(at).tolist()
    items = read_index(artifact(tmp_path, "sid") / "sids.parquet")
    of_catalog = [i for i, row in enumerate(asked) if row["row"] is None]
    assert sorted(rows.targets[of_catalog].tolist()) == list(range(len(items)))
    assert all(len(rows.histories[i]) == 0 for i in of_catalog)

    kept = rows.without_repeats()
    assert 0 < len(kept) <= len(rows)
    pairs = zip(kept.targets, kept.histories, strict=True)
    assert not any(target in history for target, history in pairs)


def test_unknown_targets_whole_training_histories_and_nothing_later(tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    places = [f"output_dir={tmp_path / 'run'}", f"cache_dir={tmp_path / 'cache'}"]
    unknown = ["rl.tasks=null", "rl.targets=unknown", "rl.rewards={rank: null, collaborative: 1}"]
    recipe = str(tmp_path / "recipe.yaml")
    outcome = recllm("run", recipe, "--until", "rl_prompts", *places, *unknown)
    assert outcome.code == 0, outcome.err
    split = artifact(tmp_path, "split")
    sequences = Sequences.read(split)
    train, valid = (SplitRows.read(split, name, sequences) for name in ("train", "valid"))
    rows = RlRows.read(artifact(tmp_path, "rl_prompts"), train, sequences)
    assert len(rows) == sum(len(history) > 0 for history in sequences.training)
    assert (rows.targets == -1).all() and (rows.rows == -1).all()
    expected = [history.tolist() for history in sequences.training if len(history)]
    assert [list(history) for history in rows.histories] == expected
    # Leave-one-out: what validation asks with, and so what nobody knows the answer of.
    asked = {tuple(history.tolist()) for history in valid.histories}
    assert {tuple(history) for history in expected} == asked
    assert len(rows.without_repeats()) == len(rows)
