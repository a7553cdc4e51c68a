"""What datasets promise: lists of images that stay as they are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import torch
from torch import Tensor

from imgtrans.components import Dataset
from imgtrans.problems import NoHeldOutError
from imgtrans.testing.material import CheckError, example

if TYPE_CHECKING:
    from collections.abc import Iterator

    from imgtrans.components import Component, ImageList, Images, Split

DOMAINS: Final = ("x", "y")
FEW: Final = 3
"""So many images of each list are looked at."""


def _splits(component: type[Component]) -> Iterator[tuple[Split, Images]]:
    """What the dataset has to train on, and what it holds out if it does."""
    made = example(component)
    assert isinstance(made, Dataset)  # noqa: S101 - these checks are for datasets
    prepared = made.prepare(DOMAINS, lambda _: None)
    yield "train", prepared.build("train", DOMAINS)
    try:
        yield "test", prepared.build("test", DOMAINS)
    except NoHeldOutError:
        return


def _lists(component: type[Component]) -> Iterator[tuple[str, ImageList]]:
    for split, images in _splits(component):
        yield f"{split} images of x", images.x
        yield f"{split} images of y", images.y


def has_images_to_the_end(component: type[Component]) -> None:
    """``len`` is how many there are: the last can be read, and each has a name of its own."""
    for where, images in _lists(component):
        count = len(images)
        names = {images.name(index) for index in range(count)}
        if count == 0 or len(names) < count:
            what = "are none" if count == 0 else f"have {len(names)} names for {count} images"
            message = f"{component.__name__}: the {where} {what}; each image needs its own name"
            raise CheckError(message)
        try:
            images[count - 1]
        except Exception as error:
            message = (
                f"{component.__name__}: of {count} {where} the last cannot be read "
                f"({type(error).__name__}: {error}); `__len__` must count those that can"
            )
            raise CheckError(message) from error


def makes_images(component: type[Component]) -> None:
    """``C×H×W`` with the dataset's channels; uint8, uint16, or float in [0, 1]."""
    channels = example(component).channels  # type: ignore[attr-defined]
    for where, images in _lists(component):
        for index in range(min(FEW, len(images))):
            found = _wrong(images[index], channels)
            if found:
                message = (
                    f"{component.__name__}: number {index} of the {where} is {found}; it must be "
                    f"a {channels}×H×W tensor of uint8, of uint16, or of float in [0, 1]"
                )
                raise CheckError(message)


def _wrong(image: object, channels: int) -> str:
    if not isinstance(image, Tensor):
        return f"a {type(image).__name__}"
    if image.ndim != 3 or image.shape[0] != channels:
        return f"of shape {tuple(image.shape)}"
    if image.dtype in (torch.uint8, torch.uint16):
        return ""
    if not image.is_floating_point():
        return f"of {image.dtype}"
    low, high = image.min().item(), image.max().item()
    return "" if 0.0 <= low <= high <= 1.0 else f"from {low:.3g} to {high:.3g}"


def reads_the_same_again(component: type[Component]) -> None:
    """Crops, flips and noise belong to the core, which draws them from seed and step."""
    first, again = (list(_lists(component)) for _ in range(2))
    for (where, images), (_, others) in zip(first, again, strict=True):
        for index in range(min(FEW, len(images))):
            read = (images[index], images[index], others[index])
            if not all(torch.equal(read[0], image) for image in read[1:]):
                message = (
                    f"{component.__name__}: number {index} of the {where} is another image when it "
                    "is read again; draw nothing at random, or from the index alone"
                )
                raise CheckError(message)


def pairs_are_pairs(component: type[Component]) -> None:
    """Where ``paired`` is set, ``x[i]`` and ``y[i]`` are one scene."""
    for split, images in _splits(component):
        if not images.paired:
            continue
        lengths = (len(images.x), len(images.y))
        if lengths[0] != lengths[1]:
            message = (
                f"{component.__name__}: paired {split} images are {lengths[0]} of x and "
                f"{lengths[1]} of y; leave out what has no counterpart"
            )
            raise CheckError(message)
        for index in range(min(FEW, lengths[0])):
            sizes = [tuple(side[index].shape[1:]) for side in (images.x, images.y)]
            if sizes[0] != sizes[1]:
                message = (
                    f"{component.__name__}: pair {index} of the {split} images is {sizes[0]} and "
                    f"{sizes[1]} pixels; one crop must fit both"
                )
                raise CheckError(message)


CHECKS: Final = (has_images_to_the_end, makes_images, reads_the_same_again, pairs_are_pairs)
