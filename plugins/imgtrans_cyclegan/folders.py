"""The dataset ``unpaired-folders``: photographs of two domains in folders, in any of three layouts.

Looks up, lists and checks files; what is seen when is the core's business. Never imports torch at
module level.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict

from imgtrans import (
    FREE,
    DataNotFoundError,
    Dataset,
    Field,
    Images,
    ImgtransError,
    NoHeldOutError,
    Split,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor


class Download(BaseModel):
    """Where a data set is published as a zip archive."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    addresses: tuple[str, ...] = Field(
        min_length=1,
        description="http(s) addresses of the same archive, tried in turn",
        json_schema_extra=FREE,
    )
    counts: dict[str, int] = Field(
        {},
        description="images that each folder must hold once unpacked",
        json_schema_extra=FREE,
    )


class UnpairedFolders(Dataset):
    """Photographs of two domains in folders, walked; no picture needs a counterpart.

    First match wins: the folders named by train_x, train_y, test_x and test_y; trainA, trainB,
    testA and testB; or those named after the recipe's domains, such as summer, winter, test_summer
    and test_winter.
    """

    root: str = Field(
        description="folder of the images; looked up under $IMGTRANS_DATA, then ./data, then here",
        json_schema_extra=FREE,
    )
    train_x: str | None = Field(
        None, description="training images of x, below root", json_schema_extra=FREE
    )
    train_y: str | None = Field(
        None, description="training images of y, below root", json_schema_extra=FREE
    )
    test_x: str | None = Field(
        None, description="held-out images of x, below root", json_schema_extra=FREE
    )
    test_y: str | None = Field(
        None, description="held-out images of y, below root", json_schema_extra=FREE
    )
    download: Download | None = Field(
        None, description="where to get the images when they are missing", json_schema_extra=FREE
    )

    def prepare(self, domains: tuple[str, str], say: Callable[[str], None]) -> UnpairedFolders:
        """Find the folder, or download it; returns this dataset with an absolute root.

        Raises:
            DataNotFoundError: it is nowhere, and cannot be downloaded.
        """
        del domains
        found = self._found()
        if found is None and self.download is not None:
            found = self._fetch(self.download, say)
        if found is None:
            raise DataNotFoundError(self._missing())
        return self.model_copy(update={"root": str(found.absolute())})

    def _places(self) -> list[Path]:
        root = Path(self.root).expanduser()
        if root.is_absolute():
            return [root]
        data = os.environ.get("IMGTRANS_DATA")
        return [*([Path(data).expanduser() / root] if data else []), Path("data") / root, root]

    def _found(self) -> Path | None:
        return next((place for place in self._places() if place.is_dir()), None)

    def _missing(self) -> str:
        looked = "\n".join(f"    {place.absolute()}" for place in self._places())
        return (
            f'[dataset] root = "{self.root}": there is no such folder; looked for\n{looked}\n'
            "  set root, or set IMGTRANS_DATA to the folder that holds it"
        )

    def _fetch(self, download: Download, say: Callable[[str], None]) -> Path:
        from imgtrans_cyclegan.download import NotDeliveredError, fetch

        # The first place is where a person would look for it: $IMGTRANS_DATA, else ./data.
        destination = self._places()[0]
        say(f"downloading {destination.name} from {download.addresses[0]} to {destination}")
        try:
            return fetch(
                download.addresses,
                destination,
                folder_counts=download.counts or None,
                progress=_every_tenth(say),
            )
        except NotDeliveredError as error:  # only then may a fallback stand in
            raise DataNotFoundError(str(error)) from error

    def build(self, split: Split, domains: tuple[str, str]) -> Images:
        """List the files of one split and check their sizes.

        Raises:
            DataNotFoundError: the root is missing.
            ImgtransError: folders are missing, empty or the same, or images too small.
        """
        root = self._found()
        if root is None:
            raise DataNotFoundError(self._missing())
        folder_x, folder_y = self._folders(root, split, domains)
        if folder_x.resolve() == folder_y.resolve():
            message = f"{domains[0]} and {domains[1]} are the same folder, {folder_x}"
            raise ImgtransError(message)
        x, y = (_listed(folder, root, self.channels) for folder in (folder_x, folder_y))
        for images in (x, y):
            self._check_sizes(images)
        return Images(x, y, paired=False)

    def _layouts(self, split: Split, domains: tuple[str, str]) -> list[tuple[str, str]]:
        keys = (getattr(self, f"{split}_x"), getattr(self, f"{split}_y"))
        prefix = "" if split == "train" else "test_"
        canonical = (f"{split}A", f"{split}B")
        named = (f"{prefix}{domains[0]}", f"{prefix}{domains[1]}")
        return [keys] if any(keys) else [canonical, named]

    def _folders(self, root: Path, split: Split, domains: tuple[str, str]) -> tuple[Path, Path]:
        layouts = self._layouts(split, domains)
        for pair in layouts:
            if not all(pair):
                given, other = (
                    (f"{split}_x", f"{split}_y") if pair[0] else (f"{split}_y", f"{split}_x")
                )
                message = f"[dataset] {given} is given without {other}; name both folders"
                raise ImgtransError(message)
            if all((root / name).is_dir() for name in pair):
                return root / pair[0], root / pair[1]
        there = sorted(entry.name for entry in root.iterdir() if entry.is_dir())
        wanted = " or ".join(f"{x}/ and {y}/" for x, y in layouts)
        message = (
            f"{root} has no folders {wanted} for the {split} images; "
            f"it holds {', '.join(there) or 'no folders'}\n"
            f"  rename them, or set {split}_x and {split}_y in [dataset]"
        )
        raise (NoHeldOutError if split == "test" else ImgtransError)(message)

    def _check_sizes(self, images: FileList) -> None:
        from imgtrans_cyclegan.decoding import DecodingError, image_size

        def too_small(path: Path) -> str | None:
            try:
                height, width = image_size(path)
            except DecodingError:
                return None  # a broken file is dealt with, and named, where it is decoded
            small = min(height, width) < self.image_size
            return f"    {path} ({width}×{height})" if small else None

        with ThreadPoolExecutor() as pool:  # the disk waits, not the processor
            small = [line for line in pool.map(too_small, images.paths) if line]
        if small:
            shown = "\n".join(small[:5]) + (f"\n    … {len(small) - 5} more" if small[5:] else "")
            message = (
                f"{len(small)} images in {images.folder} are smaller than image_size = "
                f"{self.image_size}\n{shown}\n  choose a smaller image_size, or move them away"
            )
            raise ImgtransError(message)


def _every_tenth(say: Callable[[str], None]) -> Callable[[int, int | None], None]:
    """Tells of a download at each tenth of it, or every 64 MiB where its size is unknown."""
    told = 0

    def progress(received: int, whole: int | None) -> None:
        nonlocal told
        if received - told >= (whole / 10 if whole else 64 * 2**20):
            told = received
            of = f" of {whole / 2**20:,.0f}" if whole else ""
            say(f"  {received / 2**20:,.0f}{of} MiB")

    return progress


@dataclass(frozen=True)
class FileList:
    """The images below one folder, sorted by their names."""

    folder: Path
    root: Path
    paths: Sequence[Path]
    channels: int

    def __len__(self) -> int:
        """How many files there are."""
        return len(self.paths)

    def __getitem__(self, index: int, /) -> Tensor:
        """``C×H×W``, uint8 or uint16, upright.

        Raises:
            DecodingError: the file cannot be decoded.
        """
        from imgtrans_cyclegan.decoding import decode

        return decode(self.paths[index], self.channels)

    def name(self, index: int, /) -> str:
        """The path below the root, or whole outside it, with forward slashes on every system."""
        path = self.paths[index]
        below = path.is_relative_to(self.root)
        return (path.relative_to(self.root) if below else path).as_posix()


def _listed(folder: Path, root: Path, channels: int) -> FileList:
    from imgtrans_cyclegan.decoding import EXTENSIONS

    paths = sorted(
        Path(parent, name)
        for parent, _, names in os.walk(folder)  # does not follow links: they may form a loop
        for name in names
        if Path(name).suffix.lower() in EXTENSIONS and not name.startswith(".")
    )
    if not paths:
        message = f"{folder} holds no image ({', '.join(sorted(EXTENSIONS))})"
        raise ImgtransError(message)
    return FileList(folder, root, paths, channels)
