"""Unpacks zip archives that nobody vouches for.

The invariant: whatever an archive claims, only plain files and folders below the given folder are
made, and no more bytes are written than allowed; the bytes written are counted, headers never
believed.
"""

from __future__ import annotations

import errno
import lzma
import re
import stat
import zipfile
import zlib
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from imgtrans.problems import ImgtransError

if TYPE_CHECKING:
    from pathlib import Path

_CHUNK = 1 << 20
_MOST_MEMBERS = 500_000
_MOST_EXPANSION = 200  # times its packed size; images hardly shrink
_LEAST_TOTAL = 256 << 20  # bytes that any archive may unpack to
_SMALL = 16 << 20  # bytes that any member may have: blank images do shrink a lot
# What zipfile raises when the bytes make no sense to it, or are encrypted.
_DAMAGED = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, RuntimeError, ValueError)


class ArchiveError(ImgtransError):
    """An archive that is damaged, or not safe to unpack."""


def unpack(archive: Path, folder: Path, limit_bytes: int) -> None:
    """Unpack a zip archive below `folder`, without macOS's side files.

    Args:
        archive: the file.
        folder: an existing empty folder; after an error it holds a part of the archive.
        limit_bytes: the most bytes to write in all.

    Raises:
        ArchiveError: the archive is damaged, encrypted, much larger than it should be, or has
            members that are neither files nor folders or belong elsewhere.
        OSError: the disk is full or not writable.
    """
    try:
        with zipfile.ZipFile(archive) as opened:
            members = opened.infolist()
            if len(members) > _MOST_MEMBERS:
                message = f"it has {len(members)} members; at most {_MOST_MEMBERS} are unpacked"
                raise ArchiveError(message)
            # A few small members may expand a lot; all together must not.
            most = max(_LEAST_TOTAL, _MOST_EXPANSION * archive.stat().st_size)
            limit_bytes = min(limit_bytes, most)
            # All are checked before one is written.
            targets = [(member, _relative_path(member)) for member in members]
            left = limit_bytes
            for member, relative in targets:
                if relative is None:
                    continue
                if member.is_dir():
                    _make_folder(folder, relative)
                else:
                    _make_folder(folder, relative.parent)
                    left -= _write(opened, member, folder / relative, left)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        message = "it is damaged: it says its members lie outside of it"
        raise ArchiveError(message) from error
    except _DAMAGED as error:
        message = f"it is damaged or encrypted: {str(error) or type(error).__name__}"
        raise ArchiveError(message) from error


def _relative_path(member: zipfile.ZipInfo) -> PurePosixPath | None:
    """Where a member goes; None for macOS's side files.

    Raises:
        ArchiveError: outside of the folder, or it is a link or a device.
    """
    # zipfile shortens names at a NUL, and on Windows turns backslashes; the original tells.
    name = member.orig_filename
    path = PurePosixPath(name)
    outside = path.is_absolute() or ".." in path.parts or not path.parts
    if outside or re.search(r"[\\:\0]", name):
        message = f"its member {name!r} would be written outside of its folder, or under no name"
        raise ArchiveError(message)
    kind = stat.S_IFMT(member.external_attr >> 16)
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        message = f"its member {name!r} is a link or a device; only files and folders are unpacked"
        raise ArchiveError(message)
    side_file = "__MACOSX" in path.parts or path.name == ".DS_Store"
    return None if side_file else path


def _make_folder(folder: Path, relative: PurePosixPath) -> None:
    try:
        (folder / relative).mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        message = f"{relative} is both a file and a folder in it"
        raise ArchiveError(message) from error


def _write(opened: zipfile.ZipFile, member: zipfile.ZipInfo, target: Path, left: int) -> int:
    """Write one member and return its bytes, of which there may be `left`."""
    most = min(left, max(_SMALL, _MOST_EXPANSION * member.compress_size))
    written = 0
    try:
        file = target.open("xb")
    except FileExistsError as error:
        message = f"it has more than one member {member.filename!r}, capitals aside"
        raise ArchiveError(message) from error
    with file, opened.open(member) as source:
        while chunk := source.read(min(_CHUNK, most - written + 1)):
            written += len(chunk)
            if written > most:
                message = (
                    f"it unpacks to far more than it should: its member {member.filename!r} has "
                    f"{member.compress_size} bytes packed, and more than {most} unpacked"
                )
                raise ArchiveError(message)
            file.write(chunk)
    return written
