"""Sizes of pictures from the few bytes of their files that tell them, for many files at once.

Most JPEG and PNG files say it plainly; the others, and small ones, are opened by a decoder.
"""

from __future__ import annotations

import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Final

from imgtrans import ImgtransError
from imgtrans.pictures.decoding import DecodingError, image_size

if TYPE_CHECKING:
    from collections.abc import Iterable

    from imgtrans_cyclegan.listing import FileList

_START: Final = 2048
"""Bytes read at first: of most files enough."""
_PNG: Final = b"\x89PNG\r\n\x1a\n"
_FRAMES: Final = frozenset({*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC})
"""Markers of JPEG segments that tell the size."""
_PIXELS: Final = 0xDA
"""Marker of the segment behind which pixels begin."""
_READING: Final = os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0)
"""Without waiting for whoever may write into a pipe of a picture's name."""
LOOKED_AT: Final = 10_000
"""Of more files only so many, from everywhere, are opened before training."""
SLOW_SECONDS: Final = 2e-4
"""A file that takes longer to open comes from a disk, and not from memory."""


def refuse_small(images: FileList, least: int) -> None:
    """Raise where pictures are too small; of very many, some are only found when they are read.

    Raises:
        ImgtransError: their shorter side has fewer than ``least`` pixels; the text names some.
    """
    count = len(images)
    looked_at = range(0, count, -(-count // LOOKED_AT))
    chunks = [looked_at[start : start + 100] for start in range(0, len(looked_at), 100)]
    began = time.perf_counter()
    small = _small(map(images.path, chunks[0]), least)
    # Threads help where a disk is waited for; else they wait for each other.
    slow = time.perf_counter() - began > len(chunks[0]) * SLOW_SECONDS
    with ThreadPoolExecutor(None if slow else 1) as pool:
        found = pool.map(lambda chunk: _small(map(images.path, chunk), least), chunks[1:])
        small += [line for lines in found for line in lines]
    if small:
        shown = "\n".join(small[:5]) + (f"\n    … {len(small) - 5} more" if small[5:] else "")
        of = f" of {len(looked_at):,} that were looked at" if len(looked_at) < count else ""
        message = (
            f"{len(small)} images{of} in {Path(images.folder)} are smaller than image_size = "
            f"{least}\n{shown}\n  choose a smaller image_size, or move them away"
        )
        raise ImgtransError(message)


def _small(paths: Iterable[str], least: int) -> list[str]:
    """A line for each file whose picture is too small."""
    lines = []
    for path in paths:
        try:
            told = shorter_side(path)
            if told is None or told < least:
                height, width = image_size(Path(path))
                if min(height, width) < least:
                    lines.append(f"    {path} ({width}×{height})")
        except (OSError, DecodingError):
            continue  # a broken file is dealt with, and named, where it is decoded
    return lines


def shorter_side(path: str) -> int | None:
    """Pixels of the shorter side; None where the file does not plainly tell.

    Raises:
        OSError: it cannot be read.
    """
    file = os.open(path, _READING)
    try:
        start = os.read(file, _START)
        if start.startswith(_PNG) and start[12:16] == b"IHDR":
            return min(int.from_bytes(start[16:20], "big"), int.from_bytes(start[20:24], "big"))
        if start.startswith(b"\xff\xd8"):
            return _of_jpeg(file, start)
    finally:
        os.close(file)
    return None


def _of_jpeg(file: int, start: bytes) -> int | None:
    """Walk from segment to segment to the one that tells the size."""
    place = 2
    while True:
        head = start[place : place + 9]
        if len(head) < 9:
            os.lseek(file, place, os.SEEK_SET)
            head = os.read(file, 9)
        if len(head) < 9 or head[0] != 0xFF or head[1] == _PIXELS:
            return None
        if head[1] == 0xFF:  # fills up
            place += 1
            continue
        if head[1] in _FRAMES:
            return min(int.from_bytes(head[5:7], "big"), int.from_bytes(head[7:9], "big"))
        place += 2 + int.from_bytes(head[2:4], "big")
