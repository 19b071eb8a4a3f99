"""TALLRec on MovieLens latest-small: the AUC of Yes against No, liked meaning rated above 3.

`tiny/tallrec`'s recipe, trained from random weights on `CAP` of the training rows, so it takes a
few minutes on a CPU; what a pretrained LLM knows of films, it does not. Histories are the last
`HISTORY` films with what was thought of them; split leave-one-out, the checkpoint chosen on
validation. On the same test rows stand popularity (the film's training ratings, by number), the
film's mean training rating, and chance. Intervals are bootstrapped over users, differences paired.
`bar`: against popularity.

Needs RECLLM_DATA, a folder with `movielens-latest-small`. With --small, the simulated log of the
tiny recipe and a tenth of its rows.
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks._harness import Row, parse_small, report

CAP, HISTORY = 10_000, 10
CASES = {"popularity": "bar", "chance": "against chance", "rating": "against the mean rating"}


def settings(small: bool) -> list[str]:
    """What is set in the tiny recipe."""
    if small:
        return ["sft.tasks.tallrec.cap=600", "sft.trainer.num_train_epochs=1"]
    data = os.environ.get("RECLLM_DATA")
    if not data:
        raise SystemExit("tallrec: set RECLLM_DATA to a folder with movielens-latest-small, or "
                         "--small")  # fmt: skip
    return [
        "data.source=movielens",
        f"data.path={Path(data) / 'movielens-latest-small'}",
        "data.k_core=5",
        f"prompts.max_history={HISTORY}",
        "model.from_scratch.vocabulary=4096",
        f"sft.tasks.tallrec.cap={CAP}",
        "sft.trainer.num_train_epochs=2",
        *(f"sft.trainer.{name}_strategy=steps" for name in ("eval", "save")),
        *(f"sft.trainer.{name}_steps=0.25" for name in ("eval", "save")),
    ]


def evaluate(overrides: list[str]) -> dict[str, Any]:
    """Run the recipe; the content of its metrics.json."""
    from recllm.cli import pipeline
    from recllm.config.loading import load_recipe

    with TemporaryDirectory() as folder:
        places = [f"output_dir={folder}/run", f"cache_dir={folder}/cache"]
        done = pipeline.run(load_recipe("tiny/tallrec", [*overrides, *places]), "eval")
        return json.loads((done["eval"].path / "metrics.json").read_text())


def shown(entry: Mapping[str, Any]) -> str:
    """A value with its interval."""
    low, high = entry["ci95"]
    return f"{entry['value']:.4f} [{low:.4f}, {high:.4f}]"


def main() -> None:
    """Train, judge, print both tables."""
    found = evaluate(settings(parse_small(__doc__)))
    answers = ", ".join(f"{count} {answer}" for answer, count in found["answers"].items())
    print(f"\n{found['rows']} test rows ({answers})\n")
    print("| | auc | model − baseline |\n| --- | --- | --- |")
    print(f"| model | {shown(found['metrics']['auc'])} | |")
    for name, entry in found["baselines"].items():
        print(f"| {name} | {shown(entry['auc'])} | {shown(found['paired'][name]['auc'])} |")
    area = found["metrics"]["auc"]["value"]
    report(
        "tallrec",
        [
            Row(case, area, found["baselines"][name]["auc"]["value"], "auc")
            for name, case in CASES.items()
        ],
    )


if __name__ == "__main__":
    main()
