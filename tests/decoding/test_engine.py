"""The engine against a plain beam search, and what it promises beside the ranking."""

from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from beam_reference import assert_same_ranking, make_model, plain_beam_search
from hypothesis import given, settings
from hypothesis import strategies as st

from recllm.catalog.trie import Trie
from recllm.decoding.engine import Ranking, TreeDecoder

EOS = 3
PROMPTS = [[5, 6, 7], [9], [11, 12, 13, 14, 15, 16], [8, 4]]
Path = tuple[int, ...]
cached_model = cache(make_model)


def sid_catalogue(codes: np.ndarray, codes_per_level: int) -> tuple[Trie, list[Path], np.ndarray]:
    """A trie whose token order is not its code order, the items' paths, the alphabets."""
    levels = codes.shape[1]
    token_ids = 100 + np.random.default_rng(1).permutation(levels * codes_per_level)
    token_ids = token_ids.reshape(levels, codes_per_level)
    paths = [tuple(row) for row in token_ids[np.arange(levels), codes].tolist()]
    return Trie.from_sids(codes, token_ids), paths, token_ids


def random_sids(items: int = 80, codes: int = 10) -> tuple[Trie, list[Path], np.ndarray]:
    rng = np.random.default_rng(0)
    return sid_catalogue(np.unique(rng.integers(0, codes, (items, 3)), axis=0), codes)


def compare(
    model: Any,
    trie: Trie,
    paths: list[Path],
    *,
    beams: int,
    scoring: Any = "vocab",
    alphabets: Sequence[Sequence[int]] = (),
    prompts: Sequence[Sequence[int]] = PROMPTS,
    exclude: list[list[int]] | None = None,
    only: list[list[int]] | None = None,
) -> Ranking:
    ranking = TreeDecoder(model, trie, beams=beams, scoring=scoring).decode(prompts, exclude, only)
    assert ranking.items.shape == ranking.scores.shape == (len(prompts), beams)
    assert ranking.items.dtype == np.int32 and ranking.scores.dtype == np.float32
    for row, prompt in enumerate(prompts):
        allowed = set(range(len(paths))) if only is None else set(only[row])
        allowed -= set() if exclude is None else set(exclude[row])
        expected = plain_beam_search(
            model,
            prompt,
            paths,
            beams=beams,
            scoring=scoring,
            alphabets=alphabets,
            allowed_items=allowed,
        )
        assert len(expected[0]) == min(beams, len(allowed))
        assert_same_ranking((ranking.items[row], ranking.scores[row]), expected)
    return ranking


@given(st.data())
@settings(max_examples=30, derandomize=True)
def test_random_sids_match_the_plain_search(data: st.DataObject) -> None:
    levels = data.draw(st.integers(1, 4))
    sid = st.lists(st.integers(0, 3), min_size=levels, max_size=levels)
    codes = np.array(data.draw(st.lists(sid, min_size=1, max_size=30)))
    trie, paths, token_ids = sid_catalogue(codes, 4)
    lists = st.lists(st.integers(0, len(paths) - 1), max_size=len(paths))
    subsets = st.none() | st.lists(lists, min_size=len(PROMPTS), max_size=len(PROMPTS))
    compare(
        cached_model("qwen3"),
        trie,
        paths,
        beams=data.draw(st.integers(1, 9)),
        scoring=data.draw(st.sampled_from(["vocab", "level", "trie"])),
        alphabets=token_ids.tolist(),
        exclude=data.draw(subsets),
        only=data.draw(subsets),
    )


@given(st.data())
@settings(max_examples=30, derandomize=True)
def test_random_token_sequences_match_the_plain_search(data: st.DataObject) -> None:
    tokens = st.lists(st.integers(0, 8).filter(lambda t: t != EOS), min_size=1, max_size=5)
    sequences = data.draw(st.lists(tokens, min_size=1, max_size=25))
    paths = [(*sequence, EOS) for sequence in sequences]
    lists = st.lists(st.integers(0, len(paths) - 1), max_size=len(paths))
    subsets = st.none() | st.lists(lists, min_size=len(PROMPTS), max_size=len(PROMPTS))
    compare(
        cached_model("llama", tied=True),
        Trie.from_token_sequences(sequences, eos=EOS),
        paths,
        beams=data.draw(st.integers(1, 7)),
        scoring=data.draw(st.sampled_from(["vocab", "trie"])),
        exclude=data.draw(subsets),
        only=data.draw(subsets),
    )


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("gpt2", {}),
        ("qwen3", {"attn_implementation": "eager"}),
        ("qwen3", {"use_sliding_window": True, "sliding_window": 9, "max_window_layers": 1}),
        ("mistral", {"sliding_window": 9}),
    ],
)
def test_other_attention_matches_the_plain_search(kind: str, options: dict[str, Any]) -> None:
    trie, paths, token_ids = random_sids()
    model = make_model(kind, **options)
    # Prompts and SIDs together just fill the window; the tree's cache is far longer.
    compare(model, trie, paths, beams=12, alphabets=token_ids.tolist())


@pytest.mark.parametrize("scoring", ["vocab", "level", "trie"])
def test_ties_are_broken_by_sid_order(scoring: Any) -> None:
    codes = np.array([[2, 1], [0, 3], [2, 0], [0, 1], [3, 3], [0, 3], [1, 1]])
    trie, paths, token_ids = sid_catalogue(codes, 4)
    model = make_model("qwen3")
    with torch.no_grad():
        model.lm_head.weight.zero_()
    ranking = compare(model, trie, paths, beams=4, scoring=scoring, alphabets=token_ids.tolist())
    if scoring != "trie":
        # All SIDs are equally probable: their order decides, then the catalogue's.
        assert ranking.items.tolist() == [[3, 1, 5, 6]] * len(PROMPTS)


def test_ties_of_different_length_are_broken_by_path_order() -> None:
    sequences = [[9], [5, 6, 7], [7, 8], [4, 4, 4, 4]]
    trie = Trie.from_token_sequences(sequences, eos=EOS)
    model = make_model("qwen3")
    with torch.no_grad():
        model.lm_head.weight.zero_()
    # Only the first token is a choice, so that every path has the same score.
    for beams in (3, 4):
        ranking = TreeDecoder(model, trie, beams=beams, scoring="trie").decode([[5]])
        np.testing.assert_allclose(ranking.scores, -np.log(4), rtol=1e-6)
        assert ranking.items.tolist() == [[3, 1, 2, 0][:beams]]


def test_the_search_stops_when_settled_and_not_before() -> None:
    rng = np.random.default_rng(0)
    sequences = [rng.integers(4, 8, rng.integers(1, 9)).tolist() for _ in range(60)]
    paths = [(*sequence, EOS) for sequence in sequences]
    trie = Trie.from_token_sequences(sequences, eos=EOS)
    model = make_model("llama")
    # Under this scoring a step costs little, and a path can come from behind.
    decoder = TreeDecoder(model, trie, beams=2, scoring="trie")
    forwards: list[int] = []
    model.model.register_forward_pre_hook(lambda *_: forwards.append(1))
    runs = set()
    for token in range(4, 44):
        forwards.clear()
        found = decoder.decode([[token, 9]])
        runs.add(len(forwards))
        expected = plain_beam_search(model, [token, 9], paths, beams=2, scoring="trie")
        assert_same_ranking((found.items[0], found.scores[0]), expected)
    assert min(runs) < trie.depth / 2 and max(runs) <= trie.depth


def test_items_of_a_shared_sid_come_in_catalogue_order() -> None:
    codes = np.array([[0, 0], [1, 1], [0, 0], [1, 0], [0, 0]])
    trie, paths, token_ids = sid_catalogue(codes, 2)
    exclude = [[2], [], [0, 1], [0, 2, 4]]
    ranking = compare(
        cached_model("qwen3"), trie, paths, beams=5, alphabets=token_ids.tolist(), exclude=exclude
    )
    for row, expected in ((0, [0, 4]), (1, [0, 2, 4]), (2, [2, 4]), (3, [])):
        assert [i for i in ranking.items[row].tolist() if i in {0, 2, 4}] == expected


def test_enough_beams_score_every_item_in_full() -> None:
    trie, paths, _ = random_sids(40)
    model = cached_model("llama")
    ranking = TreeDecoder(model, trie, beams=100).decode(PROMPTS)
    for row, prompt in enumerate(PROMPTS):
        sequences = torch.tensor([[*prompt, *path] for path in paths])
        with torch.no_grad():
            log_probs = model(input_ids=sequences).logits.log_softmax(-1)
        before = log_probs[:, len(prompt) - 1 : -1]
        scores = before.gather(-1, sequences[:, len(prompt) :, None]).sum((1, 2))
        best = scores.argsort(descending=True)
        assert ranking.items[row].tolist() == best.tolist() + [-1] * (100 - len(paths))
        np.testing.assert_allclose(ranking.scores[row, : len(paths)], scores[best], atol=1e-4)


def test_nothing_eligible_returns_nothing() -> None:
    trie, _, _ = random_sids()
    ranking = TreeDecoder(cached_model("qwen3"), trie, beams=3, scoring="trie").decode(
        PROMPTS, only=[[], [1], [], [2]]
    )
    assert ranking.items.tolist() == [[-1] * 3, [1, -1, -1], [-1] * 3, [2, -1, -1]]


def test_no_prompts_return_no_rows() -> None:
    trie, _, _ = random_sids()
    assert TreeDecoder(cached_model("qwen3"), trie, beams=3).decode([]).items.shape == (0, 3)


@pytest.mark.parametrize("variable", [False, True])
def test_the_ranking_does_not_depend_on_the_batch(variable: bool) -> None:
    rng = np.random.default_rng(5)
    trie, paths, _ = random_sids()
    if variable:
        trie = Trie.from_token_sequences([path[: 1 + i % 3] for i, path in enumerate(paths)], EOS)
    prompts = [rng.integers(4, 100, rng.integers(1, 30)).tolist() for _ in range(23)]
    exclude = [rng.integers(0, len(paths), 5).tolist() for _ in prompts]
    model = cached_model("qwen3")
    done: list[int] = []
    together = TreeDecoder(model, trie, beams=8, batch_tokens=10**6)
    whole = together.decode(prompts, exclude, progress=done.append)
    assert done == [23]
    for batch_tokens in (1, 150):
        done.clear()
        decoder = TreeDecoder(model, trie, beams=8, batch_tokens=batch_tokens)
        parts = decoder.decode(prompts, exclude, progress=done.append)
        assert sum(done) == 23 and (len(done) == 23 if batch_tokens == 1 else 1 < len(done) < 23)
        np.testing.assert_array_equal(parts.items, whole.items)
        np.testing.assert_allclose(parts.scores, whole.scores, atol=1e-4)


def test_bfloat16_mostly_agrees_with_float32() -> None:
    trie, _, _ = random_sids(300)
    rng = np.random.default_rng(0)
    prompts = [rng.integers(4, 100, rng.integers(1, 30)).tolist() for _ in range(20)]
    exact = TreeDecoder(make_model("qwen3"), trie, beams=20).decode(prompts)
    half = make_model("qwen3").to(torch.bfloat16)
    rounded = TreeDecoder(half, trie, beams=20).decode(prompts)
    tops = zip(exact.items[:, :10].tolist(), rounded.items[:, :10].tolist(), strict=True)
    overlap = np.mean([len(set(a) & set(b)) / 10 for a, b in tops])
    assert overlap > 0.8
    assert (rounded.scores <= 0).all()


def test_the_models_mode_is_restored() -> None:
    trie, _, _ = random_sids()
    model = make_model("llama", attention_dropout=0.9)
    expected = TreeDecoder(model, trie, beams=4).decode(PROMPTS)
    model.train()
    decoder = TreeDecoder(model, trie, beams=4)
    assert model.training
    np.testing.assert_array_equal(decoder.decode(PROMPTS).items, expected.items)
    assert model.training and model.lm_head.training
    model.eval()
    decoder.decode(PROMPTS)
    assert not model.training


@pytest.mark.parametrize("tied", [False, True])
def test_a_peft_model_decodes_as_it_would_merged(tied: bool) -> None:
    from peft import LoraConfig, get_peft_model

    trie, _, token_ids = random_sids()
    model = make_model("qwen3", tied=tied)
    new = sorted(token_ids.ravel().tolist())
    rows = {"embed_tokens": new} if tied else {"embed_tokens": new, "lm_head": new}
    adapter = LoraConfig(r=4, target_modules=["q_proj", "v_proj"], trainable_token_indices=rows)
    tuned = get_peft_model(model, adapter)
    torch.manual_seed(7)
    with torch.no_grad():
        for name, weight in tuned.named_parameters():
            if "lora_B" in name or "trainable_tokens" in name:
                weight.add_(torch.randn_like(weight) * 0.3)
    decoder = TreeDecoder(tuned, trie, beams=8)
    found = decoder.decode(PROMPTS)
    merged = tuned.merge_and_unload()
    expected = TreeDecoder(merged, trie, beams=8).decode(PROMPTS)
    np.testing.assert_array_equal(found.items, expected.items)
    np.testing.assert_allclose(found.scores, expected.scores, atol=1e-4)
    untuned = TreeDecoder(make_model("qwen3", tied=tied), trie, beams=8).decode(PROMPTS)
    assert (untuned.items != found.items).any()


def test_the_prompt_is_run_once_and_the_head_only_where_needed() -> None:
    trie, _, _ = random_sids()
    model = make_model("qwen3")
    decoder = TreeDecoder(model, trie, beams=5)
    shapes: list[tuple[int, ...]] = []
    model.model.register_forward_pre_hook(
        lambda _, __, kwargs: shapes.append(tuple(kwargs["input_ids"].shape)), with_kwargs=True
    )
    heads: list[int] = []
    model.lm_head.register_forward_pre_hook(lambda *_: heads.append(1))
    decoder.decode(PROMPTS)
    assert shapes == [(4, 6), (4, 5), (4, 5)]
    assert not heads
