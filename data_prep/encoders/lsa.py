"""Latent semantic analysis: the items' text by the words that it shares with other items."""

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from recllm.data_prep.encoders import Encoder, EncoderInput
from recllm.data_prep.encoders._vectors import truncated_svd


class LatentSemanticAnalysis(Encoder):
    """TF-IDF of words and word pairs, then a truncated SVD (Deerwester et al., 1990).

    Term frequencies are logarithmic. An item without text gets the zero vector; where the
    catalogue has fewer terms or items than dimensions, the columns left over are zero.
    """

    max_terms: int = Field(default=100_000, ge=1, description="the most frequent are kept")

    def encode(self, given: EncoderInput) -> NDArray[np.float32]:
        """One row of length 1 (0 without text) for each item: (items, dimensions)."""
        from sklearn.feature_extraction.text import TfidfVectorizer

        texts = given.items.texts()
        vectorizer = TfidfVectorizer(
            token_pattern=r"(?u)\w+",
            ngram_range=(1, 2),
            sublinear_tf=True,
            max_features=self.max_terms,
            dtype=np.float32,  # type: ignore[arg-type] (annotated as float64 alone)
        )
        analyze = vectorizer.build_analyzer()
        if not any(analyze(text) for text in texts):  # sklearn refuses an empty vocabulary
            return np.zeros((len(texts), given.dimensions), dtype=np.float32)
        return truncated_svd(vectorizer.fit_transform(texts), given.dimensions, given.seed)
