"""Every way of indexing items on Amazon Beauty: the SIDs, and a small model trained on them.

`amazon-beauty`'s recipe with `EPOCHS` epochs in place of 60, so that a model trains in less than
ten minutes on a core; two train at a time. All that differs is how items are indexed, unless a
row says otherwise. Figures are of all validation rows, history excluded, with 95% intervals by
bootstrap over users; `title` ranks 1,000 of them, drawn at random. Of the best three, by ndcg@10,
two more seeds are run (a seed decides the SIDs, the weights at the start, and the order of the
rows); the best of these over its seeds is chosen, and that alone is run on test. `bar`: its hit@10
there, the mean over the seeds, against co-visitation's.

`semantic` and `title` have items of different lengths: they train on one target a row, and see a
part of the rows in the time. Left out is `import`, for which there is nothing to import.

Needs RECLLM_DATA, a folder with `amazon14-beauty`. Everything is kept in `runs/indexing`: a run
that is stopped goes on where it was. With --small, the simulated log of the demo and one epoch.
"""

import os
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import ExitStack
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from benchmarks._harness import Row, parse_small, report
from benchmarks._small_models import METRICS, Trained, folder_of, head, rank_baselines, train
from recllm.catalog.split_names import SplitName

EPOCHS = 5
WORKERS = 2
FOLDER = Path("runs/indexing")
SEEDS, BEST = (1, 2), 3
BEAMS = 20
#: Nothing is refused here for being unhealthy.
LIMITS = {
    "min_utilisation": 0,
    "max_collision_rate": 1,
    "max_resolution_cost": 1000,
    "max_prefix_traffic": 1,
}
#: What items of different lengths need: their ends are trained, so one target a row. A row is as
#: long as a sequence is otherwise, so that they see a part of the rows in as much time.
DIFFERENT_LENGTHS = (
    "sft.targets=last", "sft.loss=vocab", "eval.scoring=vocab", "sft.drop_items=0",
)  # fmt: skip
TITLE = "title, histories of 5, 50 steps, 1,000 rows"
#: Cases that rank a part of the rows: a title is long, and a row of it takes a quarter of a second.
SAMPLES = {TITLE: 1000}
CASES: dict[str, tuple[str, ...]] = {
    "rq-kmeans": ("sid.quantizer=rq-kmeans",),
    "rq-kmeans-balanced": ("sid.quantizer=rq-kmeans-balanced",),
    "rq-kmeans-plus": ("sid.quantizer=rq-kmeans-plus",),
    "rq-vae": ("sid.quantizer=rq-vae",),
    "rq-vae, Sinkhorn 0.003": ("sid.quantizer=rq-vae", "sid.sinkhorn_epsilon=0.003"),
    "random": ("sid.quantizer=random",),
    "sequential": ("sid.quantizer=sequential",),
    "collaborative": ("sid.quantizer=collaborative",),
    "hybrid": ("sid.quantizer=hybrid",),
    "rq-kmeans, lsa alone": ("sid.quantizer=rq-kmeans", "embed.encoder=lsa"),
    "rq-kmeans, cooccurrence alone": ("sid.quantizer=rq-kmeans", "embed.encoder=cooccurrence"),
    "semantic, 6 levels, 500 steps": (
        "sid.quantizer=semantic",
        "sid.levels=6",
        "sft.trainer.max_steps=500",
        *DIFFERENT_LENGTHS,
    ),
    TITLE: (
        "sid.quantizer=title",
        "prompts.max_history=5",
        "sft.trainer.max_steps=50",
        *DIFFERENT_LENGTHS,
    ),
}


def settings(small: bool, folder: Path) -> tuple[str, list[str]]:
    """The recipe that all cases share, and what is set in it; `folder` keeps what is built."""
    limits = [f"sid.health.{name}={limit}" for name, limit in LIMITS.items()]
    common = [*limits, f"cache_dir={folder / 'cache'}", "sft.validation_users=1000"]
    if small:
        return "demo", [*common, "data.users=400", "sft.trainer.num_train_epochs=1"]
    data = os.environ.get("RECLLM_DATA")
    if not data:
        raise SystemExit("indexing: set RECLLM_DATA to a folder with amazon14-beauty, or --small")
    halves = [f"sft.trainer.{name}_steps=0.5" for name in ("eval", "save")]
    log = f"data.path={Path(data) / 'amazon14-beauty'}"
    return "amazon-beauty", [*common, *halves, log, f"sft.trainer.num_train_epochs={EPOCHS}"]


def share(health: Mapping[str, Any], name: str, places: int) -> str:
    """A figure of the health report in percent; empty where it has none."""
    return "" if health.get(name) is None else f"{health[name]:.{places}%}"


def line(case: str, trained: Trained) -> str:
    """One row of the table."""
    health = trained.health
    levels = health.get("levels", ())
    cells = [
        case,
        share(health, "unexplained_share", 1),
        share(health, "collision_rate", 1),
        share(health, "resolution_cost", 2),
        ", ".join(f"{level['utilisation']:.2f}" for level in levels),
        *(trained.cell(metric) for metric in METRICS),
        f"{trained.seconds / 60:.1f}" if health else "",
    ]
    return "| " + " | ".join(cells) + " |"


def over_seeds(case: str, runs: list[Trained]) -> str:
    """One row of the second table: means over seeds, and the standard deviation."""
    cells = []
    for metric in METRICS:
        means = [trained.mean(metric) for trained in runs]
        cells.append(f"{np.mean(means):.4f} ± {np.std(means, ddof=1):.4f}")
    return f"| {case} | {' | '.join(cells)} |"


class Models:
    """Trains models, `WORKERS` at a time; one that was trained before is not trained again."""

    def __init__(self, pool: ProcessPoolExecutor, small: bool, folder: Path) -> None:
        self._pool = pool
        self._folder = folder
        self._threads = max((os.cpu_count() or 1) // WORKERS, 1)
        self._recipe, self._common = settings(small, folder)
        self.cases = dict(list(CASES.items())[:2]) if small else CASES

    def start(self, case: str, seed: int, split: SplitName = "valid") -> Future[Trained]:
        """A model, and how it ranks the rows of a split."""
        folder = f"output_dir={self._folder / folder_of(case, seed)}"
        overrides = [*self._common, folder, f"seed={seed}", *self.cases[case]]
        sample = SAMPLES.get(case)
        return self._pool.submit(
            train, self._recipe, overrides, split, BEAMS, self._threads, sample=sample
        )

    def baselines(self, split: SplitName) -> dict[str, Trained]:
        """Those on the same rows."""
        folder = f"output_dir={self._folder / 'baselines'}"
        return rank_baselines(self._recipe, [*self._common, folder], split)


def every_way(models: Models) -> dict[str, Trained]:
    """Print the first table; the models with seed 0."""
    print(head("", "unexplained", "collisions", "resolution", "utilisation", *METRICS, "minutes"))
    for name, ranked in models.baselines("valid").items():
        print(line(name, ranked), flush=True)
    started = {case: models.start(case, 0) for case in models.cases}
    for case, future in started.items():
        print(line(case, future.result()), flush=True)
    return {case: future.result() for case, future in started.items()}


def best_ways(models: Models, first: Mapping[str, Trained]) -> str:
    """Print the second table; the best way over all seeds."""
    best = sorted(first, key=lambda case: -first[case].mean("ndcg@10"))[:BEST]
    more = {case: [models.start(case, seed) for seed in SEEDS] for case in best}
    print(head(f"seeds 0, {', '.join(map(str, SEEDS))}", *METRICS))
    means = {}
    for case, futures in more.items():
        runs = [first[case], *(future.result() for future in futures)]
        means[case] = np.mean([trained.mean("ndcg@10") for trained in runs])
        print(over_seeds(case, runs), flush=True)
    return max(means, key=lambda case: means[case])


def on_test(models: Models, chosen: str) -> Iterator[Row]:
    """Print the third table; the bar."""
    print(head(f"test, chosen: {chosen}", *METRICS))
    baselines = models.baselines("test")
    for name, ranked in baselines.items():
        print(f"| {name} | {' | '.join(ranked.cell(metric) for metric in METRICS)} |")
    futures = {seed: models.start(chosen, seed, "test") for seed in (0, *SEEDS)}
    runs = {seed: future.result() for seed, future in futures.items()}
    for seed, trained in runs.items():
        print(f"| seed {seed} | {' | '.join(trained.cell(metric) for metric in METRICS)} |")
    for metric, case in zip(METRICS, ("bar", "the same by its other metric"), strict=True):
        mean = float(np.mean([trained.mean(metric) for trained in runs.values()]))
        yield Row(case, mean, baselines["covisitation"].mean(metric), metric)


def main() -> None:
    """Train all, print the tables."""
    small = parse_small(__doc__)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory())) if small else FOLDER
        pool = ProcessPoolExecutor(WORKERS, mp_context=get_context("spawn"))
        models = Models(stack.enter_context(pool), small, folder)
        report("indexing", list(on_test(models, best_ways(models, every_way(models)))))


if __name__ == "__main__":
    main()
