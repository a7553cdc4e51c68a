"""Runs that are killed or asked to stop at any moment, and go on as if nothing had happened."""

from __future__ import annotations

import json
import random
import shutil
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, ClassVar

import torch

from imgtrans import checkpoint
from imgtrans.recipe import to_toml
from imgtrans.testing import tiny_recipe

from .promises import MANY, Figure, promise, too_long
from .workers import imgtrans, metrics_of, start, wait_until

STEPS = 16
FRESH = 20
"""So many of each kind start as a user's do."""
ATONCE = 2
TRIES = 10
"""So often a trial is made again whose signal came too late."""
ENDS_WITHIN = 2.0
"""Seconds from a signal to the end, 99 times of 100."""
DATASET = {
    "use": "seasons/landscapes", "image_size": 32, "scenes": 4, "test_scenes": 2, "flip": True,
}  # fmt: skip
MEASURED = {"cycle": {"use": "metrics/cycle-error"}}
"""A metric for runs that keep their best checkpoint."""


def write_recipe(folder: Path, tables: dict[str, Any] | None = None, **train: object) -> Path:
    """A run of some seconds: a pool that is full half way, rates that fall before it is."""
    settings = {"steps": STEPS, "decay_steps": STEPS * 3 // 4, "checkpoint_every": 1}
    settings |= {"sample_every": 6, "pool_images": STEPS, **train}
    recipe = tiny_recipe(train=settings, **{"dataset": DATASET, **(tables or {})})
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
    for log in ("metrics.jsonl", "scores.jsonl"):
        told += [log] if metrics_of(run, log) != metrics_of(whole, log) else []
    best, expected = (json.loads((each / "status.json").read_text()) for each in (run, whole))
    told += ["best"] if best.get("best") != expected.get("best") else []
    made, wanted = (checkpoint.read(each / "model.safetensors").tensors for each in (run, whole))
    told += [name for name in wanted if not _same(made.get(name), wanted[name])]
    return sorted(told)


def _same(one: torch.Tensor | None, other: torch.Tensor | None) -> bool:
    return one is not None and other is not None and torch.equal(one, other)


def whole_run(
    place: Path, tables: dict[str, Any] | None = None, **train: object
) -> tuple[Path, float]:
    """A run that nothing interrupts, and the seconds it takes."""
    recipe = write_recipe(place, tables, **train)
    imgtrans("run", recipe, "--name", "warm-up", "--quiet", folder=place)  # the fork server starts
    began = time.monotonic()
    code, said = imgtrans("run", recipe, "--name", "whole", "--quiet", folder=place)
    assert code == 0, said
    whole = place / "runs/whole"
    assert any(name.startswith("pool/") for name in newest_state(whole)), "it has no pool"
    return whole, time.monotonic() - began


def each(count: int, trial: object, seed: int = 0) -> list[str]:
    """Make so many trials, two at a time; returns what they found wrong."""
    with ThreadPoolExecutor(ATONCE) as pool:
        found = pool.map(trial, range(seed, seed + count))  # type: ignore[arg-type, var-annotated]
        return [line for line in found if line]


@promise("R1", "a run killed at any moment and resumed ends bit for bit as one left alone",
         short=2, full=200)  # fmt: skip
def killed_at_any_moment(place: Path, count: int) -> Figure:
    measured = {"evaluate_every": 6, "keep_best": "cycle"}
    whole, seconds = whole_run(place, {"metric": MEASURED}, **measured)
    kills: list[int] = []

    def trial(number: int) -> str:
        draw, folder = random.Random(number), place / f"trial-{number}"
        fresh = number < min(FRESH, count // 4)
        for _ in range(TRIES):
            folder.mkdir()
            recipe = write_recipe(folder, {"metric": MEASURED}, **measured)
            hits, wrong = _killed(folder, recipe, draw, seconds + 5 * fresh, fresh=fresh)
            # One that was killed before it was a run leaves a folder without a recipe.
            runs = [path.parent for path in folder.glob("runs/*/recipe.toml")]
            if not wrong and len(runs) != 1:
                wrong = f"{len(runs)} runs"
            if not wrong and (differ := differences(runs[0], whole)):
                wrong = f"{', '.join(differ[:4])} differ"
            shutil.rmtree(folder)
            kills.append(hits)
            if wrong:
                return f"trial {number}: {wrong}"
            if hits:
                return ""
        return f"trial {number}: no kill came before it ended"

    broken = each(count, trial)
    return Figure(count, broken, f"{sum(kills)} kills")


def _killed(
    folder: Path, recipe: Path, draw: random.Random, seconds: float, *, fresh: bool
) -> tuple[int, str]:
    """Kill a run up to three times and let it end; returns how often, and what is wrong."""
    hits = 0
    for attempt in range(4):
        resume = ("--resume",) if attempt else ()
        command = start("run", recipe, *resume, "--quiet", folder=folder, fresh=fresh)
        if attempt < 3:
            time.sleep(draw.uniform(0, seconds))
            command.signal(signal.SIGKILL)
        code = command.wait()
        if code not in {0, -signal.SIGKILL}:
            return hits, f"exit code {code}: {command.said[-500:]}"
        if code == 0 or _ended(folder, "done"):  # there is nothing to resume
            break
        hits += 1
    return hits, ""


def _ended(folder: Path, *states: str) -> bool:
    """Whether a run there says that it has ended in one of these ways."""
    found = [json.loads(path.read_text()) for path in folder.glob("runs/*/status.json")]
    return any(status.get("state") in states for status in found)


def unsaved_of(run: Path) -> str:
    """What a stopped run has made and not saved."""
    made, saved = len(metrics_of(run)), checkpoint.found(run / "checkpoints")
    there = saved and saved[0].name == checkpoint.name_of(made)
    return "" if there else f"step {made} was made, and {saved[:1]} saved"


class Signals:
    """Runs that are asked to stop, and how it went."""

    settings: ClassVar = {"steps": 60, "decay_steps": 30, "checkpoint_every": 1000}
    """Nothing is saved on the way, so only what the signal saves can be there."""

    def __init__(self, place: Path, count: int) -> None:
        self.place, self.count = place, count
        self.whole, self.seconds = whole_run(place, **self.settings)
        self.waits: list[float] = []
        self.hits: list[int] = []

    def trial(self, number: int) -> str:
        """Stop one run and let it go on; returns what is wrong."""
        folder = self.place / f"signal-{number}"
        folder.mkdir()
        recipe = write_recipe(folder, **self.settings)
        if wrong := self._stopped(number, folder, recipe):
            return f"trial {number}: {wrong}"
        code, said = imgtrans("run", recipe, "--resume", "--quiet", folder=folder)
        if code:
            return f"trial {number}: exit code {code}: {said[-500:]}"
        run = next(path.parent for path in folder.glob("runs/*/recipe.toml"))
        differ = differences(run, self.whole)
        shutil.rmtree(folder)
        return f"trial {number}: {', '.join(differ[:4])} differ" if differ else ""

    def _stopped(self, number: int, folder: Path, recipe: Path) -> str:
        draw = random.Random(number)
        fresh = number < min(FRESH, self.count // 4)
        chosen = draw.choice((signal.SIGINT, signal.SIGTERM))
        command = start("run", recipe, "--quiet", folder=folder, fresh=fresh)
        log = folder / "runs/tiny/metrics.jsonl"
        if number % 2:  # every other one is trained for a while, the rest ends anywhere
            wait_until(command, log.exists)
        part = 0.5 if number % 2 else 1
        time.sleep(draw.uniform(0, self.seconds * part + 5 * fresh * (1 - number % 2)))
        trains = command.poll() is None and log.exists() and log.stat().st_size > 0
        trains = trains and not _ended(folder, "done")
        asked = time.monotonic()
        command.signal(chosen)
        impatient = number % 4 == 3
        if impatient:
            time.sleep(draw.uniform(0, 0.2))
            command.signal(chosen)
        code = command.wait()
        self.waits.append(time.monotonic() - asked)
        # Before it listens, a signal ends a process as it ends any other.
        if code not in {0, 128 + chosen, -chosen}:
            return f"exit code {code}: {command.said[-500:]}"
        if "Traceback" in command.said:
            return command.said[-500:]
        # A second one may come when all is saved and told, before Python has ended.
        fine = ("done", "stopped") if impatient else ("done",)
        if trains and code == -chosen and not _ended(folder, *fine):
            return "it trained, and ended without saving"
        if trains and code == 128 + chosen and not impatient:
            self.hits.append(number)
            return unsaved_of(log.parent)
        return ""


@promise("R10", "SIGINT and SIGTERM at any moment end a run after its step, to go on exactly",
         short=2, full=100)  # fmt: skip
def signalled_at_any_moment(place: Path, count: int) -> Figure:
    signals = Signals(place, count)
    broken = each(count, signals.trial)
    longest, hits = sorted(signals.waits)[-1 - count // 100], len(signals.hits)
    broken += too_long(count, [longest], ENDS_WITHIN)
    if count >= MANY and hits < 0.4 * count:
        broken.append(f"only {hits} came while it trained")
    detail = f"{hits} came while it trained; 99 of 100 ended within {longest:.1f} s"
    return Figure(count, broken, detail)
