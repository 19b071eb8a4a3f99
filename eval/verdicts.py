"""One checkpoint's verdicts on the targets of one split: scored by the logits of its words."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypedDict

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from recllm.baselines.ranking import popularity_counts
from recllm.catalog.histories import Sequences, SplitRows, read_ratings
from recllm.catalog.items import Items
from recllm.catalog.split_names import SplitName
from recllm.config.schema import Recipe
from recllm.config.validation import dump
from recllm.errors import UserError
from recllm.eval.cost import measured
from recllm.eval.engines.transformers import device_choices
from recllm.eval.estimates import Estimate
from recllm.eval.evaluation import check_catalogue
from recllm.eval.facts import align
from recllm.eval.phrasings import spread
from recllm.metrics.auc_bootstrap import bootstrap_auc
from recllm.metrics.classification import auc
from recllm.models.devices import resolve_dtype
from recllm.models.recommender import Recommender
from recllm.models.verdicts import verdict_scores
from recllm.progress import progress
from recllm.prompts.tasks import Task
from recllm.prompts.verdicts import VerdictRows

#: Settings of the section `eval` that say something of verdicts; the others are about rankings.
STATED = ("phrasings", "bootstrap", "batch_tokens")


class VerdictResult(TypedDict):
    """The content of metrics.json where a model gives verdicts, under the names of a ranking's.

    `metrics`, `baselines` and `paired` (model minus baseline) have one metric, `auc`, on the same
    rows. `answers` counts the rows by what would be right, `left_out` those of the split that
    could not be asked.
    """

    split: str
    rows: int
    answers: dict[str, int]
    left_out: dict[str, int]
    settings: dict[str, Any]
    metrics: dict[str, Estimate]
    baselines: dict[str, dict[str, Estimate]]
    paired: dict[str, dict[str, Estimate]]
    cost: dict[str, Any]


def evaluate_verdicts(
    recipe: Recipe,
    checkpoint: Path,
    inputs: Mapping[str, Path],
    out: Path,
    split: SplitName = "test",
) -> dict[str, Any]:
    """Judge the target of every row of a split with a checkpoint, and score it beside baselines.

    The figure of TALLRec (Bao et al., 2023, arXiv:2305.00447): the AUC of the probability of Yes
    against No. Writes `predictions.parquet` into `out`: row, user_id, target (dense index), score
    (log-probability of the first verdict among the verdicts), label (whether it is right).

    Args:
        checkpoint: a folder that `Recommender.save` wrote, of a model that gives verdicts.
        inputs: the artifacts of the stages filter and split.

    Raises:
        UserError: the checkpoint was trained on another catalogue or gives no verdicts, or the
            rows do not have both answers.
    """
    items = Items.read(inputs["filter"] / "items.parquet")
    sequences = Sequences.read(inputs["split"])
    rows = SplitRows.read(inputs["split"], split, sequences)
    if not len(rows):
        raise UserError(f"the {split} split has no rows: there is nothing to evaluate on")
    with measured() as cost:
        recommender = Recommender.load(checkpoint, resolve_dtype(recipe.model.dtype))
        check_catalogue(items, recommender.sids, checkpoint)
        asked = VerdictRows.ask(recommender.renderer, sequences, rows, inputs["filter"])
        scores = _judge(recommender, asked, recipe)
    judged = rows.select(align(rows.row, asked.row))
    pq.write_table(_predictions(judged, scores, asked.labels), out / "predictions.parquet")
    baselines = fit_baselines(sequences, inputs["filter"], len(items))
    of_rows = {name: values[judged.target] for name, values in baselines.items()}
    users = np.array(judged.user_ids)
    estimates = compare_auc({"model": scores, **of_rows}, asked.labels, users, recipe)
    task = recommender.renderer.asked_by
    positives = int(asked.labels.sum())
    counts = (positives, len(asked) - positives)
    found = VerdictResult(
        split=split,
        rows=len(asked),
        answers=dict(zip(task.verdicts, counts, strict=True)),
        left_out=dict(asked.left_out),
        settings=_settings(recipe, task),
        **estimates,
        cost=cost | _rates(asked, cost["seconds"]),
    )
    if recipe.eval.phrasings == "first":
        return dict(found)
    others = _other_phrasings(recommender, sequences, rows, inputs["filter"], recipe)
    values = [found["metrics"]["auc"]["value"], *others]
    return dict(found) | {"phrasings": {"metrics": {"auc": spread(values)}}}


def _predictions(
    judged: SplitRows, scores: NDArray[np.float64], labels: NDArray[np.bool_]
) -> pa.Table:
    """The rows of `predictions.parquet`."""
    columns = {
        "row": judged.row,
        "user_id": judged.user_ids,
        "target": judged.target,
        "score": scores,
        "label": labels,
    }
    return pa.table(columns)


def _settings(recipe: Recipe, task: Task) -> dict[str, Any]:
    """What the verdicts depend on: settings, the task's options, and what was chosen by itself."""
    section = {name: dump(recipe)["eval"][name] for name in STATED}
    chosen = {"asked_by": task.name, **device_choices(recipe.eval, recipe.model.dtype)}
    return section | task.model_dump(mode="json") | chosen


def _rates(asked: VerdictRows, seconds: float) -> dict[str, float]:
    """How fast the rows were judged."""
    seconds, tokens = max(seconds, 0.01), sum(map(len, asked.prompts))
    return {
        "rows_per_second": round(len(asked) / seconds, 2),
        "prompt_tokens": tokens,
        "tokens_per_second": round(tokens / seconds, 1),
    }


def fit_baselines(
    sequences: Sequences, filtered: Path, items: int
) -> dict[str, NDArray[np.float64]]:
    """(items,) what is said of each item without looking at the user, from training alone.

    `chance`: the same of all. `popularity`: its training interactions. `rating`: its mean rating
    in training, over items without one the mean of all; left out for a log without ratings.
    """
    popularity = popularity_counts(sequences.training, items).astype(np.float64)
    found = {"chance": np.zeros(items), "popularity": popularity}
    ratings = read_ratings(filtered, sequences)
    if ratings is None:
        return found
    places = np.flatnonzero(~np.isnan(ratings))
    places = places[sequences.is_training(places)]
    if not len(places):
        return found
    rated, values = sequences.items[places], ratings[places]
    counts = np.bincount(rated, minlength=items)
    means = np.bincount(rated, weights=values, minlength=items) / np.maximum(counts, 1)
    return found | {"rating": np.where(counts > 0, means, values.mean())}


def compare_auc(
    scores: Mapping[str, NDArray[np.float64]],
    labels: NDArray[np.bool_],
    users: NDArray[Any],
    recipe: Recipe,
) -> dict[str, Any]:
    """`metrics` of the model, `baselines`, and `paired`: the model's AUC minus each baseline's.

    Args:
        scores: (rows,) of "model", and of each baseline by its name.
        labels, users: (rows,) each.
    """
    columns = np.stack(list(scores.values()), axis=1)
    values = np.array([auc(column, labels) for column in columns.T])
    samples = bootstrap_auc(columns, labels, users, recipe.eval.bootstrap, recipe.seed)

    def estimate(value: float, drawn: NDArray[np.float64]) -> dict[str, Estimate]:
        low, high = np.percentile(drawn, [2.5, 97.5])
        return {"auc": Estimate(value=float(value), ci95=[float(low), float(high)], n=len(labels))}

    names = list(scores)
    each = {name: estimate(values[i], samples[:, i]) for i, name in enumerate(names)}
    return {
        "metrics": each.pop("model"),
        "baselines": each,
        "paired": {
            name: estimate(values[0] - values[i], samples[:, 0] - samples[:, i])
            for i, name in enumerate(names)
            if i > 0
        },
    }


def _judge(recommender: Recommender, asked: VerdictRows, recipe: Recipe) -> NDArray[np.float64]:
    with progress("judging", len(asked)) as advance:
        return verdict_scores(
            recommender.model, asked.prompts, asked.tokens, recipe.eval.batch_tokens, advance
        )


def _other_phrasings(
    recommender: Recommender, sequences: Sequences, rows: SplitRows, filtered: Path, recipe: Recipe
) -> list[float]:
    """The AUC under each phrasing of the question after the first."""
    found = []
    for phrasing in range(1, len(recommender.renderer.recommendation_phrasings)):
        asked = VerdictRows.ask(recommender.renderer, sequences, rows, filtered, phrasing)
        found.append(auc(_judge(recommender, asked, recipe), asked.labels))
    return found
