"""Shared-prefix scoring against copies of the prompt, and against the engine's search."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from beam_reference import make_model
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from recllm.catalog.trie import Trie
from recllm.decoding.engine import TreeDecoder
from recllm.decoding.paths import PathScores, score_paths
from recllm.decoding.scoring import Head
from recllm.decoding.support import uses_boolean_mask
from recllm.errors import UserError

EOS = 3
Path = tuple[int, ...]
cached_model = cache(make_model)


@dataclass(frozen=True)
class Catalogue:
    """A trie, the paths of its items, and for `level` scoring the tokens of each level."""

    trie: Trie
    paths: list[Path]
    alphabets: list[list[int]]

    @classmethod
    def of_sids(cls, codes: np.ndarray, codes_per_level: int = 4) -> "Catalogue":
        levels = codes.shape[1]
        tokens = 100 + np.random.default_rng(1).permutation(levels * codes_per_level)
        tokens = tokens.reshape(levels, codes_per_level)
        paths = [tuple(path) for path in tokens[np.arange(levels), codes].tolist()]
        return cls(Trie.from_sids(codes, tokens), paths, tokens.tolist())

    @classmethod
    def of_sequences(cls, sequences: list[list[int]]) -> "Catalogue":
        paths = [(*sequence, EOS) for sequence in sequences]
        return cls(Trie.from_token_sequences(sequences, eos=EOS), paths, [])


def random_sids(items: int = 60) -> Catalogue:
    return Catalogue.of_sids(np.random.default_rng(0).integers(0, 6, (items, 3)), 6)


def score(
    model: Any,
    trie: Trie,
    prompts: Sequence[Sequence[int]],
    items: Sequence[Sequence[int]],
    *,
    scoring: Any = "vocab",
    exclude: list[list[int]] | None = None,
) -> PathScores:
    return score_paths(
        model.get_decoder(),
        Head.of(model),
        trie,
        prompts,
        torch.tensor(items),
        scoring=scoring,
        subset=trie.restrict(exclude, None),
        boolean_mask=uses_boolean_mask(model),
    )


def copied_scores(
    model: Any,
    catalogue: Catalogue,
    prompts: Sequence[Sequence[int]],
    items: Sequence[Sequence[int]],
    *,
    scoring: str,
    exclude: list[list[int]] | None,
) -> tuple[Tensor, Tensor]:
    """The specification: the prompt is copied for each item, and nothing is padded."""
    depth = max(map(len, catalogue.paths))
    log_probs, entropies = [], []
    for row, prompt in enumerate(prompts):
        left_out = set() if exclude is None else set(exclude[row])
        eligible = [path for item, path in enumerate(catalogue.paths) if item not in left_out]
        for item in items[row]:
            path = () if item < 0 else catalogue.paths[item]
            logits = model(input_ids=torch.tensor([[*prompt, *path]])).logits[0, len(prompt) - 1 :]
            for place, (token, row_logits) in enumerate(zip(path, logits, strict=False)):
                if scoring == "trie":
                    near = {p[place] for p in eligible if p[:place] == path[:place]}
                elif catalogue.alphabets:
                    near = set(catalogue.alphabets[place])
                else:
                    near = {p[place] for p in catalogue.paths if len(p) > place}
                everything = row_logits if scoring == "vocab" else row_logits[sorted(near)]
                log_probs.append(row_logits[token] - everything.logsumexp(-1))
                p = row_logits[sorted(near)].softmax(-1)
                entropies.append(-(p * p.log()).sum())
            log_probs += [torch.tensor(0.0)] * (depth - len(path))
            entropies += [torch.tensor(0.0)] * (depth - len(path))
    shape = (len(prompts), len(items[0]), depth)
    return torch.stack(log_probs).view(shape), torch.stack(entropies).view(shape)


def gradients(model: Any, log_probs: Tensor) -> dict[str, Tensor]:
    """Of a sum in which every token has another weight."""
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    weights = torch.linspace(-1, 1, log_probs.numel()).view_as(log_probs)
    found = torch.autograd.grad((weights * log_probs).sum(), [*trained.values()], allow_unused=True)
    zeros = [
        torch.zeros_like(p) if g is None else g
        for p, g in zip(trained.values(), found, strict=True)
    ]
    return dict(zip(trained, zeros, strict=True))


def assert_same_gradients(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    for name, gradient in expected.items():
        scale = max(1.0, float(gradient.abs().max()))
        torch.testing.assert_close(
            found[name] / scale, gradient / scale, atol=1e-5, rtol=0, msg=name
        )


def compare(
    model: Any,
    catalogue: Catalogue,
    prompts: Sequence[Sequence[int]],
    items: Sequence[Sequence[int]],
    *,
    scoring: str = "vocab",
    exclude: list[list[int]] | None = None,
) -> float:
    """Hold the two to each other; returns the largest gradient."""
    given: Any = {"scoring": scoring, "exclude": exclude}
    found = score(model, catalogue.trie, prompts, items, **given)
    expected, entropy = copied_scores(model, catalogue, prompts, items, **given)
    assert found.log_probs.dtype == found.entropy.dtype == torch.float32
    assert found.log_probs.shape == found.entropy.shape == expected.shape
    torch.testing.assert_close(found.log_probs, expected, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(found.entropy, entropy, atol=1e-5, rtol=1e-5)
    assert not found.entropy.requires_grad
    if not expected.requires_grad:
        return 0.0
    wanted = gradients(model, expected)
    assert_same_gradients(gradients(model, found.log_probs), wanted)
    return max(float(gradient.abs().max()) for gradient in wanted.values())


def draw_work(
    data: st.DataObject, count: int, scoring: str
) -> tuple[list[list[int]], list[list[int]], list[list[int]] | None]:
    """Prompts of different lengths, items of each (some absent, some twice), exclusions."""
    token = st.integers(4, 99)
    prompts = data.draw(st.lists(st.lists(token, min_size=1, max_size=9), min_size=1, max_size=3))
    group = data.draw(st.integers(1, 6))
    exclude = None
    if data.draw(st.booleans()):
        some = st.lists(st.integers(0, count - 1), max_size=count - 1)
        exclude = [data.draw(some) for _ in prompts]
    items = []
    for row in range(len(prompts)):
        eligible = set(range(count)) - set(exclude[row] if exclude and scoring == "trie" else ())
        one = st.sampled_from([-1, *sorted(eligible)])
        items.append(data.draw(st.lists(one, min_size=group, max_size=group)))
    return prompts, items, exclude


@given(st.data())
@settings(max_examples=25, derandomize=True)
def test_sids_are_scored_as_with_copied_prompts(data: st.DataObject) -> None:
    levels = data.draw(st.integers(1, 4))
    sid = st.lists(st.integers(0, 3), min_size=levels, max_size=levels)
    catalogue = Catalogue.of_sids(np.array(data.draw(st.lists(sid, min_size=1, max_size=30))))
    scoring = data.draw(st.sampled_from(["vocab", "level", "trie"]))
    work = draw_work(data, len(catalogue.paths), scoring)
    options = {"attn_implementation": data.draw(st.sampled_from(["sdpa", "eager"]))}
    model = cached_model("qwen3", tied=data.draw(st.booleans()), **options)
    prompts, items, exclude = work
    compare(model, catalogue, prompts, items, scoring=scoring, exclude=exclude)


@given(st.data())
@settings(max_examples=25, derandomize=True)
def test_token_sequences_are_scored_as_with_copied_prompts(data: st.DataObject) -> None:
    token = st.integers(0, 8).filter(lambda token: token != EOS)
    sequences = st.lists(st.lists(token, min_size=1, max_size=5), min_size=1, max_size=25)
    catalogue = Catalogue.of_sequences(data.draw(sequences))
    scoring = data.draw(st.sampled_from(["vocab", "trie"]))
    prompts, items, exclude = draw_work(data, len(catalogue.paths), scoring)
    model = cached_model("llama", tied=data.draw(st.booleans()))
    compare(model, catalogue, prompts, items, scoring=scoring, exclude=exclude)


PROMPTS = [[5, 6, 7], [9], [11, 12, 13, 14, 15, 16]]
ITEMS = [[3, 1, 4, 1], [5, -1, 2, 6], [-1, -1, -1, -1]]


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("gpt2", {}),
        ("gpt2", {"attn_implementation": "eager"}),
        ("mistral", {"sliding_window": 9}),
        ("qwen3", {"use_sliding_window": True, "sliding_window": 9, "max_window_layers": 1}),
    ],
)
def test_other_attention_is_scored_as_with_copied_prompts(kind: str, options: Any) -> None:
    assert compare(make_model(kind, **options), random_sids(), PROMPTS, ITEMS) > 0.1


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_checkpointed_gradients_are_the_same(attention: str) -> None:
    catalogue, model = random_sids(), make_model("qwen3", attn_implementation=attention)
    expected = gradients(model, score(model, catalogue.trie, PROMPTS, ITEMS).log_probs)
    model.gradient_checkpointing_enable({"use_reentrant": False})
    model.train()
    layers: list[bool] = []
    layer = model.model.layers[0].mlp
    layer.register_forward_pre_hook(lambda *_: layers.append(torch.is_grad_enabled()))
    found = gradients(model, score(model, catalogue.trie, PROMPTS, ITEMS).log_probs)
    assert len(layers) == 2
    assert_same_gradients(found, expected)


@pytest.mark.parametrize("tied", [False, True])
def test_an_adapter_is_trained_as_with_copied_prompts(tied: bool) -> None:
    from peft import LoraConfig, get_peft_model

    catalogue = random_sids()
    new = sorted({token for path in catalogue.paths for token in path})
    rows = {"embed_tokens": new} if tied else {"embed_tokens": new, "lm_head": new}
    adapter = LoraConfig(r=4, target_modules=["q_proj", "v_proj"], trainable_token_indices=rows)
    model: Any = get_peft_model(make_model("qwen3", tied=tied), adapter)
    torch.manual_seed(7)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "lora_B" in name or "trainable_tokens" in name:
                weight.add_(torch.randn_like(weight) * 0.3)
    model.train()
    assert compare(model, catalogue, PROMPTS, ITEMS) > 0.1


@pytest.mark.parametrize(
    ("scoring", "variable"),
    [("vocab", False), ("level", False), ("trie", False), ("vocab", True), ("trie", True)],
)
def test_scores_are_those_of_the_search(scoring: Any, variable: bool) -> None:
    catalogue = random_sids()
    trie = catalogue.trie
    if variable:
        sequences = [path[: 1 + i % 3] for i, path in enumerate(catalogue.paths)]
        trie = Trie.from_token_sequences(sequences, eos=EOS)
    trie = trie.without([7, 8, 9, 33])
    rng = np.random.default_rng(2)
    exclude = [rng.integers(0, len(trie), size).tolist() for size in (4, 0, 70)]
    model = cached_model("qwen3")
    ranking = TreeDecoder(model, trie, beams=16, scoring=scoring).decode(PROMPTS, exclude)
    with torch.no_grad():
        found = score(
            model, trie, PROMPTS, ranking.items.tolist(), scoring=scoring, exclude=exclude
        )
    sums = found.log_probs.sum(-1).numpy()
    present = ranking.items >= 0
    assert present.sum() > 20 and not present.all()
    np.testing.assert_allclose(sums[present], ranking.scores[present], atol=1e-4)
    assert (sums[~present] == 0).all()


def test_the_prompt_and_shared_tokens_are_run_once_and_last_tokens_not_at_all() -> None:
    codes = np.array([[0, 0, 0], [0, 0, 1], [0, 1, 0], [1, 0, 0]])
    trie, model = Catalogue.of_sids(codes).trie, make_model("qwen3")
    shapes: list[tuple[int, ...]] = []
    model.model.register_forward_pre_hook(
        lambda _, __, kwargs: shapes.append(tuple(kwargs["input_ids"].shape)), with_kwargs=True
    )
    score(model, trie, PROMPTS, [[0, 1, 2, 3], [0, 1, 0, 1], [3, -1, 3, 3]])
    # The longest prompt has 6 tokens, the first row's tree 0, 0-0, 0-1, 1 and 1-0.
    assert shapes == [(3, 6 + 5)]


def test_items_that_a_row_may_not_return_have_no_probability_among_the_allowed() -> None:
    trie, model = random_sids().trie, cached_model("qwen3")
    with pytest.raises(ValueError, match="their rows may return"):
        score(model, trie, PROMPTS, ITEMS, scoring="trie", exclude=[[], [6], []])
    with pytest.raises(UserError, match="items from 0"):
        score(model, trie, PROMPTS, [[60]] * 3)
