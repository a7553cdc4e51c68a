"""Distances between two sets of images, from their features: KID and FID, by torchmetrics."""

from __future__ import annotations

import math
from typing import Final

import torch
from torch import Tensor, nn

from imgtrans import ImgtransError, Score
from imgtrans_metrics.distances import FEWEST
from imgtrans_metrics.quiet import quiet

LARGEST_SUBSET: Final = 1000
"""As Bińkowski et al. chose."""


def kid(fakes: Tensor, reals: Tensor, subsets: int, subset_size: int | None) -> Score:
    """The mean of the kernel distance over random subsets of both, with its 95 % interval.

    Subsets of m out of n images, drawn without replacement, leave n - m out. Their distances spread
    more than those of other n images would, by (n - m) / m in the variance: Shao and Wu's
    delete-d jackknife. The subsets are always the same ones.

    Args:
        fakes: ``N×D``.
        reals: ``M×D``.
        subsets: how many.
        subset_size: images of each set in each; half of the smaller set, at most 1000, if None.

    Raises:
        ImgtransError: there are too few images.
    """
    fewest = _count(fakes, reals, "KID")
    size = subset_size or min(fewest // 2, LARGEST_SUBSET)
    if size > fewest:
        message = (
            f"KID has subsets of subset_size = {size} images, but there are only {fewest}\n"
            "  leave subset_size out, which takes half of them, or set fewer"
        )
        raise ImgtransError(message)
    with quiet():
        from torchmetrics.image.kid import KernelInceptionDistance

        metric = KernelInceptionDistance(nn.Identity(), subsets=subsets, subset_size=size)
    metric.update(reals.cpu().double(), real=True)
    metric.update(fakes.cpu().double(), real=False)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        mean, deviation = (figure.item() for figure in metric.compute())
    if size == fewest or subsets == 1:  # no spread to learn from
        return Score(mean)
    half = 1.96 * deviation * math.sqrt(size / (fewest - size))
    return Score(mean, mean - half, mean + half)


def fid(fakes: Tensor, reals: Tensor) -> Score:
    """The Fréchet distance between normal distributions of the features ``N×D`` and ``M×D``.

    Raises:
        ImgtransError: there are too few images.
    """
    _count(fakes, reals, "FID")
    with quiet():
        from torchmetrics.image.fid import FrechetInceptionDistance
    both = torch.cat([fakes, reals]).cpu().double()
    # Few images span few dimensions. The distance in there is the same, and sooner computed.
    basis = torch.linalg.qr(both.T).Q
    metric = FrechetInceptionDistance(_Given(basis.shape[1]))
    metric.update(both[: len(fakes)] @ basis, real=False)
    metric.update(both[len(fakes) :] @ basis, real=True)
    return Score(metric.compute().item())


class _Given(nn.Identity):
    """Stands where torchmetrics expects a network: the features are there already."""

    def __init__(self, num_features: int) -> None:
        super().__init__()
        self.num_features = num_features


def _count(fakes: Tensor, reals: Tensor, name: str) -> int:
    fewest = min(len(fakes), len(reals))
    if fewest < FEWEST:
        message = (
            f"{name} compares distributions, which {fewest} images do not show\n"
            f"  hold out at least {FEWEST} images of each domain, better some hundreds"
        )
        raise ImgtransError(message)
    return fewest
