"""Files that are taken for pictures: of such as have an end only, and not more than one may need.

A pipe that is called ``.png`` would be waited for forever, and a device is read without end.
"""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING, BinaryIO, Final

if TYPE_CHECKING:
    from pathlib import Path

MOST_BYTES: Final = 1 << 30
"""More than the largest picture that is decoded has, at 16 bits and without any packing."""


def content_of(path: Path) -> bytes:
    """All bytes of a file.

    Raises:
        ValueError: it is no file of a picture.
        OSError: it cannot be read.
    """
    with open_file(path) as file:
        return file.read()


def open_file(path: Path) -> BinaryIO:
    """A file to read from.

    Raises:
        ValueError: it is no file of a picture.
        OSError: it cannot be read.
    """
    about = path.stat()
    if not (stat.S_ISREG(about.st_mode) or stat.S_ISDIR(about.st_mode)):  # opening one says so
        message = "it is a pipe or a device"
        raise ValueError(message)
    if about.st_size > MOST_BYTES:
        message = f"it has {about.st_size:,} bytes, and no more than {MOST_BYTES:,} are read"
        raise ValueError(message)
    return path.open("rb")
