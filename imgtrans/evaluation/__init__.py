"""Figures against a ground truth, where a test split is paired: PSNR and SSIM.

Two baselines stand beside every model: the untranslated input, and a per-channel colour match,
which any useful translation must beat.
"""

from __future__ import annotations

import warnings
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from imgtrans.data import held_out, open_store
from imgtrans.evaluation.translated import Translated, through
from imgtrans.training import evaluating

__all__ = ('Translated', 'through')

if TYPE_CHECKING:
    from collections.abc import Callable

    from imgtrans.components import Images
    from imgtrans.data import Store
    from imgtrans.recipe import Recipe
    from imgtrans.training import Trainer

TEST_IMAGES = 200
"""At most so many pairs are compared, spread evenly over the split."""
BATCH = 16


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    direction: str
    what: str
    psnr_db: float
    ssim: float


@dataclass(frozen=True)
class Figures:
    """How near translations come to the truth."""

    title: str
    rows: tuple[Row, ...]
    broken: tuple[str, ...] = ()
    """Why pairs were left out."""

    def as_json(self) -> dict[str, Any]:
        """For ``figures.json`` and the report."""
        return {"title": self.title, "rows": [asdict(row) for row in self.rows]}


def psnr(images: Tensor, truth: Tensor) -> Tensor:
    """Peak signal-to-noise ratio of each image in decibels; ``N×C×H×W`` in [-1, 1] to ``N``.

    The peak is the whole range. Identical images give 100 dB rather than infinity, which would
    hide every other image of a mean.
    """
    error = ((images - truth) / 2).double().square().mean(dim=(1, 2, 3))
    return -10 * torch.log10(error.clamp_min(1e-10))


def ssim(images: Tensor, truth: Tensor) -> Tensor:
    """Structural similarity of each image (Wang et al., 2004); ``N×C×H×W`` in [-1, 1] to ``N``."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torchmetrics warns of its own optional parts
        from torchmetrics.functional.image import structural_similarity_index_measure

    pair = ((images + 1) / 2, (truth + 1) / 2)
    scores: Tensor = structural_similarity_index_measure(  # type: ignore[assignment]
        *pair, data_range=1.0, reduction="none"
    )
    return scores.reshape(-1)


@dataclass(frozen=True)
class ColourMatch:
    """Each channel moved and stretched to the target domain's mean and deviation."""

    scale: Tensor
    shift: Tensor

    @classmethod
    def fit(cls, source: Tensor, target: Tensor) -> ColourMatch:
        """From training images of both domains, ``N×C×H×W``."""
        (m_source, d_source), (m_target, d_target) = (
            (images.mean(dim=(0, 2, 3)), images.std(dim=(0, 2, 3))) for images in (source, target)
        )
        scale = d_target / d_source.clamp_min(1e-6)
        return cls(scale.view(-1, 1, 1), (m_target - scale * m_source).view(-1, 1, 1))

    def __call__(self, images: Tensor) -> Tensor:
        """Apply to ``N×C×H×W`` in [-1, 1]; stays in [-1, 1]."""
        return (images * self.scale + self.shift).clamp(-1, 1)


def compare(
    recipe: Recipe, trainer: Trainer, train: tuple[Store, Store], test: Images
) -> Figures | None:
    """Fakes, inputs and colour-matched inputs against the truth of a paired test split.

    Args:
        recipe: for sizes and names.
        trainer: its generators translate, in evaluation mode.
        train: the training images of x and y, to fit the colour match.
        test: the held-out images.

    Returns:
        None where the test split has no truth, or no whole pair.
    """
    size = recipe.dataset.image_size
    stores = (open_store(test.x, recipe.dataset), open_store(test.y, recipe.dataset))
    pairs = held_out(stores, TEST_IMAGES, size, paired=True) if test.paired else None
    fit = held_out(train, TEST_IMAGES, size, paired=False)
    if pairs is None or fit is None:
        return None
    rows: list[Row] = []
    for index, direction in enumerate(trainer.directions):
        source, truth = (pairs.x, pairs.y)[:: 1 if index == 0 else -1]
        fitted = (fit.x, fit.y)[:: 1 if index == 0 else -1]
        candidates: list[tuple[str, Callable[[Tensor], Tensor]]] = [
            ("translated", _translator(trainer, index)),
            ("untranslated input", lambda images: images),
            ("colour match", ColourMatch.fit(*fitted)),
        ]
        name = direction.name.replace("_to_", " to ")
        for what, change in candidates:
            changed = torch.cat([change(part) for part in source.split(BATCH)])
            rows.append(Row(name, what, _mean(psnr, changed, truth), _mean(ssim, changed, truth)))
    title = f"Against the true counterparts: {len(pairs.x)} held-out pairs"
    return Figures(title, tuple(rows), pairs.broken)


def _translator(trainer: Trainer, index: int) -> Callable[[Tensor], Tensor]:
    direction = trainer.directions[index]

    def translate(images: Tensor) -> Tensor:
        with evaluating([direction.generator]), direction.autocast():
            made: Tensor = direction.generator(images.to(trainer.device, trainer.dtype))
        return made.float().cpu()

    return translate


def _mean(metric: Callable[[Tensor, Tensor], Tensor], images: Tensor, truth: Tensor) -> float:
    parts = zip(images.split(BATCH), truth.split(BATCH), strict=True)
    return torch.cat([metric(a, b) for a, b in parts]).mean().item()
