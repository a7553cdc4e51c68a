"""Time, memory and signals of a run: how fast it goes, and whether somebody asked it to stop."""

from __future__ import annotations

import signal
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import psutil

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

    import torch


class Stop:
    """SIGINT and SIGTERM: the first lets a step finish, a second one stops at once.

    Outside steps there is nothing to wait for, so there the first one already stops at once.
    """

    def __init__(self) -> None:
        """Nobody has asked yet."""
        self.signal: int | None = None
        self.agreed: int | None = None
        """The signal by which all processes of a training stop after this step."""
        self.stepping = False
        """Whether a step goes on that is worth waiting for; the loop says so."""
        self.over = False
        """Whether the run is ending already; further signals are then not heeded."""

    @property
    def exit_code(self) -> int:
        """130 for SIGINT, 143 for SIGTERM."""
        return 128 + (self.agreed or self.signal or signal.SIGINT)

    def handle(self, number: int, frame: FrameType | None) -> None:
        """Remember the first signal of a loop; raise KeyboardInterrupt otherwise."""
        del frame
        if self.over:
            return
        first, self.signal = self.signal is None, self.signal or number
        if not (first and self.stepping):
            raise KeyboardInterrupt

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Take over SIGINT and SIGTERM inside, and give them back; only the main thread may."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        signals = (signal.SIGINT, signal.SIGTERM)
        before = [signal.signal(number, self.handle) for number in signals]
        try:
            yield
        finally:
            for number, handler in zip(signals, before, strict=True):
                signal.signal(number, handler)


@dataclass
class Clock:
    """What training time went into; fields of every line of the metrics."""

    start: float = 0.0
    before: float = 0.0
    """Seconds of earlier sessions of this run."""
    pace: float | None = None
    """Seconds per step, smoothed."""
    step: float = 0.0
    """Seconds of the last step, the wait for its images included."""
    _last: float = 0.0

    def begin(self, before: float) -> None:
        """Start counting, on top of what earlier sessions took."""
        self.start = self._last = time.perf_counter()
        self.before = before

    def tick(self) -> None:
        """A step is over."""
        now = time.perf_counter()
        self.step, self._last = now - self._last, now
        self.pace = self.step if self.pace is None else 0.95 * self.pace + 0.05 * self.step

    def skip(self) -> None:
        """What was just done, a measurement, is no part of the coming step."""
        self._last = time.perf_counter()

    @property
    def seconds(self) -> float:
        """Of training so far, earlier sessions included; 0 before it began."""
        if not self.start:
            return self.before
        return self.before + time.perf_counter() - self.start


def memory_mib(device: torch.device) -> float:
    """MiB that training holds: of the device at its peak, or resident where that is the CPU."""
    if device.type == "cuda":
        from torch import cuda

        return cuda.max_memory_allocated(device) / 2**20
    return float(psutil.Process().memory_info().rss) / 2**20
