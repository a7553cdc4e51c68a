"""Decoded images of one domain in one memory-mapped file that later runs use again.

An image is taken from it only while its name and its stamp (of a file: size, times, inode) are what
they were when it was read; the file's own name is made of everything else that decides its pixels.
It is written whole or not at all, by one process at a time. Its index is verified when it is
opened, an image's bytes when they are first used.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import json
import mmap
import os
import time
import warnings
from dataclasses import dataclass
from functools import cache, cached_property
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import torch

from imgtrans import caches
from imgtrans.checkpoint import CorruptFileError, writing
from imgtrans.components import StampedImages, dump
from imgtrans.data.flat import PLACE, Broken, Flat, lay_out

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from torch import Tensor

    from imgtrans.components import Dataset, ImageList

FORMAT: Final = 2
"""Of the files; raised when what is written for the same image changes."""
HEAD: Final = 4096
"""Bytes before the pixels, so that these begin on a page."""
KEY: Final = 16
"""Bytes that stand for an image's name and stamp."""
DAYS: Final = 30
"""Files that no run has used for so long are deleted when another is written."""
DECODERS: Final = ("imgtrans", "numpy", "opencv-python-headless", "pillow", "torch")
READERS: Final = tuple(
    f"imgtrans.{name}" for name in ("data.store", "pictures.decoding", "pictures.exif")
)
"""Modules whose code decides pixels, beside the list's own: who edits them has no new version."""


def folder() -> Path:
    """Where the files are."""
    return caches.cache_folder("images")


def path_for(images: ImageList, dataset: Dataset, *how: object) -> Path | None:
    """The file of a list; None where its images cannot be told to be what they were.

    Args:
        images: of one domain.
        dataset: whose settings may decide what they show.
        how: they are brought to load size.
    """
    if not isinstance(images, StampedImages) or not len(images):
        return None
    kind = type(images)
    told = {
        "format": FORMAT,
        "dataset": dump(dataset),
        "list": f"{kind.__module__}.{kind.__qualname__}",
        "code": [_code(name) for name in (kind.__module__, *READERS)],
        "first": images.name(0),
        "how": [str(each) for each in how],
        "decoders": _versions(),
    }
    text = json.dumps(told, sort_keys=True)
    return folder() / f"{_digest(text.encode())}.images"


@cache
def _versions() -> dict[str, str]:
    found = {}
    for name in DECODERS:
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found


def _code(module: str) -> str:
    """Of the module that reads the images: whoever works on it sees what it does now."""
    try:
        spec = importlib.util.find_spec(module)
        return _digest(Path(spec.origin).read_bytes()) if spec and spec.origin else ""
    except (OSError, ValueError):  # not of a file, such as a notebook's own
        return ""


def _digest(data: bytes, size: int = 32) -> str:
    return hashlib.blake2b(data, digest_size=size).hexdigest()


def keys_of(images: StampedImages) -> bytes:
    """The keys of all images."""
    return b"".join(key(images, index) for index in range(len(images)))


def key(images: StampedImages, index: int) -> bytes:
    """What an image is known by: its name and its stamp now."""
    told = f"{images.name(index)}\0{images.stamp(index)}"
    return hashlib.blake2b(told.encode("utf-8", "surrogatepass"), digest_size=KEY).digest()


@dataclass(frozen=True)
class ImageFile:
    """A whole file, mapped."""

    flat: Flat
    keys: bytes
    """Of all images, in their order."""

    def find(self, wanted: bytes, index: int) -> Tensor | Broken | None:
        """An image by its key, most likely at an index."""
        if self._key(index) != wanted:
            index = self._where.get(wanted, -1)
        if index < 0:
            return None
        reason = self.flat.broken.get(index)
        return Broken(reason) if reason is not None else self.flat.view(index)

    def _key(self, index: int) -> bytes:
        return self.keys[index * KEY : (index + 1) * KEY]

    @cached_property
    def _where(self) -> dict[bytes, int]:
        return {self._key(index): index for index in range(len(self.flat))}


def open_file(path: Path) -> ImageFile | None:
    """Map a file; None where there is none.

    Raises:
        CorruptFileError: it is cut off, changed, or not one of ours.
        OSError: it cannot be read.
    """
    try:
        with path.open("rb") as file:
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except FileNotFoundError:
        return None
    except ValueError as error:  # an empty file cannot be mapped
        raise CorruptFileError(_damaged(path, "it is empty")) from error
    opened = _parse(path, mapped)
    with contextlib.suppress(OSError):  # not ours to touch, or a disk that is only read
        os.utime(path)
    return opened


def _parse(path: Path, mapped: mmap.mmap) -> ImageFile:
    try:
        head: dict[str, Any] = json.loads(mapped[:HEAD])
        count, pixels, told = head["images"], head["pixels"], head["index"]
        index = mapped[HEAD + pixels :]
    except (ValueError, TypeError, LookupError) as error:
        raise CorruptFileError(_damaged(path, "its head makes no sense")) from error
    if len(mapped) < HEAD + pixels or told != _digest(_checked(count, pixels, index)):
        raise CorruptFileError(_damaged(path, "it is cut off or changed"))
    places_from, broken_from = count * KEY, count * (KEY + PLACE.itemsize)
    broken = {int(number): reason for number, reason in json.loads(index[broken_from:]).items()}
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The given buffer is not writable", UserWarning)
        buffer = torch.frombuffer(mapped, dtype=torch.uint8, count=pixels, offset=HEAD)
    flat = Flat(buffer, np.frombuffer(index[places_from:broken_from], PLACE), broken, path)
    return ImageFile(flat, index[:places_from])


def _damaged(path: Path, why: str) -> str:
    return f"{path} is damaged: {why}"


def _checked(count: int, pixels: int, index: bytes) -> bytes:
    return f"{FORMAT} {count} {pixels}\n".encode() + index


def write_file(path: Path, keys: bytes, images: Iterable[Tensor | Broken]) -> None:
    """Write a file beside its final name, and give it that name once it is whole.

    Args:
        path: of the file.
        keys: of all images.
        images: in their order.

    Raises:
        ImgtransError: all images are broken.
        OSError: the disk is full, or the folder cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    _prune(path)
    with writing(path) as file:
        file.write(bytes(HEAD))
        count = len(keys) // KEY
        places, broken = lay_out(images, count, file.write)
        pixels = file.tell() - HEAD
        known = bytearray(keys)
        for number, each in broken.items():
            if each.passing:  # no image has this key, so it is read again next time
                known[number * KEY : (number + 1) * KEY] = bytes(KEY)
        reasons = json.dumps({number: each.reason for number, each in broken.items()})
        index = bytes(known) + places.tobytes() + reasons.encode()
        file.write(index)
        file.seek(0)
        told = _digest(_checked(count, pixels, index))
        head = json.dumps({"images": count, "pixels": pixels, "index": told})
        file.write(head.ljust(HEAD).encode())


def _prune(path: Path) -> None:
    """Delete what no run has used for long, and what killed writers of this file left."""
    old = time.time() - DAYS * 86_400
    for other in path.parent.iterdir():
        left = other.name.startswith(f".{path.name}.")
        with contextlib.suppress(OSError):
            if left or other.stat().st_mtime < old:
                other.unlink()


def set_aside(path: Path, error: Exception, warn: Callable[[str], None]) -> None:
    """Put a damaged file out of the way, loudly."""
    aside = path.with_suffix(".damaged")
    with contextlib.suppress(OSError):
        path.replace(aside)
    warn(f"{error}; set aside as {aside.name}, and the images are read again")
