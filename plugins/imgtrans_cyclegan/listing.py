"""Lists the image files below a folder; they are decoded when asked for."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, NoReturn

from imgtrans import ImgtransError
from imgtrans.pictures import EXTENSIONS
from imgtrans.pictures.decoding import decode
from imgtrans_cyclegan.names import Names

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor

SETTLED_NS: Final = 2_000_000_000
"""A file changed less than this ago may change again with the same time: disks round times."""


@dataclass(frozen=True)
class FileList:
    """The images below one folder, sorted by their names."""

    folder: str
    """Where they are; ends in a slash."""
    called: str
    """What the folder is called in names."""
    files: Names
    """Below the folder, with forward slashes on every system."""
    channels: int
    least: int
    """Pixels that the shorter side has at least."""

    def __len__(self) -> int:
        """How many files there are."""
        return len(self.files)

    def __getitem__(self, index: int, /) -> Tensor:
        """``C×H×W``, uint8 or uint16, upright.

        Raises:
            DecodingError: the file cannot be decoded.
            ImgtransError: the picture is too small.
        """
        image = decode(Path(self.path(index)), self.channels)
        height, width = image.shape[1:]
        if min(height, width) < self.least:
            message = (
                f"{self.path(index)} ({width}×{height}) is smaller than image_size = {self.least}; "
                "choose a smaller image_size, or move it away"
            )
            raise ImgtransError(message)
        return image

    def path(self, index: int) -> str:
        """Where a file is."""
        return self.folder + self.files[index]

    def name(self, index: int, /) -> str:
        """The path below the root, or whole outside it, with forward slashes on every system."""
        return self.called + self.files[index]

    def stamp(self, index: int, /) -> str:
        """Size, times and inode of the file, or why there are none."""
        try:
            found = os.stat(self.path(index))  # noqa: PTH116
        except OSError as error:
            return f"error {error.errno}"
        told = f"{found.st_size} {found.st_mtime_ns} {found.st_ctime_ns} {found.st_ino}"
        now = time.time_ns()
        fresh = abs(now - max(found.st_mtime_ns, found.st_ctime_ns)) < SETTLED_NS
        return f"{told} {now}" if fresh else told


def listed(folder: Path, root: Path, channels: int, least: int) -> FileList:
    """The images below a folder.

    Args:
        folder: walked, with the links in it.
        root: what names are relative to.
        channels: 1 for grey, 3 for RGB.
        least: pixels of the shorter side that a picture must have.

    Raises:
        ImgtransError: there is none, or a folder cannot be read.
    """
    files = sorted(_walked(folder), key=_by_parts)
    if not files:
        message = f"{folder} holds no image ({', '.join(sorted(EXTENSIONS))})"
        raise ImgtransError(message)
    below = folder.is_relative_to(root)
    called = (folder.relative_to(root) if below else folder).as_posix()
    called = "" if called == "." else f"{called}/"
    return FileList(f"{folder}{os.sep}", called, Names(files), channels, least)


def _by_parts(name: str) -> str:
    """Sorts as paths do: a folder's files before those of a folder whose name goes on."""
    return os.path.normcase(name).replace(os.sep, "\0")


def _walked(folder: Path) -> Iterator[str]:
    """The images below a folder, links to folders followed once; hidden ones are left out."""

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
        below = os.path.relpath(parent, folder).replace(os.sep, "/")
        called = "" if below == "." else f"{below}/"
        for name in names:
            suffix = os.path.splitext(name)[1]  # noqa: PTH122 - a million times
            if not name.startswith(".") and suffix.lower() in EXTENSIONS:
                yield called + name
