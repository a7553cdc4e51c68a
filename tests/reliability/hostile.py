"""Hostile files and names: all are refused, nothing in them is executed or written elsewhere."""

from __future__ import annotations

import json
import random
import shutil
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from imgtrans_cyclegan.paper import ResNet
from imgtrans_cyclegan.unpacking import ArchiveError, unpack
from PIL import Image

from imgtrans import checkpoint
from imgtrans.recipe import to_toml
from imgtrans.testing import tiny_recipe

from .executing import refuse_execution
from .hostile_files import TOUCHED, odd_pictures, recipes, weights
from .promises import Figure, promise
from .workers import imgtrans

Attack = tuple[str, list[str | Path]]
"""What it is called, and the command that is given it; it must be refused."""


def attacks(place: Path) -> Iterator[Attack]:
    """Every file given to every command that reads such."""
    folder = place / "files"
    folder.mkdir()
    for path in weights(folder):
        for command in ("import", "translate", "evaluate"):
            more = [place / "pictures", "-o", "out"] if command == "translate" else []
            more = ["-o", f"out/{path.stem}.st"] if command == "import" else more
            yield f"{command} {path.name}", [command, path, *more]
        run = place / f"runs/with-{path.name}"
        shutil.copytree(place / "runs/whole", run)
        for kept in checkpoint.found(run / "checkpoints"):
            kept.unlink()
        shutil.copy(path, run / "checkpoints/step-00000002.safetensors")
        yield f"resume {path.name}", ["run", "--resume", run]
    for path in recipes(folder):
        yield f"run {path.name}", ["run", path]
    whole = place / "runs/whole/recipe.toml"
    names = ("../outside", "/tmp/outside", "..", ".", "a/b", "a\\b", "", "-x", "a\nb", "\u202ex")
    for name in names:
        yield f"run --name {name!r}", ["run", whole, "--name", name]
        yield f"run --set name={name!r}", ["run", whole, "--set", f"name={json.dumps(name)}"]
        yield f"import --domains {name!r}", ["import", folder / "harm.pth", "--domains", name, "b"]
        yield f"new-plugin {name!r}", ["new-plugin", "--kind", "loss", "--", name]
    for name in ("svg.png", "bomb.png", "script.jpg"):
        yield f"translate {name}", ["translate", "runs/whole", place / "odd" / name, "-o", "out"]


def outside(place: Path) -> set[str]:
    """What is there beside the folders that commands may write to."""
    kept = ("runs", "out", "files")
    here = {str(path.relative_to(place)) for path in place.iterdir() if path.name not in kept}
    folders = {place.parent, Path("/tmp")}
    beside = {str(path) for each in folders for path in each.iterdir() if "outside" in path.name}
    return {name for name in here if not name.startswith("said-")} | beside


def archives(place: Path) -> list[str]:
    """What is wrong with how archives of a data set are unpacked."""
    names = ("../x", "/tmp/x", "a/../../x", "..\\x", "C:x", "a/..", "\0x", ".")
    wrong = []
    for number, name in enumerate((*names, "bomb", "link")):
        (into := place / f"unpacked-{number}").mkdir()
        member = zipfile.ZipInfo(name)
        if name == "link":
            member.external_attr = 0o120777 << 16
        path = place / f"archive-{number}.zip"
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as file:
            file.writestr(member, bytes(10**8) if name == "bomb" else b"/etc", zipfile.ZIP_DEFLATED)
        try:
            unpack(path, into, 10**10)
            wrong.append(f"unpacked {name!r}")
        except ArchiveError:
            shutil.rmtree(into)
            path.unlink()
    return wrong


def refused(place: Path, attack: Attack) -> str:
    """What is wrong with how an attack ends; nothing where it is refused in our words."""
    name, command = attack
    code, said = imgtrans(*command, folder=place, prepare=refuse_execution, bound=60)
    if code not in {1, 2} or "rror: " not in said or "Traceback" in said or "EXECUTED" in said:
        return f"{name}: exit code {code}: {said[-600:]}"
    return f"{name} has executed something" if (place / TOUCHED).exists() else ""


def still_work(place: Path) -> list[str]:
    """What is wrong with commands that nothing is wrong with, where nothing may be executed."""
    whole = place / "runs/whole"
    commands: list[list[str | Path]] = [
        ["run", "tiny.toml", "--name", "whole"],
        ["run", "--resume", whole, "--set", "train.steps=3"],
        ["translate", whole, "pictures", "-o", "out"],
        ["evaluate", whole],
        ["import", "weights.pth", "-o", "out/imported.safetensors"],
    ]
    wrong = []
    for command in commands:
        code, said = imgtrans(*command, folder=place, prepare=refuse_execution)
        wrong += [f"{command[0]} ends with {code}: {said[-600:]}"] if code else []
    return wrong


@promise("R9", "hostile files and names are refused; nothing is executed or written elsewhere",
         short=6, full=300)  # fmt: skip
def hostile_files(place: Path, count: int) -> Figure:
    place = place / "here"
    (place / "pictures").mkdir(parents=True)
    Image.fromarray(np.zeros((40, 40, 3), np.uint8)).save(place / "pictures/black.png")
    recipe = tiny_recipe(train={"steps": 2}, metric={"cycle": {"use": "metrics/cycle-error"}})
    (place / "tiny.toml").write_text(to_toml(recipe))
    torch.save(ResNet(width=4, blocks=6).build(3, 3).state_dict(), place / "weights.pth")
    odd_pictures(place / "odd")
    before = outside(place)
    wrong = still_work(place) + archives(place)
    every = list(attacks(place))
    random.Random(0).shuffle(every)
    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(lambda attack: refused(place, attack), every[:count]))
    wrong += [line for line in found if line]
    wrong += [f"written elsewhere: {name}" for name in outside(place) - before]
    return Figure(len(found) + 15, wrong, f"{len(found)} attacks of {len(every)}")
