"""A plain Hugging Face checkpoint, taken as a recommender with a recipe's prompts and SIDs."""

import logging
from pathlib import Path

from recllm.config.model_section import WHOLE
from recllm.config.schema import Recipe
from recllm.errors import UserError
from recllm.models.checkpoint_files import ITEMS_FILE, SIDS_FILE, describe, write_catalog
from recllm.models.item_trie import item_trie
from recllm.models.references import DESCRIPTION
from recllm.models.tokenizers import load_tokenizer_of
from recllm.prompts.examples import CatalogText
from recllm.prompts.renderer import Renderer
from recllm.prompts.template import Template

log = logging.getLogger(__name__)


def is_plain(folder: Path) -> bool:
    """Whether a folder has a model as transformers saves it, and nothing of a recommender's."""
    own = (DESCRIPTION, ITEMS_FILE, SIDS_FILE)
    return (folder / WHOLE).is_file() and not any((folder / name).exists() for name in own)


def adopt(folder: Path, recipe: Recipe, catalog: CatalogText, out: Path) -> None:
    """Make a recommender of a plain checkpoint: links to its files, and what it lacks beside them.

    The catalogue, the template, the history's length and the task are the recipe's.

    Args:
        folder: see `is_plain`; its tokenizer must have each SID token of the items as one token.
        catalog: the recipe's items and their SIDs.
        out: an empty folder.

    Raises:
        UserError: the tokenizer cannot be read, lacks SID tokens or splits them, or the template
            does not go with the recipe's scoring.
    """
    template = Template.load(recipe.prompts.template)
    template.check_scoring(recipe.eval.scoring)
    tokenizer = load_tokenizer_of(str(folder))
    if tokenizer.eos_token is None:
        raise UserError(f"{folder}: its tokenizer has no end-of-sequence token")
    renderer = Renderer(template, catalog, tokenizer, recipe.prompts.max_history, recipe.asked_by)
    try:
        item_trie(renderer)
    except UserError as error:
        raise UserError(f"{folder}: {error}") from None
    for path in filter(Path.is_file, folder.iterdir()):
        (out / path.name).symlink_to(path.resolve())
    write_catalog(out, catalog)
    describe(out, renderer, recipe.eval.scoring, recipe.eval.exclude_history)
    log.info(
        "%s: no %s, so a plain checkpoint: asked by prompts.template %s and task %s of the recipe, "
        "with its %d items and their SIDs",
        folder,
        DESCRIPTION,
        recipe.prompts.template,
        recipe.asked_by.name,
        len(catalog.sids),
    )
