"""A trained file as image → image.

The file describes itself: the recipe it was trained with is inside, so nothing is repeated.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from imgtrans.building import build_generators
from imgtrans.checkpoint import Content, read, write
from imgtrans.data import to_range
from imgtrans.plugins import registry
from imgtrans.problems import ImgtransError
from imgtrans.recipe import other_versions
from imgtrans.recipe.reading import check
from imgtrans.training import evaluating

if TYPE_CHECKING:
    from collections.abc import Sequence

    from PIL.Image import Image

    from imgtrans.components import Component
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
        channels = self.recipe.dataset.channels
        if images.ndim != 4 or images.shape[1] != channels:
            message = f"images must be N×{channels}×H×W, not {'×'.join(map(str, images.shape))}"
            raise ImgtransError(message)
        multiple = self.recipe.generator.multiple
        if any(side % multiple for side in images.shape[-2:]):
            height, width = images.shape[-2:]
            message = f"height and width must be multiples of {multiple}, not {height} and {width}"
            raise ImgtransError(message)
        network = self._generators[direction]
        with evaluating([network]):
            translated: Tensor = network(images.to(self.device))
        return translated

    def __call__(self, image: Image, direction: str | None = None) -> Image:
        """Translate a picture: upright, over white where it is transparent, as in training.

        Its size is cut to the generator's multiple.

        Raises:
            ImgtransError: it is smaller than that multiple, or of a mode without set black and
                white, or the model has no such direction.
        """
        from torchvision.transforms.v2 import functional as transforms

        multiple, pixels = self.recipe.generator.multiple, self._pixels(image)
        height, width = (side // multiple * multiple for side in pixels.shape[-2:])
        if not (height and width):
            given, least = (f"{w}×{h}" for w, h in (image.size, (multiple, multiple)))
            message = f"the picture has {given} pixels; this model needs at least {least}"
            raise ImgtransError(message)
        scaled = to_range(pixels[None, :, :height, :width])
        translated = self.translate(scaled, direction)[0].cpu()
        result: Image = transforms.to_pil_image(((translated + 1) * 127.5).round().byte())
        return result

    def _pixels(self, image: Image) -> Tensor:
        """``C×H×W`` of a picture, uint8 or uint16, with the model's channels."""
        from PIL import Image as Images
        from PIL import ImageOps
        from torchvision.transforms.v2 import functional as transforms

        image = ImageOps.exif_transpose(image)
        channels = self.recipe.dataset.channels
        if image.mode.startswith("I;16"):
            deep = torch.from_numpy(np.array(image).astype(np.uint16))
            return deep.expand(channels, -1, -1)
        if image.mode in ("I", "F"):
            message = f"a picture of mode {image.mode} has no set black and white; convert it to L"
            raise ImgtransError(message)
        if image.has_transparency_data:
            image = image.convert("RGBA")
            image = Images.alpha_composite(Images.new("RGBA", image.size, "white"), image)
        plain: Tensor = transforms.pil_to_tensor(image.convert("RGB" if channels == 3 else "L"))
        return plain


def load_model(
    path: str | Path,
    device: str | torch.device = "cpu",
    plugins: Sequence[str | Path] = (),
    components: Sequence[type[Component]] = (),
) -> Translator:
    """A trained model from ``model.safetensors`` or the run folder that holds it.

    Args:
        path: the file or the folder.
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
    file = Path(path)
    file = file / MODEL if file.is_dir() else file
    if not file.is_file():
        message = f"there is no model at {file}; a finished or stopped run writes {MODEL}"
        raise ImgtransError(message)
    content = read(file)
    if content.about.get("kind") != "model":
        message = f"{file} is no model file; give the run folder or its {MODEL}"
        raise ImgtransError(message)
    recipe = check(content.about["recipe"], str(file))
    for line in other_versions(recipe):
        warnings.warn(line, stacklevel=2)
    return Translator(recipe, content, torch.device(device))
