"""Slices of the rows: by history length, by popularity of the target, and cold targets."""

from collections.abc import Mapping, Sequence
from typing import Any, TypedDict

import numpy as np
from numpy.typing import NDArray

from recllm.eval.estimates import Bootstrap, Estimate, per_row

#: The shortest history of each bin.
HISTORY_BINS = (1, 5, 10, 20, 50)
#: Shares of the training traffic at which mid and tail begin.
TRAFFIC_BOUNDS = (1 / 3, 2 / 3)


class Slice(TypedDict):
    """Some of the rows: the model and the baselines on them, by metric. Empty where n is 0."""

    label: str
    n: int
    model: dict[str, Estimate]
    baselines: dict[str, dict[str, Estimate]]


def slice_masks(
    history_lengths: NDArray[Any], targets: NDArray[Any], popularity: NDArray[Any]
) -> dict[str, dict[str, NDArray[np.bool_]]]:
    """Which rows each slice takes, by kind of slice and label.

    `target_popularity` groups items with training interactions: the most popular third of the
    traffic is the head, the next third mid, the last third the tail; items of equal popularity
    stay together. `cold_target` parts rows whose target has no training interaction from others.
    """
    cold = popularity[targets] == 0
    group = _traffic_groups(popularity)[targets]
    starts = [*HISTORY_BINS, None]
    lengths = {
        _range_label(low, high): (history_lengths >= low)
        & (history_lengths < (np.inf if high is None else high))
        for low, high in zip(HISTORY_BINS, starts[1:], strict=True)
    }
    return {
        "history_length": lengths,
        "target_popularity": {
            label: (group == place) & ~cold for place, label in enumerate(("head", "mid", "tail"))
        },
        "cold_target": {"cold": cold, "warm": ~cold},
    }


def estimate_slices(
    masks: Mapping[str, Mapping[str, NDArray[np.bool_]]],
    ranks: Mapping[str, NDArray[Any]],
    names: Sequence[str],
    users: NDArray[Any],
    bootstrap: Bootstrap,
) -> dict[str, list[Slice]]:
    """The named metrics of each slice.

    Args:
        masks: from `slice_masks`.
        ranks: (rows,) 0-based target ranks: of "model", and of each baseline by its name.
        names: metrics such as hit@10.
        users: (rows,) the user of each row.
    """
    columns = {
        (who, name): values
        for who, found in ranks.items()
        for name, values in per_row(names, found).items()
    }

    def estimate(label: str, mask: NDArray[np.bool_]) -> Slice:
        chosen = {key: values[mask] for key, values in columns.items()}
        estimates = bootstrap.estimate(chosen, users[mask]) if mask.any() else {}
        grouped = regroup(estimates, ranks)
        model = grouped.pop("model")
        return Slice(label=label, n=int(mask.sum()), model=model, baselines=grouped)

    return {
        kind: [estimate(label, mask) for label, mask in labelled.items()]
        for kind, labelled in masks.items()
    }


def regroup(
    estimates: Mapping[tuple[str, str], Estimate], firsts: Mapping[str, Any]
) -> dict[str, dict[str, Estimate]]:
    """Estimates keyed by (recommender, metric) as one mapping for each recommender."""
    return {
        first: {name: value for (who, name), value in estimates.items() if who == first}
        for first in firsts
    }


def _traffic_groups(popularity: NDArray[Any]) -> NDArray[np.int64]:
    """(items,) 0 for head, 1 for mid, 2 for tail."""
    levels, level_of_item = np.unique(-popularity, return_inverse=True)
    traffic = np.bincount(level_of_item, weights=popularity, minlength=len(levels))
    before = np.cumsum(traffic) - traffic
    share = before / max(float(traffic.sum()), 1.0)
    return np.searchsorted(TRAFFIC_BOUNDS, share, side="right")[level_of_item]


def _range_label(low: int, high: int | None) -> str:
    return f"{low}+" if high is None else f"{low}-{high - 1}"
