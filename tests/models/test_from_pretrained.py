"""`Recommender.from_pretrained`: from folders and from a stand-in of the Hub, safely."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hub_client import forget, name_base
from huggingface_hub import constants
from local_hub import COMMIT, LocalHub
from tunable import disturb, make_section, save_base, tune

from recllm import Recommendation, Recommender
from recllm.errors import UserError
from recllm.models.checkpoint_ids import checkpoint_folder
from recllm.models.references import DESCRIPTION

HISTORIES = [["id1", "id2"], ["id7"], ["id3"] * 6]
#: What only runs where it is trusted.
CODE = """
from pathlib import Path
from transformers import Qwen2ForCausalLM
Path({marker!r}).write_text("ran")
class Shop(Qwen2ForCausalLM):
    pass
"""


def ranked(name: str | Path, **options: str | bool) -> list[list[Recommendation]]:
    return Recommender.from_pretrained(name, **options).recommend(HISTORIES, 5)  # type: ignore[arg-type]


def save_whole(folder: Path) -> Path:
    """A recommender with all its weights."""
    base = save_base(folder.with_name(f"{folder.name}-base"))
    recommender = disturb(tune(make_section(base, "full")))
    recommender.save(folder)
    return folder


def save_adapter(folder: Path, hub: LocalHub) -> Path:
    """An adapter, its base on the Hub."""
    base = folder.with_name(f"{folder.name}-base")
    disturb(tune(make_section(save_base(base)))).save(folder)
    hub.repos["org/base"] = base
    name_base(folder, "org/base")
    return folder


def test_one_checkpoint_by_all_its_names(hub: LocalHub, tmp_path: Path) -> None:
    folder = save_whole(tmp_path / "run" / "model")
    hub.repos["ann/shop"] = folder
    first = ranked(folder)
    assert not hub.sent
    shutil.copytree(folder, tmp_path / "run" / "extended")  # has to be named itself
    assert checkpoint_folder(tmp_path / "run") == folder
    assert ranked(str(folder)) == ranked(tmp_path / "run") == first
    for name in ("ann/shop", "ann/shop@v1", f"ann/shop@{COMMIT}"):
        assert ranked(name) == first
    assert ranked("ann/shop", revision="v1") == first
    with pytest.raises(UserError, match="ann/shop has no revision v9"):
        ranked("ann/shop", revision="v9")
    assert len(set(hub.sent)) == len(hub.sent)  # nothing is sent twice


def test_an_adapter_comes_on_its_base_from_the_hub(
    hub: LocalHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = hub.repos["ann/shop"] = save_adapter(tmp_path / "model", hub)
    first = ranked("ann/shop")
    assert ranked(folder) == first
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    forget()
    assert ranked("ann/shop") == first


@pytest.mark.parametrize(
    ("status", "code", "said"),
    [
        (404, "RepoNotFound", "the Hub has no repository org/base that may be read"),
        (401, "GatedRepo", "the Hub's repository org/base is gated: accept its conditions"),
        (503, "", "the Hub cannot be reached"),
    ],
)
def test_the_base_of_an_adapter_cannot_be_had(
    hub: LocalHub, tmp_path: Path, status: int, code: str, said: str
) -> None:
    folder = save_adapter(tmp_path / "model", hub)
    hub.refused["org/base"] = (status, code)
    with pytest.raises(UserError) as refused:
        Recommender.from_pretrained(folder)
    (line,) = str(refused.value).splitlines()
    assert line.startswith(f"{folder}: the base of this adapter: the model of 'org/base' ")
    assert said in line


def test_pickles_are_neither_downloaded_nor_read(hub: LocalHub, tmp_path: Path) -> None:
    folder = hub.repos["ann/shop"] = save_whole(tmp_path / "model")
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(UserError, match=r"lacks model.safetensors; copy"):
        Recommender.from_pretrained("ann/shop")
    assert "pytorch_model.bin" not in hub.sent
    with pytest.raises(UserError, match=r"lacks model.safetensors \(pytorch_model.bin may run"):
        Recommender.from_pretrained(folder)


@pytest.mark.parametrize("model_type", ["qwen2", "of_the_shop"])
def test_code_runs_only_where_it_is_trusted(
    hub: LocalHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model_type: str
) -> None:
    folder = hub.repos["ann/shop"] = save_whole(tmp_path / "model")
    marker = tmp_path / "marker"
    (folder / "shop.py").write_text(CODE.format(marker=str(marker)))
    config = json.loads((folder / "config.json").read_text())
    config |= {"auto_map": {"AutoModelForCausalLM": "shop.Shop"}, "model_type": model_type}
    (folder / "config.json").write_text(json.dumps(config))
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "own"))
    if model_type == "qwen2":  # which transformers has itself
        ranked("ann/shop")
        assert "shop.py" not in hub.sent and not marker.exists()
        ranked("ann/shop", trust_remote_code=True)
        assert marker.exists()
        return
    with pytest.raises(UserError):
        ranked("ann/shop")
    assert not marker.exists()


def test_names_that_nothing_has(
    hub: LocalHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "runs" / "demo").mkdir(parents=True)
    (tmp_path / "runs" / "file").write_text("")
    monkeypatch.chdir(tmp_path)
    for name, said in {
        "runs/dem": r"no such folder \(did you mean runs/demo\?\), and the Hub has no repository",
        "runs/demoo/model": r"there is no such folder \(did you mean runs/demo\?\)",
        "/none/of/it": "or user/name on the Hub; there is no such folder",
        "runs/file": "found a file",
        "runs/demo": f"found no {DESCRIPTION}",
    }.items():
        with pytest.raises(UserError, match=f"^{name}: .*{said}"):
            Recommender.from_pretrained(name)
    assert not hub.sent


def test_a_base_is_no_recommender(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=f"expected a recllm checkpoint, found no {DESCRIPTION}"):
        Recommender.from_pretrained(save_base(tmp_path / "base"))


def test_recllm_is_imported_without_torch() -> None:
    script = (
        "import sys, recllm; assert not {'torch', 'transformers'} & set(sys.modules); "
        "from recllm import Recommender; assert Recommender.__module__.startswith('recllm.models')"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


def test_a_missing_name_is_said() -> None:
    import recllm

    with pytest.raises(AttributeError, match="'recllm' has no attribute 'Recomender'"):
        recllm.Recomender  # type: ignore[attr-defined]  # noqa: B018
