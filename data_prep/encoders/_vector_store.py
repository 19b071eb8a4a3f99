"""Vectors of texts on the disk: what has been encoded once is not encoded again."""

import hashlib
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from filelock import FileLock
from numpy.typing import NDArray

from recllm.artifacts.atomic import remove_unfinished, replacing

log = logging.getLogger(__name__)

DIGEST_BYTES = 32
#: What has been added is written when it is this old, or this much: a killed run loses no more.
SECONDS_BETWEEN_WRITES = 30.0
TEXTS_A_FILE = 16384


@dataclass
class TextVectors:
    """The vectors of some texts, as far as they are known.

    Attributes:
        known: (texts,) whether each text's is.
        vectors: (texts, width) float32, zero where not known; of width 0 as long as none is.
        cut: (texts,) whether each was too long for the model, so far as is known.
    """

    known: NDArray[np.bool_]
    vectors: NDArray[np.float32]
    cut: NDArray[np.bool_]

    @classmethod
    def unknown(cls, texts: int) -> "TextVectors":
        """Those of texts of which nothing is known."""
        nothing = np.zeros((texts, 0), dtype=np.float32)
        return cls(np.zeros(texts, dtype=bool), nothing, np.zeros(texts, dtype=bool))

    def put(
        self, places: NDArray[np.int64], vectors: NDArray[np.float32], cut: NDArray[np.bool_]
    ) -> None:
        """Fill in some texts' vectors, and whether they were cut."""
        if not self.vectors.shape[1]:
            self.vectors = np.zeros((len(self.known), vectors.shape[1]), dtype=np.float32)
        self.known[places], self.vectors[places], self.cut[places] = True, vectors, cut


class VectorStore:
    """Vectors in a folder, found by their text; several processes may use one folder.

    Files are written once, whole, and never changed. Each holds digests (n, 32) uint8, the sha256
    of each text; vectors (n, width) float32; and cut (n,) bool, whether the text was too long for
    the model. What one model gives under the same options belongs into a folder of its own.
    """

    def __init__(self, folder: Path | None) -> None:
        """Args: folder: None keeps nothing."""
        self.folder = folder
        self._waiting: list[tuple[NDArray[np.uint8], NDArray[np.float32], NDArray[np.bool_]]] = []
        self._last_write = time.monotonic()

    def find(self, texts: Sequence[str]) -> TextVectors:
        """Look distinct texts up."""
        wanted = {digest: place for place, digest in enumerate(map(_digest, texts))}
        result = TextVectors.unknown(len(texts))
        for file in sorted(self.folder.glob("*.safetensors")) if self.folder else []:
            found = _read_some(file, wanted)
            if found is not None:
                result.put(*found)
                for place in found[0]:
                    wanted.pop(_digest(texts[int(place)]), None)
        return result

    def add(
        self, texts: Sequence[str], vectors: NDArray[np.float32], cut: NDArray[np.bool_]
    ) -> None:
        """Keep the vectors of some texts, on the disk before long: see `write`."""
        if self.folder is None:
            return
        digests = np.frombuffer(b"".join(map(_digest, texts)), dtype=np.uint8)
        self._waiting.append((digests.reshape(-1, DIGEST_BYTES), vectors, cut))
        waiting = sum(len(digests) for digests, _, _ in self._waiting)
        is_old = time.monotonic() - self._last_write >= SECONDS_BETWEEN_WRITES
        if is_old or waiting >= TEXTS_A_FILE:
            self.write()

    def write(self) -> None:
        """Write what has been added since the last time."""
        from safetensors.numpy import save_file

        if self.folder is None or not self._waiting:
            return
        digests, vectors, cut = (np.concatenate(c) for c in zip(*self._waiting, strict=True))
        self.folder.mkdir(parents=True, exist_ok=True)
        name = hashlib.sha256(digests.tobytes()).hexdigest()[:DIGEST_BYTES]
        with FileLock(self.folder / ".lock"):
            remove_unfinished(self.folder)
            with replacing(self.folder / f"{name}.safetensors") as path:
                save_file({"digests": digests, "vectors": vectors, "cut": cut}, path)
        self._waiting, self._last_write = [], time.monotonic()


def _read_some(
    file: Path, wanted: dict[bytes, int]
) -> tuple[NDArray[np.int64], NDArray[np.float32], NDArray[np.bool_]] | None:
    """The places of the wanted texts in a file, their vectors and whether they were cut.

    None where the file has none of them, or is damaged.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(file, framework="numpy") as opened:
            stored = opened.get_tensor("digests").tobytes()
            digests = [stored[i : i + DIGEST_BYTES] for i in range(0, len(stored), DIGEST_BYTES)]
            rows = [row for row, digest in enumerate(digests) if digest in wanted]
            if not rows:
                return None
            places = np.array([wanted[digests[row]] for row in rows], dtype=np.int64)
            return places, opened.get_tensor("vectors")[rows], opened.get_tensor("cut")[rows]
    except (SafetensorError, IndexError) as error:
        log.warning("%s: damaged, and passed over: its texts are encoded again (%s)", file, error)
        return None


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode(errors="surrogatepass")).digest()
