"""Constrained beam search over a catalogue: each prompt is run once, beams share its cache."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor

from recllm.catalog.histories import History
from recllm.catalog.trie import Trie
from recllm.catalog.trie_paths import are_eligible
from recllm.decoding.batching import batch_tokens_for, beam_tokens, plan_batches
from recllm.decoding.ranking import Constraints, Ranking, rank_in_batches
from recllm.decoding.scoring import Head, Scoring
from recllm.decoding.search import Search
from recllm.decoding.stochastic import Draw, StochasticSearch
from recllm.decoding.support import (
    check_by_running,
    check_layers,
    check_lengths,
    check_search,
    check_vocabulary,
    longest_path,
    uses_boolean_mask,
)
from recllm.decoding.tree import TokenTree
from recllm.errors import UserError


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
                suits the device and its memory.

        Raises:
            UserError: the model, the trie and the settings do not fit together.
        """
        check_search(trie, beams, scoring)
        check_layers(model)
        self._model = model
        self._boolean_mask = uses_boolean_mask(model)
        self._trie = trie.to(next(model.parameters()).device)
        self._beams = beams
        self._scoring: Scoring = scoring
        self._batch_tokens = batch_tokens or batch_tokens_for(model)
        self._check_tokens()

    def _check_tokens(self) -> None:
        head = Head.of(self._model)
        used = check_vocabulary(self._trie, head)
        other = (used[:1] + 1) % len(head.weight)
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
        start = partial(TokenTree, self._model.get_decoder(), boolean_mask=self._boolean_mask)
        search = Search(start, Head.of(self._model), self._trie, beams, self._scoring)
        with torch.inference_mode(), in_eval_mode(self._model):
            return rank_in_batches(
                search,
                prompts,
                Constraints(exclude, only),
                extra=beam_tokens(self._trie, beams),
                budget=self._batch_tokens,
                progress=progress,
            )

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
            lengths = [len(prompt) for prompt in prompts]
            extra, constraints = beam_tokens(self._trie, count), Constraints(exclude, only)
            for rows in plan_batches(lengths, extra, self._batch_tokens):
                subset = self._trie.restrict(*constraints.take(rows))
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
        check_lengths(prompts, self._trie, longest_path(self._model.config))


@contextmanager
def in_eval_mode(model: Any) -> Iterator[None]:
    """Without dropout, for as long as the block lasts."""
    training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(training)
