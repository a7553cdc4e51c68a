"""Trainings of two processes: one of them killed, torchrun killed, and their number changed."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
import zlib
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from .killing import TRIES, differences, unsaved_of, write_recipe
from .promises import Figure, promise, too_long
from .workers import BOUND, HangError, imgtrans, metrics_of, start_two, wait_until

if TYPE_CHECKING:
    from collections.abc import Sequence

STEPS = 24
"""More than elsewhere, so that there is something to kill."""
LONGEST = 60.0
"""Seconds in which a training goes on or ends, whatever was killed."""


def _trains(run: Path) -> bool:
    log = run / "metrics.jsonl"
    return log.exists() and log.stat().st_size > 0


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
    """The processes that train; none where it has ended."""
    try:
        return psutil.Process(process.pid).children()
    except psutil.NoSuchProcess:
        return []


def _whole(place: Path, **train: object) -> Path:
    """A run of two processes that nothing interrupts."""
    recipe = write_recipe(place, steps=STEPS, **train)
    process = torchrun(place, recipe, "--quiet", "--name", "whole")
    assert ended(process, place) == 0, (place / "said.txt").read_text()[-2000:]
    return place / "runs/whole"


def _wrong(process: subprocess.Popen[bytes], folder: Path, whole: Path) -> list[str]:
    """What is wrong with how a training ends, and with its run."""
    if ended(process, folder):
        return [(folder / "said.txt").read_text()[-600:]]
    return differences(folder / "runs/tiny", whole)


@promise("R15", "a training of two processes, one of them killed, is started again and ends equal",
         short=0, full=25)  # fmt: skip
def rank_killed(place: Path, count: int) -> Figure:
    whole = _whole(place)
    broken, waits = [], []
    for number in range(count):
        draw, hit = random.Random(number), False
        for again in range(TRIES):
            folder = place / f"killed-{number}-{again}"
            folder.mkdir()
            process = torchrun(folder, write_recipe(folder, steps=STEPS), "--quiet", restarts=3)
            hit = _kill_one(process, folder, draw)
            killed = time.monotonic()
            wrong = _wrong(process, folder, whole)
            if hit and "exitcode: -9" not in (folder / "said.txt").read_text():
                wrong.append("torchrun has seen no process killed")
            broken += [f"trial {number}: {', '.join(wrong[:4])}"] if wrong else []
            shutil.rmtree(folder)
            if hit:
                waits.append(time.monotonic() - killed)
                break
        broken += [] if hit else [f"trial {number}: all kills came too late"]
    broken += too_long(count, waits, LONGEST)
    return Figure(count, broken, f"done {max(waits, default=0):.0f} s after the kill at most")


def _kill_one(process: subprocess.Popen[bytes], folder: Path, draw: random.Random) -> bool:
    """Kill one of the processes that train; returns whether it still did."""
    wait_until(process, partial(_trains, folder / "runs/tiny"))
    time.sleep(draw.uniform(0, 1))
    alive = ranks(process)
    if len(metrics_of(folder / "runs/tiny")) >= STEPS or len(alive) < 2:
        return False
    try:
        draw.choice(alive).kill()
    except psutil.NoSuchProcess:  # it has ended
        return False
    return True


@promise("R15a", "where torchrun is killed its processes save and end, and the run goes on equal",
         short=0, full=5)  # fmt: skip
def agent_killed(place: Path, count: int) -> Figure:
    rarely = {"checkpoint_every": 1000}  # so only what its end saves can be there
    whole = _whole(place, **rarely)
    broken, waits = [], []
    for number in range(count):
        folder = place / f"agent-{number}"
        folder.mkdir()
        process = torchrun(folder, write_recipe(folder, steps=STEPS, **rarely), "--quiet")
        wait_until(process, partial(_trains, folder / "runs/tiny"))
        left = ranks(process)
        broken += [] if left else [f"trial {number}: it was over before it was killed"]
        process.kill()
        killed = time.monotonic()
        _, alive = psutil.wait_procs(left, BOUND)
        waits.append(time.monotonic() - killed)
        process.wait()
        wrong = [f"{len(alive)} processes are left"] if alive else []
        wrong += [unsaved] if (unsaved := unsaved_of(folder / "runs/tiny")) else []
        process = torchrun(folder, "--resume", folder / "runs/tiny", "--quiet")
        wrong += _wrong(process, folder, whole)
        broken += [f"trial {number}: {', '.join(wrong[:4])}"] if wrong else []
    broken += [f"it took {max(waits):.0f} s"] if max(waits) > LONGEST else []
    return Figure(count, broken, f"they ended within {max(waits):.1f} s")


def note_images() -> None:
    """Write down which images each step of this process sees, cropped and flipped as they are."""
    from imgtrans.data.batch import Batch

    to, rank = Batch.to, os.environ.get("RANK", "0")
    seen = Path(f"seen-{os.environ['LEG']}-{rank}")

    def noted(batch: Batch, *arguments: Any) -> Any:
        images = to(batch, *arguments)
        sums = [[zlib.crc32(one.numpy().tobytes()) for one in each] for each in images]
        with seen.open("a") as file:
            file.write(json.dumps(sums) + "\n")
        return images

    Batch.to = noted  # type: ignore[method-assign]


def _seen(folder: Path, legs: Sequence[int]) -> list[tuple[list[int], list[int]]]:
    """What each step of a run saw of either domain, by how many processes each leg of it had."""
    steps = []
    for leg, processes in enumerate(legs):
        files = [(folder / f"seen-{leg}-{rank}") for rank in range(processes)]
        for lines in zip(*(file.read_text().splitlines() for file in files), strict=True):
            shares = [json.loads(line) for line in lines]
            x, y = ([one for share in shares for one in share[domain]] for domain in (0, 1))
            steps.append((sorted(x), sorted(y)))
    return steps


@promise("R16", "two processes, one, and two again see the same images in the same order",
         short=1, full=3)  # fmt: skip
def other_numbers(place: Path, count: int) -> Figure:
    expected, broken, most = [], [], 0.0
    for number in range(count + 1):
        folder = place / f"numbers-{number}"
        folder.mkdir()
        run, first = folder / "runs/tiny", 6 + number
        # The first run has one process all the time; the others have two, one, and two.
        legs, ends = ([1], [STEPS]) if not number else ([2, 1, 2], [first, first + 6, STEPS])
        recipe = write_recipe(folder, steps=ends[0], decay_steps=0)
        said = ""
        for leg, (processes, end) in enumerate(zip(legs, ends, strict=True)):
            again = ("--resume", run, "--set", f"train.steps={end}") if leg else (recipe,)
            said += _leg(folder, leg, processes, *again)
        seen, losses = _seen(folder, legs), _losses(run)
        if not number:
            expected, right = seen, losses
            continue
        most = max(most, *(abs(a - b) for a, b in zip(losses, right, strict=True)))
        wrong = [] if seen == expected and len(seen) == STEPS else ["other images were seen"]
        wrong += [] if most < 0.001 else [f"losses differ by {most:.3f}"]
        warned = said.count("processes before and by") + said.count("process before and by")
        wrong += [] if warned == 2 else [f"it warned {warned} times of other numbers: {said}"]
        broken += [f"trial {number}: {line}" for line in wrong]
    return Figure(count, broken, f"losses differ by {most:.4f} at most")


def _leg(folder: Path, leg: int, processes: int, *arguments: str | Path) -> str:
    """Train for a while by so many processes; returns what they said."""
    command, environment = ("run", *arguments, "--quiet"), {"LEG": str(leg)}
    if processes == 1:
        code, said = imgtrans(*command, folder=folder, prepare=note_images, environment=environment)
        assert code == 0, said
        return said
    prepare = (note_images, note_images)
    both = start_two(*command, folder=folder, prepare=prepare, environment=environment)
    codes = [each.wait() for each in both]
    assert codes == [0, 0], both[0].said + both[1].said
    return both[0].said


def _losses(run: Path) -> list[float]:
    lines = metrics_of(run)
    return [value for line in lines for _, value in sorted(line["losses"].items())]  # type: ignore[attr-defined]
