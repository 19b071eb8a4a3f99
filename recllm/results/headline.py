"""What the headline metrics were measured on, and how the model stands to the baselines, in words.

The run's last lines on the terminal and the card on the Hub say the same.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from recllm.results.formats import outside_catalogue

#: The metric of the comparison in words.
COMPARED = ("hit@10", "auc")


def protocol(metrics: Mapping[str, Any]) -> str:
    """The split, its rows and what is asked of them, in one line.

    Args:
        metrics: the content of an eval's metrics.json.
    """
    rows = f"{metrics['rows']:,} rows"
    if outside := metrics.get("outside_catalogue"):
        rows += f" ({outside_catalogue(outside)})"
    return f"{metrics['split']} split, {rows}, {_what_is_asked(metrics)}"


def comparisons(metrics: Mapping[str, Any]) -> Iterator[str]:
    """A line for each baseline: whether the model is above it, by the paired difference.

    Args:
        metrics: the content of an eval's metrics.json.
    """
    for name, differences in metrics.get("paired", {}).items():
        for metric in COMPARED:
            if not (difference := differences.get(metric)):
                continue
            lo, hi = difference["ci95"]
            verdict = "above" if lo > 0 else "below" if hi < 0 else "not told apart from"
            yield (
                f"{verdict} {name}: paired difference in {metric} "
                f"{difference['value']:+.4f} [{lo:+.4f}, {hi:+.4f}]"
            )


def _what_is_asked(metrics: Mapping[str, Any]) -> str:
    if "answers" in metrics:
        counts = (f"{number:,} {answer}" for answer, number in metrics["answers"].items())
        return f"one verdict each ({', '.join(counts)})"
    excluded = metrics["settings"].get("exclude_history")
    return f"full catalogue, items of the history {'excluded' if excluded else 'not excluded'}"
