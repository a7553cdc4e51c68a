"""Many processes on one run, and trainings of several processes of which some are killed."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil

from .killing import FRESH, differences, whole_run, write_recipe
from .promises import Figure, promise
from .workers import BOUND, HangError, imgtrans, metrics_of, start

IN_USE = 75
"""Exit code of a command whose run another process holds."""


def _alive(run: Path) -> bool:
    log = run / "metrics.jsonl"
    return log.exists() and log.stat().st_size > 0


@promise("R14", "of many processes started on one run, one trains and the others name it and end",
         short=4, full=50)  # fmt: skip
def one_winner(place: Path, count: int) -> Figure:
    recipe = write_recipe(place, steps=100_000, checkpoint_every=20)
    run = place / "runs/tiny"
    command: tuple[str | Path, ...] = ("run", recipe)
    broken, waits = [], []
    for number in range(count):
        # Each holder was killed when the next one starts, which must get its place.
        holder = start(*command, "--quiet", folder=place)
        while holder.poll() is None and f'"pid": {holder.pid}' not in _status(run):
            time.sleep(0.01)
        began = time.monotonic()
        code, said = imgtrans("run", "--resume", run, "--quiet", folder=place)
        waits.append(time.monotonic() - began)
        if code != IN_USE or f"in use by process {holder.pid}" not in said:
            broken.append(f"start {number}: exit code {code}: {said[-300:]}{holder.said[-300:]}")
        holder.signal(signal.SIGKILL)
        holder.wait()
        command = ("run", "--resume", run)
    broken += too_long(count, waits, 2)
    return Figure(count, broken, f"refused after {max(waits):.1f} s at most")


def too_long(count: int, waits: list[float], bound: float) -> list[str]:
    """Which wait was longer than is promised; the few of the suite are not timed."""
    longest = max(waits, default=0.0)
    over = count >= FRESH and longest > bound
    return [f"it took {longest:.1f} s, and {bound:.0f} are promised"] if over else []


def _status(run: Path) -> str:
    return (run / "status.json").read_text() if (run / "status.json").exists() else ""


@promise("R14a", "many processes that start on one run at once leave one that trains",
         short=4, full=50)  # fmt: skip
def one_of_many(place: Path, count: int) -> Figure:
    recipe = write_recipe(place, steps=2, decay_steps=0)
    imgtrans("run", recipe, "--quiet", folder=place)
    again = ("--resume", place / "runs/tiny", "--set", "train.steps=60")
    started = [start("run", *again, folder=place) for _ in range(count)]
    codes = [each.wait() for each in started]
    trained = [each for each in started if "done after step 60" in each.said]
    broken = [
        f"exit code {code}: {each.said[-300:]}"
        for each, code in zip(started, codes, strict=True)
        if code not in {0, IN_USE}
        or (code == 0 and not any(words in each.said for words in ("nothing to do", "done after")))
    ]
    if len(trained) != 1:
        broken.append(f"{len(trained)} processes trained")
    steps = [line["step"] for line in metrics_of(place / "runs/tiny")]
    if steps != list(range(1, 61)):
        broken.append("the log is not that of one process")
    return Figure(count, broken, f"{codes.count(IN_USE)} were refused")


@promise("R14b", "processes that start one recipe at once each have a run of their own",
         short=4, full=20)  # fmt: skip
def own_folders(place: Path, count: int) -> Figure:
    recipe = write_recipe(place, steps=3, decay_steps=1)
    started = [start("run", recipe, "--quiet", folder=place) for _ in range(count)]
    broken = [each.said[-300:] for each in started if each.wait()]
    runs = [each for each in (place / "runs").iterdir() if (each / "model.safetensors").exists()]
    if len(runs) != count:
        broken.append(f"{len(runs)} finished runs")
    return Figure(count, broken)


def torchrun(folder: Path, *arguments: str | Path, restarts: int = 0) -> subprocess.Popen[bytes]:
    """Two processes on the processor, of one thread each; they speak into a file."""
    options = ["--standalone", "--nproc-per-node", "2", "--max-restarts", str(restarts)]
    command = [sys.executable, "-m", "torch.distributed.run", *options, "-m", "imgtrans", "run"]
    with (folder / "said.txt").open("ab") as said:
        return subprocess.Popen(
            [*command, *map(str, arguments), "--device", "cpu"],
            cwd=folder,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            stdout=said,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def ended(process: subprocess.Popen[bytes], folder: Path) -> int:
    """Its exit code.

    Raises:
        HangError: it has not ended.
    """
    try:
        return process.wait(BOUND)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        raise HangError((folder / "said.txt").read_text()[-2000:]) from None


def ranks(process: subprocess.Popen[bytes]) -> list[psutil.Process]:
    """The processes that train."""
    return [
        each
        for each in psutil.Process(process.pid).children(recursive=True)
        if "RANK" in each.environ()
    ]


def _begun(place: Path) -> tuple[Path, Path]:
    """A run of two processes that nothing interrupts, and its recipe."""
    recipe = write_recipe(place)
    process = torchrun(place, recipe, "--quiet", "--name", "whole")
    assert ended(process, place) == 0, (place / "said.txt").read_text()[-2000:]
    return place / "runs/whole", recipe


@promise("R15", "a training of two processes, one of them killed, is started again and ends equal",
         short=0, full=FRESH)  # fmt: skip
def rank_killed(place: Path, count: int) -> Figure:
    whole, _ = _begun(place)
    broken, waits = [], []
    for number in range(count):
        draw, folder = random.Random(number), place / f"killed-{number}"
        folder.mkdir()
        process = torchrun(folder, write_recipe(folder), "--quiet", restarts=3)
        while process.poll() is None and not _alive(folder / "runs/tiny"):
            time.sleep(0.01)
        time.sleep(draw.uniform(0, 1))
        if alive := ranks(process) if process.poll() is None else []:
            draw.choice(alive).kill()
        killed = time.monotonic()
        code = ended(process, folder)
        waits += [time.monotonic() - killed] if alive else []
        wrong = [] if code == 0 else [(folder / "said.txt").read_text()[-600:]]
        wrong = wrong or differences(folder / "runs/tiny", whole)
        broken += [f"trial {number}: {', '.join(wrong[:4])}"] if wrong else []
        shutil.rmtree(folder)
    if len(waits) < count / 2:
        broken.append(f"only {len(waits)} were killed")
    broken += too_long(count, waits, 60)
    detail = (
        f"{len(waits)} were killed while they trained; done {max(waits, default=0):.0f} s later"
    )
    return Figure(count, broken, detail)


@promise("R15a", "where torchrun is killed its processes save and end, and the run goes on equal",
         short=0, full=5)  # fmt: skip
def agent_killed(place: Path, count: int) -> Figure:
    whole, _ = _begun(place)
    broken, waits = [], []
    for number in range(count):
        folder = place / f"agent-{number}"
        folder.mkdir()
        process = torchrun(folder, write_recipe(folder), "--quiet")
        while process.poll() is None and not _alive(folder / "runs/tiny"):
            time.sleep(0.01)
        left = ranks(process) if process.poll() is None else []
        process.kill()
        killed = time.monotonic()
        _, alive = psutil.wait_procs(left, BOUND)
        waits.append(time.monotonic() - killed)
        process.wait()
        wrong = [f"{len(alive)} processes are left"] if alive else []
        process = torchrun(folder, "--resume", folder / "runs/tiny", "--quiet")
        code = ended(process, folder)
        wrong += [] if code == 0 else [(folder / "said.txt").read_text()[-600:]]
        wrong = wrong or differences(folder / "runs/tiny", whole)
        broken += [f"trial {number}: {', '.join(wrong[:4])}"] if wrong else []
    return Figure(count, broken, f"they ended within {max(waits):.1f} s")


@promise("R16", "two processes, one, and two again see the same images in the same order",
         short=0, full=3)  # fmt: skip
def other_numbers(place: Path, count: int) -> Figure:
    whole, _ = whole_run(place, decay_steps=0)
    expected, broken, most = _losses(whole), [], 0.0
    for number in range(count):
        folder = place / f"numbers-{number}"
        folder.mkdir()
        run, first = folder / "runs/tiny", 6 + number
        recipe = write_recipe(folder, steps=first, decay_steps=0)
        ended(torchrun(folder, recipe, "--quiet"), folder)
        again = ("run", "--resume", run, "--quiet", "--set", f"train.steps={first + 6}")
        code, said = imgtrans(*again, folder=folder)
        process = torchrun(folder, "--resume", run, "--quiet", "--set", "train.steps=24")
        warned = "by 2 processes before and by 1 process now" in said
        if code or ended(process, folder) or not warned:
            broken.append(f"trial {number}: {said}{(folder / 'said.txt').read_text()[-600:]}")
            continue
        apart = [abs(a - b) for a, b in zip(_losses(run), expected, strict=True)]
        most = max(most, *apart)
        if most > 0.02:  # other images would make far more of a difference than other sums
            broken.append(f"trial {number}: losses differ by {most:.3f}")
    return Figure(count, broken, f"losses differ by {most:.4f} at most")


def _losses(run: Path) -> list[float]:
    lines = metrics_of(run)
    return [value for line in lines for _, value in sorted(line["losses"].items())]  # type: ignore[attr-defined]
