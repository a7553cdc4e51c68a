"""Figures against a truth. Batches are ``N×C×H×W`` in [-1, 1], figures ``N``."""

from __future__ import annotations

import torch
from torch import Tensor

from imgtrans_metrics.images import need
from imgtrans_metrics.quiet import quiet


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
