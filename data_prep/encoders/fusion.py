"""Fusion: several encoders side by side, each with a weight."""

import math
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, ValidationError, field_validator

from recllm.catalog.items import Items
from recllm.config.plugins import ENCODERS
from recllm.config.registry import unknown_name
from recllm.config.validation import mistakes
from recllm.data_prep.encoders import Encoded, Encoder, EncoderInput, State
from recllm.data_prep.encoders._vectors import principal_axes, project
from recllm.errors import UserError

Part = tuple[float, Encoder]


class Fusion(Encoder):
    """The vectors of several encoders, concatenated, and their principal components if asked for.

    Each part is brought to a mean squared row length of 1 and multiplied by the square root of
    its weight: the weights are the parts' shares in squared distances, which is what k-means
    looks at. A part is any other encoder; it has the recipe's dimensions, and options of its own
    if its value is {weight: 1.0, option: …} in place of the weight. With fewer principal
    components than asked for, the columns left over are zero.
    """

    parts: dict[str, Any] = Field(
        default={"lsa": 1.0, "cooccurrence": 1.0},
        min_length=1,
        description="encoder: weight, or the weight and the encoder's own options",
    )
    pca: int | None = Field(
        default=None,
        ge=1,
        description="principal components to keep; null: the vectors as they are",
    )

    @field_validator("parts")
    @classmethod
    def _parts_can_be_fused(cls, parts: dict[str, Any]) -> dict[str, Any]:
        canonical = {name.replace("_", "-"): given for name, given in parts.items()}
        if len(canonical) < len(parts):
            raise ValueError(f"expected each part once, found {', '.join(parts)}")
        known = [name for name in ENCODERS.names() if name != cls.name]
        for name, given in canonical.items():
            if name not in known:
                raise ValueError(unknown_name("part", name, known))
            weight, encoder = _read_part(name, given)
            has_options = isinstance(given, Mapping)
            options = encoder.model_dump(mode="json") if has_options else {}
            canonical[name] = {"weight": weight, **options} if has_options else weight
        return canonical

    @cached_property
    def _parts(self) -> dict[str, Part]:
        return {name: _read_part(name, self.parts[name]) for name in sorted(self.parts)}

    def settings(self) -> dict[str, Any]:
        """The parts with all that decides their vectors."""
        parts = {
            name: {"weight": weight, **encoder.settings()}
            for name, (weight, encoder) in self._parts.items()
        }
        return {"parts": parts, "pca": self.pca}

    def check(self) -> None:
        """Refuse what a part refuses."""
        for _, encoder in self._parts.values():
            encoder.check()

    def encode(self, given: EncoderInput) -> Encoded:
        """One row for each item: (items, sum of the parts' widths, or `pca`), parts by name."""
        found = self._encode_parts(lambda _, encoder: encoder.encode(given))
        scales = [_root_mean_square(encoded.vectors) for encoded in found.values()]
        vectors = self._join(found, scales)
        state: dict[str, NDArray[Any]] = {"scales": np.array(scales)}
        for name, encoded in found.items():
            state |= {f"{name}.{key}": array for key, array in encoded.state.items()}
        if self.pca is not None:
            if self.pca > vectors.shape[1]:
                raise UserError(
                    f"pca: expected at most the {vectors.shape[1]} dimensions that the parts have "
                    f"together, found {self.pca}; lower it, or raise embed.dimensions"
                )
            state["pca_mean"], state["pca_axes"] = principal_axes(vectors, self.pca)
        return Encoded(self._reduce(vectors, state), state, _counts(found))

    def encode_new(self, items: Items, state: State, cache: Path | None = None) -> Encoded:
        """What the parts give for new items, scaled and turned as for the old ones."""

        def encode(name: str, encoder: Encoder) -> Encoded:
            prefix = f"{name}."
            own = {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
            return encoder.encode_new(items, own, cache)

        found = self._encode_parts(encode)
        vectors = self._join(found, state["scales"].tolist())
        return Encoded(self._reduce(vectors, state), counts=_counts(found))

    def _encode_parts(self, encode: Callable[[str, Encoder], Encoded]) -> dict[str, Encoded]:
        return {name: encode(name, encoder) for name, (_, encoder) in self._parts.items()}

    def _join(self, found: Mapping[str, Encoded], scales: list[float]) -> NDArray[np.float32]:
        columns = [
            math.sqrt(self._parts[name][0]) * (encoded.vectors / scale).astype(np.float32)
            for (name, encoded), scale in zip(found.items(), scales, strict=True)
        ]
        return np.concatenate(columns, axis=1)

    def _reduce(self, vectors: NDArray[np.float32], state: State) -> NDArray[np.float32]:
        if self.pca is None:
            return vectors
        mean, axes = state["pca_mean"], state["pca_axes"]
        if mean.shape[0] != vectors.shape[1]:
            raise UserError(
                f"expected vectors of {mean.shape[0]} dimensions from the parts together, found "
                f"{vectors.shape[1]}: a part's model or file is another one than before"
            )
        return project(vectors, axes, self.pca) - project(mean[None], axes, self.pca)


def _read_part(name: str, given: Any) -> Part:
    """The weight of a part and its encoder.

    Raises:
        ValueError: the weight is none, or the options are not the encoder's.
    """
    options = dict(given) if isinstance(given, Mapping) else {"weight": given}
    weight = options.pop("weight", 1.0)
    is_number = isinstance(weight, int | float) and not isinstance(weight, bool)
    if not is_number or not 0 < weight < math.inf:
        raise ValueError(f"the weight of part {name!r} must be above 0, found {weight!r}")
    encoder = ENCODERS.load(name)
    try:
        return float(weight), encoder.model_validate(options)
    except ValidationError as error:
        raise ValueError("; ".join(mistakes(error, encoder, name))) from None


def _root_mean_square(vectors: NDArray[np.float32]) -> float:
    """The root of the mean squared length of the rows; 1 where all are zero."""
    mean_square = np.square(vectors, dtype=np.float64).sum() / max(len(vectors), 1)
    return math.sqrt(mean_square) or 1.0


def _counts(found: Mapping[str, Encoded]) -> dict[str, int]:
    return {
        f"{name.replace('-', '_')}_{what}": number
        for name, encoded in found.items()
        for what, number in encoded.counts.items()
    }
