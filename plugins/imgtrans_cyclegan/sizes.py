"""Sizes of pictures from the few bytes of their files that tell them, for many files at once.

Most JPEG and PNG files say it plainly; the others, and small ones, are opened by a decoder.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

from imgtrans.pictures.decoding import DecodingError, image_size

if TYPE_CHECKING:
    from collections.abc import Iterable

_START: Final = 2048
"""Bytes read at first: of most files enough."""
_PNG: Final = b"\x89PNG\r\n\x1a\n"
_FRAMES: Final = frozenset({*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC})
"""Markers of JPEG segments that tell the size."""
_PIXELS: Final = 0xDA
"""Marker of the segment behind which pixels begin."""


CHUNK: Final = 1000
"""Files that a thread looks at in one go."""


def small_ones(paths: Iterable[str], least: int) -> list[str]:
    """The files whose pictures have a shorter side than ``least``, a line for each."""
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
    file = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
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
