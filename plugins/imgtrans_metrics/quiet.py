"""torchmetrics without its remarks on parts that are not used here."""

from __future__ import annotations

import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def quiet() -> Iterator[None]:
    """Import it, or make what it remarks on, in here."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
