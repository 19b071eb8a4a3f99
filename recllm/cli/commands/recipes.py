"""`recllm recipes`: list the shipped recipes, or copy one to start from."""

from pathlib import Path

import click

from recllm.config.loading import find_recipe, shipped_recipes
from recllm.errors import UserError


@click.group()
def recipes() -> None:
    """The recipes that come with recllm."""


@recipes.command("ls")
def list_recipes() -> None:
    """List the shipped recipes."""
    known = shipped_recipes()
    width = max(len(name) for name in known)
    for name, description in known.items():
        click.echo(f"{name:<{width}}  {description}")


@recipes.command("cp")
@click.argument("name")
@click.argument("destination", required=False, metavar="[DEST]")
def copy_recipe(name: str, destination: str | None) -> None:
    """Copy the shipped recipe NAME to DEST (by default NAME.yaml here)."""
    if name.removesuffix(".yaml") not in shipped_recipes():
        find_recipe(name.removesuffix(".yaml"))  # says which name may have been meant
        raise UserError(f"{name!r} is not a shipped recipe; `recllm recipes ls` lists them")
    source = find_recipe(name.removesuffix(".yaml"))
    target = Path(destination or source.name)
    if target.is_dir():
        target /= source.name
    if target.exists():
        raise UserError(f"{target} exists already; give another destination")
    if not target.parent.is_dir():
        raise UserError(f"the folder {target.parent} does not exist; make it first")
    target.write_text(source.read_text(encoding="utf-8"), encoding="utf-8")
    click.echo(f"copied to {target}")
