"""Batches of images that are read as they are needed, by worker processes if there are some."""

from __future__ import annotations

import signal
import sys
import warnings
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch.utils.data import DataLoader, Sampler

from imgtrans.data.samples import Samples, collate
from imgtrans.data.store import loudly
from imgtrans.problems import ImgtransError

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from imgtrans.data.batch import Batch
    from imgtrans.data.order import Order


def here(samples: Samples, start: int, stop: int) -> Generator[Batch, None, None]:
    """The batches of steps, made by this process."""
    for step in range(start, stop):
        batch = collate([samples.read(position) for position in samples.order.positions(step)])
        assert not isinstance(batch, ImgtransError)  # noqa: S101 - ``read`` raises it
        yield batch


def by_workers(
    samples: Samples, start: int, stop: int, workers: int, *, pin: bool
) -> Generator[Batch, None, None]:
    """The batches of steps ``start`` to ``stop - 1``, made by other processes.

    Close it when it is not read to its end: that ends them.
    """
    # A display is the main process's: its locks, held or not, mean nothing in another.
    x, y = (replace(store, warn=loudly) for store in (samples.x, samples.y))
    samples = replace(samples, x=x, y=y)
    with warnings.catch_warnings():
        # More workers than processors is what the recipe asks for, and right for slow disks.
        warnings.filterwarnings("ignore", "This DataLoader will create", UserWarning)
        loader = DataLoader(
            samples,
            batch_sampler=_Steps(start, stop, samples.order),
            collate_fn=collate,
            num_workers=workers,
            # Python 3.14 would start them afresh, where plugins given as files are unknown.
            multiprocessing_context="fork" if sys.platform == "linux" else None,
            worker_init_fn=_ignore_signals,
            pin_memory=pin,
            # Its own, so that starting a loader leaves the global random state alone.
            generator=torch.Generator(),
        )
        return _whole(iter(loader))


def _whole(loaded: Any) -> Generator[Batch, None, None]:
    """Batches, or the error of the process that could not make one; ends the workers with it."""
    try:
        yield from _each(loaded)
    finally:
        # Not left to the garbage collector: a traceback may keep the loader until Python exits,
        # which would then wait forever for workers that ignore its SIGTERM.
        if hasattr(loaded, "_shutdown_workers"):
            loaded._shutdown_workers()  # noqa: SLF001 - torch has no public name for it


def _each(loaded: Iterator[Batch | ImgtransError]) -> Iterator[Batch]:
    while True:
        try:
            batch = next(loaded, None)
        except RuntimeError as error:
            if message := reader_gone(error):
                raise ImgtransError(message) from error
            raise
        if isinstance(batch, ImgtransError):
            raise batch
        if batch is None:
            return
        yield batch


def reader_gone(error: BaseException) -> str | None:
    """What to say if an error tells that a process that reads images is gone.

    torch learns of it by a signal, so the error may come out of any line of the main process.
    """
    if not (isinstance(error, RuntimeError) and str(error).startswith("DataLoader worker")):
        return None
    return (
        f"a process that reads images is gone: {error}\n  often memory ran out: lower "
        "train.workers (0 needs no process), or give containers more shared memory"
    )


def _ignore_signals(worker: int) -> None:
    # Ctrl-C, and what job schedulers send, reach the whole process group. The main process finishes
    # its step and then ends its workers through their queues.
    del worker
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)


class _Steps(Sampler[list[int]]):
    """The positions of each step from ``start`` on: all the loader needs to know to go on."""

    def __init__(self, start: int, stop: int, order: Order) -> None:
        self.start, self.stop, self.order = start, stop, order

    def __iter__(self) -> Iterator[list[int]]:
        for step in range(self.start, self.stop):
            yield self.order.positions(step)

    def __len__(self) -> int:
        return self.stop - self.start
