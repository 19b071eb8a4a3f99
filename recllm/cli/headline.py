"""The table that a run ends with."""

from typing import Any

from recllm.results.formats import beside_base, with_interval
from recllm.results.headline import comparisons, protocol

COLUMNS = ("hit@5", "hit@10", "ndcg@10", "hit@50", "auc")


def headline_table(metrics: dict[str, Any]) -> str:
    """The model and the baselines on the same rows, with 95% intervals, as plain text.

    Args:
        metrics: the content of an eval's metrics.json.
    """
    rows = {"model": metrics["metrics"], **metrics["baselines"]}
    columns = [name for name in COLUMNS if name in metrics["metrics"]]
    lines = [
        f"{protocol(metrics)}; [95% interval]",
        " " * 14 + "".join(f"{name:<26}" for name in columns),
    ]
    for name, values in rows.items():
        cells = (with_interval(values.get(column)) for column in columns)
        lines.append(f"{name:<14}" + "".join(f"{cell:<26}" for cell in cells))
    lines += comparisons(metrics)
    if perplexity := metrics.get("perplexity"):
        lines.append(f"perplexity of {perplexity['text']['name']}: {beside_base(perplexity)}")
    return "\n".join(line.rstrip() for line in lines)
