"""`recllm merge`: a whole model out of an adapter and its base."""

from pathlib import Path

import click

from recllm.artifacts.atomic import creating, require_new
from recllm.artifacts.storage import require_folder, writing


@click.command()
@click.argument("run", metavar="RUN")
@click.argument("destination", metavar="DEST", type=click.Path(path_type=Path))
def merge(run: str, destination: Path) -> None:
    """Merge the adapter of RUN into its base: DEST becomes a whole model that needs no base.

    RUN is a run's folder, a checkpoint's, or user/name on the Hub; DEST a folder that does not
    exist or is empty. Weights are float32. A base in 4 or 8 bits is made full precision first, so
    that DEST is the model that was trained.
    """
    require_folder(destination, "DEST")
    require_new(destination)
    from recllm.models.checkpoint_ids import checkpoint_folder
    from recllm.models.recommender import Recommender

    folder = checkpoint_folder(run)
    recommender = Recommender.load_merged(folder)
    with creating(destination) as unfinished, writing(unfinished, "DEST"):
        recommender.save(unfinished)
    merged = folder if Path(run).is_dir() else run  # of the Hub, not its place in the cache
    click.echo(f"{destination}: {merged} merged into its base; try: recllm recommend {destination}")
