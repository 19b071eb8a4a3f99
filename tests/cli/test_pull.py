"""`recllm pull`: a checkpoint of the Hub's stand-in, with its base, to be used without it."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from command_line import recllm
from hub_client import asked_hub, forget, name_base
from huggingface_hub import constants
from local_hub import COMMIT, LocalHub
from tunable import disturb, make_section, save_base, tune

from recllm.config.plugins import TASKS

#: What is pushed beside a checkpoint.
STORY = {
    "README.md": "# A shop",
    "recipe.yaml": "seed: 0",
    "manifests/sft.json": "{}",
    "metrics.json": json.dumps(
        {
            "split": "test", "rows": 1234, "settings": {"exclude_history": True},
            "metrics": {"hit@10": {"value": 0.25, "ci95": [0.2, 0.3], "n": 1234}},
            "baselines": {"popularity": {"hit@10": {"value": 0.1, "ci95": [0.05, 0.15], "n": 9}}},
        }
    ),
}  # fmt: skip
#: What others may have put there.
OTHERS = ("model.bin", "shop.py", "other/config.json", "manifests/old/sft.json", "notes.md")


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalHub]:
    with asked_hub(tmp_path / "hub", monkeypatch) as found:
        yield found


@pytest.fixture
def shop(hub: LocalHub, tmp_path: Path) -> Path:
    """An adapter on the Hub as ann/shop, its base there as org/base, and all that is beside it."""
    folder = hub.repos["ann/shop"] = tmp_path / "shop"
    hub.repos["org/base"] = Path(save_base(tmp_path / "base"))
    disturb(tune(make_section(str(tmp_path / "base")))).save(folder)
    name_base(folder, "org/base")
    for name, content in STORY.items() | dict.fromkeys(OTHERS, "x").items():
        (folder / name).parent.mkdir(exist_ok=True, parents=True)
        (folder / name).write_text(content)
    return folder


def recommended(name: str | Path, *options: str) -> list[str]:
    outcome = recllm("recommend", str(name), "--history", "id1,id2", *options)
    assert outcome.code == 0, outcome.err
    return outcome.out.splitlines()


def refused(*arguments: str) -> str:
    outcome = recllm("pull", *arguments)
    assert outcome.code == 2, outcome
    assert "Traceback" not in outcome.err
    return outcome.err.splitlines()[-1]


def test_it_works_without_a_network_afterwards(
    hub: LocalHub, shop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outcome = recllm("pull", "ann/shop")
    assert outcome.code == 0, outcome.err
    first, what, *figures, last = outcome.out.splitlines()
    cached = tmp_path / "hub" / "models--ann--shop" / "snapshots" / COMMIT
    assert first == f"ann/shop: commit {COMMIT} of the Hub, in {cached}"
    assert what == "30 items, an adapter of org/base"
    assert "test split, 1,234 rows, full catalogue" in "\n".join(figures)
    assert any(line.startswith("model ") and "0.2500" in line for line in figures)
    assert last == "try: recllm recommend ann/shop --history id0,id1"
    assert not set(hub.sent) & set(OTHERS)
    expected = recommended(shop)
    forget()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert recommended("ann/shop") == recommended(cached) == expected
    assert recllm("pull", "ann/shop").out == outcome.out


def test_a_copy_in_a_folder(hub: LocalHub, shop: Path, tmp_path: Path) -> None:
    copy = tmp_path / "mine" / "copy"
    outcome = recllm("pull", "ann/shop@v1", str(copy))
    assert outcome.code == 0, outcome.err
    assert outcome.out.splitlines()[-1] == f"try: recllm recommend {copy} --history id0,id1"
    files = {p.relative_to(copy).as_posix(): p for p in copy.rglob("*") if p.is_file()}
    everything = {p.relative_to(shop).as_posix() for p in shop.rglob("*") if p.is_file()}
    assert set(files) == everything - set(OTHERS)
    assert set(STORY) <= set(files)
    assert not any(path.is_symlink() for path in files.values())
    assert all(path.read_bytes() == (shop / name).read_bytes() for name, path in files.items())
    assert recommended(copy) == recommended(shop)
    sent = list(hub.sent)
    assert "expected a folder that is new or empty" in refused("ann/shop", str(copy))
    assert hub.sent == sent
    assert [path.name for path in copy.parent.iterdir()] == ["copy"]


def test_what_is_beside_it_stays_there_unless_pulled(hub: LocalHub, shop: Path) -> None:
    del shop
    recommended("ann/shop")
    assert not {"README.md", "recipe.yaml", "manifests/sft.json"} & set(hub.sent)


@pytest.mark.parametrize(
    ("refusal", "said"),
    [
        ((401, "GatedRepo"), "the Hub's repository org/base is gated: accept its conditions"),
        ((404, "RepoNotFound"), "the Hub has no repository org/base that may be read"),
        ((503, ""), "the Hub cannot be reached"),
    ],
)
def test_the_base_cannot_be_had(
    hub: LocalHub, shop: Path, tmp_path: Path, refusal: tuple[int, str], said: str
) -> None:
    del shop
    hub.refused["org/base"] = refusal
    line = refused("ann/shop", str(tmp_path / "copy"))
    assert line.startswith("recllm: ann/shop: the base of this adapter, org/base: ")
    assert said in line
    assert not (tmp_path / "copy").exists()


def test_a_base_without_safetensors(hub: LocalHub, shop: Path, tmp_path: Path) -> None:
    del shop
    (tmp_path / "base" / "model.safetensors").rename(tmp_path / "base" / "pytorch_model.bin")
    assert "org/base: the Hub has no safetensors of it" in refused("ann/shop")
    assert "pytorch_model.bin" not in hub.sent


def test_a_base_in_a_folder_of_another_machine(hub: LocalHub, tmp_path: Path) -> None:
    hub.repos["ann/shop"] = tmp_path / "shop"
    tune(make_section(save_base(tmp_path / "base"))).save(tmp_path / "shop")
    (tmp_path / "base").rename(tmp_path / "gone")
    assert "this is an adapter of the model in" in refused("ann/shop")


@pytest.mark.parametrize("name", ["adapter_model.safetensors", "model.safetensors"])
def test_an_interrupted_download_goes_on(
    hub: LocalHub, shop: Path, tmp_path: Path, name: str
) -> None:
    copy = tmp_path / "copy"
    hub.broken.add(name)
    assert "the Hub cannot be reached" in refused("ann/shop", str(copy))
    assert not copy.exists()
    hub.broken.clear()
    sent = len(hub.sent)
    assert recllm("pull", "ann/shop", str(copy)).code == 0
    assert "items.parquet" not in hub.sent[sent:]
    assert recommended(copy) == recommended(shop)


def test_what_is_no_checkpoint(hub: LocalHub, shop: Path, tmp_path: Path) -> None:
    assert "org/base is no recllm checkpoint: it has no recllm.json" in refused("org/base")
    assert "no repository ann/none that may be read" in refused("ann/none")
    assert "expected user/name or user/name@revision of a model" in refused(str(tmp_path))
    (shop / "items.parquet").unlink()
    assert "the checkpoint lacks items.parquet" in refused("ann/shop")
    assert "no such folder" not in refused("ann/none")  # it was not asked for one
    del hub


@pytest.mark.parametrize("content", ["[]", "{}", "no JSON", '{"rows": "x", "metrics": 3}'])
def test_figures_of_another_form(shop: Path, content: str) -> None:
    (shop / "metrics.json").write_text(content)
    outcome = recllm("pull", "ann/shop")
    assert outcome.code == 0, outcome.err
    assert "metrics.json is not that of an evaluation by recllm" in outcome.out


def test_a_whole_model_that_judges(hub: LocalHub, tmp_path: Path) -> None:
    ranking = tune(make_section(save_base(tmp_path / "base"), "full"))
    task = TASKS.load("tallrec").model_validate({"liked_above": 4.5})
    judging = replace(ranking, renderer=replace(ranking.renderer, asked_by=task))
    judging.save(tmp_path / "shop")
    hub.repos["ann/shop"] = tmp_path / "shop"
    outcome = recllm("pull", "ann/shop")
    assert outcome.code == 0, outcome.err
    _, what, last = outcome.out.splitlines()
    assert what == "30 items, a whole model (qwen2)"
    assert last == "try: recllm eval RECIPE --checkpoint ann/shop"


def test_a_folder_of_the_same_name(
    shop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The name would mean the folder: the line to try names the files that were pulled."""
    del shop
    monkeypatch.chdir(tmp_path)
    (tmp_path / "ann" / "shop").mkdir(parents=True)
    outcome = recllm("pull", "ann/shop")
    assert f"recommend {tmp_path / 'hub'}" in outcome.out.splitlines()[-1]


def test_recommend_for_people_and_machines(shop: Path) -> None:
    lines = recommended(shop, "-k", "3", "--exclude", "id1,id3", "--only", "id1,id2,id3,id4")
    assert [line.split()[1] for line in lines[4:]] in (["id2", "id4"], ["id4", "id2"])
    (line,) = recommended(shop, "-k", "3", "--json", "--only", "id4")
    told = json.loads(line)
    assert told["history"] == ["id1", "id2"]
    (item,) = told["recommended"]
    assert item["item_id"] == "id4" and item["score"] < 0 and "volume 4" in item["title"]
    outcome = recllm("recommend", str(shop), "--history", "id1", "--only", " ,")
    assert outcome.code == 2 and "--only: expected at least one item id" in outcome.err
    outcome = recllm("recommend", str(shop), "--history", "id1", "--exclude", "ID9")
    assert outcome.code == 2 and "'ID9'" in outcome.err
