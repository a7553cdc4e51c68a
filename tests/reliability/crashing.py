"""Runs that crash exactly before or after each thing that the writer does to the disk.

A process notes or ends itself at its n-th call of what changes files for good: opening one to
write, syncing, renaming, deleting. So no point of the writer is left out, or has to be named.
"""

from __future__ import annotations

import builtins
import io
import json
import os
import shutil
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imgtrans import checkpoint

from .killing import MEASURED, STEPS, differences, each, whole_run, write_recipe
from .promises import MANY, Figure, promise
from .workers import imgtrans

if TYPE_CHECKING:
    from collections.abc import Callable

CRASHED = 137
"""Exit code of a process that the test ended."""
INTERVAL = 6
"""Steps between checkpoints."""
CALLS = ("open", "fsync", "replace", "rename", "unlink")


class Watch:
    """Counts what a process does below its run folder, and ends it at one of these calls."""

    def __init__(self, told: Path, crash: int, *, after: bool) -> None:
        self.told, self.crash, self.after = told, crash, after
        self.count = 0

    def install(self) -> None:
        for name in CALLS[1:]:
            setattr(os, name, self._watched(name, getattr(os, name)))
        opening = self._watched("open", io.open)
        io.open = builtins.open = opening  # type: ignore[assignment]

    def _watched(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def watched(*arguments: Any, **options: Any) -> Any:
            target = self._target(name, *arguments, **options)
            if target is None:
                return call(*arguments, **options)
            self.count += 1
            mine = self.count == self.crash
            if not self.crash:
                with self.told.open("a") as file:
                    file.write(json.dumps([self.count, name, target]) + "\n")
            if mine and not self.after:
                os._exit(CRASHED)
            result = call(*arguments, **options)
            if mine:
                os._exit(CRASHED)
            return result

        return watched

    @staticmethod
    def _target(name: str, path: Any, mode: Any = "r", *_: Any, **options: Any) -> str | None:
        """The file of a run that a call is about, or None."""
        if name == "open" and not set(str(options.get("mode", mode))) & set("wax+"):
            return None
        if isinstance(path, int):
            path = Path(f"/proc/self/fd/{path}").readlink() if name == "fsync" else ""
        text = os.path.abspath(os.fspath(path))  # noqa: PTH100 - may be bytes
        parts = os.fsdecode(text).partition("/runs/")
        return parts[2] or None


def watch(told: Path, crash: int, *, after: bool) -> None:
    Watch(told, crash, after=after).install()


def points(place: Path, recipe: Path) -> list[tuple[int, str, str]]:
    """All that a run which nothing interrupts does to its folder."""
    folder, told = place / "points", place / "points.jsonl"
    folder.mkdir()
    code, said = imgtrans(
        "run", recipe, "--quiet", folder=folder, prepare=partial(watch, told, 0, after=False)
    )
    assert code == 0, said
    return [tuple(json.loads(line)) for line in told.read_text().splitlines()]


def spread(found: list[Any], count: int) -> list[Any]:
    """So many of them, evenly."""
    count = min(count, len(found))
    return [found[index * len(found) // count] for index in range(count)]


@promise("R2", "a crash before or after any call of the writer loses at most one interval",
         short=4, full=1000)  # fmt: skip
def crash_at_every_point(place: Path, count: int) -> Figure:
    settings = {"checkpoint_every": INTERVAL, "keep": 1}
    whole, _ = whole_run(place, **settings)
    known = points(place, place / "tiny.toml")
    tried = spread([(point, after) for point in known for after in (False, True)], count)

    def trial(number: int) -> str:
        (crash, name, target), after = tried[number]
        where = f"{'after' if after else 'before'} {name} of {target}, call {crash}"
        folder = place / f"crash-{number}"
        folder.mkdir()
        recipe = write_recipe(folder, **settings)
        prepare = partial(watch, folder / "none", crash, after=after)
        code, said = imgtrans("run", recipe, "--quiet", folder=folder, prepare=prepare)
        if code != CRASHED:
            return f"{where}: exit code {code}, not crashed: {said[-300:]}"
        log = folder / "runs/tiny/metrics.jsonl"
        done = log.read_text().count("\n") if log.exists() else 0
        saved = checkpoint.found(folder / "runs/tiny/checkpoints")
        begun = int(checkpoint.read(saved[0]).about["step"]) if saved else 0
        code, said = imgtrans("run", recipe, "--resume", "--quiet", folder=folder)
        if code:
            return f"{where}: exit code {code}: {said[-500:]}"
        wrong = [] if done - begun <= INTERVAL else [f"{done - begun} steps lost"]
        run = next(path.parent for path in folder.glob("runs/*/recipe.toml"))
        wrong += differences(run, whole)
        wrong += [str(path.name) for path in run.rglob("*.tmp")]
        shutil.rmtree(folder)
        return f"{where}: {', '.join(wrong[:4])}" if wrong else ""

    return Figure(len(tried), each(len(tried), trial), f"{len(known)} calls in a run of 3 saves")


KEPT: list[dict[str, Any]] = [
    *({"keep": keep} for keep in range(1, 6)),
    {
        "keep": 2,
        "evaluate_every": 2,
        "keep_best": "cycle",
        "tables": {"metric": MEASURED},
    },
]
"""How many of the newest stay; in the last the best stays, too."""


def _left(folder: Path) -> set[str]:
    return {path.name for path in (folder / "runs/tiny/checkpoints").iterdir()}


@promise("R13", "a crash while old checkpoints are deleted leaves, once resumed, exactly those due",
         short=2, full=50)  # fmt: skip
def crash_while_pruning(place: Path, count: int) -> Figure:
    cases, due = [], []
    kinds = KEPT if count >= MANY else KEPT[-1:]
    for number, kept in enumerate(kinds):
        folder = place / f"kept-{number}"
        folder.mkdir()
        unlinked = [
            point
            for point in points(folder, write_recipe(folder, **kept))
            if point[1] == "unlink" and point[2].endswith(".safetensors")
        ]
        due.append(_left(folder / "points"))
        cases += [(number, point, after) for point in unlinked for after in (False, True)]
    tried = spread(cases, count)
    newest = [{checkpoint.name_of(STEPS - n) for n in range(kept["keep"] + 1)} for kept in kinds]
    broken = [] if due[:-1] == newest[:-1] and due[-1] > newest[-1] else [f"due are {due}"]

    def trial(number: int) -> str:
        which, (crash, _, target), after = tried[number]
        where = f"{kinds[which]}, {'after' if after else 'before'} {target} is deleted"
        folder = place / f"prune-{number}"
        folder.mkdir()
        recipe = write_recipe(folder, **kinds[which])
        prepare = partial(watch, folder / "none", crash, after=after)
        code, said = imgtrans("run", recipe, "--quiet", folder=folder, prepare=prepare)
        there = checkpoint.found(folder / "runs/tiny/checkpoints")
        whole = [path for path in there if checkpoint.read(path)]
        if code != CRASHED or not whole:
            return f"{where}: exit code {code}, {len(whole)} whole: {said[-300:]}"
        code, said = imgtrans("run", recipe, "--resume", "--quiet", folder=folder)
        if code:
            return f"{where}: exit code {code}: {said[-500:]}"
        left = _left(folder)
        shutil.rmtree(folder)
        return "" if left == due[which] else f"{where}: {sorted(left ^ due[which])}"

    return Figure(len(tried), broken + each(len(tried), trial))
