"""What a network needs for an image of some size, and how far its pixels see."""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor, nn

from imgtrans.data import to_range
from imgtrans.tiling.normalising import Moments, UntileableError, fixing, moments

LARGEST_PROBE: Final = 1024
"""Pixels; a network that reaches further than half of this is taken to see everything."""
OWN: Final = 64
"""Bytes for each pixel of a tile besides the layers: as floats before and after, and blended."""
NEGLIGIBLE: Final = 1e-4
"""Share of an output's gradient that may come from outside a tile."""


def bytes_per_pixel(
    network: nn.Module, channels: int, multiple: int, device: torch.device
) -> float:
    """Of the largest layer: what it takes in and gives out, and half again for what is kept.

    On a GPU, where convolutions take room to work in, at least what was seen to be held.
    """
    cuda = device.type == "cuda"
    side, most = max(512 if cuda else 64, 2 * multiple) // multiple * multiple, 0
    before = torch.cuda.memory_allocated(device) if cuda else 0
    if cuda:
        torch.cuda.reset_peak_memory_stats(device)

    def look(_: nn.Module, taken: tuple[Tensor, ...], made: Tensor) -> None:
        nonlocal most
        sizes = [each.nbytes for each in (*taken, made) if isinstance(each, Tensor)]
        most = max(most, sum(sizes))

    leaves = [each for each in network.modules() if not any(each.children())]
    handles = [each.register_forward_hook(look) for each in leaves]
    try:
        with torch.no_grad():
            network(torch.zeros(1, channels, side, side, device=device))
    finally:
        for handle in handles:
            handle.remove()
    held = torch.cuda.max_memory_allocated(device) - before if cuda else 0
    return max(1.5 * most, 1.1 * held) / side**2 + OWN


def reach(network: nn.Module, channels: int, multiple: int, device: torch.device) -> int:
    """How many pixels away an output still depends on the input.

    Raises:
        UntileableError: it depends on the whole image.
    """
    side = max(64, 8 * multiple)
    while side <= LARGEST_PROBE:
        noise = torch.rand(1, channels, side, side, generator=torch.Generator().manual_seed(0))
        pixels = _reach_within(network, to_range(noise).to(device), multiple)
        if pixels < side // 2 - multiple:
            return pixels
        side = 2 * side
    message = (
        "this network looks at the whole image at once (attention, pooling, or very many layers), "
        "so tiles would be translated otherwise than the whole: allow more memory, or translate at "
        "a smaller size"
    )
    raise UntileableError(message)


def refuse_unlike(
    network: nn.Module, channels: int, multiple: int, halo: int, device: torch.device
) -> None:
    """Compare a tile with the whole image, which differs elsewhere, as a test of the reach.

    Gradients do not see everything: gates that are shut, positions, statistics without a graph.

    Raises:
        UntileableError: the tile's core is more than a level of 255 away from the whole's.
    """
    core = max(2 * multiple, 16)
    length, first = 2 * core + 3 * halo, core + halo + halo // 2
    first = first // multiple * multiple
    length = -(-max(length, first + core + halo + core) // multiple) * multiple
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(1, channels, 5, 5, generator=generator)
    fine = torch.rand(1, channels, length, length, generator=generator)
    shapes = nn.functional.interpolate(coarse, (length, length), mode="bicubic").clamp(0, 1)
    image = to_range(0.8 * shapes + 0.2 * fine).to(device)
    image[..., : first - halo, :] *= -0.5  # what the tile must not depend on is of another kind
    seen, inside = slice(first - halo, first + core + halo), slice(halo, halo + core)
    fixed: list[Moments] = []
    with torch.no_grad():
        with fixing(network, (), lambda v: fixed.append(moments(v)), go_on=True):
            whole = network(image)[..., first : first + core, first : first + core]
        with fixing(network, fixed):
            tile = network(image[..., seen, seen])[..., inside, inside]
    difference = 127.5 * float((whole - tile).abs().max())
    if not difference <= 1.0:
        message = (
            f"this network's tiles differ from the whole image by {difference:.1f} of 255 levels: "
            "it looks at the whole image, or at where in it something is; allow more memory, or "
            "translate at a smaller size"
        )
        raise UntileableError(message)


def _reach_within(network: nn.Module, image: Tensor, multiple: int) -> int:
    """By the gradient of a patch in the middle, with normalisation fixed, which sees everything."""
    fixed: list[Moments] = []
    with torch.no_grad(), fixing(network, (), lambda v: fixed.append(moments(v)), go_on=True):
        network(image)
    side = image.shape[-1]
    middle = slice(side // 2, side // 2 + multiple)
    with torch.enable_grad(), fixing(network, fixed):
        made = network(image.requires_grad_())
        (gradient,) = torch.autograd.grad(made[..., middle, middle].abs().sum(), image)
    rows, columns = (gradient.abs().sum((0, 1, across)).double() for across in (3, 2))
    return max(_extent(rows, middle), _extent(columns, middle))


def _extent(shares: Tensor, middle: slice) -> int:
    """So many pixels on either side of the middle hold all but a negligible share."""
    allowed = NEGLIGIBLE / 2 * float(shares.sum())
    before, after = shares[: middle.start].cumsum(0), shares[middle.stop :].flip(0).cumsum(0)
    first, last = (int((each <= allowed).sum()) for each in (before, after))
    return max(int(middle.start) - first, len(shares) - int(middle.stop) - last)
