"""A trained network for use: the same function in fewer steps, and in the layout that is fastest.

What it makes is what the network itself makes but for rounding, far below a level of 255. Networks
that cannot be changed so, whatever the reason, are used as they are.
"""

from __future__ import annotations

import copy
from collections import Counter
from typing import TYPE_CHECKING, Any, Final

import torch
from torch import Tensor, fx, nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_eval

if TYPE_CHECKING:
    from collections.abc import Iterator

ALIKE: Final = 0.05
"""Levels of 255 by which a changed network may differ in the picture that it is tried with."""


def fused(network: nn.Module, image: Tensor) -> nn.Module:
    """A faster copy of a network, or the network where none makes the same.

    Batch normalisations become part of the convolutions before them, and weights lie channels last.
    On a processor, instance normalisation keeps them so, too.

    Args:
        network: in evaluation mode; it stays as it is.
        image: ``1×C×H×W`` in [-1, 1], on the network's device, to compare both with.
    """
    try:
        made = copy.deepcopy(network)
        for convolution, norm in list(_pairs(made)):
            _fold(made, convolution, norm)
        if image.device.type == "cpu":
            _by_groups(made)
        made.to(memory_format=torch.channels_last)
        with torch.no_grad():
            apart = 127.5 * float((made(image) - network(image)).abs().max())
    except Exception:  # noqa: BLE001 - a network may refuse to be copied, traced or laid otherwise
        return network
    return made if apart <= ALIKE else network


def _pairs(network: nn.Module) -> Iterator[tuple[str, str]]:
    """Each convolution whose output goes to a batch normalisation and nowhere else, and that."""
    try:
        nodes = list(fx.Tracer().trace(network).nodes)
    except Exception:  # noqa: BLE001 - a forward that decides by what it is given is not traced
        return
    layers = dict(network.named_modules())
    calls = Counter(str(node.target) for node in nodes if node.op == "call_module")
    for node in nodes:
        before = node.args[0] if node.args else None
        if not isinstance(before, fx.Node) or len(before.users) != 1:
            continue
        names = str(before.target), str(node.target)
        once = calls[names[0]] == calls[names[1]] == 1  # as no function of another name is
        # Of these very classes: what their subclasses compute is not known.
        if once and type(layers[names[0]]) in (nn.Conv2d, nn.ConvTranspose2d):
            norm = layers[names[1]]
            if type(norm) is nn.BatchNorm2d and norm.track_running_stats:
                yield names


def _fold(network: nn.Module, convolution: str, norm: str) -> None:
    before: Any = network.get_submodule(convolution)
    after: Any = network.get_submodule(norm)
    transposed = isinstance(before, nn.ConvTranspose2d)
    folded: nn.Module = fuse_conv_bn_eval(before, after, transpose=transposed)
    network.set_submodule(convolution, folded)
    network.set_submodule(norm, nn.Identity())


class Instance(nn.InstanceNorm2d):
    """Instance normalisation of one image as of any, by a function that keeps channels last.

    torch's own takes its values into another layout, slowly. That of groups finds variances from
    squares, which of values far from 0 leaves nothing, so they are centred before.
    """

    def forward(self, values: Tensor) -> Tensor:
        """``N×C×H×W`` to the same."""
        if values.shape[-2:].numel() == 1:
            message = "a layer normalises a single pixel: the picture is too small for this network"
            raise ValueError(message)
        centred = values - values.mean((2, 3), keepdim=True)
        channels = self.num_features
        return functional.group_norm(centred, channels, self.weight, self.bias, self.eps)


def _by_groups(network: nn.Module) -> None:
    for name, layer in list(network.named_modules()):
        if type(layer) is nn.InstanceNorm2d and not layer.track_running_stats:
            made = Instance(layer.num_features, layer.eps, affine=layer.affine)
            made.weight, made.bias = layer.weight, layer.bias
            network.set_submodule(name, made)


class Mixed(nn.Module):
    """A network in bfloat16 where that does no harm to its layers, from and to float32."""

    def __init__(self, network: nn.Module) -> None:
        """Of any network; it is not changed."""
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        """Translate a batch."""
        with torch.autocast(images.device.type, torch.bfloat16):
            made: Tensor = self.network(images)
        return made.float()
