"""What a run's folder shows belongs together, and nothing of the user's is replaced."""

from collections.abc import Mapping
from pathlib import Path

import pytest
from command_line import recllm

from recllm.artifacts.cache import Artifact, Cache
from recllm.artifacts.stage import Stage
from recllm.cli.run_folder import (
    CHECKPOINTS,
    EXTENDED,
    FOLDERS,
    RESOLVED,
    SHOWN,
    RunFolder,
)
from recllm.config.loading import load_recipe
from recllm.config.schema import Recipe
from recllm.errors import UserError

RECIPE = """
output_dir: {folder}/run
cache_dir: {folder}/cache
data: {{source: files, path: {folder}/log.csv}}
model: {{from_scratch: {{hidden: 32, heads: 2}}}}
"""


def make_recipe(folder: Path, *overrides: str) -> Recipe:
    (folder / "log.csv").write_text("user_id,item_id,timestamp\nu,i,1\n")
    (folder / "recipe.yaml").write_text(RECIPE.format(folder=folder))
    return load_recipe(str(folder / "recipe.yaml"), overrides)


def show(recipe: Recipe, text: str, *stages: str) -> None:
    """Publish what these stages show, all of it with this text."""
    with RunFolder(recipe) as shown:
        for stage in stages:
            shown.publish(*make(recipe, stage, text))


def make(recipe: Recipe, stage: str, text: str) -> tuple[Stage, Artifact]:
    class Shower(Stage):
        name = stage
        publishes = {n: n for n in SHOWN[stage] if n != CHECKPOINTS}  # noqa: RUF012

        def settings(self) -> dict[str, str]:
            return {"text": text}

        def build(self, inputs: Mapping[str, Path], out: Path) -> dict[str, int]:
            for name in self.publishes:
                path = out / name / "file" if name in FOLDERS else out / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text)
            return {}

    return Shower(recipe), Cache(recipe.cache_dir).build(Shower(recipe), {})


def show_checkpoints(recipe: Recipe, text: str) -> None:
    results = recipe.cache_dir / text
    results.mkdir(parents=True)
    (results / "metrics.json").write_text(text)
    with RunFolder(recipe) as shown:
        shown.publish_checkpoints(results)


def shown_in(recipe: Recipe) -> dict[str, str]:
    """The text of everything that the folder shows."""
    found = {}
    for name in (name for names in SHOWN.values() for name in names):
        path = recipe.output_dir / name
        file = (
            next((p for p in path.iterdir() if p.stat().st_size), path) if path.is_dir() else path
        )
        if file.is_file():
            found[name] = file.read_text()
    return found


def test_another_recipe_takes_away_all_that_was_shown(tmp_path: Path) -> None:
    first, second = make_recipe(tmp_path), make_recipe(tmp_path, "seed=1")
    show(first, "a", *SHOWN)
    show_checkpoints(first, "checkpoints")
    assert set(shown_in(first)) == {name for names in SHOWN.values() for name in names}
    show(second, "b", "prompts")
    assert shown_in(second) == {"samples.md": "b"}
    assert "seed: 1\n" in (second.output_dir / RESOLVED).read_text()


def test_checkpoints_of_another_recipe_stand_alone(tmp_path: Path) -> None:
    first, second = make_recipe(tmp_path), make_recipe(tmp_path, "seed=1")
    show(first, "a", *SHOWN)
    show_checkpoints(second, "checkpoints")
    assert shown_in(second) == {CHECKPOINTS: "checkpoints"}


def test_the_same_recipe_leaves_what_is_shown_and_adds_to_it(tmp_path: Path) -> None:
    recipe = make_recipe(tmp_path)
    show(recipe, "a", *SHOWN)
    before = shown_in(recipe)
    show(recipe, "a", "prompts", "sft")
    assert shown_in(recipe) == before
    show_checkpoints(recipe, "checkpoints")
    assert shown_in(recipe) == before | {CHECKPOINTS: "checkpoints"}


@pytest.mark.parametrize(
    ("stage", "left"),
    [
        ("prompts", ("samples.md",)),
        ("sft", (*SHOWN["prompts"], *SHOWN["sft"])),
        ("eval", (*SHOWN["prompts"], *SHOWN["sft"], EXTENDED, *SHOWN["eval"])),
    ],
)
def test_something_new_takes_away_what_came_after(
    tmp_path: Path, stage: str, left: tuple[str, ...]
) -> None:
    recipe = make_recipe(tmp_path)
    show(recipe, "a", *SHOWN)
    show_checkpoints(recipe, "checkpoints")
    show(recipe, "b", stage)
    found = shown_in(recipe)
    assert set(found) == set(left)
    assert {n for n, text in found.items() if text == "b"} == set(SHOWN[stage]) - {CHECKPOINTS}


def test_another_description_takes_away_the_report_alone(tmp_path: Path) -> None:
    show(make_recipe(tmp_path), "a", *SHOWN)
    recipe = make_recipe(tmp_path, "description=other")
    show(recipe, "a", "prompts")
    assert set(shown_in(recipe)) == {
        name for names in SHOWN.values() for name in names if name != CHECKPOINTS
    } - set(SHOWN["report"])


@pytest.mark.parametrize("name", ["report.md", "eval/metrics.json", "samples.md", "model"])
@pytest.mark.parametrize("command", [("run",), ("prep",), ("eval", "--checkpoint", "{folder}/m")])
def test_a_users_own_file_stops_a_run_before_any_work(
    tmp_path: Path, name: str, command: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("recllm.models.checkpoint_check.check_checkpoint", lambda _: None)
    make_recipe(tmp_path)
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "recllm.json").write_text("{}")
    mine = tmp_path / name
    mine.parent.mkdir(exist_ok=True)
    mine.write_text("mine")
    first, *rest = (part.format(folder=tmp_path) for part in command)
    outcome = recllm(first, str(tmp_path / "recipe.yaml"), f"output_dir={tmp_path}", *rest)
    assert outcome.code == 2, outcome
    (line,) = outcome.err.splitlines()
    assert line.startswith(f"recllm: {mine} exists and was not made by recllm")
    assert "set another output_dir" in line
    assert mine.read_text() == "mine"
    assert not (tmp_path / "cache").exists() and not (tmp_path / RESOLVED).exists()


def test_a_file_in_the_models_place_is_refused_in_a_runs_folder_too(tmp_path: Path) -> None:
    recipe = make_recipe(tmp_path)
    show(recipe, "a", "prompts")
    (recipe.output_dir / "model").write_text("mine")
    with pytest.raises(UserError, match="model exists and was not made by recllm"):
        RunFolder(recipe).check()


def test_a_file_that_comes_while_the_run_works_is_left_alone(tmp_path: Path) -> None:
    recipe = make_recipe(tmp_path)
    RunFolder(recipe).check()
    recipe.output_dir.mkdir()
    (recipe.output_dir / "report.md").write_text("mine")
    with pytest.raises(UserError, match=r"report\.md exists and was not made by recllm"):
        show(recipe, "a", "prompts")
    assert shown_in(recipe) == {"report.md": "mine"}


def test_a_folder_shared_with_files_of_the_users_is_used(tmp_path: Path) -> None:
    recipe = make_recipe(tmp_path, f"output_dir={tmp_path}")
    RunFolder(recipe).check()
    show(recipe, "a", *SHOWN)
    assert (tmp_path / "log.csv").exists()
    RunFolder(recipe).check()
