"""What is wrong with the commands that a page tells its reader to type."""

import contextlib
import re
import shlex
import tomllib
from collections.abc import Iterable, Iterator, Sequence
from itertools import takewhile
from pathlib import Path

import click
from command_line import recllm
from pages import ROOT, Block

from recllm.cli.main import cli
from recllm.config.loading import load_recipe
from recllm.errors import UserError

#: Programs that the pages may call beside recllm's own; what they are told is not looked at.
OTHERS = (
    "accelerate", "cat", "cd", "cp", "head", "ls", "make", "pip", "pre-commit", "python", "source",
)  # fmt: skip
PLACEHOLDER = "…"
_HEREDOC = re.compile(r"^cat > (\S+) <<'(\w+)'$")
_ASSIGNMENT = re.compile(r"^[A-Za-z_]\w*=")


def problems_of(blocks: Sequence[Block], folder: Path) -> list[str]:
    """What is wrong with the bash blocks of one page, which build on one another.

    Args:
        folder: empty, where recipes that the page writes or copies are put.
    """
    found: list[str] = []
    with contextlib.chdir(folder):
        for block in blocks:
            if block.language != "bash":
                continue
            script = _write_files(block.text)
            for words in commands_in(script):
                found += [f"{block}: {shlex.join(words)}: {said}" for said in _check(words, block)]
    return found


def commands_in(script: str) -> Iterator[list[str]]:
    """The commands of a script, as words, without the variables that are set before them."""
    for line in script.replace("\\\n", " ").splitlines():
        lexer = shlex.shlex(line, posix=True, punctuation_chars="&|;")
        lexer.whitespace_split = True
        words: list[str] = []
        for word in [*lexer, ";"]:
            if word and not set(word) - set("&|;"):
                if words:
                    yield words
                words = []
            elif words or not _ASSIGNMENT.match(word):
                words.append(word)


def _write_files(script: str) -> str:
    """Write what a script writes by `cat > FILE <<'END'`; the script without it."""
    kept: list[str] = []
    lines = iter(script.splitlines())
    for line in lines:
        if not (match := _HEREDOC.match(line)):
            kept.append(line)
            continue
        content = takewhile(match[2].__ne__, lines)
        Path(match[1]).write_text("\n".join(content) + "\n", encoding="utf-8")
    return "\n".join(kept)


def _check(words: list[str], block: Block) -> Iterable[str]:
    program, *arguments = words
    if any(PLACEHOLDER in word for word in words) and block.needs is None:
        return [f"{PLACEHOLDER} stands for something, so that nobody can run it; mark the block"]
    if program == "recllm":
        return _check_recllm(arguments, block)
    if program not in OTHERS:
        return ["no program that these pages use"]
    if program == "make":
        return [f"no target {name}" for name in arguments if f"\n{name}:" not in _makefile()]
    if program in ("python", "accelerate") and "-m" in arguments:
        return _check_module(arguments[arguments.index("-m") + 1 :], block)
    if program == "pip":
        named = re.findall(r"(?:recllm|\.)\[([\w,-]+)\]", " ".join(arguments))
        extras = {extra for names in named for extra in names.split(",")}
        return [f"no extra {extra}" for extra in sorted(extras - _extras())]
    return []


def _check_recllm(arguments: list[str], block: Block) -> Iterable[str]:
    command: click.Command = cli
    name = "recllm"
    try:
        while isinstance(command, click.Group):
            if not arguments or arguments[0] in ("-h", "--help", "--version"):
                return []
            context = click.Context(command, info_name=name)
            found, inner, arguments = command.resolve_command(context, arguments)
            assert inner is not None
            name, command = f"{name} {found}", inner
        params = command.make_context(name, list(arguments)).params
    except click.exceptions.Exit:  # --help
        return []
    except click.ClickException as error:
        return [error.format_message()]
    if name == "recllm recipes cp":
        done = recllm("recipes", "cp", *arguments)
        return [done.err.strip()] if done.code else []
    if "recipe" in params and "overrides" in params:
        return _check_recipe(params["recipe"], params["overrides"], block)
    return []


def _check_module(words: list[str], block: Block) -> Iterable[str]:
    module, *arguments = words
    package, _, name = module.partition(".")
    if package == "benchmarks":
        return [] if not name or (ROOT / package / f"{name}.py").is_file() else ["no such module"]
    if module == "recllm.train":
        return _check_recipe(arguments[0], arguments[1:], block)
    return [] if module in ("venv", "pytest") else ["no module that these pages use"]


def _check_recipe(recipe: str, overrides: Sequence[str], block: Block) -> Iterable[str]:
    own = recipe.endswith(".yaml") and not Path(recipe).is_file()
    if block.needs and (own or PLACEHOLDER in recipe):
        return []
    try:
        load_recipe(recipe, [given for given in overrides if PLACEHOLDER not in given])
    except UserError as error:
        return [str(error)]
    return []


def _makefile() -> str:
    return "\n" + (ROOT / "Makefile").read_text(encoding="utf-8")


def _extras() -> set[str]:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    return set(settings["project"]["optional-dependencies"])
