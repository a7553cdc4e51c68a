"""A trained file as image → image.

The file describes itself: the recipe it was trained with is inside, so nothing is repeated.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from imgtrans.building import build_generators
from imgtrans.checkpoint import Content, read, write
from imgtrans.plugins import registry
from imgtrans.problems import ImgtransError
from imgtrans.recipe.reading import check
from imgtrans.training import evaluating

if TYPE_CHECKING:
    from collections.abc import Sequence

    from PIL.Image import Image

    from imgtrans.recipe import Recipe
    from imgtrans.training import Trainer

MODEL: str = "model.safetensors"


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
        """Build the generators and fill them from a model file."""
        self.recipe = recipe
        self.about = content.about
        self.device = device
        self._generators = build_generators(recipe, device)
        for direction, network in self._generators.items():
            prefix = f"{direction}/"
            network.load_state_dict(
                {
                    key.removeprefix(prefix): value
                    for key, value in content.tensors.items()
                    if key.startswith(prefix)
                }
            )

    @property
    def directions(self) -> tuple[str, ...]:
        """Such as ``("summer_to_winter", "winter_to_summer")``."""
        return self.recipe.direction_names

    def translate(self, images: Tensor, direction: str | None = None) -> Tensor:
        """Translate ``N×C×H×W`` float images in [-1, 1]; H and W multiples of the generator's.

        Args:
            images: on any device.
            direction: one of ``directions``; default: the first.

        Raises:
            ImgtransError: the model has no such direction, or the size does not fit.
        """
        direction = direction or self.directions[0]
        if direction not in self._generators:
            message = f"there is no direction {direction}; this model has {self.directions}"
            raise ImgtransError(message)
        multiple = self.recipe.generator.multiple
        if any(side % multiple for side in images.shape[-2:]):
            message = f"height and width must be multiples of {multiple}, not {images.shape[-2:]}"
            raise ImgtransError(message)
        network = self._generators[direction]
        with evaluating([network]):
            translated: Tensor = network(images.to(self.device))
        return translated

    def __call__(self, image: Image, direction: str | None = None) -> Image:
        """Translate a picture; its size is cut to the generator's multiple."""
        from torchvision.transforms.v2 import functional as transforms

        multiple = self.recipe.generator.multiple
        mode = "RGB" if self.recipe.dataset.channels == 3 else "L"
        width, height = (side // multiple * multiple for side in image.size)
        pixels = transforms.pil_to_tensor(image.convert(mode).crop((0, 0, width, height)))
        translated = self.translate(pixels[None].float() / 127.5 - 1, direction)[0].cpu()
        result: Image = transforms.to_pil_image(((translated + 1) * 127.5).round().byte())
        return result


def load_model(
    path: str | Path, device: str | torch.device = "cpu", plugins: Sequence[str | Path] = ()
) -> Translator:
    """A trained model from ``model.safetensors`` or the run folder that holds it.

    Args:
        path: the file or the folder.
        device: where it translates.
        plugins: the Python files that the run was given with ``--plugin``.

    Raises:
        ImgtransError: there is no such file, it is damaged, or a plugin it needs is missing.
    """
    for each in plugins:
        registry().add_file(Path(each))
    file = Path(path)
    file = file / MODEL if file.is_dir() else file
    if not file.is_file():
        message = f"there is no model at {file}; a finished or stopped run writes {MODEL}"
        raise ImgtransError(message)
    content = read(file)
    if content.about.get("kind") != "model":
        message = f"{file} is no model file; give the run folder or its {MODEL}"
        raise ImgtransError(message)
    return Translator(check(content.about["recipe"], str(file)), content, torch.device(device))
