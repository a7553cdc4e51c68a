"""Lists the image files below a folder; they are decoded when asked for."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from imgtrans import ImgtransError
from imgtrans.pictures import EXTENSIONS
from imgtrans.pictures.decoding import decode

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from torch import Tensor


@dataclass(frozen=True)
class FileList:
    """The images below one folder, sorted by their names."""

    folder: Path
    root: Path
    paths: Sequence[Path]
    channels: int

    def __len__(self) -> int:
        """How many files there are."""
        return len(self.paths)

    def __getitem__(self, index: int, /) -> Tensor:
        """``C×H×W``, uint8 or uint16, upright.

        Raises:
            DecodingError: the file cannot be decoded.
        """
        return decode(self.paths[index], self.channels)

    def name(self, index: int, /) -> str:
        """The path below the root, or whole outside it, with forward slashes on every system."""
        path = self.paths[index]
        below = path.is_relative_to(self.root)
        return (path.relative_to(self.root) if below else path).as_posix()


def listed(folder: Path, root: Path, channels: int) -> FileList:
    """The images below a folder.

    Args:
        folder: walked, with the links in it.
        root: what names are relative to.
        channels: 1 for grey, 3 for RGB.

    Raises:
        ImgtransError: there is none, or a folder cannot be read.
    """
    paths = sorted(path for path in _walked(folder) if path.suffix.lower() in EXTENSIONS)
    if not paths:
        message = f"{folder} holds no image ({', '.join(sorted(EXTENSIONS))})"
        raise ImgtransError(message)
    return FileList(folder, root, paths, channels)


def _walked(folder: Path) -> Iterator[Path]:
    """The files below a folder, links to folders followed once; hidden ones are left out."""

    def refuse(error: OSError) -> NoReturn:
        message = f"{error.filename} cannot be read: {error.strerror}"
        raise ImgtransError(message) from error

    seen: set[str] = set()
    for parent, folders, names in os.walk(folder, followlinks=True, onerror=refuse):
        real = os.path.realpath(parent)
        if real in seen:  # a link back to where the walk has been
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(each for each in folders if not each.startswith((".", "__MACOSX")))
        yield from (Path(parent, name) for name in names if not name.startswith("."))
