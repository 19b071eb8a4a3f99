"""Which checkpoint a training goes on from."""

import json
from pathlib import Path

from transformers.trainer_callback import TrainerState

from recllm.train.resume import evaluations_without_gain, last_whole_checkpoint, train_or_resume


def make(folder: Path, step: int, state: str = "{}") -> Path:
    path = folder / f"checkpoint-{step}"
    path.mkdir(parents=True)
    (path / "trainer_state.json").write_text(state)
    return path


def test_a_checkpoint_that_a_kill_cut_off_is_passed_over(tmp_path: Path) -> None:
    whole = make(tmp_path, 10)
    cut = make(tmp_path, 20, '{"epoch": 1')
    (tmp_path / "checkpoint-30").mkdir()
    assert last_whole_checkpoint(tmp_path) == whole
    assert cut.exists()  # another process may be writing it
    trainer = Trainer()
    train_or_resume(trainer, tmp_path, stage="sft", patience=2)  # type: ignore[arg-type]
    assert trainer.calls == ["train from checkpoint-10"]
    assert not cut.exists()


def test_without_a_whole_checkpoint_training_starts_anew(tmp_path: Path) -> None:
    (tmp_path / "checkpoint-30").mkdir()
    assert last_whole_checkpoint(tmp_path) is None
    assert last_whole_checkpoint(tmp_path / "nothing") is None


def stopped_state(counter: int) -> TrainerState:
    attributes = {"early_stopping_patience_counter": counter}
    callbacks = {"EarlyStoppingCallback": {"args": {}, "attributes": attributes}}
    return TrainerState(stateful_callbacks=callbacks)  # type: ignore[arg-type]


class Trainer:
    """Notes what it is asked to do."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.state: TrainerState | None = None

    def train(self, resume_from_checkpoint: str | None = None) -> None:
        self.calls.append(
            f"train from {resume_from_checkpoint and Path(resume_from_checkpoint).name}"
        )

    def _load_best_model(self) -> None:
        self.calls.append("load best")


def resume(folder: Path, counter: int) -> list[str]:
    trainer = Trainer()
    path = make(folder, 10)
    stopped_state(counter).save_to_json(str(path / "trainer_state.json"))
    train_or_resume(trainer, folder, stage="sft", patience=2)  # type: ignore[arg-type]
    return trainer.calls


def test_a_training_that_had_stopped_early_is_not_trained_further(tmp_path: Path) -> None:
    assert resume(tmp_path / "a", counter=2) == ["load best"]
    assert resume(tmp_path / "b", counter=1) == ["train from checkpoint-10"]


def test_the_counter_is_where_transformers_writes_it(tmp_path: Path) -> None:
    from transformers import EarlyStoppingCallback

    callback = EarlyStoppingCallback(early_stopping_patience=3)
    callback.early_stopping_patience_counter = 2
    state = TrainerState(stateful_callbacks=[callback])
    state.save_to_json(str(tmp_path / "state.json"))
    assert (
        "EarlyStoppingCallback"
        in json.loads((tmp_path / "state.json").read_text())["stateful_callbacks"]
    )
    assert evaluations_without_gain(TrainerState.load_from_json(str(tmp_path / "state.json"))) == 2


def test_the_best_checkpoint_is_found_where_the_cache_is_now(tmp_path: Path) -> None:
    make(tmp_path, 10)
    path = make(tmp_path, 20)
    state = TrainerState(best_global_step=10, best_model_checkpoint="/moved/since/checkpoint-10")
    state.save_to_json(str(path / "trainer_state.json"))
    train_or_resume(Trainer(), tmp_path, stage="sft", patience=2)  # type: ignore[arg-type]
    found = TrainerState.load_from_json(str(path / "trainer_state.json"))
    assert found.best_model_checkpoint == str(tmp_path / "checkpoint-10")
