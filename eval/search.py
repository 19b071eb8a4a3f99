"""Item search: the intents of held-out interactions, and where their items are found."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from recllm.catalog.histories import Sequences, SplitRows
from recllm.config.schema import Recipe
from recllm.eval.engines import Questions, Ranker
from recllm.eval.estimates import Bootstrap, metric_names, per_row
from recllm.eval.facts import Facts, align
from recllm.eval.slices import regroup
from recllm.metrics.ranking import ranks_of
from recllm.prompts.examples import Material, Texts
from recllm.prompts.mixing import evaluation_prompts
from recllm.prompts.renderer import Renderer
from recllm.prompts.tasks import Task

SEARCH = "item-search"


def search_task(recipe: Recipe) -> Task | None:
    """The task of item search in a recipe's mix."""
    return next((share.task for share in recipe.sft.mix if share.task.name == SEARCH), None)


def evaluate_search(  # noqa: PLR0917 (what an evaluation has at hand)
    recipe: Recipe,
    task: Task,
    ranker: Ranker,
    renderer: Renderer,
    sequences: Sequences,
    rows: SplitRows,
    inputs: Mapping[str, Path],
    facts: Facts,
) -> dict[str, Any]:
    """Rank the catalogue for the intents of a split's targets, as LC-Rec tests item search.

    Only intents that are tied to an interaction are asked: these were not trained, by provenance.
    Those of items as such may have been trained with another user's row, and are counted as left
    out.

    Args:
        inputs: the artifact of the stage prompts, which keeps the texts.
        facts: of `rows`, in their order; popularity is shown on the rows that have an intent.

    Returns:
        `rows` (how many intents were asked), `left_out` (by reason), `settings`, and where there
        are rows `metrics`, `baselines` and `paired` as in metrics.json, all on the same rows.
    """
    section = recipe.eval
    texts = Texts.read(inputs["prompts"], task.name)
    material = Material(
        renderer.shown_catalog, sequences, rows, renderer.max_history, recipe.seed, texts=texts
    )
    examples = task.held_out_examples(material)
    asked = list(evaluation_prompts(renderer, task, material, examples=examples))
    found: dict[str, Any] = {
        "rows": len(asked),
        "left_out": dict(examples.counts),
        "settings": {"history": task.model_dump()["history"]},
    }
    if not asked:
        return found
    place = align(rows.row, np.array([prompt.row for prompt in asked], dtype=np.int64))
    of_rows = rows.select(place)
    histories = list(of_rows.histories) if section.exclude_history else None
    ranking = ranker.rank(Questions([prompt.input_ids for prompt in asked], histories))
    ranks = {"model": ranks_of(ranking.items, of_rows.target)}
    ranks |= {"popularity": facts.baselines["popularity"].ranks[place]}
    values = {who: per_row(metric_names(section), places) for who, places in ranks.items()}
    columns = {(who, name): v for who, named in values.items() for name, v in named.items()}
    paired = {
        ("popularity", name): values["model"][name] - other
        for name, other in values["popularity"].items()
    }
    bootstrap, users = Bootstrap(section.bootstrap, recipe.seed), np.array(of_rows.user_ids)
    estimates = regroup(bootstrap.estimate(columns, users), ranks)
    baselines = {"popularity": estimates["popularity"]}
    return found | {
        "metrics": estimates["model"],
        "baselines": baselines,
        "paired": regroup(bootstrap.estimate(paired, users), baselines),
    }
