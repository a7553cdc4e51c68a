"""Every image of a domain once, in order, read by as many processes as pay."""

from __future__ import annotations

import itertools
import multiprocessing
import os
import signal
import sys
import time
import warnings
from collections import deque
from concurrent.futures import BrokenExecutor, Executor, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import replace
from threading import Thread
from typing import TYPE_CHECKING, TypeAlias

import psutil
import torch

from imgtrans.data.flat import Broken
from imgtrans.problems import ImgtransError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from concurrent.futures import Future

    import numpy as np
    import numpy.typing as npt
    from torch import Tensor

    from imgtrans.data.store import Store

AHEAD = 8
"""Images that each process may be ahead of what is taken, so that memory stays bounded."""


WATCH_SECONDS = 1.0
"""How often a process that reads looks whether it is still wanted."""


def cores() -> int:
    """Processors that this process may use."""
    process = psutil.Process()
    allowed = process.cpu_affinity() if hasattr(process, "cpu_affinity") else None
    return len(allowed) if allowed else psutil.cpu_count() or 1


def every(
    store: Store, indices: Sequence[int], helpers: int, tick: Callable[[], None]
) -> Iterator[Tensor | Broken]:
    """The images at indices, in order.

    Args:
        store: of the images.
        indices: which of them.
        helpers: processes that read them; 0 reads them here.
        tick: called for each.

    Raises:
        ImgtransError: one is broken and the recipe does not leave such images out, or a process
            is gone.
    """
    if not helpers:
        for index in indices:
            yield store.one(index)
            tick()
        return
    with _pool(store, helpers) as pool:
        todo = iter(indices)
        warned: list[str] = []  # each process may come upon the same damage
        running = deque(_ask(pool, todo, helpers * AHEAD))
        while running:
            try:
                image, told = running.popleft().result()
            except BrokenExecutor as error:
                message = f"a process that reads images is gone: {error}"
                raise ImgtransError(message) from error
            running.extend(_ask(pool, todo, 1))
            for text in told:
                if text not in warned:
                    warned.append(text)
                    store.warn(text)
            if isinstance(image, Broken):
                if not store.skip_broken:
                    raise ImgtransError(image.reason)
                yield image
            else:
                yield torch.from_numpy(image)
            tick()


_Read: TypeAlias = "tuple[npt.NDArray[np.generic] | Broken, list[str]]"


def _ask(pool: Executor, todo: Iterator[int], count: int) -> list[Future[_Read]]:
    return [pool.submit(_one, index) for index in itertools.islice(todo, count)]


@contextmanager
def _pool(store: Store, helpers: int) -> Iterator[Executor]:
    """Processes that know the store; threads where a process would have to start from nothing."""
    executor: Executor
    if sys.platform == "linux":
        context = multiprocessing.get_context("fork")
        executor = ProcessPoolExecutor(helpers, context, _begin, (store, os.getpid()))
    else:
        executor = ThreadPoolExecutor(helpers, "reading", _begin, (store, None))
    with warnings.catch_warnings():
        # Python 3.12 warns of forking beside threads; ours hold no lock that a reader takes.
        warnings.filterwarnings("ignore", "This process .* is multi-threaded", DeprecationWarning)
        try:
            yield executor
        finally:
            executor.shutdown(cancel_futures=True)


_STORE: Store
_TOLD: deque[str] = deque()
"""Warnings of the store, for the main process to tell."""


def _begin(store: Store, parent: int | None) -> None:
    """Make a process of the pool, whose parent is given, or a thread ready to read."""
    global _STORE  # noqa: PLW0603 - it is what a process of the pool is for
    _STORE = replace(store, warn=_TOLD.append)
    if parent is not None:
        torch.set_num_threads(1)  # as many processes as cores, and OpenMP does not survive a fork
        for number in (signal.SIGINT, signal.SIGTERM):  # the main process ends them
            signal.signal(number, signal.SIG_IGN)
        Thread(target=_leave_with, args=(parent,), daemon=True).start()


def _leave_with(parent: int) -> None:
    """End with a main process that was killed and can tell nobody, instead of staying forever."""
    while os.getppid() == parent:
        time.sleep(WATCH_SECONDS)
    os._exit(1)


def _one(index: int) -> _Read:
    """An image or why there is none, whether or not such may be left out; what is to be told."""
    try:
        image = _STORE.one(index)
    except ImgtransError as error:
        image = Broken(str(error))
    read = image if isinstance(image, Broken) else image.contiguous().numpy()
    told = []
    with suppress(IndexError):  # looked at by length, another thread may have taken the last one
        while True:
            told.append(_TOLD.popleft())
    return read, told
