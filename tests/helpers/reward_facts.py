"""A small catalogue for rewards, and groups over it."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file

from recllm.baselines.sasrec import SasRec
from recllm.catalog.histories import Spans
from recllm.catalog.sids import SidIndex
from recllm.config.plugins import REWARDS
from recllm.config.sasrec_section import SasrecSection
from recllm.rewards import Groups, RewardFacts, Scorer

#: 6 items: 0 and 1 share two codes, 2 one with them.
CODES = [[0, 0, 0], [0, 0, 1], [0, 1, 0], [1, 0, 0], [1, 0, 1], [2, 0, 0]]
VECTORS = [[1, 0], [1, 1], [0, 2], [-1, 0], [0, 0], [3, 4]]
#: Each item is followed by the next, and the last by the first.
SEQUENCES = [[(start + step) % 6 for step in range(4 + start)] for start in range(6)] * 4


def make_facts(folder: Path, codes: list[list[int]] = CODES) -> RewardFacts:
    """Facts with vectors, and a teacher that has learned what follows what."""
    vectors, teacher = folder / "embed", folder / "sasrec"
    training = Spans.from_lists(SEQUENCES)
    if not vectors.is_dir():
        vectors.mkdir()
        teacher.mkdir()
        save_file({"vectors": np.array(VECTORS, dtype=np.float32)}, vectors / "vectors.safetensors")
        small = SasrecSection(
            width=16, dropout=0.0, epochs=20, batch_size=4, learning_rate=1e-2, max_length=9
        )
        SasRec.fit(training, len(CODES), small).save(teacher)
    sids = SidIndex([f"i{i}" for i in range(len(codes))], np.array(codes, dtype=np.int32), 3)
    return RewardFacts(training, sids, vectors, teacher, len(codes))


def make_groups(
    targets: list[int], items: list[list[int]], histories: list[list[int]] | None = None
) -> Groups:
    """Groups; each history is the item before the target, unless others are given."""
    before = histories or [[(target - 1) % len(CODES)] for target in targets]
    return Groups(
        rows=np.arange(len(targets), dtype=np.int64) + 100,
        histories=before,
        targets=np.array(targets, dtype=np.int32),
        items=np.array(items, dtype=np.int32),
    )


def scorer_of(name: str, facts: RewardFacts, **options: object) -> Scorer:
    """What scores by one reward."""
    return REWARDS.load(name)(**options).scorer(facts)


def score(name: str, facts: RewardFacts, groups: Groups) -> NDArray[np.float64]:
    """The scores of one reward; those of absent items do not count."""
    return np.where(groups.present, scorer_of(name, facts)(groups), 0.0)
