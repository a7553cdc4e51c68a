"""Many processes that are started on one run, or on one recipe."""

from __future__ import annotations

import signal
import time
from functools import partial
from pathlib import Path

from .killing import FRESH, write_recipe
from .promises import MANY, Figure, promise, too_long
from .workers import BOUND, imgtrans, metrics_of, start, wait_until

IN_USE = 75
"""Exit code of a command whose run another process holds."""


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
        wait_until(holder, partial(_held, run, holder.pid))
        fresh, began = count >= MANY and number < FRESH, time.monotonic()
        code, said = imgtrans("run", "--resume", run, "--quiet", folder=place, fresh=fresh)
        waits += [] if fresh else [time.monotonic() - began]
        if code != IN_USE or f"in use by process {holder.pid}" not in said:
            broken.append(f"start {number}: exit code {code}: {said[-300:]}{holder.said[-300:]}")
        holder.signal(signal.SIGKILL)
        holder.wait()
        command = ("run", "--resume", run)
    broken += too_long(count, waits, 2)
    return Figure(count, broken, f"refused after {max(waits):.1f} s at most")


def _held(run: Path, pid: int) -> bool:
    status = run / "status.json"
    return status.exists() and f'"pid": {pid}' in status.read_text()


@promise("R14a", "many processes that start on one run at once leave one that trains",
         short=4, full=50)  # fmt: skip
def one_of_many(place: Path, count: int) -> Figure:
    recipe = write_recipe(place, steps=2, decay_steps=0)
    imgtrans("run", recipe, "--quiet", folder=place)
    again = ("--resume", place / "runs/tiny", "--set", "train.steps=60")
    started = [
        start("run", *again, folder=place, fresh=count >= MANY and number < FRESH)
        for number in range(count)
    ]
    codes = [each.wait(4 * BOUND) for each in started]
    trained = [each for each in started if "done after step 60" in each.said]
    broken = [
        f"exit code {code}: {each.said[-300:]}"
        for each, code in zip(started, codes, strict=True)
        if code not in {0, IN_USE}
        or (code == 0 and not any(words in each.said for words in ("nothing to do", "done after")))
        or (code == IN_USE and "in use by process" not in each.said)
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
    fresh = count >= MANY
    started = [start("run", recipe, "--quiet", folder=place, fresh=fresh) for _ in range(count)]
    broken = [each.said[-300:] for each in started if each.wait(4 * BOUND)]
    runs = [each for each in (place / "runs").iterdir() if (each / "model.safetensors").exists()]
    if len(runs) != count:
        broken.append(f"{len(runs)} finished runs")
    return Figure(count, broken)
