"""The decoding engine against `generate` of transformers, on the same random weights, on CPU.

Both rank by the model's own probability of the SID, stop after its last token and do not score
EOS. Scoring by level or trie ranks by another probability, which `generate` has no setting for:
its figure is the same in every case.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from statistics import median
from time import perf_counter
from typing import Any, get_args

import numpy as np
import torch

from benchmarks._catalogue import Tokens, allowed_after, random_sids, sid_paths, sid_token_ids
from benchmarks._harness import Row, median_seconds, parse_small, report, timed
from recllm.catalog.trie import Trie
from recllm.decoding.engine import Ranking, TreeDecoder
from recllm.decoding.scoring import Scoring

LEVELS, CODES = 3, 256
#: Scores that differ by less are equal: the two add up in another order.
TOLERANCE = 1e-4


@dataclass(frozen=True)
class Sizes:
    """The model, the catalogue and the work."""

    layers: int
    hidden: int
    heads: int
    intermediate: int
    vocabulary: int
    items: int
    prompt: int
    beams: int
    users: int
    peer_batches: tuple[int, ...]


#: Qwen2.5-0.5B, and the catalogue of MiniOneRec's Industrial_and_Scientific.
FULL = Sizes(24, 896, 14, 4864, 151_936, 3_686, 150, 50, users=8, peer_batches=(1, 4, 8))
SMALL = Sizes(2, 64, 4, 128, 2_000, 500, 20, 10, users=4, peer_batches=(4,))


def make_model(sizes: Sizes) -> Any:
    """A random Qwen2 model with tied embeddings, in fp32, its vocabulary extended by the SIDs."""
    from transformers import Qwen2Config, Qwen2ForCausalLM

    torch.manual_seed(0)
    config = Qwen2Config(
        vocab_size=sizes.vocabulary + LEVELS * CODES,
        hidden_size=sizes.hidden,
        intermediate_size=sizes.intermediate,
        num_hidden_layers=sizes.layers,
        num_attention_heads=sizes.heads,
        num_key_value_heads=2,
        tie_word_embeddings=True,
    )
    return Qwen2ForCausalLM(config).eval()


class Generate:
    """Ranks items by `generate` with a prefix function that looks up a dictionary."""

    def __init__(self, model: Any, paths: Sequence[Tokens], beams: int) -> None:
        self._model = model
        self._following = allowed_after(paths)
        self._item_of = {path: item for item, path in enumerate(paths)}
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
        tokens = torch.from_numpy(prompts)
        output = self._model.generate(
            input_ids=tokens,
            attention_mask=torch.ones_like(tokens),
            num_beams=self._beams,
            num_return_sequences=self._beams,
            max_new_tokens=LEVELS,
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
        return Ranking(items.reshape(shape), output.sequences_scores.numpy().reshape(shape))

    def _allowed(self, prompt_length: int, row: int, sequence: torch.Tensor) -> list[int]:
        start = perf_counter()
        allowed = self._following[tuple(sequence[prompt_length:].tolist())]
        self.prefix_seconds += perf_counter() - start
        return allowed


def measure_peer(
    peer: Generate, prompts: np.ndarray, batches: Sequence[int]
) -> tuple[float, Ranking]:
    """Users a second of the best batch size, and the ranking.

    Each size is run once, and the best one twice more for a median.
    """
    peer.decode(prompts[:1], batch=1)
    once: dict[int, float] = {}
    for batch in batches:
        once[batch], _ = timed(partial(peer.decode, prompts, batch))
        print(f"generate with batches of {batch}: {len(prompts) / once[batch]:.4g} users/s")
    best = min(once, key=lambda batch: once[batch])
    peer.prefix_seconds = 0.0
    second, _ = timed(partial(peer.decode, prompts, best))
    third, ranking = timed(partial(peer.decode, prompts, best))
    share = peer.prefix_seconds / (second + third)
    print(f"the best is {best}, with {share:.1%} of its time in the prefix function")
    return len(prompts) / median([once[best], second, third]), ranking


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


def main() -> None:
    """Measure the three scorings, and check that `vocab`, the bar, ranks as `generate` does."""
    sizes = SMALL if parse_small(__doc__) else FULL
    model = make_model(sizes)
    codes = random_sids(sizes.items, LEVELS, CODES)
    token_ids = sid_token_ids(LEVELS, CODES, first=sizes.vocabulary)
    rng = np.random.default_rng(0)
    prompts = rng.integers(0, sizes.vocabulary, (sizes.users, sizes.prompt))
    print(f"{sizes.users} users, {sizes.beams} beams; {sizes}")

    peer = Generate(model, sid_paths(codes, token_ids), sizes.beams)
    rate, expected = measure_peer(peer, prompts, sizes.peer_batches)

    trie, rows = Trie.from_sids(codes, token_ids), []
    for scoring in get_args(Scoring):
        engine = TreeDecoder(model, trie, beams=sizes.beams, scoring=scoring)
        taken = median_seconds(partial(engine.decode, prompts.tolist()))
        case = "bar" if scoring == "vocab" else scoring
        rows.append(Row(case, sizes.users / taken, rate, "users/s"))

    ranking = TreeDecoder(model, trie, beams=sizes.beams).decode(prompts.tolist())
    swaps = count_swaps(ranking, expected)
    print(
        f"the same {ranking.items.size} items in the same order, "
        f"but for {swaps} swapped among scores equal within {TOLERANCE:g}"
    )
    report("decoding", rows)


if __name__ == "__main__":
    main()
