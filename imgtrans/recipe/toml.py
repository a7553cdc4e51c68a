"""TOML that anybody may have written, read within bounds of memory, time and depth.

Python's reader takes memory that grows with the square of a dotted key's parts, and a call for each
bracket in a bracket; recipes need few of either.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from imgtrans.problems import RecipeError
from imgtrans.regular import open_regular

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

MOST_BYTES: Final = 1 << 20
DEEPEST: Final = 32
"""Tables and arrays in each other."""
_PART: Final = r"""(?:[\w-]+|"(?:\\.|[^"\\\n])*"|'[^'\n]*')[ \t]*\.[ \t]*"""
_DEEP_KEY: Final = re.compile(rf"(?<![\w\\\"'-])(?:{_PART}){{{DEEPEST}}}", re.ASCII)


def read_toml(file: Traversable) -> dict[str, Any]:
    """The tables of a file.

    Raises:
        RecipeError: it cannot be read, or is no TOML within bounds.
    """
    try:
        with open_regular(file) if isinstance(file, Path) else file.open("rb") as opened:
            content = opened.read(MOST_BYTES + 1)
        if len(content) > MOST_BYTES:
            message = f"{file} has more than {MOST_BYTES:,} bytes; no recipe is so large"
            raise RecipeError(message)
        return parse_toml(content.decode("utf-8-sig"))  # Notepad writes a BOM
    except OSError as error:
        message = f"{file} cannot be read: {error.strerror}"
        raise RecipeError(message) from None
    except ValueError as error:
        message = f"{file} is not a TOML file: {error}"
        raise RecipeError(message) from None


def parse_toml(text: str) -> dict[str, Any]:
    """The tables of a text.

    Raises:
        ValueError: it is no TOML within bounds.
    """
    if _DEEP_KEY.search(text):
        message = f"a key has more than {DEEPEST} parts"
        raise ValueError(message)
    try:
        tables = tomllib.loads(text)
    except RecursionError:
        raise ValueError(_TOO_DEEP) from None
    if reason := beyond(tables):
        raise ValueError(reason)
    return tables


_TOO_DEEP: Final = f"more than {DEEPEST} tables or arrays lie in each other"


def beyond(tables: Any) -> str:
    """How tables are beyond what TOML and recipes hold; nothing where they are not."""
    level = [tables]
    for _ in range(DEEPEST + 1):
        if any(isinstance(each, int) and abs(each) >= 1 << 64 for each in level):
            return "a whole number has more than 64 bits"
        inside = [
            (each.values() if isinstance(each, dict) else each)
            for each in level
            if isinstance(each, (dict, list, tuple))
        ]
        level = [value for values in inside for value in values]
        if not level:
            return ""
    return _TOO_DEEP
