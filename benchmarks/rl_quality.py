"""Does RL raise the ranking of a fine-tuned model? On Amazon Beauty, three seeds, and MovieLens.

A small model from scratch is fine-tuned (the recipe `amazon-beauty`, fewer epochs), and trained on
by each way of reinforcement learning below, and by the same number of further steps of
fine-tuning at each learning rate: the control. Of both the best on validation, with seed 0, is
then run with all seeds and ranked on test, in full and with history excluded: 95% intervals by
bootstrap over users, and of the differences paired by row; the baselines stand beside them. The
seed decides the SIDs too. The chosen way is also run on MovieLens, one seed.

Every training keeps its best step by ndcg@10 on validation users; of RL, but not of the control,
the checkpoint that it started from is among them. `bar`: ndcg@10 of the chosen way against the
fine-tuned model, mean over the seeds.

Needs RECLLM_DATA, a folder with `amazon14-beauty` and `movielens-latest-small`. Everything is kept
in `runs/rl-quality`: a run that is stopped goes on where it was. One process a core that it may
use. With --small, the simulated log of the demo, two ways and one seed.
"""

import json
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from benchmarks._harness import Row, parse_small, report
from benchmarks._small_models import head
from recllm.metrics.bootstrap import bootstrap_interval, paired_interval
from recllm.metrics.ranking import compute

FOLDER = Path("runs/rl-quality")
METRICS = ("hit@10", "ndcg@10", "hit@50")
CHOSEN_BY = "eval_ndcg@10"
TUNED = "fine-tuned"

#: What every way has, but for what it says itself.
RL = (
    "rl.generations=16",
    "rl.validation_users=10000",
    "rl.patience=100",
    "rl.trainer.learning_rate=3.0e-5",
    "rl.trainer.lr_scheduler_type=cosine",
    "rl.trainer.warmup_steps=0.05",
    "rl.trainer.max_grad_norm=0.3",
    "rl.trainer.logging_steps=10",
    "rl.trainer.per_device_train_batch_size=256",
)
#: The ways; the first is MiniOneRec's.
WAYS: dict[str, tuple[str, ...]] = {
    "beam, rank": ("rl.rollout=beam", "rl.rewards={rank: 1.0}", "rl.trainer.beta=1.0e-3"),
    "beam-risk, ndcg": (
        "rl.rollout=beam-risk", "rl.algorithm=dr-grpo", "rl.rewards={ndcg: 1.0}",
    ),
    "beam, SASRec on whole histories": (
        "rl.rollout=beam", "rl.targets=unknown", "rl.trainer.beta=1.0",
        "rl.rewards={collaborative: {weight: 1.0, by: rank}}",
        "sasrec={epochs: 60, batch_size: 128, dtype: bfloat16}",
        "rl.trainer.max_steps=40", "rl.batch_size=512",
        "rl.trainer.eval_steps=0.34", "rl.trainer.save_steps=0.34",
    ),
}  # fmt: skip
#: Learning rates of the control.
RATES = (1.0e-3, 2.0e-4)


@dataclass(frozen=True)
class Log:
    """A log, how its model is fine-tuned, and the ways that are tried on it."""

    recipe: str
    folder: str | None
    tuned: tuple[str, ...]
    steps: int
    prompts: int = 1024  # fewer make steps of noise: RESULTS.md
    ways: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: WAYS)
    rates: tuple[float, ...] = RATES
    seeds: int = 3


BEAUTY = Log(
    "amazon-beauty",
    "amazon14-beauty",
    (
        "sft.trainer.num_train_epochs=10", "sft.trainer.eval_steps=0.2",
        "sft.trainer.save_steps=0.2", "sft.validation_users=3000",
    ),
    steps=60,
)  # fmt: skip
MOVIELENS = Log("movielens-small", "movielens-latest-small", (), steps=60, prompts=512, seeds=1)
SMALL = Log(
    "demo", None, ("data.users=300", "sft.trainer.num_train_epochs=2"), steps=4, prompts=16,
    ways={name: WAYS[name] for name in ("beam, rank", "beam-risk, ndcg")}, rates=RATES[:1],
    seeds=1,
)  # fmt: skip


@dataclass(frozen=True)
class Tested:
    """How one model ranks the test rows.

    Attributes:
        ranked: for each metric its value of each row.
        users: of each row.
        baselines: their metrics, as metrics.json has them.
    """

    ranked: Mapping[str, NDArray[np.float64]]
    users: NDArray[np.str_]
    baselines: Mapping[str, Any]

    def cells(self) -> list[str]:
        """Each metric's mean with its interval."""
        return [cell(v, bootstrap_interval(v, self.users, 1000, 0)) for v in self.ranked.values()]


@dataclass(frozen=True)
class Lab:
    """Runs recipes of one log, each in one of some processes."""

    log: Log
    folder: Path
    pool: ProcessPoolExecutor

    def settings(self, name: str, seed: int) -> list[str]:
        """What is set for the fine-tuned model, shown in a folder `name`."""
        log = self.log
        data = [f"data.path={data_folder() / log.folder}"] if log.folder else []
        shown = self.folder / log.recipe / f"{name.replace(', ', '-').replace(' ', '-')}-{seed}"
        places = [f"cache_dir={self.folder / 'cache'}", f"output_dir={shown}"]
        return [*data, *places, f"seed={seed}", *log.tuned]

    def way(self, name: str, seed: int) -> list[str]:
        """What is set for one way of reinforcement learning."""
        log = self.log
        length = [
            f"rl.trainer.max_steps={log.steps}", f"rl.batch_size={log.prompts}",
            "rl.trainer.eval_strategy=steps", "rl.trainer.eval_steps=0.5",
            "rl.trainer.save_strategy=steps", "rl.trainer.save_steps=0.5",
        ]  # fmt: skip
        return [*self.settings(name, seed), *RL, *length, *log.ways[name]]

    def control(self, rate: float, seed: int, tuned: Path) -> list[str]:
        """What is set for further fine-tuning of a model."""
        return [
            *self.settings(f"control {rate}", seed),
            "model.from_scratch=null", f"model.name={tuned}",
            f"sft.trainer.max_steps={self.log.steps}", f"sft.trainer.learning_rate={rate}",
            "sft.trainer.eval_strategy=steps", "sft.trainer.save_strategy=steps",
        ]  # fmt: skip

    def run(self, overrides: Sequence[str], until: str) -> "Future[dict[str, Path]]":
        """Run the recipe up to a stage; the folders of its stages."""
        return self.pool.submit(run_recipe, self.log.recipe, list(overrides), until)


def data_folder() -> Path:
    """The folder of the logs."""
    data = os.environ.get("RECLLM_DATA")
    if not data:
        raise SystemExit("rl_quality: set RECLLM_DATA to a folder with the logs, or use --small")
    return Path(data)


def run_recipe(recipe: str, overrides: list[str], until: str) -> dict[str, Path]:
    """Run a recipe on one thread; where its stages are."""
    import torch

    from recllm.cli import pipeline
    from recllm.config.loading import load_recipe

    torch.set_num_threads(1)
    done = pipeline.run(load_recipe(recipe, overrides), until)
    return {name: artifact.path for name, artifact in done.items()}


def validated(folder: Path) -> list[float]:
    """The metric on validation users at each evaluation of a training."""
    rows = map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
    return [row[CHOSEN_BY] for row in rows if CHOSEN_BY in row]


def minutes(folder: Path) -> str:
    """How long a stage took."""
    return f"{json.loads((folder / 'manifest.json').read_text())['seconds'] / 60:.1f}"


def tested(folder: Path) -> Tested:
    """What the stage eval found."""
    table = pq.read_table(folder / "predictions.parquet", columns=["user_id", "rank"])
    ranks = table["rank"].to_numpy()
    return Tested(
        {name: compute(name, ranks) for name in METRICS},
        np.array(table["user_id"].to_pylist()),
        json.loads((folder / "metrics.json").read_text())["baselines"],
    )


def cell(values: NDArray[np.float64], interval: tuple[float, float], sign: str = "") -> str:
    """A mean and its interval."""
    low, high = interval
    return f"{values.mean():{sign}.4f} [{low:{sign}.4f}, {high:{sign}.4f}]"


def differences(first: Tested, second: Tested) -> list[str]:
    """Each metric's difference, paired by row."""
    pairs = ((first.ranked[name], second.ranked[name]) for name in METRICS)
    return [cell(a - b, paired_interval(a, b, first.users, 1000, 0), sign="+") for a, b in pairs]


def line(*cells: str) -> None:
    """Print one row of a table."""
    print("| " + " | ".join(cells) + " |", flush=True)


def choose(lab: Lab, tuned: Path) -> tuple[str, float]:
    """Try every way and every rate of the control with seed 0: the best of both."""
    ways = {name: lab.run(lab.way(name, 0), "rl") for name in lab.log.ways}
    rates = {rate: lab.run(lab.control(rate, 0, tuned / "model"), "sft") for rate in lab.log.rates}
    print(head(f"seed 0, validation, {CHOSEN_BY[5:]}", "best", "at each evaluation", "minutes"))
    line(TUNED, f"{max(validated(tuned)):.4f}", "", minutes(tuned))
    best: dict[Any, float] = {}
    for name, future in (ways | rates).items():  # pyright: ignore[reportOperatorIssue]
        folder = future.result()["rl" if name in ways else "sft"]
        found = validated(folder)
        best[name] = max(found)
        label = name if name in ways else f"control, learning rate {name}"
        line(label, f"{best[name]:.4f}", " ".join(f"{v:.4f}" for v in found), minutes(folder))
    return max(ways, key=best.__getitem__), max(rates, key=best.__getitem__)


def mean_over_seeds(each: Sequence[Tested]) -> Tested:
    """The metrics of each row, as their means over the seeds; the rows are the same."""
    ranked = {name: np.mean([one.ranked[name] for one in each], axis=0) for name in METRICS}
    return Tested(ranked, each[0].users, each[0].baselines)


def compare(lab: Lab) -> tuple[str, list[Row]]:
    """Choose, then test with every seed; print the tables. The way that was chosen, and rows."""
    seeds = range(lab.log.seeds)
    tuned = {seed: lab.run(lab.settings(TUNED, seed), "sft") for seed in seeds}
    way, rate = choose(lab, tuned[0].result()["sft"])
    futures = {}
    for seed in seeds:
        model = tuned[seed].result()["sft"] / "model"
        futures[TUNED, seed] = lab.run(lab.settings(TUNED, seed), "eval")
        futures[way, seed] = lab.run(lab.way(way, seed), "eval")
        futures["control", seed] = lab.run(lab.control(rate, seed, model), "eval")
    print(head(f"{lab.log.recipe}, test", "seed", *METRICS))
    every: dict[str, list[Tested]] = {TUNED: [], way: [], "control": []}
    for seed in seeds:
        for name, found in every.items():
            found.append(tested(futures[name, seed].result()["eval"]))
            line(name, str(seed), *found[-1].cells())
        for other in (TUNED, "control"):
            line(f"{way} − {other}", str(seed), *differences(every[way][-1], every[other][-1]))
    whole = {name: mean_over_seeds(each) for name, each in every.items()}
    for name, found in whole.items():
        line(name, "mean", *found.cells())
    for other in (TUNED, "control"):
        line(f"{way} − {other}", "mean", *differences(whole[way], whole[other]))
    for name, metrics in whole[way].baselines.items():
        line(name, "", *(f"{metrics[metric]['value']:.4f}" for metric in METRICS))
    rows = [
        Row(f"{name} of {lab.log.recipe}", float(a.mean()), float(b.mean()), name)
        for name in METRICS
        for a, b in [(whole[way].ranked[name], whole[TUNED].ranked[name])]
    ]
    return way, rows


def main() -> None:
    """Choose and compare on Beauty, and see what was chosen on MovieLens."""
    small = parse_small(__doc__)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory())) if small else FOLDER
        workers = len(os.sched_getaffinity(0))
        pool = stack.enter_context(ProcessPoolExecutor(workers, mp_context=get_context("spawn")))
        way, rows = compare(Lab(SMALL if small else BEAUTY, folder, pool))
        if not small:
            chosen = replace(MOVIELENS, ways={way: WAYS[way]})
            rows += compare(Lab(chosen, folder, pool))[1]
        bar = next(row for row in rows if row.unit == "ndcg@10")
        report("rl_quality", [Row("bar", bar.recllm, bar.peer, bar.unit), *rows])


if __name__ == "__main__":
    main()
