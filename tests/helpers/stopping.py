"""Stopping a training where a test wants it."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest
from numpy.typing import NDArray

from recllm.models.recommender import Recommender
from recllm.train.validation import Validation


@contextmanager
def interrupted_at_evaluation(which: int) -> Iterator[None]:
    """Whatever trains in here is interrupted in its `which`-th evaluation, counted from 1."""
    calls, real = 0, Validation.values

    def interrupt(self: Validation, recommender: Recommender) -> NDArray[np.integer]:
        nonlocal calls
        calls += 1
        if calls == which:
            raise KeyboardInterrupt
        return real(self, recommender)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Validation, "values", interrupt)
        yield
