"""What every quantizer of vectors does first: it checks them, and draws a sample."""

import numpy as np
from numpy.typing import NDArray

from recllm.errors import UserError


def check_vectors(vectors: NDArray[np.float32]) -> None:
    """Refuse vectors that no quantizer can tell apart.

    Raises:
        UserError: there are none, some are not finite, or all are the same.
    """
    if not len(vectors):
        raise UserError("expected item vectors to quantize, found none; check the filter's counts")
    wrong = int((~np.isfinite(vectors)).any(axis=1).sum())
    if wrong:
        raise UserError(
            f"expected finite item vectors, found NaN or infinity in {wrong} of {len(vectors)}; "
            "choose another embed.encoder"
        )
    if len(vectors) > 1 and (vectors == vectors[0]).all():
        raise UserError(
            f"expected item vectors that differ, found {len(vectors)} identical ones; "
            "give the items text, or choose another embed.encoder"
        )


def sample_rows(items: int, sample: int | None, seed: int) -> NDArray[np.int64]:
    """The rows of a sample, ascending; all of them where `sample` is None or not less."""
    if sample is None or items <= sample:
        return np.arange(items)
    return np.sort(np.random.default_rng(seed).choice(items, sample, replace=False))


def level_seed(seed: int, level: int) -> int:
    """A seed for one level."""
    return int(np.random.SeedSequence([seed, level]).generate_state(1)[0])
