"""What is left of a step that was not finite, for whoever looks for the cause."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torchvision.utils import make_grid

from imgtrans.checkpoint import write_bytes
from imgtrans.data.loading import here
from imgtrans.monitor.samples import png
from imgtrans.monitor.within import refuse_strangers
from imgtrans.parts import seed_everything

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from torch import Tensor, nn

    from imgtrans.data import TrainingData
    from imgtrans.data.samples import Samples
    from imgtrans.outcome import NonFiniteError
    from imgtrans.training import Trainer

FILES_TOLD = 4
"""Names of files in the message; all of them are in the folder."""


def leave(folder: Path, error: NonFiniteError, trainer: Trainer, training: TrainingData) -> str:
    """Write ``crash/step-NNNNNNNN/``: the step's figures, files, images; returns what to say.

    The images are read again: which ones a step sees is a function of its number.

    Args:
        folder: of the run.
        error: what was found.
        trainer: as the step left it.
        training: the training images.

    Raises:
        OSError: it cannot be written.
        ImgtransError: an image cannot be read any more, or the place is a link out of the folder.
    """
    place = folder / "crash" / f"step-{error.step:08d}"
    for each in (place.parent, place):  # not the run folder itself, should that be gone
        each.mkdir(exist_ok=True)
    refuse_strangers(folder, [f"crash/{place.name}"])
    # Of all processes together.
    samples = replace(training.samples, order=replace(training.order, share=(0, 1)))
    files = _files(samples, error.step - 1)
    (batch,) = here(samples, error.step - 1, error.step)
    x, y = batch.to(torch.device("cpu"), torch.float32)
    report: dict[str, Any] = {
        "step": error.step,
        "figures": {name: _number(value) for name, value in error.figures.items()},
        "learning_rates": {k: _number(v) for k, v in trainer.learning_rates().items()},
        "files": dict(zip(("x", "y"), files, strict=True)),
        "first": [],
    }
    _write(place, report)
    for name, images in (("x", x), ("y", y)):
        write_bytes(place / f"{name}.png", png(make_grid((images + 1) / 2, nrow=len(images))))
    for culprit in _culprits(trainer, (x, y), files, error.step):
        report["first"].append(culprit)
    _write(place, report)
    told = [*dict.fromkeys([*files[0], *files[1]])]
    more = f" and {len(told) - FILES_TOLD} more" if len(told) > FILES_TOLD else ""
    lines = [f"first: {line}" for line in report["first"][:1]]
    lines.append(f"its images: {', '.join(told[:FILES_TOLD])}{more}")
    lines.append(f"all that is known: {place}")
    return "\n  ".join(lines)


def _write(place: Path, report: dict[str, Any]) -> None:
    write_bytes(place / "report.json", (json.dumps(report, indent=1) + "\n").encode())


def _files(samples: Samples, step: int) -> tuple[list[str], list[str]]:
    """The names of a step's images, of both domains."""
    x, y, order = samples.x.images, samples.y.images, samples.order
    indices = [order.indices(position) for position in order.positions(step)]
    return [x.name(index) for index, _ in indices], [y.name(index) for _, index in indices]


def _number(value: float) -> float | str:
    """JSON has no word for what is not finite."""
    return value if math.isfinite(value) else str(value)


def _culprits(
    trainer: Trainer,
    images: tuple[Tensor, Tensor],
    files: tuple[Sequence[str], Sequence[str]],
    step: int,
) -> Iterator[str]:
    """Where a value is not finite, from what comes first in a step to what comes last."""
    for batch, names in zip(images, files, strict=True):
        for image, name in zip(batch, names, strict=True):
            if not image.isfinite().all():
                yield f"the image {name}"
    for network, module in trainer.networks.items():
        for name, weight in module.named_parameters():
            if not weight.isfinite().all():
                yield f"the weight {name} of {network}"
    if trainer.ranks.count == 1:  # else its normalisation may wait for processes that are gone
        yield from _layers(trainer, images, step)


def _layers(trainer: Trainer, images: tuple[Tensor, Tensor], step: int) -> Iterator[str]:
    """The first layer of each network that makes something else of the step's images."""
    found: dict[str, str] = {}
    hooks = []

    def watch(network: str, layer: str) -> Any:
        def look(module: nn.Module, _: object, output: object) -> None:
            made = output if isinstance(output, (tuple, list)) else [output]
            if any(isinstance(each, torch.Tensor) and not each.isfinite().all() for each in made):
                kind = type(module).__name__
                found.setdefault(network, f"the output of {network}, {layer or 'all'} ({kind})")

        return look

    for network, module in trainer.networks.items():
        for layer, part in module.named_modules():
            hooks.append(part.register_forward_hook(watch(network, layer)))
    seed_everything(trainer.settings.seed, step - 1)
    there = [each.to(trainer.device, trainer.dtype) for each in images]
    with torch.no_grad():
        for direction, source in zip(trainer.directions, there, strict=False):
            with direction.autocast():
                fake = direction.generator(source)
                if direction.back is not None:
                    direction.back(fake)
                if direction.discriminator is not None:
                    direction.discriminator(fake)
    for hook in hooks:
        hook.remove()
    yield from found.values()
