"""`recllm merge`: a whole model out of an adapter and its base."""

from pathlib import Path

import click

from recllm.artifacts.atomic import creating, require_new
from recllm.artifacts.storage import require_folder, writing
from recllm.errors import UserError


@click.command()
@click.argument("run", metavar="RUN", type=click.Path(path_type=Path))
@click.argument("destination", metavar="DEST", type=click.Path(path_type=Path))
def merge(run: Path, destination: Path) -> None:
    """Merge the adapter of RUN into its base: DEST becomes a whole model that needs no base.

    RUN is a run's folder or a checkpoint's, DEST a folder that does not exist or is empty. Weights
    are float32. A base in 4 or 8 bits is made full precision first, so that DEST is the model that
    was trained.
    """
    if not run.is_dir():
        raise UserError(f"{run}: expected the folder of a run or of a checkpoint; there is none")
    folder = run / "model" if (run / "model").is_dir() else run
    require_folder(destination, "DEST")
    require_new(destination)
    from recllm.models.recommender import Recommender

    recommender = Recommender.load_merged(folder)
    with creating(destination) as unfinished, writing(unfinished, "DEST"):
        recommender.save(unfinished)
    click.echo(f"{destination}: {folder} merged into its base; try: recllm recommend {destination}")
