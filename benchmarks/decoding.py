"""The decoding engine against `generate` of transformers, on the same random weights.

Both rank by the model's own probability of the SID, stop after its last token and do not score
EOS. Scoring by level or trie ranks by another probability, which `generate` has no setting for:
its figure is the same in every case. `bar`, `level` and `trie` have the shape of Qwen2.5-0.5B on
CPU in fp32; then a model of four layers shows how the ratio changes with the work; and where
there is a GPU, both run on it in bf16.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, get_args

import numpy as np
import torch

from benchmarks._backbone import (
    FOUR_LAYERS,
    QWEN_05B,
    QWEN_15B,
    TINY,
    Shape,
    engine_operations,
    make_model,
    peak_operations,
)
from benchmarks._catalogue import random_sids, sid_paths, sid_token_ids
from benchmarks._generate import Generate, PeerResult, count_swaps, measure_peer, top_overlap
from benchmarks._harness import Row, median_seconds, parse_small, report
from recllm.catalog.trie import Trie
from recllm.decoding.engine import Ranking, TreeDecoder
from recllm.decoding.scoring import Scoring


@dataclass(frozen=True)
class Work:
    """What is ranked: the catalogue, the prompts, and the peer's batch sizes to choose from."""

    items: int = 3_686  # as in MiniOneRec's Industrial_and_Scientific
    levels: int = 3
    codes: int = 256
    prompt: int = 150
    beams: int = 50
    users: int = 8
    peer_batches: tuple[int, ...] = (1, 4, 8)


SMALL = Work(items=500, prompt=20, beams=10, users=4, peer_batches=(4,))


class Contest:
    """The engine and its peer with one model, one catalogue and the same prompts."""

    def __init__(self, model: Any, shape: Shape, work: Work) -> None:
        self.model, self.shape, self.work = model, shape, work
        self.codes = random_sids(work.items, work.levels, work.codes)
        self.token_ids = sid_token_ids(work.levels, work.codes, first=shape.vocabulary)
        self.trie = Trie.from_sids(self.codes, self.token_ids)
        rng = np.random.default_rng(0)
        self.prompts = rng.integers(0, shape.vocabulary, (work.users, work.prompt))

    def engine(self, scoring: Scoring = "vocab") -> TreeDecoder:
        """The engine as it comes."""
        return TreeDecoder(self.model, self.trie, beams=self.work.beams, scoring=scoring)

    def engine_rate(self, scoring: Scoring = "vocab") -> float:
        """Users a second."""
        engine, prompts = self.engine(scoring), self.prompts.tolist()
        return self.work.users / median_seconds(partial(engine.decode, prompts))

    def peer(self) -> PeerResult:
        """The peer at its best; says which that is."""
        paths = sid_paths(self.codes, self.token_ids)
        generate = Generate(self.model, paths, self.work.beams)
        result = measure_peer(generate, self.prompts, self.work.peer_batches)
        print(result, flush=True)
        return result

    def ranking_beside(self, expected: PeerResult) -> Ranking:
        """The engine's ranking of the users that the peer ranked."""
        return self.engine().decode(self.prompts[: len(expected.ranking.items)].tolist())

    def check(self, expected: PeerResult) -> None:
        """Hold the engine's ranking to the peer's, and say how many equal scores swapped."""
        ranking = self.ranking_beside(expected)
        swaps = count_swaps(ranking, expected.ranking)
        print(f"the same {ranking.items.size} items in order, {swaps} swapped among equal scores")


def scorings(shape: Shape, work: Work) -> Iterator[Row]:
    """`vocab` (the bar), `level` and `trie` against the peer."""
    contest = Contest(make_model(shape, work.levels * work.codes), shape, work)
    peer = contest.peer()
    contest.check(peer)
    for scoring in get_args(Scoring):
        name = "bar" if scoring == "vocab" else scoring
        yield Row(name, contest.engine_rate(scoring), peer.rate, "users/s")


def scaling(shape: Shape, base: Work) -> Iterator[Row]:
    """`vocab` as prompts, beams, catalogue and depth grow, one at a time."""
    cases = {f"{shape.layers} layers, {base.prompt} tokens, {base.beams} beams": base}
    cases |= {f"prompt of {n}": replace(base, prompt=n) for n in (base.prompt // 3, 500)}
    cases |= {f"{n} beams": replace(base, beams=n) for n in (base.beams // 5, 2 * base.beams)}
    cases |= {f"{n:,} items": replace(base, items=n) for n in (100_000, 1_000_000)}
    cases |= {f"{n} levels": replace(base, levels=n) for n in (4, 6)}
    for name, work in cases.items():
        print(name, flush=True)
        contest = Contest(make_model(shape, work.levels * work.codes), shape, work)
        peer = contest.peer()
        contest.check(peer)
        yield Row(name, contest.engine_rate(), peer.rate, "users/s")


def half_precision(name: str, shape: Shape, work: Work, device: str) -> Iterator[Row]:
    """`vocab` in bf16: users a second, and the share of the device's peak."""
    dtype = torch.bfloat16
    contest = Contest(make_model(shape, work.levels * work.codes, device, dtype), shape, work)
    peer, rate = contest.peer(), contest.engine_rate()
    needed = engine_operations(shape, work.prompt, work.beams, work.levels, work.codes)
    share = rate * needed / peak_operations(device, dtype)
    overlap = top_overlap(contest.ranking_beside(peer), peer.ranking)
    print(f"{name}, bf16: {share:.0%} of the peak; the first 10 overlap by {overlap:.1%}")
    yield Row(f"{name}, bf16, {device}", rate, peer.rate, "users/s")


def measure(small: bool) -> Iterator[Row]:
    """Every case that this machine can run."""
    if small:
        yield from scorings(TINY, SMALL)
        yield from half_precision("tiny", TINY, SMALL, "cpu")
        return
    yield from scorings(QWEN_05B, Work())
    yield from scaling(FOUR_LAYERS, Work(users=4, peer_batches=(4,)))
    if torch.cuda.is_available():
        work = Work(users=256, peer_batches=(8, 32, 64))
        yield from half_precision("Qwen2.5-0.5B shape", QWEN_05B, work, "cuda")
        yield from half_precision("Qwen2.5-1.5B shape", QWEN_15B, work, "cuda")


def main() -> None:
    """Print the figures of every case."""
    rows = []
    for row in measure(parse_small(__doc__)):
        print(f"{row.case}: {row.recllm:.4g} users/s, {row.ratio:.3g} times the peer", flush=True)
        rows.append(row)
    report("decoding", rows)


if __name__ == "__main__":
    main()
