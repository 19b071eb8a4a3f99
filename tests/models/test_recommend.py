"""`Recommender.recommend`: item ids in, items out, as scoring each item by itself has them."""

import math
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tunable import ITEMS, make_catalog

from recllm.config.model_section import ModelSection
from recllm.errors import UserError
from recllm.models.backbone import load_backbone
from recllm.models.recommender import Recommender
from recllm.models.requests import Recommendation
from recllm.models.tokenizers import add_sid_tokens, load_tokenizer
from recllm.prompts.renderer import Renderer
from recllm.prompts.template import Template

SECTION = ModelSection.model_validate(
    {"from_scratch": {"hidden": 32, "layers": 2, "heads": 2, "vocabulary": 300}}
)
IDS = [f"id{item}" for item in range(ITEMS)]
LISTS = st.lists(st.sampled_from(IDS), max_size=ITEMS)
HISTORIES = st.lists(st.lists(st.sampled_from(IDS), min_size=1, max_size=6), min_size=1, max_size=4)


@pytest.fixture(scope="module")
def recommender() -> Recommender:
    catalog = make_catalog()
    tokenizer = load_tokenizer(SECTION, catalog.items.titles)
    add_sid_tokens(tokenizer, catalog.sids)
    model = load_backbone(SECTION, tokenizer, seed=0)
    with torch.no_grad():  # scores that differ by more than rounding
        for parameter in model.parameters():
            parameter.mul_(3)
    renderer = Renderer(Template.load("plain"), catalog, tokenizer, 4)
    return Recommender(model.eval(), renderer, scoring="vocab", exclude_history=False)


@torch.no_grad()
def score_all(recommender: Recommender, history: Sequence[str]) -> dict[str, float]:
    """The log-probability of each item's tokens, item by item, after a history's prompt."""
    renderer = recommender.renderer
    (prompt,) = renderer.recommendation_prompts([[IDS.index(item_id) for item_id in history]])
    answers = renderer.encode_answers(recommender.sids.texts())
    logits = recommender.model(torch.tensor([prompt + answer for answer in answers])).logits
    log_probs = logits.double().log_softmax(-1)
    return {
        item_id: sum(
            float(log_probs[row, len(prompt) - 1 + place, token])
            for place, token in enumerate(answers[row])
        )
        for row, item_id in enumerate(IDS)
    }


def of_row(given: Sequence[str] | Sequence[Sequence[str]] | None, row: int) -> set[str] | None:
    """What a selection says of one row, naively."""
    if given is None:
        return None
    if all(isinstance(item_id, str) for item_id in given):
        return {str(item_id) for item_id in given}
    return set(given[row])


@st.composite
def requests(draw: st.DrawFn) -> tuple[list[list[str]], dict[str, object]]:
    histories = draw(HISTORIES)
    of_rows = st.lists(LISTS, min_size=len(histories), max_size=len(histories))
    selections = st.none() | LISTS | of_rows
    return histories, {
        "k": draw(st.integers(1, ITEMS + 5)),
        "exclude": draw(selections),
        "only": draw(selections),
        "exclude_history": draw(st.none() | st.booleans()),
    }


@settings(max_examples=40)
@given(request=requests())
def test_the_items_are_the_best_that_may_be_returned(
    recommender: Recommender, request: tuple[list[list[str]], dict[str, object]]
) -> None:
    histories, options = request
    found = recommender.recommend(histories, **options)  # type: ignore[arg-type]
    assert len(found) == len(histories)
    for row, (history, items) in enumerate(zip(histories, found, strict=True)):
        scores = score_all(recommender, history)
        allowed = set(IDS)
        if (only := of_row(options["only"], row)) is not None:  # type: ignore[arg-type]
            allowed &= only
        allowed -= of_row(options["exclude"], row) or set()  # type: ignore[arg-type]
        if options["exclude_history"]:
            allowed -= set(history)
        expected = sorted(allowed, key=lambda item_id: -scores[item_id])[: options["k"]]  # type: ignore[misc]
        assert len(items) == len(expected)
        assert len({item.item_id for item in items}) == len(items)
        for item, other in zip(items, expected, strict=True):
            assert item.item_id in allowed
            assert item.score == pytest.approx(scores[item.item_id], abs=1e-4)
            assert item.score == pytest.approx(scores[other], abs=1e-4)  # in the order of scores
            assert item.title == recommender.items.titles[IDS.index(item.item_id)]


def test_excluded_items_take_no_places(recommender: Recommender) -> None:
    (best,) = recommender.recommend([["id1"]], 5, beams=5)
    ids = [item.item_id for item in best]
    for exclude in (ids, [ids], set(ids), np.array(ids)):
        (others,) = recommender.recommend([["id1"]], 5, beams=5, exclude=exclude)
        assert len(others) == 5
        assert not {item.item_id for item in others} & set(ids)


def test_a_row_does_not_depend_on_its_batch(recommender: Recommender) -> None:
    histories = [["id1"], ["id2", "id3", "id4", "id5"], ["id29", "id1"], ["id7"] * 9]
    together = recommender.recommend(histories, 8, only=IDS[:20])
    for history, items in zip(histories, together, strict=True):
        (alone,) = recommender.recommend([history], 8, only=IDS[:20])
        assert [item[:2] for item in alone] == [item[:2] for item in items]
        for one, other in zip(alone, items, strict=True):
            assert math.isclose(one.score, other.score, abs_tol=1e-5)


def test_the_checkpoint_says_whether_its_history_is_excluded(recommender: Recommender) -> None:
    every = recommender.recommend([IDS[:6]], ITEMS)[0]
    assert {item.item_id for item in every} == set(IDS)
    recommender.exclude_history = True
    try:
        (fewer,) = recommender.recommend([IDS[:6]], ITEMS)
    finally:
        recommender.exclude_history = False
    assert {item.item_id for item in fewer} == set(IDS[6:])


def test_no_histories_no_lists(recommender: Recommender) -> None:
    assert recommender.recommend([]) == []
    assert recommender.recommend([["id1"]], only=[]) == [[]]


@pytest.mark.parametrize(
    ("histories", "options", "message"),
    [
        ("id1", {}, "histories: expected a list of lists of item ids, found 'id1'"),
        (["id1", "id2"], {}, r"histories\[0\]: expected a list of item ids, found 'id1'"),
        ([3], {}, r"histories\[0\]: expected a list of item ids, found 3"),
        ([[3]], {}, r"histories\[0\]: expected item ids, which are texts, found 3; give '3'"),
        ([["id1"], []], {}, r"histories\[1\] is empty"),
        ([["id1"], ["id2", "id_3"]], {}, r"histories\[1\]: 1 item id.*'id_3'; did you mean 'id3'"),
        ([["id1"]], {"exclude": "id2"}, "exclude: expected a list of item ids, found 'id2'"),
        ([["id1"]], {"exclude": 7}, "exclude: expected a list of item ids, found 7"),
        ([["id1"]], {"only": ["id2", ["id3"]]}, r"only\[0\]: expected a list of item ids"),
        ([["id1"]], {"only": [["id2"], ["id3"]]}, "each of 1 histories, found 2 lists"),
        ([["id1"]], {"only": ["nothing like it"]}, "only: 1 item id.s. are not in the catalogue"),
        ([["id1"]], {"only": [["id2", 5]]}, r"only\[0\]: expected item ids, .* found 5"),
        ([["id1"]], {"k": 0}, "k and beams: expected at least 1, found 0"),
        ([["id1"]], {"unknown": "drop"}, "unknown: expected refuse or skip, found 'drop'"),
    ],
)  # fmt: skip
def test_what_is_refused(
    recommender: Recommender, histories: object, options: dict[str, object], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        recommender.recommend(histories, **options)  # type: ignore[arg-type]


def test_unknown_items_can_be_skipped(
    recommender: Recommender, caplog: pytest.LogCaptureFixture
) -> None:
    histories = [["new1", "id1", "new2"], ["new3"], [], ["id2"]]
    exclude = [["id5"], ["id5"], [], ["id6", "new4"]]
    with caplog.at_level("WARNING", logger="recllm"):
        found = recommender.recommend(histories, 5, exclude=exclude, unknown="skip")
    (first,) = recommender.recommend([["id1"]], 5, exclude=["id5"])
    (last,) = recommender.recommend([["id2"]], 5, exclude=["id6"])
    # Scores differ by rounding where rows share a batch.
    assert [[item[:2] for item in items] for items in found] == [
        [item[:2] for item in items] for items in (first, [], [], last)
    ]
    assert isinstance(found[0][0], Recommendation)
    told = " ".join(caplog.messages)
    assert "left out 4 item id(s) that are not in the catalogue of 30 items, such as 'new1'" in told
    assert "2 histories without a known item get no recommendations" in told
