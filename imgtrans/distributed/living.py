"""Signs of life: how processes that wait for another see that it has not stopped for good.

A process that ends is found by torchrun. One that is stopped, hangs or has lost its machine only
falls silent, and what it does may rightly take hours: so not the work is given a time, but the
silence. A thread of each process counts up in the store; those who wait look at the count.
"""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from itertools import count
from typing import TYPE_CHECKING, Final

from imgtrans.distributed import GoneError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SECONDS: Final = 5.0
"""Between two signs, and between two looks for one."""
LOOKS: Final = 60
"""So many without a new sign, which is five minutes, and a process counts as gone."""


@contextmanager
def shown(sign: Callable[[int], None]) -> Iterator[None]:
    """Give signs of life inside.

    Args:
        sign: makes a count known to the others; raises `GoneError` where they are gone, which who
            waits for them finds too.
    """
    over = threading.Event()

    def go_on() -> None:
        try:
            for number in count():
                sign(number)
                if over.wait(SECONDS):
                    return
        except GoneError:
            return

    thread = threading.Thread(target=go_on, name="signs of life", daemon=True)
    thread.start()
    try:
        yield
    finally:  # where a store no longer answers, not even this ends
        over.set()
        thread.join(SECONDS)


class Watch:
    """Looks for the signs of a process that this one waits for.

    It counts looks and not seconds: this process may have been stopped as well.
    """

    def __init__(self, rank: int, seen: Callable[[], int | None]) -> None:
        """Of the process ``rank``, whose last count ``seen`` returns."""
        self._rank, self._seen = rank, seen
        self._last: int | None = None
        self._silent, self._looked = 0, time.monotonic()

    def look(self) -> None:
        """Call it often.

        Raises:
            GoneError: the process has been silent for too long.
        """
        if time.monotonic() < self._looked + SECONDS:
            return
        now, self._looked = self._seen(), time.monotonic()
        self._silent = self._silent + 1 if now == self._last else 0
        self._last = now
        if self._silent >= LOOKS:
            message = (
                f"process {self._rank} of this training has shown no sign of life for "
                f"{LOOKS * SECONDS / 60:.3g} minutes: it was stopped, it hangs, or its machine is "
                "gone"
            )
            raise GoneError(message)
