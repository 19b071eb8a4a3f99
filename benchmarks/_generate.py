"""The peer of the decoding engine: `generate` of transformers with a prefix function."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np
import torch

from benchmarks._catalogue import Tokens, allowed_after
from benchmarks._harness import timed
from recllm.decoding.engine import Ranking

#: Scores that differ by less are equal: the two add up in another order.
TOLERANCE = 1e-4


class Generate:
    """Ranks items by `generate` with a prefix function that looks up a dictionary."""

    def __init__(self, model: Any, paths: Sequence[Tokens], beams: int) -> None:
        self._model = model
        self._following = allowed_after(paths)
        self._item_of = {path: item for item, path in enumerate(paths)}
        self._levels = len(paths[0])
        self._beams = beams
        #: Seconds spent in the prefix function, in all.
        self.prefix_seconds = 0.0

    def decode(self, prompts: np.ndarray, batch: int) -> Ranking:
        """The best items for prompts (rows, tokens), `batch` rows at a time."""
        chunks = [self._decode(prompts[i : i + batch]) for i in range(0, len(prompts), batch)]
        return Ranking(
            np.concatenate([chunk.items for chunk in chunks]),
            np.concatenate([chunk.scores for chunk in chunks]),
        )

    def _decode(self, prompts: np.ndarray) -> Ranking:
        tokens = torch.from_numpy(prompts).to(self._model.device)
        output = self._model.generate(
            input_ids=tokens,
            attention_mask=torch.ones_like(tokens),
            num_beams=self._beams,
            num_return_sequences=self._beams,
            max_new_tokens=self._levels,
            do_sample=False,
            length_penalty=0.0,
            prefix_allowed_tokens_fn=partial(self._allowed, prompts.shape[1]),
            return_dict_in_generate=True,
            output_scores=True,
            eos_token_id=None,
            pad_token_id=0,
        )
        paths = output.sequences[:, prompts.shape[1] :].tolist()
        items = np.array([self._item_of[tuple(path)] for path in paths], dtype=np.int32)
        shape = (len(prompts), self._beams)
        scores = output.sequences_scores.float().cpu().numpy()
        return Ranking(items.reshape(shape), scores.reshape(shape))

    def _allowed(self, prompt_length: int, row: int, sequence: torch.Tensor) -> list[int]:
        start = perf_counter()
        allowed = self._following[tuple(sequence[prompt_length:].tolist())]
        self.prefix_seconds += perf_counter() - start
        return allowed


@dataclass(frozen=True)
class PeerResult:
    """What the peer reached at its best batch size.

    Attributes:
        rate: users a second, the median of three runs.
        ranking: of the first users.
        prefix_share: of the time, spent in the prefix function.
    """

    rate: float
    batch: int
    ranking: Ranking
    prefix_share: float

    def __str__(self) -> str:
        return (
            f"generate is best with batches of {self.batch}: {self.rate:.4g} users/s, "
            f"{self.prefix_share:.1%} of the time in its prefix function"
        )


def measure_peer(peer: Generate, prompts: np.ndarray, batches: Sequence[int]) -> PeerResult:
    """Find the best batch size by one batch of each; run it twice more, at last on four users."""
    peer.decode(prompts[:1], batch=1)

    def rate(users: int, batch: int) -> tuple[float, Ranking]:
        seconds, ranking = timed(partial(peer.decode, prompts[:users], batch))
        return users / seconds, ranking

    once: dict[int, float] = {}
    for batch in batches:
        once[batch], _ = rate(min(batch, len(prompts)), batch)
        print(f"generate with batches of {batch}: {once[batch]:.4g} users/s", flush=True)
    best = max(once, key=lambda batch: once[batch])
    print(f"the best batch is {best}", flush=True)
    again, _ = rate(min(best, len(prompts)), best)
    peer.prefix_seconds = 0.0
    last, ranking = rate(min(max(best, 4), len(prompts)), best)
    share = peer.prefix_seconds * last / len(ranking.items)
    return PeerResult(median([once[best], again, last]), best, ranking, share)


def count_swaps(found: Ranking, expected: Ranking) -> int:
    """At how many places the two rankings have different items of equal score.

    Raises:
        SystemExit: they differ in more than that.
    """
    swaps = 0
    for row, (items, scores) in enumerate(zip(found.items, found.scores, strict=True)):
        reference = expected.scores[row]
        score_of = dict(zip(expected.items[row].tolist(), reference.tolist(), strict=True))
        # An item that the peer has not may have tied with the last one that it has.
        theirs = np.array([score_of.get(item, reference[-1]) for item in items.tolist()])
        if max(abs(scores - reference).max(), abs(scores - theirs).max()) > TOLERANCE:
            raise SystemExit(f"decoding: the two rank the items of user {row} differently")
        swaps += int((items != expected.items[row]).sum())
    return swaps


def top_overlap(found: Ranking, expected: Ranking, count: int = 10) -> float:
    """The share of the peer's first `count` items that are among the engine's, over all users."""
    shared = [
        len(set(ours[:count].tolist()) & set(theirs[:count].tolist()))
        for ours, theirs in zip(found.items, expected.items, strict=True)
    ]
    return sum(shared) / (len(shared) * min(count, expected.items.shape[1]))
