"""Recipes: inheritance, overrides, YAML traps, and what is said of mistakes."""

from pathlib import Path

import pytest
import yaml

from recllm.config.loading import load_recipe, shipped_recipes, to_yaml
from recllm.errors import UserError

MINIMAL = "output_dir: runs/x\nmodel: {from_scratch: {hidden: 32, heads: 2}}\n"


def write(folder: Path, text: str, name: str = "recipe.yaml") -> str:
    path = folder / name
    path.write_text(text)
    return str(path)


def mistakes(folder: Path, text: str) -> list[str]:
    with pytest.raises(UserError) as error:
        load_recipe(write(folder, text))
    return [line.strip() for line in str(error.value).splitlines()[1:]]


def test_defaults_are_filled_in(tmp_path: Path) -> None:
    recipe = load_recipe(write(tmp_path, MINIMAL))
    assert recipe.data.source.name == "simulated"
    assert recipe.data.split.name == "leave-one-out"
    assert recipe.sid.quantizer.name == "rq-kmeans"
    assert recipe.eval.beams == 50
    assert recipe.sft.tasks == {"seqrec": 1.0}


def test_three_mistakes_give_three_lines_with_paths_and_suggestions(tmp_path: Path) -> None:
    text = MINIMAL + "data: {k_cor: 5}\nsid: {levels: three}\neval: {scoring: vocabulary}\n"
    found = mistakes(tmp_path, text + "sft: {trainer: {lerning_rate: 1}}\n")
    assert len(found) == 4
    assert any(line.startswith("sft.trainer.lerning_rate") for line in found)
    assert "data.k_cor: unknown key; did you mean 'k_core'?" in found
    assert any(line.startswith("sid.levels: expected") and "'three'" in line for line in found)
    assert any(line.startswith("eval.scoring: expected") and "'level'" in line for line in found)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("data: {source: movielense}\n", "data.source: unknown data source 'movielense'; did you"),
        ("data: {source: files, path: x.csv, itmes: y}\n", "data.itmes: unknown key; did you mean"),
        ("data: {source: files}\n", "data.path: is required, but missing"),
        ("sid: {health: {min_utilization: 1}}\n", "sid.health.min_utilization: unknown key; did"),
        ("evl: {beams: 5}\n", "evl: unknown key; did you mean 'eval'?"),
        ("eval: {beams: 5}\n", "eval: cutoffs must lie between 1 and beams (5)"),
        ("eval: [1]\n", "eval: expected"),
        (
            "sft: {tasks: {seqrek: 1}}\n",
            "sft.tasks.seqrek: unknown task 'seqrek'; did you mean",
        ),
        (
            "sft: {tasks: {seqrec: -1}}\n",
            "sft.tasks.seqrec: the weight of task 'seqrec' must",
        ),
        ("seed: null\n", "seed: expected a valid integer, found None"),
        ("sid: {quantizer: importt}\n", "sid.quantizer: unknown quantizer 'importt'; did you mean"),
        (
            "sid: {quantizer: semantic}\nsft: {targets: all}\n",
            "sid.quantizer: semantic gives items of different lengths, but sft.targets: all",
        ),
        ("sid: {levels: null}\n", "sid.levels: expected a valid integer, found None"),
        (
            "sft: {tasks: {seqrec: .nan}}\n",
            "sft.tasks.seqrec: the weight of task 'seqrec' must",
        ),
        ("sft: {trainer: {packing: true}}\n", "sft.trainer.packing: not supported"),
        ("seed: -1\n", "seed: expected greater than or equal to 0, found -1"),
        ("sft: {trainer: {learning_rat: 1}}\n", "sft.trainer.learning_rat: TRL's SFTConfig has no"),
    ],
)
def test_each_mistake_is_named(tmp_path: Path, text: str, expected: str) -> None:
    found = mistakes(tmp_path, MINIMAL + text)
    assert len(found) == 1
    assert found[0].startswith(expected)


def test_model_takes_a_name_or_sizes_but_not_both(tmp_path: Path) -> None:
    found = mistakes(tmp_path, "output_dir: x\nmodel: {name: a/b, from_scratch: {}}\n")
    assert found == ["model: give exactly one of 'name' and 'from_scratch'"]


def test_scores_that_the_loss_does_not_train_are_refused(tmp_path: Path) -> None:
    (found,) = mistakes(tmp_path, MINIMAL + "sft: {loss: level}\n")
    assert found.startswith("sft.loss: level trains no score over the whole vocabulary")
    load_recipe(write(tmp_path, MINIMAL + "sft: {loss: level}\neval: {scoring: level}\n"))


def test_a_missing_section_is_named(tmp_path: Path) -> None:
    found = mistakes(tmp_path, "output_dir: x\n")
    assert found == ["model: give exactly one of 'name' and 'from_scratch'"]


def test_numbers_in_exponent_form_are_numbers(tmp_path: Path) -> None:
    recipe = load_recipe(write(tmp_path, MINIMAL + "sft: {trainer: {learning_rate: 3e-4}}\n"))
    assert recipe.sft.trainer["learning_rate"] == pytest.approx(3e-4)


def test_a_key_that_stands_twice_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="'seed' stands twice"):
        load_recipe(write(tmp_path, MINIMAL + "seed: 1\nseed: 2\n"))


def test_extends_merges_and_overrides_win(tmp_path: Path) -> None:
    write(tmp_path, MINIMAL + "seed: 1\nsid: {levels: 2, codes: 16}\n", "base.yaml")
    child = write(tmp_path, "extends: base\nsid: {codes: 8}\n", "child.yaml")
    recipe = load_recipe(child, ["seed=7", "sft.trainer.learning_rate=1e-3"])
    assert (recipe.sid.levels, recipe.sid.codes, recipe.seed) == (2, 8, 7)
    assert recipe.sft.trainer == {"learning_rate": 1e-3}


def test_of_several_parents_the_later_one_wins(tmp_path: Path) -> None:
    write(tmp_path, MINIMAL + "seed: 1\nsid: {levels: 2, codes: 16}\n", "base.yaml")
    write(tmp_path, "sid: {codes: 32}\nsft: {trainer: {num_train_epochs: 3}}\n", "part.yaml")
    child = write(tmp_path, "extends: [base, part]\nsid: {levels: 4}\n", "child.yaml")
    recipe = load_recipe(child)
    assert (recipe.sid.levels, recipe.sid.codes, recipe.seed) == (4, 32, 1)
    assert recipe.sft.trainer["num_train_epochs"] == 3
    base, part = str(tmp_path / "base.yaml"), tmp_path / "part.yaml"
    laid_over = load_recipe(base, ["sid.levels=4", f"extends={part}"])
    assert laid_over.model_dump() == recipe.model_dump()
    with pytest.raises(UserError, match="command line: extends: no recipe 'nowhere'"):
        load_recipe(base, ["extends=nowhere"])


def test_choosing_another_plugin_drops_the_options_of_the_old_one(tmp_path: Path) -> None:
    base = MINIMAL + "data: {source: simulated, users: 50, k_core: 3}\n"
    write(tmp_path, base, "base.yaml")
    child = write(tmp_path, "extends: base.yaml\ndata: {source: files, path: a.csv}\n", "c.yaml")
    recipe = load_recipe(child)
    assert recipe.data.source.name == "files"
    assert recipe.data.k_core == 3


def test_a_pretrained_model_replaces_the_one_from_scratch(tmp_path: Path) -> None:
    recipe = load_recipe(write(tmp_path, MINIMAL), ["model.name=some/model"])
    assert recipe.model.from_scratch is None


def test_the_order_of_overrides_does_not_matter(tmp_path: Path) -> None:
    overrides = ["data.items=i.csv", "data.path=l.csv", "data.source=files"]
    recipe = write(tmp_path, MINIMAL)
    assert load_recipe(recipe, overrides) == load_recipe(recipe, overrides[::-1])
    assert load_recipe(recipe, overrides).data.source.items == Path("i.csv")


def test_recipes_that_extend_each_other_in_a_circle(tmp_path: Path) -> None:
    write(tmp_path, "extends: b\n", "a.yaml")
    write(tmp_path, "extends: a\n", "b.yaml")
    with pytest.raises(UserError, match="in a circle: a"):
        load_recipe(str(tmp_path / "a.yaml"))


@pytest.mark.parametrize("override", ["seed", "=3", "a..b=1", "seed=[1"])
def test_overrides_that_are_none(tmp_path: Path, override: str) -> None:
    with pytest.raises(UserError):
        load_recipe(write(tmp_path, MINIMAL), [override])


def test_a_recipe_that_does_not_exist_suggests_one_that_does() -> None:
    with pytest.raises(UserError, match="did you mean 'base/quickstart'"):
        load_recipe("base/quikstart")


@pytest.mark.parametrize("name", sorted(shipped_recipes()))
def test_shipped_recipes_are_valid_and_described(name: str) -> None:
    overrides = ["data.path=somewhere"] if "files" in to_raw(name) else []
    recipe = load_recipe(name, overrides)
    assert recipe.description
    resolved = to_yaml(recipe)
    assert yaml.safe_load(resolved)["seed"] == 0


def to_raw(name: str) -> str:
    from recllm.config.loading import find_recipe

    return find_recipe(name).read_text()


def test_what_a_recipe_resolves_to_loads_as_the_same_recipe(tmp_path: Path) -> None:
    recipe = load_recipe(write(tmp_path, MINIMAL), ["sid.codes=32", "data.users=500"])
    again = load_recipe(write(tmp_path, to_yaml(recipe), "resolved.yaml"))
    assert again == recipe
