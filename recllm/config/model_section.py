"""What a recipe says of the backbone."""

import re
from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator, model_validator

from recllm.config.section import Section

#: user/name, or one of the Hub's old names without a user.
HUB_ID = re.compile(r"^[\w.-]+(/[\w.-]+)?$")


class FromScratchSection(Section):
    """A small backbone with random weights and a tokenizer trained on the item text."""

    architecture: Literal["qwen2", "qwen3", "llama"] = "qwen3"
    hidden: int = Field(default=128, ge=8)
    layers: int = Field(default=4, ge=1)
    heads: int = Field(default=4, ge=1)
    intermediate: int | None = Field(default=None, ge=8, description="default: 4 × hidden")
    dropout: float = Field(default=0.0, ge=0, lt=1)
    vocabulary: int = Field(default=1024, ge=300, description="byte-level BPE, before the SIDs")
    tie_embeddings: bool = True

    @model_validator(mode="after")
    def _heads_divide_hidden(self) -> "FromScratchSection":
        if self.hidden % (2 * self.heads):
            raise ValueError(
                f"hidden ({self.hidden}) must be a multiple of 2 × heads ({2 * self.heads})"
            )
        return self


class ModelSection(Section):
    """The backbone: a Hugging Face causal LM by id or folder, or a small one from scratch."""

    name: str | None = Field(default=None, description="a Hub id or a local folder")
    from_scratch: FromScratchSection | None = None
    tuning: Literal["full"] = "full"
    dtype: Literal["auto", "float32", "bfloat16"] = Field(
        default="auto", description="auto: bfloat16 on a GPU that has it, else float32"
    )
    trust_remote_code: bool = False

    @field_validator("name")
    @classmethod
    def _name_can_be_found(cls, name: str | None) -> str | None:
        if name is None:
            return None
        if not Path(name).is_dir() and not HUB_ID.match(name):
            raise ValueError(f"expected a Hub id or a folder that exists, found {name!r}")
        if Path(name).is_dir() and not (Path(name) / "config.json").is_file():
            raise ValueError(f"expected a folder with a model, found no config.json in {name!r}")
        return name

    @model_validator(mode="after")
    def _one_backbone(self) -> "ModelSection":
        if (self.name is None) == (self.from_scratch is None):
            raise ValueError("give exactly one of 'name' and 'from_scratch'")
        return self
