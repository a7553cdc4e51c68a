"""The same held-out images through the newest model of every run."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import torch
from PIL import Image
from torchvision.transforms.v2 import functional as transforms
from torchvision.utils import make_grid

from imgtrans.inference import Translator, load_model
from imgtrans.monitor.pictures import packed
from imgtrans.monitor.samples import sample_images
from imgtrans.problems import ImgtransError, NoHeldOutError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from imgtrans.data import HeldOut
    from imgtrans.monitor.comparing.runs import Compared
    from imgtrans.monitor.pictures import Picture
    from imgtrans.recipe import Recipe

BYTES: Final = 400_000
"""Of one direction's grid; there are two."""


@dataclass(frozen=True)
class Column:
    """What stands above a column of a grid."""

    head: str
    below: str
    run: int | None
    """Which run's, or None for the images themselves."""


@dataclass(frozen=True)
class Grid:
    """A row for each image: the image itself, then what every run makes of it."""

    title: str
    columns: Sequence[Column]
    picture: Picture


@dataclass
class Through:
    """What became of the images, and what must be said of it."""

    grids: list[Grid] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def through_each(runs: Sequence[Compared]) -> Through:
    """Translate some held-out images of the first run, whose images are here, with every model.

    Nothing is downloaded, and a model that cannot be loaded is told in a note.
    """
    shown = Through()
    models = {index: model for index, run in enumerate(runs) if (model := _load(run, shown.notes))}
    found = _find(runs, models, shown.notes)
    if found is None:
        return shown
    images, owner = found
    _tell_unlike(runs, models, owner, shown.notes)
    for number, source in enumerate((images.x, images.y)):
        made = {
            index: _translated(model, model.directions[number], source)
            for index, model in models.items()
            if number < len(model.directions)
        }
        columns = [Column("source", models[owner].recipe.domains[number], None)]
        names = [models[index].directions[number].replace("_", " ") for index in made]
        for index, name in zip(made, names, strict=True):
            step = int(models[index].about.get("step", 0))
            below = [f"step {step:,}", *([name] if name != names[0] else [])]
            columns.append(Column(runs[index].label, ", ".join(below), index))
        picture = _grid([source, *made.values()])
        if made and picture is not None:
            shown.grids.append(Grid(names[0], columns, picture))
    return shown


def _load(run: Compared, notes: list[str]) -> Translator | None:
    try:
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            model = load_model(run.folder)
    except (ImgtransError, RuntimeError) as error:  # no model yet, no plugin, or another network
        notes.append(f"The model of {run.label} is not among the images: {error}")
        return None
    notes += [f"The model of {run.label}: {each.message}" for each in told]
    return model


def _find(
    runs: Sequence[Compared], models: dict[int, Translator], notes: list[str]
) -> tuple[HeldOut, int] | None:
    """Held-out images, and of which run they are."""
    reasons = []
    for index, model in models.items():
        try:
            images = _held_out(model.recipe, notes)
        except ImgtransError as error:
            reasons.append(f"The images of {runs[index].label} cannot be shown: {error}")
        else:
            if index != next(iter(models)):
                notes += reasons
            notes.append(f"The images are those of {runs[index].label}.")
            return images, index
    notes += reasons
    return None


def _held_out(recipe: Recipe, notes: list[str]) -> HeldOut:
    try:
        images = recipe.dataset.build("test", recipe.domains)
    except NoHeldOutError as error:
        notes.append(f"These are training images: {error}")
        images = recipe.dataset.build("train", recipe.domains)
    lenient = recipe.dataset.model_copy(update={"broken_images": "skip"})
    shown = sample_images(recipe.model_copy(update={"dataset": lenient}), images, notes.append)
    notes += [f"The next image is shown in place of one: {reason}" for reason in shown.broken]
    return shown


def _tell_unlike(
    runs: Sequence[Compared], models: dict[int, Translator], owner: int, notes: list[str]
) -> None:
    """Which models saw other images in training, or images of another size."""
    files = runs[owner].environment.get("fingerprint")
    others = [index for index in models if runs[index].environment.get("fingerprint") != files]
    if others:
        notes.append(f"Trained on other images: {_listed(runs, others)}.")
    size = models[owner].recipe.dataset.image_size
    sizes: dict[int, list[int]] = {}
    for index, model in models.items():
        sizes.setdefault(model.recipe.dataset.image_size, []).append(index)
    notes += [
        f"Trained on {own}×{own} pixels, so that the images were brought to that size, and the "
        f"translations back to {size}×{size}: {_listed(runs, indices)}."
        for own, indices in sizes.items()
        if own != size
    ]


def _listed(runs: Sequence[Compared], indices: Sequence[int]) -> str:
    return ", ".join(runs[index].label for index in indices)


def _translated(model: Translator, direction: str, images: Tensor) -> Tensor:
    """``N×C×H×W`` in [-1, 1] through a model at its own size and channels, and back."""
    size = [model.recipe.dataset.image_size] * 2
    made = model.translate(_channels(_resized(images, size), model.channels), direction)
    return _channels(_resized(made, list(images.shape[-2:])), images.shape[1])


def _resized(images: Tensor, size: list[int]) -> Tensor:
    if list(images.shape[-2:]) == size:
        return images
    resized: Tensor = transforms.resize(images, size, antialias=True)
    return resized.clamp(-1, 1)


def _channels(images: Tensor, channels: int) -> Tensor:
    if images.shape[1] == channels:
        return images
    if channels == 3:
        return images.expand(-1, 3, -1, -1)
    grey: Tensor = transforms.rgb_to_grayscale(images)
    return grey


def _grid(columns: Sequence[Tensor]) -> Picture | None:
    cells = torch.stack([each.float() for each in columns], dim=1).flatten(0, 1)
    cells = _channels(cells, 3)
    grid = make_grid((cells + 1) / 2, nrow=len(columns), padding=2, pad_value=1.0)
    pixels = (grid.clamp(0, 1) * 255).round().byte()
    return packed(Image.fromarray(pixels.permute(1, 2, 0).numpy()), BYTES)
