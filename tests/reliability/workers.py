"""`imgtrans` commands in processes of their own, forked from one that has imported torch.

A fresh Python takes seconds to import it, a fork none; some of each kind start fresh all the same.
"""

from __future__ import annotations

import itertools
import json
import multiprocessing
import multiprocessing.forkserver
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Protocol
from unittest.mock import patch

from torch.distributed import TCPStore

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from multiprocessing.context import ForkServerContext

NUMBERS = itertools.count()
BOUND = 120.0
"""Seconds after which a command counts as hanging."""


IMPORTED = "reliability.imported"
"""What the process has imported that commands are forked from."""


class HangError(AssertionError):
    """A command has not ended within its bound, or has not done what is waited for."""


class Process(Protocol):
    """A command of ours or of `subprocess`."""

    def poll(self) -> int | None: ...


def wait_until(process: Process, condition: Callable[[], bool], bound: float = BOUND) -> bool:
    """Wait for something that a process is to do; returns whether it has, or has ended before.

    Raises:
        HangError: it does nothing for so long.
    """
    end = time.monotonic() + bound
    while not (done := condition()) and process.poll() is None:
        if time.monotonic() > end:
            message = f"{process} does not do in {bound:.0f} s what is waited for"
            raise HangError(message)
        time.sleep(0.005)
    return done


@cache
def context() -> ForkServerContext:
    """What forks processes from one that has imported torch."""
    made = multiprocessing.get_context("forkserver")
    made.set_forkserver_preload([IMPORTED])
    # Not by sys.path: the server of Python 3.11 looks at its own, and says nothing of what it
    # has not found there.
    found = os.pathsep.join([str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
    with patch.dict(os.environ, PYTHONPATH=found.rstrip(os.pathsep)):
        multiprocessing.forkserver.ensure_running()
    return made


@dataclass
class Command:
    """A command that was started, in a process group of its own."""

    arguments: list[str]
    folder: Path
    log: Path
    """Where it speaks, standard output and errors alike."""
    fresh: bool = False
    """Whether it starts as a user's does, from a new Python."""
    prepare: Callable[[], None] | None = None
    """Called in a forked process first: a function of a module, which may patch ours."""
    environment: Mapping[str, str] = field(default_factory=dict)
    pid: int = 0
    store: TCPStore | None = None
    """Through which it speaks with another process, to be kept while they run."""

    def start(self) -> Command:
        """Go, and return at once."""
        if self.fresh:
            with self.log.open("w") as log:
                self._popen = subprocess.Popen(
                    [sys.executable, "-m", "imgtrans", *self.arguments],
                    cwd=self.folder,
                    env={**os.environ, "OMP_NUM_THREADS": "1", **self.environment},
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
            self.pid = self._popen.pid
        else:
            self._process = context().Process(
                target=_command,
                args=(self.arguments, self.folder, self.log, self.prepare, self.environment),
            )
            self._process.start()
            assert self._process.pid is not None
            self.pid = self._process.pid
        return self

    def poll(self) -> int | None:
        """Its exit code, negative for a signal; None while it runs."""
        return self._popen.poll() if self.fresh else self._process.exitcode

    def signal(self, number: int) -> None:
        """Send a signal to it alone, if it still runs."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def wait(self, bound: float = BOUND) -> int:
        """Its exit code.

        Raises:
            HangError: it has not ended; it is killed then.
        """
        end = time.monotonic() + bound
        while (code := self.poll()) is None:
            if time.monotonic() > end:
                os.killpg(self.pid, signal.SIGKILL)
                message = f"{' '.join(self.arguments)} has not ended in {bound:.0f} s:\n{self.said}"
                raise HangError(message)
            time.sleep(0.002)
        return code

    @property
    def said(self) -> str:
        """What it has said so far."""
        return self.log.read_text(errors="replace") if self.log.exists() else ""


def start(
    *arguments: str | Path,
    folder: Path | None = None,
    fresh: bool = False,
    prepare: Callable[[], None] | None = None,
    environment: Mapping[str, str] | None = None,
) -> Command:
    """Start ``imgtrans`` with arguments, in a folder, by default the current one."""
    folder = folder or Path.cwd()
    log = folder / f"said-{os.getpid()}-{next(NUMBERS)}.txt"
    return Command(
        [str(each) for each in arguments], folder, log, fresh, prepare, environment or {}
    ).start()


def start_two(
    *arguments: str | Path,
    folder: Path,
    prepare: Sequence[Callable[[], None] | None],
    environment: Mapping[str, str] | None = None,
) -> list[Command]:
    """Start two processes of one training, as torchrun would, each prepared in its own way."""
    store = TCPStore("localhost", 0, is_master=True, wait_for_workers=False)
    told = {
        "TORCHELASTIC_RUN_ID": folder.name,
        "TORCHELASTIC_RESTART_COUNT": "0",
        "WORLD_SIZE": "2",
        "LOCAL_WORLD_SIZE": "2",
        "MASTER_ADDR": "localhost",
        "MASTER_PORT": str(store.port),
        "TORCHELASTIC_USE_AGENT_STORE": "True",
        **(environment or {}),
    }
    both = [
        start(
            *arguments, "--device", "cpu", folder=folder, prepare=prepare[rank],
            environment={**told, "RANK": str(rank), "LOCAL_RANK": str(rank)},
        )
        for rank in range(2)
    ]  # fmt: skip
    both[0].store = store
    return both


def imgtrans(
    *arguments: str | Path,
    folder: Path | None = None,
    fresh: bool = False,
    prepare: Callable[[], None] | None = None,
    environment: Mapping[str, str] | None = None,
    bound: float = BOUND,
) -> tuple[int, str]:
    """Run ``imgtrans`` to its end; returns the exit code and what it said."""
    command = start(
        *arguments, folder=folder, fresh=fresh, prepare=prepare, environment=environment
    )
    code = command.wait(bound)
    return code, command.said


def _command(
    arguments: list[str],
    folder: Path,
    log: Path,
    prepare: Callable[[], None] | None,
    environment: Mapping[str, str],
) -> None:
    assert IMPORTED in sys.modules, "the process that this one was forked from imported nothing"
    import torch

    from imgtrans.cli import main

    os.setsid()
    os.environ.update(environment)
    os.chdir(folder)
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for stream in (1, 2):
        os.dup2(descriptor, stream)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler if number == 2 else signal.SIG_DFL)
    torch.set_num_threads(1)
    sys.argv = ["imgtrans", *arguments]
    if prepare is not None:
        prepare()
    try:
        main()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()


TIMED = ("seconds", "images_per_second", "data_wait", "memory_mib")
"""What no two runs have in common in a line of their metrics."""


def metrics_of(run: Path, log: str = "metrics.jsonl") -> list[dict[str, object]]:
    """The lines of a run's log, without times; none where there is no such log."""
    lines = (run / log).read_text().splitlines() if (run / log).exists() else []
    return [{k: v for k, v in json.loads(line).items() if k not in TIMED} for line in lines]
