"""What the report is made of, and how its figures are read."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from recllm.results.estimates import Estimate, cutoff, read_estimates, sort_metrics

#: The metric that the verdict is about, and those that stand beside it in the headline.
PREFERRED = "hit@10"
HEADLINE = ("hit@10", "ndcg@10")


@dataclass(frozen=True)
class ReportInputs:
    """Everything that a report can show; a part that is empty is left out of the page.

    Attributes:
        name: the name of the run.
        recipe_yaml: the resolved recipe, as text.
        metrics: the content of metrics.json.
        training: the rows of the fine-tuning's metrics.jsonl: step, epoch, loss, eval_ndcg@10, …
        reinforcement: those of the reinforcement learning: reward, rewards/hit, group_hit_rate, …
        data_counts: the counts of each data stage, by stage.
        statistics: the content of statistics.json: `log`, `split`, `leaks`, `repeated_targets` and
            `curves`, the points to draw by the names of `recllm.data_prep.statistics.curves`.
        stages: `seconds` and `peak_memory_bytes` of each stage, by stage.
        sid_health: the content of the SIDs' health.json: figures, `levels` and `prefixes` with one
            entry each, and the curves `items_by_code` and `traffic_by_first_code`.
        examples: {user_id, history_titles, target_title, recommended: [{title, score, hit}]}.
        hit_curve: hit@k by cutoff k, of `model` and of baselines by name. Where it is empty, the
            curve goes through the cutoffs that `metrics` has.
        popularity: the share of each tenth of the catalogue, most popular first, in what `model`
            and the baselines recommend, by name, and in the `targets`.
    """

    name: str
    recipe_yaml: str = ""
    metrics: Mapping[str, Any] = field(default_factory=dict)
    training: Sequence[Mapping[str, Any]] = ()
    reinforcement: Sequence[Mapping[str, Any]] = ()
    data_counts: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    statistics: Mapping[str, Any] = field(default_factory=dict)
    stages: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    sid_health: Mapping[str, Any] = field(default_factory=dict)
    examples: Sequence[Mapping[str, Any]] = ()
    hit_curve: Mapping[str, Mapping[int, float]] = field(default_factory=dict)
    popularity: Mapping[str, Sequence[float]] = field(default_factory=dict)

    @property
    def model(self) -> "dict[str, Estimate]":
        """The model's item-level estimates by metric."""
        return read_estimates(self.metrics.get("metrics"))

    @property
    def sid_level(self) -> "dict[str, Estimate]":
        """The model's SID-level estimates by metric."""
        return read_estimates(self.metrics.get("sid_metrics"))

    @property
    def baselines(self) -> "dict[str, dict[str, Estimate]]":
        """Each baseline's estimates by metric."""
        return _read_each(self.metrics.get("baselines"))

    @property
    def paired(self) -> "dict[str, dict[str, Estimate]]":
        """The model's mean per-row difference to each baseline, by metric."""
        return _read_each(self.metrics.get("paired"))

    @property
    def phrasings(self) -> "Mapping[str, Mapping[str, Any]]":
        """Mean, min and max of each metric over the phrasings of the question."""
        return (self.metrics.get("phrasings") or {}).get("metrics") or {}

    @property
    def search(self) -> "ReportInputs":
        """Item search as a report of its own: its metrics, baselines and paired differences."""
        return ReportInputs(self.name, metrics=self.metrics.get("search") or {})

    @property
    def candidates(self) -> "ReportInputs":
        """The ranking of candidate sets as a report of its own."""
        return ReportInputs(self.name, metrics=self.metrics.get("candidates") or {})

    @property
    def primary(self) -> str | None:
        """The metric of the verdict: hit@10, else the nearest cutoff's hit, else the first one."""
        names = sort_metrics(self.model)
        if not names or PREFERRED in names:
            return PREFERRED if names else None
        hits = [name for name in names if name.startswith("hit@")]
        return min(hits, key=lambda name: abs(cutoff(name) - 10), default=names[0])

    @property
    def headline(self) -> list[str]:
        """The few metrics that stand for all: the primary one, ndcg@10 and the deepest mrr."""
        mrr = [name for name in sort_metrics(self.model) if name.startswith("mrr@")]
        wanted = [self.primary, *HEADLINE, *mrr[-1:]]
        return [name for name in dict.fromkeys(wanted) if name and name in self.model]


def _read_each(groups: Any) -> dict[str, dict[str, Estimate]]:
    return {name: read_estimates(entries) for name, entries in (groups or {}).items()}
