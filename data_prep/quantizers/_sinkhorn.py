"""Even assignment of points to codes, by optimal transport."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Evenly:
    """Gives points codes such that all codes get about the same number of points.

    The uniform semantic mapping of LC-Rec (Zheng et al., 2024): the transport plan between
    points and codes, all of the same weight, regularised by entropy and found by the iterations
    of Sinkhorn and Knopp (Cuturi, 2013); a point takes the code to which most of it goes.

    Attributes:
        epsilon: weight of the entropy, for squared distances that span 2.
    """

    epsilon: float
    iterations: int

    def __call__(self, points: Tensor, codebook: Tensor) -> Tensor:
        """The code of each point, (points,)."""
        distances = torch.cdist(points, codebook).square()
        spread = (distances.max() - distances.min()).clamp(min=torch.finfo(distances.dtype).tiny)
        # What is taken from all distances of a point does not change the plan, but keeps the
        # exponents in range.
        nearest = distances.amin(dim=1, keepdim=True)
        plan = torch.exp((nearest - distances).double() * (2 / (self.epsilon * spread.double())))
        least = torch.finfo(plan.dtype).tiny
        for _ in range(self.iterations):
            plan /= plan.sum(dim=0, keepdim=True).clamp(min=least)
            plan /= plan.sum(dim=1, keepdim=True).clamp(min=least)
        return plan.argmax(dim=1)
