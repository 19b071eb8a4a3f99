"""A run's model with a larger catalogue, in the run's folder beside the model."""

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from recllm.artifacts.atomic import UNFINISHED, link_or_copy
from recllm.artifacts.cache import Artifact, Cache
from recllm.artifacts.publish import MARKER
from recllm.artifacts.storage import writing
from recllm.cli.interruption import explaining
from recllm.cli.run_folder import EXTENDED, RESOLVED, RunFolder
from recllm.config.loading import load_recipe
from recllm.config.schema import Recipe
from recllm.errors import UserError

if TYPE_CHECKING:
    from recllm.catalog.sids import ItemIndex
    from recllm.prompts.tasks import CatalogText

MODEL = "model"
#: What an extension writes itself; all else of a checkpoint stays as it is.
REJECTS_FILE = "rejects.parquet"


@dataclass(frozen=True)
class Extended:
    """What came of it.

    Attributes:
        items: size of the catalogue now.
        counts: see `LaterItems` and `Grown`; of the new items `items` of the former.
    """

    items: int
    counts: dict[str, int]


def recipe_of(run: Path) -> Recipe:
    """The recipe of the model that a run's folder shows.

    Raises:
        UserError: it is not a run's folder, or shows no model.
    """
    if not run.is_dir():
        raise UserError(
            f"{run}: expected the folder of a run; there is none. New items are placed by the "
            "run's own encoder and codebooks, which a checkpoint on the Hub does not bring: extend "
            "the run that it was trained in, and push that again"
        )
    if not (run / RESOLVED).is_file():
        raise UserError(
            f"{run}: expected the folder of a run, found no {RESOLVED} in it; give a recipe's "
            "output_dir, not the model in it"
        )
    recipe = load_recipe(str(run / RESOLVED)).model_copy(update={"output_dir": run})
    if not (run / MODEL).is_dir():
        raise UserError(
            f"{run}: expected a run with a model, found no folder {MODEL} in it; "
            f"train one first: recllm sft {run / RESOLVED}"
        )
    return recipe


def extend_run(run: Path, file: Path) -> Extended:
    """Give the items of a file that are new a place in a run's catalogue.

    What `recllm sid extend` does. The folder `extended` of the run becomes the model of before,
    or what an earlier call made of it, with the larger catalogue; where nothing is new, nothing
    is written.

    Raises:
        UserError: the run or the file cannot be used, or the items cannot be placed.
    """
    recipe = recipe_of(run)
    shown = RunFolder(recipe)
    said = f"interrupted in sid extend; {run} shows what it showed before; call it again"
    with explaining(lambda: said), shown:
        shown.occupy()
        with (
            writing(run, "output_dir"),
            tempfile.TemporaryDirectory(prefix=UNFINISHED, dir=run) as temporary,
        ):
            model = Path(temporary) / EXTENDED
            model.mkdir()
            extended = _extend(recipe, run, file, model)
            if extended.counts["items"]:
                shown.publish_extension(model)
    return extended


def _extend(recipe: Recipe, run: Path, file: Path, out: Path) -> Extended:
    """Write the larger checkpoint into the folder `out`, where items are new."""
    from recllm.data_prep.sid_extension import extend_catalogue, read_later_items
    from recllm.models.checkpoint_files import load_catalog, load_renderer, write_catalog
    from recllm.models.item_trie import item_trie

    trained = load_catalog(run / MODEL)
    base, catalog = run / MODEL, trained
    if (run / EXTENDED).is_dir():
        base = run / EXTENDED
        catalog = load_catalog(base)
        _require_beginning(catalog, trained, run)
    later = read_later_items(recipe, file, catalog.items, out)
    if not len(later.items):
        return Extended(len(catalog.items), dict(later.counts))
    sid, embed = find_artifacts(recipe, trained.sids)
    folder = None if embed is None else embed.path
    grown = extend_catalogue(recipe, catalog, later.items, sid.path, folder)
    for name in _files(base):
        link_or_copy(base / name, out / name)
    write_catalog(out, grown.catalog)
    item_trie(load_renderer(out))  # refuses what the model cannot write
    return Extended(len(grown.catalog.items), {**later.counts, **grown.counts})


def _require_beginning(catalog: "CatalogText", trained: "CatalogText", run: Path) -> None:
    """Refuse an extension of another model: its items must be those of this one, and more."""
    if not catalog.sids.begins_with(trained.sids):
        raise UserError(
            f"{run / EXTENDED}: expected the catalogue of {run / MODEL} and more items, found "
            f"other SIDs; delete {run / EXTENDED} and call this again with all the new items"
        )


def find_artifacts(recipe: Recipe, trained: "ItemIndex") -> tuple[Artifact, Artifact | None]:
    """The artifacts of the stages sid and embed that a model's SIDs come from; builds nothing.

    They are known by the SIDs in them, not by their keys: those also name the log and the files
    of the encoder, which may have grown since.

    Raises:
        UserError: the cache does not have them.
    """
    from recllm.catalog.sids import read_index
    from recllm.data_prep.embed import Embed
    from recllm.data_prep.sid import SIDS_FILE, Sid

    cache, stage = Cache(recipe.cache_dir), Sid(recipe)
    wanted = (stage.version, stage.settings())
    manifests = [
        m
        for m in cache.manifests(stage.name)
        if (m.stage_version, m.settings) == wanted and m.counts["items"] == len(trained)
    ]
    found = [a for m in manifests if (a := cache.find(stage.name, m.key))]
    again = (
        f"run the recipe again, on the log that the model was trained on: "
        f"recllm run {recipe.output_dir / RESOLVED} --until sid"
    )
    place = recipe.cache_dir.resolve()
    if not found:
        raise UserError(f"{place}: expected the run's stage sid in this cache, found none; {again}")
    same = [a for a in found if read_index(a.path / SIDS_FILE).begins_with(trained)]
    if not same:
        raise UserError(
            f"{place}: the model of {recipe.output_dir} was made with other SIDs than those of the "
            f"stage sid in this cache; {again}"
        )
    if "embed" not in stage.parents:
        return same[0], None
    for sid in same:
        embed = cache.find("embed", sid.manifest.parents["embed"])
        if embed and embed.manifest.stage_version == Embed.version:
            return sid, embed
    raise UserError(f"{place}: expected the run's stage embed in this cache, found none; {again}")


def _files(model: Path) -> list[str]:
    """What an extended model has in common with the model `model`."""
    from recllm.models.checkpoint_files import ITEMS_FILE, SIDS_FILE

    changed = (ITEMS_FILE, SIDS_FILE, REJECTS_FILE, MARKER)
    paths = (p.relative_to(model).as_posix() for p in model.rglob("*") if p.is_file())
    return sorted(name for name in paths if name not in changed)
