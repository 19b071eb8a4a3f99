"""Latent semantic analysis: the items' text by the words that it shares with other items."""

from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field

from recllm.catalog.items import Items
from recllm.data_prep.encoders import Encoded, Encoder, EncoderInput, State
from recllm.data_prep.encoders._vectors import (
    array_to_text,
    length_floor,
    project,
    singular_directions,
    text_to_array,
    unit_rows,
)


class LatentSemanticAnalysis(Encoder):
    """TF-IDF of words and word pairs, then a truncated SVD (Deerwester et al., 1990).

    Term frequencies are logarithmic. An item without text gets the zero vector; where the
    catalogue has fewer terms or items than dimensions, the columns left over are zero. New items
    are projected as in that paper: words that no old item has are passed over.
    """

    max_terms: int = Field(default=100_000, ge=1, description="the most frequent are kept")

    def encode(self, given: EncoderInput) -> Encoded:
        """One row of length 1 (0 without text) for each item: (items, dimensions)."""
        texts = given.items.texts()
        vectorizer = self._vectorizer(max_features=self.max_terms)
        analyze = vectorizer.build_analyzer()
        if not any(analyze(text) for text in texts):  # sklearn refuses an empty vocabulary
            vectors = np.zeros((len(texts), given.dimensions), dtype=np.float32)
            return Encoded(vectors, {"terms": text_to_array(""), "width": _width(given)})
        matrix = vectorizer.fit_transform(texts)
        _, directions = singular_directions(matrix, given.dimensions, given.seed)
        projected = project(matrix, directions, given.dimensions)
        floor = length_floor(projected)
        state = {
            # A term is words with a space between them.
            "terms": text_to_array("\n".join(vectorizer.get_feature_names_out())),
            "idf": vectorizer.idf_,
            "directions": directions,
            "floor": np.array([floor]),
            "width": _width(given),
        }
        return Encoded(unit_rows(projected, floor), state)

    def encode_new(self, items: Items, state: State, cache: Path | None = None) -> Encoded:
        """The items' text in the space of the old items' terms."""
        del cache
        terms, width = array_to_text(state["terms"]), int(state["width"][0])
        if not terms:
            return Encoded(np.zeros((len(items), width), dtype=np.float32))
        vectorizer = self._vectorizer(vocabulary=terms.split("\n"))
        vectorizer.idf_ = state["idf"]
        projected = project(vectorizer.transform(items.texts()), state["directions"], width)
        return Encoded(unit_rows(projected, state["floor"][0]))

    def _vectorizer(self, **options: Any) -> Any:
        from sklearn.feature_extraction.text import TfidfVectorizer

        return TfidfVectorizer(
            token_pattern=r"(?u)\w+",
            ngram_range=(1, 2),
            sublinear_tf=True,
            dtype=np.float32,  # type: ignore[arg-type] (annotated as float64 alone)
            **options,
        )


def _width(given: EncoderInput) -> Any:
    return np.array([given.dimensions])
