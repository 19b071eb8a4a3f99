"""What a recipe says of ranking a few candidates beside the whole catalogue."""

from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from recllm.config.section import Section


class CandidatesSection(Section):
    """The items that are ranked for each test row: drawn around its target, or given in a file.

    They alone say what is ranked, whatever `eval.exclude_history`.
    """

    negatives: int | None = Field(
        default=None, ge=1, description="how many items are drawn beside each target"
    )
    sampling: Literal["uniform", "popularity"] = Field(
        default="uniform",
        description="of negatives; popularity: by training interactions, without replacement",
    )
    exclude_history: bool = Field(
        default=True,
        description="whether no negative is an item of the history; where a target is one, it "
        "stands out by that",
    )
    file: Path | None = Field(
        default=None,
        description="Parquet with the columns row (the log row of a test target) and item_id, "
        "in place of negatives",
    )

    @model_validator(mode="after")
    def _drawn_or_given(self) -> "CandidatesSection":
        if (self.negatives is None) == (self.file is None):
            found = "neither" if self.file is None else "both"
            raise ValueError(
                f"expected negatives (how many items to draw, such as 99) or file, found {found}"
            )
        if self.file is not None and (self.sampling, self.exclude_history) != ("uniform", True):
            raise ValueError(
                "sampling and exclude_history are about negatives that are drawn, but file gives "
                "the candidates; leave them out, or set negatives in place of file"
            )
        return self
