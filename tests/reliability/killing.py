"""Runs that are killed or asked to stop at any moment, and go on as if nothing had happened."""

from __future__ import annotations

import json
import random
import shutil
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch

from imgtrans import checkpoint
from imgtrans.recipe import to_toml
from imgtrans.testing import tiny_recipe

from .promises import Figure, promise
from .workers import imgtrans, metrics_of, start

STEPS = 24
FRESH = 20
"""So many of each kind start as a user's do."""
ATONCE = 2
ENDS_WITHIN = 20.0
"""Seconds; what is promised is a step and its saving, and a machine may be loaded."""


def write_recipe(folder: Path, metric: dict[str, Any] | None = None, **train: object) -> Path:
    """A run of some seconds: a pool that fills half way, rates that fall in its second half."""
    settings = {"steps": STEPS, "decay_steps": STEPS // 2, "checkpoint_every": 1}
    settings |= {"sample_every": 10, **train}
    recipe = tiny_recipe(train=settings, metric=metric or {})
    path = folder / "tiny.toml"
    path.write_text(to_toml(recipe))
    return path


def newest_state(run: Path) -> dict[str, torch.Tensor]:
    """What a run's newest checkpoint holds."""
    return checkpoint.read(checkpoint.found(run / "checkpoints")[0]).tensors


def differences(run: Path, whole: Path) -> list[str]:
    """What of a finished run is not that of the one that nothing interrupted."""
    one, other = newest_state(run), newest_state(whole)
    told = [name for name in {*one, *other} if not _same(one.get(name), other.get(name))]
    if metrics_of(run) != metrics_of(whole):
        told.append("metrics.jsonl")
    made, expected = (checkpoint.read(each / "model.safetensors").tensors for each in (run, whole))
    told += [name for name in expected if not _same(made.get(name), expected[name])]
    return sorted(told)


def _same(one: torch.Tensor | None, other: torch.Tensor | None) -> bool:
    return one is not None and other is not None and torch.equal(one, other)


def whole_run(place: Path, **train: object) -> tuple[Path, float]:
    """A run that nothing interrupts, and the seconds it takes."""
    recipe = write_recipe(place, **train)
    imgtrans("run", recipe, "--name", "warm-up", "--quiet", folder=place)  # the fork server starts
    began = time.monotonic()
    code, said = imgtrans("run", recipe, "--name", "whole", "--quiet", folder=place)
    assert code == 0, said
    return place / "runs/whole", time.monotonic() - began


def each(count: int, trial: object, seed: int = 0) -> list[str]:
    """Make so many trials, two at a time; returns what they found wrong."""
    with ThreadPoolExecutor(ATONCE) as pool:
        found = pool.map(trial, range(seed, seed + count))  # type: ignore[arg-type, var-annotated]
        return [line for line in found if line]


@promise("R1", "a run killed at any moment and resumed ends bit for bit as one left alone",
         short=2, full=200)  # fmt: skip
def killed_at_any_moment(place: Path, count: int) -> Figure:
    whole, seconds = whole_run(place)
    kills = []

    def trial(number: int) -> str:
        draw = random.Random(number)
        folder = place / f"trial-{number}"
        folder.mkdir()
        recipe, fresh = write_recipe(folder), number < min(FRESH, count // 4)
        for attempt in range(50):
            resume = ("--resume",) if attempt else ()
            command = start("run", recipe, *resume, "--quiet", folder=folder, fresh=fresh)
            if attempt < 3:
                time.sleep(draw.uniform(0, seconds + 5 * fresh))
                command.signal(signal.SIGKILL)
            code = command.wait()
            if code == 0:
                break
            kills.append(number)
            if code != -signal.SIGKILL:
                return f"trial {number}: exit code {code}: {command.said[-500:]}"
            if _done(folder):  # killed as Python cleared up: there is nothing to resume
                break
        # One that was killed before it was a run leaves a folder without a recipe.
        runs = [path.parent for path in folder.glob("runs/*/recipe.toml")]
        wrong = [] if len(runs) == 1 else [f"{len(runs)} runs"]
        wrong += differences(runs[0], whole)
        shutil.rmtree(folder)
        return f"trial {number}: {', '.join(wrong[:4])} differ" if wrong else ""

    broken = each(count, trial)
    return Figure(count, broken, f"{len(kills)} kills")


def _done(folder: Path) -> bool:
    found = [json.loads(path.read_text()) for path in folder.glob("runs/*/status.json")]
    return any(status["state"] == "done" for status in found if "state" in status)


def _unsaved(run: Path) -> str:
    """What a stopped run has made and not saved."""
    made, saved = len(metrics_of(run)), checkpoint.found(run / "checkpoints")
    there = saved and saved[0].name == checkpoint.name_of(made)
    return "" if there else f"step {made} was made, and {saved[:1]} saved"


@promise("R10", "SIGINT and SIGTERM at any moment end a run after its step, to go on exactly",
         short=4, full=100)  # fmt: skip
def signalled_at_any_moment(place: Path, count: int) -> Figure:  # noqa: C901 - one story
    settings = {"steps": 60, "decay_steps": 30, "checkpoint_every": 1000}
    whole, seconds = whole_run(place, **settings)
    waits: list[float] = []
    hits: list[int] = []

    def trial(number: int) -> str:
        draw = random.Random(number)
        folder = place / f"signal-{number}"
        folder.mkdir()
        # Nothing is saved on the way, so only what the signal saves can be there.
        recipe = write_recipe(folder, **settings)
        fresh = number < min(FRESH, count // 4)
        chosen = draw.choice((signal.SIGINT, signal.SIGTERM))
        command = start("run", recipe, "--quiet", folder=folder, fresh=fresh)
        log = folder / "runs/tiny/metrics.jsonl"
        while number % 2 and command.poll() is None and not log.exists():
            time.sleep(0.002)  # every other one is trained for a while, the rest ends anywhere
        time.sleep(draw.uniform(0, seconds / 2 if number % 2 else seconds + 5 * fresh))
        asked = time.monotonic()
        trains = command.poll() is None and log.exists() and log.stat().st_size > 0
        trains = trains and not _done(folder)
        command.signal(chosen)
        if number % 4 == 3:  # an impatient user
            time.sleep(draw.uniform(0, 0.2))
            command.signal(chosen)
        code = command.wait()
        waits.append(time.monotonic() - asked)
        # Before it listens, a signal ends a process as it ends any other.
        if code not in {0, 128 + chosen, -chosen}:
            return f"trial {number}: exit code {code}: {command.said[-500:]}"
        if "Traceback" in command.said and code != -chosen:
            return f"trial {number}: {command.said[-500:]}"
        if code == 128 + chosen and trains and number % 4 != 3:
            hits.append(number)
            if lost := _unsaved(log.parent):
                return f"trial {number}: {lost}"
        elif trains and code == -chosen and not _done(folder):
            return f"trial {number}: it trained, and ended without saving"
        code, said = imgtrans("run", recipe, "--resume", "--quiet", folder=folder)
        if code:
            return f"trial {number}: exit code {code}: {said[-500:]}"
        run = next(path.parent for path in folder.glob("runs/*/recipe.toml"))
        wrong = differences(run, whole)
        shutil.rmtree(folder)
        return f"trial {number}: {', '.join(wrong[:4])} differ" if wrong else ""

    broken = each(count, trial)
    longest = sorted(waits)[-max(1, count // 100)]
    if longest > ENDS_WITHIN or (count > FRESH and len(hits) < count / 10):
        broken.append(f"{longest:.1f} s, and only {len(hits)} came while it trained")
    detail = f"{len(hits)} came while it trained; 99 of 100 ended within {longest:.1f} s"
    return Figure(count, broken, detail)
