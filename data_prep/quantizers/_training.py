"""Training of the residual-quantized autoencoders, from residual k-means to codes."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from recllm.data_prep.quantizers import Quantized
from recllm.data_prep.quantizers import _kmeans as kmeans
from recllm.data_prep.quantizers._autoencoder import ResidualQuantizedAutoencoder
from recllm.data_prep.quantizers._residual_kmeans import fit_residual
from recllm.data_prep.quantizers._sinkhorn import Evenly
from recllm.data_prep.quantizers._vectors import sample_rows
from recllm.models.devices import resolve_device
from recllm.progress import progress

#: The share of the steps in which the learning rate rises; then it falls to zero.
WARMUP = 0.01
#: A longer gradient is shortened to this.
LONGEST_GRADIENT = 1.0
#: In the state: what vectors are divided by, and how the names of the encoder's weights start.
SCALE, ENCODER = "scale", "encoder."

#: Gives an encoder and a decoder.
Make = Callable[[], tuple[nn.Module, nn.Module]]


@dataclass(frozen=True)
class Training:
    """How an autoencoder is trained.

    Attributes:
        make: gives its encoder and decoder, with random weights.
        levels, codes: of its codebooks.
        iterations: of the residual k-means with which the codebooks start.
        sample: how many items that is fitted on; None: all.
        commitment: weight of the latent vectors' distance to their codes (beta).
        evenly: how the last level's codes are chosen in training; None: the nearest.
    """

    make: Make
    levels: int
    codes: int
    iterations: int
    sample: int | None
    epochs: int
    batch_size: int
    learning_rate: float
    commitment: float
    evenly: Evenly | None = None

    def quantize(self, vectors: NDArray[np.float32], seed: int) -> Quantized:
        """Train on the vectors, and give each the nearest codes, in the latent space."""
        squares = np.einsum("nd,nd->n", vectors, vectors)
        scale = math.sqrt(squares.mean(dtype=np.float64) / vectors.shape[1]) or 1.0
        scaled = vectors / scale
        model = _untrained(self.make, seed)
        rows = sample_rows(len(vectors), self.sample, seed)
        points = kmeans.to_tensor(model.encode(scaled[rows]), resolve_device())
        model.codebooks.extend(fit_residual(points, self.levels, self.codes, self.iterations, seed))
        self._train(model, scaled, torch.Generator().manual_seed(seed))
        latents = model.encode(scaled)
        codebooks = [codebook.detach() for codebook in model.codebooks]
        codes = kmeans.encode(latents, codebooks)
        state = {SCALE: np.array([scale])}
        for name, weights in model.encoder.state_dict().items():
            state[ENCODER + name] = weights.cpu().numpy()
        return Quantized(codes, kmeans.stacked(codebooks, self.codes), latents, state)

    def _train(
        self,
        model: ResidualQuantizedAutoencoder,
        vectors: NDArray[np.float32],
        generator: torch.Generator,
    ) -> None:
        optimizer = torch.optim.AdamW(model.parameters(), self.learning_rate, weight_decay=0.0)
        steps = self.epochs * -(-len(vectors) // self.batch_size)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, _rise_and_fall(steps))
        device = next(model.parameters()).device
        with progress("autoencoder, epochs", self.epochs) as advance:
            for epoch in range(1, self.epochs + 1):
                used = [torch.zeros(len(c), dtype=torch.bool, device=device)
                        for c in model.codebooks]  # fmt: skip
                order = torch.randperm(len(vectors), generator=generator)
                for rows in order.split(self.batch_size):
                    batch = kmeans.to_tensor(vectors[rows.numpy()], device)
                    loss, chosen = model.loss(batch, self.commitment, self.evenly)
                    optimizer.zero_grad()
                    loss.backward()
                    nn.utils.clip_grad_norm_(model.parameters(), LONGEST_GRADIENT)
                    optimizer.step()
                    schedule.step()
                    for alive, codes in zip(used, chosen, strict=True):
                        alive[codes] = True
                if epoch < self.epochs:  # a code revived at the end would not be trained
                    some = vectors[order[: self.batch_size].numpy()]
                    model.revive(used, kmeans.to_tensor(some, device), generator)
                advance(1)


def encode(
    vectors: NDArray[np.float32], make: Make, state: Mapping[str, NDArray[Any]]
) -> NDArray[np.float32]:
    """The latent vectors (items, latent) of others than those that were trained on.

    Args:
        make: as in Training.
        state: of what `Training.quantize` gave.
    """
    model = _untrained(make, seed=0)
    weights = {
        name.removeprefix(ENCODER): torch.from_numpy(array)
        for name, array in state.items()
        if name.startswith(ENCODER)
    }
    model.encoder.load_state_dict(weights)
    return model.encode(vectors / state[SCALE].item())


def _untrained(make: Make, seed: int) -> ResidualQuantizedAutoencoder:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return ResidualQuantizedAutoencoder(*make()).to(resolve_device())


def _rise_and_fall(steps: int) -> Callable[[int], float]:
    """The learning rate's factor at each step: linear warmup, then linear decay."""
    warmup = max(int(WARMUP * steps), 1)
    return lambda step: min((step + 1) / warmup, (steps - step) / max(steps - warmup, 1))
