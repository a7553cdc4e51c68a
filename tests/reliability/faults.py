"""Losses, gradients, images and rates that are not finite."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from imgtrans import checkpoint

from .killing import STEPS, each, whole_run, write_recipe
from .promises import Figure, promise
from .workers import imgtrans, start_two

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
    whole, _ = whole_run(place, keep=STEPS)
    cases = [(*site, value) for value in VALUES for site in SITES]
    step = max(1, len(cases) // count)
    cases = cases[::step][:count]

    def trial(number: int) -> str:
        site, name, value = cases[number]
        folder = place / f"fault-{number}"
        folder.mkdir()
        recipe = write_recipe(folder, keep=STEPS)
        prepare = partial(inject, site, name, value)
        code, said = imgtrans("run", recipe, "--quiet", folder=folder, prepare=prepare)
        told = " ".join(said.split())
        wrong = []
        if code != 1 or "Traceback" in said:
            wrong.append(f"exit code {code}")
        if f"step {AT + 1}: " not in told or "last good checkpoint is kept" not in told:
            wrong.append("the step or the checkpoint is not told")
        shown = abs(value) if site == "gradient" else value  # a norm has no sign
        named = f"{name}: {value}" if site == "rate" else f"{name} = {shown}"
        if site != "image" and named not in told:
            wrong.append("its name is not told")
        run = folder / "runs/tiny"
        wrong += _crash_folder(run, name if site == "image" else "")
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


def _crash_folder(run: Path, domain: str) -> list[str]:
    """What is wrong with what is left of the step, of a domain's first image where one is given."""
    crash = run / f"crash/step-{AT + 1:08d}"
    if not all((crash / file).is_file() for file in ("report.json", "x.png", "y.png")):
        return ["no crash folder"]
    report = json.loads((crash / "report.json").read_text())
    files = report["files"]
    wrong = [] if len(files["x"]) == len(files["y"]) > 0 else ["its files are not told"]
    first = [f"the image {files[domain][0]}"] if domain else []
    return wrong if report["first"][:1] == first else [*wrong, f"first is {report['first'][:1]}"]


@promise("R11a", "what is not finite in one of two processes stops both in the step, and is named",
         short=1, full=len(SITES) - 2)  # fmt: skip
def not_finite_in_one(place: Path, count: int) -> Figure:
    broken = []
    cases = [site for site in SITES if site[0] != "rate"][::-1]  # a rate is the same for both
    for number, (site, name) in enumerate(cases[:count]):
        folder = place / f"fault-{number}"
        folder.mkdir()
        prepare = [None, partial(inject, site, name, math.nan)]
        recipe = write_recipe(folder, keep=STEPS)
        both = start_two(
            "run", recipe, "--quiet", folder=folder, prepare=prepare[:: 1 if number % 2 else -1]
        )
        codes = [each.wait() for each in both]
        said = " ".join(both[0].said.split())
        wrong = [] if codes == [1, 1] and "Traceback" not in said else [f"exit codes {codes}"]
        wrong += [] if f"step {AT + 1}: " in said else ["the step is not told"]
        if site in {"loss", "gradient"} and f"{name} = nan" not in said:
            wrong.append("its name is not told")
        run = folder / "runs/tiny"
        wrong += [] if (run / f"crash/step-{AT + 1:08d}/report.json").exists() else ["no crash/"]
        if not number % 2 and (folder / "weights.txt").read_text() != "the same":
            wrong.append("weights have changed")
        newest = checkpoint.found(run / "checkpoints")[0].name
        wrong += [] if newest == checkpoint.name_of(AT) else [f"the newest is {newest}"]
        broken += [f"{site} {name}: {line}: {said[-600:]}" for line in wrong]
    return Figure(len(cases[:count]), broken)
