"""Training rows: the same token ids as at evaluation, loss on the answers alone."""

import pytest
from builders import make_rows, make_sequences
from hypothesis import given, settings
from hypothesis import strategies as st

from recllm.errors import UserError
from recllm.prompts.renderer import Renderer
from recllm.prompts.tasks.seqrec import SequentialRecommendation
from recllm.prompts.training import IGNORED, TrainingRow, all_target_rows, last_target_rows


class OnePhrasing(SequentialRecommendation):
    """The task with evaluation's phrasing alone, so that ids can be compared."""

    phrasings = SequentialRecommendation.phrasings[:1]


def decoded(renderer: Renderer, ids: list[int]) -> str:
    text = renderer.tokenizer.decode(ids)
    assert isinstance(text, str)
    return text


def supervised(labels: list[int]) -> list[int]:
    return [label for label in labels if label != IGNORED]


@pytest.mark.parametrize("template", ["plain", "alpaca"])
def test_a_training_prompt_is_the_evaluations_prompt(make_renderer, template: str) -> None:
    renderer: Renderer = make_renderer(template)
    sequences = make_sequences([[3, 1, 4, 1, 5, 9, 2, 6]])
    rows = make_rows(sequences, [(0, 0, end) for end in range(1, 8)])
    prompts = renderer.recommendation_prompts([rows.history(i) for i in range(len(rows))])
    for i, row in enumerate(last_target_rows(renderer, OnePhrasing(), rows, 1.0, seed=0)):
        length = sum(label == IGNORED for label in row.labels)
        assert row.input_ids[:length] == prompts[i]
        answer = decoded(renderer, supervised(row.labels)[:-1])
        assert answer == renderer.catalog.sid_texts[rows.target[i]]
        assert row.labels[-1] == renderer.tokenizer.eos_token_id
        assert row.row == rows.row[i]


@settings(max_examples=40)
@given(
    lists=st.lists(st.lists(st.integers(0, 39), max_size=23), min_size=1, max_size=5),
    max_history=st.integers(1, 7),
)
def test_all_targets_trains_each_target_once_on_evaluations_prompts(
    make_renderer, lists: list[list[int]], max_history: int
) -> None:
    renderer: Renderer = make_renderer(max_history=max_history)
    sequences = make_sequences(lists)
    texts = renderer.catalog.sid_texts
    trained: list[str] = []
    for row in all_target_rows(renderer, OnePhrasing(), sequences, 1.0, seed=0):
        answers = supervised(row.labels)
        trained += [decoded(renderer, answers[i : i + 3]) for i in range(0, len(answers), 3)]
        assert row.labels[-len(answers) :] == answers == row.input_ids[-len(answers) :]
        # what stands before each answer is the prompt that evaluation gives for that history
        shown = decoded(renderer, row.input_ids).split("\n", 1)[1]
        items = [texts.index(f"<a{part}") for part in shown.split("<a")[1:]]
        for count in range(len(items) - len(answers) // 3, len(items)):
            (prompt,) = renderer.recommendation_prompts([items[:count]])
            assert row.input_ids[: len(prompt)] == prompt
    expected = [texts[item] for items in lists for item in items[1:]]
    assert sorted(trained) == sorted(expected)


def test_long_sequences_keep_half_a_history_before_each_target(make_renderer) -> None:
    renderer: Renderer = make_renderer(max_history=6)
    sequences = make_sequences([list(range(30))])
    for row in all_target_rows(renderer, OnePhrasing(), sequences, 1.0, seed=0):
        items = decoded(renderer, row.input_ids).count("<a_")
        targets = len(supervised(row.labels)) // 3
        assert items <= 7
        assert items - targets >= 3 or targets == items - 1


def test_all_targets_refuses_a_template_that_puts_text_before_the_answer(make_renderer) -> None:
    rows = all_target_rows(
        make_renderer("alpaca"), OnePhrasing(), make_sequences([[1, 2, 3]]), 1.0, seed=0
    )
    with pytest.raises(UserError, match="targets: all needs a template"):
        next(rows)


def test_weights_repeat_or_sample_rows(make_renderer) -> None:
    sequences = make_sequences([[1, 2, 3, 4, 5, 6, 7, 8, 9]])
    rows = make_rows(sequences, [(0, 0, end) for end in range(1, 9)])

    def taken(weight: float, seed: int = 0) -> list[int]:
        drawn = last_target_rows(make_renderer(), OnePhrasing(), rows, weight, seed)
        return sorted(row.row for row in drawn if row.row is not None)

    assert taken(2.0) == sorted([*range(1, 9)] * 2)
    half = taken(0.5)
    assert len(half) == len(set(half)) == 4
    assert half == taken(0.5)
    assert len(taken(1.25)) == 10


def test_a_cap_takes_a_part_of_the_rows(make_renderer) -> None:
    sequences = make_sequences([[1, 2, 3, 4, 5, 6, 7, 8, 9]] * 3)
    rows = make_rows(sequences, [(0, 0, end) for end in range(1, 9)])
    renderer, task = make_renderer(), OnePhrasing()

    def last(cap: int | None) -> list[TrainingRow]:
        return list(last_target_rows(renderer, task, rows, 2.0, 0, cap=cap))

    assert len(last(5)) == 5
    assert all(row in last(None) for row in last(5))
    assert last(16) == last(99) == last(None)
    assert len(list(all_target_rows(renderer, task, sequences, 1.0, 0, cap=2))) == 2
