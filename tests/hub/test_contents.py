"""What is pushed: the checkpoint's own files, and what is known of it without anything private."""

import json
import logging
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
import yaml
from command_line import recllm
from hypothesis import given
from hypothesis import strategies as st
from provenances import (
    known,
    make_checkpoint,
    make_manifest,
    make_metrics,
    make_recipe,
    trained_from,
    write_json,
)

from recllm.config.loading import to_yaml
from recllm.errors import UserError
from recllm.hub.base import PublishedBase
from recllm.hub.contents import gather
from recllm.hub.private import Removed, without_private
from recllm.hub.provenance import Provenance, read_published

REPO = "someone/books"
BASE = PublishedBase("Qwen/Qwen2.5-0.5B", "abc123", "apache-2.0")
NAMES = st.text(st.characters(categories=["L", "N"]), min_size=1, max_size=6)
SETTINGS = ("sft.trainer.learning_rate", "rtol 1/2", "/", " / ", "//", "a/b.csv", "{x}\n/y", "")


def content(file: Path | bytes) -> bytes:
    return file.read_bytes() if isinstance(file, Path) else file


def private_recipe(folder: Path, **model: Any) -> Any:
    """A recipe full of this machine's paths, and a token."""
    base = folder / "private place" / "my base"
    base.mkdir(parents=True)
    write_json(base / "config.json", {})
    return make_recipe(
        folder,
        output_dir=str(folder / "private place" / "mine"),
        cache_dir=str(folder / "private place" / "cache"),
        data={
            "source": "files",
            "path": str(folder / "private place" / "log.csv"),
            "engine": "spark",
            "spark": {"options": {"spark.sql.warehouse.dir": "/private place/of all"}},
        },
        model={"name": str(base), "tuning": "lora", **model},
        prompts={"template": str(folder / "private place" / "prompt.yaml")},
        eval={"perplexity": str(folder / "private place" / "text.txt")},
        sft={"trainer": {"hub_token": "hf_abcdef", "run_name": "/var/private place/logs"}},
        hub={"repo": REPO, "private": True},
    )


def test_a_checkpoint_s_files_go_and_nothing_else(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    checkpoint = make_checkpoint(tmp_path / "model")
    for name in ("training_args.bin", "notes.txt", ".published-by-recllm", "chat_template.jinja"):
        (checkpoint / name).write_text(name)
    (checkpoint / "other").mkdir()
    with caplog.at_level(logging.INFO):
        files = gather(checkpoint, Provenance(), REPO, None)
    own = {"recllm.json", "items.parquet", "sids.parquet", "model.safetensors", "tokenizer.json"}
    assert set(files) == own | {"chat_template.jinja", "README.md"}
    assert all(files[name] == checkpoint / name for name in own)
    assert "left out 3 that are no checkpoint's: notes.txt, other, training_args.bin" in caplog.text


def test_nothing_of_the_machine_goes_along(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    recipe = private_recipe(tmp_path)
    checkpoint = make_checkpoint(
        tmp_path / "model", base={"name": str(tmp_path), "revision": None, "fingerprint": "f"}
    )
    write_json(
        checkpoint / "adapter_config.json", {"r": 4, "base_model_name_or_path": str(tmp_path)}
    )
    write_json(checkpoint / "tokenizer_config.json", {"name_or_path": str(tmp_path / "base")})
    manifests = [
        make_manifest("ingest", {"options": {"parts": {"a": {"path": str(tmp_path / "b.csv")}}}}),
        trained_from(str(tmp_path / "base"), {"config.json": "0"}),
        make_manifest("report", {"recipe": to_yaml(recipe)}),
    ]
    metrics = make_metrics()
    metrics["settings"]["candidates"] = {"file": str(tmp_path / "candidates.jsonl")}
    with caplog.at_level(logging.INFO):
        files = gather(checkpoint, known(recipe, *manifests, metrics=metrics), REPO, BASE)
    for name, file in files.items():
        for private in (str(tmp_path).encode(), b"private place", b"hf_abcdef", b"hub_token"):
            assert private not in content(file), (name, private)
    assert "(16 places), and secrets are left out (2 places)" in caplog.text
    assert json.loads(content(files["metrics.json"]))["metrics"] == metrics["metrics"]
    ingest = json.loads(content(files["manifests/ingest.json"]))
    assert ingest == manifests[0].model_dump() | {
        "settings": {"options": {"parts": {"a": {"path": "b.csv"}}}}
    }


def test_an_adapter_names_its_base_on_the_hub(tmp_path: Path) -> None:
    described = {"base": {"name": "/a/b", "revision": None, "fingerprint": "f"}, "tuning": "lora"}
    checkpoint = make_checkpoint(tmp_path / "model", **described)
    write_json(checkpoint / "adapter_config.json", {"r": 4, "base_model_name_or_path": "/a/b"})
    with pytest.raises(UserError, match="expected the base of this adapter on the Hub"):
        gather(checkpoint, Provenance(), REPO, None)
    files = gather(checkpoint, Provenance(), REPO, BASE)
    assert json.loads(content(files["recllm.json"])) == {
        "format": 1,
        "base": {"name": BASE.name, "revision": BASE.revision, "fingerprint": None},
        "tuning": "lora",
    }
    assert json.loads(content(files["adapter_config.json"])) == {
        "r": 4,
        "base_model_name_or_path": BASE.name,
        "revision": BASE.revision,
    }


def test_a_whole_model_stays_as_it_is_whatever_it_was_made_from(tmp_path: Path) -> None:
    checkpoint = make_checkpoint(tmp_path / "model")
    files = gather(checkpoint, Provenance(), REPO, BASE)
    assert "adapter_config.json" not in files
    assert files["recllm.json"] == checkpoint / "recllm.json"


@pytest.mark.parametrize("base", [BASE, None])
def test_the_recipe_is_valid_and_says_the_same(tmp_path: Path, base: PublishedBase | None) -> None:
    recipe = private_recipe(tmp_path)
    checkpoint = make_checkpoint(tmp_path / "model")
    files = gather(checkpoint, known(recipe), REPO, base)
    pushed = tmp_path / "pushed.yaml"
    pushed.write_bytes(content(files["recipe.yaml"]))
    outcome = recllm("config", "validate", str(pushed))
    assert (outcome.code, outcome.out) == (0, "valid\n"), outcome.err
    keys, before = yaml.safe_load(pushed.read_text()), yaml.safe_load(to_yaml(recipe))
    assert keys["output_dir"] == "runs/mine" and "cache_dir" not in keys and "hub" not in keys
    assert before["data"].pop("spark") and before["data"].pop("engine") == "spark"
    assert keys["data"] == before["data"] | {"path": "log.csv"}
    name = BASE.name if base else "my-base"
    assert keys["model"] == before["model"] | {"name": name}
    assert keys["prompts"] == before["prompts"] | {"template": "prompt.yaml"}
    assert keys["sft"]["trainer"].pop("run_name") == "logs"
    assert {name: keys[name] for name in ("sid", "embed", "seed")} == {
        name: before[name] for name in ("sid", "embed", "seed")
    }


def test_what_came_from_the_hub_is_known_again(tmp_path: Path) -> None:
    checkpoint = make_checkpoint(tmp_path / "model")
    child = make_manifest("eval").model_copy(update={"parents": {"sft": "sft-key"}})
    provenance = known(make_recipe(tmp_path), trained_from(None), child, metrics=make_metrics())
    files = gather(checkpoint, provenance, REPO, None)
    pulled = tmp_path / "pulled"
    for name, file in files.items():
        (pulled / name).parent.mkdir(parents=True, exist_ok=True)
        (pulled / name).write_bytes(content(file))
    found = read_published(pulled)
    assert list(found.manifests) == ["sft", "eval"]
    assert found.manifests == provenance.manifests and found.metrics == provenance.metrics
    again = gather(pulled, found, REPO, None)
    assert {name: content(file) for name, file in again.items()} == {
        name: content(file) for name, file in files.items()
    }
    assert read_published(checkpoint) == Provenance()


def test_what_came_damaged_is_left_out_and_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "manifests").mkdir()
    (tmp_path / "manifests" / "sft.json").write_text("{}")
    (tmp_path / "recipe.yaml").write_text("sedd: 1\n")
    (tmp_path / "metrics.json").write_text("[")
    assert read_published(tmp_path) == Provenance()
    for name in ("sft.json", "recipe.yaml", "metrics.json"):
        assert f"{name} cannot be read, and is left out" in caplog.text


@given(
    parts=st.lists(NAMES, min_size=1, max_size=4),
    root=st.sampled_from(["/", "~/", "~anna/", "../", "file:///", "C:\\", "\\\\host\\"]),
    deep=st.booleans(),
)
def test_every_path_of_the_machine_is_cut(parts: list[str], root: str, deep: bool) -> None:
    path = root + ("\\" if "\\" in root else "/").join(parts)
    removed = Removed()
    value = without_private({"a": [path, {"b": path}]} if deep else path, removed)
    assert value == ({"a": [parts[-1], {"b": parts[-1]}]} if deep else parts[-1])
    assert removed == Removed(paths=2 if deep else 1)


@given(st.one_of(NAMES, st.lists(NAMES, min_size=2).map("/".join), st.sampled_from(SETTINGS)))
def test_what_is_no_path_of_the_machine_stays(text: str) -> None:
    removed = Removed()
    kept = {"separator": text, "n": [1, None, True, 2.5]}
    assert without_private(kept, removed) == kept and removed == Removed()
    assert not PurePosixPath(text).is_absolute() or not text.strip("/ ")


@pytest.mark.parametrize(
    "name",
    ["hub_token", "push_to_hub_token", "spark.hadoop.fs.s3a.secret.key", "api_key", "DB_PASSWORD",
     "spark.hadoop.fs.s3a.access.key"],
)  # fmt: skip
def test_a_secret_is_left_out_with_its_name(name: str) -> None:
    removed = Removed()
    assert without_private({"spark": {name: "x", "eos_token": "</s>"}}, removed) == {
        "spark": {"eos_token": "</s>"}
    }
    assert removed == Removed(secrets=1)
