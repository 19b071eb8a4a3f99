"""The SID health report: how well a set of semantic IDs uses its codes, and what it cost."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from recllm.artifacts.atomic import write_text
from recllm.catalog.resolution import Resolution, node_ids
from recllm.config.schema import HealthSection
from recllm.data_prep.quantizers import Quantized
from recllm.errors import UserError

# Vectors that the codes explain this well are exact for our purpose; without a floor, the first
# collision in a small catalogue would be an endless relative rise.
NEGLIGIBLE_ERROR = 0.01


@dataclass(frozen=True)
class LevelHealth:
    """How one level's codes are used, before resolution.

    Attributes:
        used: codes that at least one item has.
        utilisation: used / min(K, items).
        perplexity: exp of the entropy of the codes over the items; K where all are used alike.
    """

    used: int
    utilisation: float
    perplexity: float


@dataclass(frozen=True)
class SidHealth:
    """The figures of a set of SIDs.

    Attributes:
        items: size of the catalogue.
        levels: one entry a level, as quantized.
        distinct_before: SIDs that the quantizer gave to at least one item.
        collision_rate: share of the items whose SID another item had too, before resolution.
        traffic_collision_rate: the same with each item counted by its training interactions.
        moved: items that resolution gave another SID.
        moved_prefix: those of them that left their prefix.
        mse_before: mean squared error of the reconstructions as quantized.
        mse_after: the same after resolution.
        resolution_cost: the rise of the MSE, relative to mse_before (or to 1% of the vectors'
            variance, where mse_before is less).
        fullest_prefix_traffic: share of the training interactions whose items have the busiest
            code of the first level.
    """

    items: int
    levels: list[LevelHealth]
    distinct_before: int
    collision_rate: float
    traffic_collision_rate: float
    moved: int
    moved_prefix: int
    mse_before: float
    mse_after: float
    resolution_cost: float
    fullest_prefix_traffic: float

    def write(self, path: Path) -> None:
        """Write the figures as JSON."""
        write_text(path, json.dumps(asdict(self), indent=2, allow_nan=False))


def measure_health(
    quantized: Quantized,
    resolution: Resolution,
    vectors: NDArray[np.float32],
    traffic: NDArray[np.int64],
) -> SidHealth:
    """The health of resolved SIDs.

    Args:
        vectors: (items, dimensions), what was quantized.
        traffic: (items,) training interactions of each item.
    """
    codes_per_level = quantized.codebooks.shape[1]
    items, depth = quantized.codes.shape
    sids = node_ids(quantized.codes, depth, codes_per_level)
    holders = np.bincount(sids)
    shared = holders[sids] > 1
    return SidHealth(
        items=items,
        levels=[_level_health(column, codes_per_level) for column in quantized.codes.T],
        distinct_before=len(holders),
        collision_rate=float(shared.mean()),
        traffic_collision_rate=_share(traffic[shared].sum(), traffic),
        moved=resolution.moved,
        moved_prefix=resolution.moved_prefix,
        mse_before=resolution.mse_before,
        mse_after=resolution.mse_after,
        resolution_cost=_relative_rise(resolution, float(vectors.var(axis=0).mean())),
        fullest_prefix_traffic=_share(
            np.bincount(resolution.codes[:, 0], weights=traffic).max(), traffic
        ),
    )


def check_health(health: SidHealth, limits: HealthSection) -> None:
    """Hold the figures to the recipe's limits.

    Raises:
        UserError: a limit is crossed; names each figure, its limit and what to change.
    """
    spread = "raise sid.codes or sid.levels, or choose another embed.encoder"
    used, least = health.levels[0].utilisation, limits.min_utilisation
    at_most = [
        ("collision_rate", health.collision_rate, "max_collision_rate"),
        ("traffic_collision_rate", health.traffic_collision_rate, "max_collision_rate"),
        ("resolution_cost", health.resolution_cost, "max_resolution_cost"),
    ]
    crossed = [
        f"{figure} is {found:.3f}, above sid.health.{key} ({getattr(limits, key)}): {spread}"
        for figure, found, key in at_most
        if found > getattr(limits, key)
    ]
    if used < least:
        crossed.insert(
            0,
            f"the first level's utilisation is {used:.3f}, below sid.health.min_utilisation "
            f"({least}): lower sid.codes, or choose another embed.encoder",
        )
    if crossed:
        raise UserError(
            f"the SIDs of {health.items} items are not healthy: {'; '.join(crossed)}"
            " (or move the limit)"
        )


def _level_health(codes: NDArray[np.int32], codes_per_level: int) -> LevelHealth:
    counts = np.bincount(codes)
    counts = counts[counts > 0]
    shares = counts / counts.sum()
    return LevelHealth(
        used=len(counts),
        utilisation=len(counts) / min(codes_per_level, len(codes)),
        perplexity=float(np.exp(-(shares * np.log(shares)).sum())),
    )


def _share(part: float, traffic: NDArray[np.int64]) -> float:
    """`part` of the whole traffic; 0 where there is no traffic."""
    total = traffic.sum()
    return float(part / total) if total else 0.0


def _relative_rise(resolution: Resolution, variance: float) -> float:
    rise = resolution.mse_after - resolution.mse_before
    base = max(resolution.mse_before, NEGLIGIBLE_ERROR * variance)
    return rise / base if base else 0.0  # no variance: all items are alike, any SID will do
