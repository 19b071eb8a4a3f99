"""Templates: shipped ones, a user's own, and what is wrong with one."""

from pathlib import Path

import pytest

from recllm.errors import UserError
from recllm.prompts.template import Template


def test_parts_are_put_in_place_and_their_braces_left_alone() -> None:
    template = Template("{instruction}: {input}!")
    assert template.render("say {input}", "{instruction}") == "say {input}: {instruction}!"


def test_only_a_template_that_ends_with_its_input_says_so() -> None:
    assert Template.load("plain").fits_all_targets
    assert not Template.load("alpaca").fits_all_targets


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
