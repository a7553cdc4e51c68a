"""A trained generator as a file that other programs run.

What is written was run before: the file's bytes, on images of several sizes, against the model.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from imgtrans.checkpoint import write_bytes
from imgtrans.exporting.about import about
from imgtrans.exporting.comparing import compare
from imgtrans.exporting.files import MAKERS, SUFFIXES, Format, needed
from imgtrans.problems import ImgtransError, RecipeError

if TYPE_CHECKING:
    from pathlib import Path

    from imgtrans.inference import Translator

__all__ = ("ALLOWED", "SUFFIXES", "Exported", "Format", "export_model")

ALLOWED: Final = 1e-3
"""The file's images may differ from the model's by so much, in [-1, 1]; 8 bits resolve 8e-3."""


@dataclass(frozen=True)
class Exported:
    """What was written, and how near it is to the model."""

    bytes: int
    sizes: tuple[str, ...]
    """Of the images that it was tried with, as ``N×C×H×W``."""
    difference: float
    """The largest of any pixel, in [-1, 1]."""


def export_model(
    model: Translator,
    path: Path,
    format_: Format,
    direction: str | None = None,
    *,
    overwrite: bool = False,
) -> Exported:
    """Write one direction's generator, in evaluation mode, on the processor, and try the file.

    Args:
        model: on the processor.
        path: of the file; its folder is made.
        format_: ``onnx`` and ``torch-export`` are programs that take images of any number and
            size, padding included; ``safetensors`` is the generator's own state dict.
        direction: as `Translator.direction` takes it.
        overwrite: replace a file that is there.

    Raises:
        RecipeError: the file is there already, is a folder, or is named like another format.
        ImgtransError: the generator cannot be exported, a package is missing, the file differs
            from the model by more than ``ALLOWED``, or it cannot be written; nothing is left.
    """
    named = next((each for each, end in SUFFIXES.items() if path.suffix.lower() == end), format_)
    if named != format_:
        message = (
            f"{path} is named like {named}: add --format {named}, or name it *{SUFFIXES[format_]}"
        )
        raise RecipeError(message)
    if path.is_dir() or (path.exists() and not overwrite):
        what = "is a folder" if path.is_dir() else "is there already; replace it with --overwrite"
        message = f"{path} {what}"
        raise RecipeError(message)
    needed(format_)
    name = model.direction(direction)
    data, run = MAKERS[format_](model, name, json.dumps(about(model, name, format_)))
    sizes, difference = compare(model, name, run)
    if not difference <= ALLOWED:
        message = (
            f"the {format_} file of {name} differs from the model by {difference:.1e}, which is "
            f"more than {ALLOWED:.0e}; nothing was written"
        )
        raise ImgtransError(message)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(path, data)
    except OSError as error:
        message = f"{path} cannot be written: {error.strerror or error}"
        raise ImgtransError(message) from None
    return Exported(len(data), sizes, difference)
