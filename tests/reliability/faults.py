"""What is not finite, memory that runs out, readers that die, and a very long run."""

from __future__ import annotations

import json
import math
import signal
import time
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import torch

from imgtrans import checkpoint

from .killing import differences, each, whole_run, write_recipe
from .promises import Figure, promise
from .workers import imgtrans, metrics_of, start

if TYPE_CHECKING:
    from imgtrans.training import Phase, Trainer

AT = 4
"""Steps that are done before something goes wrong."""
VALUES = (math.nan, math.inf, -math.inf)
LOSSES = [
    f"{loss}/{way}"
    for loss in ("adversarial", "adversarial.discriminators", "cycle")
    for way in ("summer_to_winter", "winter_to_summer")
]
NETWORKS = [
    "generators.summer_to_winter",
    "generators.winter_to_summer",
    "discriminators.winter",
    "discriminators.summer",
]
SITES = [
    *(("loss", name) for name in LOSSES),
    *(("gradient", name) for name in NETWORKS),
    ("image", "x"),
    ("image", "y"),
    ("rate", "generators"),
    ("rate", "discriminators"),
]


def inject(site: str, name: str, value: float) -> None:
    """Make one number of the step after so many a wrong one."""
    _watch_weights("discriminators" if "discriminators" in name else "generators")
    {"loss": _loss, "gradient": _gradient, "image": _image, "rate": _rate}[site](name, value)


def _watch_weights(phase_name: str) -> None:
    """Write down whether the phase that something is wrong in has changed its weights."""
    from imgtrans import running, stepping

    before: dict[str, torch.Tensor] = {}
    step, tell = stepping.train_step, running.with_traces

    def weights(trainer: Trainer) -> dict[str, torch.Tensor]:
        return next(dict(each.parameters) for each in trainer.phases if each.name == phase_name)

    def watched(trainer: Trainer, *images: Any) -> Any:
        if trainer.step == AT:
            before.update({k: v.detach().clone() for k, v in weights(trainer).items()})
        return step(trainer, *images)

    def told(error: Any, folder: Path, trainer: Trainer, training: Any) -> Any:
        same = all(torch.equal(before[key], now) for key, now in weights(trainer).items())
        Path("weights.txt").write_text("the same" if before and same else "changed")
        return tell(error, folder, trainer, training)

    stepping.train_step, running.with_traces = watched, told


def _loss(name: str, value: float) -> None:
    from imgtrans import training

    learn = training._learn

    def wrong(trainer: Trainer, phase: Phase, part: Any) -> Any:
        terms = phase.terms
        if trainer.step == AT:
            phase.terms = [
                replace(each, term=_Wrong(each.term, value)) if each.name == name else each
                for each in terms
            ]
        try:
            return learn(trainer, phase, part)
        finally:
            phase.terms = terms

    training._learn = wrong


@dataclass(frozen=True)
class _Wrong:
    """A loss with its graph, and another value."""

    right: Any
    value: float

    def __call__(self, translation: Any) -> Any:
        return self.right(translation) * 0 + self.value


def _gradient(name: str, value: float) -> None:
    from imgtrans import training

    gradients = training._gradients

    def wrong(trainer: Trainer, phase: Phase) -> Any:
        if trainer.step == AT and name in phase.networks:
            gradient = phase.networks[name][-1].grad
            assert gradient is not None
            gradient.view(-1)[0] = value
        return gradients(trainer, phase)

    training._gradients = wrong


def _image(name: str, value: float) -> None:
    from imgtrans.data.batch import Batch

    to, made = Batch.to, [0]

    def wrong(batch: Batch, *arguments: Any) -> Any:
        images = to(batch, *arguments)
        made[0] += 1
        if made[0] > AT:
            images["xy".index(name)][0, 0, 0, 0] = value
        return images

    Batch.to = wrong  # type: ignore[method-assign]


def _rate(name: str, value: float) -> None:
    from imgtrans.training import Trainer

    rates = Trainer.learning_rates

    def wrong(trainer: Trainer) -> dict[str, float]:
        return rates(trainer) | ({name: value} if trainer.step == AT else {})

    Trainer.learning_rates = wrong  # type: ignore[method-assign]


@promise("R11", "what is not finite stops a run before it reaches a weight, and is named",
         short=4, full=len(SITES) * len(VALUES))  # fmt: skip
def not_finite(place: Path, count: int) -> Figure:
    whole, _ = whole_run(place, keep=24)
    cases = [(*site, value) for value in VALUES for site in SITES]
    step = max(1, len(cases) // count)
    cases = cases[::step][:count]

    def trial(number: int) -> str:
        site, name, value = cases[number]
        folder = place / f"fault-{number}"
        folder.mkdir()
        recipe = write_recipe(folder, keep=24)
        prepare = partial(inject, site, name, value)
        code, said = imgtrans("run", recipe, "--quiet", folder=folder, prepare=prepare)
        told = " ".join(said.split())
        wrong = []
        if code != 1 or "Traceback" in said:
            wrong.append(f"exit code {code}")
        if f"step {AT + 1}: " not in told or "last good checkpoint is kept" not in told:
            wrong.append("the step or the checkpoint is not told")
        shown = abs(value) if site == "gradient" else value  # a norm has no sign
        if site in {"loss", "gradient"} and f"{name} = {shown}" not in told:
            wrong.append("its name is not told")
        run = folder / "runs/tiny"
        wrong += _crash_folder(run)
        weights = folder / "weights.txt"
        if not weights.exists() or weights.read_text() != "the same":
            wrong.append("weights have changed")
        kept = checkpoint.found(run / "checkpoints")
        before = checkpoint.read(whole / "checkpoints" / checkpoint.name_of(AT)).tensors
        saved = checkpoint.read(kept[0]).tensors
        if kept[0].name != checkpoint.name_of(AT) or any(
            not torch.equal(saved[key], before[key]) for key in before
        ):
            wrong.append("the last checkpoint is not that of the step before")
        return f"{site} {name} = {value}: {', '.join(wrong)}: {said[-600:]}" if wrong else ""

    return Figure(len(cases), each(len(cases), trial))


def _crash_folder(run: Path) -> list[str]:
    crash = run / f"crash/step-{AT + 1:08d}"
    if not all((crash / file).is_file() for file in ("report.json", "x.png", "y.png")):
        return ["no crash folder"]
    report = json.loads((crash / "report.json").read_text())
    files = report["files"]
    return [] if len(files["x"]) == len(files["y"]) > 0 else ["its files are not told"]


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
    waits = []

    def trial(number: int) -> str:
        folder = place / f"reader-{number}"
        folder.mkdir()
        recipe = write_recipe(folder)
        command = start("run", recipe, "--quiet", *streamed, folder=folder)
        log = folder / "runs/tiny/metrics.jsonl"
        while command.poll() is None and not (log.exists() and log.stat().st_size):
            time.sleep(0.005)
        readers = psutil.Process(command.pid).children() if command.poll() is None else []
        if readers:
            readers[number % len(readers)].send_signal(signal.SIGKILL)
        killed = time.monotonic()
        code = command.wait()
        waits.append(time.monotonic() - killed)
        if code not in {0, 1} or (code and "is gone" not in command.said):
            return f"trial {number}: exit code {code}: {command.said[-600:]}"
        code, said = imgtrans("run", recipe, "--resume", "--quiet", folder=folder)
        wrong = differences(folder / "runs/tiny", whole) if code == 0 else [said[-600:]]
        return f"trial {number}: {', '.join(wrong[:4])}" if wrong else ""

    broken = each(count, trial)
    return Figure(count, broken, f"told after {max(waits):.1f} s at most")


@promise("R21", "a long run holds no more memory and no more files at its end than early on",
         short=300, full=100_000)  # fmt: skip
def soak(place: Path, count: int) -> Figure:
    recipe = write_recipe(
        place, steps=count, decay_steps=0, checkpoint_every=count, sample_every=count
    )
    command = start("run", recipe, "--quiet", folder=place)
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
    early, late = seen[len(seen) // 4], seen[len(seen) * 3 // 4]
    growth = late[0] / early[0] - 1
    most = 0.01 if count >= 10_000 else 0.1  # a short one is still warming up
    if growth > most or late[1] != early[1]:
        broken.append(f"memory {growth:+.1%}, open files {early[1]} to {late[1]}")
    return Figure(1, broken, f"{count:,} steps, memory {growth:+.2%}, {late[1]} open files")


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
