"""The floors: what the baselines reach, and so what a model must beat."""

from pathlib import Path

import numpy as np

from recllm.catalog.histories import Sequences, SplitRows
from recllm.catalog.split_names import HELD_OUT
from recllm.config.schema import EvalSection
from recllm.eval.baselines_stage import read_baselines
from recllm.eval.estimates import Bootstrap, Estimate, headline_names, per_row
from recllm.eval.facts import align
from recllm.eval.slices import regroup


def find_floors(
    split_folder: Path, baselines_folder: Path, section: EvalSection, seed: int
) -> dict[str, dict[str, dict[str, Estimate]]]:
    """hit@10 and ndcg@10 of each baseline on valid and test, with intervals: as eval has them.

    Args:
        split_folder, baselines_folder: the artifacts of these stages.
        section: how deep the baselines were ranked, and how many resamples to draw.
    """
    sequences = Sequences.read(split_folder)
    bootstrap, names = Bootstrap(section.bootstrap, seed), headline_names(section)
    floors: dict[str, dict[str, dict[str, Estimate]]] = {}
    for split in HELD_OUT:
        rows = SplitRows.read(split_folder, split, sequences)
        found = read_baselines(baselines_folder, split)
        columns = {
            (baseline, name): values[align(ranked.row, rows.row)]
            for baseline, ranked in found.items()
            for name, values in per_row(names, ranked.ranking.ranks).items()
        }
        floors[split] = regroup(bootstrap.estimate(columns, np.array(rows.user_ids)), found)
    return floors
