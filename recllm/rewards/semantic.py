"""How like the target an item is."""

import numpy as np
from numpy.typing import NDArray

from recllm.errors import UserError
from recllm.rewards import Groups, Reward, RewardFacts, Scorer

#: As the stage embed calls it, with one array `vectors` (items, dimensions).
VECTORS_FILE = "vectors.safetensors"


class Semantic(Reward):
    """The cosine of the item's vector with the target's, of the stage embed; 1 for the target.

    The semantic reward that MiniOneRec (Kong et al., 2025, arXiv:2510.24431) compares with. 0
    where one of two different items has no vector (all zeros).
    """

    needs_vectors = True

    def scorer(self, facts: RewardFacts) -> Scorer:
        """Reads the vectors; see the base class."""
        from safetensors.numpy import load_file

        assert facts.vectors is not None
        vectors = load_file(facts.vectors / VECTORS_FILE)["vectors"]
        if len(vectors) != facts.items:
            raise UserError(
                f"{facts.vectors}: expected a vector for each of {facts.items} items, found "
                f"{len(vectors)}"
            )
        norms = np.linalg.norm(vectors, axis=1, keepdims=True)
        unit = np.divide(vectors, norms, out=np.zeros_like(vectors), where=norms > 0)

        def score(groups: Groups) -> NDArray[np.float64]:
            cosines = np.einsum("gid,gd->gi", unit[groups.items], unit[groups.targets])
            return np.where(groups.hits, 1.0, np.clip(cosines, -1, 1))

        return score
