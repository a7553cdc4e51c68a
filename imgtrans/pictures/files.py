"""Picture files with what surrounds their pixels: read, translated, and written as they were.

Alpha, depth, orientation, EXIF and the colour profile are put back around the translated pixels as
far as the format can hold them; `lost` says what it cannot.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any, Final

import cv2
import numpy as np
import tifffile
from PIL import Image

from imgtrans.pictures.exif import texts_of
from imgtrans.pictures.samples import (
    alpha_of,
    at_eight_bits,
    over_white,
    stored_as,
    upright,
    without_alpha,
)
from imgtrans.problems import ImgtransError

if TYPE_CHECKING:
    from imgtrans.pictures.decoding import Stored
    from imgtrans.pictures.samples import Samples

SUFFIXES: Final = {"JPEG": ".jpg", "PNG": ".png", "WEBP": ".webp", "BMP": ".bmp", "TIFF": ".tif"}
"""The suffix that a format's files get where they had another's."""
_DEEP: Final = ("PNG", "TIFF")
_WITH_ALPHA: Final = ("PNG", "TIFF", "WEBP")
_WITH_EXIF: Final = ("JPEG", "PNG", "WEBP")
_SPACES: Final = {b"GRAY": 1, b"RGB ": 3}
"""A colour profile's own word for the space it is of, and that space's channels."""
_QUALITY: Final = 95
"""Of JPEG and WebP, out of 100."""
_JPEG_SIDE: Final = 65500
_JPEG_ABOUT: Final = 60_000
"""Bytes of a profile or of EXIF that fit one part of a JPEG; what has more is left to Pillow."""


def lost(stored: Stored, format_: str) -> list[str]:
    """What of a picture this format cannot hold, and what was not read of it."""
    alpha = alpha_of(stored.samples) is not None and format_ not in _WITH_ALPHA
    deep = stored.samples.dtype == np.uint16 and format_ not in _DEEP
    some = format_ == "BMP" or (format_ == "TIFF" and stored.format != "TIFF")
    told = bool(stored.exif) and some
    profile = bool(stored.icc) and format_ == "BMP"
    return [
        *stored.missed,
        *["transparency"] * alpha,
        *["16-bit depth"] * deep,
        *["EXIF"] * (told and "EXIF" not in stored.missed),
        *["colour profile"] * profile,
    ]


def encode(translated: Samples, stored: Stored, format_: str) -> bytes:
    """A translated picture as a file of this format.

    Args:
        translated: ``H×W×1`` or ``H×W×3``, upright, of the depth of what was stored.
        stored: the picture that was translated; one of another size lends no alpha.
        format_: one of ``SUFFIXES``.

    Raises:
        Exception: the format cannot hold a picture of this size; the text is the writer's.
    """
    samples = translated
    alpha = alpha_of(upright(stored.samples, stored.orientation))
    if alpha is not None and alpha.shape[:2] == samples.shape[:2]:
        samples = np.concatenate((samples, alpha), axis=2)
    if format_ not in _WITH_ALPHA:
        samples = over_white(samples)
    if format_ not in _DEEP:
        samples = at_eight_bits(samples)
    if format_ in _WITH_EXIF and stored.exif:  # only there the orientation is written too
        samples = stored_as(samples, stored.orientation)
    if samples.shape[2] == 2 and (format_ == "TIFF" or samples.dtype == np.uint16):
        # Few readers know grey with alpha there.
        samples = samples[..., [0, 0, 0, 1]]
    samples = np.ascontiguousarray(samples)
    fits = _SPACES.get(stored.icc[16:20]) == without_alpha(samples).shape[2]
    icc = stored.icc if fits else b""
    if format_ == "TIFF":
        return _tiff(samples, icc, stored.exif)
    if samples.dtype == np.uint16:
        return _deep_png(samples, icc, stored.exif)
    if format_ == "JPEG" and _is_usual(samples, icc, stored.exif):
        return _jpeg(samples, icc, stored.exif)
    return _by_pillow(samples, format_, icc, stored.exif)


def _by_pillow(samples: Samples, format_: str, icc: bytes, exif: bytes) -> bytes:
    image = Image.fromarray(samples[..., 0] if samples.shape[2] == 1 else samples)
    file = io.BytesIO()
    options: dict[str, Any] = {"icc_profile": icc} if icc else {}
    options |= {"exif": exif} if exif and format_ in _WITH_EXIF else {}
    if format_ in ("JPEG", "WEBP"):
        options |= {"quality": _QUALITY}
    if format_ == "JPEG":
        options |= {"subsampling": 0}
    image.save(file, format_, **options)
    return file.getvalue()


def _is_usual(samples: Samples, icc: bytes, exif: bytes) -> bool:
    return max(samples.shape) <= _JPEG_SIDE and max(len(icc), len(exif)) <= _JPEG_ABOUT


def _jpeg(samples: Samples, icc: bytes, exif: bytes) -> bytes:
    """The file that Pillow makes, byte for byte; Pillow lets no other thread run meanwhile."""
    options = [
        *(cv2.IMWRITE_JPEG_QUALITY, _QUALITY),
        *(cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444),
    ]
    return _by_opencv(".jpg", samples, icc, exif, options)


def _deep_png(samples: Samples, icc: bytes, exif: bytes) -> bytes:
    """Pillow writes no 16-bit colour."""
    return _by_opencv(".png", samples, icc, exif, [])


def _by_opencv(suffix: str, samples: Samples, icc: bytes, exif: bytes, options: list[int]) -> bytes:
    about = {cv2.IMAGE_METADATA_ICCP: icc, cv2.IMAGE_METADATA_EXIF: exif.removeprefix(b"Exif\0\0")}
    kinds = [kind for kind, value in about.items() if value]
    values = [np.frombuffer(about[kind], np.uint8) for kind in kinds]
    swapped = {3: cv2.COLOR_RGB2BGR, 4: cv2.COLOR_RGBA2BGRA}.get(samples.shape[2])
    given = samples if swapped is None else cv2.cvtColor(samples, swapped)
    done, file = cv2.imencodeWithMetadata(suffix, given, kinds, values, options)
    if not done:
        message = f"the picture could not be encoded as {suffix.removeprefix('.').upper()}"
        raise ImgtransError(message)
    return file.tobytes()


def _tiff(samples: Samples, icc: bytes, exif: bytes) -> bytes:
    """Pillow's writer takes no 16-bit colour, and not every EXIF; of that the texts are kept."""
    file, texts = io.BytesIO(), texts_of(exif)
    named = {270: "description", 305: "software"}
    options: dict[str, Any] = {
        name: texts[tag].encode("ascii", "replace").decode()
        for tag, name in named.items()
        if tag in texts
    }
    tifffile.imwrite(
        file,
        samples[..., 0] if samples.shape[2] == 1 else samples,
        photometric="rgb" if samples.shape[2] > 2 else "minisblack",
        planarconfig="contig" if samples.shape[2] > 1 else None,
        extrasamples=["unassalpha"] if samples.shape[2] == 4 else None,
        iccprofile=icc or None,
        compression="zlib",
        metadata=None,
        extratags=[(tag, 2, None, text, True) for tag, text in texts.items() if tag not in named],
        **options,
    )
    return file.getvalue()
