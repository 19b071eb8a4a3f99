"""The question for the next item, in one phrasing or in each of them."""

import time
from typing import Any

from recllm.catalog.histories import SplitRows
from recllm.config.schema import EvalSection
from recllm.eval.engines import Questions, Ranker
from recllm.eval.estimates import metric_names, per_row
from recllm.eval.predictions import Predictions, with_misses
from recllm.metrics.ranking import ranks_of
from recllm.prompts.renderer import Renderer


def ask(renderer: Renderer, rows: SplitRows, section: EvalSection, phrasing: int = 0) -> Questions:
    """The question for the next item of each row; the history is excluded where the recipe says so.

    Args:
        phrasing: which of `Renderer.recommendation_phrasings`.
    """
    histories = list(rows.histories)
    prompts = renderer.recommendation_prompts(histories, phrasing)
    return Questions(prompts, histories if section.exclude_history else None)


def over_phrasings(
    ranker: Ranker,
    renderer: Renderer,
    rows: SplitRows,
    first: Predictions,
    section: EvalSection,
) -> dict[str, Any]:
    """Each metric over all phrasings of the question, as LC-Rec gives them.

    LC-Rec asks each test row in every template of its task and reports the mean over templates
    beside the worst and the best one (Zheng et al., 2024, arXiv:2311.09049, its code). Here
    `metrics`, and all that goes with it (intervals, slices, predictions), stays that of the first
    phrasing, one list for each row; the mean to compare with LC-Rec's figures stands here.

    Args:
        first: those of the first phrasing, which is not asked again.

    Returns:
        `asked` (the phrasings), `metrics` (mean, min, max and the value of each phrasing in their
        order, by metric) and `seconds`, which the further phrasings took.
    """
    started = time.monotonic()
    phrasings = renderer.recommendation_phrasings
    ranks = [first.ranks]
    for phrasing in range(1, len(phrasings)):
        ranking = ranker.rank(ask(renderer, rows, section, phrasing))
        ranks.append(ranks_of(ranking.items, rows.target))
    names = metric_names(section)
    missed = [with_misses(found, len(first.outside)) for found in ranks]
    means = [{n: float(v.mean()) for n, v in per_row(names, found).items()} for found in missed]
    return {
        "asked": list(phrasings),
        "metrics": {name: spread([found[name] for found in means]) for name in names},
        "seconds": round(time.monotonic() - started, 2),
    }


def spread(values: list[float]) -> dict[str, Any]:
    """Mean, least and greatest of a metric's values, and the values."""
    mean = sum(values) / len(values)
    return {"mean": mean, "min": min(values), "max": max(values), "values": values}
