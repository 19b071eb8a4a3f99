"""Whole runs of mixes without seqrec: asked by another task, judged, searched, in all phrasings."""

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from command_line import recllm
from task_log import ITEMS, LENGTH, RECIPE, USERS, write_inputs

from recllm.metrics.classification import auc
from recllm.models.recommender import Recommender
from recllm.models.references import DESCRIPTION

TRAINING = """
sft:
  tasks: {tasks}
  trainer:
    max_steps: 4
    eval_strategy: steps
    save_strategy: steps
    eval_steps: 2
    save_steps: 2
    per_device_train_batch_size: 16
    learning_rate: 5e-3
eval: {{beams: 5, cutoffs: [5], bootstrap: 100}}
"""


def run(folder: Path, tasks: str, *settings: str, command: str = "run") -> str:
    if not (folder / "log.csv").is_file():
        write_inputs(folder)
    tasks = tasks.replace("FOLDER", str(folder))
    text = RECIPE.format(folder=folder) + TRAINING.format(tasks=tasks)
    (folder / "recipe.yaml").write_text(text)
    outcome = recllm(command, str(folder / "recipe.yaml"), *settings)
    assert outcome.code == 0, outcome.err
    return outcome.out


def metrics_of(folder: Path) -> dict:
    return json.loads((folder / "run" / "eval" / "metrics.json").read_text())


def evaluations(folder: Path, key: str) -> list[float]:
    lines = (folder / "run" / "metrics.jsonl").read_text().splitlines()
    return [row[key] for line in lines if key in (row := json.loads(line))]


def test_a_mix_without_seqrec_is_asked_by_its_own_task(tmp_path: Path) -> None:
    run(tmp_path, "{sid_to_title: 1, title_history_to_sid: 1}", "eval.phrasings=all")
    assert len(evaluations(tmp_path, "eval_ndcg@10")) == 2
    model = tmp_path / "run" / "model"
    described = json.loads((model / DESCRIPTION).read_text())
    assert described["asked_by"] == {"task": "title-history-to-sid", "options": {}}
    recommender = Recommender.load(model)
    (prompt,) = recommender.renderer.recommendation_prompts([[0, 5]])
    task = recommender.renderer.asked_by
    assert recommender.renderer.tokenizer.decode(prompt) == (
        f"{task.phrasings[0]}\nLamp of kind 00\nLamp of kind 05\n"
    )
    found = metrics_of(tmp_path)
    assert found["settings"]["asked_by"] == "title-history-to-sid"
    ids = recommender.items.ids
    history = f"{ids[0]},{ids[5]}"
    outcome = recllm("recommend", str(tmp_path / "run"), "--history", history, "-k", "3")
    shown = [line.split()[1] for line in outcome.out.split("recommended")[1].splitlines()[1:]]
    ranked = recommender.rank([[0, 5]], beams=50).items[0]  # as wide as the command searches
    assert shown == [ids[item] for item in ranked[:3]]
    # over phrasings, of which the first is the headline
    spread = found["phrasings"]["metrics"]["hit@5"]
    assert found["phrasings"]["asked"] == list(task.phrasings)
    assert spread["values"][0] == found["metrics"]["hit@5"]["value"]
    assert spread["mean"] == pytest.approx(np.mean(spread["values"]))
    assert (spread["min"], spread["max"]) == (min(spread["values"]), max(spread["values"]))
    assert "Over 4 phrasings" in (tmp_path / "run" / "report.md").read_text()


def test_one_phrasing_alone_is_asked_unless_told(tmp_path: Path) -> None:
    run(tmp_path, "{seqrec: 1}")
    assert not {"phrasings", "search"} & set(metrics_of(tmp_path))


def test_a_mix_that_cannot_be_asked_is_refused_before_anything_runs(tmp_path: Path) -> None:
    write_inputs(tmp_path)
    for tasks in ("{title_to_sid: 1}", "{bigrec: 1}"):
        text = RECIPE.format(folder=tmp_path) + TRAINING.format(tasks=tasks)
        (tmp_path / "recipe.yaml").write_text(text)
        for command in ("sft", "run"):
            outcome = recllm(command, str(tmp_path / "recipe.yaml"))
            assert outcome.code == 2
            assert "trains no task that can be asked" in outcome.err
            assert not (tmp_path / "cache").exists()


VERDICTS = ("sid.quantizer=title",)


def test_verdicts_are_scored_by_auc(tmp_path: Path) -> None:
    shown = run(tmp_path, "{tallrec: 1}", *VERDICTS, "eval.phrasings=all")
    assert len(evaluations(tmp_path, "eval_auc")) == 2
    found = metrics_of(tmp_path)
    assert (found["rows"], found["answers"], found["left_out"]) == (8, {"Yes": 3, "No": 5}, {})
    assert set(found["baselines"]) == {"chance", "popularity", "rating"} == set(found["paired"])
    table = pq.read_table(tmp_path / "run" / "eval" / "predictions.parquet")
    assert table.column_names == ["row", "user_id", "target", "score", "label"]
    rows = table["row"].to_numpy()
    assert rows.tolist() == [LENGTH * user + LENGTH - 1 for user in range(USERS)]
    ratings = (np.arange(USERS) + LENGTH - 1) % 5 + 1
    assert table["label"].to_pylist() == (ratings > 3).tolist()
    value = found["metrics"]["auc"]["value"]
    assert value == pytest.approx(auc(table["score"].to_numpy(), table["label"].to_numpy()))
    assert found["baselines"]["chance"]["auc"] == {"value": 0.5, "ci95": [0.5, 0.5], "n": 8}
    paired = found["paired"]["chance"]["auc"]["value"]
    assert paired == pytest.approx(value - 0.5)
    assert found["baselines"]["popularity"]["auc"]["value"] == pytest.approx(
        auc(popularity_of(table["target"].to_numpy()), ratings > 3)
    )
    assert len(found["phrasings"]["metrics"]["auc"]["values"]) == 4
    assert "one verdict each (3 Yes, 5 No)" in shown and f"{value:.4f}" in shown
    report = (tmp_path / "run" / "report.md").read_text()
    assert "chance" in report and "auc" in report
    assert (tmp_path / "run" / "report.html").is_file()
    # the same checkpoint by its folder, and what it cannot do
    again = ["eval", str(tmp_path / "recipe.yaml"), *VERDICTS, "eval.phrasings=all"]
    checkpoint = ["--checkpoint", str(tmp_path / "run")]
    outcome = recllm(*again, *checkpoint)
    assert outcome.code == 0, outcome.err
    assert f"{value:.4f}" in outcome.out and "hit@10" not in outcome.out
    outcome = recllm("recommend", str(tmp_path / "run"), "--history", "i00")
    assert outcome.code == 2 and "it judges one item at a time, and ranks none" in outcome.err
    outcome = recllm(*again, "sft.tasks.seqrec=1", *checkpoint)
    assert outcome.code == 2 and "ranks none" in outcome.err


def popularity_of(targets: np.ndarray) -> np.ndarray:
    """Training interactions of each target, from the log's own rule."""
    taken = [(5 * u + 7 * at) % ITEMS for u in range(USERS) for at in range(LENGTH - 2)]
    return np.bincount(taken, minlength=ITEMS)[targets]


def test_few_shot_rows_are_drawn_by_the_seed(tmp_path: Path) -> None:
    drawn = {}
    for seed in (0, 1):
        run(tmp_path, "{tallrec: {cap: 16}}", *VERDICTS, f"seed={seed}", command="prep")
        newest = max((tmp_path / "cache" / "prompts").glob("*/train.parquet"),
                     key=lambda path: path.stat().st_mtime_ns)  # fmt: skip
        drawn[seed] = sorted(pq.read_table(newest)["row"].to_pylist())
    assert [len(rows) for rows in drawn.values()] == [16, 16]
    assert drawn[0] != drawn[1]


def test_the_intents_of_test_rows_are_searched(tmp_path: Path) -> None:
    run(tmp_path, "{seqrec: 1, item_search: {file: FOLDER/intents.jsonl}}")
    found = metrics_of(tmp_path)["search"]
    assert (found["rows"], found["left_out"]) == (USERS, {})
    assert set(found["metrics"]) == {"hit@5", "ndcg@5", "mrr@5"}
    assert set(found["baselines"]) == {"popularity"} == set(found["paired"])
    of_ranking = metrics_of(tmp_path)["baselines"]["popularity"]["hit@5"]["value"]
    assert found["baselines"]["popularity"]["hit@5"]["value"] == of_ranking  # the same rows
    train = pq.read_table(next((tmp_path / "cache" / "prompts").glob("*/train.parquet")))
    trained = {row["row"] for row in train.to_pylist() if row["task"] == "item-search"}
    assert trained == {LENGTH * user + 2 for user in range(USERS)}
    assert "Item search" in (tmp_path / "run" / "report.md").read_text()


def test_intents_of_items_may_be_trained_and_are_not_searched(tmp_path: Path) -> None:
    run(tmp_path, "{seqrec: 1, item_search: {column: description}}")
    found = metrics_of(tmp_path)["search"]
    assert found["rows"] == 0 and "metrics" not in found
    assert found["left_out"] == {"targets_whose_intents_may_be_trained": USERS}


def test_a_column_of_the_user_s_items_can_be_searched_by(tmp_path: Path) -> None:
    write_inputs(tmp_path)
    header, *lines = (tmp_path / "items.csv").read_text().splitlines()
    wishes = [f"{line},light for room {line[1:3]}" for line in lines]
    (tmp_path / "items.csv").write_text("\n".join([f"{header},wish", *wishes]) + "\n")
    mix = "{seqrec: 1, item_search: {column: wish, history: never}}"
    text = RECIPE.format(folder=tmp_path) + TRAINING.format(tasks=mix)
    (tmp_path / "recipe.yaml").write_text(text)
    outcome = recllm("prep", str(tmp_path / "recipe.yaml"))
    assert outcome.code == 2 and "data.item_columns keeps any other" in outcome.err
    run(tmp_path, mix, "data.item_columns=[wish]", command="prep")
    samples = next((tmp_path / "cache" / "prompts").glob("*/samples.md")).read_text()
    assert "Looking for: light for room 00\n⟦<a_" in samples
    found = pq.read_table(next((tmp_path / "cache" / "prompts").glob("*/train.parquet")))
    assert found["task"].to_pylist().count("item-search") == ITEMS


@pytest.mark.parametrize("engine", ["transformers", "grounding"])
def test_titles_are_ranked_by_the_trie_or_by_grounding(tmp_path: Path, engine: str) -> None:
    run(tmp_path, "{bigrec: 1}", *VERDICTS, f"eval.engine={engine}", "eval.exclude_history=true")
    found = metrics_of(tmp_path)
    assert found["settings"]["asked_by"] == "bigrec"
    assert found["invalid_rate"] == 0
    assert ("gamma" in found["settings"]) == (engine == "grounding")
    assert found["cost"]["beam_tokens"] > 0
    table = pq.read_table(tmp_path / "run" / "eval" / "predictions.parquet")
    assert all(len(set(ids)) == 5 for ids in table["item_ids"].to_pylist())
    assert (tmp_path / "run" / "report.html").is_file()


def test_grounding_needs_titles(tmp_path: Path) -> None:
    write_inputs(tmp_path)
    text = RECIPE.format(folder=tmp_path) + TRAINING.format(tasks="{seqrec: 1}")
    (tmp_path / "recipe.yaml").write_text(text)
    outcome = recllm("run", str(tmp_path / "recipe.yaml"), "eval.engine=grounding")
    assert outcome.code == 2
    assert "set sid.quantizer: title" in outcome.err
    assert not (tmp_path / "run").exists()
