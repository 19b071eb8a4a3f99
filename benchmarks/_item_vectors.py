"""Vectors of a simulated catalogue: topics with many items or few, subtopics, items around them."""

import numpy as np
from numpy.typing import NDArray

TOPICS, SUBTOPICS = 500, 20
#: Of the topics' sizes (Zipf), and of how a vector's columns differ in importance.
TOPIC_SKEW, DECAY = 0.8, 0.5
#: How far subtopics lie from their topic, and items from their subtopic, in distances of topics.
SUBTOPIC_SPREAD, ITEM_SPREAD = 0.6, 0.6
CHUNK_ROWS = 50_000


def clustered_vectors(items: int, dimensions: int) -> NDArray[np.float32]:
    """(items, dimensions) rows of length 1, the same for the same shape."""
    rng = np.random.default_rng(0)
    scale = np.arange(1, dimensions + 1, dtype=np.float32) ** -DECAY
    topics = rng.standard_normal((TOPICS, 1, dimensions), dtype=np.float32)
    subtopics = rng.standard_normal((TOPICS, SUBTOPICS, dimensions), dtype=np.float32)
    centers = (topics + SUBTOPIC_SPREAD * subtopics).reshape(TOPICS * SUBTOPICS, dimensions)
    sizes = np.repeat(np.arange(1, TOPICS + 1) ** -TOPIC_SKEW, SUBTOPICS)
    center = rng.choice(len(centers), items, p=sizes / sizes.sum())
    vectors = np.empty((items, dimensions), dtype=np.float32)
    for first in range(0, items, CHUNK_ROWS):
        rows = vectors[first : first + CHUNK_ROWS]
        rng.standard_normal(out=rows, dtype=np.float32)
        rows *= ITEM_SPREAD
        rows += centers[center[first : first + CHUNK_ROWS]]
        rows *= scale
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return vectors
