"""A trained file as image → image.

The file describes itself: the recipe it was trained with is inside, so nothing is repeated.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from imgtrans.building import build_generators
from imgtrans.checkpoint import Content, below, found, name_of, read, write
from imgtrans.data import to_range
from imgtrans.plugins import registry
from imgtrans.problems import ImgtransError
from imgtrans.recipe import other_versions
from imgtrans.recipe.reading import check
from imgtrans.translation import Direction

if TYPE_CHECKING:
    from collections.abc import Sequence

    from imgtrans.components import Component
    from imgtrans.recipe import Recipe
    from imgtrans.training import Trainer

MODEL: str = "model.safetensors"
LEAST: int = 8


def save_model(path: Path, trainer: Trainer, recipe: Recipe, about: dict[str, Any]) -> None:
    """Write the generators and what is needed to use them, and nothing else.

    Raises:
        OSError: the file could not be written.
    """
    tensors = {
        f"{name.removeprefix('generators.')}/{key}": value
        for name, network in trainer.networks.items()
        if name.startswith("generators.")
        for key, value in network.state_dict().items()
    }
    write(path, tensors, {"kind": "model", "recipe": recipe.tables(), **about})


class Translator:
    """Trained generators, ready to translate."""

    def __init__(self, recipe: Recipe, content: Content, device: torch.device) -> None:
        """Build the generators and fill them from a model file or a checkpoint."""
        self.recipe = recipe
        self.about = content.about
        self.device = device
        self._generators = build_generators(recipe, device)
        checkpoint = content.about.get("kind") == "checkpoint"
        for direction, network in self._generators.items():
            prefix = f"networks/generators.{direction}/" if checkpoint else f"{direction}/"
            network.load_state_dict(below(content.tensors, prefix))
            network.to(device).eval().requires_grad_(requires_grad=False)

    @property
    def directions(self) -> tuple[str, ...]:
        """Such as ``("summer_to_winter", "winter_to_summer")``."""
        return self.recipe.direction_names

    @property
    def channels(self) -> int:
        """1 for grey pictures, 3 for colour."""
        return self.recipe.dataset.channels

    @property
    def multiple(self) -> int:
        """The networks see sides of so many pixels, or multiples of it."""
        return self.recipe.generator.multiple

    def direction(self, asked: str | None) -> str:
        """The direction that somebody means: by its name, or as ``x-to-y`` or ``y-to-x``.

        Args:
            asked: with ``-`` or ``_``; default: the first.

        Raises:
            ImgtransError: the model has no such direction.
        """
        wanted = (asked or self.directions[0]).replace("-", "_").casefold()
        by_letter = dict(zip(("x_to_y", "y_to_x"), self.directions, strict=False))
        plain = {each.replace("-", "_").casefold(): each for each in self.directions}
        found = plain.get(wanted) or by_letter.get(wanted)
        if found is None:
            there = " and ".join(self.directions)
            letters = ", ".join(each.replace("_", "-") for each in by_letter)
            message = f"there is no direction {asked}; this model has {there} (or {letters})"
            raise ImgtransError(message)
        return found

    def network(self, direction: str | None = None) -> nn.Module:
        """The generator of a direction, in evaluation mode."""
        return self._generators[self.direction(direction)]

    def as_directions(self) -> list[Direction]:
        """The generators, each with the one that leads back."""
        networks = [self._generators[name] for name in self.directions]
        backs = networks[::-1] if len(networks) == 2 else [None]
        return [Direction(*each) for each in zip(self.directions, networks, backs, strict=True)]

    def translate(self, images: Tensor, direction: str | None = None) -> Tensor:
        """Translate ``N×C×H×W`` float images in [-1, 1] of any size, on any device.

        Sides are padded by reflection to the generator's multiple, and cut back.

        Raises:
            ImgtransError: the model has no such direction, or other channels.
        """
        network = self.network(direction)
        if images.ndim != 4 or images.shape[1] != self.channels or not images.numel():
            shape = "×".join(map(str, images.shape))
            message = f"images must be N×{self.channels}×H×W, not {shape}"
            raise ImgtransError(message)
        height, width = images.shape[-2:]
        with torch.inference_mode():
            translated: Tensor = network(padded(images.to(self.device), self.multiple))
        return translated[..., :height, :width].clone()

    def __call__(self, image: Any, direction: str | None = None) -> Any:
        """Translate one picture: PIL, numpy or tensor in, the same kind, size and depth out.

        A PIL image is turned upright; what is transparent is seen over white, as in training, and
        is transparent in the result. PIL has no 16-bit colour, so that becomes 8-bit. The image is
        translated whole, however large; ``imgtrans translate`` uses tiles.

        Args:
            image: a PIL image; an array ``H×W`` or ``H×W×C``; or a tensor ``C×H×W``. Arrays and
                tensors are uint8, uint16 or float in [0, 1].
            direction: one of ``directions``; default: the first.

        Raises:
            ImgtransError: it is no such picture, or the model has no such direction.
        """
        from imgtrans.pictures.values import pixels_of

        pixels, back = pixels_of(image, self.channels)
        return back(self.translate(to_range(pixels[None]), direction)[0])


def padded(images: Tensor, multiple: int) -> Tensor:
    """``N×C×H×W`` with sides of whole multiples: mirrored at the right and at the bottom.

    Of a picture that is smaller than what it needs, it is mirrored to and fro.
    """
    for dimension in (-1, -2):
        length = images.shape[dimension]
        whole = padded_side(length, multiple)
        if whole > length:
            to_and_fro = [*range(length), *range(length - 2, 0, -1)]
            at = [to_and_fro[place % len(to_and_fro)] for place in range(whole)]
            images = images.index_select(dimension, torch.tensor(at, device=images.device))
    return images


def padded_side(length: int, multiple: int) -> int:
    """The side that a network sees of a picture's.

    It has `LEAST` pixels at least: networks that mirror what leaves them need some to mirror.
    """
    return -(-max(length, LEAST) // multiple) * multiple


def load_model(
    path: str | Path,
    device: str | torch.device = "cpu",
    plugins: Sequence[str | Path] = (),
    components: Sequence[type[Component]] = (),
) -> Translator:
    """A trained model from a run folder, a checkpoint or a ``model.safetensors``.

    Args:
        path: the file or the folder; of a run that was killed the newest checkpoint is taken.
        device: where it translates.
        plugins: the Python files that the run was given with ``--plugin``.
        components: classes of one's own program that the recipe was made with.

    Warns:
        UserWarning: a plugin is here in another version than at training.

    Raises:
        ImgtransError: there is no such file, it is damaged, or a plugin it needs is missing.
    """
    for each in plugins:
        registry().add_file(Path(each))
    for component in components:
        registry().remember(component)
    file, content = _read(Path(path))
    if content.about.get("kind") not in ("model", "checkpoint"):
        message = f"{file} is no model and no checkpoint; give a run folder or its {MODEL}"
        raise ImgtransError(message)
    recipe = check(content.about["recipe"], str(file))
    for line in other_versions(recipe):
        warnings.warn(line, stacklevel=2)
    return Translator(recipe, content, torch.device(device))


def _read(path: Path) -> tuple[Path, Content]:
    """The file itself; of a run its model, or its newest checkpoint where that is newer."""
    checkpoints: list[Path] = []
    file = path
    if path.is_dir():
        checkpoints, file = found(path / "checkpoints"), path / MODEL
    if not file.is_file() and not checkpoints:
        message = f"there is no model at {file}; a run writes it when it is done or stopped"
        raise ImgtransError(message)
    content = read(file) if file.is_file() else None
    step = int(content.about.get("step", 0)) if content is not None else 0
    if content is None or (checkpoints and checkpoints[0].name > name_of(step)):
        return checkpoints[0], read(checkpoints[0])
    return file, content
