"""Turns image files into tensors at the bit depth they were saved with.

The invariant: what `decode` returns is the whole first frame, upright, without alpha, at the file's
own depth; a file for which that cannot be had is a `DecodingError`, never a poorer image.

Pillow reads every file first, so that its checks apply to all of them. It keeps only 8 of the 16
bits of a colour sample, so 16-bit colour is read a second time with OpenCV, and the upper halves of
the two readings must agree. ICC profiles are handed on: samples are taken as they are stored.
"""

from __future__ import annotations

import io
import struct
import warnings
import zlib
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING, BinaryIO, TypeVar

import cv2
import numpy as np
import torch
from PIL import ExifTags, Image, UnidentifiedImageError

from imgtrans.pictures.content import content_of, open_file
from imgtrans.pictures.exif import exif_of
from imgtrans.pictures.samples import TURNED, over_white, upright, with_channels
from imgtrans.problems import ImgtransError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from imgtrans.pictures.samples import Samples

_T = TypeVar("_T")
_FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF")
_DEEP = 16  # bits per sample
# Pillow's modes that mean what they say, and those to convert into one that does.
_PLAIN = frozenset({"L", "LA", "RGB", "RGBA", "I;16", "I;16B", "I;16L"})
_CONVERTED = {"1": "L", "La": "LA", "P": "RGBA", "PA": "RGBA", "CMYK": "RGB", "YCbCr": "RGB"}
# What Pillow's readers raise, besides OSError, when the bytes make no sense to them.
_BROKEN = (SyntaxError, ValueError, TypeError, LookupError, EOFError, struct.error, zlib.error)


class DecodingError(ImgtransError):
    """An image file that is broken, or that cannot be read without losing part of it."""


@dataclass(frozen=True)
class Stored:
    """A picture file's first frame and what surrounds it."""

    samples: Samples
    """``H×W×C`` uint8 or uint16, as stored and not upright: grey or RGB, and perhaps alpha."""
    format: str
    """``JPEG``, ``PNG``, ``WEBP``, ``BMP`` or ``TIFF``."""
    orientation: int
    """Of EXIF: 1 is upright."""
    icc: bytes
    """The colour profile that the samples are in, if the file names one."""
    exif: bytes
    """Without thumbnails; empty where there is none that can be kept."""
    missed: tuple[str, ...] = ()
    """What of the file is not here."""


def decode(path: Path, channels: int) -> torch.Tensor:
    """Decode a whole image file.

    Alpha and transparent palette entries are laid over white, colour becomes grey by the ITU-R 601
    luma, and grey becomes colour by repetition, all at the file's depth.

    Args:
        path: the file; what it holds counts, not its suffix.
        channels: 1 for grey, 3 for RGB.

    Returns:
        (channels, H, W), upright: uint8 in 0..255, or uint16 in 0..65535 for 16-bit files.

    Raises:
        ValueError: `channels` is neither 1 nor 3.
        DecodingError: the file is missing, broken, suspiciously large or not readable losslessly.
    """
    if channels not in (1, 3):
        message = f"channels is {channels}; it must be 1 (grey) or 3 (RGB)"
        raise ValueError(message)
    samples, orientation, _ = _load(path, lambda _: None)
    return pixels_of(samples, orientation, channels)


def pixels_of(samples: Samples, orientation: int, channels: int) -> torch.Tensor:
    """Stored samples as networks are shown them: ``channels×H×W``, upright, over white."""
    shown = seen(samples, orientation, channels)
    # A copy, because Pillow's own memory is read-only.
    return torch.from_numpy(np.array(shown.transpose(2, 0, 1), order="C"))


def seen(samples: Samples, orientation: int, channels: int) -> Samples:
    """``H×W×channels``, upright, over white; perhaps a read-only view."""
    return upright(with_channels(over_white(samples), channels), orientation)


def read(path: Path) -> Stored:
    """Read a whole image file as it is stored, with what surrounds its pixels.

    Raises:
        DecodingError: the file is missing, broken, suspiciously large or not readable losslessly.
    """
    samples, orientation, (format_, icc, exif, missed) = _load(path, _surroundings)
    return Stored(samples, format_, orientation, icc, exif, missed)


def _surroundings(image: Image.Image) -> tuple[str, bytes, bytes, tuple[str, ...]]:
    """Format, colour profile and EXIF of a picture, and what of it is not kept."""
    cmyk = image.mode == "CMYK"
    exif, missed = exif_of(image)
    missed += ("frames after the first",) * (getattr(image, "n_frames", 1) > 1)
    missed += ("CMYK colours",) * cmyk
    icc = b"" if cmyk else image.info.get("icc_profile") or b""
    return str(image.format), icc, exif, missed


def _load(path: Path, look: Callable[[Image.Image], _T]) -> tuple[Samples, int, _T]:
    """Samples and orientation of a file, and what ``look`` finds in the open picture."""
    with _plainly(path):
        content = content_of(path)
        with Image.open(io.BytesIO(content), formats=_FORMATS) as image:
            bits = _bits_per_sample(path, image, content)
            image.load()
            samples = _plain_samples(path, image)
            key = None if image.mode == "P" else image.info.get("transparency")
            # Asked after loading, because Pillow has by then turned TIFFs and forgotten the tag.
            orientation = image.getexif().get(ExifTags.Base.Orientation, 1)
            found = look(image)
    if bits == _DEEP and samples.dtype == np.uint8:
        samples = _deep_samples(path, content, samples)
    if key is not None:
        samples = _with_key_as_alpha(samples, key, bits)
    return samples, orientation, found


def image_size(path: Path) -> tuple[int, int]:
    """Read an image's size from its header, leaving its pixels alone.

    Returns:
        (height, width) of what `decode` would return.

    Raises:
        DecodingError: the file is missing or has no header that can be read.
    """
    with _plainly(path), open_file(path) as file, Image.open(file, formats=_FORMATS) as image:
        width, height = image.size
        # PNG's own getexif decodes the pixels in search of EXIF data behind them.
        searched = image.format != "PNG" or _has_late_text(file)
        exif = image.getexif() if searched else Image.Image.getexif(image)
        # Pillow gives TIFFs' sizes after orientation, every other format's before it.
        turned = image.format != "TIFF" and exif.get(ExifTags.Base.Orientation, 1) in TURNED
    return (width, height) if turned else (height, width)


def _refusal(path: Path, reason: str, remedy: str = "replace or remove the file") -> DecodingError:
    return DecodingError(
        f"{path}: cannot be decoded: {reason}. Readable are JPEG, PNG, WebP, BMP and TIFF "
        f"images of 8 or 16 bits per sample. To fix it: {remedy}."
    )


class _PillowWarnings:
    """Filters for Pillow's warnings while any thread decodes; `catch_warnings` alone would race.

    Suspected bombs become errors. The others are about metadata, EXIF above all: an orientation
    that cannot be read is none, as in viewers. Whether pixels are whole, decoding them decides.
    """

    _lock, _users, _before = Lock(), 0, warnings.catch_warnings()

    def __enter__(self) -> None:
        with self._lock:
            if not self._users:
                self._before = warnings.catch_warnings()
                self._before.__enter__()
                warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")
                warnings.filterwarnings("error", category=Image.DecompressionBombWarning)
            self._users += 1

    def __exit__(self, *error: object) -> None:
        with self._lock:
            self._users -= 1
            if not self._users:
                self._before.__exit__(None, None, None)


_PILLOW_WARNINGS = _PillowWarnings()


@contextmanager
def _plainly(path: Path) -> Iterator[None]:
    """Turn whatever Pillow raises about a file into DecodingError."""
    try:
        with _PILLOW_WARNINGS:
            yield
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise _refusal(path, str(error).rstrip("."), "if you trust it, scale it down") from error
    except UnidentifiedImageError as error:
        empty = path.is_file() and not path.stat().st_size
        what = "the file is empty" if empty else "it holds no readable image"
        raise _refusal(path, what) from error
    except (OSError, *_BROKEN) as error:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise _refusal(path, reason) from error


def _has_late_text(file: BinaryIO) -> bool:
    """Whether a PNG has chunks behind its pixels that may hold an orientation."""
    file.seek(8)
    pixels_seen = False
    while len(head := file.read(8)) == 8:
        length, name = struct.unpack(">I4s", head)
        pixels_seen = pixels_seen or name == b"IDAT"
        if pixels_seen and name in (b"eXIf", b"zTXt", b"tEXt", b"iTXt"):
            return True
        file.seek(length + 4, io.SEEK_CUR)
    return False


def _bits_per_sample(path: Path, image: Image.Image, content: bytes) -> int:
    """Find a sample's bits in the file itself, where Pillow's modes do not tell."""
    if image.format != "TIFF":
        return content[24] if image.format == "PNG" else 8
    tags = image.tag_v2  # type: ignore[attr-defined]  # only Pillow's TIFF images have it
    bits = max(tags.get(258, (1,)))
    remedy = "save it as an 8- or 16-bit PNG, choosing how values map to brightness"
    if bits not in (1, 2, 4, 8, 16) or set(tags.get(339, (1,))) != {1}:
        raise _refusal(path, f"its {bits}-bit samples have no set black and white", remedy)
    if bits == _DEEP and tags.get(262) == 0:
        raise _refusal(path, "it is 16-bit grey with 0 for white", remedy)
    return int(bits)


def _plain_samples(path: Path, image: Image.Image) -> Samples:
    """Take Pillow's pixels as (H, W, grey or RGB and perhaps alpha)."""
    mode = _CONVERTED.get(image.mode, image.mode)
    if mode not in _PLAIN:
        raise _refusal(path, f"its mode {image.mode} is neither grey nor RGB", "convert it to RGB")
    plain = np.asarray(image if mode == image.mode else image.convert(mode))
    # "I;16B" comes in the other byte order, which torch does not know.
    native = plain.astype(plain.dtype.newbyteorder("="), copy=False)
    return native if native.ndim > 2 else native[..., None]


def _deep_samples(path: Path, content: bytes, shallow: Samples) -> Samples:
    """Read 16-bit colour as (H, W, C) without loss, and check it against Pillow's upper halves.

    The check is what makes the second decoder safe: OpenCV misreads planar TIFFs, and when it
    applies the orientation differs between formats and may differ between its versions.
    """
    try:
        deep = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error:
        deep = None
    if deep is not None and deep.dtype == np.uint16 and deep.shape[2:] >= shallow.shape[2:]:
        rgb = np.asarray(deep[..., [2, 1, 0, 3][: shallow.shape[2]]], np.uint16)
        if np.array_equal(rgb >> 8, shallow):
            return rgb
    reason = "its 16-bit colour is broken, or laid out so that reading it would lose bits"
    remedy = "save it as a 16-bit RGB PNG, or as a TIFF that is neither planar nor premultiplied"
    raise _refusal(path, reason, remedy)


def _with_key_as_alpha(samples: Samples, key: int | tuple[int, ...], bits: int) -> Samples:
    """Append an alpha channel that is 0 where a pixel has the PNG's transparent colour."""
    white = np.iinfo(samples.dtype).max
    # A 2- or 4-bit key is given at its own scale, its pixels at 8 bits. Pillow scales 1-bit keys.
    scale = {2: 85, 4: 17}.get(bits, 1)
    opaque = np.any(samples != np.asarray(key) * scale, axis=2, keepdims=True)
    return np.concatenate([samples, opaque.astype(samples.dtype) * white], axis=2)
