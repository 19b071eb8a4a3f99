"""The figures of a card: of the log, the training, the evaluation, and of where it does badly."""

from pathlib import Path
from typing import Any

from cards import metadata, section, table
from provenances import (
    known,
    make_checkpoint,
    make_manifest,
    make_metrics,
    make_recipe,
    trained_from,
)

from recllm.hub.card import render_card

REPO = "someone/books"


def test_the_evaluation_stands_beside_every_baseline(tmp_path: Path) -> None:
    provenance = known(make_recipe(tmp_path), metrics=make_metrics())
    card = render_card(make_checkpoint(tmp_path / "model"), provenance, REPO, None)
    evaluation = section(card, "Evaluation")
    assert "Test split, 2,000 rows, full catalogue, items of the history excluded" in evaluation
    head, _, model, popularity, covisitation = table(evaluation)
    assert head == ["", "hit@5", "hit@10", "ndcg@5", "ndcg@10"]
    assert model[:3] == ["this model", "**0.0400** [0.0300, 0.0500]", "0.0625 [0.0525, 0.0725]"]
    assert popularity[:2] == ["popularity", "0.0200 [0.0100, 0.0300]"]
    assert covisitation[2] == "**0.0700** [0.0600, 0.0800]"
    assert r"above popularity: paired difference in hit@10 +0.0300" in evaluation
    assert r"below covisitation: paired difference in hit@10 -0.0125" in evaluation
    limits = section(card, "Limits")
    assert (
        "had 120 training interactions on average, what users took next 60: a ratio of 2" in limits
    )
    assert "7 test rows have a target without training interactions: hit@10 0.0200" in limits


def test_the_log_is_described_by_its_statistics_or_else_by_its_counts(tmp_path: Path) -> None:
    checkpoint, recipe = make_checkpoint(tmp_path / "model"), make_recipe(tmp_path)
    split = make_manifest("split", train=3000, valid=40, test=41, cold_targets_test=2)
    filtered = make_manifest("filter", users=11, items=22, interactions=3333, dropped=4)

    def rows(statistics: dict[str, Any] | None) -> dict[str, str]:
        provenance = known(recipe, filtered, split, statistics=statistics)
        return dict(table(section(render_card(checkpoint, provenance, REPO, None), "Data"))[2:])

    by_counts = rows(None)
    assert (by_counts["users"], by_counts["interactions"]) == ("11", "3,333")
    assert by_counts["test rows"] == "41, 2 of items without training interactions"
    assert (
        by_counts["kept of it"]
        == "users with at least 5 interactions, items with at least 5 (k-core)"
    )
    log = {"users": 12, "repeat_rate": 0.25, "first_time": 0, "last_time": 86_400, "lengths": {}}
    by_statistics = rows({"log": log | {"order_only": False}})
    assert by_statistics | {"users": "12", "repeat rate": "25 %"} == by_statistics
    assert by_statistics["last time"] == "1970-01-02 00:00"
    assert rows({"log": log | {"order_only": True}})["time"] == "order only"


def test_a_log_of_the_hub_is_linked(tmp_path: Path) -> None:
    recipe = make_recipe(tmp_path, data={"source": "hub", "dataset": "some/log"})
    provenance = known(recipe, metrics=make_metrics())
    data = metadata(render_card(make_checkpoint(tmp_path / "m"), provenance, REPO, None))
    assert data.datasets == ["some/log"]
    assert {result.dataset_name for result in data.eval_results or []} == {"hub: some/log"}


def test_figures_of_general_language_are_told(tmp_path: Path) -> None:
    perplexity = {
        "text": {"name": "<b>.txt"},
        "checkpoint": {"perplexity": 15.0},
        "base": {"perplexity": 10.0},
    }
    provenance = known(make_recipe(tmp_path), metrics=make_metrics() | {"perplexity": perplexity})
    card = render_card(make_checkpoint(tmp_path / "model"), provenance, REPO, None)
    assert "of the text &lt;b>.txt is 15.00 (base 10.00)." in section(card, "Limits")


def test_a_run_of_reinforcement_learning(tmp_path: Path) -> None:
    recipe = make_recipe(tmp_path, rl={"rewards": {"rank": 1.0}, "generations": 8})
    rl = make_manifest("rl", steps=77)
    card = render_card(
        make_checkpoint(tmp_path / "m"), known(recipe, trained_from(None), rl), REPO, None
    )
    rows = dict(table(section(card, "Training")))
    assert rows["reinforcement learning"] == "grpo, 8 items a prompt, rewards by weight: rank 1"
    assert rows["reinforcement learning took"] == "77 steps; 2.5 min"
    assert rows["fine-tuning took"].startswith("1,200 steps; 34,567 tokens; the best")
    assert "with recllm 0.0.7 at commit `c0ffee`" in " ".join(section(card, "Training").split())
    assert "reinforcement-learning" in (metadata(card).tags or [])
    assert "methods of MiniOneRec, TIGER, GRPO" in section(card, "Citation")
