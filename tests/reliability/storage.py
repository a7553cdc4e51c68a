"""Full disks, vanishing folders, failing power: a save is whole or said to be none."""

from __future__ import annotations

import ctypes
import os
import re
import resource
import shutil
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from imgtrans import checkpoint
from imgtrans.problems import ImgtransError

from .killing import STEPS, differences, whole_run, write_recipe
from .promises import Figure, promise
from .workers import imgtrans

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

DISK = 24 * 2**20
"""Bytes of the small disk."""


@contextmanager
def small_disk(folder: Path) -> Iterator[bool]:
    """A disk of its own at a folder, where this process may mount one; whether it is."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK}", "tmpfs", folder]
    mounted = (
        sys.platform == "linux"
        and os.geteuid() == 0
        and subprocess.run(mount, capture_output=True, check=False).returncode == 0
    )
    try:
        yield mounted
    finally:
        if mounted:
            subprocess.run(["umount", "--lazy", folder], check=True)


def before_saving(step: int, action: Callable[[int], None]) -> None:
    """Call what a file of a checkpoint is written after, with its bytes."""
    write_bytes = checkpoint.write_bytes

    def after(path: Path, data: bytes, **options: bool) -> None:
        if path.name == checkpoint.name_of(step):
            action(len(data))
        write_bytes(path, data, **options)

    checkpoint.write_bytes = after


def fill_the_disk() -> None:
    """Before a checkpoint leave a share of what it takes; before a later one, room again."""
    share, first, freed = os.environ["LEAVE"].split()
    ballast = Path("ballast")

    def leave(size: int) -> None:
        left = int(size * float(share))
        if os.environ["MOUNTED"] == "1":
            with ballast.open("wb") as file:
                os.posix_fallocate(file.fileno(), 0, max(1, shutil.disk_usage(".").free - left))
        else:
            resource.setrlimit(resource.RLIMIT_FSIZE, (left, resource.RLIM_INFINITY))

    def free(_: int) -> None:
        ballast.unlink(missing_ok=True)
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)

    before_saving(int(first), leave)
    before_saving(int(freed), free)


@promise("R6", "a full disk is told with path, need and room, and loses nothing that was saved",
         short=2, full=40)  # fmt: skip
def full_disk(place: Path, count: int) -> Figure:
    whole, _ = whole_run(place)
    broken, ended = [], 0
    with small_disk(place / "disk") as mounted:
        for number in range(count):
            # 20 levels from nothing to all of it, on disks that stay full and on such that do not
            share, first = (number // 2 % 20 + 1) / 20, 2 + number % 10
            freed = first + 1 if number % 2 else STEPS + 1
            told = [f"{share} {first} {freed}", str(int(mounted))]
            folder = place / f"disk/{number}"
            folder.mkdir()
            wrong, stopped = _on_a_full_disk(folder, whole, first, told)
            ended += stopped
            broken += [f"{share:.0%}, step {first}: {line}" for line in wrong]
            shutil.rmtree(folder)
    how = "on a small tmpfs" if mounted else "below a limit of file sizes"
    return Figure(count, broken, f"{how}; {ended} runs ended, {count - ended} went on")


def _on_a_full_disk(
    folder: Path, whole: Path, first: int, told: list[str]
) -> tuple[list[str], bool]:
    recipe, wrong = write_recipe(folder), []
    environment = dict(zip(("LEAVE", "MOUNTED"), told, strict=True))
    code, said = imgtrans(
        "run", recipe, "--quiet", folder=folder, prepare=fill_the_disk, environment=environment
    )
    run = folder / "runs/tiny"
    failed = f"the checkpoint of step {first} could not be written: "
    if failed in said:
        line = said.partition(failed)[2].split("\n")[0]
        room = ", [\\d,]+ are free" if told[1] == "1" else ""  # a limit is no lack of room
        at = rf"it takes [\d,]+ bytes{room} \(\S*{checkpoint.name_of(first)}\)"
        wrong += [] if re.search(at, line) else [f"told as {line!r}"]
    elif code != 0 or float(told[0].split()[0]) < 0.95:
        wrong.append(f"exit code {code}, and no failed save is told: {said[-300:]}")
    saved = checkpoint.found(run / "checkpoints")
    wrong += [f"{path.name} is damaged" for path in saved if not _whole(path)]
    wrong += [f"{path.name} is left" for path in (run / "checkpoints").glob(".*")]
    stopped = code != 0
    if stopped:
        wrong += [] if "error: " in said else [f"it ended without a word: {said[-300:]}"]
        newest = saved[0].name if saved else "none"
        before = {checkpoint.name_of(first - 1), checkpoint.name_of(first)}
        wrong += [] if newest in before or failed not in said else [f"the newest is {newest}"]
        (folder / "ballast").unlink(missing_ok=True)
        code, said = imgtrans("run", recipe, "--resume", "--quiet", folder=folder)
    if code != 0:
        return [*wrong, f"not finished where there is room: {said[-300:]}"], stopped
    return wrong + [f"{name} differs" for name in differences(run, whole)], stopped


def _whole(path: Path) -> bool:
    try:
        checkpoint.read(path)
    except ImgtransError:
        return False
    return True


def as_a_user() -> None:
    """Root may write anywhere; take that from this process and those it starts."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return
    libc, capabilities = ctypes.CDLL(None, use_errno=True), (1, 2)  # DAC_OVERRIDE, _READ_SEARCH
    for each in capabilities:
        libc.prctl(24, each, 0, 0, 0)  # PR_CAPBSET_DROP
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)
    sets = (ctypes.c_uint32 * 6)()
    assert libc.capget(header, sets) == 0
    for which in range(3):  # effective, permitted, inheritable
        sets[which] &= ~sum(1 << each for each in capabilities)
    assert libc.capset(header, sets) == 0


def spoil_the_folder() -> None:
    """Before a checkpoint do something to the run's folder."""
    as_a_user()
    how, step = os.environ["SPOIL"].rsplit(" ", 1)
    before_saving(int(step), lambda _: SPOILED[how](Path("runs/tiny")))


def _read_only(run: Path) -> None:
    (run / "checkpoints").chmod(0o555)


def _by_a_file(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.write_text("a file")


def _by_a_folder(run: Path) -> None:
    run.rename("moved")
    (run / "checkpoints").mkdir(parents=True)


SPOILED: dict[str, Callable[[Path], None]] = {
    "made read-only": _read_only,
    "removed": shutil.rmtree,
    "replaced by a file": _by_a_file,
    "replaced by a folder": _by_a_folder,
    "its checkpoints removed": lambda run: shutil.rmtree(run / "checkpoints"),
    "its checkpoints replaced by a file": lambda run: _by_a_file(run / "checkpoints"),
}


@promise("R7", "a run folder made read-only, removed or replaced is told of within one save",
         short=3, full=60)  # fmt: skip
def spoiled_folder(place: Path, count: int) -> Figure:
    broken = []
    for number in range(count):
        how, step = list(SPOILED)[number % len(SPOILED)], 1 + number % 11
        folder = place / str(number)
        folder.mkdir()
        recipe = write_recipe(folder, steps=step + 3, decay_steps=0)
        code, said = imgtrans(
            "run", recipe, "--quiet", folder=folder, prepare=spoil_the_folder,
            environment={"SPOIL": f"{how} {step}"},
        )  # fmt: skip
        # What happens between a save's first look and its writing, the next one sees.
        seen = [f"the checkpoint of step {each} could not be written" for each in (step, step + 1)]
        run = folder / "runs/tiny"
        wrong = [] if code == 1 else [f"exit code {code}"]
        wrong += [] if any(each in said for each in seen) else ["no failed save is told"]
        wrong += ["a traceback"] if "Traceback" in said else []
        wrong += ["it was made again in silence"] if how == "removed" and run.exists() else []
        if how == "made read-only":
            (run / "checkpoints").chmod(0o755)
            code, said = imgtrans("run", recipe, "--resume", "--quiet", folder=folder)
            wrong += [] if code == 0 else [f"not finished where it may write again: {said}"]
        broken += [f"{how} before step {step}: {line}: {said[-300:]}" for line in wrong]
    return Figure(count, broken, f"{len(SPOILED)} ways")
