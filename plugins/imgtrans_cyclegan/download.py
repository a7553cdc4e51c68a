"""Downloads a data set's zip archive and unpacks it, whole or not at all.

The invariant: `destination` appears in one rename, once everything in it has been checked. What an
interruption leaves behind is `NAME.zip.part`, with `NAME.zip.part.json` saying of which file it is
a part, so that the next try goes on from there. One process at a time may fetch a destination.
"""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import zipfile
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock

from imgtrans.pictures import EXTENSIONS
from imgtrans.problems import ImgtransError
from imgtrans_cyclegan.transfer import TransferError, forget, transfer
from imgtrans_cyclegan.unpacking import ArchiveError, unpack

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence


class DownloadError(ImgtransError):
    """A data set that could not be downloaded, or whose archive is not to be trusted."""


class NotDeliveredError(DownloadError):
    """No address delivers the archive; nothing is wrong on this machine."""


def fetch(
    urls: Sequence[str],
    destination: Path,
    *,
    folder_counts: Mapping[str, int] | None = None,
    sha256: str | None = None,
    progress: Callable[[int, int | None], None] | None = None,
    limit_bytes: int = 32 << 30,
) -> Path:
    """Download a zip archive and unpack it as the folder `destination`.

    A lone top folder that only wraps the data set's folders is left out.

    Args:
        urls: http(s) addresses of the same archive, tried in turn.
        destination: the folder to make; it must not exist.
        folder_counts: how many images each of these folders must hold, at any depth.
        sha256: the archive's SHA-256 in hexadecimal.
        progress: called with the bytes received so far, and the whole if it is known.
        limit_bytes: the most bytes that the archive, and all it unpacks to, may have.

    Returns:
        `destination`.

    Raises:
        NotDeliveredError: no address delivers.
        DownloadError: it exists, the archive is damaged, unsafe or not the expected one, or the
            disk is full or not writable.
    """
    part = destination.with_name(destination.name + ".zip.part")
    counts = folder_counts or {}
    if os.path.lexists(destination):
        message = f"{destination} exists, and downloads overwrite nothing; move or remove it first"
        raise DownloadError(message)
    try:
        part.parent.mkdir(parents=True, exist_ok=True)
        # Two processes would write one part; the second waits, and finds what the first has made.
        lock = destination.with_name(f".{destination.name}.lock")
        with FileLock(lock):
            if not destination.is_dir():
                _fetch(urls, destination, part, counts, sha256, progress or _silent, limit_bytes)
            with suppress(PermissionError):  # Windows keeps what is open
                lock.unlink()  # whoever waits for it finds the folder and writes nothing
    except OSError as error:  # the network's have become reasons
        message = (
            f"{destination} could not be written: {error.strerror or error} "
            f"({error.filename or part.parent})\n  make room or get permission to write there, "
            "then try again: what has been downloaded is kept"
        )
        raise DownloadError(message) from error
    return destination


def _fetch(
    urls: Sequence[str],
    destination: Path,
    part: Path,
    counts: Mapping[str, int],
    sha256: str | None,
    progress: Callable[[int, int | None], None],
    limit_bytes: int,
) -> None:
    reasons = _download_from_any(urls, part, sha256, progress, limit_bytes)
    if reasons:
        message = (
            f"{destination.name} could not be downloaded\n" + "\n".join(reasons) + "\n"
            "  try again, which goes on where it stopped; or get the archive from one of\n"
            f"  these addresses some other way, and unpack it as {destination.absolute()}"
            + "".join(f"\n    {name}/ with {n} images" for name, n in counts.items())
        )
        raise NotDeliveredError(message)
    _unpack_as(destination, part, counts, limit_bytes)
    forget(part)


def _unpack_as(destination: Path, part: Path, counts: Mapping[str, int], limit_bytes: int) -> None:
    """Unpack into a folder beside `destination`, and rename it when it is whole and right."""
    unpacking = destination.with_name(f".{destination.name}.unpacking")
    if unpacking.exists():  # a killed process could not clean up
        shutil.rmtree(unpacking)
    try:
        unpacking.mkdir()
        unpack(part, unpacking, limit_bytes)
        whole = _without_wrapper(unpacking, counts)
        _check_counts(whole, counts)
        if os.path.lexists(destination):  # a rename would replace an empty folder
            raise FileExistsError(errno.EEXIST, "it has appeared meanwhile", str(destination))
        whole.rename(destination)
    except ArchiveError as error:
        forget(part)  # continuing it would end here again
        message = f"the archive downloaded for {destination} is not unpacked: {error}"
        raise DownloadError(message) from error
    finally:
        if unpacking.exists():  # gone once renamed, unless it held a wrapper
            shutil.rmtree(unpacking)


def _without_wrapper(folder: Path, counts: Mapping[str, int]) -> Path:
    """Step into a lone folder of folders, unless it is itself one of those to be counted."""
    entries = list(folder.iterdir())
    if len(entries) != 1 or not entries[0].is_dir():
        return folder
    wanted = {name.split("/")[0] for name in counts}
    wraps = entries[0].name not in wanted and all(entry.is_dir() for entry in entries[0].iterdir())
    return entries[0] if wraps else folder


def _check_counts(folder: Path, counts: Mapping[str, int]) -> None:
    for name, expected in counts.items():
        found = sum(
            Path(file).suffix.lower() in EXTENSIONS and not file.startswith(".")
            for _, _, files in os.walk(folder / name)
            for file in files
        )
        if found != expected:
            message = f"its folder {name} holds {found} images, but {expected} are expected"
            raise ArchiveError(message)


def _silent(received: int, total: int | None) -> None:
    """Report no progress."""


def _download_from_any(
    urls: Sequence[str],
    part: Path,
    sha256: str | None,
    progress: Callable[[int, int | None], None],
    limit: int,
) -> list[str]:
    """Fill `part` from the first address that delivers; returns the others' reasons, or all."""
    reasons = []
    for url in urls:
        try:
            transfer(url, part, progress, limit)
            _check_archive(part, sha256)
        except TransferError as error:
            reasons.append(f"    {url}: {error}")
        else:
            return []
    return reasons or ["    no address was given"]


def _check_archive(part: Path, sha256: str | None) -> None:
    with part.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest() if sha256 else ""
        file.seek(0)
        start = file.read(20)
    if sha256 and found != sha256.lower():
        reason = f"what it delivers has the SHA-256 {found}, not {sha256.lower()}"
    elif not zipfile.is_zipfile(part):
        reason = f"what it delivers is no whole zip archive; it starts with {start!r}"
    else:
        return
    forget(part)
    raise TransferError(reason)
