"""What is measured of each image by itself. Batches are ``N×C×H×W`` in [-1, 1], figures ``N``."""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor
from torch.nn import functional

from imgtrans import ImgtransError
from imgtrans_metrics.quiet import quiet

GRID: Final = 8
"""The longest period of the upsampling grid, in pixels: three doublings."""
BLOCKS: Final = (64, 32)
"""Sides of the blocks that are looked at for it, the larger if images are large enough."""


def need(images: Tensor, pixels: int, name: str) -> None:
    """Refuse images that are too small.

    Raises:
        ImgtransError: they are.
    """
    height, width = images.shape[-2:]
    if min(height, width) < pixels:
        message = f"{name} needs images of at least {pixels}×{pixels} pixels, not {width}×{height}"
        raise ImgtransError(message)


def psnr(images: Tensor, truth: Tensor) -> Tensor:
    """Peak signal-to-noise ratio of each image in decibels.

    The peak is the whole range. Identical images give 100 dB rather than infinity, which would
    hide every other image of a mean.
    """
    error = ((images - truth) / 2).double().square().mean(dim=(1, 2, 3))
    return -10 * torch.log10(error.clamp_min(1e-10))


def ssim(images: Tensor, truth: Tensor) -> Tensor:
    """Structural similarity of each image (Wang et al., 2004)."""
    need(images, 11, "SSIM")  # its window
    with quiet():
        from torchmetrics.functional.image import structural_similarity_index_measure

    pair = ((images + 1) / 2, (truth + 1) / 2)
    scores: Tensor = structural_similarity_index_measure(  # type: ignore[assignment]
        *pair, data_range=1.0, reduction="none"
    )
    return scores.reshape(-1)


def luminance(images: Tensor) -> Tensor:
    """``N×H×W`` float64: the brightness of each pixel (ITU-R BT.601)."""
    if images.shape[1] == 1:
        return images[:, 0].double()
    red, green, blue = images.double().unbind(dim=1)
    return 0.299 * red + 0.587 * green + 0.114 * blue


def correlation(one: Tensor, other: Tensor) -> Tensor:
    """Pearson's, over all but the first dimension; 0 where there is no contrast."""
    one, other = (
        values.flatten(1) - values.flatten(1).mean(dim=1, keepdim=True) for values in (one, other)
    )
    # Rounding leaves a little contrast in flat images: 1e-6 is far below one level of 255.
    lengths = [values.norm(dim=1) for values in (one, other)]
    flat = torch.stack(lengths).amin(dim=0) < 1e-6 * one.shape[1] ** 0.5
    result: Tensor = (one * other).sum(dim=1) / (lengths[0] * lengths[1]).clamp_min(1e-30)
    return result.masked_fill(flat, 0.0)


def edges(images: Tensor) -> Tensor:
    """``N×(H-2)×(W-2)``: how steep the luminance is at each pixel (Sobel and Feldman, 1968)."""
    need(images, 3, "content preservation")
    smooth = torch.tensor([1.0, 2.0, 1.0], dtype=torch.float64, device=images.device)
    slope = torch.tensor([-1.0, 0.0, 1.0], dtype=torch.float64, device=images.device)
    across = smooth[:, None] * slope
    kernels = torch.stack([across, across.T])[:, None]
    slopes = functional.conv2d(luminance(images)[:, None], kernels)
    return slopes.square().sum(dim=1).sqrt()


def checkerboard(images: Tensor) -> Tensor:
    """Energy at the frequencies of an upsampling grid against their neighbourhood, in decibels.

    A network that doubles its images three times can leave patterns that repeat every 2, 4 and 8
    pixels along rows or columns. All of them, however they are combined, live on 63 frequencies of
    the discrete Fourier transform. The energy on each of these is divided by the mean of those
    around it, two and three steps away, which the content of images fills evenly. The result is the
    mean ratio over overlapping blocks, so that a pattern in a calm part counts as much as one in
    a rich part; nothing special is 0 dB.
    """
    need(images, BLOCKS[-1], "the checkerboard score")
    size = next(block for block in BLOCKS if block <= min(images.shape[-2:]))
    blocks = luminance(images).unfold(1, size, size // 2).unfold(2, size, size // 2).flatten(1, 2)
    blocks = blocks - blocks.mean(dim=(2, 3), keepdim=True)
    # A Hann window, or borders that do not meet would fill the axes; it widens each line by one.
    window = torch.hann_window(size, dtype=blocks.dtype, device=blocks.device)
    energy = torch.fft.fft2(blocks * window[:, None] * window).abs().square().flatten(0, 1)
    grid = (slice(None), slice(None, None, size // GRID), slice(None, None, size // GRID))
    free = torch.ones_like(energy[:1])
    free[grid] = 0  # the grid's own lines are nobody's neighbours
    around = _around(energy * free) / _around(free)
    # 1e-12 is nothing beside the energy of one level of 255, and keeps flat images at 0 dB.
    ratio = ((energy + 1e-12) / (around + 1e-12))[grid].flatten(1)[:, 1:]  # the first is the mean
    return 10 * torch.log10(ratio.mean(dim=1).unflatten(0, (len(images), -1)).mean(dim=1))


def _around(spectrum: Tensor) -> Tensor:
    """``N×H×W``: the sum of what lies two or three steps away, around the corner too."""
    ring = torch.ones(7, 7, dtype=spectrum.dtype, device=spectrum.device)
    ring[2:5, 2:5] = 0
    padded = functional.pad(spectrum[:, None], (3, 3, 3, 3), mode="circular")
    return functional.conv2d(padded, ring[None, None])[:, 0]
