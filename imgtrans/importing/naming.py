"""Which files are meant, and which network of a CycleGAN each one is."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from imgtrans.components import Generator
from imgtrans.problems import ImgtransError, RecipeError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from imgtrans.importing.recognising import Network

_PATTERNS: Final = ("latest_net_[GD].pth", "latest_net_[GD]_[AB].pth", "[GD]_*.pkl")
"""What the published programs call their files."""

# The original release names a discriminator after the generator that it judges: D_A sees what G_A
# makes, which is of the second domain. The seed's D_X sees images of X.
_GENERATORS: Final = {"G_A": 0, "G_XtoY": 0, "G_B": 1, "G_YtoX": 1}
_DISCRIMINATORS: Final = {"D_A": 1, "D_Y": 1, "D_B": 0, "D_X": 0}


def files_of(paths: Sequence[Path]) -> list[Path]:
    """Files as they are; folders as the published weights in them.

    Raises:
        RecipeError: a file is meant twice.
        ImgtransError: a folder has none.
    """
    found: list[Path] = []
    for path in paths:
        if not path.is_dir():
            found.append(path)
            continue
        inside = sorted({each for pattern in _PATTERNS for each in path.glob(pattern)})
        if not inside:
            message = (
                f"{path} has neither latest_net_G.pth nor latest_net_G_A.pth and _B nor "
                "G_XtoY.pkl and G_YtoX.pkl; name the files themselves"
            )
            raise ImgtransError(message)
        found += inside
    whole = [path.resolve() for path in found]
    for number, path in enumerate(found):
        if whole[number] in whole[:number]:
            message = f"{path} is named twice; two generators are two files"
            raise RecipeError(message)
    return found


@dataclass(frozen=True)
class Place:
    """Which of a CycleGAN's networks a file is."""

    network: Network
    number: int
    """Of a generator 0 for x to y, 1 for y to x; of a discriminator whose images it judges."""
    how: str
    """Why it is taken for this one."""


def places_of(networks: Sequence[Network]) -> tuple[list[Place], list[Place]]:
    """Generators and discriminators, each with its place.

    Raises:
        ImgtransError: there is no generator, or too many of something.
    """
    is_generator = [isinstance(each.component, Generator) for each in networks]
    generators = [each for each, is_one in zip(networks, is_generator, strict=True) if is_one]
    others = [each for each, is_one in zip(networks, is_generator, strict=True) if not is_one]
    if not generators:
        message = "there is no generator among these files, so nothing that translates"
        raise ImgtransError(message)
    for noun, found in (("generators", generators), ("discriminators", others)):
        if len(found) > 2:
            listed = ", ".join(str(each.path) for each in found)
            message = f"these are {len(found)} {noun}, and two at most are needed: {listed}"
            raise ImgtransError(message)
    if len(generators) == 2:
        return _placed(generators, _GENERATORS, (0, 1)), _placed(others, _DISCRIMINATORS, (1, 0))
    # A generator alone is the first direction, whatever it was called beside another one.
    turned = _told(generators[0].path, _GENERATORS) == 1
    names = {name: at ^ turned for name, at in _DISCRIMINATORS.items()}
    return [Place(generators[0], 0, "the only one")], _placed(others, names, (1, 0))


def _placed(
    networks: Sequence[Network], names: Mapping[str, int], otherwise: tuple[int, int]
) -> list[Place]:
    told = [place for each in networks if (place := _told(each.path, names)) is not None]
    by_name = len({*told}) == len(networks)
    how = "by its name" if by_name else "by the order of the files"
    return [
        Place(each, told[number] if by_name else otherwise[number], how)
        for number, each in enumerate(networks)
    ]


def _told(path: Path, names: Mapping[str, int]) -> int | None:
    """The place that a file's name tells: ``latest_net_G_A``, ``G_XtoY``."""
    match = re.search(r"(?:^|[_.-])([GD]_[A-Za-z]+)$", path.stem)
    return names.get(match[1]) if match else None
