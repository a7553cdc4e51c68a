"""A trained file as image → image.

The file describes itself: the recipe it was trained with is inside, so nothing is repeated.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import torch
from torch import Tensor, nn

from imgtrans.building import build_generators
from imgtrans.checkpoint import Content, found, read, step_of, write
from imgtrans.data import to_range
from imgtrans.fusing import Mixed, fused
from imgtrans.padding import padded_side, through
from imgtrans.plugins import registry
from imgtrans.problems import ImgtransError
from imgtrans.recipe import other_versions
from imgtrans.recipe.reading import check
from imgtrans.state import below, differing_names
from imgtrans.translation import Direction

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from imgtrans.components import Component
    from imgtrans.recipe import Recipe
    from imgtrans.training import Trainer

Precision = Literal["auto", "float32", "bfloat16"]

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

    def __init__(
        self,
        recipe: Recipe,
        content: Content,
        device: torch.device,
        precision: Precision = "auto",
    ) -> None:
        """Build the generators and fill them from a model file or a checkpoint."""
        self.recipe = recipe
        self.about = content.about
        self.device = device
        self.precision = precision
        self._runners: dict[tuple[str, bool], nn.Module] = {}
        checkpoint = content.about.get("kind") == "checkpoint"
        prefix = "networks/generators." if checkpoint else ""
        weights = {
            direction: below(content.tensors, f"{prefix}{direction}/")
            for direction in recipe.direction_names
        }
        _refuse_misfits(recipe, weights)
        self._generators = build_generators(recipe, device)
        for direction, network in self._generators.items():
            network.load_state_dict(weights[direction])
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
        """The generator of a direction as it was trained, in evaluation mode."""
        return self._generators[self.direction(direction)]

    def runner(self, direction: str | None = None, *, deep: bool = True) -> nn.Module:
        """The generator of a direction as it translates: in fewer steps, for the same result.

        Args:
            direction: one of ``directions``; default: the first.
            deep: for pictures of more than 8 bits, which bfloat16 would take to fewer.
        """
        name, mixed = self.direction(direction), self._mixes(deep=deep)
        if (name, False) not in self._runners:
            side = padded_side(64, self.multiple)
            noise = torch.rand(
                1, self.channels, side, side, generator=torch.Generator().manual_seed(0)
            )
            self._runners[name, False] = fused(self.network(name), to_range(noise).to(self.device))
        if (name, mixed) not in self._runners:
            self._runners[name, True] = Mixed(self._runners[name, False]).eval()
        return self._runners[name, mixed]

    def _mixes(self, *, deep: bool) -> bool:
        if self.precision != "auto":
            return self.precision == "bfloat16"
        able = self.device.type == "cuda" and torch.cuda.is_bf16_supported(
            including_emulation=False
        )
        return able and not deep

    def as_directions(self) -> list[Direction]:
        """The generators, each with the one that leads back."""
        networks = [self._generators[name] for name in self.directions]
        backs = networks[::-1] if len(networks) == 2 else [None]
        return [Direction(*each) for each in zip(self.directions, networks, backs, strict=True)]

    def translate(self, images: Tensor, direction: str | None = None) -> Tensor:
        """Translate images of any size, on any device, into float images in [-1, 1].

        Sides are padded by reflection to the generator's multiple, and cut back.

        Args:
            images: ``N×C×H×W``: float in [-1, 1], or uint8 or uint16 levels.
            direction: one of ``directions``; default: the first.

        Raises:
            ImgtransError: the model has no such direction, or other channels.
        """
        network = self.runner(direction, deep=images.dtype != torch.uint8)
        if images.ndim != 4 or images.shape[1] != self.channels or not images.numel():
            shape = "×".join(map(str, images.shape))
            message = f"images must be N×{self.channels}×H×W, not {shape}"
            raise ImgtransError(message)
        seen = images.to(self.device)
        return through(network, seen if seen.is_floating_point() else to_range(seen), self.multiple)

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
        images = pixels[None]
        images = to_range(images) if images.is_floating_point() else images
        return back(self.translate(images, direction)[0])


def _refuse_misfits(recipe: Recipe, weights: Mapping[str, Mapping[str, Tensor]]) -> None:
    """Raise where weights are not those of the recipe's generators, which need no memory for it."""
    for direction, network in build_generators(recipe, torch.device("meta")).items():
        expected = {name: each.shape for name, each in network.state_dict().items()}
        there = {name: each.shape for name, each in weights[direction].items()}
        if differing := differing_names(expected, there):
            message = (
                f"the weights of {direction} are not those of the file's own recipe: "
                f"{len(differing)} tensors differ, the first is {differing[0]}\n"
                "  a plugin may have changed since"
            )
            raise ImgtransError(message)


def load_model(
    path: str | Path,
    device: str | torch.device = "cpu",
    plugins: Sequence[str | Path] = (),
    components: Sequence[type[Component]] = (),
    precision: Precision = "auto",
) -> Translator:
    """A trained model from a run folder, a checkpoint or a ``model.safetensors``.

    Args:
        path: the file or the folder; of a run that was killed the newest checkpoint is taken.
        device: where it translates.
        plugins: the Python files that the run was given with ``--plugin``.
        components: classes of one's own program that the recipe was made with.
        precision: ``float32``; ``bfloat16``, which is faster on a GPU and changes pictures by some
            levels of 255; or ``auto``: bfloat16 for 8-bit pictures on a GPU that has it.

    Warns:
        UserWarning: a plugin is here in another version than at training.

    Raises:
        ImgtransError: there is no such file, it is damaged, a plugin it needs is missing, or there
            is no such precision.
    """
    if precision not in get_args(Precision):
        message = f"precision = {precision!r}: it must be one of {', '.join(get_args(Precision))}"
        raise ImgtransError(message)
    for each in plugins:
        registry().add_file(Path(each))
    for component in components:
        registry().remember(component)
    try:
        file, content = _read(Path(path))
    except OSError as error:
        message = f"{error.filename or path} cannot be read: {error.strerror or error}"
        raise ImgtransError(message) from None
    if content.about.get("kind") not in ("model", "checkpoint"):
        message = f"{file} is no model and no checkpoint; give a run folder or its {MODEL}"
        raise ImgtransError(message)
    recipe = check(content.about["recipe"], str(file))
    for line in other_versions(recipe):
        warnings.warn(line, stacklevel=2)
    return Translator(recipe, content, torch.device(device), precision)


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
    if content is None or (checkpoints and step_of(checkpoints[0]) > step):
        return checkpoints[0], read(checkpoints[0])
    return file, content
