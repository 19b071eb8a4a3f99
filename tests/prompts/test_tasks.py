"""What holds for every registered task."""

import dataclasses
from collections.abc import Iterator

import numpy as np
import pytest

from recllm.config.plugins import TASKS
from recllm.prompts.examples import NOWHERE, Examples, Material
from recllm.prompts.mixing import evaluation_prompts, example_rows
from recllm.prompts.renderer import Renderer
from recllm.prompts.tasks import HistoryTask, Task
from recllm.prompts.training import IGNORED, TrainingRow

#: What tasks need beside their names, so that each can be tried.
OPTIONS = {"preference": {"file": "unused"}, "item-search": {"column": "description"}}
#: Tasks that ask about the target by its title.
NAMES_ITS_TARGET = {"tallrec"}


def make_task(name: str, **options: object) -> Task:
    return TASKS.load(name).model_validate(OPTIONS.get(name, {}) | options)


def rows_of(
    renderer: Renderer, task: Task, material: Material, examples: Examples | None = None, **how: int
) -> list[TrainingRow]:
    examples = task.examples(material) if examples is None else examples
    asked = {"weight": 1.0, "seed": 0} | how
    return list(example_rows(renderer, task, examples, material.sequences, **asked))  # type: ignore[arg-type]


def texts_of(material: Material, items: Iterator[int] | range) -> list[str]:
    """All that a prompt could say of items."""
    catalog = material.catalog
    descriptions = catalog.texts_of("description")
    return [
        text
        for i in items
        for text in (catalog.sid_texts[i], catalog.titles[i], descriptions[i])
        if text
    ]


def supervised(row: TrainingRow) -> list[int]:
    return [label for label in row.labels if label != IGNORED]


@pytest.fixture(params=TASKS.names())
def task(request: pytest.FixtureRequest) -> Task:
    return make_task(request.param)


def test_phrasings_are_several_and_all_different(task: Task) -> None:
    every = [phrasing for form in task.forms for phrasing in form]
    assert all(len(form) >= 3 for form in task.forms)
    assert len(set(every)) == len(every)
    assert task.forms[0] == task.phrasings
    assert all("{" not in phrasing and phrasing.strip() == phrasing for phrasing in every)


def test_options_leave_room_for_those_of_the_mix(task: Task) -> None:
    assert not {"weight", "cap"} & set(type(task).model_fields)


def test_loss_is_on_the_closed_answer_alone(make_renderer, material: Material, task: Task) -> None:
    renderer: Renderer = make_renderer("alpaca")
    examples = task.examples(material)
    rows = rows_of(renderer, task, material, examples)
    assert len(rows) == len(examples) > 5
    end = renderer.tokenizer.eos_token_id
    for i, row in enumerate(rows):
        assert row.task == task.name
        loss = supervised(row)
        assert row.labels == [IGNORED] * (len(row.labels) - len(loss)) + loss
        assert row.input_ids[-len(loss) :] == loss and end not in row.input_ids[:-1]
        assert [*renderer.encode_answers([examples.write(i).answer])[0], end] == loss
        prompt = renderer.tokenizer.decode(row.input_ids[: -len(loss)])
        assert examples.write(i).input in prompt
        form = task.forms[examples.write(i).form]
        assert sum(f"Instruction:\n{phrasing}\n" in prompt for phrasing in form) == 1


def test_a_prompt_shows_nothing_from_its_target_on(
    make_renderer, material: Material, task: Task
) -> None:
    renderer: Renderer = make_renderer("alpaca", max_history=100)
    material = dataclasses.replace(material, max_history=100)
    examples = task.examples(material)
    items = material.sequences.items
    for i, row in enumerate(rows_of(renderer, task, material, examples)):
        prompt = renderer.tokenizer.decode(row.input_ids[: -len(supervised(row))])
        assert isinstance(prompt, str)
        last = examples.target[i] if examples.target[i] != NOWHERE else examples.seen[i] + 1
        if last == 0:  # of the catalogue alone
            assert row.row is None
            continue
        first = last + (task.name in NAMES_ITS_TARGET)
        hidden = items[first : 10 * (last // 10) + 10].tolist()
        if task.name == "item-search":  # asks by a description: of this item alone
            hidden.remove(items[last])
            assert renderer.catalog.sid_texts[items[last]] not in prompt
        assert not [text for text in texts_of(material, hidden) if text in prompt]
        if examples.seen[i] != NOWHERE and task.name != "preference":
            shown = texts_of(material, items[examples.seen[i] :][:1].tolist())
            rated = material.ratings is not None and not np.isnan(material.ratings[last - 1])
            assert any(text in prompt for text in shown) or not rated


def test_what_happens_from_the_target_on_changes_no_prompt(
    make_renderer, material: Material, task: Task
) -> None:
    """The same log with other ratings from a target on: only answers may differ."""
    assert material.ratings is not None
    changed = dataclasses.replace(material, ratings=6 - material.ratings)
    renderer: Renderer = make_renderer()
    one, other = task.examples(material), task.examples(changed)
    if task.name != "tallrec":
        assert rows_of(renderer, task, material, one) == rows_of(renderer, task, changed, other)
        return
    for i, place in enumerate(one.target.tolist()):
        ratings = material.ratings.copy()
        ratings[place:] = 6 - ratings[place:]
        again = task.examples(dataclasses.replace(material, ratings=ratings)).write(i)
        assert again.input == one.write(i).input
        assert (again.answer != one.write(i).answer) or material.ratings[place] == 3


def test_draws_depend_on_the_seed_and_the_example_alone(
    make_renderer, material: Material, task: Task
) -> None:
    renderer: Renderer = make_renderer()
    examples = task.examples(material)
    last = len(examples) - 1
    backwards = Examples(
        examples.keys[::-1],
        examples.target[::-1],
        examples.seen[::-1],
        lambda index: examples.write(last - index),
    )
    for how in ({}, {"cap": 4}, {"weight": 2, "cap": len(examples) + 3}):
        rows = rows_of(renderer, task, material, examples, **how)
        assert rows == rows_of(renderer, task, material, examples, **how)
        again = rows_of(renderer, task, material, backwards, **how)
        assert sorted(map(repr, rows)) == sorted(map(repr, again))
    assert rows_of(renderer, task, material, seed=1) != rows_of(renderer, task, material)


def test_evaluation_starts_as_training_does(make_renderer, material: Material, task: Task) -> None:
    renderer: Renderer = make_renderer("chat")
    rows = rows_of(renderer, task, material)
    phrased = [
        list(evaluation_prompts(renderer, task, material, phrasing)) for phrasing in range(3)
    ]
    longest = max(len(form) for form in task.forms)
    if longest > 3:
        phrased.append(list(evaluation_prompts(renderer, task, material, 3)))
    for i, row in enumerate(rows):
        prompt = row.input_ids[: -len(supervised(row))]
        assert sum(prompt == prompts[i].input_ids for prompts in phrased) == 1
        assert all(prompts[i].row == row.row for prompts in phrased)


@pytest.mark.parametrize("name", TASKS.names())
def test_a_history_task_shows_order_and_no_more_than_asked(make_renderer, name: str) -> None:
    task = make_task(name)
    if not isinstance(task, HistoryTask):
        return
    renderer: Renderer = make_renderer()
    shown = task.input(renderer.catalog, [4, 14])
    assert shown != task.input(renderer.catalog, [4, 15])
    assert shown != task.input(renderer.catalog, [14, 4])
    short: Renderer = make_renderer(max_history=2)
    assert short.prompt_text(task, [9, 8, 4, 14]) == renderer.prompt_text(task, [4, 14])


def test_prompts_show_only_the_last_items(make_renderer) -> None:
    renderer: Renderer = make_renderer(max_history=2)
    long, short = renderer.recommendation_prompts([[9, 8, 7, 1, 2], [1, 2]])
    assert long == short
