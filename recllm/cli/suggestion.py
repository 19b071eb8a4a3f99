"""What to try with a checkpoint, as a command ends by saying."""

import shlex
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from recllm.prompts.renderer import Renderer

#: How many items the history of the command has.
ITEMS_SHOWN = 2


def command_to_try(called: str, renderer: "Renderer") -> str:
    """The command that shows what a checkpoint does, with ids of its own catalogue.

    Args:
        called: its folder, or its id on the Hub.
        renderer: of the checkpoint.
    """
    name = shlex.quote(called)
    if renderer.asked_by.verdicts:  # it ranks nothing
        return f"recllm eval RECIPE --checkpoint {name}"
    history = ",".join(renderer.catalog.items.ids[:ITEMS_SHOWN])
    return f"recllm recommend {name} --history {shlex.quote(history)}"
