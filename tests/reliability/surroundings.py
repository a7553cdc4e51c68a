"""Runs without terminal, reader, home, locale or a right clock: they finish and resume."""

from __future__ import annotations

import os
import pty
import pwd
import shlex
import shutil
import subprocess
import sys
import threading
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import imgtrans as package
from imgtrans.recipe import to_toml
from imgtrans.testing import tiny_recipe, toy_folder

from .killing import differences
from .promises import Figure, promise
from .storage import as_a_user
from .workers import imgtrans

if TYPE_CHECKING:
    from collections.abc import Callable

STEPS = 8
STRANGE = 'a folder\'s 🌄 "Ünïcode" näme, 日本'
"""Spaces, quotes and letters that no 8-bit code has."""
NAME = "trial"
ROOT = Path(package.__file__).parent.parent
BACK = {"by a year": 365 * 86_400.0, "to 1970": time.time() - 60}


def _write_recipe(folder: Path, cache: str = "file") -> Path:
    """A run on files, whose decoded images are kept, too."""
    dataset = {"use": "cyclegan/unpaired-folders", "root": str(toy_folder()), "image_size": 32}
    train = {"steps": STEPS, "checkpoint_every": 2, "sample_every": 4, "cache": cache}
    path = folder / "tiny.toml"
    path.write_text(to_toml(tiny_recipe(dataset=dataset, train=train)), encoding="utf-8")
    return path


def _say_into(descriptor: int) -> None:
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    os.close(descriptor)
    sys.stdout, sys.stderr = (os.fdopen(each, "w", closefd=False) for each in (1, 2))


def nobody_reads() -> None:
    """Whoever reads what is said is gone: every word meets a broken pipe."""
    reader, writer = os.pipe()
    os.close(reader)
    _say_into(writer)


def nowhere_to_say() -> None:
    """What is said goes to a full disk."""
    _say_into(os.open("/dev/full", os.O_WRONLY))


def terminal_gone() -> None:
    """The terminal was closed: every word is an input/output error."""
    ours, theirs = pty.openpty()
    _say_into(theirs)
    os.close(ours)


def no_home() -> None:
    """As in a container whose user has no name and no folder."""
    for name in ("HOME", "USER", "LOGNAME", "USERNAME", "LNAME", "IMGTRANS_CACHE"):
        os.environ.pop(name, None)
    pwd.getpwuid = _no_user


def _no_user(number: int) -> NoReturn:
    message = f"getpwuid(): uid not found: {number}"
    raise KeyError(message)


def home_is_a_file() -> None:
    """The folder for caches cannot be made."""
    Path("home").write_text("a file")
    os.environ["HOME"] = str(Path("home").absolute())
    os.environ.pop("IMGTRANS_CACHE", None)


def clock_back() -> None:
    """The clock is wrong from the start; the run before was not."""
    now, now_ns, back = time.time, time.time_ns, BACK[os.environ["BACK"]]
    time.time = lambda: now() - back
    time.time_ns = lambda: now_ns() - int(back * 1e9)


def clock_runs_backwards() -> None:
    """Each look at the clock finds it an hour earlier."""
    now, looks = time.time, iter(range(10**9))
    time.time = lambda: now() - 3600 * next(looks)


def clock_ahead() -> None:
    """So far ahead that everything that is kept seems forgotten."""
    now = time.time
    time.time = lambda: now() + 400 * 86_400


FORKED: dict[str, tuple[Callable[[], None] | None, dict[str, str]]] = {
    "nobody reads": (nobody_reads, {}),
    "the terminal gone": (terminal_gone, {}),
    "no home": (no_home, {}),
    "the clock set back": (clock_back, {"BACK": "by a year"}),
    "output to a full disk": (nowhere_to_say, {}),
    "a home that is a file": (home_is_a_file, {}),
    "the clock in 1970": (clock_back, {"BACK": "to 1970"}),
    "the clock running backwards": (clock_runs_backwards, {}),
    "the clock far ahead": (clock_ahead, {}),
}
C = {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
FRESH: dict[str, tuple[str, dict[str, str]]] = {
    "| head -1": ("{} | head -1; exit ${{PIPESTATUS[0]}}", {}),
    "2>&1 | true": ("{} 2>&1 | true; exit ${{PIPESTATUS[0]}}", {}),
    "no input": ("{} <&-", {}),
    "no output": ("{} >&-", {}),
    "no errors": ("{} 2>&-", {}),
    "neither of the three": ("{} <&- >&- 2>&-", {}),
    "C locale": ("{}", C),
    "POSIX locale, dumb terminal": ("{}", {**C, "LC_ALL": "POSIX", "TERM": "dumb"}),
    "latin-1 output": ("{}", {"PYTHONIOENCODING": "latin-1:strict"}),
    "a terminal without size": ("terminal", {}),
    "a read-only source tree": ("read-only", {}),
}


@promise("R25", "runs finish and resume without terminal, reader, home, locale or right clock",
         short=3, full=len(FORKED) + len(FRESH))  # fmt: skip
def surroundings(place: Path, count: int) -> Figure:
    recipe = _write_recipe(place)
    caches = {"IMGTRANS_CACHE": str(place / "caches")}
    code, said = imgtrans("run", recipe, "--quiet", folder=place, environment=caches)
    assert code == 0, said
    broken = []
    for number in range(count):
        name = [*FORKED, *FRESH][number % (len(FORKED) + len(FRESH))]
        folder = place / f"{STRANGE} {number}"
        folder.mkdir()
        _write_recipe(folder, "auto" if "home" in name else "file")
        go = _forked if name in FORKED else _fresh
        wrong = go(name, folder, caches)
        if not wrong:
            run = folder / "runs" / NAME
            wrong = [f"{each} differs" for each in differences(run, place / "runs/tiny")[:4]]
        broken += [f"{name}: {line}" for line in wrong]
    return Figure(count, broken, f"{len(FORKED) + len(FRESH)} surroundings")


FIRST = ("run", "tiny.toml", "--name", NAME, "--set", f"train.steps={STEPS // 2}")
THEN = ("run", "--resume", f"runs/{NAME}", "--set", f"train.steps={STEPS}")


def _forked(name: str, folder: Path, caches: dict[str, str]) -> list[str]:
    prepare, environment = FORKED[name]
    for arguments in (FIRST, THEN):
        code, said = imgtrans(
            *arguments, folder=folder, prepare=prepare, environment={**caches, **environment}
        )
        if code != 0 or "Traceback" in said:
            return [f"exit code {code}: {said[-600:]}"]
    return []


def _fresh(name: str, folder: Path, caches: dict[str, str]) -> list[str]:
    how, extra = FRESH[name]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", **caches, **extra}
    run: Callable[..., tuple[int, str]] = _in_a_shell
    if how == "terminal":
        run = _on_a_terminal
    before = None
    if how == "read-only":
        tree = _read_only_tree(folder)
        environment |= {"PYTHONPATH": f"{tree}:{tree / 'plugins'}"}
        run, before = partial(_in_a_shell, prepare=as_a_user), sorted(tree.rglob("*"))
    shell = how if "{}" in how else "{}"
    for arguments in (FIRST, THEN):
        command = shlex.join([sys.executable, "-m", "imgtrans", *arguments])
        code, said = run(shell.format(command), folder, environment)
        if code != 0 or "Traceback" in said:
            return [f"exit code {code}: {said[-600:]}"]
    if before is not None:
        after = sorted(tree.rglob("*"))
        subprocess.run(["chmod", "-R", "u+w", tree], check=True)
        return [f"{each} was written" for each in {*after} - {*before}]
    return []


def _in_a_shell(
    command: str,
    folder: Path,
    environment: dict[str, str],
    prepare: Callable[[], None] | None = None,
) -> tuple[int, str]:
    done = subprocess.run(
        ["bash", "-c", command], cwd=folder, env=environment, stdin=subprocess.DEVNULL,
        capture_output=True, timeout=120, check=False, preexec_fn=prepare, start_new_session=True,
    )  # fmt: skip
    return done.returncode, (done.stdout + done.stderr).decode(errors="replace")


def _on_a_terminal(command: str, folder: Path, environment: dict[str, str]) -> tuple[int, str]:
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        ["bash", "-c", command], cwd=folder, env=environment, stdin=theirs, stdout=theirs,
        stderr=theirs, start_new_session=True,
    )  # fmt: skip
    os.close(theirs)
    said = bytearray()

    def listen() -> None:
        try:
            while data := os.read(ours, 4096):
                said.extend(data)
        except OSError:  # the other end is closed
            return

    listener = threading.Thread(target=listen)
    listener.start()
    code = process.wait(120)
    listener.join(10)
    os.close(ours)
    return code, said.decode(errors="replace")


def _read_only_tree(folder: Path) -> Path:
    tree = folder / "tree"
    leave = shutil.ignore_patterns("__pycache__")
    for part in ("imgtrans", "plugins", "recipes"):
        shutil.copytree(ROOT / part, tree / part, ignore=leave)
    subprocess.run(["chmod", "-R", "a-w", tree], check=True)
    return tree
