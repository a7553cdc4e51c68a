"""One process among those of a training: what they decide together, wait for, and end with.

What is exchanged here are a few words through the store that torchrun keeps, so it needs no device,
and a wait may be long: it ends when the awaited process ends or falls silent, or torchrun ends.
"""

from __future__ import annotations

import json
import os
import signal
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

from torch.distributed import PrefixStore  # type: ignore[attr-defined] # not said to be exported

from imgtrans.distributed import ALONE, GoneError, Ranks, answered
from imgtrans.distributed.living import Watch, shown
from imgtrans.problems import ImgtransError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    import torch
    from torch.distributed import Store  # type: ignore[attr-defined]

    from imgtrans.monitor.clock import Stop

T = TypeVar("T")
POLL_SECONDS: Final = 0.02
LAST_WORD_SECONDS: Final = 5.0
ASK_EVERY: Final = 10
"""On GPUs, after so many steps they tell each other whether somebody wants them to stop."""


class OverError(Exception):
    """The first process has ended, and so does this one: quietly, with the same exit code."""

    def __init__(self, exit_code: int) -> None:
        """With the first process's exit code."""
        super().__init__(exit_code)
        self.exit_code = exit_code


class Group:
    """One process among those of a training."""

    def __init__(
        self,
        device: torch.device,
        ranks: Ranks = ALONE,
        store: Store | None = None,
        restarts: int = 0,
    ) -> None:
        """A training of one process that torchrun has not started, unless there is a store."""
        self.device, self.ranks = device, ranks
        self._left_out: list[str] = []
        self._restarts, self._parent = restarts, os.getppid()
        self._store = self._job = store
        if store is not None:  # what an attempt has left must not be taken for this one's
            self._store = PrefixStore(f"imgtrans/{restarts}", store)

    def begun(self) -> Path | None:
        """The run that this torchrun had begun before it started its processes again."""
        if self._job is None or not self._restarts:
            return None
        with self._asking():
            found = self._job.check(["imgtrans/run"])
            return Path(self._job.get("imgtrans/run").decode()) if found else None

    def begin(self, run: Path) -> None:
        """Remember the run, should torchrun start its processes again."""
        if self._job is not None:
            with self._asking():
                self._job.set("imgtrans/run", str(run))

    def tell(self, name: str, what: Any = "") -> None:
        """Answer those who `ask`."""
        if self._store is not None:
            with self._asking():
                self._store.set(name, json.dumps(what))

    @contextmanager
    def living(self) -> Iterator[None]:
        """Inside, the others can see that this process lives, whatever it does."""
        if self.ranks.count == 1:
            yield
            return
        with shown(lambda number: self.tell(f"alive/{self.ranks.rank}", number)):
            yield

    def ask(self, name: str, of: int = 0) -> Any:
        """What another process, by default the first one, tells sooner or later.

        Raises:
            OverError: the first process has ended.
            GoneError: the other one shows no life, or torchrun is gone, as all here may tell.
        """
        return self._until(name, lambda told: told is not None, of)

    def passed(self, step: int) -> None:
        """The first one: what only this process does after a step is done."""
        if self.ranks.count > 1:
            self.tell("passed", step)

    def wait(self, step: int) -> None:
        """The others: until the first has done what only it does after a step."""
        self._until("passed", lambda told: told is not None and told >= step)

    def together(self, name: str, action: Callable[[], T]) -> T:
        """What every process does; where one cannot, the first says why, once, and all end.

        Raises:
            ImgtransError: this process or, in the first one, another could not.
        """
        if self.ranks.count == 1:
            return action()
        try:
            result = action()
        except ImgtransError as error:
            if not self.ranks.first:
                self.tell(f"{name}/{self.ranks.rank}", str(error))
                self.ask(name)  # the first one ends, and this one with it
            raise
        if self.ranks.first:
            for rank in range(1, self.ranks.count):
                if why := self.ask(f"{name}/{rank}", rank):
                    message = f"process {rank}: {why}"
                    raise ImgtransError(message)
            self.tell(name)
        else:
            self.tell(f"{name}/{self.ranks.rank}")
            self.ask(name)
        return result

    def _until(self, name: str, enough: Callable[[Any], bool], of: int = 0) -> Any:
        watch = Watch(of, lambda: self._told(f"alive/{of}"))
        while True:
            # In this order: what was told before the end still counts.
            over, told = self._told("over"), self._told(name)
            if enough(told):
                return told
            if over is not None:
                raise OverError(over)
            if self.ranks.first and self._told("failed"):
                message = "a process of this training has ended"
                raise GoneError(message)
            watch.look()
            time.sleep(POLL_SECONDS)

    def stops(self, stop: Stop, step: int) -> bool:
        """Whether a process was asked to stop; all are told so after the same step."""
        if self._orphaned:
            stop.signal = stop.signal or signal.SIGTERM
        if self.device.type == "cuda" and self.ranks.count > 1 and step % ASK_EVERY:
            return False
        stop.agreed = self.ranks.most(stop.signal or 0) or None
        return stop.agreed is not None

    def leave_out(self, reasons: Iterable[str]) -> None:
        """The others: let the first one warn of images that could not be read."""
        new = [reason for reason in reasons if reason not in self._left_out]
        if new:
            self._left_out += dict.fromkeys(new)
            self.tell(f"left out/{self.ranks.rank}", self._left_out)

    def left_out(self) -> list[str]:
        """Why the other processes have left images out."""
        told = [self._told(f"left out/{rank}") for rank in range(1, self.ranks.count)]
        return [reason for reasons in told for reason in reasons or ()]

    def failed(self, why: str) -> None:
        """The others: let the first one know what ends this process, and with it the training."""
        try:
            self.tell("failed", why)
        except GoneError:
            return

    def failure(self) -> str:
        """What has ended another process, as far as it could tell."""
        try:
            return str(self._told("failed") or "")
        except GoneError:
            return ""

    def over(self, exit_code: int) -> None:
        """The first one: all that is left to do is to end."""
        try:
            self.tell("over", exit_code)
        except GoneError:
            return

    def last_word(self) -> int | None:
        """The exit code of a first process that may just be ending, or not be there any more."""
        end = time.monotonic() + LAST_WORD_SECONDS
        try:
            while (code := self._told("over")) is None and time.monotonic() < end:
                time.sleep(POLL_SECONDS)
        except GoneError:
            return None
        return None if code is None else int(code)

    def first_to_tell(self) -> bool:
        """Whether no other process has said it already."""
        assert self._store is not None  # noqa: S101 - only several processes say the same
        try:
            with self._asking():
                return bool(self._store.add("tellers", 1) == 1)
        except GoneError:  # which the first process finds and says too
            return False

    def _told(self, name: str) -> Any:
        if self._store is None:
            return None
        with self._asking():
            return json.loads(self._store.get(name)) if self._store.check([name]) else None

    @property
    def _orphaned(self) -> bool:
        """Whether torchrun was killed, which by itself does not end its processes."""
        return self._store is not None and os.getppid() != self._parent

    @contextmanager
    def _asking(self) -> Iterator[None]:
        if self._orphaned:  # the store is gone too, which torch would tell at length
            message = "torchrun, which has started this process, is gone"
            raise GoneError(message)
        with answered():
            yield
