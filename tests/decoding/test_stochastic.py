"""Stochastic beam search against one that visits every node, and against enumeration."""

from collections.abc import Sequence
from functools import cache
from itertools import permutations
from typing import Any

import numpy as np
import pytest
import torch
from beam_reference import make_model
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from tries import prefix_nodes

from recllm.catalog.trie import Trie
from recllm.decoding.engine import TreeDecoder
from recllm.decoding.noise import gumbel, row_seeds
from recllm.decoding.stochastic import Draw, log_inclusion, with_largest

EOS = 3
PROMPTS = [[5, 6, 7], [9], [11, 12, 13, 14, 15, 16]]
Path = tuple[int, ...]
Drawn = list[tuple[int, float, float]]
cached_model = cache(make_model)


def sids(codes: np.ndarray, codes_per_level: int = 4) -> tuple[Trie, list[Path]]:
    levels = codes.shape[1]
    tokens = 100 + np.arange(levels * codes_per_level).reshape(levels, codes_per_level)
    paths = [tuple(path) for path in tokens[np.arange(levels), codes].tolist()]
    return Trie.from_sids(codes, tokens), paths


def sequences(lists: list[list[int]]) -> tuple[Trie, list[Path]]:
    return Trie.from_token_sequences(lists, eos=EOS), [(*tokens, EOS) for tokens in lists]


@torch.no_grad()
def plain_draw(
    model: Any,
    prompt: Sequence[int],
    trie: Trie,
    paths: list[Path],
    *,
    seed: int,
    temperature: float,
    eligible: set[int],
) -> Drawn:
    """The specification: all items with log p and perturbed log p, no beam, no clever formula."""

    def perturb(log_p: list[float], keys: list[int], largest: float) -> list[float]:
        """Gumbel noise of each key, given the largest of them."""
        noise = gumbel(torch.tensor([seed]), torch.tensor([keys]))[0].tolist()
        free = np.array(log_p, np.longdouble) + np.array(noise, np.longdouble)
        given = np.exp(-np.longdouble(largest)) - np.exp(-free.max()) + np.exp(-free)
        return (-np.log(given)).astype(float).tolist()

    nodes = prefix_nodes(trie)
    found: Drawn = []
    root = float(gumbel(torch.tensor([seed]), torch.tensor([[0]])))
    queue: list[tuple[Path, float, float]] = [((), 0.0, root)] if eligible else []
    while queue:
        prefix, log_p, largest = queue.pop()
        items = [item for item in sorted(eligible) if paths[item] == prefix]
        if items:
            shared = [log_p - np.log(len(items))] * len(items)
            keys = [trie.level_start[-1] + item for item in items]
            found += zip(items, shared, perturb(shared, keys, largest), strict=True)
            continue
        depth = len(prefix)
        below = sorted({paths[i][: depth + 1] for i in eligible if paths[i][:depth] == prefix})
        logits = model(input_ids=torch.tensor([[*prompt, *prefix]])).logits[0, -1].double()
        steps = (logits[[path[-1] for path in below]] / temperature).log_softmax(-1)
        summed = (log_p + steps).tolist()
        perturbed = perturb(summed, [nodes[path] for path in below], largest)
        queue += zip(below, summed, perturbed, strict=True)
    return sorted(found, key=lambda entry: -entry[2])


def compare(trie: Trie, paths: list[Path], data: st.DataObject) -> None:
    lists = st.lists(st.integers(0, len(paths) - 1), max_size=len(paths))
    subsets = st.none() | st.lists(lists, min_size=len(PROMPTS), max_size=len(PROMPTS))
    exclude, only = data.draw(subsets), data.draw(subsets)
    temperature = data.draw(st.sampled_from([0.5, 1.0, 3.0]))
    count = data.draw(st.integers(1, 9))
    seeds = row_seeds(data.draw(st.integers(0, 10**6)), torch.arange(len(PROMPTS)), step=1)
    model = cached_model("qwen3")
    draw = TreeDecoder(model, trie, beams=1).draw(
        PROMPTS, seeds, count=count, temperature=temperature, exclude=exclude, only=only
    )
    assert draw.items.shape == draw.log_probs.shape == draw.perturbed.shape
    for row, prompt in enumerate(PROMPTS):
        eligible = set(range(len(paths))) if only is None else set(only[row])
        eligible -= set() if exclude is None else set(exclude[row])
        expected = plain_draw(
            model, prompt, trie, paths,
            seed=int(seeds[row]), temperature=temperature, eligible=eligible,
        )  # fmt: skip
        missing = max(0, count - len(expected))
        items, log_probs, perturbed = zip(*expected[:count], strict=True) if expected else [()] * 3
        assert draw.items[row].tolist() == [*items, *[-1] * missing]
        absent = [-np.inf] * missing
        np.testing.assert_allclose(draw.log_probs[row], [*log_probs, *absent], atol=1e-4)
        np.testing.assert_allclose(draw.perturbed[row], [*perturbed, *absent], atol=1e-3)


@given(st.data())
@settings(max_examples=30, derandomize=True)
def test_sids_are_drawn_as_by_visiting_every_node(data: st.DataObject) -> None:
    levels = data.draw(st.integers(1, 4))
    sid = st.lists(st.integers(0, 3), min_size=levels, max_size=levels)
    trie, paths = sids(np.array(data.draw(st.lists(sid, min_size=1, max_size=25))))
    compare(trie, paths, data)


@given(st.data())
@settings(max_examples=30, derandomize=True)
def test_token_sequences_are_drawn_as_by_visiting_every_node(data: st.DataObject) -> None:
    token = st.integers(4, 9)
    one = st.lists(token, min_size=1, max_size=5)
    trie, paths = sequences(data.draw(st.lists(one, min_size=1, max_size=20)))
    compare(trie, paths, data)


def many_draws(rows: int, count: int, seed: int = 0) -> tuple[Draw, np.ndarray]:
    """Draws of five items after one prompt, and the items' probabilities."""
    trie, _ = sids(np.array([[0, 0], [0, 1], [0, 3], [2, 1], [3, 3]]))
    decoder = TreeDecoder(cached_model("llama"), trie, beams=5, scoring="trie", batch_tokens=10**6)
    seeds = row_seeds(seed, torch.arange(rows), step=0)
    draw = decoder.draw([[5, 6, 7]] * rows, seeds, count=count, temperature=2.0)
    every = decoder.draw([[5, 6, 7]], seeds[:1], count=5, temperature=2.0)
    p = np.empty(5)
    p[every.items[0]] = every.log_probs[0].exp()
    assert p.sum() == pytest.approx(1, abs=1e-5) and p.min() > 0.005
    return draw, p


def test_pairs_are_drawn_as_often_as_without_replacement() -> None:
    rows = 20_000
    draw, p = many_draws(rows, 2)
    pairs = list(permutations(range(5), 2))
    found = [int((draw.items == torch.tensor(pair)).all(dim=1).sum()) for pair in pairs]
    expected = [rows * p[i] * p[j] / (1 - p[i]) for i, j in pairs]
    assert sum(found) == rows
    assert stats.chisquare(found, expected, sum_check=False).pvalue > 0.01


@pytest.mark.parametrize("target", [None, 0, 1, 2, 3, 4])
def test_weighted_sums_are_those_over_all_items(target: int | None) -> None:
    rows, count = 20_000, 3
    draw, p = many_draws(rows, count + 1, seed=1)
    sample = draw.first(count)
    if target is not None:
        targets = torch.full((rows,), target)
        sample = draw.first_with(targets, torch.ones(rows, dtype=torch.bool), count)
        assert (sample.items == target).sum(dim=1).eq(1).all()
        assert sample.log_inclusion[sample.items == target].eq(0).all()
    assert (sample.items >= 0).all() and sample.items.shape == (rows, count)
    assert (sample.items.sort(dim=1).values.diff(dim=1) > 0).all()
    assert (sample.log_probs.diff(dim=1) <= 0).all()
    assert (sample.log_inclusion <= 0).all()
    weights = torch.from_numpy(p)[sample.items] / sample.log_inclusion.exp()
    for item in range(5):
        found = (weights * (sample.items == item)).sum(dim=1)
        error = float(found.std()) / rows**0.5
        assert abs(float(found.mean()) - p[item]) < 4 * error + 1e-12


def test_a_draw_of_all_items_has_no_weights() -> None:
    draw, p = many_draws(50, 6)
    assert (draw.items[:, 5] == -1).all()
    for sample in (draw.first(5), draw.first_with(draw.items[:, 2], torch.arange(50) < 25, 5)):
        assert (sample.log_inclusion == 0).all()
        assert sample.items.sort(dim=1).values.tolist() == [[0, 1, 2, 3, 4]] * 50
        np.testing.assert_allclose(sample.log_probs.exp(), p[sample.items], rtol=1e-4)
    # Where the target may not be returned, it is not.
    others = draw.first_with(torch.full((50,), 4), torch.zeros(50, dtype=torch.bool), 2)
    assert torch.equal(others.items, draw.first(2).items)


def test_an_added_target_takes_the_place_of_the_last_drawn() -> None:
    draw = Draw(
        items=torch.tensor([[4, 2, 9, 7]] * 3),
        log_probs=torch.tensor([[-3.0, -1.0, -2.0, -4.0]] * 3, dtype=torch.float64),
        perturbed=torch.tensor([[3.0, 1.5, 1.0, 0.5]] * 3, dtype=torch.float64),
    )
    sample = draw.first_with(torch.tensor([2, 7, 5]), torch.tensor([True] * 3), 3)
    assert sample.items.tolist() == [[2, 9, 4], [2, 4, 7], [2, 4, 5]]
    assert sample.log_probs.tolist() == [[-1, -2, -3], [-1, -3, -4], [-1, -3, -np.inf]]

    def inclusion(log_p: float, threshold: float) -> float:
        return np.log(-np.expm1(-np.exp(log_p - threshold)))

    # The threshold is the third of the others: 7's where 2 is the target, else 9's.
    expected = [
        [0, inclusion(-2, 0.5), inclusion(-3, 0.5)],
        [inclusion(-1, 1.0), inclusion(-3, 1.0), 0],
        [inclusion(-1, 1.0), inclusion(-3, 1.0), 0],
    ]
    np.testing.assert_allclose(sample.log_inclusion, expected)


@pytest.mark.parametrize("batch_tokens", [1, 40, 10**6])
def test_a_row_draws_the_same_in_any_batch_and_on_any_number_of_processes(
    batch_tokens: int,
) -> None:
    rng = np.random.default_rng(0)
    trie, paths = sids(np.unique(rng.integers(0, 4, (50, 3)), axis=0))
    rows = rng.permutation(40)
    prompts = {row: rng.integers(4, 90, rng.integers(1, 20)).tolist() for row in rows.tolist()}
    exclude = {row: rng.integers(0, len(paths), 5).tolist() for row in rows.tolist()}
    model = cached_model("qwen3")

    def draw(some: np.ndarray, tokens: int) -> Draw:
        decoder = TreeDecoder(model, trie, beams=1, batch_tokens=tokens)
        listed = some.tolist()
        return decoder.draw(
            [prompts[row] for row in listed],
            row_seeds(7, torch.from_numpy(some), step=11),
            count=6,
            exclude=[exclude[row] for row in listed],
        )

    whole = draw(rows, 10**6)
    shards = [draw(rows[rank::2], batch_tokens) for rank in range(2)]
    for rank, shard in enumerate(shards):
        assert torch.equal(shard.items, whole.items[rank::2])
        torch.testing.assert_close(shard.perturbed, whole.perturbed[rank::2], atol=1e-4, rtol=0)
    other = TreeDecoder(model, trie, beams=1).draw(
        [prompts[row] for row in rows.tolist()], row_seeds(7, torch.from_numpy(rows), 12), count=6
    )
    assert (other.items != whole.items).any()


def test_inclusion_is_exact_where_exponentials_are_not() -> None:
    excess = torch.tensor([-800, -60, -41, -39, -5, 0, 3, 40, 1000], dtype=torch.float64)
    found = log_inclusion(excess, torch.zeros(1, dtype=torch.float64)).numpy()
    assert found[:2].tolist() == [-800, -60]
    exact = np.log(-np.expm1(-np.exp(excess[2:6].numpy().astype(np.longdouble))))
    np.testing.assert_allclose(found[2:6], exact.astype(float), rtol=1e-12)
    tail = np.log1p(-np.exp(-np.exp(np.longdouble(3))))
    np.testing.assert_allclose(found[6:], [float(tail), 0, 0], rtol=1e-12)
    assert log_inclusion(excess, torch.tensor(-np.inf)).eq(0).all()


def test_the_largest_is_what_it_is_given_as() -> None:
    torch.manual_seed(0)
    perturbed = torch.randn(100, 7, dtype=torch.float64) * 5
    perturbed[:, 3] = -np.inf
    largest = torch.randn(100, dtype=torch.float64) * 5
    found = with_largest(perturbed, largest)
    torch.testing.assert_close(found.amax(dim=1), largest, rtol=0, atol=0)
    assert found[:, 3].isneginf().all()
    exact = perturbed.numpy().astype(np.longdouble)
    mass = np.exp(-largest.numpy()[:, None]) - np.exp(-exact.max(1, keepdims=True)) + np.exp(-exact)
    close = np.isfinite(mass) & (np.abs(exact) < 8)
    np.testing.assert_allclose(found.numpy()[close], -np.log(mass[close]).astype(float), atol=1e-6)
