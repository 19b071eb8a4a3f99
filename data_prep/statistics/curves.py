"""What the report draws of a log: lengths, popularity, and interactions over time."""

import math
from typing import TypeAlias

from recllm.data_prep.tables import Column, Connection, Table, collect, materialise, scalars

#: Points [x, y] in the order of x.
Curve: TypeAlias = list[list[float]]

#: Bars of lengths; the longest sequences, more than this share have, get the last one together.
LENGTH_BARS = 30
SHOWN_SHARE = 0.99
POPULARITY_POINTS = 100
TIME_BARS = 60
_DAY = 86_400
#: How long a bar of time may be, in seconds; where all are too short, it is a part of the whole.
PERIODS = (60, 3600, 6 * 3600, _DAY, 7 * _DAY, 30 * _DAY, 91 * _DAY, 365 * _DAY)


def sequences_by_length(log: Table) -> Curve:
    """How many sequences have which length.

    Returns:
        [least length, sequences] of each bar, equally wide; the last may hold all that are longer.
    """
    sizes = log.group_by("sequence").aggregate(size=log.count())
    size = sizes["size"]
    found = scalars(
        sizes.aggregate(least=size.min(), most=size.max(), shown=size.quantile(SHOWN_SHARE))
    )
    least, shown = found["least"], int(found["shown"])
    width = math.ceil((shown - least + 1) / LENGTH_BARS)
    last = min((found["most"] - least) // width, (shown - least) // width + 1)
    return _bars(sizes, size, least, width, last)


def interactions_by_popularity(con: Connection, log: Table) -> Curve:
    """The share of the interactions that the most popular items take, by their share (Lorenz).

    Returns:
        [share of the items, share of the interactions], from [0, 0] to [1, 1].
    """
    import ibis

    counts = materialise(con, log.group_by("item").aggregate(n=log.count()))
    order = [counts.n.desc(), counts["item"]]
    ranked = counts.mutate(
        place=ibis.row_number().over(order_by=order) + 1,
        taken=counts.n.sum().over(order_by=order, rows=(None, 0)),
    )
    whole = scalars(counts.aggregate(items=counts.count(), interactions=counts.n.sum()))
    steps = range(1, POPULARITY_POINTS + 1)
    places = sorted({math.ceil(whole["items"] * step / POPULARITY_POINTS) for step in steps})
    points = collect(ranked.filter(ranked.place.isin(places)).order_by("place"))
    return [[0.0, 0.0]] + [
        [point["place"] / whole["items"], int(point["taken"]) / int(whole["interactions"])]
        for point in points
    ]


def interactions_over_time(log: Table) -> Curve:
    """How many interactions there are in each of at most 61 periods of the same length.

    Returns:
        [start in seconds since 1970, interactions] of each period; the first and the last one may
        lie in the log only in part.
    """
    found = scalars(log.aggregate(first=log.timestamp.min(), last=log.timestamp.max()))
    span = found["last"] - found["first"]
    fitting = (period for period in PERIODS if span < TIME_BARS * period)
    width = next(fitting, span // TIME_BARS + 1)
    start = found["first"] // width * width
    return _bars(log, log.timestamp, start, width, (found["last"] - start) // width)


def _bars(table: Table, values: Column, start: int, width: int, last: int) -> Curve:
    """How many values lie in each of the bars 0 to `last`, which also gets what lies beyond."""
    placed = table.select(bar=((values - start) // width).clip(upper=last))
    counts = collect(placed.group_by("bar").aggregate(n=placed.count()))
    found = {row["bar"]: row["n"] for row in counts}
    return [[start + bar * width, found.get(bar, 0)] for bar in range(last + 1)]
