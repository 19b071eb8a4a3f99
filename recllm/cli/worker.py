"""`python -m recllm.train`: one of the processes of a training, as `accelerate launch` starts it.

The first process does what `recllm sft` or `recllm rl` does; where it comes to a training, the
others join.
"""

import logging
import os
import signal
import warnings
from pathlib import Path

import click
import torch

from recllm.cli import pipeline
from recllm.cli.commands.stages import execute
from recllm.cli.interruption import end_with_parent, leave, watching
from recllm.cli.main import complain, run_to_end, set_up_logging
from recllm.config.loading import load_recipe
from recllm.train.world import OUTCOME, World

#: What the first process tells the others when there is nothing more to do.
END = "end"


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("recipe")
@click.argument("overrides", nargs=-1, metavar="[KEY=VALUE]...")
@click.option(
    "--until",
    type=click.Choice(pipeline.TRAINING),
    help="The last training to do; default: rl where RECIPE has it, else sft.",
)
def train(recipe: str, overrides: tuple[str, ...], until: str | None) -> None:
    """Train the model of RECIPE in several processes, preparing the data in one of them.

    accelerate launch [--config_file FILE] -m recllm.train RECIPE [KEY=VALUE]...
    """
    World.current().require_as_asked()
    loaded = load_recipe(recipe, overrides)
    execute(loaded, until or loaded.trained_by, dry_run=False)


def main() -> None:
    """The entry point of each process."""
    end_with_parent()  # the launcher may be killed, and the lock of the artifact is held here
    set_up_logging(verbose=False)
    # DeepSpeed's own calls of torch, in every step.
    warnings.filterwarnings("ignore", category=FutureWarning, module="torch.distributed")
    world = World.join()
    if not world.is_first:
        _leave(world, _assist(world))
    with watching():
        code = run_to_end(
            lambda: train(prog_name="python -m recllm.train", standalone_mode=False),
            lambda message, code: _say(world, message, code),
        )
        world.tell(END, code)
        _leave(world, code)


def _assist(world: World) -> int:
    """Take part in the training, if there is one; the first process's exit code."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # the first process says what is kept
    logging.getLogger().setLevel(logging.ERROR)
    logging.getLogger("recllm").setLevel(logging.ERROR)

    def follow() -> int:
        stages = {stage.invitation(): stage for stage in map(pipeline.load, pipeline.TRAINING)}
        while True:
            name, value = world.hear(*stages, END)
            if name == END:
                return value
            stages.pop(name).assist(value)

    return run_to_end(follow, lambda message, code: _say(world, message, code))


def _say(world: World, message: str, code: int) -> int:
    """Say why the processes end, in one of them."""
    return complain(message, code) if world.may_speak() else code


def _leave(world: World, code: int) -> None:
    """End with an exit code, told to the command that started the launcher: that knows but 0 and 1.

    Where all processes end by themselves it is 0 then: the launcher would report at length that
    they had failed.
    """
    if not code and torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()
    place = os.environ.get(OUTCOME)
    if place is not None and code:
        if world.is_first:
            Path(place).write_text(str(code))
        code = 0 if world.in_step and code == 2 else code
    leave(code)
