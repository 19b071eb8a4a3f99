"""From ranks to the content of metrics.json."""

from collections.abc import Mapping
from typing import Any, NotRequired, TypedDict

import numpy as np
from numpy.typing import NDArray

from recllm.catalog.split_names import SplitName
from recllm.config.schema import EvalSection
from recllm.errors import UserError
from recllm.eval.estimates import (
    Bootstrap,
    Estimate,
    headline_depth,
    headline_names,
    metric_names,
    per_row,
)
from recllm.eval.facts import Facts
from recllm.eval.predictions import Predictions, with_misses
from recllm.eval.slices import Slice, estimate_slices, regroup, slice_masks
from recllm.metrics.beyond_accuracy import coverage, diversity, gini, mean_popularity, novelty


class Scores(TypedDict):
    """The content of metrics.json.

    `metrics` and `baselines` are item-level, over all rows of the split: also over those counted
    by `outside_catalogue`, whose target is not in the catalogue, so that everybody misses it; the
    other keys leave these out. `paired` holds the mean
    over rows of model minus baseline. `slices` is documented in `recllm.eval.slices`,
    `beyond_accuracy`, of the model and of the baselines by name, in `beyond_accuracy` below.
    `settings` and `cost` are the caller's, and so are `candidates` (see `evaluate_candidates`),
    `phrasings` (see `over_phrasings`) and `search` (see `evaluate_search`), where these were asked
    for.
    """

    split: str
    rows: int
    outside_catalogue: int
    settings: dict[str, Any]
    metrics: dict[str, Estimate]
    sid_metrics: dict[str, Estimate]
    baselines: dict[str, dict[str, Estimate]]
    paired: dict[str, dict[str, Estimate]]
    slices: dict[str, list[Slice]]
    beyond_accuracy: dict[str, dict[str, float]]
    invalid_rate: float
    cost: dict[str, Any]
    candidates: NotRequired[dict[str, Any]]
    phrasings: NotRequired[dict[str, Any]]
    search: NotRequired[dict[str, Any]]


def score(  # noqa: PLR0917 (the parts of metrics.json)
    predictions: Predictions,
    facts: Facts,
    split: SplitName,
    section: EvalSection,
    seed: int,
    settings: dict[str, Any],
    cost: dict[str, Any],
) -> Scores:
    """Score predictions beside the baselines on the same rows.

    Args:
        section: beams, cutoffs and resamples are taken from here.
        settings: stated with the figures: engine, scoring, exclude_history, …
        cost: stated with the figures: seconds, rows per second, …

    Raises:
        UserError: there are no rows.
    """
    if not len(predictions):
        raise UserError(f"expected rows in the {split} split, found none; check the split's counts")
    ranks = {"model": predictions.ranks}
    ranks |= {name: found.ranks for name, found in facts.baselines.items()}
    lists = {"model": predictions.items}
    lists |= {name: found.items for name, found in facts.baselines.items()}
    levels = {**ranks, "sid": sid_ranks(predictions.items, predictions.targets, facts.codes)}
    bootstrap = Bootstrap(section.bootstrap, seed)
    outside, users = len(predictions.outside), predictions.all_users
    missed = {name: with_misses(found, outside) for name, found in levels.items()}
    estimates = regroup(bootstrap.estimate(columns(missed, metric_names(section)), users), levels)
    paired = differences({name: missed[name] for name in ranks}, headline_names(section))
    masks = slice_masks(facts.history_lengths, predictions.targets, facts.popularity)
    return Scores(
        split=split,
        rows=len(users),
        outside_catalogue=outside,
        settings=settings,
        metrics=estimates["model"],
        sid_metrics=estimates["sid"],
        baselines={name: estimates[name] for name in facts.baselines},
        paired=regroup(bootstrap.estimate(paired, users), facts.baselines),
        slices=estimate_slices(masks, ranks, headline_names(section), predictions.users, bootstrap),
        beyond_accuracy={
            name: beyond_accuracy(items[:, : headline_depth(section)], predictions.targets, facts)
            for name, items in lists.items()
        },
        invalid_rate=predictions.invalid_rate,
        cost=cost,
    )


def sid_ranks(items: NDArray[Any], targets: NDArray[Any], codes: NDArray[Any]) -> NDArray[np.int32]:
    """(rows,) the rank of the target's SID among the distinct SIDs of the recommended items.

    Equal to the item-level rank where every item has its own SID. Items that share one count as
    one place, and any of them is a hit for the others.

    Args:
        items: (rows, beams) best first, -1 where a row has fewer.
        targets: (rows,) items.
        codes: (items, depth), equal for items of one SID.
    """
    sid_of_item = np.unique(codes, axis=0, return_inverse=True)[1].reshape(-1)
    sids = np.where(items >= 0, sid_of_item[items], -1)
    found = sids == sid_of_item[targets][:, None]
    place = np.where(found.any(axis=1), found.argmax(axis=1), -1)
    distinct_before = np.cumsum(_first_occurrences(sids), axis=1) - 1
    rank = np.take_along_axis(distinct_before, np.maximum(place, 0)[:, None], axis=1)[:, 0]
    return np.where(place >= 0, rank, -1).astype(np.int32)


def beyond_accuracy(top: NDArray[Any], targets: NDArray[Any], facts: Facts) -> dict[str, float]:
    """What the first items of each row say beside their hits.

    coverage: the share of the catalogue that is recommended at all. gini: how unevenly. novelty:
    mean -log2 of the popularity share, in bits. diversity: the share of pairs in a list that
    differ in the first code of their SID, so it depends on the SIDs; left out where a SID has no
    prefix. popularity_bias: the mean popularity of recommended items over that of the targets, 1
    where they are alike; left out where no target occurs in training.

    Args:
        top: (rows, items) best first, -1 where a row has fewer.
        targets: (rows,) items.
    """
    catalogue = len(facts.popularity)
    recommended = mean_popularity(top, facts.popularity)
    consumed = mean_popularity(targets, facts.popularity)
    found = {
        "coverage": coverage(top, catalogue),
        "gini": gini(top, catalogue),
        "novelty": novelty(top, facts.popularity),
        "popularity_recommended": recommended,
        "popularity_targets": consumed,
    }
    if facts.codes.shape[1] > 1:
        found["diversity"] = diversity(top, facts.codes[:, 0])
    return found | ({"popularity_bias": recommended / consumed} if consumed else {})


def columns(
    ranks: Mapping[str, NDArray[Any]], names: list[str]
) -> dict[tuple[str, str], NDArray[np.float64]]:
    """Per-row values by (who, metric)."""
    return {
        (who, name): values
        for who, found in ranks.items()
        for name, values in per_row(names, found).items()
    }


def differences(
    ranks: Mapping[str, NDArray[Any]], names: list[str]
) -> dict[tuple[str, str], NDArray[np.float64]]:
    """Per-row model minus baseline by (baseline, metric)."""
    values = columns(ranks, names)
    return {
        (who, name): values["model", name] - column
        for (who, name), column in values.items()
        if who != "model"
    }


def _first_occurrences(values: NDArray[Any]) -> NDArray[np.bool_]:
    """(rows, beams) true where a value has not occurred earlier in its row."""
    order = np.argsort(values, axis=1, kind="stable")
    ordered = np.take_along_axis(values, order, axis=1)
    first = np.ones(values.shape, dtype=bool)
    first[:, 1:] = ordered[:, 1:] != ordered[:, :-1]
    result = np.empty_like(first)
    np.put_along_axis(result, order, first, axis=1)
    return result
