"""What a failing check says."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


class CheckError(AssertionError):
    """A component breaks a promise of its kind; the text says what its author must change."""


@contextmanager
def attempt(what: str, change: str) -> Iterator[None]:
    """Author's code that is tried: whatever it raises becomes an error with advice.

    Args:
        what: the part that is tried, as a message begins.
        change: what its author must change where it fails.

    Raises:
        CheckError: it failed.
    """
    try:
        yield
    except CheckError:
        raise
    except Exception as error:
        message = f"{what} fails: {in_short(error)}; {change}"
        raise CheckError(message) from error


def in_short(error: Exception) -> str:
    """An error's kind and the first line of its text; the rest is in the cause below it."""
    return f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}".rstrip(": ")
