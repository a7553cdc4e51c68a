"""Whether torchrun has started this process, and which of how many it is. Never imports torch."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass


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


def leave_in_peace() -> None:
    """End with the exit code that is due: torchrun ends all as soon as it sees one that has ended.

    Call it where nothing is left to do but to exit.
    """
    if launched() is not None:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
