"""The rl stage: it goes on as it was, keeps what is best, and refuses what cannot work."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from command_line import Outcome, recllm
from numpy.typing import NDArray
from safetensors.torch import load_file
from stopping import interrupted_at_evaluation

from recllm.models.recommender import Recommender
from recllm.train.validation import Validation

RECIPE = """
extends: base/quickstart
data: {source: simulated, users: 150, items: 60, k_core: 3}
embed: {dimensions: 8}
sid: {levels: 2, codes: 16, health: {max_resolution_cost: 5}}
model:
  dtype: float32
  from_scratch: {hidden: 32, layers: 1, heads: 2, dropout: 0.1, vocabulary: 300}
prompts: {max_history: 5}
sft:
  validation_users: 50
  trainer: {num_train_epochs: 3, per_device_train_batch_size: 32, learning_rate: 5.0e-3}
rl:
  generations: 8
  rewards: {rank: 1.0}
  tasks: {seqrec: {cap: 96}, title-to-sid: {cap: 20}}
  batch_size: 16
  validation_users: 50
  trainer:
    num_train_epochs: 3
    per_device_train_batch_size: 64
    learning_rate: 2.0e-3
    logging_steps: 2
    beta: 0.01
    sync_ref_model: true
    ref_model_sync_steps: 3
    ref_model_mixup_alpha: 0.5
"""

Run = Callable[..., Outcome]


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where all tests find the data and the model that was fine-tuned on it."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def run(tmp_path: Path, cache: Path) -> Run:
    """Runs the recipe up to its model."""

    def call(*overrides: str, name: str = "run", command: str = "rl") -> Outcome:
        (tmp_path / "recipe.yaml").write_text(RECIPE)
        places = [f"output_dir={tmp_path / name}", f"cache_dir={cache}"]
        return recllm(command, str(tmp_path / "recipe.yaml"), *places, *overrides)

    return call


def weights(run: Path, model: str = "model") -> dict[str, torch.Tensor]:
    return load_file(run / model / "model.safetensors")


def log_of(run: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[n], second[n]) for n in first)


def test_rewards_rise_and_the_log_tells_how(run: Run, tmp_path: Path) -> None:
    outcome = run("seed=1", "rl.patience=9")
    assert outcome.code == 0, outcome.err
    assert "rl: epoch 0 of 3, step 0 of" in outcome.err  # measured before the first step
    rows = [row for row in log_of(tmp_path / "run") if "reward" in row]
    third = len(rows) // 3
    first, last = (np.mean([row["group_hit_rate"] for row in part]) for part in
                   (rows[:third], rows[-third:]))  # fmt: skip
    assert last > first
    for name in ("rewards/rank", "group_hit_rate", "silent_groups", "replaced_groups", "kl",
                 "entropy", "distinct_items", "rollouts_per_second", "rollout_share"):  # fmt: skip
        assert all(np.isfinite(row[name]) for row in rows), name
    assert any(row["kl"] > 0 for row in rows)
    assert (tmp_path / "run" / "sft" / "model" / "model.safetensors").is_file()


def ever_better(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Let each evaluation be better than the last one; the list has an entry for each."""
    seen: list[int] = []

    def measure(self: Validation, recommender: Recommender) -> NDArray[np.integer]:
        del self, recommender
        seen.append(0)
        return np.full(4, 9 - len(seen))

    monkeypatch.setattr(Validation, "values", measure)
    return seen


SETTINGS = {
    "full": (),
    "several steps a rollout": ("rl.trainer.num_iterations=2", "rl.rollout=sbs", "rl.resample=2"),
    "lora": ("rl.tuning=lora", "rl.lora.rank=4", "rl.trainer.sync_ref_model=false"),
}


@pytest.mark.parametrize("case", SETTINGS)
def test_a_run_that_was_killed_goes_on_to_the_same_weights(
    run: Run, tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch, case: str
) -> None:
    assert run(command="sft").code == 0
    seen = ever_better(monkeypatch)
    steps = [f"rl.trainer.{n}_strategy=steps" for n in ("eval", "save")]
    steps += [f"rl.trainer.{n}_steps=5" for n in ("eval", "save")]
    given = [*SETTINGS[case], *steps]
    outcome = run(*given, name="whole")
    assert outcome.code == 0, outcome.err
    whole = weights(tmp_path / "whole")
    (artifact,) = {p.parent for p in cache.glob("rl/*/model") if same(weights(p.parent), whole)}
    artifact.rename(tmp_path / "moved")  # so that it has to be trained once more
    seen.clear()
    with interrupted_at_evaluation(4):
        assert run(*given, name="killed").code == 1
    outcome = run(*given, name="killed")
    assert outcome.code == 0, outcome.err
    assert "rl: going on from checkpoint-" in outcome.err
    assert same(weights(tmp_path / "killed"), whole)


def test_what_is_not_better_is_not_kept(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run(command="sft").code == 0
    calls = 0

    def worse(self: Validation, recommender: Recommender) -> NDArray[np.integer]:
        nonlocal calls
        del self, recommender
        calls += 1
        return np.array([calls])

    monkeypatch.setattr(Validation, "values", worse)
    outcome = run("rl.patience=2", "rl.trainer.learning_rate=3.0e-3")
    assert outcome.code == 0, outcome.err
    assert calls == 3  # the checkpoint, and two that were worse
    assert "no evaluation was better than the checkpoint that was trained" in outcome.err
    assert "best_step" not in outcome.out.splitlines()[-1]  # counts of 0 are not shown
    assert same(weights(tmp_path / "run"), weights(tmp_path / "run", "sft/model"))


def test_an_adapter_is_merged_into_what_it_was_trained_on(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run(command="sft").code == 0
    ever_better(monkeypatch)
    outcome = run(*SETTINGS["lora"], "rl.trainer.learning_rate=2.0e-2")
    monkeypatch.undo()
    assert outcome.code == 0, outcome.err
    before, after = weights(tmp_path / "run", "sft/model"), weights(tmp_path / "run")
    assert before.keys() == after.keys()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert any("q_proj" in name for name in changed)
    assert not any("norm" in name for name in changed)
    Recommender.load(tmp_path / "run" / "model").rank([[1, 2]], beams=3)


def test_hard_prompts_first_and_a_checkpoint_of_another_run(run: Run, tmp_path: Path) -> None:
    assert run(name="first", command="sft").code == 0
    checkpoint = tmp_path / "first" / "sft" / "model"
    outcome = run(
        f"rl.checkpoint={checkpoint}", "rl.order=hard-first", "rl.trainer.num_train_epochs=1"
    )
    assert outcome.code == 0, outcome.err
    assert [line.split()[0] for line in outcome.out.splitlines()][-2:] == ["rl_prompts", "rl"]
    assert "sft " not in outcome.out  # nothing is fine-tuned for it
    outcome = run(f"rl.checkpoint={checkpoint}", "sid.codes=32")
    assert outcome.code == 2
    assert "rl.checkpoint: the checkpoint in" in outcome.err
    assert "trained with other SIDs than this run's" in outcome.err


def test_mixed_precision_and_a_teacher(run: Run, tmp_path: Path) -> None:
    outcome = run(
        "rl.trainer.bf16=true", "rl.rollout=beam_risk", "rl.add_target=true",
        "rl.rewards={rank: null, ndcg: 1, collaborative: 0.3, semantic: 0.2, popularity: 0.1}",
        "rl.trainer.num_train_epochs=1", "sasrec={width: 16, epochs: 2}",
    )  # fmt: skip
    assert outcome.code == 0, outcome.err
    rows = [row for row in log_of(tmp_path / "run") if "reward" in row]
    assert all(row["group_hit_rate"] == 1 for row in rows)  # the target is added
    assert all(0 < row["rewards/collaborative"] <= 1 for row in rows)
    assert "sasrec" in outcome.out


def test_what_nobody_knows_the_answer_of_is_judged_by_the_teacher(run: Run, tmp_path: Path) -> None:
    unknown = ("rl.tasks=null", "rl.targets=unknown")
    teacher = ("rl.rewards={rank: null, collaborative: 1}", "sasrec={width: 16, epochs: 2}")
    outcome = run(*unknown, *teacher, "rl.rollout=beam-risk", "rl.trainer.num_train_epochs=1")
    assert outcome.code == 0, outcome.err
    rows = [row for row in log_of(tmp_path / "run") if "reward" in row]
    assert rows and all(row["group_hit_rate"] == 0 for row in rows)  # no target, no hit
    assert all(row["silent_groups"] < 0.5 for row in rows)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ((), "rewards: rank look(s) at the target, which targets: unknown does not have"),
        (("rl.order=hard-first",), "order: hard-first needs targets: known"),
        (("rl.add_target=true",), "add_target needs targets: known"),
        (("rl.tasks={seqrec: 1}",), "tasks needs targets: known"),
    ],
)
def test_what_looks_at_targets_is_refused_where_none_is_known(
    run: Run, settings: tuple[str, ...], said: str
) -> None:
    rewards = ("rl.rewards={rank: null, collaborative: 1}",) if settings else ()
    outcome = run("rl.tasks=null", "rl.targets=unknown", *rewards, *settings)
    assert outcome.code == 2 and said in outcome.err, outcome.err


def test_a_reward_of_ones_own_must_give_numbers(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "own_rewards.py").write_text(
        "import numpy as np\n"
        "def fine(groups): return (groups.items % 7) / 7\n"
        "def broken(groups): return np.full(groups.items.shape, np.nan)\n"
        "def short(groups): return np.zeros(3)\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    steps = ("rl.trainer.max_steps=1", "rl.trainer.logging_steps=1")
    assert run("rl.rewards={own_rewards.fine: 1.0}", *steps).code == 0
    assert any("rewards/own_rewards.fine" in row for row in log_of(tmp_path / "run"))
    for name, says in (("broken", "found nan for item"), ("short", "found shape (3,)")):
        outcome = run(f"rl.rewards={{own_rewards.{name}: 1.0}}", *steps)
        assert outcome.code == 2, outcome.err
        assert f"the reward 'own_rewards.{name}': expected one finite number" in outcome.err
        assert says in outcome.err
        assert "Traceback" not in outcome.err


@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        (["rl.trainer.scale_rewards=batch"], "trainer.scale_rewards: expected group or none"),
        (["rl.rewards={rnak: 1}"], "unknown reward 'rnak'; did you mean 'rank'?"),
        (["rl.rewards={rank: -1}"], "weight"),
        (["rl.rollout=beams"], "unknown rollout 'beams'; did you mean 'beam'?"),
        (["rl.generations=61", "rl.trainer.per_device_train_batch_size=61"], "has 60 items"),
        (["rl.trainer.per_device_train_batch_size=60"], "no whole groups of rl.generations (8)"),
        (["rl.batch_size=12"], "no multiple of 8 prompts at once; set .* to 48"),
        (["rl.tasks={sid_to_title: 1}"], "rl.tasks.sid-to-title answers with text that is no item"),
        (["rl.trainer.num_generations=4"], "set rl.generations"),
        (["rl.trainer.loss_type=dapo"], "algorithm: grpo sets trainer.loss_type"),
        (["rl.trainer.betta=1"], "TRL's GRPOConfig has no such field; did you mean 'beta'?"),
        (["rl.generation=4"], "unknown key; did you mean 'generations'?"),
        (["rl.tuning=full", "rl.lora.rank=2"], "lora is set, but tuning is 'full'"),
        (["rl=null"], "the recipe has no section rl"),
        (["rl.tasks={seqrec: {cap: 12}, title-to-sid: null}"], "fewer than one rollout takes (16)"),
        (["rl.tasks=null", "sft.tasks={tallrec: 1}", "sft.targets=last"], "ranks items"),
    ],
)
def test_mistakes_are_told_before_training(run: Run, overrides: list[str], says: str) -> None:
    outcome = run(*overrides)
    assert outcome.code == 2, outcome.err
    assert "Traceback" not in outcome.err
    assert re.search(says if ".*" in says else re.escape(says), outcome.err), outcome.err
    assert "rl: epoch" not in outcome.err
