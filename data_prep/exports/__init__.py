"""Exports: each writes a prepared log as the files that another project reads."""

from abc import abstractmethod
from pathlib import Path

from recllm.config.registry import Plugin
from recllm.config.schema import Recipe
from recllm.data_prep.exports._prepared import Prepared


class Export(Plugin):
    """Base of the formats. Subclasses are one file each; there is nothing to set."""

    def check(self, recipe: Recipe) -> None:
        """Refuse a recipe whose log the format cannot say, before any work.

        Raises:
            UserError: it cannot.
        """

    @abstractmethod
    def write(self, prepared: Prepared, name: str, out: Path) -> dict[str, int]:
        """Write the files into the empty folder `out`.

        Args:
            name: what the files are called by.

        Returns:
            Counts of what was written, and of what was left out, by reason.

        Raises:
            UserError: the log has something that the format cannot say.
        """
