"""Where the model of a run's folder comes from, by what its cache still has."""

import functools
import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from recllm.artifacts.cache import Cache
from recllm.artifacts.manifest import FileEntry, Manifest, hash_file
from recllm.cli.pipeline import STAGES
from recllm.cli.run_folder import RESOLVED, read_resolved
from recllm.config.schema import Recipe
from recllm.config.validation import validate
from recllm.errors import UserError
from recllm.hub.provenance import Provenance, read_published

log = logging.getLogger(__name__)

MODEL, METRICS, REPORT = "model", "eval/metrics.json", "report.html"
STATISTICS = "statistics.json"


def find_provenance(run: Path) -> Provenance:
    """What is known of the model in a run's folder, or that came from the Hub.

    Nothing is known of a bare checkpoint.

    The stages are found by what the folder shows: the artifacts whose files are the same, and
    those that they were made from. So nothing is asked of the data, which may be gone. What is not
    found any more is logged.

    Args:
        run: a run's folder, the folder `model` in one, or a checkpoint's.

    Raises:
        UserError: a newer recllm wrote an artifact, or metrics.json cannot be read.
    """
    folder = _run_folder(run)
    if folder is None:
        return read_published(run)
    recipe = _read_recipe(folder / RESOLVED)
    if recipe is None:
        return Provenance(metrics=_read_metrics(folder / METRICS))
    cache = Cache(_cache_folder(recipe, folder))
    manifests = _find_manifests(recipe, folder, cache)
    return Provenance(
        recipe=recipe,
        manifests=manifests,
        metrics=_read_metrics(folder / METRICS),
        statistics=_read_statistics(cache, manifests),
    )


def _run_folder(path: Path) -> Path | None:
    """The run that a folder is, or that it is the model of; None where there is none."""
    if (path / RESOLVED).is_file():
        return path
    parent = path.resolve().parent
    return parent if path.name == MODEL and (parent / RESOLVED).is_file() else None


def _read_recipe(path: Path) -> Recipe | None:
    try:
        return validate(read_resolved(path.read_text(encoding="utf-8")))
    except UserError as error:
        said = " ".join(str(error).split())
        log.warning("%s cannot be read any more, and nothing of it is told: %s", path, said)
        return None


def _cache_folder(recipe: Recipe, folder: Path) -> Path:
    """The run's cache: from the place where the run was started, where that can be told."""
    started, said = folder.resolve(), recipe.output_dir.parts
    if recipe.output_dir.is_absolute() or started.parts[-len(said) :] != said:
        return recipe.cache_dir
    return Path(*started.parts[: -len(said)]) / recipe.cache_dir


def _find_manifests(recipe: Recipe, folder: Path, cache: Cache) -> dict[str, Manifest]:
    """The manifests of the stages that what the folder shows was made by."""
    shown = {recipe.trained_by: MODEL, "eval": METRICS, "report": REPORT}
    found: dict[str, Manifest] = {}
    for stage, name in shown.items():
        if not (folder / name).exists():
            continue
        manifest = _made(cache, stage, folder / name)
        chain = {} if manifest is None else _ancestry(cache, manifest)
        if manifest is None or _contradict(found, chain):
            log.warning(
                "%s: the artifact of the stage %s that %s was copied from is not in the cache %s "
                "any more; its manifest is left out", folder, stage, name, cache.folder,
            )  # fmt: skip
            continue
        found |= chain
    missing = {parent for manifest in found.values() for parent in manifest.parents} - set(found)
    if missing:
        gone = ", ".join(stage for stage in STAGES if stage in missing)
        log.warning("%s: not in the cache %s any more: %s", folder, cache.folder, gone)
    return {stage: found[stage] for stage in STAGES if stage in found}


def _made(cache: Cache, stage: str, shown: Path) -> Manifest | None:
    """The manifest of the artifact that a file or folder is a copy of."""
    hash_once = functools.cache(hash_file)

    def is_copy(path: Path, entry: FileEntry) -> bool:
        same_size = path.is_file() and path.stat().st_size == entry.bytes
        return same_size and hash_once(path) == entry.sha256

    for manifest in cache.manifests(stage):
        files = _within(manifest, shown.name)
        if files and all(is_copy(shown.parent / path, files[path]) for path in files):
            return manifest
    return None


def _within(manifest: Manifest, name: str) -> dict[str, FileEntry]:
    """The artifact's file of that name, or the files in the folder of that name."""
    return {
        path: entry
        for path, entry in manifest.files.items()
        if path == name or path.startswith(f"{name}/")
    }


def _ancestry(cache: Cache, manifest: Manifest) -> dict[str, Manifest]:
    """A stage and all that it was made from, as far as they are found."""
    found, asked = {manifest.stage: manifest}, [manifest]
    while asked:
        for stage, key in asked.pop().parents.items():
            parent = None if stage in found else Manifest.read(cache.path(stage, key))
            if parent is not None:
                found[stage] = parent
                asked.append(parent)
    return found


def _contradict(known: Mapping[str, Manifest], others: Mapping[str, Manifest]) -> bool:
    """Whether a stage stands in both with another key."""
    return any(stage in known and known[stage].key != m.key for stage, m in others.items())


def _read_metrics(path: Path) -> dict[str, Any] | None:
    return _read_json(path) if path.is_file() else None


def _read_statistics(cache: Cache, manifests: Mapping[str, Manifest]) -> dict[str, Any] | None:
    if "statistics" not in manifests:
        return None
    path = cache.path("statistics", manifests["statistics"].key) / STATISTICS
    return _read_json(path) if path.is_file() else None


def _read_json(path: Path) -> dict[str, Any]:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{path}: expected JSON, but {error}; run the recipe again") from None
