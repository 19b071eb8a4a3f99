"""What the quantizers that begin with k-means on a sample of the items have in common."""

from pydantic import Field

from recllm.data_prep.quantizers import Quantizer


class SampledKMeans(Quantizer):
    """Base of these quantizers: their options."""

    iterations: int = Field(default=20, ge=1, description="of k-means, a level")
    sample: int | None = Field(
        default=65536, ge=2, description="items that k-means is fitted on; null: all"
    )
