"""Opens files that have an end: a pipe would be waited for forever, a device read without end."""

from __future__ import annotations

import errno
import stat
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    from pathlib import Path


class EndlessFileError(OSError):
    """What lies at a path is a pipe or a device, or a link to one."""


def open_regular(path: Path) -> BinaryIO:
    """A file to read from.

    Raises:
        EndlessFileError: it is a pipe or a device.
        OSError: it cannot be read.
    """
    mode = path.stat().st_mode
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):  # opening a folder says that it is one
        raise EndlessFileError(errno.EINVAL, "it is a pipe or a device", str(path))
    return path.open("rb")
