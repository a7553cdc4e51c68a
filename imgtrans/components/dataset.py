"""Datasets: which images there are; the core says which image is seen when."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol, runtime_checkable

from pydantic import Field, PositiveInt, ValidationInfo, field_validator

from imgtrans.components.base import FIXED, Component

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

Split = Literal["train", "test"]


class ImageList(Protocol):
    """Images of one domain, in a fixed order, read when asked for."""

    def __len__(self) -> int:
        """How many there are."""
        ...

    def __getitem__(self, index: int, /) -> Tensor:
        """``C×H×W`` at native size; uint8, uint16, or float in [0, 1].

        Raises:
            ImgtransError: the image cannot be read; the text names it.
        """
        ...

    def name(self, index: int, /) -> str:
        """What messages, reports and the fingerprint call this image."""
        ...


@runtime_checkable
class StampedImages(ImageList, Protocol):
    """Images that can be told to be what they were, so that runs keep them for the next one."""

    def stamp(self, index: int, /) -> str:
        """Changes whenever the image may have; found without reading it.

        Nothing else but the dataset's fields, the image's name and the code of the list's module
        may decide what it shows.
        """
        ...


@dataclass(frozen=True)
class Images:
    """The two domains of one split."""

    x: ImageList
    y: ImageList
    paired: bool = False
    """Whether ``x[i]`` and ``y[i]`` show the same scene (then both have one length)."""


class Dataset(Component):
    """Says *what images there are*; which one is seen when is the core's business."""

    image_size: PositiveInt = Field(
        default=128,
        description="height and width of the squares that the networks see, in pixels",
        json_schema_extra=FIXED,
    )
    load_size: PositiveInt | None = Field(
        default=None,
        description="the shorter side is resized to this (bicubic) before a random crop; default: "
        "to image_size (bilinear)",
        json_schema_extra=FIXED,
    )
    flip: bool = Field(
        default=False,
        description="mirror half of the training images left to right",
        json_schema_extra=FIXED,
    )
    channels: Literal[1, 3] = Field(
        default=3, description="1 for greyscale, 3 for colour", json_schema_extra=FIXED
    )
    broken_images: Literal["stop", "skip"] = Field(
        default="stop",
        description='an image that cannot be read ends the run ("stop") or is left out ("skip")',
        json_schema_extra=FIXED,
    )

    @field_validator("load_size")
    @classmethod
    def _large_enough(cls, load_size: int | None, info: ValidationInfo) -> int | None:
        image_size = info.data.get("image_size")
        if load_size is not None and image_size is not None and load_size < image_size:
            message = f"must be at least image_size ({image_size}), which is cropped from it"
            raise ValueError(message)
        return load_size

    @property
    def loaded(self) -> int:
        """Pixels of the shorter side once resized, before cropping."""
        return self.load_size or self.image_size

    def prepare(self, domains: tuple[str, str], say: Callable[[str], None]) -> Dataset:
        """Find or fetch the images; returns this dataset with every path absolute.

        Args:
            domains: the recipe's names of x and y.
            say: shows one line to the user, such as what is being downloaded.

        Raises:
            DataNotFoundError: the images are not here and cannot be fetched.
        """
        del domains, say
        return self

    @abstractmethod
    def build(self, split: Split, domains: tuple[str, str]) -> Images:
        """The images of one split; ``domains`` are the recipe's names of x and y.

        Raises:
            DataNotFoundError: the images are not here.
            ImgtransError: they cannot be used; the text says why and what to do.
        """
