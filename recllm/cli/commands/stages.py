"""`recllm run`, and one command for each part of a run."""

import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import click

from recllm.artifacts.cache import Artifact
from recllm.artifacts.stage import Stage
from recllm.cli import pipeline
from recllm.cli.checkpoints import find_checkpoints, show_checkpoints
from recllm.cli.headline import headline_table
from recllm.config.loading import load_recipe
from recllm.config.schema import Recipe
from recllm.errors import UserError
from recllm.eval.protocols import protocol_of
from recllm.results.formats import quantity

recipe_arguments = [
    click.argument("recipe"),
    click.argument("overrides", nargs=-1, metavar="[KEY=VALUE]..."),
    click.option("--dry-run", is_flag=True, help="Say which stages would run, and why."),
]


def with_recipe(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the recipe, its overrides and --dry-run."""
    for decorate in reversed(recipe_arguments):
        command = decorate(command)
    return command


@click.command()
@with_recipe
@click.option("--until", metavar="STAGE", help="Stop after this stage.")
def run(recipe: str, overrides: tuple[str, ...], dry_run: bool, until: str | None) -> None:
    """Run every stage of RECIPE that is not done yet, from the log to the report."""
    execute(load_recipe(recipe, overrides), until, dry_run)


@click.command()
@with_recipe
def prep(recipe: str, overrides: tuple[str, ...], dry_run: bool) -> None:
    """Prepare the data of RECIPE: from the log to training prompts."""
    execute(load_recipe(recipe, overrides), "prompts", dry_run)


training_options = [
    click.option(
        "--accelerate",
        metavar="NAME",
        help="Train in several processes: ddp, zero2, zero2-offload, zero3, fsdp2, or a YAML file "
        "of accelerate's. The command that this runs is printed.",
    ),
    click.option(
        "--processes",
        type=click.IntRange(min=1),
        metavar="N",
        help="How many; by default one for each GPU. A small step has "
        "per_device_train_batch_size × N rows.",
    ),
]


def with_training(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the recipe, and in how many processes it is trained."""
    for decorate in reversed(training_options):
        command = decorate(command)
    return with_recipe(command)


@click.command()
@with_training
def sft(recipe: str, overrides: tuple[str, ...], **options: Any) -> int:
    """Fine-tune the model of RECIPE, preparing the data where needed."""
    return _train("sft", recipe, overrides, **options)


@click.command()
@with_training
def rl(recipe: str, overrides: tuple[str, ...], **options: Any) -> int:
    """Train the fine-tuned model of RECIPE on rewards, fine-tuning it before where needed."""
    return _train("rl", recipe, overrides, **options)


def _train(
    stage: str,
    recipe: str,
    overrides: tuple[str, ...],
    *,
    dry_run: bool,
    accelerate: str | None,
    processes: int | None,
) -> int:
    loaded = load_recipe(recipe, overrides)
    if accelerate is None:
        if processes is not None:
            raise UserError("--processes: say how they train together too: --accelerate ddp")
        execute(loaded, stage, dry_run)
        return 0
    from recllm.cli.launch import plan_launch, run_launch

    until = () if stage == loaded.trained_by else ("--until", stage)
    launch = plan_launch(accelerate, processes, [recipe, *overrides, *until])
    if dry_run:
        execute(loaded, stage, dry_run)
    click.echo(str(launch))
    return 0 if dry_run else run_launch(launch)


@click.command("eval")
@with_recipe
@click.option(
    "--checkpoint",
    "checkpoints",
    multiple=True,
    metavar="DIR|HUB_ID",
    help="Evaluate this checkpoint instead of the run's own: a folder, or user/name[@revision] on "
    "the Hugging Face Hub. May be given several times, or with wildcards: --checkpoint 'runs/*'. "
    "Runs that differ by their seed alone are also shown as one. A model as transformers saves it "
    "is asked by the recipe's own template, with its SIDs.",
)
@click.option(
    "--processes",
    type=click.IntRange(min=1),
    default=1,
    metavar="N",
    help="Share the rows out to N processes, each with its own GPU where there are some. The "
    "command that this runs is printed.",
)
def evaluate(
    recipe: str,
    overrides: tuple[str, ...],
    dry_run: bool,
    checkpoints: tuple[str, ...],
    processes: int,
) -> int:
    """Evaluate on the test split, beside the baselines."""
    loaded = load_recipe(recipe, overrides)
    if processes > 1:
        return _evaluate_in(processes, [recipe, *overrides], checkpoints, dry_run)
    if not checkpoints:
        execute(loaded, "eval", dry_run)
        return 0
    protocol_of(loaded).check()
    folders = find_checkpoints(checkpoints, dry_run=dry_run)
    if dry_run:
        _plan_checkpoints(loaded, folders)
        return 0
    click.echo(show_checkpoints(loaded, folders, announce))
    return 0


def _evaluate_in(
    processes: int, recipe: list[str], checkpoints: tuple[str, ...], dry_run: bool
) -> int:
    from recllm.cli.launch import plan_launch, run_launch

    named = [part for name in checkpoints for part in ("--checkpoint", name)]
    launch = plan_launch("ddp", processes, [*recipe, *named], "recllm.eval")
    click.echo(str(launch))
    return 0 if dry_run else run_launch(launch)


def _plan_checkpoints(recipe: Recipe, folders: Mapping[str, Path]) -> None:
    """Say what an evaluation of checkpoints would run."""
    from recllm.models.plain import is_plain

    until = ["sid"] if any(map(is_plain, folders.values())) else []
    planned = {p.name: p for name in [*until, "baselines"] for p in pipeline.plan(recipe, name)}
    _show_plan(planned.values())
    for name in folders:
        click.echo(f"{'eval':10} {name}")


@click.command()
@with_recipe
def report(recipe: str, overrides: tuple[str, ...], dry_run: bool) -> None:
    """Write report.html, report.md and report.csv of RECIPE's run."""
    execute(load_recipe(recipe, overrides), "report", dry_run)


def execute(recipe: Recipe, until: str | None, dry_run: bool) -> None:
    """Run or only plan a recipe, and print what came out."""
    if dry_run:
        _show_plan(pipeline.plan(recipe, until))
        return
    artifacts = pipeline.run(recipe, until, announce)
    if "eval" in artifacts:
        metrics = json.loads((artifacts["eval"].path / "metrics.json").read_text())
        click.echo("\n" + headline_table(metrics))
    if "report" in artifacts:
        click.echo(f"\nreport: {recipe.output_dir / 'report.html'}")


def _show_plan(stages: Iterable[pipeline.PlannedStage]) -> None:
    for planned in stages:
        verdict = f"would run: {planned.reason}" if planned.reason else "done already"
        click.echo(f"{planned.name:10} {planned.key}  {verdict}")


def announce(stage: Stage, artifact: Artifact, built: bool) -> None:
    """Print the line of a stage that is done: its time, and what it counted."""
    manifest = artifact.manifest
    time = f"{manifest.seconds:7.1f} s" if built else "   cached"
    counts = ", ".join(f"{name} {quantity(name, n)}" for name, n in manifest.counts.items() if n)
    click.echo(f"{stage.name:10} {time}  {counts}")
