"""Packs sample grids into a page: recompressed, and never more than fits.

The first and the newest step are always among the chosen, and which steps are chosen changes so
seldom that almost every picture is compressed only once in a run.
"""

from __future__ import annotations

import base64
import io
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from imgtrans.regular import open_regular

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

PICTURES: Final = 96
"""In one page, of all steps and directions; with the two sizes below about 6 MB of text."""
OLDER_BYTES: Final = 42_000
NEWEST_BYTES: Final = 240_000
WIDEST: Final = 1200
_NAME: Final = re.compile(r"step-(\d{1,18})-(.{1,200})\.png")
_LEVELS: Final = ((1.0, 90), (1.0, 75), (0.75, 70), (0.5, 60), (0.35, 45), (0.2, 35), (0.1, 30))
"""Scale and JPEG quality, tried in this order until a picture is small enough."""


@dataclass(frozen=True)
class Picture:
    """One sample grid, ready for an ``img`` element."""

    uri: str
    width: int
    height: int
    """Of the grid on the disk, whatever size it is packed in."""


@dataclass(frozen=True)
class Direction:
    """What a direction's grids are called, and the captions of their columns."""

    slug: str
    title: str
    columns: tuple[tuple[str, str], ...]
    """What each column is, and which domain it looks like."""


@dataclass(frozen=True)
class Samples:
    """The chosen steps, oldest first."""

    directions: tuple[Direction, ...]
    steps: tuple[int, ...]
    pictures: tuple[tuple[Picture, ...], ...]
    """By step, then by direction."""
    found: int
    """Steps with grids in the folder, chosen or not."""


def read_samples(folder: Path, domains: Sequence[str]) -> Samples | None:
    """Choose and pack the grids of a ``samples`` folder; None where there are none."""
    grids = _grids(folder)
    slugs = _in_order({slug for grid in grids.values() for slug in grid}, domains)
    wanted = _chosen(sorted(grids), max(2, PICTURES // max(1, len(slugs))))
    steps, pictures = [], []
    for step in wanted:
        allowed = NEWEST_BYTES if step == wanted[-1] else OLDER_BYTES
        row = tuple(picture for slug in slugs if (picture := pack(grids[step][slug], allowed)))
        if len(row) == len(slugs):  # else one is not whole: still being written, or damaged
            steps.append(step)
            pictures.append(row)
    if not steps:
        return None
    directions = tuple(_direction(slug, domains, len(slugs)) for slug in slugs)
    return Samples(directions, tuple(steps), tuple(pictures), len(grids))


def _grids(folder: Path) -> dict[int, dict[str, Path]]:
    """Paths by step and direction, of the steps that have every direction."""
    grids: dict[int, dict[str, Path]] = {}
    for path in folder.glob("step-*.png"):
        if match := _NAME.fullmatch(path.name):
            grids.setdefault(int(match[1]), {})[match[2]] = path
    most = max(map(len, grids.values()), default=0)
    whole = {step: grid for step, grid in grids.items() if len(grid) == most}
    # A folder of foreign pictures may have no slug in common; the newest step decides.
    slugs = whole[max(whole)].keys() if whole else ()
    return {step: grid for step, grid in whole.items() if grid.keys() == slugs}


def _chosen(steps: Sequence[int], room: int) -> list[int]:
    """Evenly spread steps, the first and the newest among them.

    The stride doubles, so the steps of a longer run are among those of the shorter one, and what
    was compressed for them is found again.
    """
    stride = 1
    while len(steps[::stride]) >= room and stride < len(steps):
        stride *= 2
    chosen = list(steps[::stride])
    return chosen if not chosen or chosen[-1] == steps[-1] else [*chosen, steps[-1]]


def _in_order(slugs: set[str], domains: Sequence[str]) -> list[str]:
    """From the first domain to the second comes first."""
    forth = "-to-".join(domains).replace("_", "-")
    return sorted(slugs, key=lambda slug: (slug != forth, slug))


def _direction(slug: str, domains: Sequence[str], count: int) -> Direction:
    pairs = [tuple(domains), tuple(domains)[::-1]] if len(domains) == 2 else []
    named: Mapping[str, Any] = {"-to-".join(pair).replace("_", "-"): pair for pair in pairs}
    source, _, target = slug.partition("-to-")
    source, target = named.get(slug, (source, target or "?"))
    columns = (("source", source), ("fake", target), ("reconstructed", source))
    # With one direction there is no way back, so a grid ends with its fakes.
    return Direction(slug, f"{source} to {target}", columns if count > 1 else columns[:2])


def pack(path: Path, allowed: int) -> Picture | None:
    """A grid in at most ``allowed`` bytes; None where it is missing or not whole."""
    try:
        about = path.stat()
    except OSError:
        return None
    return _packed_file(path, about.st_mtime_ns, about.st_size, allowed)


@lru_cache(maxsize=2 * PICTURES)
def _packed_file(path: Path, changed: int, size: int, allowed: int) -> Picture | None:  # noqa: ARG001
    """A file's picture; when it changed is part of the cache's key."""
    from PIL import Image

    try:
        with open_regular(path) as file, Image.open(file) as opened:
            grid = opened.convert("RGB")
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        return None
    return packed(grid, allowed)


def packed(grid: Any, allowed: int) -> Picture | None:
    """A PIL image as JPEG of at most ``allowed`` bytes; None where none is so small.

    WebP would be a fifth smaller but takes twenty times as long, and training waits for it.
    """
    most = min(1.0, WIDEST / grid.width, 30_000 / grid.height)
    level = 0
    while level < len(_LEVELS):
        scale, quality = _LEVELS[level]
        data = _jpeg(grid, scale * most, quality)
        if len(data) <= allowed:
            uri = "data:image/jpeg;base64," + base64.b64encode(data).decode("ascii")
            return Picture(uri, grid.width, grid.height)
        # Far too big: the next level halves it at best, so it is not worth trying.
        level += 2 if len(data) > 4 * allowed and level + 2 < len(_LEVELS) else 1
    return None


def _jpeg(grid: Any, scale: float, quality: int) -> bytes:
    from PIL import Image

    if scale < 1:
        size = (max(1, round(grid.width * scale)), max(1, round(grid.height * scale)))
        grid = grid.resize(size, Image.Resampling.LANCZOS, reducing_gap=2.0)
    stream = io.BytesIO()
    # Full colour resolution only where there is room: halved, it bleeds into the white gaps.
    # Not optimised: that needs the whole file in a buffer, which Pillow makes too small for noise.
    grid.save(stream, "JPEG", quality=quality, subsampling=0 if quality > 80 else 2)
    return stream.getvalue()
