"""The dataset ``unpaired-folders``: photographs of two domains in folders, in any of three layouts.

Looks up, lists and checks files; what is seen when is the core's business. Never imports torch at
module level.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

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

_Layout: TypeAlias = "dict[Split, tuple[str | None, str | None]]"


class Download(BaseModel):
    """Where a data set is published as a zip archive."""

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)

    addresses: tuple[str, ...] = Field(
        min_length=1,
        description="http(s) addresses of the same archive, tried in turn",
        json_schema_extra=FREE,
    )
    counts: dict[str, int] = Field(
        default={},
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
        default=None, description="training images of x, below root", json_schema_extra=FREE
    )
    train_y: str | None = Field(
        default=None, description="training images of y, below root", json_schema_extra=FREE
    )
    test_x: str | None = Field(
        default=None, description="held-out images of x, below root", json_schema_extra=FREE
    )
    test_y: str | None = Field(
        default=None, description="held-out images of y, below root", json_schema_extra=FREE
    )
    download: Download | None = Field(
        default=None,
        description="where to get the images when they are missing",
        json_schema_extra=FREE,
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
            ImgtransError: folders are missing, empty or the same, or images are too small and the
                recipe does not leave such images out.
        """
        from imgtrans_cyclegan.listing import listed
        from imgtrans_cyclegan.sizes import refuse_small

        root = self._found()
        if root is None:
            raise DataNotFoundError(self._missing())
        folder_x, folder_y = self._folders(root, split, domains)
        _refuse_shared(domains, (folder_x, folder_y))
        if split == "test":
            self._refuse_training_images(root, domains, (folder_x, folder_y))
        x, y = (
            listed(folder, root, self.channels, self.image_size) for folder in (folder_x, folder_y)
        )
        if self.broken_images == "stop":  # else they are left out as they are read, as broken ones
            for images in (x, y):
                refuse_small(images, self.image_size)
        return Images(x, y, paired=False)

    def _refuse_training_images(
        self, root: Path, domains: tuple[str, str], tests: tuple[Path, Path]
    ) -> None:
        """Raise where images are both held out and trained on; to measure a model none need be."""
        for layout in self._layouts(domains):
            if _are_there(root, layout["train"]):
                for domain, test, train in zip(domains, tests, layout["train"], strict=True):
                    names = (f"the training images of {domain}", "its test images")
                    _refuse_shared(names, (root / str(train), test))
                return

    def _layouts(self, domains: tuple[str, str]) -> list[_Layout]:
        """What each layout calls the folders; the keys leave no other where one of them is set."""
        keys: _Layout = {
            "train": (self.train_x, self.train_y),
            "test": (self.test_x, self.test_y),
        }
        if any(name for pair in keys.values() for name in pair):
            return [keys]
        x, y = domains
        return [
            {"train": ("trainA", "trainB"), "test": ("testA", "testB")},
            {"train": (x, y), "test": (f"test_{x}", f"test_{y}")},
        ]

    def _folders(self, root: Path, split: Split, domains: tuple[str, str]) -> tuple[Path, Path]:
        """The folders of one split, in the layout that the training images are in.

        Raises:
            NoHeldOutError: there is neither of the test folders, and no key asks for one.
            ImgtransError: they are not there; the text says what is.
        """
        layouts = self._layouts(domains)
        names = [layout[split] for layout in layouts]
        for layout in layouts:
            pair = layout[split]
            if any(pair) and not all(pair):
                given, other = ("x", "y") if pair[0] else ("y", "x")
                message = (
                    f"[dataset] {split}_{given} is given without {split}_{other}; name both folders"
                )
                raise ImgtransError(message)
            if split == "test" and not any(pair):
                message = "[dataset] names no test images"
                raise NoHeldOutError(message)
            if not _are_there(root, layout["train"]):
                continue
            if _are_there(root, pair):
                return root / str(pair[0]), root / str(pair[1])
            names = [pair]
            break
        else:  # somebody else's test images, to measure a model on
            there = [pair for pair in names if split == "test" and _are_there(root, pair)]
            if len(there) == 1:
                return root / str(there[0][0]), root / str(there[0][1])
        raise self._missing_folders(root, split, names)

    def _missing_folders(
        self, root: Path, split: Split, layouts: Sequence[tuple[str | None, str | None]]
    ) -> ImgtransError:
        there = sorted(entry.name for entry in root.iterdir() if entry.is_dir())
        wanted = " or ".join(f"{x}/ and {y}/" for x, y in layouts)
        message = (
            f"{root} has no folders {wanted} for the {split} images; "
            f"it holds {', '.join(there) or 'no folders'}\n"
            f"  rename them, or set {split}_x and {split}_y in [dataset]"
        )
        unasked = split == "test" and not (self.test_x or self.test_y)
        none_there = not any((root / str(name)).exists() for pair in layouts for name in pair)
        return (NoHeldOutError if unasked and none_there else ImgtransError)(message)


def _are_there(root: Path, pair: tuple[str | None, str | None]) -> bool:
    return all(name and (root / name).is_dir() for name in pair)


def _refuse_shared(names: tuple[str, str], folders: tuple[Path, Path]) -> None:
    """Raise where one folder is the other or lies in it: what is in it would be both."""
    one, other = (folder.resolve() for folder in folders)
    if one == other:
        message = f"{names[0]} and {names[1]} are the same folder, {folders[0]}"
        raise ImgtransError(message)
    if one.is_relative_to(other) or other.is_relative_to(one):
        inner, outer = folders if one.is_relative_to(other) else folders[::-1]
        message = (
            f"{inner} lies inside {outer}, so its images would be both {names[0]} and {names[1]}\n"
            "  move one of the folders out of the other"
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
