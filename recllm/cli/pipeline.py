"""The stages of a run, in order, and how they are run or only planned."""

import importlib
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from recllm.artifacts.cache import Artifact, Cache, stage_key
from recllm.artifacts.stage import Stage
from recllm.artifacts.storage import require_folder
from recllm.cli.interruption import explaining
from recllm.cli.run_folder import RunFolder
from recllm.config.schema import Recipe
from recllm.errors import UserError

log = logging.getLogger(__name__)

#: Where each stage is defined, in the order in which they run. Imported only when needed.
STAGES: dict[str, str] = {
    "ingest": "recllm.data_prep.ingest:Ingest",
    "filter": "recllm.data_prep.filter:Filter",
    "split": "recllm.data_prep.split:SplitStage",
    "statistics": "recllm.data_prep.statistics_stage:Statistics",
    "sasrec": "recllm.eval.sasrec_stage:Sasrec",
    "embed": "recllm.data_prep.embed:Embed",
    "sid": "recllm.data_prep.sid:Sid",
    "prompts": "recllm.data_prep.prompts:Prompts",
    "sft": "recllm.train.sft:Sft",
    "rl_prompts": "recllm.data_prep.rl_prompts:RlPrompts",
    "rl": "recllm.train.rl:Rl",
    "baselines": "recllm.eval.baselines_stage:Baselines",
    "eval": "recllm.eval.stage:Eval",
    "report": "recllm.eval.report_stage:Report",
}

#: Needs all the others, but for those that a recipe goes without.
LAST = "report"

#: What several processes can do together.
TRAINING = ("sft", "rl")

#: A run up to one of these shows results; earlier ones only prepare data.
PUBLISHERS = (*TRAINING, "eval", "report")


@dataclass(frozen=True)
class PlannedStage:
    """What a run would do with a stage: `reason` says why it would run, None that it would not."""

    name: str
    key: str
    reason: str | None


def build_stages(recipe: Recipe, until: str | None = None) -> list[Stage]:
    """The stages of a recipe, up to and with `until` and only what that needs.

    Raises:
        UserError: there is no such stage.
    """
    if until is not None and until not in STAGES:
        raise UserError(f"unknown stage {until!r}; stages: {', '.join(STAGES)}")
    needed = {until or LAST}
    stages: list[Stage] = []
    for name in reversed(STAGES):  # what nobody needs is not even imported
        if name in needed:
            stages.append(load(name)(recipe))
            needed |= set(stages[-1].parents)
    return stages[::-1]


def plan(recipe: Recipe, until: str | None = None) -> list[PlannedStage]:
    """What `run` would do, without doing it."""
    cache = Cache(recipe.cache_dir)
    planned: list[PlannedStage] = []
    will_run: set[str] = set()
    stages = build_stages(recipe, until)
    keys = stage_keys(stages)
    for stage in stages:
        key = keys[stage.name]
        reason = cache.why_absent(stage.name, key)
        rerun = [name for name in stage.parents if name in will_run]
        if reason and rerun:
            reason = f"{', '.join(rerun)} will run"
        if reason:
            will_run.add(stage.name)
        planned.append(PlannedStage(stage.name, key, reason))
    return planned


def stage_keys(stages: list[Stage]) -> dict[str, str]:
    """The key of each stage's artifact, built or not; parents come before children."""
    keys: dict[str, str] = {}
    for stage in stages:
        keys[stage.name] = stage_key(stage, {name: keys[name] for name in stage.parents})
    return keys


def run(
    recipe: Recipe,
    until: str | None = None,
    on_stage: Callable[[Stage, Artifact, bool], None] | None = None,
) -> dict[str, Artifact]:
    """Run the stages that are not in the cache, and publish what the run's folder shows.

    Args:
        on_stage: called after each stage with its artifact and whether it was built just now.
    """
    stages = build_stages(recipe, until)
    cache = Cache(recipe.cache_dir)
    keys = stage_keys(stages)
    absent = [s for s in stages if cache.why_absent(s.name, keys[s.name])]
    _check(recipe, stages, absent)
    artifacts: dict[str, Artifact] = {}
    shown = RunFolder(recipe)

    def describe() -> str:
        kept = [s.name for s in stages if s.name in artifacts or s not in absent]
        if shown.waiting:
            return _describe_waiting(shown, kept)
        return _describe_interruption(stages[len(artifacts) :], keys, kept, cache)

    with explaining(describe), shown:
        if until in (None, *PUBLISHERS):
            shown.occupy()
        for stage in stages:
            parents = {name: artifacts[name] for name in stage.parents}
            # What a parent was built from may have changed since the run began.
            key = stage_key(stage, {name: a.manifest.key for name, a in parents.items()})
            keys[stage.name] = key
            known = cache.find(stage.name, key)
            if known is None:
                log.info("%s …", stage.name)
            artifact = known or cache.build(stage, parents, key)
            artifacts[stage.name] = artifact
            shown.publish(stage, artifact)
            if on_stage:
                on_stage(stage, artifact, known is None)
    return artifacts


def _check(recipe: Recipe, stages: list[Stage], absent: list[Stage]) -> None:
    """Refuse what cannot work before any work starts.

    Raises:
        UserError: the folders cannot be used, or the settings of a stage that would run.
    """
    require_folder(recipe.cache_dir, "cache_dir")
    require_folder(recipe.output_dir, "output_dir")
    if any(stage.publishes for stage in stages):
        RunFolder(recipe).check()
    for stage in absent:
        stage.check()


def _describe_waiting(shown: RunFolder, kept: list[str]) -> str:
    return (
        f"interrupted while waiting for another run that writes to {shown.folder}; "
        f"{_finished(kept)}; that run goes on, and the same command waits for it again"
    )


def _finished(kept: list[str]) -> str:
    return f"finished and kept: {', '.join(kept) or 'nothing yet'}"


def _describe_interruption(
    left: list[Stage], keys: dict[str, str], kept: list[str], cache: Cache
) -> str:
    """What is kept of a run that is stopped now, and where the next one goes on.

    Args:
        left: the stages that are not done; the first of them is stopped.
    """
    finished = _finished(kept)
    if not left:
        return f"interrupted; {finished}"
    stage = left[0]
    partial = cache.partial(stage.name, keys[stage.name])
    left_off = stage.left_off(partial) if partial.is_dir() else None
    start = f"with {stage.name} {stage.goes_on}"
    if left_off:
        start = f"in {stage.name} from {left_off}"
    return f"interrupted in {stage.name}; {finished}; the same command goes on {start}"


def load(name: str) -> Any:
    """The class of a stage."""
    module, _, member = STAGES[name].partition(":")
    return getattr(importlib.import_module(module), member)
