"""Constrained beam search over a catalogue: each prompt is run once, beams share its cache."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from recllm.catalog.histories import History
from recllm.catalog.trie import Trie
from recllm.catalog.trie_paths import are_eligible
from recllm.decoding.batching import default_batch_tokens, plan_batches
from recllm.decoding.scoring import SCORINGS, Head, Scoring
from recllm.decoding.search import Search
from recllm.decoding.stochastic import Draw, StochasticSearch
from recllm.decoding.support import (
    check_by_running,
    check_layers,
    longest_path,
    uses_boolean_mask,
)
from recllm.errors import UserError


@dataclass(frozen=True)
class Ranking:
    """The best items of each row, best first.

    Attributes:
        items: (rows, beams) dense indices; -1 where fewer items are eligible.
        scores: (rows, beams) summed log-probability of the item's tokens; -inf there.
    """

    items: NDArray[np.int32]
    scores: NDArray[np.float32]


class TreeDecoder:
    """Ranks the items of a trie by the probability that a causal language model gives them.

    The ranking is that of beam search as `generate(num_beams=beams, length_penalty=0)` does it
    with the trie as its constraint: it differs only where scores tie (the first in path order is
    taken), or by rounding. Every row gets min(beams, eligible items) items.
    """

    def __init__(
        self,
        model: Any,
        trie: Trie,
        *,
        beams: int,
        scoring: Scoring = "vocab",
        batch_tokens: int | None = None,
    ) -> None:
        """Check that the engine can decode `model`, and move the trie to its device.

        Args:
            model: a causal language model of transformers, or a PEFT model of one.
            trie: the catalogue.
            beams: how many paths are kept, and items returned, for each row.
            scoring: what log-probabilities are normalised over; see `Scoring`.
            batch_tokens: tokens that a batch may hold, padding and beams included; by default what
                suits the device.

        Raises:
            UserError: the model, the trie and the settings do not fit together.
        """
        if beams < 1 or scoring not in SCORINGS:
            raise UserError(
                f"expected beams of at least 1 and scoring out of {', '.join(SCORINGS)}; "
                f"found {beams} and {scoring!r}"
            )
        if scoring == "level" and trie.eos is not None:
            raise UserError("scoring 'level' needs item paths of one length; use 'vocab' or 'trie'")
        check_layers(model)
        self._model = model
        self._boolean_mask = uses_boolean_mask(model)
        self._trie = trie.to(next(model.parameters()).device)
        self._beams = beams
        self._scoring: Scoring = scoring
        self._batch_tokens = batch_tokens or default_batch_tokens(self._trie.device)
        self._check_tokens()

    def _check_tokens(self) -> None:
        vocabulary = len(Head.of(self._model).weight)
        used = torch.cat(self._trie.alphabets).unique()
        if int(used[-1]) >= vocabulary:
            raise UserError(
                f"the trie holds token {int(used[-1])}, but the model's vocabulary has "
                f"{vocabulary}; resize its embeddings to the tokenizer, or load its checkpoint"
            )
        other = (used[:1] + 1) % vocabulary
        with torch.inference_mode(), in_eval_mode(self._model):
            check_by_running(self._model, torch.cat([used[:1], other]), used)

    def decode(
        self,
        prompts: Sequence[Sequence[int]],
        exclude: Sequence[History] | None = None,
        only: Sequence[History] | None = None,
        progress: Callable[[int], None] | None = None,
        beams: int | None = None,
    ) -> Ranking:
        """The best items to follow each prompt.

        Args:
            prompts: token ids of each row, without padding.
            exclude: for each row, items that are not to be returned.
            only: for each row, the items that may be returned.
            progress: called with the number of rows done since its last call.
            beams: another number than the engine's own, of at least 1.

        Raises:
            UserError: a prompt is empty or too long, or `exclude` or `only` do not fit.
            RuntimeError: the model computes NaN.
        """
        self._check_prompts(prompts, exclude, only)
        beams = beams or self._beams
        items = np.full((len(prompts), beams), -1, dtype=np.int32)
        scores = np.full((len(prompts), beams), -np.inf, dtype=np.float32)
        with torch.inference_mode(), in_eval_mode(self._model):
            search = Search(
                decoder=self._model.get_decoder(),
                head=Head.of(self._model),
                trie=self._trie,
                beams=beams,
                scoring=self._scoring,
                boolean_mask=self._boolean_mask,
            )
            for rows in self._batches(prompts, beams):
                subset = self._trie.restrict(_take(exclude, rows), _take(only, rows))
                found, found_scores = search.run([prompts[row] for row in rows], subset)
                width = found.shape[1]
                items[rows, :width] = found.cpu().numpy()
                scores[rows, :width] = found_scores.cpu().numpy()
                if progress is not None:
                    progress(len(rows))
        return Ranking(items, scores)

    def draw(
        self,
        prompts: Sequence[Sequence[int]],
        seeds: Tensor,
        *,
        count: int,
        temperature: float = 1.0,
        exclude: Sequence[History] | None = None,
        only: Sequence[History] | None = None,
    ) -> Draw:
        """Items drawn without replacement from the policy at a temperature, over what is allowed.

        Args:
            prompts: token ids of each row, without padding.
            seeds: (rows,) int64; a row draws by its own alone, in any batch. See `row_seeds`.
            count: how many items are drawn for each row.
            temperature: what logits are divided by, above 0.
            exclude: for each row, items that are not to be returned.
            only: for each row, the items that may be returned.

        Raises:
            UserError: a prompt is empty or too long, or `exclude` or `only` do not fit.
            RuntimeError: the model computes NaN.
        """
        self._check_prompts(prompts, exclude, only)
        shape, device = (len(prompts), count), self.device
        items = torch.full(shape, -1, device=device)
        log_probs = torch.full(shape, -torch.inf, dtype=torch.float64, device=device)
        perturbed = log_probs.clone()
        with torch.inference_mode(), in_eval_mode(self._model):
            search = StochasticSearch(
                decoder=self._model.get_decoder(),
                head=Head.of(self._model),
                trie=self._trie,
                count=count,
                temperature=temperature,
                boolean_mask=self._boolean_mask,
            )
            for rows in self._batches(prompts, count):
                subset = self._trie.restrict(_take(exclude, rows), _take(only, rows))
                batch_seeds = seeds[rows].to(device)
                drawn = search.run([prompts[row] for row in rows], subset, batch_seeds)
                items[rows] = drawn.items
                log_probs[rows] = drawn.log_probs
                perturbed[rows] = drawn.perturbed
        return Draw(items, log_probs, perturbed)

    def eligible(
        self,
        items: Tensor,
        exclude: Sequence[History] | None = None,
        only: Sequence[History] | None = None,
    ) -> Tensor:
        """Whether each row may return its `items` (rows, …), on the trie's device.

        Raises:
            UserError: an item is outside the catalogue.
        """
        return are_eligible(self._trie, items, self._trie.restrict(exclude, only))

    @property
    def device(self) -> torch.device:
        """Where the model and the trie are."""
        return self._trie.device

    def _batches(self, prompts: Sequence[Sequence[int]], beams: int) -> list[list[int]]:
        """The rows of each batch."""
        sizes = [after - first for first, after in pairwise(self._trie.level_start)]
        beam_tokens = sum(min(beams, size) for size in sizes[1:-1])
        return plan_batches([len(p) for p in prompts], beam_tokens, self._batch_tokens)

    def _check_prompts(
        self,
        prompts: Sequence[Sequence[int]],
        exclude: Sequence[History] | None,
        only: Sequence[History] | None,
    ) -> None:
        for name, lists in (("exclude", exclude), ("only", only)):
            if lists is not None and len(lists) != len(prompts):
                raise UserError(
                    f"expected {name} for {len(prompts)} prompts, found it for {len(lists)}"
                )
        limit = longest_path(self._model)
        for row, prompt in enumerate(prompts):
            if len(prompt) == 0:
                raise UserError(f"expected at least one token in each prompt, found none in {row}")
            if limit is not None and len(prompt) + self._trie.depth > limit:
                raise UserError(
                    f"expected prompts of at most {limit - self._trie.depth} tokens (the model "
                    f"takes {limit}), found {len(prompt)} in prompt {row}; shorten the histories"
                )


def _take(lists: Sequence[History] | None, rows: list[int]) -> list[History] | None:
    return None if lists is None else [lists[row] for row in rows]


@contextmanager
def in_eval_mode(model: Any) -> Iterator[None]:
    """Without dropout, for as long as the block lasts."""
    training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(training)
