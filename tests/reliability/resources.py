"""Memory that runs out, readers that die, a very long run, and two runs that are equal."""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import psutil
import torch

from imgtrans.recipe import Recipe, load_recipe, to_toml

from .faults import AT
from .killing import TRIES, differences, each, whole_run, write_recipe
from .promises import MANY, Figure, promise, too_long
from .workers import imgtrans, metrics_of, start, wait_until

if TYPE_CHECKING:
    from imgtrans.training import Trainer


def run_out(kind: str) -> None:
    """Let the memory be gone in the step after so many."""
    from imgtrans import stepping

    make = stepping.train_step

    def full(trainer: Trainer, *images: Any) -> Any:
        if trainer.step == AT:
            raise torch.OutOfMemoryError if kind == "device" else MemoryError
        return make(trainer, *images)

    stepping.train_step = full


@promise("R17", "memory that runs out is told with what needs less, and the run goes on exactly",
         short=1, full=10)  # fmt: skip
def out_of_memory(place: Path, count: int) -> Figure:
    whole, _ = whole_run(place)

    def trial(number: int) -> str:
        folder = place / f"full-{number}"
        folder.mkdir()
        recipe = write_recipe(folder)
        prepare = partial(run_out, "device" if number % 2 else "host")
        code, said = imgtrans("run", recipe, "--quiet", folder=folder, prepare=prepare)
        wanted = ("out of memory", "a step needs about", "train.batch_size=1", "--resume")
        missing = [words for words in wanted if words not in said]
        if code != 1 or missing:
            return f"exit code {code}, {missing} missing: {said[-600:]}"
        code, said = imgtrans("run", recipe, "--resume", "--quiet", folder=folder)
        wrong = differences(folder / "runs/tiny", whole) if code == 0 else [said[-600:]]
        return f"trial {number}: {', '.join(wrong[:4])}" if wrong else ""

    return Figure(count, each(count, trial))


@promise("R20", "a reader of images that dies ends the run with a message, at once",
         short=1, full=20)  # fmt: skip
def readers_die(place: Path, count: int) -> Figure:
    whole, _ = whole_run(place)
    streamed = ("--set", "train.workers=2", "--set", "train.cache=none")
    waits: list[float] = []

    def trial(number: int) -> str:
        for again in range(TRIES):
            folder = place / f"reader-{number}-{again}"
            folder.mkdir()
            recipe = write_recipe(folder)
            command = start("run", recipe, "--quiet", *streamed, folder=folder, fresh=count >= MANY)
            log = folder / "runs/tiny/metrics.jsonl"
            wait_until(command, lambda log=log: log.exists() and log.stat().st_size > 0)
            _kill_a_reader(command.pid, number)
            killed = time.monotonic()
            code = command.wait()
            if code == 0:  # it had been given all images already
                if wrong := differences(folder / "runs/tiny", whole):
                    return f"trial {number}: ended well, but {', '.join(wrong[:4])} differ"
                continue
            waits.append(time.monotonic() - killed)
            if code != 1 or "is gone" not in command.said:
                return f"trial {number}: exit code {code}: {command.said[-600:]}"
            code, said = imgtrans("run", recipe, "--resume", "--quiet", folder=folder)
            wrong = differences(folder / "runs/tiny", whole) if code == 0 else [said[-600:]]
            return f"trial {number}: {', '.join(wrong[:4])}" if wrong else ""
        return f"trial {number}: it never missed a reader"

    broken = each(count, trial)
    broken += too_long(count, waits, 5)
    return Figure(count, broken, f"ended {max(waits, default=0):.1f} s later at most")


def _kill_a_reader(run: int, number: int) -> None:
    try:
        if readers := psutil.Process(run).children():
            readers[number % len(readers)].kill()
    except psutil.NoSuchProcess:  # it has ended
        return


@promise("R21", "a long run holds no more memory and no more files at its end than early on",
         short=300, full=100_000)  # fmt: skip
def soak(place: Path, count: int) -> Figure:
    settings = {"checkpoint_every": count // 20, "sample_every": count // 20, "decay_steps": 0}
    path = write_recipe(place, steps=count, batch_size=1, **settings)
    # One image, direction and loss, for 100,000 steps take as long as they do.
    tables = load_recipe(path).tables()
    loss = {"adversarial": tables["loss"]["adversarial"]}
    recipe = Recipe(**(tables | {"directions": "x_to_y", "loss": loss}))
    path.write_text(to_toml(recipe))
    command = start("run", path, "--quiet", folder=place)
    log, seen = place / "runs/tiny/metrics.jsonl", []
    while command.poll() is None:
        time.sleep(max(0.05, min(2.0, count / 5000)))
        try:
            process = psutil.Process(command.pid)
            if log.exists():
                seen.append((process.memory_info().rss, process.num_fds()))
        except psutil.Error:
            break
    code = command.wait()
    broken = [] if code == 0 else [f"exit code {code}: {command.said[-600:]}"]
    lines = metrics_of(place / "runs/tiny")
    if [line["step"] for line in lines] != list(range(1, count + 1)):
        broken.append("steps are missing in the log")
    if len(seen) < 9:
        return Figure(1, [*broken, f"its memory was seen {len(seen)} times only"])
    # Of the second and the last quarter; a file is open for a moment wherever one is written.
    early, late = seen[len(seen) // 4 : len(seen) // 2], seen[len(seen) * 3 // 4 :]
    growth = median(memory for memory, _ in late) / median(memory for memory, _ in early) - 1
    files = [min(number for _, number in part) for part in (early, late)]
    most = 0.01 if count >= 10_000 else 0.1  # a short one is still warming up
    if growth > most or files[1] > files[0]:
        broken.append(f"memory {growth:+.1%}, open files {files[0]} to {files[1]}")
    return Figure(1, broken, f"{count:,} steps, memory {growth:+.2%}, {files[1]} open files")


@promise("R23", "two fresh runs of one recipe and seed are equal to the last bit", short=0, full=10)
def equal_runs(place: Path, count: int) -> Figure:
    whole, _ = whole_run(place)

    def trial(number: int) -> str:
        folder = place / f"again-{number}"
        folder.mkdir()
        code, said = imgtrans(
            "run", write_recipe(folder), "--quiet", folder=folder, fresh=number % 2 == 0
        )
        wrong = differences(folder / "runs/tiny", whole) if code == 0 else [said[-600:]]
        return f"run {number}: {', '.join(wrong[:4])} differ" if wrong else ""

    return Figure(count, each(count, trial))
