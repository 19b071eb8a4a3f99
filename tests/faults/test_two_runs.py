"""Two runs at once: of one recipe each stage is built once; of two recipes one gives way."""

import signal
from pathlib import Path

import pytest
from faults import Place, check_nothing_half

LONG = "sft.trainer.num_train_epochs=100"


@pytest.mark.slow
def test_two_runs_of_one_recipe_build_each_stage_once(whole: Place, tmp_path: Path) -> None:
    place = Place(tmp_path, whole.recipe)
    both = [place.start() for _ in range(2)]
    ended = [started.wait() for started in both]
    assert [end.code for end in ended] == [0, 0], ended
    for stage in place.stages:
        said = [line for end in ended for line in end.out.splitlines()]
        lines = [line for line in said if line.split()[:1] == [stage]]
        assert sorted("cached" in line for line in lines) == [False, True], lines
    assert place.metrics() == whole.metrics()
    assert place.weights() == whole.weights()
    check_nothing_half(place, whole)
    assert {p.name for p in place.run.iterdir()} == {p.name for p in whole.run.iterdir()}


@pytest.mark.slow
def test_a_run_of_another_recipe_is_kept_out_until_the_first_is_dead(
    whole: Place, tmp_path: Path
) -> None:
    first = Place(tmp_path, whole.recipe, ("seed=1", "sft.patience=100", LONG))
    second = Place(tmp_path, whole.recipe)
    started = first.start()
    assert started.wait_until(lambda: "sft …\n" in started.said())
    refused = second.start().wait()
    assert refused.code == 2, refused
    (line,) = refused.err.splitlines()
    assert line.startswith(f"recllm: {second.run}: a run with other settings is writing there")
    assert f"(process {started.process.pid})" in line and "another output_dir" in line
    assert started.process.poll() is None
    started.signal(signal.SIGKILL)
    started.wait()
    second.finish()  # the lock of a dead process holds nobody up
    assert second.metrics() == whole.metrics()
    assert second.weights() == whole.weights()


@pytest.mark.slow
def test_another_models_results_are_taken_away_with_it(whole: Place, tmp_path: Path) -> None:
    place = Place(tmp_path, whole.recipe, (f"cache_dir={whole.cache}",))
    place.finish()
    other = Place(tmp_path, whole.recipe, (f"cache_dir={whole.cache}", "seed=1"))
    assert "took away what was another recipe's: samples.md, model" in other.finish("sft").err
    names = {p.relative_to(place.run).as_posix() for p in place.run.rglob("*") if p.is_file()}
    assert not names & {"eval/metrics.json", "report.html", "report.md"}
    assert other.weights() != whole.weights()
    place.finish()
    assert place.metrics() == whole.metrics() and place.weights() == whole.weights()
