"""LPIPS: how different two images look, from the layers of a network that names objects.

Features of each layer are made unit vectors at each place; their squared differences are weighed
per channel, by weights that were fitted to people's judgements, and averaged over the image.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import torch
from torch import Tensor, nn
from torch.nn import functional
from torchvision.models import squeezenet1_1

from imgtrans_metrics.images import need
from imgtrans_metrics.quiet import quiet

if TYPE_CHECKING:
    from collections.abc import Mapping

# Where the convolutions stand in the file of weights; and channels in, out, kernel and padding.
_CONVOLUTIONS: Final = {
    "net.slice1.0": (3, 64, 11, 2),
    "net.slice2.5": (64, 192, 5, 2),
    "net.slice3.9": (192, 384, 3, 1),
    "net.slice4.11": (384, 256, 3, 1),
    "net.slice5.13": (256, 256, 3, 1),
}


class ShiftTolerantAlexNet(nn.Module):
    """Two batches ``N×3×H×W`` or ``N×1×H×W`` in [-1, 1] to ``N`` distances.

    AlexNet that halves only what it has blurred, so that a shift by a pixel changes little.
    """

    def __init__(self, state: Mapping[str, Tensor]) -> None:
        """From the published weights: trunk and heads."""
        super().__init__()
        with torch.device("meta"):  # the weights are given, so none are made
            self.convolutions = nn.ModuleList(
                nn.Conv2d(channels_in, channels_out, kernel, padding=padding)
                for channels_in, channels_out, kernel, padding in _CONVOLUTIONS.values()
            )
        for name, convolution in zip(_CONVOLUTIONS, self.convolutions, strict=True):
            found = {part: state[f"{name}.{part}"] for part in ("weight", "bias")}
            convolution.load_state_dict(found, assign=True)
        for index in range(len(_CONVOLUTIONS)):
            self.register_buffer(f"head{index}", state[f"lin{index}.model.1.weight"])
        for part in ("shift", "scale"):
            self.register_buffer(part, state[f"scaling_layer.{part}"])
        self.eval().requires_grad_(requires_grad=False)

    def forward(self, images: Tensor, others: Tensor) -> Tensor:
        """Distances, one for each pair."""
        need(images, 32, "ST-LPIPS")
        total = torch.zeros(len(images), device=images.device)
        pairs = zip(self._layers(images), self._layers(others), strict=True)
        for index, (one, other) in enumerate(pairs):
            difference = (_unit(one) - _unit(other)).square()
            weighed = functional.conv2d(difference, self.get_buffer(f"head{index}"))
            total = total + weighed.mean(dim=(1, 2, 3))
        return total

    def _layers(self, images: Tensor) -> list[Tensor]:
        first, second, third, fourth, fifth = self.convolutions
        inner = images.expand(-1, 3, -1, -1) - self.get_buffer("shift")
        inner = inner / self.get_buffer("scale")
        layers = [functional.relu(_halve(first(inner)))]
        for convolution in (second, third):
            inner = _halve(functional.max_pool2d(layers[-1], 3, stride=1))
            layers.append(functional.relu(convolution(inner)))
        for convolution in (fourth, fifth):
            layers.append(functional.relu(convolution(layers[-1])))
        return layers


class SqueezeNet(nn.Module):
    """Two batches ``N×3×H×W`` or ``N×1×H×W`` in [-1, 1] to ``N`` distances, by torchmetrics."""

    def __init__(self, state: Mapping[str, Tensor]) -> None:
        """From the published weights of the trunk; torchmetrics has the heads."""
        super().__init__()
        with quiet():
            from torchmetrics.functional.image.lpips import _NoTrainLpips
        with torch.random.fork_rng(devices=[]):  # for weights that are replaced at once
            self.network = _NoTrainLpips(net="squeeze", pnet_rand=True)
            trunk = squeezenet1_1()
        trunk.load_state_dict(dict(state))
        for part in self.network.net.get_submodule("slices").children():
            for name, layer in part.named_children():
                layer.load_state_dict(trunk.features[int(name)].state_dict())

    def forward(self, images: Tensor, others: Tensor) -> Tensor:
        """Distances, one for each pair."""
        need(images, 32, "LPIPS")
        pair = (batch.expand(-1, 3, -1, -1) for batch in (images, others))
        distances: Tensor = self.network(*pair)
        return distances.flatten()


def _halve(images: Tensor) -> Tensor:
    """Blur with the binomial filter 1 2 1 along rows and columns, and keep every second pixel."""
    row = torch.tensor([0.25, 0.5, 0.25], device=images.device)
    kernel = (row[:, None] * row).expand(images.shape[1], 1, 3, 3)
    padded = functional.pad(images, (2, 2, 2, 2), mode="reflect")
    return functional.conv2d(padded, kernel, stride=2, groups=images.shape[1])


def _unit(features: Tensor) -> Tensor:
    length: Tensor = features.square().sum(dim=1, keepdim=True).sqrt()
    return features / (length + 1e-10)
