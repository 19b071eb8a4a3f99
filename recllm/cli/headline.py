"""The table that a run ends with."""

from typing import Any

from recllm.eval.report.formats import beside_base, outside_catalogue, with_interval

COLUMNS = ("hit@5", "hit@10", "ndcg@10", "hit@50", "auc")
#: The metric of the comparison in words.
COMPARED = ("hit@10", "auc")


def headline_table(metrics: dict[str, Any]) -> str:
    """The model and the baselines on the same rows, with 95% intervals, as plain text.

    Args:
        metrics: the content of an eval's metrics.json.
    """
    rows = {"model": metrics["metrics"], **metrics["baselines"]}
    columns = [name for name in COLUMNS if name in metrics["metrics"]]
    rows_said = f"{metrics['rows']:,} rows"
    if outside := metrics.get("outside_catalogue"):
        rows_said += f" ({outside_catalogue(outside)})"
    lines = [
        f"{metrics['split']} split, {rows_said}, {_what_is_asked(metrics)}; [95% interval]",
        " " * 14 + "".join(f"{name:<26}" for name in columns),
    ]
    for name, values in rows.items():
        cells = (with_interval(values.get(column)) for column in columns)
        lines.append(f"{name:<14}" + "".join(f"{cell:<26}" for cell in cells))
    for name, differences in metrics.get("paired", {}).items():
        for metric in COMPARED:
            if not (difference := differences.get(metric)):
                continue
            lo, hi = difference["ci95"]
            verdict = "above" if lo > 0 else "below" if hi < 0 else "not told apart from"
            lines.append(
                f"{verdict} {name}: paired difference in {metric} "
                f"{difference['value']:+.4f} [{lo:+.4f}, {hi:+.4f}]"
            )
    if perplexity := metrics.get("perplexity"):
        lines.append(f"perplexity of {perplexity['text']['name']}: {beside_base(perplexity)}")
    return "\n".join(line.rstrip() for line in lines)


def _what_is_asked(metrics: dict[str, Any]) -> str:
    if "answers" in metrics:
        counts = (f"{number:,} {answer}" for answer, number in metrics["answers"].items())
        return f"one verdict each ({', '.join(counts)})"
    excluded = metrics["settings"].get("exclude_history")
    return f"full catalogue, items of the history {'excluded' if excluded else 'not excluded'}"
