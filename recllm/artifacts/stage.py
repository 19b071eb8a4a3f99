"""What a stage is: it reads artifacts and writes one."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from recllm.config.schema import Recipe


class Stage(ABC):
    """One step from the log to the report.

    Subclasses name themselves and their parents and say which settings decide their output;
    the cache does the rest. Raise `version` whenever the same settings would now give another
    output.
    """

    name: ClassVar[str]
    version: ClassVar[int] = 1
    #: What it reads; a subclass may set it by the recipe.
    parents: tuple[str, ...] = ()
    #: True where the recipe's seed decides the output too.
    seeded: ClassVar[bool] = False
    #: True where an interrupted build left in its folder can be continued.
    resumable: ClassVar[bool] = False
    #: Where it goes on otherwise, to tell the user.
    goes_on: ClassVar[str] = "from its start"

    #: Files or folders of the artifact that a run shows: their names there to those in its folder;
    #: a subclass may set it by the recipe.
    publishes: Mapping[str, str] = {}

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe

    @abstractmethod
    def settings(self) -> dict[str, Any]:
        """All of the recipe that the output depends on, and nothing else, as JSON values."""

    def check(self) -> None:  # noqa: B027 (most stages have nothing to refuse)
        """Refuse settings that cannot work, before any stage runs.

        Raises:
            UserError: they cannot.
        """

    def left_off(self, folder: Path) -> str | None:
        """From where a build that was stopped in `folder` would go on; None: from the start."""
        del folder
        return None

    @abstractmethod
    def build(self, inputs: Mapping[str, Path], out: Path) -> dict[str, int]:
        """Write the artifact's files into the folder `out`.

        Args:
            inputs: the folder of each parent's artifact, by stage name.
            out: a folder of the stage's own; empty, unless the stage is resumable.

        Returns:
            Row counts for the manifest, among them whatever was dropped and why.
        """
