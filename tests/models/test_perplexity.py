from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from small_models import make_model
from tunable import disturb, make_section, save_base, tune

from recllm.models.perplexity import WINDOW, plan_windows, token_losses, window_of

TOKENS = [3, 9, 1, 30, 7, 7, 22, 14, 0, 5, 39, 12, 8]


def losses(model: Any, tokens: list[int], **options: Any) -> np.ndarray:
    asked: dict[str, Any] = {"start": 2, "left_out": [], "window": 2048, "stride": 1024}
    return token_losses(model, tokens, **asked | options)


@given(st.integers(1, 60), st.integers(2, 20), st.data())
def test_windows_score_every_position_but_the_first_once(
    length: int, window: int, data: st.DataObject
) -> None:
    stride = data.draw(st.integers(1, window - 1))
    scored: list[int] = []
    for one in plan_windows(length, window, stride):
        assert 0 <= one.start < one.scored < one.end <= one.start + window
        # All that fits stands before the first position that is scored.
        assert one.start == 0 or one.scored - one.start >= window - stride
        scored += range(one.scored, one.end)
    assert scored == list(range(1, length))


@pytest.mark.parametrize("architecture", ["qwen2", "qwen3", "llama", "gemma2"])
def test_a_text_of_one_window_has_the_loss_of_the_model_itself(architecture: str) -> None:
    model = make_model(architecture).eval()  # gemma2 caps its logits
    ids = torch.tensor([[2, *TOKENS]])
    expected = model(ids, labels=ids).loss.item()
    found = losses(model, TOKENS)
    assert found.shape == (2, len(TOKENS))
    assert found[0].mean() == pytest.approx(expected, rel=1e-5)
    assert np.array_equal(found[0], found[1])


@pytest.mark.parametrize(("window", "stride"), [(5, 2), (4, 3), (6, 3), (2, 1), (14, 7)])
def test_later_windows_see_what_stands_before_them(window: int, stride: int) -> None:
    model = make_model().eval()
    sequence = [2, *TOKENS]
    expected = []
    for one in plan_windows(len(sequence), window, stride):
        for place in range(one.scored, one.end):
            seen = torch.tensor([sequence[one.start : place]])
            with torch.no_grad():
                chances = model(seen).logits[0, -1].log_softmax(-1)
            expected.append(-float(chances[sequence[place]]))
    found = losses(model, TOKENS, window=window, stride=stride)
    assert found[0] == pytest.approx(expected, rel=1e-4)


def test_tokens_that_are_left_out_have_no_share() -> None:
    model = make_model().eval()
    left_out = [10, 33, 40, 1000]  # the last two are beyond the model's rows
    found = losses(model, TOKENS, left_out=left_out)
    with torch.no_grad():
        logits = model(torch.tensor([[2, *TOKENS[:-1]]])).logits[0]
    kept = [row for row in range(40) if row not in left_out]
    chances = logits[:, kept].log_softmax(-1)
    places = [kept.index(token) for token in TOKENS]
    expected = [-float(row[place]) for row, place in zip(chances, places, strict=True)]
    assert found[1] == pytest.approx(expected, rel=1e-5)
    assert (found[1] < found[0]).all()


def test_an_adapter_is_scored_with_what_it_was_trained_to(tmp_path: Any) -> None:
    recommender = disturb(tune(make_section(save_base(tmp_path / "base"))))
    ids = torch.tensor([[2, *TOKENS]])
    with torch.no_grad():
        expected = float(recommender.model(ids, labels=ids).loss)
    assert losses(recommender.model, TOKENS)[0].mean() == pytest.approx(expected, rel=1e-5)


def test_bfloat16_logits_are_normalised_in_float32() -> None:
    model = make_model(vocabulary=4000).bfloat16().eval()
    with torch.no_grad():
        logits = model(torch.tensor([[2, *TOKENS[:-1]]])).logits[0].double()
    rows = logits.log_softmax(-1)
    expected = [-float(row[token]) for row, token in zip(rows, TOKENS, strict=True)]
    assert losses(model, TOKENS)[0] == pytest.approx(expected, rel=1e-5)


def test_a_window_is_the_context_but_not_a_huge_one() -> None:
    def with_context(positions: int | None) -> Any:
        text = SimpleNamespace(max_position_embeddings=positions)
        return SimpleNamespace(config=SimpleNamespace(get_text_config=lambda: text))

    found = [window_of(with_context(positions)) for positions in (512, 32_768, None)]
    assert found == [512, WINDOW, WINDOW]
