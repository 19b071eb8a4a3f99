"""Assignment of points to centroids of which none may take more than so many.

The cheapest such assignment is a transport problem, whose exact solvers (min-cost flow) do not
reach a million points. Here each centroid has a price, which is added to its distances: a
centroid that too many points choose becomes dearer, by as much as makes those too many rather go
elsewhere, round by round (the dual ascent of auction algorithms; Bertsekas, 1992), until few are
too many. Then the capacity is enforced. A centroid keeps the points that would lose most by leaving
it; the others go, in rounds, each to the cheapest centroid with room, which again prefers those
that would lose most. In each round a centroid is filled or nobody is left, so rounds end.

Prices are found among each point's nearest centroids alone, which bounds memory; where all of
these are full, a point is compared with every centroid.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from recllm.data_prep.quantizers._kmeans import Rows, blocks, half_distances

#: How many of its nearest centroids a point first chooses from.
CANDIDATES = 32
#: The most rounds of prices; fewer, where at most this share of the points is left too many.
PRICE_ROUNDS, PRICED_ENOUGH = 200, 0.001


def capacity_of(points: int, codes: int, slack: float) -> int:
    """The most points that a code may have: slack × the mean, but room for all."""
    return max(int(slack * points / codes), -(-points // codes))


def assign_within(points: Rows, centroids: Tensor, capacity: int) -> Tensor:
    """A centroid for each point, near ones, none of them for more than `capacity` points.

    Args:
        points: (points, dimensions); read several times, in blocks.
        centroids: (codes, dimensions), at least two.

    Returns:
        (points,) int64.
    """
    costs, candidates = _nearest_few(points, centroids)
    prices = find_prices(costs, candidates, len(centroids), capacity)
    costs += prices[candidates]

    def all_costs(rows: Tensor) -> Tensor:
        return half_distances(points[rows], centroids) + prices

    return enforce(costs, candidates, len(centroids), capacity, all_costs)


def find_prices(costs: Tensor, candidates: Tensor, codes: int, capacity: int) -> Tensor:
    """(codes,) prices with which few codes are chosen by more than `capacity` points.

    Args:
        costs: (points, few) of the candidates.
        candidates: (points, few) codes.
    """
    prices = costs.new_zeros(codes)
    for _ in range(PRICE_ROUNDS):
        chosen, regret = _choose(costs + prices[candidates], candidates)
        excess = (torch.bincount(chosen, minlength=codes) - capacity).clamp(min=0)
        if excess.sum() <= PRICED_ENOUGH * len(costs):
            break
        rows = torch.nonzero(excess[chosen] > 0).flatten()
        # Within a code, those that lose least by leaving come first.
        rows = rows[torch.argsort(regret[rows], stable=True)]
        rows = rows[torch.argsort(chosen[rows], stable=True)]
        last = _rank_within(chosen[rows]) == excess[chosen[rows]]
        prices[chosen[rows[last]]] += regret[rows[last]]
    return prices


def enforce(
    costs: Tensor,
    candidates: Tensor,
    codes: int,
    capacity: int,
    all_costs: Callable[[Tensor], Tensor],
) -> Tensor:
    """A code for each point, none for more than `capacity` points; see the module's docstring.

    Args:
        costs: (points, few) of the candidates.
        candidates: (points, few) codes.
        all_costs: gives the costs of all codes, (rows, codes), for some points.
    """
    chosen, regret = _choose(costs, candidates)
    waiting = torch.arange(len(costs), device=costs.device)
    room = torch.full((codes,), capacity, device=costs.device)
    result = torch.empty_like(chosen)
    while True:
        first = torch.argsort(regret, descending=True, stable=True)
        first = first[torch.argsort(chosen[first], stable=True)]
        fits = torch.zeros(len(waiting), dtype=torch.bool, device=costs.device)
        fits[first] = _rank_within(chosen[first]) < room[chosen[first]]
        result[waiting[fits]] = chosen[fits]
        room -= torch.bincount(chosen[fits], minlength=codes)
        waiting = waiting[~fits]
        if not len(waiting):
            return result
        closed = torch.where(room > 0, 0.0, torch.inf)
        chosen, regret = _choose(costs[waiting] + closed[candidates[waiting]], candidates[waiting])
        stuck = torch.nonzero(room[chosen] <= 0).flatten()
        for rows in blocks(len(stuck), codes):
            open_costs = all_costs(waiting[stuck[rows]]) + closed
            every = torch.arange(codes, device=costs.device).expand_as(open_costs)
            chosen[stuck[rows]], regret[stuck[rows]] = _choose(open_costs, every)


def _nearest_few(points: Rows, centroids: Tensor) -> tuple[Tensor, Tensor]:
    """Half the squared distances to each point's nearest centroids, and which they are."""
    few = min(CANDIDATES, len(centroids))
    found = [
        half_distances(points[rows], centroids).topk(few, largest=False)
        for rows in blocks(len(points), len(centroids))
    ]
    return torch.cat([f.values for f in found]), torch.cat([f.indices for f in found])


def _choose(costs: Tensor, candidates: Tensor) -> tuple[Tensor, Tensor]:
    """The cheapest candidate of each point, and how much dearer the next one is."""
    cheapest = costs.topk(2, dim=1, largest=False)
    chosen = candidates.gather(1, cheapest.indices[:, :1])[:, 0]
    regret = cheapest.values[:, 1] - cheapest.values[:, 0]
    return chosen, regret.nan_to_num(nan=0.0)  # both infinite: no candidate has room


def _rank_within(keys: Tensor) -> Tensor:
    """For sorted keys: how many equal ones come before each."""
    position = torch.arange(len(keys), device=keys.device)
    return position - torch.searchsorted(keys, keys)
