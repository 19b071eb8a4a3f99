"""The card: what it says is so, what is not known is said to be so, and no title can break it."""

import re
from pathlib import Path

import pytest
from cards import metadata, section, table
from huggingface_hub import ModelCard, ModelCardData
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from provenances import (
    ESTIMATES,
    known,
    make_checkpoint,
    make_metrics,
    make_recipe,
    trained_from,
    write_json,
)

from recllm.artifacts.manifest import Manifest
from recllm.hub.base import PublishedBase
from recllm.hub.card import render_card
from recllm.hub.provenance import Provenance

REPO = "someone/books"
BASE = PublishedBase("Qwen/Qwen2.5-0.5B", "abc123", "apache-2.0")
HOSTILE = (
    "plain",
    "a | b",
    "---",
    "x\n---\nlicense: mit\n---\n# Heading",
    "<script>alert(1)</script>",
    "<!-- ",
    "![x](http://x/y.png)",
    "[x](javascript:y)",
    "`code` ``` *bold* _it_ ~s~ #h",
    "{{ 7 * 7 }} {% raw %}",
    "back\\slash \\",
    "half \ud800 of a pair",
    "\x85---\u2028- a: b",
    "key: [value",
    "&lt;b&gt;",
)
TEXTS = st.one_of(st.sampled_from(HOSTILE), st.text(min_size=1, max_size=30))


def test_its_metadata_are_the_metrics(tmp_path: Path) -> None:
    checkpoint = make_checkpoint(tmp_path / "model", tuning="lora")
    write_json(checkpoint / "adapter_config.json", {})
    metrics = make_metrics()
    provenance = known(make_recipe(tmp_path), trained_from("x"), metrics=metrics)
    data = metadata(render_card(checkpoint, provenance, REPO, BASE))
    assert (data.library_name, data.license) == ("recllm", "apache-2.0")
    assert (data.base_model, data["base_model_relation"]) == ("Qwen/Qwen2.5-0.5B", "adapter")
    assert {"recommender-system", "semantic-ids", "mine"} <= set(data.tags or [])
    assert data.model_name == REPO
    results = {result.metric_type: result for result in data.eval_results or []}
    assert {name: r.metric_value for name, r in results.items()} == {
        name: ESTIMATES[name] for name in ("hit@5", "hit@10", "ndcg@5", "ndcg@10")
    }
    hit = results["hit@10"]
    assert (hit.dataset_name, hit.dataset_type, hit.dataset_split) == ("simulated",) * 2 + ("test",)
    interval = metrics["metrics"]["hit@10"]["ci95"]
    assert hit.metric_args == {"ci95": interval, "rows": 2000, "exclude_history": True}


def test_a_bare_checkpoint_says_what_is_not_known(tmp_path: Path) -> None:
    checkpoint = make_checkpoint(tmp_path / "model", titles=["Emma", "Dune"])
    card = render_card(checkpoint, Provenance(), REPO, None)
    for title in ("Data", "Training", "Evaluation"):
        assert section(card, title).strip().startswith("Not known: "), title
        assert not table(section(card, title))
    assert "Which one it was fine-tuned from is not known" in card
    assert "No licence is claimed" in card
    assert "how it ranks rare and\n  new items, is not known" in section(card, "Limits")
    assert "2 items, such as *Emma*, *Dune*" in card
    data = metadata(card)
    assert data.license is None and data.base_model is None and data.eval_results is None
    assert "None" not in card and "Undefined" not in card


@pytest.mark.parametrize(
    ("licence", "said"),
    [
        ("apache-2.0", "The base's licence is apache-2.0, and so is this model's."),
        (None, "The licence of the base stands on its page; none is claimed for this model."),
    ],
)
def test_an_adapter_names_its_base_and_licence(
    tmp_path: Path, licence: str | None, said: str
) -> None:
    checkpoint = make_checkpoint(tmp_path / "model", tuning="qlora")
    write_json(checkpoint / "adapter_config.json", {})
    base = PublishedBase("Qwen/Qwen2.5-0.5B", "abc123", licence)
    card = render_card(checkpoint, Provenance(), REPO, base)
    text = " ".join(section(card, "Base model and licence").split())
    assert "An adapter (qlora) of [Qwen/Qwen2.5-0.5B](https://huggingface.co/Qwen" in text
    assert "at commit `abc123`" in text and said in text
    assert metadata(card).license == licence


def test_a_whole_model_names_what_it_was_fine_tuned_from(tmp_path: Path) -> None:
    recipe = make_recipe(tmp_path)
    checkpoint = make_checkpoint(tmp_path / "model")

    def data_of(*manifests: Manifest, base: PublishedBase | None = None) -> ModelCardData:
        return metadata(render_card(checkpoint, known(recipe, *manifests), REPO, base))

    on_hub = data_of(trained_from("Qwen/Qwen3-0.6B"))
    assert (on_hub.base_model, on_hub["base_model_relation"]) == ("Qwen/Qwen3-0.6B", "finetune")
    assert on_hub.license is None
    assert data_of(trained_from("Qwen/Qwen3-0.6B"), base=BASE).license == "apache-2.0"
    assert data_of(trained_from("folder", {"config.json": "0"})).base_model is None


def test_one_from_scratch_says_so(tmp_path: Path) -> None:
    provenance = known(make_recipe(tmp_path), trained_from(None))
    card = render_card(make_checkpoint(tmp_path / "model"), provenance, REPO, None)
    text = " ".join(section(card, "Base model and licence").split())
    assert "There is none: a qwen3 with 4 layers of width 32 and 1,000 parameters" in text
    assert metadata(card).base_model is None


@pytest.mark.parametrize(
    ("sections", "asked_by", "names"),
    [
        ({}, "seqrec", "TIGER"),
        ({"sid": {"quantizer": "rq-vae"}}, "seqrec", "TIGER, RQ-VAE"),
        (
            {"sft": {"tasks": {"seqrec": 1, "title_to_sid": 1}, "targets": "last"}},
            "seqrec",
            "LC-Rec, TIGER",
        ),
        ({"output_dir": "runs/minionerec-sft"}, "seqrec", "MiniOneRec, TIGER"),
        ({"model": {"name": "a/b", "tuning": "qlora"}}, "seqrec", "TIGER, LoRA, QLoRA"),
        ({"sft": {"tasks": {"tallrec": 1}, "targets": "last"}}, "tallrec", "TALLRec, TIGER"),
        ({"sft": {"tasks": {"bigrec": 1}, "targets": "last"}}, "bigrec", "BIGRec, TIGER"),
    ],
)
def test_the_papers_of_the_methods_are_cited(
    tmp_path: Path, sections: dict, asked_by: str, names: str
) -> None:
    checkpoint = make_checkpoint(tmp_path / "model", asked_by={"task": asked_by})
    recipe = make_recipe(tmp_path, **sections)
    citation = section(render_card(checkpoint, known(recipe), REPO, None), "Citation")
    assert f"the methods of {names}.\n" in citation
    entries = re.findall(r"^@\w+\{(\w+),$", citation, re.M)
    assert len(entries) == len(names.split(", ")) + 1 and entries[-1] == "recllm"
    assert citation.count("{") == citation.count("}")


def test_a_model_of_verdicts_is_not_said_to_recommend(tmp_path: Path) -> None:
    checkpoint = make_checkpoint(tmp_path / "model", asked_by={"task": "tallrec"})
    metrics = make_metrics({"auc": 0.6}) | {"answers": {"Yes": 900, "No": 1100}}
    provenance = known(make_recipe(tmp_path), metrics=metrics)
    card = render_card(checkpoint, provenance, REPO, None)
    assert "whether a user will like an item: `Yes` or `No`" in card
    assert "recommend(" not in card and "recllm recommend" not in card
    (result,) = metadata(card).eval_results or []
    assert (result.metric_type, result.metric_value) == ("auc", 0.6)
    assert result.task_name == "Preference prediction"


def test_ids_that_cannot_stand_in_a_command_are_not_shown_in_one(tmp_path: Path) -> None:
    checkpoint = make_checkpoint(tmp_path / "model")
    assert '[["id0", "id1"]]' in render_card(checkpoint, Provenance(), REPO, None)
    odd = make_checkpoint(tmp_path / "odd", ids=["a b", "$(rm -r x)", "c,d"])
    card = render_card(odd, Provenance(), REPO, None)
    assert f"recllm recommend {REPO} --history ITEM_ID,ITEM_ID\n" in card and "rm -r" not in card


@given(titles=st.lists(TEXTS, min_size=3, max_size=3), name=TEXTS, description=TEXTS)
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_title_or_name_breaks_it(
    tmp_path_factory: pytest.TempPathFactory, titles: list[str], name: str, description: str
) -> None:
    folder = tmp_path_factory.mktemp("card")
    titles = [title.encode("utf-8", "replace").decode() for title in titles]
    checkpoint = make_checkpoint(folder / "model", titles=titles)
    plain = make_recipe(folder)
    source = plain.data.source.model_copy(update={"path": Path(name.replace("\0", ""))})
    data = plain.data.model_copy(update={"source": source})
    recipe = plain.model_copy(update={"data": data, "description": description})
    metrics = make_metrics()
    card = render_card(checkpoint, known(recipe, metrics=metrics), REPO, None)
    card.encode("utf-8")
    parsed = ModelCard(card)
    data = metadata(card)
    assert set(data.to_dict()) == {"library_name", "tags", "model-index"}
    assert {r.metric_value for r in data.eval_results or []} < set(ESTIMATES.values())
    headings = re.findall(r"^#+ .*", parsed.text, re.M)
    assert headings == ["# books", *(f"## {title}" for title in SECTIONS)]
    assert {len(row) for row in table(section(parsed.text, "Data"))} == {2}
    prose = re.sub(r"^```.*?^```$", "", parsed.text, flags=re.S | re.M)
    assert "<" not in prose
    assert not re.search(r"(?<!\\)!?\[[^\]]*\]\((?!https://huggingface\.co/)", prose)


SECTIONS = (
    "Use",
    "Base model and licence",
    "Data",
    "Training",
    "Evaluation",
    "Limits",
    "Citation",
)
