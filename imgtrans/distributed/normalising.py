"""Batch normalisation over the images of all processes.

torch's own ``SyncBatchNorm`` runs on GPUs only and would take the place of the modules; here they
stay what they are, with the same names in the state dict.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn.functional import batch_norm
from torch.nn.modules.batchnorm import _BatchNorm

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
    # In float32, as torch does it, also under autocast.
    exact = images.float() if images.dtype in (torch.bfloat16, torch.float16) else images
    normalised: Tensor
    normalised, mean, variance = _Normalised.apply(
        exact, module.weight, module.bias, module.eps, ranks
    )
    _remember(module, mean, variance, images.numel() // len(mean) * ranks.count)
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


class _Normalised(torch.autograd.Function):
    """Images less the mean and over the deviation of all processes' images; one exchange each way.

    Made of the operators that torch's own batch norm is made of. Also returns the mean and the
    variance, which no gradient goes through.
    """

    @staticmethod
    def forward(
        context: Any,
        images: Tensor,
        weight: Tensor | None,
        bias: Tensor | None,
        eps: float,
        ranks: Ranks,
    ) -> tuple[Tensor, Tensor, Tensor]:
        here = torch.batch_norm_update_stats(images, None, None, 0.0)
        # The variance of all from those of equal parts (Chan, Golub, LeVeque 1979): the mean of
        # squares less the square of the mean would lose digits where the mean is large.
        means, variances = ranks.gather(torch.stack(here)).view(ranks.count, 2, -1).unbind(1)
        mean = means.mean(0)
        variance = (variances + (means - mean).square()).mean(0)
        normalised = batch_norm(images, mean, variance, weight, bias, training=False, eps=eps)
        context.save_for_backward(images, weight, bias, mean, variance)
        context.eps, context.ranks = eps, ranks
        context.mark_non_differentiable(mean, variance)
        return normalised, mean, variance

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        images, weight, bias, mean, variance = context.saved_tensors
        eps, ranks = context.eps, context.ranks
        if torch.is_grad_enabled():  # these gradients will be differentiated again
            return (*_by_parts(images, weight, bias, eps, ranks, gradients[0]), None, None)
        scale = (variance + eps).rsqrt()
        _, towards_weight, towards_bias = torch.ops.aten.native_batch_norm_backward(
            gradients[0], images, torch.ones_like(mean) if weight is None else weight,
            None, None, mean, scale,
            train=True, eps=eps, output_mask=[False, True, True],
        )  # fmt: skip
        sums = torch.stack([towards_weight, towards_bias])
        ranks.add(sums)
        product, total = sums / (images.numel() // len(mean) * ranks.count)
        # weight * scale * (gradient - its mean - normalised * the mean of their product), in two
        # passes: torch's batch norm with other weights makes all but the first term.
        slope = scale if weight is None else scale * weight
        towards_images = batch_norm(
            images, mean, variance, -slope * product, -slope * total, training=False, eps=eps
        ).addcmul_(gradients[0], slope.view([1, -1] + [1] * (images.ndim - 2)))
        if weight is None:
            return towards_images, None, None, None, None
        return towards_images, towards_weight, towards_bias, None, None


def _by_parts(
    images: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    eps: float,
    ranks: Ranks,
    gradient: Tensor,
) -> tuple[Tensor | None, ...]:
    """The gradients of the same, of plain operators, so that they can be differentiated too."""
    axes = [axis for axis in range(images.ndim) if axis != 1]
    shape = [1, -1] + [1] * (images.ndim - 2)
    centred = images - _mean(images.mean(axes), ranks).view(shape)
    variance = _mean(centred.square().mean(axes), ranks)
    normalised = centred * (variance + eps).rsqrt().view(shape)
    if weight is not None and bias is not None:
        normalised = normalised * weight.view(shape) + bias.view(shape)
    inputs = (images, weight, bias)
    asked = [each for each in inputs if each is not None and each.requires_grad]
    found = iter(torch.autograd.grad(normalised, asked, gradient, create_graph=True))
    return tuple(
        next(found) if each is not None and each.requires_grad else None for each in inputs
    )


def _mean(values: Tensor, ranks: Ranks) -> Tensor:
    mean: Tensor = _Sum.apply(values, ranks) / ranks.count
    return mean


class _Sum(torch.autograd.Function):
    """Of all processes' values; each value's gradient is the sum of all processes' gradients."""

    @staticmethod
    def forward(context: Any, values: Tensor, ranks: Ranks) -> Tensor:
        context.ranks = ranks
        total = values.clone(memory_format=torch.contiguous_format)
        ranks.add(total)
        return total

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        summed: Tensor = _Sum.apply(gradients[0], context.ranks)
        return summed, None
