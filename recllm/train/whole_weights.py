"""The whole weights of a model that is trained in parts, as a model of its own.

Under ZeRO-3 and FSDP2 no process has all weights: each holds a part of every parameter, and hooks
on the modules fetch the rest, in all processes at once. The decoding engine reads the head
directly, and processes search different numbers of batches; and what is saved should load
anywhere. Both work on a plain copy.
"""

import copy

import torch
from torch import nn
from torch.distributed.tensor import DTensor
from transformers import PreTrainedModel


class Skeleton:
    """A model without its weights, taken before anything is wrapped around it or hooked into it."""

    def __init__(self, model: PreTrainedModel) -> None:
        nothing = {
            id(parameter): nn.Parameter(torch.empty_like(parameter, device="meta"), False)
            for parameter in model.parameters()
        }
        self._model = copy.deepcopy(model, nothing)

    def filled_from(
        self,
        model: nn.Module,
        *,
        keep: bool = True,
        device: torch.device | None = None,
        dtype: torch.dtype | None = None,
    ) -> PreTrainedModel | None:
        """A copy with the weights that `model` has now; every process must call this.

        Args:
            model: the one that the skeleton was taken from.
            keep: whether this process wants the copy; None is returned where not.
            device: where the copy goes, if not where each weight is.
            dtype: that of its floating-point weights, if not their own.
        """
        trained = dict(model.named_parameters())
        weights: dict[int, nn.Parameter] = {}
        for name, empty in self._model.named_parameters():
            weight = _whole(trained[name])
            if keep:
                to = dtype if weight.is_floating_point() else None
                weight = weight.to(device=device, dtype=to, copy=True)
                weights[id(empty)] = nn.Parameter(weight, requires_grad=False)
        if not keep:
            return None
        filled = copy.deepcopy(self._model, weights)
        if device is not None:  # for the buffers; its own `to` is annotated for other types
            nn.Module.to(filled, device)
        return filled


def _whole(parameter: nn.Parameter) -> torch.Tensor:
    """All of a parameter; a collective operation where it is spread over processes."""
    if isinstance(parameter, DTensor):  # FSDP2
        return parameter.full_tensor().detach()
    if hasattr(parameter, "ds_id"):  # ZeRO-3
        import deepspeed  # type: ignore[import-not-found]

        with deepspeed.zero.GatheredParameters([parameter]):
            return parameter.detach().clone()
    return parameter.detach()
