"""The SID health report: how well a set of semantic IDs uses its codes, and what it cost."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from recllm.artifacts.atomic import write_text
from recllm.catalog.histories import Spans
from recllm.catalog.sid_tree import node_ids
from recllm.catalog.sids import SidIndex
from recllm.catalog.trie_building import ENDED
from recllm.config.schema import HealthSection
from recllm.data_prep.quantizers import Distortion, Indexing
from recllm.data_prep.sid_prefixes import PrefixHealth, measure_prefixes
from recllm.errors import UserError

# Vectors that the codes explain this well are exact for our purpose; without a floor, the first
# collision in a small catalogue would be an endless relative rise.
NEGLIGIBLE_ERROR = 0.01
#: Of a curve that the report draws.
POINTS = 50
LIMITS = {
    "collision_rate": "max_collision_rate",
    "traffic_collision_rate": "max_collision_rate",
    "resolution_cost": "max_resolution_cost",
    "fullest_prefix_traffic": "max_prefix_traffic",
}


@dataclass(frozen=True)
class LevelHealth:
    """How one level's codes are used, before resolution.

    Attributes:
        codes: K, how many there are.
        used: codes that at least one item has.
        utilisation: used / min(K, items whose SID is that long).
        perplexity: exp of the entropy of the codes over the items; K where all are used alike.
    """

    codes: int
    used: int
    utilisation: float
    perplexity: float


@dataclass(frozen=True)
class SidHealth:
    """The figures of a set of SIDs. Titles have neither levels nor prefixes.

    Attributes:
        items: size of the catalogue.
        levels: one entry a level, as quantized.
        prefixes: one entry for each length of a prefix.
        distinct_before: SIDs that the scheme gave to at least one item.
        collision_rate: share of the items whose SID another item had too, before resolution.
        traffic_collision_rate: the same with each item counted by its training interactions.
        sharing_rate: share of the items whose SID another item has too, in the end.
        moved: items that resolution gave another SID.
        moved_prefix: those of them that left their prefix.
        mse_before: mean squared error of the reconstructions as quantized; None, as the next
            three, where nothing was quantized.
        mse_after: the same after resolution.
        unexplained_share: mse_before as a share of the variance of what was quantized.
        resolution_cost: the rise of the MSE, relative to mse_before (or to 1% of the vectors'
            variance, where mse_before is less).
        fullest_prefix_traffic: share of the training interactions whose items have the busiest
            code of the first level.
        items_by_code: for each level the curve of the items over its codes; see `usage_curve`.
        traffic_by_first_code: that of the training interactions over the first level's codes.
    """

    items: int
    levels: list[LevelHealth]
    prefixes: list[PrefixHealth]
    distinct_before: int
    collision_rate: float
    traffic_collision_rate: float
    sharing_rate: float
    moved: int
    moved_prefix: int
    mse_before: float | None
    mse_after: float | None
    unexplained_share: float | None
    resolution_cost: float | None
    fullest_prefix_traffic: float | None
    items_by_code: list[list[list[float]]]
    traffic_by_first_code: list[list[float]]

    def write(self, path: Path) -> None:
        """Write the figures as JSON."""
        write_text(path, json.dumps(asdict(self), indent=2, allow_nan=False))


def measure_health(
    indexing: Indexing, sequences: Spans, categories: Sequence[str | None] | None = None
) -> SidHealth:
    """The health of an index.

    Args:
        sequences: the training part of every sequence.
        categories: of each item, as one text; None where the catalogue has none.
    """
    index, distortion = indexing.index, indexing.distortion
    final = index.prefixes()
    proposed = final if indexing.proposed is None else indexing.proposed
    traffic = np.bincount(sequences.flatten()[1], minlength=len(index))
    holders = _holders(proposed)
    shared = holders > 1
    is_sid = isinstance(index, SidIndex)
    used = _uses(proposed, index.sizes) if is_sid else []
    taken = np.bincount(final[:, 0], weights=traffic, minlength=index.sizes[0]) if is_sid else None
    return SidHealth(
        items=len(index),
        levels=[_level_health(counts) for counts in used],
        prefixes=measure_prefixes(final, sequences, categories) if is_sid else [],
        distinct_before=round((1 / holders).sum()),
        collision_rate=float(shared.mean()),
        traffic_collision_rate=_share(traffic[shared].sum(), traffic),
        sharing_rate=float((_holders(final) > 1).mean()),
        moved=indexing.moved,
        moved_prefix=indexing.moved_prefix,
        mse_before=None if distortion is None else distortion.before,
        mse_after=None if distortion is None else distortion.after,
        unexplained_share=None if distortion is None else _ratio(distortion),
        resolution_cost=None if distortion is None else _relative_rise(distortion),
        fullest_prefix_traffic=None if taken is None else _share(taken.max(), traffic),
        items_by_code=[usage_curve(counts) for counts in used],
        traffic_by_first_code=[] if taken is None else usage_curve(taken),
    )


def check_health(health: SidHealth, limits: HealthSection) -> None:
    """Hold the figures to the recipe's limits.

    Raises:
        UserError: a limit is crossed; names each figure, its limit and what to change.
    """
    other = "choose another embed.encoder or sid.quantizer"
    crossed = [
        f"{figure} is {found:.3f}, above sid.health.{key} ({getattr(limits, key)}): raise "
        f"sid.codes or sid.levels, or {other}"
        for figure, key in LIMITS.items()
        if (found := getattr(health, figure)) is not None and found > getattr(limits, key)
    ]
    crossed += [
        f"{what} {lift:.2f} times as often as by chance, below sid.health.{key} "
        f"({getattr(limits, key)}): {other}"
        for what, key, lift in _lifts(health)
        if lift < getattr(limits, key)
    ]
    if health.levels and health.levels[0].utilisation < limits.min_utilisation:
        crossed.insert(
            0,
            f"the first level's utilisation is {health.levels[0].utilisation:.3f}, below "
            f"sid.health.min_utilisation ({limits.min_utilisation}): lower sid.codes, or {other}",
        )
    if crossed:
        raise UserError(
            f"the SIDs of {health.items} items are not healthy: {'; '.join(crossed)}"
            " (or move the limit)"
        )


def usage_curve(counts: NDArray[np.number]) -> list[list[float]]:
    """The share that the most used codes take, by their share of all codes (Lorenz).

    Returns:
        [share of the codes, share of the whole], from [0, 0] to [1, 1]; empty where all are 0.
    """
    whole = counts.sum()
    if not whole:
        return []
    taken = np.concatenate([[0], np.sort(counts)[::-1].cumsum()]) / whole
    places = np.unique(np.linspace(0, len(counts), POINTS + 1).round().astype(int))
    return [[round(place / len(counts), 4), round(float(taken[place]), 4)] for place in places]


def _uses(codes: NDArray[np.int32], sizes: Sequence[int]) -> list[NDArray[np.int64]]:
    """For each level, how many items have each of its codes."""
    return [
        np.bincount(column[column != ENDED], minlength=size)
        for column, size in zip(codes.T, sizes, strict=True)
    ]


def _level_health(counts: NDArray[np.int64]) -> LevelHealth:
    used = counts[counts > 0]
    shares = used / used.sum()
    return LevelHealth(
        codes=len(counts),
        used=len(used),
        utilisation=len(used) / min(len(counts), int(used.sum())),
        perplexity=float(np.exp(-(shares * np.log(shares)).sum())),
    )


def _holders(codes: NDArray[np.int32]) -> NDArray[np.int64]:
    """(items,) how many items have the SID of each."""
    sids = node_ids(codes + 1, codes.shape[1], int(codes.max()) + 2)
    return np.bincount(sids)[sids]


def _lifts(health: SidHealth) -> list[tuple[str, str, float]]:
    """What the first codes have in common: what it is, its limit, how many times chance."""
    if not health.prefixes:
        return []
    first = health.prefixes[0]
    found = [
        ("items with the same first code share their categories", "min_category_lift",
         first.same_category),
        ("items that follow each other share their first code", "min_covisit_lift",
         first.covisited),
    ]  # fmt: skip
    return [
        (what, key, against.lift)
        for what, key, against in found
        if against is not None and against.lift is not None
    ]


def _share(part: float, traffic: NDArray[np.int64]) -> float:
    """`part` of the whole traffic; 0 where there is no traffic."""
    total = traffic.sum()
    return float(part / total) if total else 0.0


def _ratio(distortion: Distortion) -> float:
    return distortion.before / distortion.variance if distortion.variance else 0.0


def _relative_rise(distortion: Distortion) -> float:
    base = max(distortion.before, NEGLIGIBLE_ERROR * distortion.variance)
    # No variance: all items are alike, any SID will do.
    return (distortion.after - distortion.before) / base if base else 0.0
