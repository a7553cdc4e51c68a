"""Where decoded images are kept: in a file that later runs use again, in memory, or nowhere."""

from __future__ import annotations

import contextlib
import errno
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import psutil
from filelock import FileLock, Timeout

from imgtrans.checkpoint import CorruptFileError
from imgtrans.data.flat import in_memory
from imgtrans.data.image_file import keys_of, open_file, set_aside, write_file
from imgtrans.data.reading import cores, every
from imgtrans.data.store import spread
from imgtrans.launching import count_here
from imgtrans.problems import ImgtransError, RecipeError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractContextManager

    from imgtrans.data.store import Store

Wish = Literal["auto", "memory", "device", "file", "none"]
"""What ``train.cache`` may say."""
CACHE_SHARE = 0.5
"""Of the memory or disk that is free at the start, at most this share holds decoded images."""
PAYS_SECONDS = 2.0
"""Images that are read in less are not worth a file."""
JUDGING_SECONDS = 1.0
"""About so long a few images of a domain are read to judge all by them."""
CONTAINER = Path("/sys/fs/cgroup")
"""Where Linux tells the limits of the container that a process is in."""


def fits_in_memory(size: int) -> bool:
    """Whether so many bytes of decoded images may be kept: half of what is free is for them.

    Where several processes train together on this machine, each keeps them.
    """
    return size * count_here() <= CACHE_SHARE * _free_bytes()


def _free_bytes() -> int:
    """Memory that is free, on this machine and in the container that this process may be in."""
    free: int = psutil.virtual_memory().available
    try:
        most, used = (
            int((CONTAINER / name).read_text()) for name in ("memory.max", "memory.current")
        )
    except (OSError, ValueError):  # no such limit: another system, or "max"
        return free
    with contextlib.suppress(OSError, ValueError, StopIteration):
        told = (CONTAINER / "memory.stat").read_text().split("\n")
        # Of files that were read some time ago: Linux lets go of them as soon as it needs room.
        used -= int(next(line.split()[1] for line in told if line.startswith("inactive_file ")))
    return min(free, most - used)


def keep(
    stores: Sequence[Store],
    wish: Wish,
    progress: Callable[[str, int], Callable[[], None]],
) -> bool:
    """Keep the images of some domains, as a recipe wishes.

    A file of an earlier run is taken at once, where it has these images as they are now. Else
    "auto" measures a few: what takes long to read gets a file, other images memory, if there is
    room for them.

    Args:
        stores: of the domains.
        wish: of the recipe; on a processor "device" is memory.
        progress: called with a label and a total when reading starts; returns a tick.

    Returns:
        Whether they are kept now.

    Raises:
        ImgtransError: an image is broken and the recipe does not leave such images out; or a file
            is wished and cannot be.
    """
    if wish == "none":
        return False
    if all(_take(store) for store in stores):
        return True
    if wish == "file":
        _require_stamps(stores)
    size, seconds = map(sum, zip(*(judged(store) for store in stores), strict=True))
    helpers = cores() if seconds > PAYS_SECONDS else 0
    filling = _Filling(stores, helpers, progress)
    if wish == "file" or (wish != "memory" and filling.pays(seconds) and has_room(stores, size)):
        try:
            return filling.in_files()
        except OSError as error:
            if wish == "file":
                raise ImgtransError(_no_file(stores, error)) from error
            stores[0].warn(_no_file(stores, error))
    if wish == "auto" and not fits_in_memory(size):
        return False
    return filling.in_memory()


def _require_stamps(stores: Sequence[Store]) -> None:
    if any(store.path is None for store in stores):
        message = (
            '[train] cache = "file": the images of this [dataset] have no stamps, which would tell '
            'when they change; use "auto" or "memory"'
        )
        raise RecipeError(message)


def _no_file(stores: Sequence[Store], error: OSError) -> str:
    folder = next(store.path.parent for store in stores if store.path is not None)
    return (
        f"decoded images cannot be kept in {folder}: {error.strerror or error}; make room there, "
        "or set IMGTRANS_CACHE to another folder"
    )


def judged(store: Store) -> tuple[int, float]:
    """Bytes of all images, and seconds to read them, judged by a few."""
    if store.kept is not None:
        return 0, 0.0
    start, largest, read = time.perf_counter(), 0, 0
    for index in spread(len(store), 16):
        image, _ = store.read(index)
        largest = max(largest, image.numel() * image.element_size())
        read += 1
        if time.perf_counter() - start > JUDGING_SECONDS:
            break
    return largest * len(store), (time.perf_counter() - start) / read * len(store)


def has_room(stores: Sequence[Store], size: int) -> bool:
    """Whether there may be files of so many bytes: half of what is free is for them."""
    paths = [store.path for store in stores if store.path is not None]
    if len(paths) < len(stores):
        return False
    there = next(folder for folder in paths[0].parents if folder.is_dir())
    return size <= CACHE_SHARE * shutil.disk_usage(there).free


def _take(store: Store) -> bool:
    """Keep what a file holds, if it has exactly the images of now."""
    if store.kept is not None or store.path is None:
        return store.kept is not None
    try:
        found = open_file(store.path)
    except CorruptFileError as error:
        set_aside(store.path, error, store.warn)
        return False
    except OSError as error:
        store.warn(f"{store.path} cannot be read: {error.strerror}")
        return False
    if found is None or found.keys != keys_of(store.stamped):
        return False
    store.kept = found.flat
    return True


@dataclass(frozen=True)
class _Filling:
    """Reads every image that is not kept yet."""

    stores: Sequence[Store]
    helpers: int
    progress: Callable[[str, int], Callable[[], None]]

    def pays(self, seconds: float) -> bool:
        """Whether a file would be worth it, or is there and only has to follow a change."""
        alone = seconds / max(1, self.helpers)
        return alone > PAYS_SECONDS or any(store.file is not None for store in self.stores)

    def in_memory(self) -> bool:
        """Keep the images in memory."""
        tick = self._tick()
        for store in self.stores:
            if store.kept is None:
                images = every(store, range(len(store)), self.helpers, tick)
                store.kept = in_memory(images, len(store))
        return True

    def in_files(self) -> bool:
        """Keep each domain in its file.

        Raises:
            OSError: the disk is full, or the folder cannot be written.
        """
        tick = self._tick()
        for store in self.stores:
            if store.kept is None and store.path is not None:
                with self._locked(store, store.path):
                    # Another process may have written it meanwhile.
                    if not _take(store):
                        self._write(store, store.path, tick)
        return True

    def _tick(self) -> Callable[[], None]:
        return self.progress("reading images", sum(map(len, self.stores)))

    def _locked(self, store: Store, path: Path) -> AbstractContextManager[object]:
        """One process fills a file, others wait for it."""
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(path.with_suffix(".lock"))
        try:
            return lock.acquire(timeout=1)
        except Timeout:
            store.warn("another process is reading the same images; waiting for what it keeps")
            return lock.acquire()
        except NotImplementedError as error:  # of file systems that know no locks
            raise OSError(errno.ENOTSUP, str(error), str(path)) from error

    def _write(self, store: Store, path: Path, tick: Callable[[], None]) -> None:
        """Write a file; images that it had stay as they are."""
        store.forget_file()
        keys = keys_of(store.stamped)  # before reading: what changes meanwhile is read again
        write_file(path, keys, every(store, range(len(store)), self.helpers, tick))
        written = open_file(path)
        assert written is not None  # noqa: S101 - it was written here
        store.kept = written.flat
