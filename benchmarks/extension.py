"""Items that nobody has interacted with yet, recommended by a model that never saw them.

5% of the items, drawn at random, are taken away with all their interactions; a small model is
trained on the rest of the log (leave-one-out, no k-core: nothing else is lost). Then
`recllm sid extend` gives the items SIDs from the encoder and the codebooks as they are, and the
model, not trained further, ranks the whole catalogue.

New rows: every interaction with one of these items whose user had an old item before it. Its
history is what the user did before with old items; the history's items are never returned, by
nobody. The model has been trained on old items of the same users, also on what they did after the
target, but on no interaction with any new item. At most 5,000 rows, drawn at random. hit@k with
95% intervals by bootstrap over users, of

- the model with the new items, and the model without them, which cannot hit;
- the content floor: all items by the cosine between their vector, of the same encoder, and the
  mean of the vectors of the history's last 5 items;
- random choice among all items: its expectation.

All again where only the new items may be returned: `only=`, a request's own subset. That leaves
out how likely the model finds new items beside old ones, and tells where they were placed.

Warm rows: the test rows of the leave-one-out split (old items), before and after the extension.

`bar`: the model against random choice on the new rows, hit@50, with the encoder `fusion`. On
Amazon Beauty, from the folder that RECLLM_DATA names; with --small on the simulated log of `demo`.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray

from benchmarks import _held_out
from benchmarks._harness import Row, parse_small, report
from benchmarks._held_out import Targets
from recllm.catalog.histories import History, Sequences, SplitRows
from recllm.catalog.items import Items
from recllm.cli import pipeline
from recllm.cli.extension import extend_run
from recllm.config.loading import load_recipe
from recllm.config.schema import Recipe
from recllm.data_prep.embed import encode_new, read_vectors
from recllm.metrics import bootstrap_interval, hit, ranks_of
from recllm.models.recommender import Recommender

SEED, RESAMPLES, BEAMS, LAST = 0, 1000, 50, 5
CUTOFFS = (10, 50)

RECIPE = """
extends: base/quickstart
output_dir: {folder}/{encoder}
cache_dir: {folder}/cache
seed: {seed}
data: {{source: files, path: {folder}/log.parquet, items: {folder}/items.parquet, k_core: 0}}
embed: {{encoder: {encoder}, dimensions: 64}}
sid: {{quantizer: rq-kmeans, levels: 3, codes: {codes}, health: {{max_resolution_cost: 1}}}}
model: {{from_scratch: {{hidden: {hidden}, layers: 2, heads: 4, dropout: 0.2}}}}
prompts: {{template: bare}}
sft:
  drop_items: 0.3
  validation_users: {users}
  trainer:
    num_train_epochs: {epochs}
    learning_rate: 2.0e-3
    per_device_train_batch_size: 128
eval: {{exclude_history: true}}
"""


@dataclass(frozen=True)
class Sizes:
    """Of the model and its training; and the most rows of either kind."""

    codes: int = 256
    hidden: int = 128
    epochs: int = 12
    users: int = 1000
    rows: int = 5000


SMALL = Sizes(codes=64, hidden=64, epochs=3, users=50, rows=300)


@dataclass(frozen=True)
class Result:
    """hit@k of one way on some rows, with the intervals where there are some."""

    encoder: str
    case: str
    hits: dict[int, float]
    intervals: dict[int, tuple[float, float]]

    @classmethod
    def of_ranks(
        cls, encoder: str, case: str, ranks: NDArray[np.int32], users: list[str]
    ) -> "Result":
        """From the 0-based rank of each row's target, -1 where it is not among the ranked."""
        rows = {k: hit(ranks, k) for k in CUTOFFS}
        drawn = np.array(users)
        return cls(
            encoder,
            case,
            {k: float(values.mean()) for k, values in rows.items()},
            {k: bootstrap_interval(v, drawn, RESAMPLES, SEED) for k, v in rows.items()},
        )

    @classmethod
    def of_chance(cls, encoder: str, case: str, candidates: NDArray[np.int64]) -> "Result":
        """What random choice among so many candidates of each row is expected to hit."""
        hits = {k: float(np.minimum(k / candidates, 1).mean()) for k in CUTOFFS}
        return cls(encoder, case, hits, {})

    def __str__(self) -> str:
        def told(k: int) -> str:
            if k not in self.intervals:
                return f"{self.hits[k]:.4f} (expected)"
            low, high = self.intervals[k]
            return f"{self.hits[k]:.4f} [{low:.4f}, {high:.4f}]"

        return " | ".join(["", self.encoder, self.case, *map(told, CUTOFFS), ""]).strip()


def train(folder: Path, encoder: str, sizes: Sizes) -> tuple[Recipe, dict[str, Path]]:
    """Train on what is left of the log, and extend the model by what was taken away."""
    path = folder / f"{encoder}.yaml"
    path.write_text(RECIPE.format(folder=folder, encoder=encoder, seed=SEED, **vars(sizes)))
    recipe = load_recipe(str(path))
    artifacts = pipeline.run(recipe, "sft")
    extended = extend_run(recipe.output_dir, folder / "new.parquet")
    print(f"{encoder}: {extended.items:,} items; {extended.counts}", flush=True)
    return recipe, {name: artifact.path for name, artifact in artifacts.items()}


def content_ranks(
    vectors: NDArray[np.float32],
    histories: list[list[int]],
    targets: NDArray[np.int64],
    allowed: NDArray[np.bool_],
) -> NDArray[np.int32]:
    """The rank of each target by the cosine to the mean of the history's last vectors.

    Of equals the first in the catalogue is the better.
    """
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit = vectors / np.where(lengths > 0, lengths, 1)
    found = np.empty(len(histories), dtype=np.int32)
    for row, history in enumerate(histories):
        scores = unit @ vectors[history[-LAST:]].mean(axis=0)
        scores[~allowed] = -np.inf
        scores[history] = -np.inf
        target = targets[row]
        better = scores > scores[target]
        better[:target] |= scores[:target] == scores[target]
        found[row] = better.sum()
    return found


def new_rows(
    recipe: Recipe, stages: dict[str, Path], rows: Targets, before: Recommender, after: Recommender
) -> Iterator[Result]:
    """All ways on the rows whose targets are new."""
    encoder, users = recipe.embed.encoder.name, rows.user_ids
    old = len(before.items)
    histories = [after.items.index_of(history) for history in rows.histories]
    targets = np.array(after.items.index_of(rows.item_ids))
    later = Items(after.items.table.slice(old))
    new = np.arange(old, len(after.items))
    given: list[History] = list(histories)

    def ranked(
        recommender: Recommender, only: NDArray[np.int64] | None = None
    ) -> NDArray[np.int32]:
        chosen = None if only is None else [only.astype(np.int32)] * len(given)
        ranking = recommender.rank(given, beams=BEAMS, exclude_history=True, only=chosen)
        return ranks_of(ranking.items, targets)

    vectors = np.concatenate(
        [read_vectors(stages["embed"]), encode_new(recipe, later, stages["embed"]).vectors]
    )
    everything = np.ones(len(after.items), dtype=bool)
    seen = np.array([len(set(history)) for history in histories])
    yield Result.of_ranks(encoder, "new rows: model with the new items", ranked(after), users)
    # An item has the same index in both catalogues, and the smaller one ends before the new ones.
    yield Result.of_ranks(encoder, "new rows: model without them", ranked(before), users)
    by_content = content_ranks(vectors, histories, targets, everything)
    yield Result.of_ranks(encoder, "new rows: content floor", by_content, users)
    yield Result.of_chance(encoder, "new rows: random choice", len(after.items) - seen)
    yield Result.of_ranks(encoder, "new items alone: model", ranked(after, new), users)
    by_content = content_ranks(vectors, histories, targets, np.arange(len(everything)) >= old)
    yield Result.of_ranks(encoder, "new items alone: content floor", by_content, users)
    yield Result.of_chance(encoder, "new items alone: random choice", np.full(len(rows), len(new)))


def warm_rows(
    recipe: Recipe, stages: dict[str, Path], before: Recommender, after: Recommender, most: int
) -> Iterator[Result]:
    """The test rows of the split, whose targets are old items."""
    rows = SplitRows.read(stages["split"], "test", Sequences.read(stages["split"]))
    chosen = some(len(rows), most)
    histories = [rows.history(row) for row in chosen]
    users = [rows.user_ids[row] for row in chosen]
    for case, recommender in (("before", before), ("after", after)):
        ranking = recommender.rank(histories, beams=BEAMS, exclude_history=True)
        ranks = ranks_of(ranking.items, rows.target[chosen])
        name = f"warm rows: {case} the extension"
        yield Result.of_ranks(recipe.embed.encoder.name, name, ranks, users)


def some(rows: int, most: int) -> NDArray[np.int64]:
    """At most so many of the rows, drawn at random."""
    drawn = np.random.default_rng(SEED).permutation(rows)[:most]
    return np.sort(drawn)


def compare(results: list[Result]) -> Iterator[Row]:
    """What the results of each encoder say beside each other, as far as both hit anything."""
    of = {(r.encoder, r.case): r.hits for r in results}
    pairs = {
        "bar": ("fusion", "new rows: model with the new items", "new rows: random choice", 50),
        "lsa, new rows, against random": (
            "lsa", "new rows: model with the new items", "new rows: random choice", 50),
    }  # fmt: skip
    for encoder in ("fusion", "lsa"):
        for what, peer in (("new rows: model with the new items", "new rows: content floor"),
                           ("new items alone: model", "new items alone: content floor"),
                           ("new items alone: model", "new items alone: random choice"),
                           ("warm rows: after the extension", "warm rows: before the extension"),
                           ):  # fmt: skip
            for k in CUTOFFS:
                pairs[f"{encoder}, {what} / {peer.partition(': ')[2]}, hit@{k}"] = (
                    encoder, what, peer, k)  # fmt: skip
    for case, (encoder, what, peer, k) in pairs.items():
        ours, theirs = of[encoder, what][k], of[encoder, peer][k]
        if ours and theirs:
            yield Row(case, ours, theirs, f"hit@{k}")


def main() -> None:
    """Measure both encoders on the same held-out items."""
    small = parse_small(__doc__)
    sizes = SMALL if small else Sizes()
    with TemporaryDirectory() as temporary:
        folder = Path(temporary)
        log = _held_out.read_simulated(folder / "cache") if small else _held_out.read_beauty()
        targets = _held_out.take_away(log, folder, SEED)
        rows = targets.take(some(len(targets), sizes.rows))
        print(f"{len(log.items):,} items, {_held_out.SHARE:.0%} of them new; {len(rows):,} rows")
        results: list[Result] = []
        for encoder in ("fusion", "lsa"):
            recipe, stages = train(folder, encoder, sizes)
            before, after = (
                Recommender.load(recipe.output_dir / name) for name in ("model", "extended")
            )
            results += new_rows(recipe, stages, rows, before, after)
            results += warm_rows(recipe, stages, before, after, sizes.rows)
    print("\n| encoder | case | " + " | ".join(f"hit@{k}" for k in CUTOFFS) + " |")
    print("| --- | --- | " + " | ".join("---:" for _ in CUTOFFS) + " |")
    print("\n".join(map(str, results)))
    report("extension", list(compare(results)))


if __name__ == "__main__":
    main()
