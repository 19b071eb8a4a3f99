"""The report's section on reinforcement learning."""

from recllm.eval.report import ReportInputs
from recllm.eval.report.sections import reinforcement

ROWS = [
    {
        "step": step,
        "reward": 0.1 * step,
        "rewards/rank": 0.1 * step,
        "rewards/prefix": 0.2,
        "group_hit_rate": 0.3,
        "silent_groups": 0.7,
        "replaced_groups": 0.0,
        "distinct_items": 0.5,
        "kl": 0.01 * step,
        "entropy": 2.0,
        "rollouts_per_second": 100.0 * step,
        "rollout_share": 0.25,
    }
    for step in (1, 2, 3)
]
VALIDATION = [{"step": step, "eval_ndcg@10": 0.1 + 0.01 * step} for step in (0, 3)]


def test_without_reinforcement_there_is_no_section() -> None:
    assert reinforcement.build(ReportInputs("run")) is None


def test_rewards_rollouts_and_validation_are_drawn() -> None:
    section = reinforcement.build(ReportInputs("run", reinforcement=[*ROWS, *VALIDATION]))
    assert section is not None
    drawn = [plot.svg for plot in section.plots]
    assert len(drawn) == 5
    assert "prefix" in drawn[0] and "rank" in drawn[0]  # each part beside the sum
    assert "without signal" in drawn[1] and "distinct items" in drawn[1]
    assert "ndcg@10 is best at step 3 (0.1300)" in section.plots[4].caption
    (speed,) = section.tables
    assert [[cell.text for cell in row] for row in speed.rows] == [
        ["rollouts per second", "200"],
        ["rollout share", "25 %"],
    ]


def test_a_single_reward_is_drawn_once() -> None:
    rows = [{key: row[key] for key in ("step", "reward", "rewards/rank")} for row in ROWS]
    section = reinforcement.build(ReportInputs("run", reinforcement=rows))
    assert section is not None
    assert len(section.plots) == 1
    assert section.tables == []
