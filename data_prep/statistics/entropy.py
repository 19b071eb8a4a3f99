"""Approximate entropy: how far the next item is open where the last ones are known."""

import math
from typing import TypeAlias

from recllm.data_prep.tables import Column, Connection, Table, materialise, scalars

#: The embedding dimensions m: how many of the last items are known.
DIMENSIONS = (1, 2)
_ITEMS = tuple(f"item_{place}" for place in range(max(DIMENSIONS) + 1))

#: Patterns that occur more than once, each with its number `n`, by their length k, from 1 on.
_Repeated: TypeAlias = dict[int, Table]


def approximate_entropy(con: Connection, log: Table) -> dict[str, float]:
    """ApEn of the sequences, in nats: 0 where the last m items decide the next one.

    ApEn(m) = Φ(m) - Φ(m + 1), where Φ(k) is the mean of ln(n / N) over the N runs of k items that
    follow each other, n being how often such a run occurs, itself included (Pincus, 1991,
    "Approximate entropy as a measure of system complexity"). Items are names, not sizes: runs are
    alike where they are equal, which is Pincus' tolerance r = 0. No run goes from one sequence
    into another. Where there is no run of k items, Φ(k) is 0.

    Args:
        log: a materialised table of sequence, item, timestamp and row.

    Returns:
        For each m of 1 and 2:

        - per_sequence_m: the mean over sequences of each one's own |ApEn(m)|, as in Shen et al.,
          2024, "Optimizing Sequential Recommendation Models with Scaling Laws and Approximate
          Entropy" (arXiv:2412.00430), who measure the quality of data by it: their code has m = 2
          as the default, and compares ids within 0.2, that is, by equality. (They also cut
          sequences to the last 25 or 50 items; here they are whole.) It sees what a user does
          again; where nobody does, it is ln((N - m + 1) / (N - m)) and tells only lengths.
        - pooled_m: ApEn(m) with the runs of all sequences counted together: the entropy of the
          next item given the m last ones, whoever took them, which is what a recommender has to
          overcome. It counts runs that occur once as certain, so that it is too low where there
          are few interactions for each run of m items, and can be a little below 0.
    """
    windows = _windows(con, log)
    lengths = materialise(con, log.group_by("sequence").aggregate(length=log.count()))
    own, pooled = _repeated(con, windows, ("sequence",)), _repeated(con, windows, ())
    found = {f"per_sequence_m{m}": _mean_of_sequences(lengths, own, m) for m in DIMENSIONS}
    phis = {length: _pooled_phi(lengths, often, length) for length, often in pooled.items()}
    return found | {f"pooled_m{m}": phis[m] - phis[m + 1] for m in DIMENSIONS}


def _windows(con: Connection, log: Table) -> Table:
    """The run of items that starts at each interaction; null where its sequence is over."""
    import ibis

    later = ibis.window(group_by=log.sequence, order_by=[log.timestamp, log.row])
    runs = {name: log["item"].lead(place).over(later) for place, name in enumerate(_ITEMS) if place}
    return materialise(con, log.select("sequence", **{_ITEMS[0]: log["item"]}, **runs))


def _repeated(con: Connection, windows: Table, scope: tuple[str, ...]) -> _Repeated:
    """The patterns of each length that occur more than once, within `scope`.

    A pattern can occur again only where the one that it begins with does: what is counted gets
    less with each length.
    """
    found: _Repeated = {}
    for length, last in enumerate(_ITEMS, 1):
        keys = (*scope, *_ITEMS[:length])
        windows = windows.filter(windows[last].notnull())
        often = windows.group_by(keys).having(windows.count() > 1).aggregate(n=windows.count())
        found[length] = materialise(con, often)
        windows = windows.semi_join(found[length], keys)
    return found


def _mean_of_sequences(lengths: Table, own: _Repeated, m: int) -> float:
    """The mean of |Φ(m) - Φ(m + 1)|, each from the sequence's own runs."""
    shorter, longer = (_phis(lengths, own[length], length) for length in (m, m + 1))
    both = shorter.join(longer, "sequence", rname="{name}_longer")
    return scalars(both.aggregate(mean=(both.phi - both.phi_longer).abs().mean()))["mean"]


def _phis(lengths: Table, own: Table, length: int) -> Table:
    """Φ of each sequence: sequence, phi."""
    sums = own.group_by("sequence").aggregate(surplus=_surplus(own))
    found = lengths.left_join(sums, "sequence")
    runs = (found.length - (length - 1)).clip(lower=1).cast("float64")  # of none, Φ is 0
    return found.select("sequence", phi=found.surplus.fill_null(0.0) / runs - runs.ln())


def _pooled_phi(lengths: Table, often: Table, length: int) -> float:
    """Φ of the runs of all sequences."""
    runs = scalars(lengths.aggregate(n=(lengths.length - (length - 1)).clip(lower=0).sum()))["n"]
    surplus = scalars(often.aggregate(n=_surplus(often)))["n"]
    return float(surplus or 0.0) / runs - math.log(runs) if runs else 0.0


def _surplus(repeated: Table) -> Column:
    """What repeated patterns add to Φ: N Φ = Σ n ln n - N ln N, where n = 1 adds nothing."""
    often = repeated.n.cast("float64")
    return (often * often.ln()).sum()
