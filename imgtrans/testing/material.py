"""What checks and plugin tests work on: toy images, and translations of tensors."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from functools import cache
from pathlib import Path

import torch
from torch import Tensor, nn

from imgtrans.building import seeded
from imgtrans.evaluation import Translated
from imgtrans.translation import Direction, Translation


def toy_images(count: int = 2, size: tuple[int, int] = (64, 64), channels: int = 3) -> Tensor:
    """``count×channels×H×W`` float32 in [-1, 1]: the same random pixels at every call."""
    return _pixels((count, channels, *size), 0)


def three_unlike() -> Tensor:
    """``3×3×64×64`` in [-1, 1]: random pixels of full, half and a quarter of the contrast."""
    contrast, brightness = torch.tensor([[1.0, 0.5, 0.25], [0.0, 0.4, -0.6]]).view(2, 3, 1, 1, 1)
    images: Tensor = toy_images(3) * contrast + brightness
    return images


def _pixels(shape: tuple[int, ...], seed: int) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed)) * 2 - 1


@cache
def toy_folder() -> Path:
    """A folder with ``trainA``, ``trainB``, ``testA``, ``testB``: three PNGs of 48×40 in each.

    It lies in the system's temporary folder until the process ends.
    """
    from PIL import Image

    root = Path(tempfile.mkdtemp(prefix="imgtrans-toys-"))
    atexit.register(shutil.rmtree, root, ignore_errors=True)
    pixels = toy_images(12, (40, 48)).add(1).mul(127.5).byte().permute(0, 2, 3, 1).numpy()
    for number, picture in enumerate(pixels):
        folder = root / ("trainA", "trainB", "testA", "testB")[number // 3]
        folder.mkdir(exist_ok=True)
        Image.fromarray(picture).save(folder / f"{number}.png")
    return root


class _Tint(nn.Module):
    """The least generator there is: every channel scaled and shifted, then tanh."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.full((channels, 1, 1), 0.9))
        self.shift = nn.Parameter(torch.full((channels, 1, 1), 0.1))

    def forward(self, images: Tensor) -> Tensor:
        return torch.tanh(images * self.scale + self.shift)


class _Scales(nn.Module):
    """A small discriminator; with several scales it makes a tuple, as such ones do."""

    def __init__(self, channels: int, count: int) -> None:
        super().__init__()
        self.scales = nn.ModuleList(
            nn.Sequential(nn.Conv2d(channels, 4, 4, 2, 1), nn.Softplus(), nn.Conv2d(4, 1, 4, 2, 1))
            for _ in range(count)
        )

    def forward(self, images: Tensor) -> Tensor | tuple[Tensor, ...]:
        made = tuple(
            scale(nn.functional.avg_pool2d(images, 2**number))
            for number, scale in enumerate(self.scales)
        )
        return made if len(made) > 1 else made[0]


def translation_of(**images: Tensor) -> Translation:
    """A `Translation` of given images, to test a loss without a training.

    Args:
        images: any of source, target, fake, reconstructed, same, replayed, each ``N×C×H×W``. Source
            and target are toy images where they are left out, of the shape of those given; the
            others are made from them by networks of a few parameters.

    Raises:
        TypeError: a translation has no image of that name.
    """
    return scaled_translation(1, **images)


def scaled_translation(scales: int, **images: Tensor) -> Translation:
    """As `translation_of`, with a discriminator of so many scales."""
    names = ("source", "target", "fake", "reconstructed", "same", "replayed")
    for name in images:
        if name not in names:
            message = f"a translation has no image called {name!r} (it has {', '.join(names)})"
            raise TypeError(message)
    like = next(iter(images.values()), toy_images())
    shape, channels = tuple(like.shape), like.shape[1]
    source, target = (
        images.pop(name, _pixels(shape, seed).to(like))
        for seed, name in enumerate(("source", "target"), start=1)
    )
    with seeded("0"):
        there, back, judge = _Tint(channels), _Tint(channels), _Scales(channels, scales)
    direction = Direction("x_to_y", there.to(like), back.to(like), judge.to(like))
    translation = Translation(direction, source, target)
    translation.__dict__.update(images)
    return translation


def translated_of(**images: Tensor) -> Translated:
    """A `Translated` batch of given images, to test a metric without a model.

    Args:
        images: any of source, fake, truth, reconstructed, each ``N×C×H×W``. Source and truth are
            toy images where they are left out, of the shape of those given; the others are made
            from them by networks of a few parameters.

    Raises:
        TypeError: metrics see no image of that name.
    """
    names = ("source", "fake", "truth", "reconstructed")
    for name in images:
        if name not in names:
            message = f"metrics see no image called {name!r} (they see {', '.join(names)})"
            raise TypeError(message)
    like = next(iter(images.values()), toy_images())
    source, truth = (
        images.pop(name, _pixels(tuple(like.shape), seed).to(like))
        for seed, name in enumerate(("source", "truth"), start=1)
    )
    channels = like.shape[1]
    there, back = _Tint(channels).to(like), _Tint(channels).to(like)
    with torch.no_grad():
        fake = images.pop("fake") if "fake" in images else there(source)
    translated = Translated(source, fake, truth, Direction("x_to_y", there, back))
    translated.__dict__.update(images)
    return translated
