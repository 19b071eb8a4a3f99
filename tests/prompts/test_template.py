"""Templates: shipped ones, a user's own, and what is wrong with one."""

import json
from pathlib import Path

import pytest
from builders import make_rows, make_sequences

from recllm.config.plugins import TASKS
from recllm.errors import UserError
from recllm.prompts.renderer import Renderer
from recllm.prompts.tasks.seqrec import SequentialRecommendation
from recllm.prompts.template import Template
from recllm.prompts.training import IGNORED, last_target_rows


def test_parts_are_put_in_place_and_their_braces_left_alone() -> None:
    template = Template("{instruction}: {input}!")
    assert template.render("say {input}", "{instruction}") == "say {input}: {instruction}!"


def test_only_a_template_that_ends_with_its_input_says_so() -> None:
    assert Template.load("plain").fits_all_targets
    assert Template.load("bare").fits_all_targets
    assert not Template.load("alpaca").fits_all_targets
    assert not Template.load("chat").fits_all_targets
    assert not Template("{input}", separator=", ").fits_all_targets
    assert not Template("{input}", ending="").fits_all_targets


def test_a_users_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text('prompt: "Q {input} A"\n')
    assert Template.load(str(path)) == Template("Q {input} A")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("prompt: no placeholder\n", "must contain {input} once"),
        ("prompt: '{input}'\nother: 1\n", "expected the key 'prompt'"),
        ("- a\n", "expected the key 'prompt'"),
        ("a: [\n", "cannot be read"),
        ("prompt: '{input}'\nchat: maybe\n", "chat: expected true or false, found 'maybe'"),
        ("prompt: '{input}'\nseparator: 3\n", "separator: expected a text, found 3"),
        ("prompt: '{input}'\nending: 3\n", "ending: expected a text, found 3"),
        ("prompt: '{input}'\ninstructions: go\n", "instructions: expected one text or a list"),
        ("prompt: '{input}'\ninstructions: {seqrek: go}\n", "did you mean 'seqrec'"),
        ("prompt: '{input}'\ninstructions: {seqrec: []}\n", "instructions.seqrec: expected one"),
        ("prompt: '{input}'\ninstructions: {seqrec: [1]}\n", "instructions.seqrec: expected one"),
    ],
)
def test_a_broken_file(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(content)
    with pytest.raises(UserError, match=message):
        Template.load(str(path))


def test_a_name_that_does_not_exist() -> None:
    with pytest.raises(UserError, match="did you mean 'alpaca'"):
        Template.load("alpacca")


def test_only_what_differs_from_the_defaults_is_written_down() -> None:
    assert Template.load("plain").to_json() == '{"prompt": "{instruction}\\n{input}"}'
    full = Template("{input}", True, ", ", {"seqrec": ("go on",)}, "\n")
    assert Template(**json.loads(full.to_json())) == full


MINE = """
prompt: "### User Input:\\n{instruction} {input}. And then?\\n\\n### Response:\\n"
separator: ", "
instructions:
  seqrec: They chose
  title_to_sid: [Find, Seek]
"""


@pytest.fixture(params=["alpaca", "bare", "chat", "minionerec", "plain", "mine"])
def renderer(request: pytest.FixtureRequest, make_renderer, tmp_path: Path) -> Renderer:
    path = tmp_path / "mine.yaml"
    path.write_text(MINE)
    return make_renderer(str(path) if request.param == "mine" else request.param)


def test_a_training_prompt_is_the_evaluations_prompt(renderer: Renderer) -> None:
    """Token for token, in every phrasing."""
    sequences = make_sequences([[3, 1, 4, 1, 5, 9, 2, 6], [5, 3, 5, 8]])
    rows = make_rows(sequences, [(0, 0, end) for end in range(1, 8)] + [(1, 0, 3)])
    histories = list(rows.histories)
    every = range(len(renderer.recommendation_phrasings))
    phrased = [renderer.recommendation_prompts(histories, phrasing) for phrasing in every]
    seen = set()
    for seed in range(5):
        trained = last_target_rows(renderer, SequentialRecommendation(), rows, 1.0, seed)
        for i, row in enumerate(trained):
            length = sum(label == IGNORED for label in row.labels)
            found = [p for p in every if phrased[p][i] == row.input_ids[:length]]
            assert found
            seen.update(found)
    assert seen == set(every)
    assert phrased[0] == renderer.recommendation_prompts(histories)
    with pytest.raises(UserError, match="phrasing: expected a number from 0 to"):
        renderer.recommendation_prompts(histories, len(every))


def test_a_template_of_another_project(make_renderer, tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(MINE)
    renderer: Renderer = make_renderer(str(path))
    (prompt,) = renderer.recommendation_prompts([[0, 1]])
    first, second = renderer.catalog.sid_texts[:2]
    assert renderer.tokenizer.decode(prompt) == (
        f"### User Input:\nThey chose {first}, {second}. And then?\n\n### Response:\n"
    )
    task = TASKS.load("title-to-sid")()
    assert renderer.phrasings(task) == ("Find", "Seek")


def test_a_chat_is_the_tokenizers_own_and_the_same_on_every_day(make_renderer) -> None:
    renderer: Renderer = make_renderer("chat")
    (prompt,) = renderer.recommendation_prompts([[0, 1]])
    shown = "".join(renderer.catalog.sid_texts[:2])
    question = renderer.recommendation_phrasings[0]
    assert renderer.tokenizer.decode(prompt) == (
        f"[user on 26 Jul 2024]{question}\n{shown}\n[assistant]"
    )


def test_a_chat_needs_a_tokenizer_that_has_one(make_renderer) -> None:
    plain: Renderer = make_renderer("plain")
    renderer = Renderer(Template.load("chat"), plain.catalog, plain.tokenizer, 5)
    with pytest.raises(UserError, match="the tokenizer has none; give an instruction-tuned model"):
        renderer.recommendation_prompts([[1]])
