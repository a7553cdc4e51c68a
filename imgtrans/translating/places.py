"""Which pictures are meant, and where each goes."""

from __future__ import annotations

import glob
from pathlib import Path
from typing import TYPE_CHECKING

from imgtrans.pictures import EXTENSIONS
from imgtrans.pictures.files import SUFFIXES
from imgtrans.problems import RecipeError

if TYPE_CHECKING:
    from collections.abc import Sequence

_FORMATS = {suffix: name for name, suffix in SUFFIXES.items()} | {".jpeg": "JPEG", ".tiff": "TIFF"}


def find_pictures(inputs: Sequence[str], output: Path) -> dict[Path, Path]:
    """Every picture file that files, folders and patterns name, to its path below the output.

    Folders are walked and keep their structure; files keep their names; of a pattern, what follows
    its last folder without a wildcard is kept. What lies in the output is no input.

    Raises:
        RecipeError: an input is not there, or holds no picture.
    """
    found: dict[Path, tuple[Path, Path]] = {}
    results = output.resolve()
    for text in inputs:
        given = Path(text)
        if given.is_dir():
            others = results if given.resolve() != results else None
            files = [path for path in sorted(given.rglob("*")) if _is_picture(path, others)]
            pairs = [(path, path.relative_to(given)) for path in files]
        elif given.exists():
            pairs = [(given, Path(given.name))]
        else:
            base = _base_of(given)
            matches = glob.glob(text, recursive=True)  # noqa: PTH207 - Path.glob takes no absolute ones
            files = sorted(map(Path, matches))
            pairs = [(path, path.relative_to(base)) for path in files if _is_picture(path, results)]
        if not pairs:
            what = "holds no picture" if given.exists() else "is not there"
            message = f"{text} {what}; pictures end in {', '.join(sorted(EXTENSIONS))}"
            raise RecipeError(message)
        for path, place in pairs:
            found.setdefault(path.resolve(), (path, place))
    return dict(found.values())


def _is_picture(path: Path, results: Path | None) -> bool:
    """By its name, unless it is hidden or lies among the results."""
    named = path.suffix.lower() in EXTENSIONS and not path.name.startswith(".")
    return named and path.is_file() and (results is None or results not in path.resolve().parents)


def _base_of(pattern: Path) -> Path:
    """The folders of a pattern before its first wildcard."""
    parts = pattern.parts[:-1]
    wild = next((n for n, part in enumerate(parts) if glob.has_magic(part)), len(parts))
    return Path(*parts[:wild])


def targets_of(found: dict[Path, Path], output: Path, format_: str | None) -> dict[Path, Path]:
    """Where each picture goes.

    Raises:
        RecipeError: two go to one place, or one to an input's.
    """
    if output.exists() and not output.is_dir():
        message = f"--output {output} is a file; give a folder"
        raise RecipeError(message)
    targets: dict[Path, Path] = {}
    taken: dict[Path, Path] = {}
    inputs = {(about.st_dev, about.st_ino) for about in (each.stat() for each in found)}
    for source, place in found.items():
        target = output / _renamed(place, format_)
        if target in taken:
            message = (
                f"{taken[target]} and {source} would both become {target}; translate them into "
                "different folders"
            )
            raise RecipeError(message)
        if target.exists():
            about = target.stat()
            if (about.st_dev, about.st_ino) in inputs or target.is_dir():
                what = "a folder" if target.is_dir() else "one of the inputs"
                message = f"{target} is {what}; choose another output folder"
                raise RecipeError(message)
        targets[source], taken[target] = target, source
    return targets


def _renamed(place: Path, format_: str | None) -> Path:
    """With the suffix of a format; ``.jpeg`` is as good as ``.jpg``, and ``v1.2`` has none."""
    if format_ is None or _FORMATS.get(place.suffix.lower()) == format_:
        return place
    stem = place.stem if place.suffix.lower() in EXTENSIONS else place.name
    return place.with_name(stem + SUFFIXES[format_])
