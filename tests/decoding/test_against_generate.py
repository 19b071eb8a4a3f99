"""The engine against `generate`, transformers' own beam search."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from beam_reference import assert_same_ranking, make_model

from recllm.catalog.trie import Trie
from recllm.decoding.engine import TreeDecoder

EOS = 3
Path = tuple[int, ...]


def generated(
    model: Any,
    prompts: Sequence[Sequence[int]],
    paths: Sequence[Path],
    *,
    beams: int,
    exclude: Sequence[Sequence[int]],
    eos: int | None,
) -> list[tuple[list[int], list[float]]]:
    """Items and scores of each row from one call of `generate`, padded where lengths differ."""
    longest = max(map(len, prompts))
    tokens = torch.tensor([[0] * (longest - len(p)) + list(p) for p in prompts])
    mask = torch.tensor([[0] * (longest - len(p)) + [1] * len(p) for p in prompts])
    following: list[dict[Path, set[int]]] = [{} for _ in prompts]
    for row, excluded in enumerate(exclude):
        for item, path in enumerate(paths):
            if item not in excluded:
                for depth, token in enumerate(path):
                    following[row].setdefault(path[:depth], set()).add(token)

    def allowed(row: int, sequence: torch.Tensor) -> list[int]:
        # A beam without a path (generate fills its beams) may go anywhere; its score tells it.
        return sorted(following[row].get(tuple(sequence[longest:].tolist()), {0}))

    output = model.generate(
        input_ids=tokens,
        attention_mask=mask,
        num_beams=beams,
        num_return_sequences=beams,
        max_new_tokens=max(map(len, paths)),
        do_sample=False,
        length_penalty=0.0,
        early_stopping="never",
        prefix_allowed_tokens_fn=allowed,
        return_dict_in_generate=True,
        output_scores=True,
        eos_token_id=eos,
        pad_token_id=0,
    )
    item_of = {path: item for item, path in enumerate(paths)}
    found: list[tuple[list[int], list[float]]] = [([], []) for _ in prompts]
    sequences = output.sequences[:, longest:].tolist()
    for place, (sequence, score) in enumerate(
        zip(sequences, output.sequences_scores.tolist(), strict=True)
    ):
        if score > -1e8:
            ended = sequence if eos is None else sequence[: sequence.index(eos) + 1]
            found[place // beams][0].append(item_of[tuple(ended)])
            found[place // beams][1].append(score)
    return found


def compare(model: Any, trie: Trie, paths: list[Path], *, exclude_some: bool) -> None:
    rng, beams = np.random.default_rng(0), 6
    prompts = [rng.integers(4, 100, length).tolist() for length in (9, 4, 14, 1, 9)]
    # In the last row all items but three are excluded, fewer than beams.
    exclude = [rng.choice(len(paths), 12, replace=False).tolist() for _ in prompts]
    exclude[-1] = list(range(3, len(paths)))
    exclude = exclude if exclude_some else [[] for _ in prompts]
    # One call a row: in a padded batch, generate's scores were once seen 1e-3 off the reference's.
    expected = [
        generated(model, [prompt], paths, beams=beams, exclude=[excluded], eos=trie.eos)[0]
        for prompt, excluded in zip(prompts, exclude, strict=True)
    ]
    decoder = TreeDecoder(model, trie, beams=beams)
    ranking = decoder.decode(prompts, exclude if exclude_some else None)
    for row, reference in enumerate(expected):
        assert len(reference[0]) == (3 if exclude_some and row == len(prompts) - 1 else beams)
        assert_same_ranking((ranking.items[row], ranking.scores[row]), reference)


@pytest.mark.parametrize("exclude", [False, True])
@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("kind", ["qwen3", "llama"])
def test_fixed_depth_is_generates_ranking(kind: str, tied: bool, exclude: bool) -> None:
    rng = np.random.default_rng(tied)
    model = make_model(kind, tied=tied, seed=tied)
    codes = np.unique(rng.integers(0, 12, (150, 3)), axis=0)
    token_ids = 100 + rng.permutation(36).reshape(3, 12)
    paths = [tuple(row) for row in token_ids[np.arange(3), codes].tolist()]
    compare(model, Trie.from_sids(codes, token_ids), paths, exclude_some=exclude)


@pytest.mark.parametrize("exclude", [False, True])
@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("kind", ["qwen3", "llama"])
def test_variable_depth_is_generates_ranking(kind: str, tied: bool, exclude: bool) -> None:
    rng = np.random.default_rng(10 + tied)
    model = make_model(kind, tied=tied, seed=2 + tied)
    sequences = {tuple(rng.integers(100, 108, rng.integers(1, 6)).tolist()) for _ in range(120)}
    paths = [(*sequence, EOS) for sequence in sorted(sequences)]
    trie = Trie.from_token_sequences([path[:-1] for path in paths], eos=EOS)
    compare(model, trie, paths, exclude_some=exclude)
