"""Predictions of MiniOneRec: its own figures exactly, and files that are something else."""

import gzip
import json
import math
import random
from pathlib import Path
from typing import Any

import pytest
from command_line import recllm

from recllm.eval.peer_predictions import PeerPredictions
from recllm.metrics import compute

SIDS = [f"<a_{a}><b_{b}><c_{c}>" for a in range(4) for b in range(3) for c in range(2)]


def make_rows(count: int = 200, beams: int = 10) -> list[dict[str, Any]]:
    """Rows with all that its files have: quotes, line ends, lists, and what is no item."""
    drawn = random.Random(0)
    rows = []
    for index in range(count):
        target = drawn.choice(SIDS)
        predict = [drawn.choice([f"{sid}\n", f'"{sid}"', sid]) for sid in drawn.sample(SIDS, beams)]
        if index % 7 == 0:
            predict[drawn.randrange(beams)] = "<a_9><b_9><c_9>\n"
        output = [f'"{target}" '] if index % 2 else f"{target}\n"
        rows.append({"input": "…", "output": output, "predict": predict})
    return rows


def as_calc_counts(rows: list[dict[str, Any]], cutoff: int) -> tuple[float, float, int]:
    """HR, NDCG and what is no item, row by row as calc.py of MiniOneRec goes about it."""
    hits, gain, unknown = 0.0, 0.0, 0
    for row in rows:
        output = row["output"][0] if isinstance(row["output"], list) else row["output"]
        target, place = output.strip(' \n"'), 10**6
        for at, predicted in enumerate(p.strip('"\n').strip() for p in row["predict"]):
            unknown += predicted not in SIDS
            if predicted == target:
                place = at
                break
        if place < cutoff:
            hits += 1
            gain += 1 / math.log(place + 2)
    return hits / len(rows), gain / len(rows) * math.log(2), unknown


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    predictions, info = tmp_path / "final.json", tmp_path / "info.txt.gz"
    predictions.write_text(json.dumps(make_rows()))
    with gzip.open(info, "wt") as file:
        file.writelines(f"{sid}\tTitle {i}\t{i}\n" for i, sid in enumerate(SIDS))
    return predictions, info


def test_the_figures_are_those_of_calc(files: tuple[Path, Path]) -> None:
    found = PeerPredictions.read(*files)
    assert found.cutoffs == [1, 3, 5, 10]
    for cutoff in found.cutoffs:
        hits, gain, unknown = as_calc_counts(make_rows(), cutoff)
        assert compute(f"hit@{cutoff}", found.ranks).mean() == pytest.approx(hits, abs=1e-12)
        assert compute(f"ndcg@{cutoff}", found.ranks).mean() == pytest.approx(gain, abs=1e-12)
        assert found.unknown == unknown > 0
    assert PeerPredictions.read(files[0]).unknown is None


def test_the_command_prints_them(files: tuple[Path, Path]) -> None:
    outcome = recllm("score", "predictions", str(files[0]), "--info", str(files[1]))
    assert outcome.code == 0, outcome.err
    hits, gain, unknown = as_calc_counts(make_rows(), 10)
    assert f"hit@10   {hits:.4f} [" in outcome.out and f"ndcg@10  {gain:.4f} [" in outcome.out
    assert f"200 rows, at least 10 predictions each, {unknown} of them no SID" in outcome.out


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "it is no JSON"),
        ("[]", "found an empty list"),
        ('{"predict": []}', "found dict"),
        ('[{"predict": ["x"]}]', "object 0 has no text as output"),
        ('[{"output": "x", "predict": "x"}]', "object 0 has no list of texts as predict"),
        ('[{"output": "x", "predict": [1]}]', "object 0 has no list of texts as predict"),
        ("[1]", "object 0 has no text as output"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, content: str, said: str) -> None:
    (tmp_path / "final.json").write_text(content)
    outcome = recllm("score", "predictions", str(tmp_path / "final.json"))
    assert outcome.code == 2 and said in outcome.err, outcome.err


def test_files_that_are_not_there_or_cut_off(tmp_path: Path, files: tuple[Path, Path]) -> None:
    outcome = recllm("score", "predictions", str(tmp_path / "no.json"))
    assert outcome.code == 2 and "no.json: cannot be read" in outcome.err
    files[1].write_bytes(files[1].read_bytes()[:-20])
    outcome = recllm("score", "predictions", str(files[0]), "--info", str(files[1]))
    assert outcome.code == 2 and "info.txt.gz: cannot be read" in outcome.err


def test_published_figures_are_checked_as_they_are_rounded() -> None:
    outcome = recllm("score", "check", "hit@10=0.0605", "ndcg@10=0.0318", "hit@5=0.04")
    assert outcome.code == 0 and "do not contradict" in outcome.out
    outcome = recllm("score", "check", "hit@10=0.0318", "ndcg@10=0.0605")
    assert outcome.code == 0 and "impossible: places 1 to 10" in outcome.out
    # Each by its own decimals: 0.09 is at least 0.085, and so above any 0.0764.
    outcome = recllm("score", "check", "hit@10=0.0764", "ndcg@10=0.09")
    assert outcome.code == 0 and "impossible: places 1 to 10" in outcome.out
    for wrong in ("hit=0.1", "recall@5=0.1", "hit@5=x"):
        assert recllm("score", "check", wrong).code == 2
    assert recllm("score", "check", "hit@5=0.1", "hit@5=0.2").code == 2
