"""SASRec on Amazon Beauty, leave-one-out, history excluded: hit@10 and ndcg@10, and the time.

Trained on the training split alone with the full cross-entropy, the epoch chosen by ndcg@10 on
all validation rows; popularity and co-visitation stand beside it on the same rows, with 95%
intervals by bootstrap over users. `bar`: its hit@10 on test against what it should reach.

Needs RECLLM_DATA, a folder with `amazon14-beauty`. Everything is kept in `runs/sasrec`. With
--small, the simulated log of the demo and three epochs, against popularity.
"""

import json
import os
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks._harness import Row, parse_small, report
from benchmarks._small_models import METRICS, head, rank_baselines

FOLDER = Path("runs/sasrec")
#: What it should reach on Beauty's test rows.
EXPECTED = {"hit@10": 0.0725, "ndcg@10": 0.0414}
SETTINGS = ("sasrec.epochs=60", "sasrec.batch_size=128", "sasrec.dtype=bfloat16")


def settings(small: bool, folder: Path) -> tuple[str, list[str]]:
    """The recipe, and what is set in it; `folder` keeps what is built."""
    places = [f"output_dir={folder / 'run'}", f"cache_dir={folder / 'cache'}"]
    if small:
        return "demo", [*places, "sasrec.epochs=3", "sasrec.width=64"]
    data = os.environ.get("RECLLM_DATA")
    if not data:
        raise SystemExit("sasrec: set RECLLM_DATA to a folder with amazon14-beauty, or --small")
    log = f"data.path={Path(data) / 'amazon14-beauty'}"
    return "amazon-beauty", [*places, log, *SETTINGS]


def print_training(folder: Path) -> None:
    """How it went, epoch by epoch."""
    print(head("epoch", "loss", *(f"valid {metric}" for metric in METRICS), "seconds"))
    for line in (folder / "metrics.jsonl").read_text().splitlines():
        row = json.loads(line)
        metrics = " | ".join(f"{row[metric]:.4f}" for metric in METRICS)
        print(f"| {row['epoch']} | {row['loss']:.4f} | {metrics} | {row['seconds']:.1f} |")


def run(small: bool, folder: Path) -> list[Row]:
    """Train, rank, print the tables; the rows of the last."""
    from recllm.cli import pipeline
    from recllm.config.loading import load_recipe

    recipe, overrides = settings(small, folder)
    trained = pipeline.run(load_recipe(recipe, overrides), "sasrec")["sasrec"]
    print_training(trained.path)
    print(f"\ntrained in {trained.manifest.seconds / 60:.1f} minutes")
    for split in ("valid", "test"):
        print(head(split, *METRICS))
        ranked = rank_baselines(recipe, overrides, split)
        for name, one in ranked.items():
            print(f"| {name} | {' | '.join(one.cell(metric) for metric in METRICS)} |")
    others = {metric: ranked["popularity"].mean(metric) for metric in METRICS}
    hit, ndcg = METRICS
    return [
        Row(case, ranked["sasrec"].mean(metric), (others if small else EXPECTED)[metric], metric)
        for case, metric in (("bar", hit), ("the same by ndcg", ndcg))
    ] + [
        Row(f"against {name}", ranked["sasrec"].mean(ndcg), ranked[name].mean(ndcg), ndcg)
        for name in ("popularity", "covisitation")
    ]


def main() -> None:
    """Run it where its results are kept."""
    small = parse_small(__doc__)
    if not small:
        report("sasrec", run(small, FOLDER))
        return
    with TemporaryDirectory() as folder:
        report("sasrec", run(small, Path(folder)))


if __name__ == "__main__":
    main()
