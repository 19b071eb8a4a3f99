"""SIGKILL at random moments inside every stage: what starting again costs, and that it is right.

A run of the demo is killed ten times in each stage, with SIGKILL to its whole process group, and
started again after each. No finished stage may be redone, and the end must be that of a run which
nobody disturbed: equal metrics but for their cost, equal weights byte for byte. Figures are of
time: the run that goes on after the last kill in a stage, as far as the end of that stage, against
starting over.
"""

import random
import sys
import tempfile
from pathlib import Path

from benchmarks._harness import Row, parse_small, report, timed

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "helpers"))

from faults import TINY, Kills, Place, kill_in_stages

PREPARING = ("ingest", "filter", "split", "embed", "sid", "prompts")
STAGES = (*PREPARING, "statistics", "sft", "baselines", "eval", "report")
#: Training goes on from its last checkpoint: ten kills are spread over it.
SHARE_OF_SFT = 0.25


def main() -> None:
    """Print a table of the kills, and the figures; fail where anything is not as it must be."""
    small = parse_small(__doc__)
    stages, hits = (("embed", "sft"), 1) if small else (STAGES, 10)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        (folder / "tiny.yaml").write_text(TINY)
        recipe = str(folder / "tiny.yaml") if small else "demo"
        whole, killed = (Place(folder / name, recipe) for name in ("whole", "killed"))
        uninterrupted, _ = timed(whole.finish)
        seconds = {stage: whole.manifest(stage)["seconds"] for stage in stages}
        if not small:
            seconds["sft"] *= SHARE_OF_SFT
        rng, tallies, rows = random.Random(0), [], []
        for stage, longest in seconds.items():
            last = "prompts" if stage in PREPARING else None  # these start quicker
            tallies += kill_in_stages(killed, {stage: longest}, whole, hits, rng, last=last)
            if stage == "sft":
                going_on, _ = timed(lambda: killed.finish("sft"))
                rows.append(Row("bar", going_on, _seconds_until_sft(whole, uninterrupted), "s"))
        going_on, _ = timed(killed.finish)
        rows.append(Row("after the last kill", going_on, uninterrupted, "s"))
        equal = killed.metrics() == whole.metrics() and killed.weights() == whole.weights()
    _print_table(tallies, equal)
    if not equal or any(tally.redone for tally in tallies):
        raise SystemExit("faults: a killed run did not end as an uninterrupted one")
    report("faults", rows)


def _seconds_until_sft(whole: Place, uninterrupted: float) -> float:
    """How long starting over takes as far as the end of sft."""
    later = ("statistics", "baselines", "eval", "report")
    return uninterrupted - sum(whole.manifest(stage)["seconds"] for stage in later)


def _print_table(tallies: list[Kills], equal: bool) -> None:
    print("| stage | kills | inside the stage | within seconds | stages redone | end equal |")
    print("| --- | ---: | ---: | ---: | ---: | --- |")
    for tally in tallies:
        figures = f"{tally.kills} | {tally.hits} | {tally.seconds:.2f} | {tally.redone}"
        print(f"| {tally.stage} | {figures} | {'yes' if equal else 'NO'} |")


if __name__ == "__main__":
    main()
