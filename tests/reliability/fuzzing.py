"""Thousands of inputs that are nearly right: each is taken, or refused by an error of ours.

Each kind goes through a process of its own, so that a crash, a hang and memory are seen from
outside; the inputs are the same in every run.
"""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis.configuration import set_hypothesis_home_dir

from imgtrans.problems import ImgtransError

from .inputs import Kind, commands, images, recipes, set_options, states, weights
from .promises import Figure, promise
from .workers import context

ALONE = 1000
"""Inputs that one process goes through."""
SECONDS = 30
"""That one input may take; some evaluate a model, from the first import on."""
MOST_MIB = 1500
"""That a process may come to need beside what it begins with."""


class TooLongError(BaseException):
    """An input has taken longer than any may."""


@contextlib.contextmanager
def bounded() -> Iterator[None]:
    """Ends what takes too long, whatever it catches."""

    def over(*_: object) -> None:
        raise TooLongError

    before = signal.signal(signal.SIGALRM, over)
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _go_through(kind: Kind, place: Path, count: int, part: int, answer: Any) -> None:
    """In a process of its own: try so many inputs and send back what was found."""
    torch.set_num_threads(1)
    os.environ["IMGTRANS_CACHE"] = str(place / "cache")
    set_hypothesis_home_dir(place / "cache")
    os.chdir(place)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)  # where the C libraries of pictures speak
    strategy, try_one = kind(place)
    found: dict[str, str] = {}
    tally = {"taken": 0, "refused": 0, "broken": 0, "slowest": 0.0}

    @seed(part)
    @settings(
        max_examples=count, database=None, deadline=None,
        suppress_health_check=list(HealthCheck), phases=[Phase.generate],
    )  # fmt: skip
    @given(strategy)
    def go(given: Any) -> None:
        began = time.perf_counter()
        try:
            with bounded():
                try_one(given)
            tally["taken"] += 1
        except ImgtransError:
            tally["refused"] += 1
        except (Exception, TooLongError) as error:  # noqa: BLE001 - each is a broken promise
            tally["broken"] += 1
            where = traceback.extract_tb(error.__traceback__)[-1]
            key = f"{type(error).__name__} at {Path(where.filename).name}:{where.lineno}"
            found.setdefault(key, f"{key}: {str(error)[:300]} of {str(given)[:300]!r}")
        tally["slowest"] = max(tally["slowest"], time.perf_counter() - began)

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    go()
    tally["memory"] = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    if tally["memory"] > MOST_MIB:
        found["memory"] = f"it took {tally['memory']:.0f} MiB"
    answer.send((list(found.values()), tally))


def fuzzed(kind: Kind, place: Path, count: int) -> Figure:
    """What so many inputs of a kind lead to; very many go through two processes."""
    parts = 2 if count > ALONE else 1
    running = []
    for part in range(parts):
        (folder := place / str(part)).mkdir()
        heard, answer = context().Pipe(duplex=False)
        process = context().Process(
            target=_go_through, args=(kind, folder, count // parts, part, answer)
        )
        process.start()
        answer.close()
        running.append((process, heard))
    broken: list[str] = []
    tallies = []
    try:
        for process, heard in running:
            # Inside C code an input is not ended after its seconds: then all of them are.
            if not heard.poll(60 + count):
                return Figure(count, ["a process hangs"])
            found, tally = heard.recv()
            process.join()
            broken += found
            tallies.append(tally)
    except EOFError:
        process.join()
        return Figure(count, [f"a process ended with {process.exitcode}"])
    finally:
        for process, _ in running:
            process.kill()
    taken, refused, wrong = (
        sum(tally[key] for tally in tallies) for key in ("taken", "refused", "broken")
    )
    slowest, memory = (max(tally[key] for tally in tallies) for key in ("slowest", "memory"))
    detail = f"{taken:,} taken, {refused:,} refused, the slowest in {slowest:.1f} s, "
    return Figure(taken + refused + wrong, broken, f"{detail}{memory:.0f} MiB more at most")


def _promised(key: str, says: str, kind: Kind, short: int) -> None:
    @promise(key, f"{says}: taken, or refused by an error of ours", short=short, full=10_000)
    def check(place: Path, count: int) -> Figure:
        return fuzzed(kind, place, count)


_promised("F1", "changed recipes", recipes, 300)
_promised("F2", "changed --set options", set_options, 300)
_promised("F3", "command lines", commands, 200)
_promised("F4", "changed pictures", images, 300)
_promised("F5", "changed and forged checkpoints and model files", states, 150)
_promised("F6", "changed files of weights", weights, 300)
