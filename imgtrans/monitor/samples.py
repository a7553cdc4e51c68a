"""Sample grids: the same held-out images through the generators, again and again as they learn."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import torch
from PIL import Image
from torchvision.utils import make_grid

from imgtrans.checkpoint import write_bytes
from imgtrans.data import held_out, open_store
from imgtrans.training import evaluating

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from torch import Tensor

    from imgtrans.components import Images
    from imgtrans.data import HeldOut
    from imgtrans.recipe import Recipe
    from imgtrans.training import Trainer


SAMPLES = 8
"""Rows of a grid."""


def sample_images(recipe: Recipe, test: Images, warn: Callable[[str], None]) -> HeldOut:
    """The images of the grids: the same for the whole run.

    Args:
        recipe: of the run.
        test: its held-out images.
        warn: told if they were kept in a file that is damaged.

    Raises:
        ImgtransError: an image is broken, and the recipe does not leave such images out.
    """
    stores = tuple(open_store(each, recipe.dataset, warn=warn) for each in (test.x, test.y))
    return held_out(stores, SAMPLES, recipe.dataset.image_size)


def write_samples(folder: Path, trainer: Trainer, x: Tensor, y: Tensor) -> None:
    """Write ``step-NNNNNNNN-DIRECTION.png``: a row per image; source, fake, reconstructed.

    Args:
        folder: of the sample grids.
        trainer: its generators translate in evaluation mode; its step names the files.
        x: ``N×C×H×W`` in [-1, 1], held-out images of the first domain.
        y: the same of the second.

    Raises:
        OSError: a file could not be written.
    """
    for index, direction in enumerate(trainer.directions):
        source = (x, y)[index].to(trainer.device, trainer.dtype)
        networks = [net for net in (direction.generator, direction.back) if net is not None]
        columns = [source]
        with evaluating(networks), direction.autocast():
            for network in networks:
                columns.append(network(columns[-1]))
        cells = torch.stack([column.float().cpu() for column in columns], dim=1).flatten(0, 1)
        grid = make_grid((cells + 1) / 2, nrow=len(columns), padding=2, pad_value=1.0)
        name = f"step-{trainer.step:08d}-{direction.name.replace('_', '-')}.png"
        write_bytes(folder / name, png(grid))


def png(image: Tensor) -> bytes:
    """A PNG of ``C×H×W`` in [0, 1]; what is not a number is black."""
    pixels = (image.nan_to_num().clamp(0, 1) * 255).round().byte()
    file = io.BytesIO()
    Image.fromarray(pixels.permute(1, 2, 0).numpy()).save(file, "PNG")
    return file.getvalue()
