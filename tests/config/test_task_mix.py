"""The mix of tasks: weights alone or with caps and options, and what is said of mistakes."""

from pathlib import Path

import pytest

from recllm.config.loading import load_recipe, to_yaml
from recllm.config.validation import dump
from recllm.errors import UserError

MINIMAL = "output_dir: runs/x\nmodel: {from_scratch: {hidden: 32, heads: 2}}\n"

#: As MiniOneRec's SFT (Kong et al., 2025) joins its data sets, and LC-Rec's (Zheng et al., 2024).
MINIONEREC = "{seqrec: 1, title_to_sid: 1, sid_to_title: 1, sid_history_to_title: 1}"
LCREC = """
    seqrec: 1
    title_to_sid: 0.5
    description_to_sid: {weight: 0.5, max_words: 40}
    sid_to_title: 0.5
    sid_to_description: 0.5
    title_history_to_sid: 0.25
    sid_history_to_title: {weight: 0.25, cap: 100000}
    sid_history_to_description: 0.25
    item_search: {file: intents.csv}
    preference: {file: preferences.csv, direction: to_text, cap: 100000}
"""


def load(folder: Path, text: str):
    path = folder / "recipe.yaml"
    path.write_text(MINIMAL + text)
    return load_recipe(str(path))


@pytest.mark.parametrize("mix", [MINIONEREC, LCREC])
def test_the_papers_mixes_can_be_written_and_come_back(tmp_path: Path, mix: str) -> None:
    recipe = load(tmp_path, f"sft:\n  tasks: {mix}\n")
    resolved = tmp_path / "resolved.yaml"
    resolved.write_text(to_yaml(recipe))
    again = load_recipe(str(resolved))
    assert again == recipe and again.sft.mix == recipe.sft.mix


def test_a_value_is_a_weight_or_has_options(tmp_path: Path) -> None:
    tasks = "{title_to_sid: 2, tallrec: {liked_above: 3.5, cap: 64}}"
    recipe = load(tmp_path, f"sft: {{tasks: {tasks}}}\n")
    assert dump(recipe)["sft"]["tasks"] == {
        "title-to-sid": 2.0,
        "tallrec": {"weight": 1.0, "cap": 64, "liked_above": 3.5},
    }
    first, second = recipe.sft.mix
    assert (first.task.name, first.weight, first.cap) == ("title-to-sid", 2.0, None)
    assert (second.task.liked_above, second.weight, second.cap) == (3.5, 1.0, 64)


@pytest.mark.parametrize(
    ("tasks", "expected"),
    [
        ("{title_to_sids: 1}", ["sft.tasks.title_to_sids: unknown task 'title_to_sids'; did you"]),
        (
            "{tallrec: {liked_abov: 3}}",
            ["sft.tasks.tallrec.liked_abov: unknown key; did you mean 'liked_above'?"],
        ),
        ("{seqrec: {wieght: 3}}", ["sft.tasks.seqrec.wieght: unknown key; did you mean 'weight'?"]),
        ("{seqrec: {weight: 0}}", ["sft.tasks.seqrec.weight: the weight of task 'seqrec' must be"]),
        ("{seqrec: often}", ["sft.tasks.seqrec: the weight of task 'seqrec' must be above 0, fou"]),
        ("{seqrec: true}", ["sft.tasks.seqrec: the weight of task 'seqrec' must be above 0, foun"]),
        ("{seqrec: {cap: 0}}", ["sft.tasks.seqrec.cap: expected a whole number of rows from 1, "]),
        ("{seqrec: {cap: 1.5}}", ["sft.tasks.seqrec.cap: expected a whole number of rows from 1"]),
        ("{tallrec: {liked_above: high}}", ["sft.tasks.tallrec.liked_above: expected a valid nu"]),
        ("{preference: 1}", ["sft.tasks.preference.file: is required, but missing"]),
        (
            "{item_search: {history: sometimes}}",
            ["sft.tasks.item_search.history: expected 'never', 'mixed' or 'always', found 'some"],
        ),
        ("{sid_to_title: 1, sid-to-title: 2}", ["sft.tasks.sid-to-title: the task 'sid-to-title"]),
        ("{}", ["sft.tasks: expected"]),
        ("[seqrec]", ["sft.tasks: expected"]),
        (
            "{seqrek: 1, tallrec: {cap: -1, liked_above: x}, '{a}': 1}",
            [
                "sft.tasks.seqrek: unknown task",
                "sft.tasks.tallrec.cap: expected",
                "sft.tasks.tallrec.liked_above: expected",
                "sft.tasks.{a}: unknown task '{a}'",
            ],
        ),
    ],
)
def test_every_mistake_is_told_with_its_place(
    tmp_path: Path, tasks: str, expected: list[str]
) -> None:
    with pytest.raises(UserError) as error:
        load(tmp_path, f"sft: {{tasks: {tasks}}}\n")
    found = [line.strip() for line in str(error.value).splitlines()[1:]]
    assert len(found) == len(expected)
    for line, start in zip(found, expected, strict=True):
        assert line.startswith(start)


@pytest.mark.parametrize(
    ("tasks", "lone"),
    [
        ("{seqrec: 1, title_to_sid: 1, sid_to_description: 1}", None),
        ("{seqrec: 1, item_search: {file: a, history: never}}", None),
        ("{seqrec: 1, bigrec: 1, tallrec: 1, sid_to_title: 1}", "bigrec, tallrec"),
        ("{seqrec: 1, item_search: {file: a}}", "item-search"),
    ],
)
def test_all_targets_go_with_tasks_of_the_catalogue(
    tmp_path: Path, tasks: str, lone: str | None
) -> None:
    text = f"sft: {{targets: all, tasks: {tasks}}}\n"
    if lone is None:
        load(tmp_path, text)
        return
    with pytest.raises(UserError, match=f"sft: targets: all trains every position .* but {lone} s"):
        load(tmp_path, text)


@pytest.mark.parametrize("name", ["title_to_sid", "title-to-sid"])
def test_a_key_of_a_task_leaves_its_weight(tmp_path: Path, name: str) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(MINIMAL + "sft: {tasks: {seqrec: 1, title_to_sid: 0.5}}\n")
    overrides = [f"sft.tasks.{name}.cap=64", "sft.tasks.seqrec=2", "sft.tasks.seqrec.cap=9"]
    recipe = load_recipe(str(path), overrides)
    found = {share.task.name: (share.weight, share.cap) for share in recipe.sft.mix}
    assert found == {"seqrec": (2.0, 9), "title-to-sid": (0.5, 64)}
    assert load_recipe(str(path), overrides[::-1]) == recipe
    child = f"extends: recipe.yaml\nsft: {{tasks: {{{name}: {{cap: 8}}}}}}"
    (tmp_path / "child.yaml").write_text(child)
    share = load_recipe(str(tmp_path / "child.yaml")).sft.mix[1]
    assert (share.weight, share.cap) == (0.5, 8)
    only_weight = load_recipe(str(tmp_path / "child.yaml"), [f"sft.tasks.{name}=3"]).sft.mix[1]
    assert (only_weight.weight, only_weight.cap) == (3.0, None)


@pytest.mark.parametrize(
    ("tasks", "quantizer", "expected"),
    [
        ("{title_history_to_sid: 1, seqrec: 0.1}", "rq-kmeans", "seqrec"),
        ("{title_to_sid: 1, title_history_to_sid: 1}", "rq-kmeans", "title-history-to-sid"),
        ("{tallrec: 1, title_history_to_sid: 1}", "rq-kmeans", "title-history-to-sid"),
        ("{bigrec: 1}", "title", "bigrec"),
        ("{bigrec: 1, tallrec: 1}", "rq-kmeans", "tallrec"),
        ("{tallrec: {liked_above: 4}}", "title", "tallrec"),
    ],
)
def test_what_a_model_is_asked_by(
    tmp_path: Path, tasks: str, quantizer: str, expected: str
) -> None:
    recipe = load(tmp_path, f"sid: {{quantizer: {quantizer}}}\nsft: {{tasks: {tasks}}}\n")
    assert recipe.asked_by.name == expected
    if "liked_above" in tasks:
        assert recipe.asked_by.liked_above == 4


def test_a_mix_that_cannot_be_asked(tmp_path: Path) -> None:
    recipe = load(tmp_path, "sft: {tasks: {bigrec: 1, sid_to_title: 1}}\n")
    with pytest.raises(UserError, match=r"\(bigrec, sid-to-title\).*tallrec.*quantizer: title"):
        _ = recipe.asked_by


def test_a_task_of_the_extended_recipe_is_left_out_by_null(tmp_path: Path) -> None:
    load(tmp_path, "sft: {tasks: {seqrec: 1, title_to_sid: 1}}\n")
    path = str(tmp_path / "recipe.yaml")
    recipe = load_recipe(path, ["sft.tasks.title-to-sid=null"])
    assert [share.task.name for share in recipe.sft.mix] == ["seqrec"]
    both = ["sft.tasks.title-to-sid=null", "sft.tasks.seqrec=null"]
    with pytest.raises(UserError, match="all of them left out"):
        load_recipe(path, both)
    with pytest.raises(UserError, match="seqrex"):
        load_recipe(path, ["sft.tasks.seqrex=null"])
