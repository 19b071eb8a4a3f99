"""One of the processes of a training or an evaluation, as `accelerate launch` starts it.

The first process does what `recllm sft`, `recllm rl` or `recllm eval` does; where it comes to a
training, or to a ranking, the others join.
"""

import itertools
import logging
import os
import signal
import warnings
from collections.abc import Callable
from pathlib import Path

import click
import torch

from recllm.cli import pipeline
from recllm.cli.commands.stages import evaluate, execute
from recllm.cli.interruption import end_with_parent, leave, watching
from recllm.cli.main import complain, run_to_end, set_up_logging
from recllm.config.loading import load_recipe
from recllm.world import LOCAL_RANK, OUTCOME, World, alone

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
    loaded = load_recipe(recipe, overrides)
    execute(loaded, until or loaded.trained_by, dry_run=False)


def train_main() -> None:
    """`python -m recllm.train`, in each process."""
    world = _enter()
    _run(world, "recllm.train", train, _join_trainings)


def evaluate_main() -> None:
    """`python -m recllm.eval`, in each process."""
    world = _enter()
    _take_own_gpus()
    with alone():  # rows are shared out, and no library is to make these processes a group
        _run(world, "recllm.eval", evaluate, _join_evaluations)


def _enter() -> World:
    end_with_parent()  # the launcher may be killed, and the lock of the artifact is held here
    set_up_logging(verbose=False)
    # DeepSpeed's own calls of torch, in every step.
    warnings.filterwarnings("ignore", category=FutureWarning, module="torch.distributed")
    return World.join()


def _take_own_gpus() -> None:
    """Let this process see its share of the GPUs alone, before anything looks at them."""
    place, here = (int(os.environ.get(name, "0")) for name in (LOCAL_RANK, "LOCAL_WORLD_SIZE"))
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    count = torch.cuda.device_count()
    devices = named.split(",") if named else [str(device) for device in range(count)]
    each = len(devices) // here if here else 0
    if each and count:
        os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(devices[place * each : (place + 1) * each])


def _run(world: World, name: str, command: click.Command, join: Callable[[World], int]) -> None:
    """Run a command in the first process, and what joins it in the others."""
    if not world.is_first:
        _leave(world, _assist(world, join))

    def work() -> int | None:
        world.require_as_asked()
        return command(prog_name=f"python -m {name}", standalone_mode=False)

    with watching():
        code = run_to_end(work, lambda message, code: _say(world, message, code))
        world.tell(END, code)
        _leave(world, code)


def _assist(world: World, join: Callable[[World], int]) -> int:
    """Take part in what there is to do; the first process's exit code."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # the first process says what is kept
    logging.getLogger().setLevel(logging.ERROR)
    logging.getLogger("recllm").setLevel(logging.ERROR)
    return run_to_end(lambda: join(world), lambda message, code: _say(world, message, code))


def _join_trainings(world: World) -> int:
    stages = {stage.invitation(): stage for stage in map(pipeline.load, pipeline.TRAINING)}
    while True:
        name, value = world.hear(*stages, END)
        if name == END:
            return value
        stages.pop(name).assist(value)


def _join_evaluations(world: World) -> int:
    from recllm.eval.together import join_in

    for number in itertools.count():
        code = join_in(number, world, END)
        if code is not None:
            return code
    raise AssertionError("numbers do not end")


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
