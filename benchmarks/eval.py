"""The engine vllm against vLLM's own beam search under a constraint, and what ranking costs.

Same model, same prompts, same machine, one after the other in one process. The model is random,
of the size of the demo's; `bar` has the vocabulary of Qwen2.5, from which most recommenders are
tuned, and scores over the whole of it, as is the default. The peer normalises over what its
grammar allows, as scoring `trie` does. The engine transformers stands beside.

Then what a row costs the engine transformers as beams, prompts, items and users grow, and, where
RECLLM_DATA has it, an evaluation of MiniOneRec's Industrial and Scientific as users run it. Where
there is a GPU, the last table is of it: see `benchmarks.decoding` for `generate` there.
"""

import tempfile
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch

from benchmarks._backbone import FOUR_LAYERS, TINY, Shape, make_model
from benchmarks._catalogue import random_sids, sid_token_ids
from benchmarks._harness import Row, median_seconds, parse_small, report, timed
from benchmarks._industrial import report_industrial
from benchmarks._vllm_peer import StockBeamSearch
from recllm.catalog.items import Items
from recllm.catalog.sids import SidIndex
from recllm.catalog.trie import Trie
from recllm.config.schema import EvalSection
from recllm.decoding.engine import TreeDecoder
from recllm.decoding.ranking import Ranking
from recllm.decoding.scoring import Scoring
from recllm.eval.engines import Engine, Known, Questions
from recllm.eval.engines.transformers import Transformers
from recllm.eval.engines.vllm import Vllm
from recllm.models.recommender import Recommender
from recllm.models.tokenizers import add_sid_tokens, train_tokenizer
from recllm.prompts.renderer import Renderer
from recllm.prompts.tasks import CatalogText
from recllm.prompts.template import Template

#: Of words, before the tokens that fill a vocabulary up.
WORDS = 300


@dataclass(frozen=True)
class Work:
    """What is ranked; the peer, being slow, ranks the first `peer_rows` of the rows."""

    items: int = 3_686  # as in MiniOneRec's Industrial_and_Scientific
    codes: int = 256
    prompt: int = 150
    beams: int = 50
    rows: int = 48
    peer_rows: int = 8
    vocabulary: int = 151_936


SMALL = Work(items=200, codes=16, prompt=40, beams=5, rows=4, peer_rows=4, vocabulary=2_000)


class Contest:
    """One checkpoint and the questions that all are asked."""

    def __init__(self, work: Work, folder: Path) -> None:
        self.work, self.folder = work, folder
        codes = random_sids(work.items, 3, work.codes)
        ids = [f"item {number}" for number in range(work.items)]
        self.sids = SidIndex(ids, codes, work.codes)
        tokenizer = train_tokenizer(["words for a tokenizer of bytes"], WORDS)
        filler = work.vocabulary - len(tokenizer)
        tokenizer.add_tokens([f"<filler {number}>" for number in range(filler)])
        known = len(tokenizer)
        add_sid_tokens(tokenizer, self.sids)
        model = make_model(Shape(3, 96, 3, 384, known, 3), len(tokenizer) - known)
        with torch.no_grad():  # random weights are nearly indifferent otherwise
            for parameter in model.parameters():
                parameter.mul_(3 if parameter.ndim > 1 else 1)
        catalog = CatalogText(Items(pa.table({"item_id": ids, "title": ids})), self.sids)
        renderer = Renderer(Template.load("plain"), catalog, tokenizer, 10)
        Recommender(model, renderer, "vocab", False).save(folder)
        rng = np.random.default_rng(0)
        # The last ones are for warming up.
        self.prompts = rng.integers(2, 250, (work.rows + 2, work.prompt)).tolist()

    def rate(self, engine: Engine, scoring: Scoring) -> tuple[float, Ranking]:
        """Rows a second, and the ranking."""
        work = self.work
        section = EvalSection(engine=None, beams=work.beams, cutoffs=(1,), scoring=scoring)
        known = Known(np.zeros(work.items, np.int64), lambda: _nothing(), self.folder)
        with closing(engine.open(self.folder, known, section, "float32")) as ranker:
            ranker.rank(Questions(self.prompts[-2:], None))
            asked = Questions(self.prompts[: work.rows], None)
            seconds, ranking = timed(lambda: ranker.rank(asked))
        return work.rows / seconds, ranking

    def peer(self) -> tuple[float, float]:
        """Rows a second, and the share of its paths that are items."""
        work = self.work
        cache = 2**24 if work is SMALL else 2**28
        peer = StockBeamSearch(self.folder, self.sids.texts(), work.prompt, work.beams, cache)
        with closing(peer):
            peer.rank(self.prompts[-2:])
            seconds, found = timed(lambda: peer.rank(self.prompts[: work.peer_rows]))
        valid = sum(min(path) >= work.vocabulary for paths, _ in found for path in paths)
        return work.peer_rows / seconds, valid / sum(len(paths) for paths, _ in found)


def _nothing() -> tuple[Questions, np.ndarray]:
    raise AssertionError("no engine here chooses anything on validation")


def contest(work: Work, small_vocabulary: int) -> Iterator[Row]:
    """The rows of the table, of both vocabularies."""
    for vocabulary in (work.vocabulary, small_vocabulary):
        sized = work if vocabulary == work.vocabulary else replace(work, vocabulary=vocabulary)
        large = sized is work
        with tempfile.TemporaryDirectory() as folder:
            run = Contest(sized, Path(folder))
            expected, ranked = run.rate(Transformers(), "vocab")
            rate, found = run.rate(Vllm(), "vocab")
            peer, valid = run.peer()
            same = float((found.items[:, :10] == ranked.items[:, :10]).all(axis=1).mean())
            print(
                f"vocabulary {vocabulary:,}: top 10 of both engines equal on {same:.1%} of rows, "
                f"scores within {np.abs(found.scores - ranked.scores).max():.1g}; of the peer's "
                f"paths {valid:.0%} are items, the others spell SIDs by other tokens",
                flush=True,
            )
            named = "" if large else f", vocabulary {vocabulary:,}"
            yield Row("bar" if large else f"scoring vocab{named}", rate, peer, "rows/s")
            for scoring in ("level", "trie"):
                yield Row(f"scoring {scoring}{named}", run.rate(Vllm(), scoring)[0], peer, "rows/s")
            yield Row(f"engine transformers{named}", expected, peer, "rows/s")


@dataclass(frozen=True)
class Load:
    """What the engine transformers ranks in the table of costs."""

    beams: int = 50
    prompt: int = 150
    items: int = 3_686
    users: int = 32


def costs(shape: Shape, load: Load) -> None:
    """Print milliseconds a row as one size after the other grows."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = make_model(shape, 3 * 256, device)
    print(f"| engine transformers, {shape.layers} layers of {shape.hidden}, {device} | ms a row |")
    print("| --- | ---: |")
    grown = {
        "beams": (10, 20, 50, 100),
        "prompt": (50, 150, 500),
        "items": (1_000, 10_000, 100_000),
        "users": (8, 32, 128),
    }
    for name, sizes in grown.items():
        for size in sizes:
            one = replace(load, **{name: size})
            tokens = sid_token_ids(3, 256, shape.vocabulary)
            trie = Trie.from_sids(random_sids(one.items, 3, 256), tokens)
            decoder = TreeDecoder(model, trie, beams=one.beams)
            rng = np.random.default_rng(0)
            prompts = rng.integers(0, shape.vocabulary, (one.users, one.prompt)).tolist()
            seconds = median_seconds(lambda d=decoder, p=prompts: d.decode(p))
            print(f"| {name} {size:,} | {1000 * seconds / one.users:.2f} |", flush=True)


def main() -> None:
    """Run both, print the tables."""
    small = parse_small(__doc__)
    rows = list(contest(SMALL, 1_000) if small else contest(Work(), 1_068))
    costs(TINY if small else FOUR_LAYERS, Load(5, 20, 300, 4) if small else Load())
    if not small:
        with tempfile.TemporaryDirectory() as folder:
            report_industrial(Path(folder))
    report("eval", rows)


if __name__ == "__main__":
    main()
