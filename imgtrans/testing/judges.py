"""What says which network is behind a figure, and numbers that no chance may enter."""

from __future__ import annotations

import random
import re
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from imgtrans.components import Judge
from imgtrans.testing.errors import CheckError
from imgtrans.testing.networks import drawn

if TYPE_CHECKING:
    from collections.abc import Iterator


def require_judge(judge: Any, what: str) -> None:
    """A name, the hash of a file, and a text on resizing.

    Raises:
        CheckError: it is something else, or a part of it says nothing.
    """
    if not isinstance(judge, Judge):
        message = f"{what} is {judge!r}; it must be a Judge(name, sha256, resizing)"
        raise CheckError(message)
    for part in ("name", "resizing"):
        text = getattr(judge, part)
        if not isinstance(text, str) or not text.strip() or "\n" in text:
            message = (
                f"{what} has {part} = {text!r}; it must be one line of text, because figures of "
                "different networks or resizings cannot be compared"
            )
            raise CheckError(message)
    if not isinstance(judge.sha256, str) or not re.fullmatch("[0-9a-f]{64}", judge.sha256):
        message = (
            f"{what} has sha256 = {judge.sha256!r}; it must be the 64 lower-case hexadecimal "
            "digits of the file that holds the weights; of a network without any, of its own module"
        )
        raise CheckError(message)


@contextmanager
def without_torch() -> Iterator[None]:
    """What asks for torch meanwhile gets an ImportError, although it is imported."""
    hidden = ("torch", "torchvision", "torchmetrics")
    known = {name: sys.modules[name] for name in [*sys.modules] if name.split(".")[0] in hidden}
    sys.modules.update(dict.fromkeys((*known, *hidden)))  # type: ignore[arg-type]
    try:
        yield
    finally:
        for name in hidden:
            sys.modules.pop(name, None)
        sys.modules.update(known)


@contextmanager
def without_chance(step: int, what: str) -> Iterator[None]:
    """Author's code, under the random numbers of a training step, of which it must draw none.

    Raises:
        CheckError: it drew some, or seeded their generator.
    """
    with drawn(step):
        before = _states()
        yield
        if _states() != before:
            message = (
                f"{what} draws or seeds the random numbers that everybody uses: draw from a "
                "generator of its own, torch.Generator().manual_seed(0), or none at all"
            )
            raise CheckError(message)


def _states() -> tuple[Any, ...]:
    name, words, *rest = np.random.get_state()  # noqa: NPY002 - what others may draw from
    return (
        torch.get_rng_state().numpy().tobytes(),
        random.getstate(),
        (name, np.asarray(words).tobytes(), *rest),
    )
