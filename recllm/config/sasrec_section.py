"""What a recipe says of SASRec, the baseline that is trained, and the teacher of rewards."""

from typing import Literal

from pydantic import Field, model_validator

from recllm.config.section import Section


class SasrecSection(Section):
    """SASRec (Kang & McAuley, 2018): its size and its training."""

    width: int = Field(default=128, ge=2, description="of the items' vectors and of every layer")
    layers: int = Field(default=2, ge=1)
    heads: int = Field(default=2, ge=1)
    dropout: float = Field(default=0.5, ge=0, lt=1)
    max_length: int = Field(default=50, ge=1, description="only the last items of a history count")
    loss: Literal["cross-entropy", "bce"] = Field(
        default="cross-entropy",
        description="over all items, or, as in the paper, against one negative a positive",
    )
    dtype: Literal["float32", "bfloat16"] = Field(
        default="float32", description="of the scores of all items in training, the bulk of it"
    )
    epochs: int = Field(default=100, ge=1, description="at most")
    patience: int = Field(default=5, ge=1, description="epochs without a better validation ndcg@10")
    batch_size: int = Field(default=256, ge=1, description="sequences of a step")
    learning_rate: float = Field(default=1e-3, gt=0, allow_inf_nan=False)
    weight_decay: float = Field(default=0.0, ge=0, allow_inf_nan=False)

    @model_validator(mode="after")
    def _heads_divide_width(self) -> "SasrecSection":
        if self.width % self.heads:
            raise ValueError(f"width ({self.width}) must be a multiple of heads ({self.heads})")
        return self
