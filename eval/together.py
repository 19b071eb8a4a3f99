"""One evaluation in several processes: the first asks the others to rank with it."""

import itertools
import tempfile
from collections.abc import Mapping
from pathlib import Path

from recllm.config.schema import Recipe
from recllm.config.validation import dump, validate
from recllm.eval.evaluation import evaluate
from recllm.world import World

_numbers = itertools.count()


def invitation(number: int) -> str:
    """What the evaluations are called among processes, by their order from 0."""
    return f"evaluation/{number}"


def invite(recipe: Recipe, checkpoint: Path, inputs: Mapping[str, Path]) -> None:
    """Tell the other processes what is evaluated now on the test split."""
    world = World.current()
    if world.size > 1:
        named = {name: str(path.resolve()) for name, path in inputs.items()}
        told = {"recipe": dump(recipe), "checkpoint": str(checkpoint.resolve()), "inputs": named}
        world.tell(invitation(next(_numbers)), told)


def join_in(number: int, world: World, end: str) -> int | None:
    """Wait for an evaluation and take part in it; write nothing but shards.

    Args:
        end: what the first process calls its end.

    Returns:
        None; the first process's exit code where it has come to its end instead.
    """
    name, told = world.hear(invitation(number), end)
    if name == end:
        return told
    inputs = {part: Path(path) for part, path in told["inputs"].items()}
    with tempfile.TemporaryDirectory() as folder:
        evaluate(validate(told["recipe"]), Path(told["checkpoint"]), inputs, Path(folder))
    return None
