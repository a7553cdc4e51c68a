"""Many pictures through one model: read ahead, batches of equal size, written behind."""

from __future__ import annotations

import os
import time
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from imgtrans.pictures.files import lost
from imgtrans.problems import ImgtransError
from imgtrans.translating.batches import MOST, Batches
from imgtrans.translating.opened import open_picture, write_picture

if TYPE_CHECKING:
    from collections.abc import Iterator
    from concurrent.futures import Future
    from pathlib import Path

    from imgtrans.inference import Translator
    from imgtrans.monitor.display import Display
    from imgtrans.tiling import Statistics
    from imgtrans.translating.opened import Opened

    Outcome = tuple[Path, Future[None] | str]
    """A picture that is being written, or what kept it from being translated."""

THREADS: Final = min(16, os.cpu_count() or 1)
"""That read pictures before their turn, and as many that write them after it."""
BEHIND: Final = 32
"""So many pictures may wait to be written."""


@dataclass(frozen=True)
class Options:
    """How pictures are translated."""

    direction: str | None = None
    resize: bool = False
    """Work at the training size: the shorter side becomes image_size."""
    format: str | None = None
    """One of ``SUFFIXES``; None keeps each file's own."""
    overwrite: bool = False
    memory: int = 2 * 2**30
    """Bytes that a network's layers may take at once; larger pictures go in tiles."""
    statistics: Statistics = "exact"


@dataclass
class Summary:
    """How it went."""

    done: int = 0
    skipped: int = 0
    failed: dict[Path, str] = field(default_factory=dict)
    seconds: float = 0.0


class Job:
    """Pictures through one model: read, translated and written at the same time."""

    def __init__(self, model: Translator, options: Options, display: Display) -> None:
        """Measure the network; nothing is read yet.

        Raises:
            ImgtransError: the model has no such direction.
        """
        self.model, self.options, self.display = model, options, display
        direction = model.direction(options.direction)
        self.batches = Batches(model, direction, options.memory, options.statistics, self._show)
        self.size = model.recipe.dataset.image_size if options.resize else None
        self.summary = Summary()
        self.began = time.perf_counter()
        self.working: list[Future[list[Outcome]]] = []
        self.written: list[Outcome] = []

    def run(self, targets: dict[Path, Path]) -> None:
        """Translate pictures, each to its place; what fails is in the summary."""
        waiting: dict[object, list[Opened]] = defaultdict(list)
        with (
            ThreadPoolExecutor(THREADS) as writers,
            ThreadPoolExecutor(self.batches.slots.count) as workers,
            ThreadPoolExecutor(THREADS) as readers,
        ):

            def work(batch: list[Opened], slots: int) -> list[Outcome]:
                return [
                    (opened.source, made if isinstance(made, str)
                     else writers.submit(write_picture, opened, made, self._format(opened)))
                    for opened, made in self.batches.run(batch, slots)
                ]  # fmt: skip

            def start(batch: list[Opened]) -> None:
                slots = self.batches.wanted(batch, len(targets))
                self.working.append(workers.submit(work, batch, slots))

            for source, reading in self._ahead(readers, targets):
                opened = self._try(source, reading)
                if opened is not None:
                    key = (opened.pixels.shape, opened.pixels.dtype, opened.deep)
                    waiting[key].append(opened)
                    if len(waiting[key]) >= self.batches.at_once(opened):
                        start(waiting.pop(key))
                if sum(map(len, waiting.values())) >= 2 * MOST:
                    start(waiting.pop(max(waiting, key=lambda each: len(waiting[each]))))
                self._settle(keep=BEHIND)
            for batch in waiting.values():
                start(batch)
            self._settle(keep=0)

    def _ahead(
        self, readers: ThreadPoolExecutor, targets: dict[Path, Path]
    ) -> Iterator[tuple[Path, Future[Opened]]]:
        """Pictures in their order, a few of them read before their turn."""
        coming: list[tuple[Path, Future[Opened]]] = []
        for source, target in targets.items():
            reading = readers.submit(open_picture, source, target, self.model.channels, self.size)
            coming.append((source, reading))
            if len(coming) > 2 * THREADS:
                yield coming.pop(0)
        yield from coming

    def _try(self, source: Path, reading: Future[Opened]) -> Opened | None:
        try:
            opened = reading.result()
        except ImgtransError as error:
            self._failed(source, str(error))
            return None
        format_ = self._format(opened)
        if gone := lost(opened.stored, format_):
            self.display.warn(f"{source}: the {format_} file has not its {' and '.join(gone)}")
        return opened

    def _format(self, opened: Opened) -> str:
        return self.options.format or opened.stored.format

    def _settle(self, keep: int) -> None:
        """Account for what is done; wait until no more than so many pictures are to be written."""
        ahead = 2 * self.batches.slots.count if keep else 0
        while len(self.working) > ahead or (self.working and self.working[0].done()):
            self.written += self.working.pop(0).result()
        while len(self.written) > keep or (self.written and _is_over(self.written[0][1])):
            source, outcome = self.written.pop(0)
            why = outcome if isinstance(outcome, str) else _why(outcome)
            if why:
                self._failed(source, why)
            else:
                self.summary.done += 1
                self._show()

    def _failed(self, source: Path, why: str) -> None:
        self.summary.failed[source] = why
        self.display.warn(why if str(source) in why else f"{source}: {why}")
        self._show()

    def _show(self, *facts: str) -> None:
        rate = self.summary.done / (time.perf_counter() - self.began)
        done = self.summary.done + len(self.summary.failed)
        self.display.update(done, lambda: [f"{rate:.1f} images/s", *facts])


def _is_over(outcome: Future[None] | str) -> bool:
    return isinstance(outcome, str) or outcome.done()


def _why(writing: Future[None]) -> str:
    """What keeps a picture from being written; empty where nothing does."""
    error = writing.exception()
    if error is None:
        return ""
    why = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return f"cannot be written: {why}"
