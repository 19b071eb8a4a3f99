"""Batches for which memory does not suffice."""

import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from small_models import make_model

from recllm.catalog.trie import Trie
from recllm.decoding import batching
from recllm.decoding.batching import batch_tokens_for
from recllm.decoding.engine import TreeDecoder
from recllm.decoding.search import Search
from recllm.errors import UserError

CODES = np.stack([np.arange(30) // 6, np.arange(30) % 6], axis=1).astype(np.int32)
TOKENS = np.arange(20, 32).reshape(2, 6)
PROMPTS = [[1 + i % 9] * (1 + i % 7) for i in range(23)]
LISTS = [[i % 30, (i + 3) % 30] for i in range(23)]


def decoder(batch_tokens: int = 10_000) -> TreeDecoder:
    trie = Trie.from_sids(CODES, list(TOKENS))
    return TreeDecoder(make_model(), trie, beams=4, batch_tokens=batch_tokens)


class Memory:
    """A search for which memory suffices up to a number of rows."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, rows: int) -> None:
        self.tried: list[int] = []
        run = Search.run

        def limited(search: Search, prompts: Sequence[Sequence[int]], subset: Any) -> Any:
            self.tried.append(len(prompts))
            if len(prompts) > rows:
                raise torch.OutOfMemoryError("CUDA out of memory")
            return run(search, prompts, subset)

        monkeypatch.setattr(Search, "run", limited)


@pytest.mark.parametrize("rows", [1, 5, 22])
def test_a_batch_that_is_too_large_is_halved(
    rows: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    expected = decoder().decode(PROMPTS, exclude=LISTS)
    memory, told = Memory(monkeypatch, rows), []
    with caplog.at_level(logging.WARNING, "recllm"):
        found = decoder().decode(PROMPTS, exclude=LISTS, progress=told.append)
    assert memory.tried[0] == len(PROMPTS) and memory.tried[-1] <= rows
    assert np.array_equal(found.items, expected.items)
    assert np.allclose(found.scores, expected.scores, atol=1e-5)
    assert sum(told) == len(PROMPTS)
    assert "memory does not suffice for 23 rows at once" in caplog.text


def test_where_one_row_is_too_large_the_user_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    Memory(monkeypatch, 0)
    with pytest.raises(UserError, match=r"one prompt of 7 tokens with 4 beams; set fewer"):
        decoder().decode(PROMPTS)


def test_other_errors_are_not_taken_for_want_of_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> Any:
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    monkeypatch.setattr(Search, "run", broken)
    with pytest.raises(RuntimeError, match="illegal memory access"):
        decoder().decode(PROMPTS)


class OnGpu:
    """As much of a model on a GPU as batches are planned by."""

    def __init__(self) -> None:
        self.config = make_model().config

    def parameters(self) -> Any:
        device = torch.device("cuda")
        return iter([type("Parameter", (), {"device": device, "dtype": torch.bfloat16})])


@pytest.mark.parametrize(("free", "expected"), [(0, 4096), (2**31, None), (2**50, 262_144)])
def test_batches_are_as_large_as_the_free_memory_allows(
    free: int, expected: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (free, 2**60))
    tokens = batch_tokens_for(OnGpu())
    if expected is None:
        # Two layers of a head of 8 numbers; a layer of 24, inside of 32.
        each = 2 * (2 * 2 * 1 * 8 + 8 * 24 + 3 * 32) + 2 * 8192 * 4
        expected = free // 4 // each
    assert tokens == expected
    assert batch_tokens_for(make_model()) == batching.default_batch_tokens(torch.device("cpu"))
