"""What runs an exported generator, against the model on the same images."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from imgtrans.padding import through
from imgtrans.problems import ImgtransError

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from imgtrans.inference import Translator


def compare(
    model: Translator, direction: str, run: Callable[[Tensor], Tensor]
) -> tuple[tuple[str, ...], float]:
    """The largest difference between the model and what ``run`` makes of the same images.

    The images are noise: of the training size, smaller, not square, of sides that need padding,
    of fewer pixels than a network sees at least, singly and several at once. A size that the model
    itself cannot take is left out.

    Raises:
        ImgtransError: ``run`` fails where the model does not, or the model takes no size.
    """
    side = model.recipe.dataset.image_size
    sizes = [
        (1, side, side),
        (2, side // 2 + 3, side + 5),
        (3, side + model.multiple, side),
        (1, side // 4 + 1, side // 2 + 3),
        (1, 9, 16),
        (1, 3, 5),
        (2, 1, 2),
    ]
    generator = torch.Generator().manual_seed(0)
    tried, largest = [], 0.0
    for count, height, width in sizes:
        shape = (count, model.channels, height, width)
        images = torch.rand(shape, generator=generator) * 2 - 1
        try:
            wanted = through(model.network(direction), images, model.multiple)
        except (RuntimeError, ValueError):  # the smallest, where nothing is left to normalise
            continue
        text = "×".join(map(str, shape))
        try:
            made = run(images)
        except Exception as error:
            message = f"the file of {direction} cannot take images of {text}: {first_line(error)}"
            raise ImgtransError(message) from error
        if made.shape != wanted.shape:
            largest = float("inf")
        else:  # whatever is no number counts as the largest
            apart = (made - wanted).abs().max().nan_to_num(nan=float("inf"))
            largest = max(largest, float(apart))
        tried.append(text)
    if not tried:
        message = f"{direction} translates no image of its training size, {side} pixels"
        raise ImgtransError(message)
    return tuple(tried), largest


def first_line(error: BaseException) -> str:
    """What an error says first, or what it is."""
    return next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
