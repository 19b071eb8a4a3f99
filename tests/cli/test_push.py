"""`recllm push`: what it lists, sends and says, and what it refuses."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from command_line import Outcome, recllm
from hub_client import asked_hub, log_in
from local_hub import TOKEN, Fault, LocalHub, Repository
from tunable import disturb, make_section, save_base, tune

from recllm.config.loading import load_recipe, to_yaml

ROW = re.compile(r" +([\d,]+)  (\S+)")


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalHub]:
    """A hub that the client of this process asks, logged in as `ann`."""
    with asked_hub(tmp_path / "hub", monkeypatch) as found:
        log_in(monkeypatch)
        yield found


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(save_base(tmp_path_factory.mktemp("base")))


def make_run(folder: Path, base: Path, tuning: str = "full") -> Path:
    """What has the folder of a trained model in it."""
    disturb(tune(make_section(str(base), tuning))).save(folder / "model")
    return folder


def refused(*arguments: str) -> str:
    outcome = recllm("push", *arguments)
    assert outcome.code == 2 and not outcome.out, outcome
    assert "Traceback" not in outcome.err and TOKEN not in outcome.err
    return outcome.err.splitlines()[-1]


def recommended(name: str) -> Outcome:
    outcome = recllm("recommend", name, "--history", "id1,id2")
    assert outcome.code == 0, outcome.err
    return outcome


def test_a_dry_run_asks_nobody(
    hub: LocalHub, base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HF_TOKEN")
    run = make_run(tmp_path / "run", base)
    outcome = recllm("push", str(run), "--repo", "ann/shop", "--dry-run")
    assert outcome.code == 0, outcome.err
    rows = [m for line in outcome.out.splitlines() if (m := ROW.fullmatch(line))]
    sizes = {row[2]: int(row[1].replace(",", "")) for row in rows}
    assert sizes["model.safetensors"] == (run / "model/model.safetensors").stat().st_size
    assert sizes.keys() >= {"recllm.json", "items.parquet", "sids.parquet", "tokenizer.json"}
    assert f"{sum(sizes.values()):,}  in all, {len(sizes)} files" in outcome.out
    assert len({row.start(2) for row in rows}) == 1, "the names stand below each other"
    card = (run / "card.md").read_bytes()
    assert str(run / "card.md") in outcome.out and len(card) == sizes["README.md"]
    assert b"ann/shop" in card
    assert not hub.requests


def test_what_is_pushed_recommends_the_same(hub: LocalHub, base: Path, tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", base)
    outcome = recllm("push", str(run), "--repo", "ann/shop", "--private")
    assert outcome.code == 0, outcome.err
    repository = hub.repository("ann/shop")
    url, tried = outcome.out.splitlines()
    assert url.startswith(f"{hub.url}/ann/shop/commit/{repository.head.oid}: ")
    assert repository.private
    assert tried == "try: recllm recommend ann/shop --history id0,id1"
    assert recommended("ann/shop").out == recommended(str(run)).out
    assert b"ann/shop" in repository.head.files["README.md"].content
    again = recllm("push", str(run), "--repo", "ann/shop")
    count = len(repository.head.files) - 1
    assert again.out.startswith(f"ann/shop: nothing to change, all {count} files are there already")
    branch = recllm("push", str(run), "--repo", "ann/shop", "--revision", "v2")
    assert "recllm recommend ann/shop@v2 --history" in branch.out
    assert recommended("ann/shop@v2").out == recommended(str(run)).out
    for text in (outcome, again, branch):
        assert TOKEN not in text.out + text.err


def test_an_adapter_is_pushed_with_a_base_that_others_have(
    hub: LocalHub, base: Path, tmp_path: Path
) -> None:
    run = make_run(tmp_path / "run", base, "lora")
    command = (str(run), "--repo", "ann/shop")
    for dry_run in ((), ("--dry-run",)):
        line = refused(*command, *dry_run)
        assert f"an adapter of the model in {base}, a folder that nobody else has" in line
        assert "recllm merge" in line and "--base user/name" in line
    assert not hub.requests and not hub.repos
    files = {path.name: path.read_bytes() for path in base.iterdir()}
    hub.repos["eve/base"] = Repository.new({**files, "README.md": b"---\nlicense: mit\n---\n"})
    outcome = recllm("push", *command, "--base", "eve/base")
    assert outcome.code == 0, outcome.err
    head = hub.repository("ann/shop").head
    assert not {"model.safetensors", "config.json"} & head.files.keys()
    for file in head.files.values():
        assert str(base).encode() not in file.content
    assert b"license: mit" in head.files["README.md"].content
    assert recommended("ann/shop").out == recommended(str(run)).out
    merged = recllm("merge", str(run), str(tmp_path / "whole"))
    assert merged.code == 0, merged.err
    whole = recllm("push", str(tmp_path / "whole"), "--repo", "ann/shop")
    assert whole.code == 0, whole.err
    assert "deleted of an earlier push: adapter_config.json, adapter_model.safetensors" in whole.out


def test_the_recipe_may_name_the_repository(
    hub: LocalHub, base: Path, tmp_path: Path, recipe: str
) -> None:
    run = make_run(tmp_path / "run", base)
    settings = "hub: {repo: ann/named, private: true}\n"
    Path(recipe).write_text(Path(recipe).read_text() + settings)
    (run / "resolved.yaml").write_text(to_yaml(load_recipe(recipe)))
    outcome = recllm("push", str(run))
    assert outcome.code == 0, outcome.err
    assert hub.repository("ann/named").private
    assert "recipe.yaml" in hub.repository("ann/named").head.files
    assert recllm("push", str(run), "--repo", "ann/other").code == 0
    assert hub.repos.keys() == {"ann/named", "ann/other"}


def test_what_is_refused_before_anybody_is_asked(
    hub: LocalHub, base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = str(make_run(tmp_path / "run", base))
    to = ("--repo", "ann/shop")
    assert "--repo: expected user/name, where to push to, found none" in refused(run)
    assert "--repo shop: expected user/name" in refused(run, "--repo", "shop")
    assert "--repo ann/shop --revision v1" in refused(run, "--repo", "ann/shop@v1")
    assert "fetch it first: recllm pull eve/shop DEST" in refused("eve/shop", *to)
    assert "there is no such folder" in refused(str(tmp_path / "none"), *to)
    assert "found no recllm.json" in refused(str(base), *to)
    assert "is a whole model, which needs no base" in refused(run, *to, "--base", "eve/base")
    (tmp_path / "run/model/items.parquet").unlink()
    assert "the checkpoint lacks items.parquet" in refused(run, *to)
    monkeypatch.delenv("HF_TOKEN")
    assert "log in with `hf auth login`" in refused(run, *to)
    assert not hub.requests


def test_the_hub_does_not_answer(hub: LocalHub, base: Path, tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", base)
    hub.faults = [Fault("POST", "/commit/", drop="request")]
    outcome = recllm("push", str(run), "--repo", "ann/shop")
    assert outcome.code == 1 and "Traceback" not in outcome.err
    assert "recllm: push to ann/shop: the Hub cannot be reached: " in outcome.err
    assert len(hub.repository("ann/shop").commits) == 1


def test_an_interrupted_push_says_what_became_of_it(
    hub: LocalHub, base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("huggingface_hub.HfApi.create_commit", interrupt)
    run = make_run(tmp_path / "run", base)
    outcome = recllm("push", str(run), "--repo", "ann/shop")
    assert outcome.code == 1
    assert outcome.err.splitlines()[-1] == (
        "recllm: interrupted in push; ann/shop has all of it or none, for it is one commit"
    )
    assert len(hub.repository("ann/shop").commits) == 1
