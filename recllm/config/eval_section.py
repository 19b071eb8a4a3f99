"""What a recipe says of evaluation."""

from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field, model_validator

from recllm.config import plugins
from recllm.config.candidates_section import CandidatesSection
from recllm.config.section import Section

Scoring = Literal["vocab", "level", "trie"]


class EvalSection(Section):
    """How checkpoints are ranked and compared."""

    choices: ClassVar = {"engine": (plugins.ENGINES, "transformers")}

    engine: Any
    beams: int = Field(default=50, ge=1)
    scoring: Scoring = "vocab"
    exclude_history: bool = False
    cutoffs: tuple[int, ...] = Field(default=(1, 5, 10, 20, 50), min_length=1)
    phrasings: Literal["first", "all"] = Field(
        default="first", description="all: mean, min and max over the question's phrasings too"
    )
    bootstrap: int = Field(default=1000, ge=100, description="resamples for the intervals")
    perplexity: Path | None = Field(
        default=None,
        description="a UTF-8 text: how well the model and its base predict general language",
    )
    batch_tokens: int | None = Field(
        default=None, ge=1, description="prompt and beam tokens a batch; default: by the device"
    )

    candidates: CandidatesSection | None = Field(
        default=None, description="a few items a row, ranked beside the whole catalogue"
    )

    @model_validator(mode="after")
    def _cutoffs_within_beams(self) -> "EvalSection":
        if any(k < 1 or k > self.beams for k in self.cutoffs):
            raise ValueError(
                f"cutoffs must lie between 1 and beams ({self.beams}), found {list(self.cutoffs)}"
            )
        return self
