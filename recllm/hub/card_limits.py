"""What a card says of where a model does badly, by the figures of its evaluation."""

from collections.abc import Iterator, Mapping
from typing import Any

from recllm.results.formats import beside_base, number, quantity, with_interval
from recllm.results.markdown import escape

_METRIC = "hit@10"
#: The slices of `target_popularity`, each a third of the training interactions, for people.
_THIRDS = {"head": "the most popular items", "mid": "the middle", "tail": "the least popular items"}


def limits(metrics: Mapping[str, Any]) -> Iterator[str]:
    """A sentence each, in Markdown.

    Args:
        metrics: the content of an eval's metrics.json.
    """
    yield from _popularity(metrics.get("beyond_accuracy") or {})
    slices = metrics.get("slices") or {}
    yield from _thirds(slices.get("target_popularity") or [])
    yield from _cold(slices.get("cold_target") or [])
    if perplexity := metrics.get("perplexity"):
        text, found = escape(perplexity["text"]["name"]), beside_base(perplexity)
        yield f"**General language.** Its perplexity of the text {text} is {found}."


def _popularity(beyond: Mapping[str, Mapping[str, float]]) -> Iterator[str]:
    found = beyond.get("model") or {}
    if "popularity_bias" in found:
        yield (
            "**Popularity bias.** What it recommends had "
            f"{number(found['popularity_recommended'])} training interactions on average, what "
            f"users took next {number(found['popularity_targets'])}: a ratio of "
            f"{number(found['popularity_bias'])}, where 1 is none."
        )
    if "coverage" in found:
        share = quantity("coverage", found["coverage"])
        yield (
            f"**Coverage.** {share} of the catalogue is among its first recommendations to at "
            "least one user of the test rows."
        )


def _thirds(parts: list[Mapping[str, Any]]) -> Iterator[str]:
    told = [
        f"{with_interval(part['model'][_METRIC])} on {_THIRDS[part['label']]} "
        f"({number(part['n'])} rows)"
        for part in parts
        if part["label"] in _THIRDS and part["n"] and _METRIC in (part["model"] or {})
    ]
    if told:
        yield (
            f"**Rare items.** {_METRIC} by how popular the target was in training, a third of the "
            f"interactions each: {', '.join(told)}."
        )


def _cold(parts: list[Mapping[str, Any]]) -> Iterator[str]:
    for part in parts:
        if part["label"] != "cold":
            continue
        if not part["n"]:
            yield (
                "**Cold items.** No target of the test split was without training interactions: "
                "how it ranks new items was not measured."
            )
        elif _METRIC in (part["model"] or {}):
            yield (
                f"**Cold items.** {number(part['n'])} test rows have a target without training "
                f"interactions: {_METRIC} {with_interval(part['model'][_METRIC])} on them."
            )
