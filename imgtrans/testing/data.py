"""What datasets promise: lists of images that stay as they are."""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING, Any, Final

import torch
from pydantic import ValidationError
from torch import Tensor

from imgtrans.components import Dataset, Images
from imgtrans.problems import ImgtransError, NoHeldOutError
from imgtrans.testing.errors import CheckError, attempt
from imgtrans.testing.examples import example

if TYPE_CHECKING:
    from collections.abc import Iterator

    from imgtrans.components import Component, ImageList, Split

DOMAINS: Final = ("x", "y")
FEW: Final = 3
"""So many images of each list are looked at, and the last one."""


_LIST: Final = "an image list has __len__, __getitem__ and name(index), which returns a text"


def _example(component: type[Component]) -> Dataset:
    made = example(component)
    assert isinstance(made, Dataset)  # noqa: S101 - these checks are for datasets
    return made


def _splits(made: Dataset) -> Iterator[tuple[Split, Images]]:
    """What the dataset has to train on, and what it holds out if it does."""
    name = type(made).__name__
    change = (
        "where the check has no images for it, give the test a dataset that finds some: "
        f"parametrize_with_checks(…, examples=[{name}(…)])"
    )
    with attempt(f"{name}.prepare", change):
        prepared: Any = made.prepare(DOMAINS, lambda _: None)
    if not isinstance(prepared, type(made)):
        message = f"{name}.prepare returns {prepared!r}; it must return the dataset, such as self"
        raise CheckError(message)
    splits: tuple[Split, ...] = ("train", "test")
    for split in splits:
        try:
            with attempt(f'{name}.build("{split}", …)', change):
                built: Any = prepared.build(split, DOMAINS)
        except CheckError as error:
            if split == "test" and isinstance(error.__cause__, NoHeldOutError):
                return
            raise
        if not isinstance(built, Images):
            message = f"{name}.build returns {built!r}; it must return Images(x, y)"
            raise CheckError(message)
        yield split, built


def _lists(made: Dataset) -> Iterator[tuple[str, ImageList]]:
    for split, images in _splits(made):
        yield f"{split} images of x", images.x
        yield f"{split} images of y", images.y


def _count(component: type[Component], where: str, images: ImageList) -> int:
    with attempt(f"{component.__name__}: counting the {where}", _LIST):
        return len(images)


def _looked_at(component: type[Component], where: str, images: ImageList) -> list[int]:
    count = _count(component, where, images)
    return sorted({*range(min(FEW, count)), count - 1} - {-1})


def _read(component: type[Component], where: str, images: ImageList, index: int) -> Tensor:
    what = f"{component.__name__}: reading number {index} of the {where}"
    change = f"it says to have {len(images)}, and each of them must be there to be read"
    with attempt(what, change):
        image: Any = images[index]
    if not isinstance(image, Tensor):
        message = (
            f"{component.__name__}: number {index} of the {where} is a {type(image).__name__}; it "
            "must be a tensor, C×H×W"
        )
        raise CheckError(message)
    return image


def has_images_to_the_end(component: type[Component]) -> None:
    """``len`` is how many there are: they can be read, and each has a name of its own."""
    for where, images in _lists(_example(component)):
        count = _count(component, where, images)
        with attempt(f"{component.__name__}: naming the {where}", _LIST):
            names = {images.name(index) for index in range(count)}
        if count == 0 or len(names) < count:
            what = "are none" if count == 0 else f"have {len(names)} names for {count} images"
            message = f"{component.__name__}: the {where} {what}; each image needs its own name"
            raise CheckError(message)
        wrong = next((name for name in names if not isinstance(name, str)), None)
        if wrong is not None:
            message = f"{component.__name__}: {wrong!r} names one of the {where}; {_LIST}"
            raise CheckError(message)
        for index in _looked_at(component, where, images):
            _read(component, where, images, index)


def makes_images(component: type[Component]) -> None:
    """``C×H×W`` with the dataset's channels; uint8, uint16, or float in [0, 1]."""
    made = _example(component)
    _require_images(component, made)
    try:
        other = component.model_validate({**dict(made), "channels": 4 - made.channels})
        assert isinstance(other, Dataset)  # noqa: S101 - narrows the type
        list(_splits(other))
    except ValidationError:
        return  # a dataset may have one number of channels only, and say so
    except CheckError as error:
        if isinstance(error.__cause__, ImgtransError):
            return
        raise
    _require_images(component, other)


def _require_images(component: type[Component], made: Dataset) -> None:
    for where, images in _lists(made):
        for index in _looked_at(component, where, images):
            found = _wrong(_read(component, where, images, index), made.channels)
            if found:
                message = (
                    f"{component.__name__}: with channels = {made.channels}, number {index} of the "
                    f"{where} is {found}; it must be a {made.channels}×H×W tensor of uint8, of "
                    "uint16, or of float in [0, 1]"
                )
                raise CheckError(message)


def _wrong(image: Tensor, channels: int) -> str:
    if image.ndim != 3 or image.shape[0] != channels or not image.numel():
        return f"of shape {tuple(image.shape)}"
    if image.dtype in (torch.uint8, torch.uint16):
        return ""
    if not image.is_floating_point():
        return f"of {image.dtype}"
    if not image.isfinite().all():
        return "not finite everywhere"
    low, high = image.min().item(), image.max().item()
    return "" if 0.0 <= low <= high <= 1.0 else f"from {low:.3g} to {high:.3g}"


def _same(one: Tensor, other: Tensor) -> bool:
    return one.dtype == other.dtype and torch.equal(one, other)


def reads_the_same_again(component: type[Component]) -> None:
    """Crops, flips and noise belong to the core, which draws them from seed and step."""
    first, again = (list(_lists(_example(component))) for _ in range(2))
    for (where, images), (_, others) in zip(first, again, strict=True):
        counts = [_count(component, where, each) for each in (images, others)]
        if counts[0] != counts[1]:
            message = (
                f"{component.__name__}: the {where} are {counts[0]}, and {counts[1]} when they are "
                "built again; let the fields alone decide which there are"
            )
            raise CheckError(message)
        for index in _looked_at(component, where, images):
            image = _read(component, where, images, index)
            for source in (images, others):
                if not _same(image, _read(component, where, source, index)):
                    message = (
                        f"{component.__name__}: number {index} of the {where} is another image "
                        "when it is read again; draw nothing at random, or from the index alone"
                    )
                    raise CheckError(message)


def pairs_are_pairs(component: type[Component]) -> None:
    """Where ``paired`` is set, ``x[i]`` and ``y[i]`` are one scene."""
    for split, images in _splits(_example(component)):
        if not images.paired:
            continue
        sides = ((f"{split} images of x", images.x), (f"{split} images of y", images.y))
        lengths = [_count(component, *side) for side in sides]
        if lengths[0] != lengths[1]:
            message = (
                f"{component.__name__}: paired {split} images are {lengths[0]} of x and "
                f"{lengths[1]} of y; leave out what has no counterpart"
            )
            raise CheckError(message)
        for index in _looked_at(component, *sides[0]):
            read = [_read(component, where, side, index) for where, side in sides]
            sizes = [tuple(image.shape[1:]) for image in read]
            if sizes[0] != sizes[1]:
                message = (
                    f"{component.__name__}: pair {index} of the {split} images is {sizes[0]} and "
                    f"{sizes[1]} pixels; one crop must fit both"
                )
                raise CheckError(message)


def is_read_by_other_processes(component: type[Component]) -> None:
    """Where processes read images, systems but Linux pickle the lists."""
    for where, images in _lists(_example(component)):
        change = "let its class be at a module's top level, without open files or lambdas in it"
        with attempt(f"{component.__name__}: pickling the {where}", change):
            again = pickle.loads(pickle.dumps(images))  # noqa: S301 - what was pickled right here
        for index in _looked_at(component, where, images)[:1]:
            read = [_read(component, where, each, index) for each in (images, again)]
            if not _same(*read):
                message = (
                    f"{component.__name__}: number {index} of the {where} is another image once "
                    "they are pickled; keep in the list all that decides what it shows"
                )
                raise CheckError(message)


CHECKS: Final = (
    has_images_to_the_end,
    makes_images,
    reads_the_same_again,
    pairs_are_pairs,
    is_read_by_other_processes,
)
