"""Instance and group normalisation with given statistics, in place of those of what they see."""

from __future__ import annotations

from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from imgtrans.fusing import Instance
from imgtrans.problems import ImgtransError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

Moments = tuple[Tensor, Tensor]
"""Mean and variance of each channel over an image."""


class UntileableError(ImgtransError):
    """A network whose result in tiles would be another than on the whole image."""


class ReachedError(Exception):
    """The layer that a pass is for has been seen; the rest of the network is not needed."""


@contextmanager
def fixing(
    network: nn.Module,
    fixed: Sequence[Moments],
    gather: Callable[[Tensor], None] | None = None,
    *,
    go_on: bool = False,
) -> Iterator[None]:
    """Let a network normalise by fixed statistics, in the order of its calls.

    Args:
        network: any; batch normalisation keeps to its own running statistics.
        fixed: of the first calls.
        gather: shown the input of the first call that has none; the network ends there with
            `ReachedError`. Without it such a call is refused.
        go_on: all calls without statistics are shown, and normalise by what they see.
    """
    calls = iter(range(10**9))

    def forward(layer: Any, values: Tensor) -> Tensor:
        call = next(calls)
        if call < len(fixed):
            return _normalised(layer, values, *fixed[call])
        if gather is None:
            message = (
                "a layer normalises that did not when statistics were gathered; this network "
                "cannot be tiled"
            )
            raise UntileableError(message)
        gather(values)
        if not go_on:
            raise ReachedError
        return _normalised(layer, values, *moments(values))

    layers: list[Any] = [each for each in network.modules() if _by_what_it_sees(each)]
    try:
        for layer in layers:
            layer.forward = partial(forward, layer)
        yield
    finally:
        for layer in layers:
            del layer.forward


def _by_what_it_sees(layer: nn.Module) -> bool:
    # A subclass that computes otherwise is left as it is, and found out when tiles are compared.
    if type(layer).forward is nn.GroupNorm.forward:
        return True
    plain = type(layer).forward in (nn.InstanceNorm2d.forward, Instance.forward)
    return plain and isinstance(layer, nn.InstanceNorm2d) and not layer.track_running_stats


def _normalised(layer: Any, values: Tensor, mean: Tensor, variance: Tensor) -> Tensor:
    if isinstance(layer, nn.GroupNorm):
        mean, variance = _of_groups(mean, variance, layer.num_groups)
    mean, variance = (each.to(values.device)[:, None, None] for each in (mean, variance))
    normal: Tensor = (values - mean) * (variance + layer.eps).rsqrt()  # in float32 at least
    if layer.weight is None:
        return normal.to(values.dtype)
    scaled: Tensor = normal * layer.weight[:, None, None] + layer.bias[:, None, None]
    return scaled.to(values.dtype)


def _of_groups(mean: Tensor, variance: Tensor, groups: int) -> Moments:
    """Moments of groups of channels, repeated for each channel, from those of the channels."""
    means, squares = (each.view(groups, -1) for each in (mean, variance + mean.square()))
    whole = means.mean(1, keepdim=True)
    spread = (squares.mean(1, keepdim=True) - whole.square()).clamp_min(0)
    return whole.expand_as(means).reshape(-1), spread.expand_as(means).reshape(-1)


def moments(values: Tensor) -> Moments:
    """Of one image's features, ``1×C×H×W``."""
    variance, mean = torch.var_mean(values[0].float(), (1, 2), correction=0)
    return mean, variance


class Sums:
    """Moments of an image that comes in parts."""

    def __init__(self) -> None:
        """Nothing is added yet."""
        self._count, self._total, self._squares = 0, torch.zeros(()), torch.zeros(())

    def add(self, values: Tensor) -> None:
        """A part, ``C×h×w``."""
        deep = values.double()
        self._count += deep[0].numel()
        self._total = self._total + deep.sum((1, 2)).cpu()
        self._squares = self._squares + deep.square().sum((1, 2)).cpu()

    def moments(self) -> Moments:
        """Of all that was added."""
        mean = self._total / self._count
        variance = (self._squares / self._count - mean.square()).clamp_min(0)
        return mean.float(), variance.float()
