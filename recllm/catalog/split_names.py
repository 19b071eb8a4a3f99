"""The names of the splits, in their order. The command line imports them: nothing heavy here."""

from typing import Literal

SplitName = Literal["train", "valid", "test"]
SPLITS: tuple[SplitName, ...] = ("train", "valid", "test")
#: The splits that are ranked.
HELD_OUT: tuple[SplitName, ...] = ("valid", "test")
