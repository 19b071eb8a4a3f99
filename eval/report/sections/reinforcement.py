"""How the rewards went, what was rolled out, and whether the ranking got better by it."""

from recllm.eval.report.content import Plot, Section
from recllm.eval.report.curves import curve, curves_plot, validation_plot
from recllm.eval.report.inputs import ReportInputs
from recllm.results.estimates import finite
from recllm.results.tables import Table, facts

_PART = "rewards/"
_ROLLOUTS = {
    "group_hit_rate": "with the target",
    "silent_groups": "without signal",
    "replaced_groups": "replaced",
    "distinct_items": "distinct items",
}
_SPEED = ("rollouts_per_second", "rollout_share")


def build(inputs: ReportInputs) -> Section | None:
    """None where there was no reinforcement learning."""
    log = inputs.reinforcement
    if not log:
        return None
    parts = sorted({key for row in log for key in row if key.startswith(_PART)})
    rewards = [curve(log, "reward", "reward, weighted")]
    if len(parts) > 1:
        rewards += [curve(log, key, key.removeprefix(_PART)) for key in parts]
    rollouts = [curve(log, key, label) for key, label in _ROLLOUTS.items()]
    plots: list[Plot | None] = [
        curves_plot("reward", rewards, "reward", "Mean over the items that were rolled out"),
        curves_plot("rollouts", rollouts, "share", "Groups; distinct items: of all rolled out"),
        curves_plot("kl", [curve(log, "kl", "KL")], "nats a token", "From the reference"),
        curves_plot("entropy", [curve(log, "entropy", "entropy")], "nats", "Of the next code"),
        validation_plot("rl validation", log),
    ]
    found = [plot for plot in plots if plot]
    return Section(
        "reinforcement", "Reinforcement learning", plots=found, tables=_speed(inputs), wide=True
    )


def _speed(inputs: ReportInputs) -> list[Table]:
    """The means over the rows of the log."""
    means = {}
    for name in _SPEED:
        values = [v for row in inputs.reinforcement if (v := finite(row.get(name))) is not None]
        if values:
            means[name] = sum(values) / len(values)
    caption = "Rollouts: items a second; their share of the whole training's time"
    return [facts(means, ["", "rollouts"], caption)] if means else []
