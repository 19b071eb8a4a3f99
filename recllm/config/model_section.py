"""What a recipe says of the backbone."""

import re
from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator, model_validator

from recllm.config.section import Section

#: What is trained: every weight; LoRA beside weights that stay as they are (16 or 32 bits each, 4
#: bits in NF4, or 8 bits in LLM.int8); or the rows of the SID tokens alone.
Tuning = Literal["full", "lora", "qlora", "lora-8bit", "sid-rows"]
#: Those with LoRA; the others but `full` are adapters too.
WITH_LORA = ("lora", "qlora", "lora-8bit")
#: Those that load their base through bitsandbytes.
QUANTISED = ("qlora", "lora-8bit")
#: What the files of a model are known by: a whole one's, and an adapter's.
WHOLE, ADAPTER = "config.json", "adapter_config.json"

#: user/name, or one of the Hub's old names without a user; optionally of a branch, tag or commit.
HUB_ID = re.compile(r"^[\w.-]+(/[\w.-]+)?(@[^@\s]+)?$")


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


class LoraSection(Section):
    """Low-rank adapters (Hu et al., "LoRA", 2021) on linear layers of the blocks."""

    rank: int = Field(default=16, ge=1)
    alpha: float = Field(default=32.0, gt=0, description="the update is scaled by alpha / rank")
    dropout: float = Field(default=0.05, ge=0, lt=1, description="on what goes into the adapters")
    target_modules: Literal["all-linear"] | tuple[str, ...] = Field(
        default="all-linear", description="all-linear, or the layers' names, such as [q_proj]"
    )
    train_sid_rows: bool = Field(
        default=True, description="the SID tokens' rows of the embedding (and of an untied head)"
    )

    @field_validator("target_modules")
    @classmethod
    def _some_are_named(cls, targets: str | tuple[str, ...]) -> str | tuple[str, ...]:
        if not targets:
            raise ValueError(
                "expected all-linear or at least one layer's name; for none, set tuning: sid-rows"
            )
        return targets


class ModelSection(Section):
    """The backbone: a Hugging Face causal LM by id or folder, or a small one from scratch."""

    name: str | None = Field(
        default=None,
        description="a Hub id, also with @revision, or the folder of a model or an adapter",
    )
    from_scratch: FromScratchSection | None = None
    tuning: Tuning = Field(
        default="full", description="full, lora, qlora (NF4), lora-8bit (LLM.int8), or sid-rows"
    )
    lora: LoraSection | None = Field(default=None, description="only with LoRA")
    new_rows: Literal["spread", "text"] = Field(
        default="spread",
        description="new tokens start near the mean of the old ones, or of their items' titles",
    )
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
        files = (WHOLE, ADAPTER)
        if Path(name).is_dir() and not any((Path(name) / file).is_file() for file in files):
            raise ValueError(
                f"expected a folder with a model, found neither {' nor '.join(files)} in {name!r}"
            )
        return name

    @model_validator(mode="after")
    def _one_backbone(self) -> "ModelSection":
        if (self.name is None) == (self.from_scratch is None):
            raise ValueError("give exactly one of 'name' and 'from_scratch'")
        return self

    @model_validator(mode="after")
    def _tuning_fits(self) -> "ModelSection":
        if self.lora is not None and self.tuning not in WITH_LORA:
            raise ValueError(
                f"lora is set, but tuning is {self.tuning!r}; set tuning: lora (or "
                f"{', '.join(WITH_LORA[1:])}), or lora: null"
            )
        if self.from_scratch is not None and self.tuning != "full":
            raise ValueError(
                f"tuning is {self.tuning!r}, which leaves the weights of the model as they are, "
                "but those of from_scratch are random; set tuning: full, or give 'name'"
            )
        if self.from_scratch is not None and self.new_rows != "spread":
            raise ValueError(
                "new_rows says how new tokens start beside old ones, but all those of from_scratch "
                "are new; leave it out, or give 'name'"
            )
        return self
