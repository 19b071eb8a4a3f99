"""`recllm config`: what a recipe resolves to, and whether it is right."""

import click

from recllm.config.loading import load_recipe, to_yaml


@click.group()
def config() -> None:
    """Look at a recipe without running it."""


@config.command()
@click.argument("recipe")
@click.argument("overrides", nargs=-1, metavar="[KEY=VALUE]...")
def show(recipe: str, overrides: tuple[str, ...]) -> None:
    """Print RECIPE with everything resolved: inheritance, overrides, defaults."""
    click.echo(to_yaml(load_recipe(recipe, overrides)), nl=False)


@config.command()
@click.argument("recipe")
@click.argument("overrides", nargs=-1, metavar="[KEY=VALUE]...")
def validate(recipe: str, overrides: tuple[str, ...]) -> None:
    """Check RECIPE; print every mistake in it, or that there is none."""
    load_recipe(recipe, overrides)
    click.echo("valid")
