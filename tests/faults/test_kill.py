"""SIGKILL at random moments in every stage: a run goes on and ends as if nothing had happened."""

import random
from pathlib import Path

import pytest
from faults import Place, kill_in_stages

PREPARING = ("ingest", "filter", "split", "embed", "sid", "prompts")
REST = ("statistics", "sft", "baselines", "eval", "report")
KILLS = 2


@pytest.mark.slow
def test_killed_in_every_stage_a_run_ends_as_an_uninterrupted_one(
    whole: Place, tmp_path: Path
) -> None:
    seconds = {stage: whole.manifest(stage)["seconds"] for stage in (*PREPARING, *REST)}
    killed, rng = Place(tmp_path, whole.recipe), random.Random(0)
    preparing = {stage: seconds[stage] for stage in PREPARING}
    rest = {stage: seconds[stage] for stage in REST}
    tallies = kill_in_stages(killed, preparing, whole, KILLS, rng, last="prompts")
    tallies += kill_in_stages(killed, rest, whole, KILLS, rng)
    killed.finish()
    assert {tally.stage for tally in tallies} == set(whole.stages)
    assert not any(tally.redone for tally in tallies)
    assert killed.weights() == whole.weights()
    assert killed.metrics() == whole.metrics()
    left = [p for p in killed.folder.rglob("*") if ".unfinished-" in p.name or ".partial" in p.name]
    assert not left
