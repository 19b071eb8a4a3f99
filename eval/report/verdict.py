"""The verdict in words: does the model beat the baselines, co-visitation above all?

A baseline counts as beaten where the 95% interval of the paired difference lies above 0. Further
yardsticks decide nothing; where one is not beaten, that is said.
"""

from dataclasses import dataclass
from typing import Literal

from recllm.eval.report.inputs import ReportInputs
from recllm.results.estimates import display_name, finite
from recllm.results.formats import interval, quantity, score, signed

Outcome = Literal["above", "level", "below", "unsure"]

#: Baselines that the verdict is not about.
YARDSTICKS = ("recent_repeat", "item_knn")


@dataclass(frozen=True)
class Verdict:
    """`tone` is good, bad or open; `title` says it in a few words, `text` with its figures."""

    tone: Literal["good", "bad", "open"]
    title: str
    text: str


def judge(inputs: ReportInputs) -> Verdict | None:
    """The verdict on the primary metric; None where the model has no metric at all."""
    metric = inputs.primary
    if metric is None:
        return None
    outcomes: dict[str, Outcome] = {}
    for name in _order(inputs):
        outcome = compare(inputs, name, metric)
        if outcome:
            outcomes[name] = outcome
    tone, title = _title(outcomes)
    estimate = inputs.model[metric]
    clauses = [f"{metric} {score(estimate.value)} {interval(estimate)}".strip()]
    clauses[0] += _ratio(inputs, metric)
    for name, outcome in outcomes.items():
        if name != "popularity" or outcome != "above":
            clauses.append(_clause(inputs, name, metric, outcome))
    text = "; ".join(clauses) + _unbeaten_yardsticks(inputs, metric) + "."
    return Verdict(tone, title, " ".join([text, *_reservations(inputs, metric, outcomes)]))


def compare(inputs: ReportInputs, baseline: str, metric: str) -> Outcome | None:
    """How the model stands to a baseline; None where there is nothing to compare with."""
    difference = inputs.paired.get(baseline, {}).get(metric)
    if difference and difference.low is not None and difference.high is not None:
        if difference.low > 0:
            return "above"
        return "below" if difference.high < 0 else "level"
    model, other = inputs.model.get(metric), inputs.baselines.get(baseline, {}).get(metric)
    if not model or not other:
        return None
    return "unsure" if model.value > other.value else "below"


def _order(inputs: ReportInputs) -> list[str]:
    names = dict.fromkeys([*inputs.baselines, *inputs.paired])
    decisive = [name for name in names if name not in YARDSTICKS]
    return sorted(decisive, key=lambda name: name != "covisitation")


def _unbeaten_yardsticks(inputs: ReportInputs, metric: str) -> str:
    outcomes = {name: compare(inputs, name, metric) for name in YARDSTICKS}
    clauses = [
        _clause(inputs, name, metric, outcome)
        for name, outcome in outcomes.items()
        if outcome in ("level", "below")
    ]
    return "".join(f"; {clause}" for clause in clauses)


def _title(outcomes: dict[str, Outcome]) -> tuple[Literal["good", "bad", "open"], str]:
    if not outcomes:
        return "open", "Not compared with any baseline"
    beaten = [name for name, outcome in outcomes.items() if outcome == "above"]
    lost = [display_name(name) for name, o in outcomes.items() if o in ("below", "level")]
    if lost:
        return "bad", f"Does not beat {' or '.join(lost)}"
    if len(beaten) < len(outcomes):
        return "open", "Higher than the baselines, but without a paired interval"
    return "good", f"Beats {' and '.join(display_name(name) for name in beaten)}"


def _ratio(inputs: ReportInputs, metric: str) -> str:
    if metric == "auc":  # 0.5 by chance: a ratio would say nothing
        return ""
    popularity = inputs.baselines.get("popularity", {}).get(metric)
    if not popularity or popularity.value <= 0:
        return ""
    return f", {inputs.model[metric].value / popularity.value:.1f}× popularity"


def _clause(inputs: ReportInputs, name: str, metric: str, outcome: Outcome) -> str:
    shown = display_name(name)
    difference = inputs.paired.get(name, {}).get(metric)
    if difference is None or outcome == "unsure":
        value = score(inputs.baselines[name][metric].value)
        stands = "higher than" if outcome == "unsure" else "does not beat"
        return f"{stands} {shown} ({value}), without a paired interval"
    figures = f"paired difference {signed(difference.value)} {interval(difference)}"
    if outcome == "above":
        return f"above {shown}: {figures}"
    remark = ", not distinguishable from 0" if outcome == "level" else ""
    return f"does not beat {shown}: {figures}{remark}"


def _reservations(inputs: ReportInputs, metric: str, outcomes: dict[str, Outcome]) -> list[str]:
    """What the primary metric alone would hide."""
    sentences = []
    for other in inputs.headline:
        lost = [
            display_name(name)
            for name, outcome in outcomes.items()
            if outcome == "above" and compare(inputs, name, other) in ("level", "below")
        ]
        if other != metric and lost:
            sentences.append(f"On {other} it does not beat {' or '.join(lost)}.")
    invalid = finite(inputs.metrics.get("invalid_rate"))
    if invalid:
        rate = quantity("rate", invalid)
        sentences.append(f"{rate} of the recommendations are no items of the catalogue.")
    return sentences
