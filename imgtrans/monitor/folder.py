"""The run folder: what a training leaves, and who may write to it.

Every run gets its own folder, made atomically; nothing is ever overwritten. A lock that the kernel
frees, however the process ends, keeps a second process out.
"""

from __future__ import annotations

import errno
import itertools
import json
import os
import re
import socket
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

from filelock import FileLock, Timeout

from imgtrans.monitor.facts import read_json
from imgtrans.monitor.figures import EXTREMES
from imgtrans.monitor.within import refuse_strangers
from imgtrans.problems import ImgtransError, RecipeError, RunInUseError
from imgtrans.recipe import shipped_recipes
from imgtrans.recipe.toml import read_toml

if TYPE_CHECKING:
    from types import TracebackType

RUNS: Final = Path("runs")
METRICS: Final = "metrics.jsonl"
"""A line for each step."""
SCORES: Final = "scores.jsonl"
"""A line for each measurement on the held-out images."""
APPENDED: Final = (METRICS, SCORES, ".lock")
"""Files that are written where they are; all others take the place of what was there."""
FOLDERS: Final = ("checkpoints", "samples", EXTREMES, "crash")


class RunFolder:
    """One run's folder, locked while it is open."""

    def __init__(self, path: Path) -> None:
        """Not locked yet; use it in a ``with`` statement."""
        self.path = path
        self.checkpoints = path / "checkpoints"
        self.samples = path / "samples"
        self.patience = 0.0
        """Seconds to wait for a process that still holds the folder."""
        self._lock = FileLock(path / ".lock")
        self._status: dict[str, Any] = {}
        self._metrics: Any = None

    @classmethod
    def create(cls, name: str) -> RunFolder:
        """A new folder ``runs/NAME``, or ``runs/NAME-2`` and so on where it is taken.

        Raises:
            ImgtransError: the folder cannot be made.
        """
        from imgtrans.checkpoint import sync_folder

        path = RUNS
        try:
            RUNS.mkdir(exist_ok=True)
            for number in itertools.count(1):
                path = RUNS / (name if number == 1 else f"{name}-{number}")
                try:
                    path.mkdir()
                except FileExistsError:
                    continue  # taken, perhaps a moment ago by another process
                break
            sync_folder(RUNS)
        except OSError as error:
            message = f"the run folder {path.absolute()} cannot be made: {error.strerror}"
            raise ImgtransError(message) from None
        return cls(path)

    def __enter__(self) -> Self:
        """Lock the folder and make what is missing in it.

        Raises:
            RunInUseError: another process holds it; the text names it.
            ImgtransError: something in it leads elsewhere, or it cannot be written.
        """
        refuse_strangers(self.path, (*FOLDERS, *APPENDED))
        try:
            self._lock.acquire(timeout=self.patience)
            self.checkpoints.mkdir(exist_ok=True)
            self.samples.mkdir(exist_ok=True)
            for left in self.path.rglob(".*.tmp"):  # by a process that was killed as it wrote
                left.unlink(missing_ok=True)
            self._opened = self.path.stat()
            now = _now()
            self._status = {"started": now, **self.read("status.json")}
            # At once, so that whoever is refused can be told who holds the folder.
            self.status(pid=os.getpid(), host=socket.gethostname(), since=now)
        except Timeout:
            raise RunInUseError(self._holder()) from None
        except (OSError, NotImplementedError) as error:
            self._lock.release()
            why = error.strerror if isinstance(error, OSError) else error  # it knows no locks
            message = f"{self.path} cannot be written: {why}"
            raise ImgtransError(message) from None
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the metrics and free the lock."""
        try:
            if self._metrics is not None:
                self._metrics.close()
        except OSError:
            if error is None:  # else the full disk is being told of already
                raise
        finally:
            self._lock.release()

    def _holder(self) -> str:
        status = self.read("status.json")
        who = f"process {status.get('pid', '?')} on {status.get('host', '?')}"
        since = status.get("since")
        return (
            f"{self.path} is in use by {who}{f', since {since}' if since else ''}\n"
            "  wait for it or stop it; a new run of the recipe gets a folder of its own"
        )

    def read(self, name: str) -> dict[str, Any]:
        """A JSON file of the folder; empty where it is missing or not whole."""
        return read_json(self.path / name)

    def write(self, name: str, content: dict[str, Any] | str) -> None:
        """Replace a text or JSON file atomically; resuming relies on them, so it is synced."""
        from imgtrans.checkpoint import write_bytes

        text = content if isinstance(content, str) else json.dumps(content, indent=1) + "\n"
        write_bytes(self.path / name, text.encode("utf-8", "surrogateescape"))

    def standing(self, **changes: Any) -> dict[str, Any]:
        """How the run stands with these changes, which are not written yet."""
        return self._status | changes | {"updated": _now()}

    def status(self, **changes: Any) -> None:
        """Write how the run stands."""
        self._status = self.standing(**changes)
        self.write("status.json", self._status)

    def log(self, line: dict[str, Any]) -> None:
        """Append one step to ``metrics.jsonl``.

        Raises:
            OSError: the line could not be written; the file is named.
        """
        from imgtrans.checkpoint import sync_folder

        path = self.path / METRICS
        try:
            if self._metrics is None:
                self._metrics = path.open("a", encoding="utf-8")
                sync_folder(self.path)  # a synced file is lost, too, whose name is not there yet
            self._metrics.write(json.dumps(line) + "\n")
            self._metrics.flush()
        except OSError as error:  # of a write, not of opening, the system names no file
            raise OSError(error.errno, error.strerror, str(path)) from error

    def log_scores(self, line: dict[str, Any]) -> None:
        """Append one measurement to ``scores.jsonl``, in place of one of the same step."""
        from imgtrans.checkpoint import sync_folder

        _cut(self.path / SCORES, line["step"] - 1)
        with (self.path / SCORES).open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
            file.flush()
            os.fsync(file.fileno())  # a checkpoint must never be newer than what chose it
        sync_folder(self.path)

    def sync_metrics(self) -> bool:
        """Bring the log to the disk: a checkpoint must never be newer than the log before it.

        Returns:
            Whether it is still there; one that somebody removed or replaced is begun anew.

        Raises:
            OSError: the disk failed, or the folder is no longer the one that was opened.
        """
        if not (self.path.is_dir() and os.path.samestat(self.path.stat(), self._opened)):
            why = "the run's folder was removed or replaced while it ran"
            raise FileNotFoundError(errno.ENOENT, why, str(self.path))
        if self._metrics is None:
            return True
        os.fsync(self._metrics.fileno())
        path = self.path / METRICS
        if path.exists() and os.path.samestat(path.stat(), os.fstat(self._metrics.fileno())):
            return True
        self._metrics.close()
        self._metrics = None
        return False

    def cut_metrics(self, step: int) -> int:
        """Drop the steps after a checkpoint, which will be made again, so that none is doubled.

        Returns:
            How many of the steps up to it the log holds: all, unless somebody changed it.
        """
        _cut(self.path / SCORES, step)
        return _cut(self.path / METRICS, step)


def _cut(path: Path, step: int) -> int:
    """Keep the lines about the steps up to this one; returns how many they are."""
    from imgtrans.checkpoint import writing

    if not path.exists():
        return 0
    kept = 0
    with writing(path) as new, path.open("rb") as old:  # closed before the new one is renamed
        for line in old:
            logged = _step_of(line)
            # The last line may be half, where the process was killed as it wrote.
            if logged is not None and logged <= step:
                new.write(line)
                kept += 1
    return kept


def _step_of(line: bytes) -> int | None:
    """The step that a whole line of the log is about."""
    try:
        step = json.loads(line)["step"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    return step if line.endswith(b"\n") and isinstance(step, int) else None


def unfinished(name: str) -> RunFolder | None:
    """The newest run of a recipe of this name that is not done, or None."""
    pattern = re.compile(rf"{re.escape(name)}(?:-(\d+))?")
    numbered = [
        (int(match[1] or 1), path)
        for path in (RUNS.iterdir() if RUNS.is_dir() else ())
        if (match := pattern.fullmatch(path.name)) and _recipe_name(path) == name
    ]
    for _, path in sorted(numbered, reverse=True):
        folder = RunFolder(path)
        if folder.read("status.json").get("state") != "done":
            return folder
    return None


def _recipe_name(run: Path) -> object:
    """``exp-2`` may be the second run of ``exp``, or the first of a recipe called ``exp-2``."""
    try:
        return read_toml(run / "recipe.toml").get("name")
    except RecipeError:
        return None


def open_run(path: Path) -> RunFolder:
    """The run folder at a path, or of that name under ``runs``.

    Raises:
        RecipeError: there is no run there.
    """
    try:
        for place in (path, RUNS / path):
            if (place / "recipe.toml").is_file():
                return RunFolder(place)
    except OSError as error:  # a name that is too long
        message = f"{str(path)[:80]} is no run folder: {error.strerror}"
        raise RecipeError(message) from None
    there = sorted(each.parent.name for each in RUNS.glob("*/recipe.toml"))
    message = f"{path} is no run folder; runs here: {', '.join(there) or 'none'}"
    if str(path) in shipped_recipes():
        message += f"\n  the newest unfinished run of a recipe: imgtrans run {path} --resume"
    raise RecipeError(message)


def _now() -> str:
    return datetime.fromtimestamp(time.time(), UTC).isoformat(timespec="seconds")
