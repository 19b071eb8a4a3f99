"""Candidate sets: what they hold, how they are drawn, and what a file of them may be."""

from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from builders import make_rows, make_sequences
from hypothesis import given
from hypothesis import strategies as st

from recllm.catalog.histories import SplitRows
from recllm.catalog.items import Items
from recllm.config.candidates_section import CandidatesSection
from recllm.config.loading import load_recipe
from recllm.errors import UserError
from recllm.eval import candidate_sets
from recllm.eval.candidate_sets import CandidateSets, check_file, identify, make_sets

N = 12
ITEMS = Items(pa.table({"item_id": [f"i{i:02d}" for i in range(N)], "title": ["t"] * N}))
POPULARITY = np.array([9, 0, 4, 4, 1, 0, 2, 30, 1, 1, 5, 3])
SEQUENCES = st.lists(st.lists(st.integers(0, N - 1), min_size=2, max_size=9), min_size=1)


def rows_of(sequences: list[list[int]]) -> SplitRows:
    """The last item of each is the target."""
    made = make_sequences(sequences)
    return make_rows(made, [(i, 0, len(items) - 1) for i, items in enumerate(sequences)])


def draw(rows: SplitRows, seed: int = 0, **settings: Any) -> CandidateSets:
    return make_sets(CandidatesSection.model_validate(settings), rows, ITEMS, POPULARITY, seed)


@given(
    SEQUENCES,
    st.integers(1, N + 2),
    st.sampled_from(["uniform", "popularity"]),
    st.booleans(),
    st.sampled_from([0, 1, 4]),
)
def test_a_set_is_the_target_and_distinct_eligible_negatives(
    sequences: list[list[int]], negatives: int, sampling: str, exclude: bool, draws: int
) -> None:
    rows = rows_of(sequences)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(candidate_sets, "_DRAWS", draws)
        made = draw(rows, negatives=negatives, sampling=sampling, exclude_history=exclude)
    short = 0
    for found, items in zip(made.items, sequences, strict=True):
        assert found.tolist() == sorted(set(found.tolist()))
        kept_out = {items[-1], *(items[:-1] if exclude else [])}
        eligible = {i for i in range(N) if sampling == "uniform" or POPULARITY[i]} - kept_out
        assert items[-1] in found
        assert set(found.tolist()) - {items[-1]} <= eligible
        assert len(found) == 1 + min(negatives, len(eligible))
        short += len(eligible) < negatives
    assert made.counts == {"short_sets": short}
    assert made.largest == max(map(len, made.items))


@given(SEQUENCES, st.sampled_from(["uniform", "popularity"]), st.randoms())
def test_a_set_depends_on_its_row_and_the_seed_alone(
    sequences: list[list[int]], sampling: str, random: Any
) -> None:
    rows = rows_of(sequences)
    whole = draw(rows, negatives=4, sampling=sampling)
    chosen = random.sample(range(len(rows)), random.randint(1, len(rows)))
    some = draw(rows.select(np.array(chosen)), negatives=4, sampling=sampling)
    for place, found in zip(chosen, some.items, strict=True):
        assert np.array_equal(found, whole.items[place])


def test_another_seed_draws_others() -> None:
    rows = rows_of([[0, i % N] for i in range(40)])
    first, second, again = (draw(rows, seed, negatives=4).items for seed in (0, 1, 0))
    assert [s.tolist() for s in first] == [s.tolist() for s in again]
    assert sum(a.tolist() != b.tolist() for a, b in zip(first, second, strict=True)) > 30


def inclusion(weights: dict[int, int], wanted: int) -> dict[int, float]:
    """How likely each item is among the first `wanted` drawn one after another by weight."""
    found = dict.fromkeys(weights, 0.0)
    for order in permutations(weights, wanted):
        chance, left = 1.0, sum(weights.values())
        for item in order:
            chance *= weights[item] / left
            left -= weights[item]
        for item in order:
            found[item] += chance
    return found


@pytest.mark.parametrize(("sampling", "draws"), [("uniform", 4), ("popularity", 4),
                                                 ("popularity", 1), ("popularity", 0)])  # fmt: skip
def test_items_are_drawn_as_often_as_they_should(
    sampling: str, draws: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(candidate_sets, "_DRAWS", draws)
    count, history, target = 6000, [2, 10], 7
    rows = rows_of([[*history, target]] * count)
    made = draw(rows, negatives=3, sampling=sampling)
    times = np.bincount(made.items.flatten()[1], minlength=N) / count
    eligible = set(range(N)) - {target, *history}
    weights = {i: 1 if sampling == "uniform" else int(POPULARITY[i]) for i in eligible}
    expected = inclusion({i: weight for i, weight in weights.items() if weight}, 3)
    for item in eligible:
        chance = expected.get(item, 0.0)
        error = 4.5 * np.sqrt(chance * (1 - chance) / count)
        assert abs(times[item] - chance) <= error, item


def write(folder: Path, row: list[int], item_id: list[Any]) -> CandidatesSection:
    file = folder / "candidates.parquet"
    pq.write_table(pa.table({"row": row, "item_id": item_id, "score": [0.0] * len(row)}), file)
    return CandidatesSection(file=file)


def test_sets_of_a_file(tmp_path: Path) -> None:
    rows = rows_of([[0, 1], [2, 3]]).select(np.array([1, 0]))  # log rows 3 and 1
    section = write(tmp_path, [3, 1, 3, 0, 3, 1], ["i05", "i01", "i03", "i00", "i05", "i11"])
    check_file(section)
    made = make_sets(section, rows, ITEMS, POPULARITY, 0)
    assert [found.tolist() for found in made.items] == [[3, 5], [1, 11]]
    assert made.counts == {
        "sets_without_target": 0, "repeated_candidates": 1, "candidates_of_other_rows": 1,
    }  # fmt: skip
    section = write(tmp_path, [1, 3], ["i00", "i03"])
    counts = make_sets(section, rows, ITEMS, POPULARITY, 0).counts
    assert counts["sets_without_target"] == 1


def test_what_a_file_may_lack_is_told(tmp_path: Path) -> None:
    rows = rows_of([[0, 1], [2, 3]])
    with pytest.raises(UserError, match=r"expected candidates for each of the 2 rows, found none "
                                        r"for 1, such as row 3; give"):  # fmt: skip
        make_sets(write(tmp_path, [1], ["i00"]), rows, ITEMS, POPULARITY, 0)
    with pytest.raises(UserError, match=r"1 item id\(s\) are not in the catalogue of 12.*'x'"):
        make_sets(write(tmp_path, [1, 3], ["x", "i00"]), rows, ITEMS, POPULARITY, 0)
    pq.write_table(pa.table({"row": ["a"], "item_id": ["i00"]}), tmp_path / "words.parquet")
    section = CandidatesSection(file=tmp_path / "words.parquet")
    with pytest.raises(UserError, match=r"words\.parquet: expected a Parquet file .* but: "):
        make_sets(section, rows, ITEMS, POPULARITY, 0)
    pq.write_table(pa.table({"row": [1], "item": ["i00"]}), tmp_path / "other.parquet")
    with pytest.raises(UserError, match=r"row \(integers\) and item_id, found the columns row, it"):
        check_file(CandidatesSection(file=tmp_path / "other.parquet"))
    (tmp_path / "text.parquet").write_text("row,item_id\n")
    with pytest.raises(UserError, match=r"text\.parquet: expected a Parquet file"):
        check_file(CandidatesSection(file=tmp_path / "text.parquet"))
    with pytest.raises(UserError, match=r"found no file .*none\.parquet"):
        identify(CandidatesSection(file=tmp_path / "none.parquet"), 0)


def test_what_sets_are_known_by(tmp_path: Path) -> None:
    one = identify(CandidatesSection(negatives=5), 0)
    assert one == identify(CandidatesSection(negatives=5), 0)
    assert one != identify(CandidatesSection(negatives=5), 1)
    assert one != identify(CandidatesSection(negatives=6), 0)
    given = identify(write(tmp_path, [1], ["i00"]), 0)
    assert given == identify(write(tmp_path, [1], ["i00"]), 1)
    assert given != identify(write(tmp_path, [1], ["i01"]), 0)


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("{}", r"eval\.candidates: expected negatives .* or file, found neither"),
        ("{negatives: 9, file: x}", r"eval\.candidates: expected negatives .*, found both"),
        ("{negatives: 0}", r"eval\.candidates\.negatives: expected greater than or equal to 1"),
        ("{file: x, sampling: popularity}", "sampling and exclude_history are about negatives"),
        ("{negativs: 9}", r"eval\.candidates\.negativs: unknown key; did you mean 'negatives'\?"),
    ],
)
def test_mistakes_are_told(override: str, expected: str) -> None:
    with pytest.raises(UserError, match=expected):
        load_recipe("demo", [f"eval.candidates={override}"])
