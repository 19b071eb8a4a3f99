"""Text embeddings of a pretrained model, through the library sentence-transformers."""

import logging
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from recllm.artifacts.manifest import hash_json
from recllm.catalog.items import Items
from recllm.config.model_section import HUB_ID
from recllm.data_prep.encoders import Encoded, Encoder, EncoderInput, State
from recllm.data_prep.encoders._model_files import find_modules, hash_folder, locate
from recllm.data_prep.encoders._sentence_model import (
    SentenceModel,
    require_package,
    resolve_devices,
)
from recllm.data_prep.encoders._texts import DistinctTexts, item_texts
from recllm.data_prep.encoders._vector_store import TextVectors, VectorStore
from recllm.data_prep.encoders._vectors import array_to_text, text_to_array, unit_rows
from recllm.errors import UserError
from recllm.progress import progress

log = logging.getLogger(__name__)

#: Where a model's vectors are kept for other runs: this much of a hash names the folder.
KEY_LENGTH = 16


class SentenceTransformers(Encoder):
    """What a sentence-transformers model makes of each item's text (Reimers and Gurevych, 2019).

    The vectors have the model's own width, whatever `embed.dimensions` says. Each distinct text is
    encoded once and kept in `cache_dir`: other runs, new items and a run that was killed encode
    only what is new to that model and prompt. Batches are formed by length, so that the order of
    the items does not matter; which texts share a batch can change a vector by a rounding error.
    An item without text gets the zero vector. How much of a long text is read is up to the model.
    """

    model: str = Field(description="a Hub id or a local folder")
    revision: str | None = Field(
        default=None, description="of the Hub's model; a commit brings the same model again"
    )
    fields: tuple[str, ...] | None = Field(
        default=None,
        min_length=1,
        description="the items' columns; default: title, brand, categories, description",
    )
    separator: str = Field(default=" ", description="between the fields")
    prompt_name: str | None = Field(default=None, description="one of the model's own prompts")
    prompt: str | None = Field(default=None, description="put before each text, in its place")
    normalize: bool = Field(default=True, description="vectors of length 1")
    dtype: Literal["float32", "bfloat16"] = "float32"
    batch_size: int = Field(default=32, ge=1)
    devices: tuple[str, ...] | None = Field(
        default=None, min_length=1, description="such as cuda:0; default: every GPU, or the CPU"
    )
    trust_remote_code: bool = False

    @model_validator(mode="after")
    def _can_be_found(self) -> "SentenceTransformers":
        if not self._is_folder and not HUB_ID.match(self.model):
            raise ValueError(
                f"model: expected a Hub id or a folder that exists, found {self.model!r}"
            )
        if self._is_folder and self.revision is not None:
            raise ValueError("revision: a folder has none; it is one of a Hub's model")
        if self.prompt is not None and self.prompt_name is not None:
            raise ValueError("give at most one of 'prompt' and 'prompt_name'")
        return self

    @property
    def _is_folder(self) -> bool:
        return Path(self.model).is_dir()

    @cached_property
    def _files(self) -> str:
        return hash_folder(Path(self.model))

    def settings(self) -> dict[str, Any]:
        """What decides the vectors: of a folder its files, of a Hub's model its name."""
        no_matter = {"model", "revision", "batch_size", "devices", "trust_remote_code"}
        options = self.model_dump(mode="json", exclude=no_matter)
        if self._is_folder:
            return options | {"files": self._files}
        return options | {"model": self.model, "revision": self.revision}

    def check(self) -> None:
        """Refuse a model or a device that is not there; asks the Hub, but downloads no weights."""
        require_package()
        find_modules(self.model, self.revision, trust_remote_code=self.trust_remote_code)
        resolve_devices(self.devices)

    def encode(self, given: EncoderInput) -> Encoded:
        """One row for each item: (items, the model's width)."""
        distinct = self._distinct(given.items)
        if not distinct.texts:
            raise UserError(
                f"none of the {len(given.items)} items has text to encode; check the columns of "
                "the items and embed's fields, or choose another embed.encoder"
            )
        vectors, identity, counts = self._encode(distinct, self.revision, given.cache)
        state = {"model": text_to_array(identity), "width": np.array([vectors.shape[1]])}
        return Encoded(distinct.spread(vectors), state, counts)

    def encode_new(self, items: Items, state: State, cache: Path | None = None) -> Encoded:
        """The same model's vectors; of a model of the Hub, the same commit's.

        Raises:
            UserError: the folder holds another model than before.
        """
        distinct, known = self._distinct(items), array_to_text(state["model"])
        if self._is_folder and self._files != known:
            raise UserError(
                f"{self.model}: the files of the model have changed since the old items were "
                "encoded; vectors of two models do not compare: bring the old files back, or "
                "encode all items anew"
            )
        if not distinct.texts:
            width = int(state["width"][0])
            return Encoded(np.zeros((len(items), width), np.float32), counts=_count(distinct))
        vectors, _, counts = self._encode(distinct, None if self._is_folder else known, cache)
        return Encoded(distinct.spread(vectors), counts=counts)

    def _distinct(self, items: Items) -> DistinctTexts:
        return DistinctTexts.of(item_texts(items, self.fields, self.separator))

    def _encode(
        self, distinct: DistinctTexts, revision: str | None, cache: Path | None
    ) -> tuple[NDArray[np.float32], str, dict[str, int]]:
        """The vectors of distinct texts, the identity of the model, and counts."""
        require_package()
        folder = locate(self.model, revision, trust_remote_code=self.trust_remote_code)
        identity = self._files if self._is_folder else folder.name
        key = hash_json([identity, self.prompt_name, self.prompt, self.dtype])[:KEY_LENGTH]
        store = VectorStore(cache / self.name / key if cache else None)
        texts = distinct.texts
        found = store.find(texts)
        new = np.flatnonzero(~found.known)
        log.info("embed: %s of %s texts are to be encoded", f"{len(new):,}", f"{len(texts):,}")
        if len(new):
            self._encode_new_texts(folder, texts, found, store)
        cut = int(found.cut.sum())
        if cut:
            log.warning(
                "embed: %s of %s texts are longer than what %s reads: their ends are cut off",
                f"{cut:,}", f"{len(texts):,}", self.model,
            )  # fmt: skip
        vectors = unit_rows(found.vectors) if self.normalize else found.vectors
        counts = _count(distinct) | {"encoded_texts": len(new), "cut_texts": cut}
        return vectors, identity, counts

    def _encode_new_texts(
        self, folder: Path, texts: list[str], found: TextVectors, store: VectorStore
    ) -> None:
        """Fill in what was not found, and add it to the store."""
        devices, new = resolve_devices(self.devices), np.flatnonzero(~found.known)
        model = SentenceModel.load(
            folder, self.model, trust_remote_code=self.trust_remote_code, dtype=self.dtype
        ).with_prompt(self.prompt_name, self.prompt)
        try:
            with (
                model.running(devices, self.batch_size) as (encode, at_once),
                progress("embed: encoding texts", len(new)) as advance,
            ):
                for start in range(0, len(new), at_once):
                    places = new[start : start + at_once]
                    batch = [texts[place] for place in places]
                    vectors, cut = encode(batch), model.are_cut(batch)
                    self._refuse_broken(vectors, batch)
                    found.put(places, vectors, cut)
                    store.add(batch, vectors, cut)
                    advance(len(batch))
        finally:
            store.write()

    def _refuse_broken(self, vectors: NDArray[np.float32], texts: list[str]) -> None:
        broken = np.flatnonzero(~np.isfinite(vectors).all(axis=1))
        if len(broken):
            raise UserError(
                f"{self.model}: expected finite vectors, found NaN or infinity for "
                f"{len(broken)} of {len(texts)} texts, such as {texts[broken[0]][:80]!r}; choose "
                "another model or dtype"
            )


def _count(distinct: DistinctTexts) -> dict[str, int]:
    return {
        "distinct_texts": len(distinct.texts),
        "items_without_text": int((distinct.place < 0).sum()),
    }
