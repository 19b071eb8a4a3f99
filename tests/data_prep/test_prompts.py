"""The prompts stage: every task from a log with all columns, and what a task lacks."""

import json
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from command_line import recllm
from task_log import ITEMS, LENGTH, RECIPE, USERS, write_inputs

from recllm.config.plugins import TASKS

MIX = """
sft:
  tasks:
    bigrec: 1
    description_to_sid: 1
    item_search: {{file: {folder}/intents.jsonl, history: always}}
    preference: {{file: {folder}/preferences.csv, column: taste}}
    seqrec: {{cap: 20}}
    sid_history_to_description: 1
    sid_history_to_title: 0.5
    sid_to_description: {{max_words: 2}}
    sid_to_title: 2
    tallrec: {{cap: 16}}
    title_history_to_sid: {{weight: 2, cap: 30}}
    title_to_sid: 1
"""


def prepare(folder: Path, more: str = "", *arguments: str) -> tuple[int, str]:
    if not (folder / "log.csv").exists():
        write_inputs(folder)
    (folder / "recipe.yaml").write_text((RECIPE + more).format(folder=folder))
    outcome = recllm("prep", str(folder / "recipe.yaml"), *arguments)
    return outcome.code, outcome.err


def manifests(folder: Path) -> list[dict]:
    return [json.loads(p.read_text()) for p in folder.glob("cache/prompts/*/manifest.json")]


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("all_tasks")
    code, err = prepare(folder, MIX)
    assert code == 0, err
    return folder


def test_rows_of_every_task_are_counted(prepared: Path) -> None:
    (manifest,) = manifests(prepared)
    counts = manifest["counts"]
    targets = USERS * (LENGTH - 3)  # the first item of a user has no history, two are held out
    of_missing = counts["sid_history_to_description_targets_without_text"]
    expected = {
        "bigrec": targets,
        "description-to-sid": ITEMS - 1,
        "item-search": USERS,
        "preference": 2 * USERS + 3 * USERS,
        "seqrec": 20,
        "sid-history-to-description": targets - of_missing,
        "sid-history-to-title": targets // 2,
        "sid-to-description": ITEMS - 1,
        "sid-to-title": 2 * ITEMS,
        "tallrec": 16,
        "title-history-to-sid": 30,
        "title-to-sid": ITEMS,
    }
    assert set(expected) == set(TASKS.names())
    assert {name: counts[f"rows_{name.replace('-', '_')}"] for name in expected} == expected
    assert counts["rows"] == sum(expected.values())
    assert counts["description_to_sid_items_without_text"] == 1
    assert counts["sid_to_description_descriptions_cut"] == ITEMS - 1
    assert counts["item_search_texts_of_held_out_rows"] == USERS
    assert counts["preference_targets_without_text"] == USERS
    (path,) = prepared.glob("cache/prompts/*/train.parquet")
    found = pq.read_table(path)["task"].to_pylist()
    assert {name: found.count(name) for name in expected} == expected


def test_samples_show_prompt_answer_and_loss_of_every_task(prepared: Path) -> None:
    (path,) = prepared.glob("cache/prompts/*/samples.md")
    sections = path.read_text().split("\n## ")[1:]
    assert [section.splitlines()[0] for section in sections] == TASKS.names()
    for section in sections:
        task = TASKS.load(section.splitlines()[0])
        samples = section.split("```text\n")[1:]
        assert len(samples) == 3
        for sample in samples:
            text = sample.split("\n```")[0]
            phrasings = [*task.phrasings, *getattr(task, "sid_phrasings", ())]
            assert sum(text.startswith(phrasing + "\n") for phrasing in phrasings) == 1
            assert text.count("⟦") == text.count("⟧") == 1
            assert text.endswith("<|endoftext|>⟧")
    assert "An item:" in sections[1] and "of the log:" in sections[0]
    assert "⟦Yes<|" in sections[9] or "⟦No<|" in sections[9]


def test_the_content_of_a_file_counts_and_not_its_place(prepared: Path, tmp_path: Path) -> None:
    (before,) = manifests(prepared)
    code, err = prepare(tmp_path, MIX)
    assert code == 0, err
    (same,) = manifests(tmp_path)
    assert same["key"] == before["key"]
    assert same["files"] == before["files"]
    preferences = tmp_path / "preferences.csv"
    preferences.write_text(preferences.read_text().replace("likes", "loves"))
    code, err = prepare(tmp_path, MIX)
    assert code == 0, err
    assert len(manifests(tmp_path)) == 2


def test_all_targets_and_tasks_of_the_catalogue(tmp_path: Path) -> None:
    code, err = prepare(
        tmp_path, "sft: {{targets: all, tasks: {{seqrec: 1, sid_to_title: 1, title_to_sid: 3}}}}\n"
    )
    assert code == 0, err
    (manifest,) = manifests(tmp_path)
    rows = {k: n for k, n in manifest["counts"].items() if k.startswith("rows_")}
    assert rows == {
        "rows_seqrec": USERS,
        "rows_sid_to_title": ITEMS,
        "rows_title_to_sid": 3 * ITEMS,
    }


def damage(name: str, old: str, new: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        path = folder / name
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))

    return change


def nothing(_: Path) -> None:
    """The inputs as they are."""


def without_descriptions(folder: Path) -> None:
    path = folder / "items.csv"
    lines = [line.rsplit(",", 1)[0] for line in path.read_text().splitlines()]
    path.write_text("\n".join(lines) + "\n")


def no_description_at_all(folder: Path) -> None:
    path = folder / "items.csv"
    header, *lines = path.read_text().splitlines()
    path.write_text("\n".join([header, *(line.rsplit(",", 1)[0] + "," for line in lines)]) + "\n")


PREFERENCE = "{{preference: {{file: {folder}/preferences.csv, column: taste}}}}"
INTENTS = "{{item_search: {{file: {folder}/intents.jsonl}}}}"

#: What is wrong, the tasks, further settings, the change, and what must be said.
BAD = {
    "no descriptions": (
        "{{sid_to_description: 1}}", [], without_descriptions,
        ["sft.tasks.sid-to-description needs a column 'description'", "item_id, title"],
    ),
    "an items column that is nowhere": (
        "{{item_search: 1}}", [], nothing,
        ["sft.tasks.item-search needs a column 'intent' of the items"],
    ),
    "no ratings": (
        "{{tallrec: 1}}", [], damage("log.csv", "rating", "stars"),
        ["sft.tasks.tallrec needs ratings", "data.columns.rating"],
    ),
    "no description at all": (
        "{{sid_to_description: 1}}", [], no_description_at_all,
        ["sft.tasks.sid-to-description has nothing to train on (12 items without text)"],
    ),
    "a file that is nowhere": (
        "{{preference: {{file: {folder}/no.csv}}}}", [], nothing,
        ["sft.tasks.preference.file: expected a file", "no.csv, found none"],
    ),
    "a folder": (
        "{{preference: {{file: {folder}}}}}", [], nothing, ["preference.file", "found a folder"],
    ),
    "a file without its texts": (
        "{{preference: {{file: {folder}/preferences.csv}}}}", [], nothing,
        ["expected a column 'preference'", "found: user_id, row, taste; name another with column"],
    ),
    "a file without rows": (
        PREFERENCE, [], damage("preferences.csv", "row", "line"), ["expected a column 'row'"],
    ),
    "half of an interaction": (
        INTENTS, [], damage("intents.jsonl", "user_id", "user"),
        ["expected a column 'user_id'", "did you mean 'user'?"],
    ),
    "a row that is no number": (
        PREFERENCE, [], damage("preferences.csv", "u1,8,", "u1,eight,"),
        ["not understood", "(column 'row')", "line 4"],
    ),
    "an empty text": (
        PREFERENCE, [], damage("preferences.csv", "likes light 8\n", "\n"),
        ["(column 'taste')", "line 4"],
    ),
    "a preference from a held-out row": (
        PREFERENCE, [], damage("preferences.csv", "u1,10,", "u1,12,"),
        ["leak: 1 texts of task preference", "such as row 12 of the log"],
    ),
    "a preference of another user": (
        PREFERENCE, [], damage("preferences.csv", "u1,8,", "u2,8,"), ["name another user"],
    ),
    "titles for SIDs": (
        "{{title_to_sid: 1}}", ["sid.quantizer=title"], nothing,
        ["sft.tasks.title-to-sid writes SIDs", "sid.quantizer: title"],
    ),
    "tasks that no instruction tells apart": (
        "{{seqrec: 1, sid_to_title: 1}}", ["prompts.template=bare"], nothing,
        ["has no {instruction}", "2 tasks of sft.tasks"],
    ),
    "a chat with a model from scratch": (
        "{{seqrec: 1}}", ["prompts.template=chat"], nothing, ["the tokenizer has none"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_what_a_task_lacks_is_told_before_training(tmp_path: Path, name: str) -> None:
    tasks, overrides, change, said = BAD[name]
    write_inputs(tmp_path)
    change(tmp_path)
    code, err = prepare(tmp_path, f"sft: {{{{tasks: {tasks}}}}}\n", *overrides)
    assert code == 2, err
    for words in said:
        assert words in err
    assert "Traceback" not in err
