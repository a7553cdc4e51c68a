"""Opens what is a file: no pipe is waited for, no device read without end, no link written to."""

from __future__ import annotations

import errno
import stat
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    from pathlib import Path


class EndlessFileError(OSError):
    """What lies at a path is a pipe or a device, or a link to one."""


def has_no_end(mode: int) -> bool:
    """Whether a file of this mode is a pipe or a device; that one is a folder is told elsewhere."""
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


def open_regular(path: Path) -> BinaryIO:
    """A file to read from.

    Raises:
        EndlessFileError: it is a pipe or a device.
        OSError: it cannot be read.
    """
    if has_no_end(path.stat().st_mode):
        raise EndlessFileError(errno.EINVAL, "it is a pipe or a device", str(path))
    return path.open("rb")


def create(path: Path) -> BinaryIO:
    """A new file to write, in place of what has its name; where that is a link, not at its end.

    Raises:
        OSError: it cannot be made.
    """
    try:
        return path.open("xb")
    except FileExistsError:  # left by a process that was killed, or by somebody
        path.unlink()
        return path.open("xb")
