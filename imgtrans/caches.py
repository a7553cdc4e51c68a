"""Where imgtrans keeps what it can make again: a folder of the user's, for caches."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from functools import cache
from pathlib import Path

import platformdirs


def cache_folder(name: str) -> Path:
    """``$IMGTRANS_CACHE/NAME``, or ``imgtrans/NAME`` in the system's folder for caches.

    Of a user without a home, as in some containers, one that lasts as long as this process.
    """
    chosen = os.environ.get("IMGTRANS_CACHE")
    try:
        base = Path(chosen).expanduser() if chosen else platformdirs.user_cache_path("imgtrans")
    except RuntimeError:
        return _passing() / name
    return (base if base.is_absolute() or chosen else _passing()) / name


@cache
def _passing() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="imgtrans-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder
