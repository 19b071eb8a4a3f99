"""What goes into a checkpoint's repository on the Hub."""

import json
import logging
import re
from collections.abc import Mapping
from dataclasses import replace
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import yaml

from recllm.artifacts.manifest import Manifest
from recllm.config.loading import keys_to_yaml
from recllm.config.model_section import ADAPTER, HUB_ID, WHOLE
from recllm.config.schema import Recipe
from recllm.config.validation import dump, validate
from recllm.errors import UserError
from recllm.hub.base import PublishedBase
from recllm.hub.card import render_card
from recllm.hub.private import Removed, without_private
from recllm.hub.provenance import MANIFESTS, METRICS, RECIPE, Provenance
from recllm.models.download import FILES
from recllm.models.references import DESCRIPTION, BaseReference, is_adapter

log = logging.getLogger(__name__)

CARD = "README.md"
#: Names under which libraries remember the folder that a model was loaded from, by file.
_REMEMBERED = {WHOLE: ("_name_or_path",), "tokenizer_config.json": ("name_or_path",)}
_RECIPE_HEAD = """\
# The recipe that this model was trained by, with everything resolved. Paths of the machine that it
# ran on are cut to their last part: give data.path, and what else names a file or folder of yours.
# A template that was a file of its own stands whole in recllm.json.
"""


def gather(
    checkpoint: Path, provenance: Provenance, repo: str, base: PublishedBase | None
) -> dict[str, Path | bytes]:
    """Everything that a repository holds: its path there, and the local file or the content.

    The checkpoint's own files stand at the top, with the card, the recipe, the evaluation's
    metrics and the manifests of the stages beside them. What the recipe names outside of the
    checkpoint, such as the log, does not go along; paths of this machine and secrets are taken out
    of what does, and counted in the log, as are files of the folder that are no checkpoint's.

    Args:
        checkpoint: a folder that `check_checkpoint` has not refused.
        repo: user/name, for the card.
        base: of an adapter, on the Hub. Of a whole model that it was fine-tuned from, for the card
            alone; None where that is not known.

    Raises:
        UserError: the checkpoint is an adapter, and no base is given.
    """
    if base is None and is_adapter(checkpoint):
        raise UserError(
            f"{checkpoint}: expected the base of this adapter on the Hub, which others load it on, "
            "found none"
        )
    removed = Removed()
    files = _own_files(checkpoint)
    of_adapter = base if is_adapter(checkpoint) else None
    for name, content in _rewritten(files, of_adapter, removed).items():
        files[name] = _json(content)
    shown = _publishable(provenance, base, removed)
    if shown.recipe is not None:
        files[RECIPE] = (_RECIPE_HEAD + keys_to_yaml(_placeless(dump(shown.recipe)))).encode()
    if shown.metrics is not None:
        files[METRICS] = _json(shown.metrics)
    for stage, manifest in shown.manifests.items():
        files[f"{MANIFESTS}/{stage}.json"] = manifest.model_dump_json(indent=2).encode()
    if removed.paths or removed.secrets:
        log.info(
            "in what is pushed, paths of this machine are cut to their last part (%d places), and "
            "secrets are left out (%d places)", removed.paths, removed.secrets,
        )  # fmt: skip
    files[CARD] = render_card(checkpoint, shown, repo, base).encode()
    return files


def _own_files(checkpoint: Path) -> dict[str, Path | bytes]:
    """The checkpoint's files by name; what else lies in its folder is counted."""
    found: dict[str, Path | bytes] = {}
    others: list[str] = []
    # What a folder that came from the Hub has beside the checkpoint is written anew.
    for path in sorted(checkpoint.iterdir()):
        if path.name in (CARD, RECIPE, METRICS, MANIFESTS) or path.name.startswith("."):
            continue
        if path.is_file() and any(fnmatch(path.name, pattern) for pattern in FILES):
            found[path.name] = path
        else:
            others.append(path.name)
    if others:
        log.info(
            "%s: left out %d that are no checkpoint's: %s", checkpoint, len(others),
            ", ".join(others),
        )  # fmt: skip
    return found


def _rewritten(
    files: Mapping[str, Path | bytes], base: PublishedBase | None, removed: Removed
) -> dict[str, dict[str, Any]]:
    """The JSON files of a checkpoint that name a folder of this machine, without it."""
    changed: dict[str, dict[str, Any]] = {}
    for name, keys in _REMEMBERED.items():
        content = _read(files.get(name))
        private = {key: content[key] for key in keys if key in content}
        public = without_private(private, removed)
        if public != private:
            changed[name] = content | public
    if base is not None:
        on_hub = BaseReference(base.name, base.revision).to_json()
        changed[DESCRIPTION] = _read(files.get(DESCRIPTION)) | {"base": on_hub}
        changed[ADAPTER] = _read(files.get(ADAPTER)) | {
            "base_model_name_or_path": base.name,
            "revision": base.revision,
        }
    return changed


def _publishable(
    provenance: Provenance, base: PublishedBase | None, removed: Removed
) -> Provenance:
    """The provenance with nothing private in it, and the base by its name on the Hub."""
    recipe = provenance.recipe
    if recipe is not None:
        recipe = _public_recipe(recipe, base, removed)
    manifests = {
        stage: _public_manifest(manifest, removed)
        for stage, manifest in provenance.manifests.items()
    }
    metrics = without_private(provenance.metrics, removed)
    return replace(provenance, recipe=recipe, manifests=manifests, metrics=metrics)


def _public_recipe(recipe: Recipe, base: PublishedBase | None, removed: Removed) -> Recipe:
    keys = without_private(_placeless(dump(recipe)), removed)
    if recipe.output_dir.name == keys["output_dir"]:  # was cut, or was a bare name
        keys["output_dir"] = f"runs/{recipe.output_dir.name}"
    model = keys["model"]
    if base is not None and model["name"] is not None:
        model["name"] = base.name
    elif model["name"] is not None and not HUB_ID.match(model["name"]):  # has spaces
        model["name"] = re.sub(r"[^\w.-]+", "-", model["name"])
    return validate(keys)


def _placeless(keys: Mapping[str, Any]) -> dict[str, Any]:
    """A recipe's keys but for those of where it ran, and where its results lie and go to.

    Spark, such as a cluster's address, is one of them: both engines give the same tables.
    """
    kept = {name: value for name, value in keys.items() if name not in ("cache_dir", "hub")}
    data = {name: v for name, v in keys["data"].items() if name not in ("engine", "spark")}
    return kept | {"data": data}


def _public_manifest(manifest: Manifest, removed: Removed) -> Manifest:
    settings = without_private(manifest.settings, removed)
    if isinstance(settings.get("recipe"), str):  # the report's: the whole of it as a text
        keys = without_private(_placeless(yaml.safe_load(settings["recipe"])), removed)
        settings["recipe"] = keys_to_yaml(keys)
    return manifest.model_copy(update={"settings": settings})


def _json(content: Mapping[str, Any]) -> bytes:
    return (json.dumps(content, indent=2, ensure_ascii=False) + "\n").encode()


def _read(path: Path | bytes | None) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8")) if isinstance(path, Path) else {}
