"""Tasks of ratings, preferences and intents: which texts meet which interactions."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from builders import make_rows, make_sequences
from hypothesis import given
from hypothesis import strategies as st

from recllm.config.plugins import TASKS
from recllm.errors import UserError
from recllm.prompts.examples import Example, Examples, Material, Texts
from recllm.prompts.mixing import evaluation_prompts, verdict_tokens
from recllm.prompts.renderer import Renderer


def make(name: str, **options: object):
    return TASKS.load(name).model_validate(options)


def written(examples: Examples) -> list[Example]:
    return [examples.write(i) for i in range(len(examples))]


# Preferences


def test_a_preference_is_asked_for_after_its_row_and_answers_what_follows(
    material: Material,
) -> None:
    sids = material.catalog.sid_texts
    examples = make("preference", file="f").examples(material)
    first = [e for i, e in enumerate(written(examples)) if examples.seen[i] < 10]
    early, late = "Wants piers before 03", "Wants piers before 06"
    assert (
        first
        == [
            Example("".join(sids[:4]), early, 0),  # the row itself was known to who wrote the text
            *(Example(early, sids[item], 1) for item in (4, 5, 6)),
            Example("".join(sids[2:7]), late, 0),  # only the last five are shown
            Example(late, sids[7], 1),
        ]
    )
    assert examples.counts == {"targets_without_text": 9}


@pytest.mark.parametrize(("direction", "forms"), [("to_text", {0}), ("to_sid", {1})])
def test_one_direction_alone(material: Material, direction: str, forms: set[int]) -> None:
    examples = make("preference", file="f", direction=direction).examples(material)
    assert {example.form for example in written(examples)} == forms


@given(
    train_ends=st.lists(st.integers(0, 6), min_size=1, max_size=4),
    data=st.data(),
)
def test_preferences_match_a_plain_search(
    material: Material, train_ends: list[int], data: st.DataObject
) -> None:
    """The latest text of the same user from before the target, found one by one."""
    sequences = make_sequences(
        [[(7 * u + i) % 40 for i in range(6)] for u in range(len(train_ends))], train_ends
    )
    spans = [(u, 0, end) for u, n in enumerate(train_ends) for end in range(1, n)]
    trained = [6 * u + i for u, n in enumerate(train_ends) for i in range(n)]
    if not spans:
        return
    rows = data.draw(st.lists(st.sampled_from(trained), max_size=8))
    texts = Texts(
        [f"text {i}" for i in range(len(rows))],
        user_ids=[f"u{row // 6}" for row in rows],
        rows=np.array(rows, dtype=np.int64),
    )
    given_rows = make_rows(sequences, spans)
    some = Material(material.catalog, sequences, given_rows, 3, texts=texts)
    examples = make("preference", file="f", direction="to_sid").examples(some)
    expected = []
    for user, _, end in spans:
        place = 6 * user + end
        before = [(row, i) for i, row in enumerate(rows) if 6 * user <= row < place]
        if before:
            item = int(sequences.items[place])
            expected.append((f"text {max(before)[1]}", material.catalog.sid_texts[item]))
    found = [(example.input, example.answer) for example in written(examples)]
    assert sorted(found) == sorted(expected)


def test_a_preference_from_held_out_rows_is_a_leak(material: Material) -> None:
    assert material.texts is not None and material.texts.rows is not None
    late = dataclasses.replace(material.texts, rows=material.texts.rows + 2)
    with pytest.raises(UserError, match=r"leak: 3 texts of task preference .* row 8 of the log"):
        make("preference", file="f").examples(dataclasses.replace(material, texts=late))


def test_a_text_of_another_log_is_refused(material: Material) -> None:
    assert material.texts is not None and material.texts.user_ids is not None
    swapped = dataclasses.replace(material.texts, user_ids=material.texts.user_ids[::-1])
    with pytest.raises(UserError, match=r"4 texts name another user .* row 3 is of user 'u0'"):
        make("preference", file="f").examples(dataclasses.replace(material, texts=swapped))


def test_texts_of_rows_that_were_filtered_out_are_counted(material: Material) -> None:
    texts = Texts(["a", "b"], user_ids=["u0", "u0"], rows=np.array([3, 999]))
    examples = make("preference", file="f").examples(dataclasses.replace(material, texts=texts))
    assert examples.counts["texts_of_unknown_rows"] == 1


# Intents


def test_an_intent_is_trained_only_where_its_interaction_is(
    material: Material, intents: Texts
) -> None:
    some = dataclasses.replace(material, texts=intents)
    examples = make("item-search", file="f", history="always").examples(some)
    assert examples.counts == {"texts_of_held_out_rows": 3}
    sids = material.catalog.sid_texts
    assert written(examples)[:2] == [
        Example(f"Chosen before: {sids[0]}\nLooking for: seeks a harbor like no. 01\n", sids[1]),
        Example(
            f"Chosen before: {''.join(sids[:4])}\nLooking for: seeks a harbor like no. 04\n",
            sids[4],
        ),
    ]
    without = make("item-search", file="f", history="never").examples(some)
    assert without.write(0).input == "Looking for: seeks a harbor like no. 01\n"
    assert (without.seen == -1).all()


def test_a_mixed_search_shows_some_histories_and_always_the_same(material: Material) -> None:
    task = make("item-search", column="description")
    examples = task.examples(material)
    shown = [e.input.startswith("Chosen before:") for e in written(examples)]
    assert 0.2 < np.mean(shown) < 0.8
    assert ((examples.seen >= 0) == shown).all()
    fewer = dataclasses.replace(
        material, rows=make_rows(material.sequences, [(1, 0, end) for end in range(4, 8)])
    )
    known = {int(examples.target[i]): e for i, e in enumerate(written(examples))}
    again = task.examples(fewer)
    assert [known[int(t)] for t in again.target] == written(again)


def test_intents_of_items_alone_are_one_row_each(material: Material) -> None:
    texts = Texts(["a pier", "a dock", "x"], item_ids=["id3", "id3", "nobody"])
    some = dataclasses.replace(material, texts=texts)
    examples = make("item-search", file="f", history="never").examples(some)
    sid = material.catalog.sid_texts[3]
    assert [(e.input, e.answer) for e in written(examples)] == [
        ("Looking for: a pier\n", sid),
        ("Looking for: a dock\n", sid),
    ]
    assert examples.counts == {"items_without_text": 39, "texts_of_unknown_items": 1}


@pytest.mark.parametrize("history", ["never", "mixed", "always"])
def test_held_out_intents_are_those_of_the_rows_and_none_was_trained(
    material: Material, intents: Texts, history: str
) -> None:
    task = make("item-search", file="f", history=history)
    trained = task.examples(dataclasses.replace(material, texts=intents))
    rows = make_rows(material.sequences, [(user, 2, end) for user in (2, 0) for end in (9, 8)])
    test = dataclasses.replace(material, texts=intents, rows=rows)
    examples = task.held_out_examples(test)
    assert examples.rows(material.sequences).tolist() == [8, 28]
    assert examples.counts == {"targets_without_intent": 2}
    assert not set(examples.target.tolist()) & set(trained.target.tolist())
    assert [e.answer for e in written(examples)] == [material.catalog.sid_texts[i] for i in (8, 28)]
    shown = "".join(material.catalog.sid_texts[3:8])  # the last five before the target
    assert (shown in examples.write(0).input) == (examples.seen[0] == 7)
    assert history != "always" or (examples.seen == examples.target - 1).all()
    assert len(task.held_out_examples(dataclasses.replace(test, texts=None))) == 0


def test_texts_are_kept_as_they_are(intents: Texts, tmp_path: Path) -> None:
    plain = Texts(["a", "b"], item_ids=["x", "y"])
    for name, texts in (("item-search", intents), ("preference", plain)):
        texts.write(tmp_path, name)
        again = Texts.read(tmp_path, name)
        assert again is not None and again.texts == texts.texts
        assert (again.item_ids, again.user_ids) == (texts.item_ids, texts.user_ids)
        assert np.array_equal(again.rows, texts.rows)  # type: ignore[arg-type]
    assert Texts.read(tmp_path, "seqrec") is None


def test_an_intent_of_another_item_is_refused(material: Material, intents: Texts) -> None:
    wrong = dataclasses.replace(intents, item_ids=["id0"] * len(intents))
    with pytest.raises(UserError, match=r"9 texts name another item .* row 1 is of item 'id1'"):
        make("item-search", file="f").examples(dataclasses.replace(material, texts=wrong))


# Likes


def test_liked_and_disliked_titles_stand_apart(material: Material) -> None:
    examples = make("tallrec").examples(material)
    titles = material.catalog.titles
    # ratings count 1 to 5 over and over; row 3 has none
    by_target = {int(t): e for t, e in zip(examples.target, written(examples), strict=True)}
    assert by_target[5] == Example(
        f'Liked: "{titles[4]}"\nNot liked: "{titles[0]}", "{titles[1]}", "{titles[2]}"\n'
        f'In question: "{titles[5]}"\n',
        "No",
    )
    assert by_target[4].answer == "Yes"
    assert by_target[1].input.startswith("Liked: nothing\n")
    assert 3 not in by_target and 14 not in by_target
    assert examples.counts == {"targets_without_rating": 2}


def test_what_is_liked_is_set_by_the_recipe(material: Material) -> None:
    answers = {}
    for threshold in (0, 1, 4.5, 5):
        examples = make("tallrec", liked_above=threshold).examples(material)
        answers[threshold] = [example.answer for example in written(examples)]
    assert set(answers[0]) == {"Yes"} and set(answers[5]) == {"No"}
    assert answers[1].count("Yes") > answers[4.5].count("Yes") > 0


def test_held_out_rows_are_asked_as_training_rows_are(make_renderer, material: Material) -> None:
    renderer: Renderer = make_renderer("alpaca")
    held_out = make_rows(material.sequences, [(user, 0, 9) for user in range(3)])
    valid = dataclasses.replace(material, rows=held_out)
    prompts = list(evaluation_prompts(renderer, make("tallrec"), valid, phrasing=1))
    assert [prompt.row for prompt in prompts] == [9, 19, 29]
    assert [prompt.answer for prompt in prompts] == ["Yes"] * 3
    text = renderer.tokenizer.decode(prompts[0].input_ids)
    assert isinstance(text, str) and f'"{material.catalog.titles[9]}"\n\n\n### Response:' in text
    with pytest.raises(UserError, match="expected a phrasing from 0 to 3, found 4"):
        list(evaluation_prompts(renderer, make("tallrec"), valid, phrasing=4))


def test_yes_and_no_are_one_token_each(make_renderer, monkeypatch: pytest.MonkeyPatch) -> None:
    renderer: Renderer = make_renderer()
    yes, no = verdict_tokens(renderer, make("tallrec"))
    assert renderer.tokenizer.decode([yes]) == "Yes" and renderer.tokenizer.decode([no]) == "No"
    for tokens in ([[1], [1]], [[1, 2], [3]]):
        monkeypatch.setattr(Renderer, "encode_words", lambda *_, tokens=tokens: tokens)
        with pytest.raises(UserError, match="must be one token of its own"):
            verdict_tokens(renderer, make("tallrec"))


def test_a_log_without_ratings(material: Material) -> None:
    with pytest.raises(UserError, match="expected a log with ratings"):
        make("tallrec").examples(dataclasses.replace(material, ratings=None))


# Descriptions


def test_items_without_a_description_are_counted_and_long_ones_cut(material: Material) -> None:
    examples = make("description-to-sid", max_words=2).examples(material)
    assert examples.counts == {"items_without_text": 6, "descriptions_cut": 34}
    assert written(examples)[0] == Example("Told at", material.catalog.sid_texts[0])
    history = make("sid-history-to-description").examples(material)
    assert history.counts == {"targets_without_text": 3}
    assert len(history) == len(material.rows) - 3
