"""Batch normalisation over the images of all processes.

torch's own ``SyncBatchNorm`` runs on GPUs only and would take the place of the modules; here they
stay what they are, with the same names in the state dict.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, distributed, nn
from torch.nn.functional import batch_norm
from torch.nn.modules.batchnorm import _BatchNorm

from imgtrans.distributed import answered

if TYPE_CHECKING:
    from collections.abc import Iterable

    from imgtrans.distributed import Ranks


def synchronise(networks: Iterable[nn.Module], ranks: Ranks) -> None:
    """Let every batch norm in them use the statistics of all processes while it trains.

    All processes must give it equally many images of equal size, as the data order sees to.
    """
    for network in networks:
        for module in network.modules():
            if isinstance(module, _BatchNorm):
                module.forward = partial(_forward, module, ranks)  # type: ignore[method-assign]


def _forward(module: _BatchNorm, ranks: Ranks, images: Tensor) -> Tensor:
    if not module.training:
        return batch_norm(
            images, module.running_mean, module.running_var, module.weight, module.bias,
            training=module.running_mean is None, eps=module.eps,
        )  # fmt: skip
    axes = [axis for axis in range(images.ndim) if axis != 1]
    # Two passes, as for one process: the mean of squares less the square of the mean would lose
    # digits where the mean is large. And in float32, as torch does it, also under autocast.
    exact = images.float() if images.dtype in (torch.bfloat16, torch.float16) else images
    mean = _mean(exact.mean(axes), ranks)
    shape = [1, -1] + [1] * (images.ndim - 2)
    centred = exact - mean.view(shape)
    variance = _mean(centred.square().mean(axes), ranks)
    _remember(module, mean.detach(), variance.detach(), images.numel() // len(mean) * ranks.count)
    normalised = centred * (variance + module.eps).rsqrt().view(shape)
    if module.weight is not None:
        normalised = normalised * module.weight.view(shape) + module.bias.view(shape)
    return normalised.to(images.dtype)


def _remember(module: _BatchNorm, mean: Tensor, variance: Tensor, values: int) -> None:
    if module.running_mean is None or module.running_var is None:
        return
    assert module.num_batches_tracked is not None  # noqa: S101 - kept wherever the others are
    module.num_batches_tracked.add_(1)
    share = module.momentum
    if share is None:  # a plain mean over all batches
        share = 1.0 / float(module.num_batches_tracked)
    module.running_mean.lerp_(mean, share)
    module.running_var.lerp_(variance * (values / max(values - 1, 1)), share)


def _mean(values: Tensor, ranks: Ranks) -> Tensor:
    mean: Tensor = _Sum.apply(values) / ranks.count
    return mean


class _Sum(torch.autograd.Function):
    """Of all processes' values; each value's gradient is the sum of all processes' gradients."""

    @staticmethod
    def forward(context: Any, values: Tensor) -> Tensor:
        del context
        return _summed(values)

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> Tensor:
        del context
        summed: Tensor = _Sum.apply(gradients[0])  # so that it can be differentiated again
        return summed


def _summed(values: Tensor) -> Tensor:
    total = values.clone(memory_format=torch.contiguous_format)
    with answered():
        distributed.all_reduce(total)
    return total
