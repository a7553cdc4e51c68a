"""Whether torchrun has started this process, and which of how many it is. Never imports torch."""

from __future__ import annotations

import os
import signal
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType


@dataclass(frozen=True)
class Launched:
    """This process among those that torchrun has started."""

    rank: int
    count: int
    local_rank: int
    """Among those on this machine."""
    local_count: int
    restarts: int
    """How often torchrun has started all of them again."""


def launched() -> Launched | None:
    """What torchrun tells in the environment; None where it has not started this process."""
    if "TORCHELASTIC_RUN_ID" not in os.environ:
        return None
    names = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "TORCHELASTIC_RESTART_COUNT")
    return Launched(*(int(os.environ[name]) for name in names))


def speaks() -> bool:
    """Whether this process is the one that speaks for all on its machine."""
    here = launched()
    return here is None or here.local_rank == 0


def count_here() -> int:
    """How many processes share this machine's memory for one training."""
    here = launched()
    return 1 if here is None else here.local_count


@contextmanager
def interrupted_at_once() -> Iterator[None]:
    """Ctrl-C ends the process inside, where nothing has been written yet and much is imported.

    Raised in the middle of an import, KeyboardInterrupt may be swallowed by what is imported and
    leave half a module, with which the program would go on.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, _end)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _end(number: int, frame: FrameType | None) -> None:
    del frame
    if speaks():
        os.write(2, b"stopped\n")
    os._exit(128 + number)


def leave_in_peace() -> None:
    """End with the exit code that is due: torchrun ends all as soon as it sees one that has ended.

    Call it where nothing is left to do but to exit.
    """
    if launched() is not None:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
