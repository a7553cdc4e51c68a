"""What checks and plugin tests work on: example components, toy images, translations of tensors."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from imgtrans.building import seeded
from imgtrans.components import Component, Dataset, kind_noun
from imgtrans.translation import Direction, Translation


class CheckError(AssertionError):
    """A component breaks a promise of its kind; the text says what its author must change."""


def example(component: type[Component]) -> Component:
    """The component as its defaults make it, or its first declared example.

    Examples are tables in ``model_config = ConfigDict(json_schema_extra={"examples": [{…}]})``. A
    dataset with a required ``root`` is given a folder of toy images (see `toy_folder`).

    Raises:
        CheckError: a field has no default, and no example is declared.
    """
    extra = component.model_config.get("json_schema_extra")
    examples: Any = extra.get("examples") if isinstance(extra, dict) else None
    if examples:
        return component.model_validate(examples[0])
    required = [name for name, field in component.model_fields.items() if field.is_required()]
    given: dict[str, Any] = {}
    if required == ["root"] and issubclass(component, Dataset):
        given = {"root": str(toy_folder()), "image_size": 32}
    elif required:
        message = (
            f"the {kind_noun(component)} {component.__name__} cannot be made for a check: give "
            f"{', '.join(required)} a default, or declare an example: model_config = "
            'ConfigDict(json_schema_extra={"examples": [{…}]})'
        )
        raise CheckError(message)
    return component.model_validate(given)


def toy_images(count: int = 2, size: tuple[int, int] = (64, 64), channels: int = 3) -> Tensor:
    """``count×channels×H×W`` float32 in [-1, 1]: the same random pixels at every call."""
    generator = torch.Generator().manual_seed(0)
    return torch.rand((count, channels, *size), generator=generator) * 2 - 1


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


def translation_of(**images: Tensor) -> Translation:
    """A `Translation` of given images, to test a loss without a training.

    Args:
        images: any of source, target, fake, reconstructed, same, replayed, each ``N×C×H×W``; source
            and target are toy images where they are left out, and the others are made from them by
            networks of a few parameters.

    Raises:
        TypeError: a translation has no image of that name.
    """
    source = images.pop("source", toy_images())
    target = images.pop("target", source.flip(0))
    channels = source.shape[1]
    with seeded("0"):
        discriminator = nn.Sequential(
            nn.Conv2d(channels, 4, 4, 2, 1), nn.Softplus(), nn.Conv2d(4, 1, 4, 2, 1)
        )
    direction = Direction("x_to_y", _Tint(channels), _Tint(channels), discriminator)
    translation = Translation(direction, source, target)
    for name, image in images.items():
        if name not in ("fake", "reconstructed", "same", "replayed"):
            message = f"a translation has no image called {name!r}"
            raise TypeError(message)
        translation.__dict__[name] = image
    return translation
