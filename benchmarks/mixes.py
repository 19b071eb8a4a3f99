"""Do the alignment tasks earn their place: seqrec alone against the mixes of LC-Rec and MiniOneRec.

A small model from scratch on Amazon Beauty, the same SIDs, template and settings for all; every
one reads as many tokens, prompts and answers, without padding: a mix takes its place from
seqrec's own rows. The mixes are those of the papers as far as the log has what they need, which
is titles, but neither descriptions nor intents or preferences in words.

Figures are of all validation rows, history excluded, with 95% intervals by bootstrap over users;
test is not looked at. `bar`: hit@10 of MiniOneRec's mix against seqrec alone. A model from scratch
has no language that SIDs could be aligned with: what these figures say of the mixes is said of
such models alone.

Needs RECLLM_DATA, a folder with `amazon14-beauty`. Everything is kept in `runs/mixes`: a run that
is stopped goes on where it was. With --small, the simulated log of the demo and few steps.
"""

import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks._harness import Row, parse_small, report
from benchmarks._small_models import METRICS, Trained, folder_of, head, rank_baselines, train
from recllm.cli import pipeline
from recllm.config.loading import load_recipe

WORKERS, BEAMS, SEED = 2, 20, 0
FOLDER = Path("runs/mixes")
BATCH = 128
ALONE = "seqrec alone"
MINIONEREC, LCREC = "MiniOneRec's mix", "LC-Rec's mix"
#: The tasks of each case, one row each for all that there is to make rows of.
MIXES: dict[str, tuple[str, ...]] = {
    ALONE: ("seqrec",),
    MINIONEREC: ("seqrec", "title-to-sid", "sid-to-title", "sid-history-to-title"),
    LCREC: (
        "seqrec", "title-to-sid", "sid-to-title", "title-history-to-sid", "sid-history-to-title",
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Sizes:
    """The recipe, the tokens that each model reads, and the items that a prompt shows."""

    recipe: str = "amazon-beauty"
    tokens: int = 24_000_000
    hidden: int = 128
    max_history: int = 10


SMALL = Sizes(recipe="demo", tokens=20_000, hidden=96)


def settings(case: str, sizes: Sizes, folder: Path) -> list[str]:
    """What is set in the recipe for one case, but for how long it trains."""
    log = ["data.users=300"] if sizes.recipe == "demo" else [f"data.path={beauty()}"]
    halves = [f"sft.trainer.{name}_steps=0.25" for name in ("eval", "save")]
    strategies = [f"sft.trainer.{name}_strategy=steps" for name in ("eval", "save")]
    mix = ", ".join(f"{task}: 1.0" for task in MIXES[case])
    return [
        *log, *halves, *strategies,
        f"cache_dir={folder / 'cache'}",
        f"output_dir={folder / folder_of(case.replace(':', ''), SEED)}",
        f"seed={SEED}",
        f"sft.tasks={{{mix}}}",
        f"sft.targets={'all' if case.endswith('all') else 'last'}",
        "sft.loss=vocab", "eval.scoring=vocab", "sft.drop_items=0",
        "sft.validation_users=1000",
        f"sft.trainer.per_device_train_batch_size={BATCH}",
        "prompts.template=plain", f"prompts.max_history={sizes.max_history}",
        f"model.from_scratch.hidden={sizes.hidden}", "model.from_scratch.layers=2",
    ]  # fmt: skip


def beauty() -> Path:
    """The log's folder."""
    data = os.environ.get("RECLLM_DATA")
    if not data:
        raise SystemExit("mixes: set RECLLM_DATA to a folder with amazon14-beauty, or --small")
    return Path(data) / "amazon14-beauty"


def steps(case: str, sizes: Sizes, folder: Path) -> tuple[int, str]:
    """How many steps read the tokens that there are for a case; in words, what its rows are."""
    recipe = load_recipe(sizes.recipe, settings(case, sizes, folder))
    counts = pipeline.run(recipe, "prompts")["prompts"].manifest.counts
    number = max(round(sizes.tokens / (counts["tokens"] / counts["rows"] * BATCH)), 1)
    passes = sizes.tokens / counts["tokens"]
    return number, f"{counts['rows']:,} rows, {counts['tokens']:,} tokens, {passes:.2f} passes"


def line(case: str, trained: Trained, rows: str) -> str:
    """One row of the table."""
    minutes = f"{trained.seconds / 60:.1f}" if trained.seconds else ""
    cells = [case, rows, *(trained.cell(metric) for metric in METRICS), minutes]
    return "| " + " | ".join(cells) + " |"


def compare(pool: ProcessPoolExecutor, sizes: Sizes, folder: Path) -> Iterator[Row]:
    """Print the table; the bar."""
    planned = {case: steps(case, sizes, folder) for case in MIXES}
    threads = max((os.cpu_count() or 1) // WORKERS, 1)
    futures = {}
    for case, (number, _) in planned.items():
        overrides = [*settings(case, sizes, folder), f"sft.trainer.max_steps={number}"]
        futures[case] = pool.submit(train, sizes.recipe, overrides, "valid", BEAMS, threads)
    print(head("", "rows", *METRICS, "minutes"))
    for name, ranked in rank_baselines(
        sizes.recipe, settings(ALONE, sizes, folder), "valid"
    ).items():
        print(line(name, ranked, ""), flush=True)
    for case, future in futures.items():
        print(line(case, future.result(), planned[case][1]), flush=True)
    means = {
        case: {metric: future.result().mean(metric) for metric in METRICS}
        for case, future in futures.items()
    }
    for case, mix in (("bar", MINIONEREC), (LCREC, LCREC)):
        for metric in METRICS if case != "bar" else METRICS[:1]:
            name = case if case == "bar" else f"{case}, {metric}"
            if means[mix][metric] and means[ALONE][metric]:
                yield Row(name, means[mix][metric], means[ALONE][metric], metric)


def main() -> None:
    """Train all, print the table."""
    small = parse_small(__doc__)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory())) if small else FOLDER
        pool = stack.enter_context(ProcessPoolExecutor(WORKERS, mp_context=get_context("spawn")))
        report("mixes", list(compare(pool, SMALL if small else Sizes(), folder)))


if __name__ == "__main__":
    main()
