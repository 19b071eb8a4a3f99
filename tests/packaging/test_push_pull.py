"""What is pushed from here and pulled elsewhere, by the wheel alone, recommends the same."""

import json
import sys
from pathlib import Path

import pytest
from hub_client import environment
from local_hub import TOKEN, Repository, local_hub
from tunable import save_base
from wheels import call

pytestmark = pytest.mark.slow

RECIPE = """
extends: base/quickstart
data: {source: simulated, users: 120, items: 60, k_core: 3}
embed: {dimensions: 8}
sid: {levels: 2, codes: 16, health: {max_resolution_cost: 1}}
model: {name: eve/tiny-base, tuning: lora, lora: {rank: 4, alpha: 8}}
sft:
  validation_users: 20
  trainer: {max_steps: 20, per_device_train_batch_size: 16}
eval: {beams: 10, cutoffs: [10], bootstrap: 100}
hub: {repo: ann/shop}
"""
#: Prints what is recommended, to the last bit of each score.
SCRIPT = """
import json, sys
import recllm

print(recllm.__file__)
for name in sys.argv[1:]:
    shop = recllm.Recommender.from_pretrained(name)
    ids = shop.items.ids
    found = shop.recommend([ids[:3], ids[7:8], ids[20:40]], k=10)
    print(json.dumps([[(r.item_id, r.title, float(r.score).hex()) for r in row] for row in found]))
"""


def test_pushed_here_and_pulled_there_it_recommends_the_same(
    programs: Path, tmp_path: Path
) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir()
    there.mkdir()
    base = Path(save_base(tmp_path / "base"))
    (here / "recipe.yaml").write_text(RECIPE)
    (tmp_path / "recommend.py").write_text(SCRIPT)
    python, recllm = sys.executable, str(Path(sys.executable).with_name("recllm"))
    with local_hub() as hub:
        files = {path.name: path.read_bytes() for path in base.iterdir()}
        hub.repos["eve/tiny-base"] = Repository.new(files)
        at_home = environment(hub.url, here / "home", TOKEN)
        call([recllm, "run", "recipe.yaml", "--until", "eval"], here, at_home)
        pushed = call([recllm, "push", "runs/quickstart"], here, at_home)
        assert pushed.startswith(f"{hub.url}/ann/shop/commit/")
        elsewhere = environment(hub.url, there / "home")
        pulled = call([str(programs / "recllm"), "pull", "ann/shop", "copy"], there, elsewhere)
    repository = hub.repository("ann/shop")
    assert repository.head.oid in pulled and "an adapter of eve/tiny-base" in pulled
    assert "model.safetensors" not in repository.head.files
    names = {path.relative_to(there / "copy").as_posix() for path in (there / "copy").rglob("*")}
    assert {"README.md", "recipe.yaml", "metrics.json", "manifests/sft.json"} <= names

    script = str(tmp_path / "recommend.py")
    _, first = call([python, script, "runs/quickstart"], here, at_home).splitlines()
    assert [len(row) for row in json.loads(first)] == [10, 10, 10]
    # Nobody listens any more: what was pulled is all that there is.
    command = [str(programs / "python"), script, "ann/shop", "copy"]
    where, *found = call(command, there, elsewhere).splitlines()
    assert Path(where).is_relative_to(programs.parent)
    assert found == [first, first]
