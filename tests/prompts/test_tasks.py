"""What holds for every registered task."""

import pytest

from recllm.config.plugins import TASKS
from recllm.prompts.renderer import Renderer
from recllm.prompts.tasks import Task


@pytest.mark.parametrize("name", TASKS.names())
def test_a_task_shows_its_history_and_not_its_target(make_renderer, name: str) -> None:
    renderer: Renderer = make_renderer()
    task: Task = TASKS.load(name)()
    assert task.name == name
    assert task.phrasings and len(set(task.phrasings)) == len(task.phrasings)
    shown, answer = task.input(renderer.catalog, [3, 14]), task.answer(renderer.catalog, 26)
    assert answer
    assert answer not in shown
    assert shown != task.input(renderer.catalog, [3, 15])
    assert shown != task.input(renderer.catalog, [14, 3])
    for phrasing in range(len(task.phrasings)):
        prompt = renderer.prompt_text(task, [3, 14], phrasing)
        assert task.phrasings[phrasing] in prompt and shown in prompt
        assert answer not in prompt


def test_prompts_show_only_the_last_items(make_renderer) -> None:
    renderer: Renderer = make_renderer(max_history=2)
    long, short = renderer.recommendation_prompts([[9, 8, 7, 1, 2], [1, 2]])
    assert long == short
