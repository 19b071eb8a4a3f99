"""How far an item's SID goes along with the target's."""

import numpy as np
from numpy.typing import NDArray

from recllm.catalog.sids import SidIndex
from recllm.catalog.trie_building import ENDED
from recllm.errors import UserError
from recllm.rewards import Groups, Reward, RewardFacts, Scorer


class Prefix(Reward):
    """The share of the target's codes that the item's SID has too, from the first on.

    1 for the target; 2/3 for an item that differs in the third of three codes alone; 0 for one
    that differs in the first, whatever follows. Where SIDs differ in length, the end of one
    counts as a code, so that a longer SID that begins with the target's does not score 1.

    Follows from how SIDs are decoded: code after code, each given those before it.
    """

    def scorer(self, facts: RewardFacts) -> Scorer:
        """Compares the codes of `facts.sids`; see the base class.

        Raises:
            UserError: items go by their titles.
        """
        if not isinstance(facts.sids, SidIndex):
            raise UserError(
                "the reward 'prefix' compares the codes of SIDs, but items go by their titles; "
                "leave the reward out, or set another sid.quantizer"
            )
        codes = facts.sids.codes
        if facts.sids.variable_depth:
            codes = np.pad(codes, ((0, 0), (0, 1)), constant_values=ENDED)
        lengths = np.minimum((codes != ENDED).sum(axis=1) + 1, codes.shape[1])

        def score(groups: Groups) -> NDArray[np.float64]:
            same = codes[groups.items] == codes[groups.targets][:, None, :]
            shared = np.logical_and.accumulate(same, axis=2).sum(axis=2)
            of_target = lengths[groups.targets][:, None]
            return np.minimum(shared, of_target) / of_target

        return score
