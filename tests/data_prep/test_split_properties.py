"""Every split against plain Python, on all kinds of small logs."""

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import naive_data
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from naive_data import SPLITS, Counts, Log, Tables, divide, logs

from recllm.catalog.histories import Sequences, SplitRows, read_moments
from recllm.config.schema import DataSection
from recllm.data_prep.splits import Split
from recllm.data_prep.splits.given import Given
from recllm.data_prep.splits.leave_one_out import LeaveOneOut
from recllm.data_prep.splits.minionerec import Minionerec
from recllm.data_prep.splits.temporal import Temporal
from recllm.data_prep.splits.user_disjoint import UserDisjoint
from recllm.data_prep.tables import session
from recllm.errors import UserError
from recllm.prompts.leaks import check_leaks

from .conftest import FEW

ITEMS, TIMES = st.integers(0, 6), st.integers(-3, 12)
#: Logs of one behaviour, and such as have interactions that are history only.
LOGS = st.one_of(
    logs(item=ITEMS, timestamp=TIMES),
    logs(item=ITEMS, timestamp=TIMES, is_target=st.booleans()),
)
SHARES = st.sampled_from([(0.1, 0.1), (0.3, 0.25), (0.05, 0.6)])
examples = settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])


Compare = Callable[[Split, Log, bool, tuple[Tables, Counts]], None]
Divide = Callable[[Split, Log], Any]


@pytest.fixture
def run(con: Any, tmp_path: Path) -> Divide:
    """Run a split over a filtered log."""
    return lambda split, log: divide(con, split, log, tmp_path)


@pytest.fixture
def compare(con: Any, tmp_path: Path) -> Compare:
    """Hold a split to the tables and counts of plain Python, and to the leak lint."""

    def hold(split: Split, log: Log, drop_cold: bool, expected: tuple[Tables, Counts]) -> None:
        found, counts = divide(con, split, log, tmp_path, drop_cold)
        assert found == expected[0]
        assert counts == expected[1]
        sequences = Sequences.read(tmp_path)
        rows = {name: SplitRows.read(tmp_path, name, sequences) for name in SPLITS}
        check_leaks(sequences, rows, read_moments(tmp_path, sequences, split.global_cut))

    return hold


@examples
@given(LOGS, st.booleans())
def test_leave_one_out(compare: Compare, log: Log, drop_cold: bool) -> None:
    compare(LeaveOneOut(), log, drop_cold, naive_data.leave_one_out(log, drop_cold))


@examples
@given(LOGS, SHARES, st.booleans())
def test_temporal_by_shares(
    compare: Compare, log: Log, shares: tuple[float, float], drop_cold: bool
) -> None:
    times = sorted(row["timestamp"] for row in log)
    wanted = [min(len(log), max(1, round(len(log) * share))) for share in (sum(shares), shares[1])]
    cuts = [times[len(times) - later] for later in wanted]
    split = Temporal(valid_share=shares[0], test_share=shares[1])
    compare(split, log, drop_cold, naive_data.temporal(log, cuts[0], cuts[1], drop_cold))
    # equal times stay together, so that a side can only grow
    for cut, least in zip(cuts, wanted, strict=True):
        assert sum(time >= cut for time in times) >= least


@examples
@given(LOGS, TIMES, st.integers(1, 12))
def test_temporal_by_times(compare: Compare, run: Divide, log: Log, cut: int, later: int) -> None:
    times = [row["timestamp"] for row in log]
    split = Temporal(valid_from=cut, test_from=cut + later)
    if min(times) < cut and cut + later <= max(times):
        compare(split, log, False, naive_data.temporal(log, cut, cut + later))
    else:
        with pytest.raises(UserError, match="but the log goes from"):
            run(split, log)


@examples
@given(LOGS, st.booleans())
def test_minionerec(compare: Compare, run: Divide, log: Log, drop_cold: bool) -> None:
    targets = sum(
        place > 0 and row.get("is_target", True)
        for own in naive_data.by_owner(log).values()
        for place, row in enumerate(own)
    )
    if not targets:
        with pytest.raises(UserError, match="no user has two interactions"):
            run(Minionerec(), log)
        return
    compare(Minionerec(), log, drop_cold, naive_data.minionerec(log, drop_cold))
    sizes = [len(naive_data.minionerec(log)[0][name]) for name in SPLITS]
    bounds = [0, int(0.8 * targets), int(0.9 * targets), targets]
    assert sizes == [end - start for start, end in pairwise(bounds)]


@examples
@given(
    LOGS,
    st.builds(
        lambda seed, shares, targets: UserDisjoint(
            split_seed=seed, valid_share=shares[0], test_share=shares[1], held_out_targets=targets
        ),
        st.integers(0, 9),
        SHARES,
        st.sampled_from(["all", "last"]),
    ),
    st.booleans(),
)
def test_user_disjoint(compare: Compare, log: Log, split: UserDisjoint, drop_cold: bool) -> None:
    shares, only_last = (split.valid_share, split.test_share), split.held_out_targets == "last"
    expected = naive_data.user_disjoint(log, split.split_seed, shares, only_last, drop_cold)
    compare(split, log, drop_cold, expected)


def by_default_shares(log: Log) -> tuple[Tables, Counts]:
    times = sorted(row["timestamp"] for row in log)
    later = [max(1, round(len(log) * share)) for share in (0.2, 0.1)]
    return naive_data.temporal(log, *(times[len(times) - least] for least in later))


#: Splits with what plain Python says of a log.
ON_SPARK: dict[str, tuple[Split, Callable[[Log], tuple[Tables, Counts]]]] = {
    "leave-one-out": (LeaveOneOut(), naive_data.leave_one_out),
    "temporal": (Temporal(), by_default_shares),
    "minionerec": (Minionerec(), naive_data.minionerec),
    "user-disjoint": (
        UserDisjoint(split_seed=3, valid_share=0.3, test_share=0.3),
        lambda log: naive_data.user_disjoint(log, 3, (0.3, 0.3), False),
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", ON_SPARK)
@FEW
@given(log=LOGS)
def test_splits_on_spark(name: str, spark: DataSection, tmp_path: Path, log: Log) -> None:
    split, naive = ON_SPARK[name]
    owners = naive_data.by_owner(log).values()
    assume(any(row.get("is_target", True) for own in owners for row in own[1:]))
    with session(spark) as con:
        assert divide(con, split, log, tmp_path) == naive(log)


LABELS = st.sampled_from([*SPLITS, None])


def in_order(log: Log) -> Log:
    """The log with each user's labels in the order that they may have: most logs then are sound."""
    rank = {"train": 0, "valid": 1, "test": 2}
    for own in naive_data.by_owner(log).values():
        labels = iter(sorted((r["split"] for r in own if r["split"]), key=rank.__getitem__))
        for row in own:
            if row["split"]:
                row["split"] = next(labels)
    return log


@examples
@given(
    st.one_of(
        logs(item=ITEMS, timestamp=TIMES, split=LABELS),
        logs(item=ITEMS, timestamp=TIMES, split=LABELS).map(in_order),
        logs(item=ITEMS, timestamp=TIMES, split=LABELS, is_target=st.booleans()).map(in_order),
    ),
    st.booleans(),
)
def test_given(compare: Compare, run: Divide, log: Log, drop_cold: bool) -> None:
    expected = naive_data.given(log, drop_cold)
    if expected is None:
        with pytest.raises(UserError, match="a training interaction comes after"):
            run(Given(), log)
    else:
        compare(Given(), log, drop_cold, expected)
