"""What a checkpoint or a model file says of itself, looked at before anything is made of it.

Its SHA-256 tells that nothing has changed since it was written, not by whom.
"""

from __future__ import annotations

import math
from typing import Any, Final

_NEEDED: Final = {
    "checkpoint": ("recipe", "step", "seconds", "fingerprint"),
    "model": ("recipe",),
}
_MOST: Final = 1 << 53
_TYPES: Final[dict[str, tuple[type, ...]]] = {
    "recipe": (dict,),
    "step": (int,),
    "seconds": (int, float),
    "fingerprint": (str,),
    "generated": (bool,),
    "best": (dict,),
    "metric": (str,),
    "value": (int, float),
}


def oddity(about: Any) -> str:
    """What is wrong with a description; nothing where it can be gone by."""
    if not isinstance(about, dict):
        return "its description is no table"
    needed = _NEEDED.get(str(about.get("kind")), ())
    if missing := [key for key in needed if key not in about]:
        return f"it does not tell its {missing[0]}"
    if best := about.get("best"):
        if not isinstance(best, dict) or {"step", "metric", "value"} - best.keys():
            return "what it tells of the best checkpoint makes no sense"
        if wrong := _wrong(best):
            return f"its best {wrong} makes no sense"
    wrong = _wrong(about)
    return f"its {wrong} makes no sense" if wrong else ""


def _wrong(told: dict[str, Any]) -> str:
    """The first key whose value cannot be."""
    return next((key for key in _TYPES if key in told and not _can_be(key, told[key])), "")


def _can_be(key: str, value: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return type(value) in _TYPES[key]
    # A whole number of JSON may have any number of digits, more than a float can stand for.
    small = abs(value) < _MOST if isinstance(value, int) else math.isfinite(value)
    return small and (key == "value" or 0 <= value < _MOST) and type(value) in _TYPES[key]
