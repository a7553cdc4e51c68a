"""Where imgtrans keeps what it can make again: a folder of the user's, for caches."""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs


def cache_folder(name: str) -> Path:
    """``$IMGTRANS_CACHE/NAME``, or ``imgtrans/NAME`` in the system's folder for caches."""
    chosen = os.environ.get("IMGTRANS_CACHE")
    base = Path(chosen).expanduser() if chosen else platformdirs.user_cache_path("imgtrans")
    return base / name
