"""Where a run's model comes from: found by what its folder shows, wherever it is asked from."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from cards import metadata
from command_line import recllm
from provenances import make_recipe
from tunable import save_base

from recllm.artifacts.cache import Artifact, Cache
from recllm.artifacts.stage import Stage
from recllm.cli.pipeline import STAGES
from recllm.cli.provenance import find_provenance
from recllm.cli.run_folder import RESOLVED, RunFolder
from recllm.config.loading import load_recipe
from recllm.config.schema import Recipe
from recllm.hub.base import PublishedBase
from recllm.hub.contents import gather
from recllm.hub.provenance import Provenance

PARENTS = {
    "filter": (),
    "statistics": ("filter",),
    "sft": ("filter",),
    "eval": ("filter", "sft"),
    "report": ("statistics", "eval"),
}
SHOWS = {
    "statistics": {"statistics.json": "statistics.json"},
    "sft": {"model": "model"},
    "eval": {"metrics.json": "eval/metrics.json"},
    "report": {"report.html": "report.html"},
}


def make_stage(recipe: Recipe, stage: str, text: str) -> Stage:
    """A stage that writes what the real one shows, all with this text."""

    class Writer(Stage):
        name = stage
        parents = PARENTS[stage]
        publishes = {} if stage == "statistics" else SHOWS.get(stage, {})

        def settings(self) -> dict[str, Any]:
            return {"text": text}

        def build(self, inputs: Mapping[str, Path], out: Path) -> dict[str, int]:
            for name in SHOWS.get(stage, {}):
                path = out / name / "model.safetensors" if name == "model" else out / name
                path.parent.mkdir(exist_ok=True)
                path.write_text(f'{{"of": "{text}"}}')
            return {}

    return Writer(recipe)


def make_run(recipe: Recipe, text: str = "a", last: str = "report") -> dict[str, Artifact]:
    """Build every stage up to the last, and show what they show."""
    cache, done = Cache(recipe.cache_dir), dict[str, Artifact]()
    with RunFolder(recipe) as shown:
        for name in list(PARENTS)[: list(PARENTS).index(last) + 1]:
            stage = make_stage(recipe, name, text)
            done[name] = cache.build(stage, {parent: done[parent] for parent in stage.parents})
            shown.publish(stage, done[name])
    return done


@pytest.fixture
def recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Recipe:
    """With relative places, as the shipped recipes have them; made from tmp_path."""
    monkeypatch.chdir(tmp_path)
    return make_recipe(tmp_path, output_dir="runs/mine", hub={"repo": "someone/books"})


def test_all_of_a_run_is_found_in_the_order_of_its_stages(
    recipe: Recipe, caplog: pytest.LogCaptureFixture
) -> None:
    done = make_run(recipe)
    found = find_provenance(Path("runs/mine"))
    assert found.recipe == recipe
    assert list(found.manifests) == [name for name in STAGES if name in PARENTS]
    assert found.manifests == {name: artifact.manifest for name, artifact in done.items()}
    assert found.metrics == found.statistics == {"of": "a"}
    assert find_provenance(Path("runs/mine/model")) == found
    assert not caplog.text


def test_it_is_found_from_elsewhere(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_run(recipe)
    here = find_provenance(Path("runs/mine"))
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert find_provenance(tmp_path / "runs" / "mine") == here
    monkeypatch.chdir(tmp_path / "runs" / "mine")
    assert find_provenance(Path()) == here


def test_another_run_in_the_same_cache_is_not_taken_for_it(recipe: Recipe) -> None:
    wanted = make_run(recipe)
    other = recipe.model_copy(update={"output_dir": Path("runs/other")})
    make_run(other, "b")
    found = find_provenance(Path("runs/mine"))
    assert {name: m.key for name, m in found.manifests.items()} == {
        name: artifact.manifest.key for name, artifact in wanted.items()
    }


def test_a_run_that_was_only_trained_has_no_metrics(recipe: Recipe) -> None:
    make_run(recipe, last="sft")
    found = find_provenance(Path("runs/mine"))
    assert list(found.manifests) == ["filter", "sft"]
    assert found.metrics is None and found.statistics is None


def test_what_is_not_found_any_more_is_said(
    recipe: Recipe, caplog: pytest.LogCaptureFixture
) -> None:
    done = make_run(recipe)
    shutil.rmtree(done["filter"].path)
    found = find_provenance(Path("runs/mine"))
    assert list(found.manifests) == ["statistics", "sft", "eval", "report"]
    assert f"not in the cache {Path.cwd() / 'runs/.cache'} any more: filter" in caplog.text
    caplog.clear()
    shutil.rmtree(recipe.cache_dir)
    gone = find_provenance(Path("runs/mine"))
    assert gone.manifests == {} and gone.statistics is None
    assert gone.recipe == recipe and gone.metrics == {"of": "a"}
    for stage in ("sft", "eval", "report"):
        assert f"the artifact of the stage {stage} that" in caplog.text


def test_a_model_that_was_changed_by_hand_has_no_manifest(
    recipe: Recipe, caplog: pytest.LogCaptureFixture
) -> None:
    make_run(recipe, last="sft")
    changed = Path("runs/mine/model/model.safetensors")
    changed.unlink()
    changed.write_text("x" * 11)
    assert find_provenance(Path("runs/mine")).manifests == {}
    assert "the artifact of the stage sft that model was copied from is not in" in caplog.text


def test_a_recipe_that_is_not_valid_any_more_is_said(
    recipe: Recipe, caplog: pytest.LogCaptureFixture
) -> None:
    make_run(recipe)
    resolved = Path("runs/mine") / RESOLVED
    resolved.write_text(resolved.read_text() + "old_key: 1\n")
    found = find_provenance(Path("runs/mine"))
    assert found == Provenance(metrics={"of": "a"})
    assert "old_key" in caplog.text and "cannot be read any more" in caplog.text


def test_nothing_is_known_of_a_bare_checkpoint(tmp_path: Path) -> None:
    assert find_provenance(tmp_path) == Provenance()


def test_where_a_model_is_pushed_to_makes_no_other_run(recipe: Recipe) -> None:
    from recllm.cli.pipeline import build_stages, stage_keys

    make_run(recipe, last="sft")
    moved = make_recipe(Path.cwd(), output_dir="runs/mine", hub={"repo": "a/b", "private": True})
    without = make_recipe(Path.cwd(), output_dir="runs/mine")
    keys = [stage_keys(build_stages(each)) for each in (recipe, moved, without)]
    assert keys[0] == keys[1] == keys[2]
    with RunFolder(moved) as shown:
        shown.publish_checkpoints(Path("runs/mine/model"))
    assert Path("runs/mine/model").is_dir()  # that of another recipe would be taken away


@pytest.mark.parametrize(
    ("repo", "said"),
    [("books", "without a user"), ("a/b/c", "user/name"), ("a/b--c", "user/name"), ("a b/c", "us")],
)
def test_a_repository_has_a_user_and_a_name(tmp_path: Path, repo: str, said: str) -> None:
    path = tmp_path / "hub.yaml"
    path.write_text(f"output_dir: x\nmodel: {{from_scratch: {{}}}}\nhub: {{repo: {repo}}}\n")
    outcome = recllm("config", "validate", str(path))
    assert outcome.code == 2
    assert "hub.repo: expected user/name on the Hub, found" in outcome.err and said in outcome.err


LORA = """
extends: base/quickstart
data: {{source: simulated, users: 120, items: 60, k_core: 3}}
embed: {{dimensions: 8}}
sid: {{levels: 2, codes: 16, health: {{max_resolution_cost: 1}}}}
model: {{name: {folder}/base, tuning: lora, lora: {{rank: 4}}}}
sft: {{validation_users: 30, trainer: {{max_steps: 3, per_device_train_batch_size: 32}}}}
eval: {{bootstrap: 100}}
cache_dir: {folder}/cache
output_dir: {folder}/mine
"""


@pytest.mark.slow
def test_the_card_of_a_real_run_says_what_it_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_base(tmp_path / "base")
    (tmp_path / "recipe.yaml").write_text(LORA.format(folder=tmp_path))
    outcome = recllm("run", str(tmp_path / "recipe.yaml"))
    assert outcome.code == 0, outcome.err
    found = find_provenance(tmp_path / "mine")
    assert set(found.manifests) == set(STAGES) - {"sasrec", "rl", "rl_prompts"}
    base = PublishedBase("someone/tiny-base", "abc123", "mit")
    files = gather(tmp_path / "mine" / "model", found, "someone/mine", base)
    for name, file in files.items():
        text = file.read_bytes() if isinstance(file, Path) else file
        assert str(tmp_path).encode() not in text, name
    card = files["README.md"]
    assert isinstance(card, bytes)
    results = metadata(card.decode()).eval_results or []
    assert found.metrics is not None
    assert {r.metric_type: r.metric_value for r in results} == {
        name: found.metrics["metrics"][name]["value"]
        for name in ("hit@5", "hit@10", "ndcg@5", "ndcg@10")
    }
    for line in outcome.out.splitlines():
        if "paired difference in" in line:  # the same words as on the terminal
            escaped = line.replace("[", r"\[").replace("]", r"\]").replace("_", r"\_")
            assert f"- {escaped}\n" in card.decode()
    pushed = tmp_path / "pushed.yaml"
    pushed.write_bytes(files["recipe.yaml"])  # type: ignore[arg-type]
    monkeypatch.chdir(tmp_path)
    again = load_recipe(str(pushed))
    assert again.model.name == "someone/tiny-base" and found.recipe is not None
    assert again.sft == found.recipe.sft and again.data == found.recipe.data
