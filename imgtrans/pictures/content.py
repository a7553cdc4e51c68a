"""Files that are taken for pictures: of such as have an end only, not more than one may need."""

from __future__ import annotations

from typing import TYPE_CHECKING, BinaryIO, Final

from imgtrans.regular import EndlessFileError, open_regular

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
    size = path.stat().st_size
    if size > MOST_BYTES:
        message = f"it has {size:,} bytes, and no more than {MOST_BYTES:,} are read"
        raise ValueError(message)
    try:
        return open_regular(path)
    except EndlessFileError as error:
        raise ValueError(error.strerror) from None
