"""Going on from every step, and with other workers."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from imgtrans import checkpoint
from imgtrans.testing import toy_folder

from .killing import STEPS, differences, each, whole_run
from .promises import MANY, Figure, promise
from .workers import imgtrans

PHOTOGRAPHS = {
    "dataset": {
        "use": "cyclegan/unpaired-folders", "image_size": 32, "load_size": 40, "flip": True,
    },
    "generator": {"use": "cyclegan/unet", "width": 2, "depth": 2, "dropout": True},
}  # fmt: skip
"""Files that are resized and cropped, and networks that drop values out."""


def cut(whole: Path, run: Path, step: int) -> None:
    """A run as it was after a step, its log still going on, as a crash may leave it."""
    shutil.copytree(whole, run)
    for path in checkpoint.found(run / "checkpoints"):
        if path.name > checkpoint.name_of(step):
            path.unlink()
    (run / "model.safetensors").unlink()
    status = json.loads((run / "status.json").read_text())
    (run / "status.json").write_text(json.dumps({**status, "state": "running", "step": step}))


def continued(folder: Path, whole: Path, step: int, *arguments: str, fresh: bool = False) -> str:
    """Go on from a step, the last time in a fresh process or a forked one.

    Returns:
        What is different in the end.
    """
    run = folder / "runs/tiny"
    folder.mkdir()
    cut(whole, run, step)
    for each_step, changed in enumerate([*(arguments or ("",))]):
        # All but the last stop half way.
        last = each_step == len(arguments) - 1 or not arguments
        sets = [word for key in changed.split() for word in ("--set", key)]
        prepare = None if last else _stop_soon
        code, said = imgtrans(
            "run", "--resume", run, "--quiet", *sets,
            folder=folder, prepare=prepare, fresh=fresh and last,
        )  # fmt: skip
        if code != (0 if last else 130):
            return f"step {step}: exit code {code}: {said[-500:]}"
    wrong = differences(run, whole)
    shutil.rmtree(folder)
    return f"step {step}: {', '.join(wrong[:4])} differ" if wrong else ""


def _stop_soon() -> None:
    """Ask for an end after the third step from now, as Ctrl-C does."""
    from imgtrans.monitor.clock import Clock, Stop

    made, tick = [0], Clock.tick
    stops: list[Stop] = []
    begin = Stop.__init__

    def remember(stop: Stop) -> None:
        begin(stop)
        stops.append(stop)

    def counted(clock: Clock) -> None:
        tick(clock)
        made[0] += 1
        if made[0] == 3:
            stops[-1].signal = 2

    Stop.__init__, Clock.tick = remember, counted  # type: ignore[method-assign]


def _steps(count: int) -> list[int]:
    """So many of the steps that a run may go on from, evenly: all but the last."""
    count = min(count, STEPS - 1)
    return [1 + index * (STEPS - 1) // count for index in range(count)]


@promise("R3", "a run resumed from any step, its pool half full, its rates falling, ends the same",
         short=2, full=STEPS - 1)  # fmt: skip
def resume_from_every_step(place: Path, count: int) -> Figure:
    whole, _ = whole_run(place, keep=STEPS)
    chosen = _steps(count)

    def trial(number: int) -> str:
        fresh = count == STEPS - 1
        return continued(place / str(number), whole, chosen[number], fresh=fresh)

    return Figure(len(chosen), each(len(chosen), trial))


@promise("R3a", "the same of a run that accumulates its gradients, crops its images and drops out",
         short=2, full=STEPS - 1)  # fmt: skip
def resume_where_gradients_accumulate(place: Path, count: int) -> Figure:
    dataset = PHOTOGRAPHS["dataset"] | {"root": str(toy_folder())}
    tables = PHOTOGRAPHS | {"dataset": dataset}
    whole, _ = whole_run(place, tables, keep=STEPS, accumulate=2, batch_size=1)
    chosen = _steps(count)
    broken = each(len(chosen), lambda number: continued(place / str(number), whole, chosen[number]))
    return Figure(len(chosen), broken)


@promise("R4", "the number of processes that read images may change whenever a run goes on",
         short=2, full=20)  # fmt: skip
def resume_with_other_workers(place: Path, count: int) -> Figure:
    whole, _ = whole_run(place, keep=STEPS)
    changes = [f"train.cache=none train.workers={workers}" for workers in (0, 4, 1)]

    def trial(number: int) -> str:
        order = changes[number % 3 :] + changes[: number % 3]
        step, fresh = 1 + number % (STEPS - 9), count >= MANY
        return continued(place / str(number), whole, step, *order, fresh=fresh)

    return Figure(count, each(count, trial))
