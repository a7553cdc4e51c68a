"""What a run says of itself: the environment it records, and the lines shown at its start."""

from __future__ import annotations

import platform
import shlex
import sys
from typing import TYPE_CHECKING, Any

import torch
import torchvision

import imgtrans
from imgtrans.building import precision_of
from imgtrans.checkpoint import name_of
from imgtrans.data import fingerprint
from imgtrans.evaluation.choosing import make
from imgtrans.inference import MODEL
from imgtrans.launching import launched
from imgtrans.opening import dry_run_data
from imgtrans.plan import make_plan
from imgtrans.plugins import registry
from imgtrans.recipe import local_classes
from imgtrans.starting import preview

if TYPE_CHECKING:
    from pathlib import Path

    from imgtrans.monitor.display import Display
    from imgtrans.opening import Data
    from imgtrans.plan import Plan
    from imgtrans.recipe import Recipe


def resume_command(folder: Path, recipe: Recipe, device: str | None) -> str:
    """What continues a run: with the files, device and processes that it was started with."""
    if local := local_classes(recipe):
        go_on = f"imgtrans.run(recipe, resume={str(folder)!r})"
        return f"{go_on}  in the program that defines {', '.join(local)}"
    files = [part for file in registry().files for part in ("--plugin", str(file))]
    place = ["--device", device] if device else []
    here = launched()
    command = ["imgtrans"]
    if here is not None and here.count > 1:
        command = ["torchrun", "--nproc-per-node", str(here.local_count), "-m", "imgtrans"]
    return shlex.join([*command, "run", "--resume", str(folder), *files, *place])


def environment(
    data: Data, plan: Plan, device: torch.device, resume: str, processes: int
) -> dict[str, Any]:
    """What ``environment.json`` records: versions, device, networks, images, how to continue."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    return {
        "imgtrans": imgtrans.__version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "torchvision": torchvision.__version__,
        "platform": platform.platform(),
        "device": name,
        "precision": precision_of(data.recipe, device),
        "processes": processes,
        "threads": torch.get_num_threads(),
        "command": sys.argv,
        "resume": resume,
        "plugins": data.recipe.plugins,
        "name": data.recipe.name,
        "domains": list(data.recipe.domains),
        "generated": data.stands_in,
        "networks": {network.name: network.parameters for network in plan.networks},
        "data": data.describe(),
        "fingerprint": fingerprint(data.train),
    }


def header(
    data: Data, plan: Plan, environment: dict[str, Any], folder: Path, done: int
) -> list[tuple[str, str]]:
    """The lines shown at the start; ``done`` steps are behind a run that continues."""
    recipe = data.recipe
    size, batch, total = recipe.dataset.image_size, recipe.train.images_per_step, recipe.train.steps
    steps = f"{total:,} steps of {batch} images a domain: {epochs(data, total)} epochs"
    if done:
        steps += f"; continues after step {done:,}, {total - done:,} to go"
    device = f"{environment['device']}, {environment['precision']}"
    if environment["device"] == "cpu":
        device += f", {environment['threads']} threads"
    if environment["processes"] > 1:
        device = f"{environment['processes']} processes, each {device}"
    return [
        ("recipe", f"{recipe.name}: {', '.join(recipe.direction_names)}"),
        ("data", f"{environment['data']}; {size}×{size} pixels"),
        ("networks", networks_line(plan)),
        ("device", device),
        ("plan", f"{steps}; {plan.forwards} network forwards a step"),
        ("results", f"{folder}  (Ctrl-C saves and stops)"),
    ]


def footer(
    folder: Path, resume: str, recipe: Recipe, best: dict[str, Any] | None, *, done: bool
) -> list[tuple[str, str]]:
    """The lines shown at the end: what was written, and the commands to use it or to go on.

    Args:
        folder: of the run.
        resume: the command that continues it.
        recipe: of the run.
        best: step, metric and value of the best checkpoint, where the recipe keeps one.
        done: whether every step is made.
    """
    files, local = [str(file) for file in registry().files], local_classes(recipe)
    more = f", plugins={files!r}" if files else ""
    more += f", components=[{', '.join(local)}]" if local else ""
    load = f"load_model({str(folder)!r}{more})"
    given = [word for file in files for word in ("--plugin", file)]
    translate = shlex.join(["imgtrans", "translate", str(folder), *given])
    steps = 2 * recipe.train.steps
    longer = f"{resume}, with more steps" if local else f"{resume} --set train.steps={steps}"
    model = [
        ("model", str(folder / MODEL)),
        *([] if local else [("use it", f"{translate} PICTURES --output FOLDER")]),
        ("python", f"from imgtrans import load_model; {load}(image)"),
    ]
    kept = []
    if best is not None:
        file = folder / "checkpoints" / name_of(best["step"])
        kept = [("best", f"{file}  ({best['metric']} {best['value']:.4g})")]
    return [
        ("report", f"{folder / 'report.html'}  (open it in a browser)"),
        ("samples", str(folder / "samples")),
        *(model if (folder / MODEL).is_file() else []),
        *kept,
        ("longer", longer) if done else ("continue", resume),
    ]


def epochs(data: Data, steps: int) -> float:
    """Passes through the larger domain that these steps make."""
    larger = max(len(data.train.x), len(data.train.y))
    return round(steps * data.recipe.train.images_per_step / larger, 2)


def networks_line(plan: Plan) -> str:
    """Networks with their parameter counts, equal ones together."""
    lines: dict[str, list[str]] = {}
    for network in plan.networks:
        kind, _, name = network.name.partition(".")
        text = f"{kind} of {network.parameters:,} parameters"
        if network.parameters:
            lines.setdefault(text, []).append(name)
    return "\n".join(f"{len(n)} {text}: {', '.join(n)}" for text, n in lines.items())


def show_plan(recipe: Recipe, display: Display) -> None:
    """What ``validate --dry-run`` shows: networks, losses, images, steps and data.

    Raises:
        ImgtransError: a component cannot be built, or a loss fails.
    """
    plan = make_plan(recipe)
    for name, metric in recipe.metric.items():
        make(name, metric)
    rows = [
        (
            network.name,
            f"{network.parameters:,}",
            str(network.forwards),
            "×".join(map(str, network.output)) if network.output else "not used",
        )
        for network in plan.networks
    ]
    display.say()
    display.table("", ["network", "parameters", "forwards per step", "output of a batch"], rows)
    terms = zip(plan.losses, plan.weights, strict=True)
    display.say()
    display.rows(
        [
            ("losses", "\n".join(f"{weight:g} × {loss}" for loss, weight in terms)),
            ("images", ", ".join(plan.images)),
            ("steps", f"{recipe.train.steps:,}, {plan.forwards} network forwards each"),
            *([("weights", preview(recipe))] if recipe.train.start_from else []),
            ("data", dry_run_data(recipe)),
        ]
    )
