"""What a picture's EXIF says, as far as another file can say it too."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Final

from PIL import ExifTags, Image

if TYPE_CHECKING:
    from collections.abc import Mapping

TEXTS: Final = (270, 271, 272, 305, 306, 315, 33432)
"""Description, maker, model, software, date, artist, copyright."""
_KEPT: Final = (*TEXTS, 274, 282, 283, 296)
"""Also orientation and resolution; what else a TIFF says there is how it lies in that file."""
_INNER: Final = (ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo)
_OWN: Final = (0x927C, 0xA005)
"""A maker's notes, which hold places in their own file, and a table that they need."""


def exif_of(image: Image.Image) -> tuple[bytes, tuple[str, ...]]:
    """A picture's EXIF without thumbnails, for any other file, and what could not be kept of it."""
    given = image.getexif()
    base = {tag: given[tag] for tag in _KEPT if tag in given}
    try:
        inner: dict[int, dict[int, object]] = {
            ifd: {tag: value for tag, value in given.get_ifd(ifd).items() if tag not in _OWN}
            for ifd in _INNER
        }
        return _bytes(base, inner), ()
    except Exception:  # noqa: BLE001 - a file may hold anything at all there
        with suppress(Exception):
            return _bytes(base, {}), ("EXIF",)
    return b"", ("EXIF",)


def _bytes(base: Mapping[int, object], inner: Mapping[int, Mapping[int, object]]) -> bytes:
    made = Image.Exif()
    for tag, value in base.items():
        made[tag] = value
    for ifd, values in inner.items():
        if values:
            made.get_ifd(ifd).update(values)
    return made.tobytes() if made or any(inner.values()) else b""


def texts_of(exif: bytes) -> dict[int, str]:
    """The texts of EXIF by their tags."""
    made = Image.Exif()
    if exif:
        made.load(exif)
    return {tag: str(made[tag]).strip("\0") for tag in TEXTS if tag in made}
