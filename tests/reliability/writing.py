"""In what order a save reaches the disk, and what it costs."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from imgtrans import checkpoint, state
from imgtrans.building import build_trainer
from imgtrans.plan import make_plan
from imgtrans.recipe import load_recipe

from .killing import MEASURED, STEPS, write_recipe
from .promises import Figure, promise
from .workers import imgtrans

if TYPE_CHECKING:
    from collections.abc import Callable


SAVED_WITHIN = 60.0
"""Seconds, with a slow disk in mind."""
OTHERS = {"model.safetensors", "recipe.toml", "environment.json", "scores.jsonl"}
"""What resuming and translating rely on beside checkpoints."""


def note_calls() -> None:
    """Write down what is synced and renamed, as strace would show it."""
    fsync, replace, log = os.fsync, Path.replace, os.environ["CALLS"]

    def synced(descriptor: int) -> None:
        fsync(descriptor)
        _note(log, f"fsync({descriptor}<{Path(f'/proc/self/fd/{descriptor}').resolve()}>) = 0")

    def replaced(path: Path, target: Path) -> Path:
        done = replace(path, target)
        _note(log, f'rename("{path}", "{target}") = 0')
        return done

    os.fsync, Path.replace = synced, replaced


def _note(log: str, line: str) -> None:
    with Path(log).open("a") as file:
        file.write(line + "\n")


@promise("R22", "a file is synced before it gets its name, and its folder after, at every save",
         short=1, full=5)  # fmt: skip
def order_of_saving(place: Path, count: int) -> Figure:
    traced = shutil.which("strace") is not None and count > 1
    broken, saves = [], 0
    for number in range(count):
        folder, log = place / str(number), place / f"calls-{number}"
        folder.mkdir()
        recipe = write_recipe(folder, {"metric": MEASURED}, evaluate_every=4)
        if traced:
            watch = ["strace", "-f", "-y", "-qq", "-e", "trace=fsync,fdatasync,/^rename", "-o", log]
            program = [sys.executable, "-m", "imgtrans", "run", recipe, "--quiet"]
            subprocess.run([*watch, *program], cwd=folder, check=True, timeout=300)
        else:
            code, said = imgtrans(
                "run", recipe, "--quiet", folder=folder, prepare=note_calls,
                environment={"CALLS": str(log)},
            )  # fmt: skip
            assert code == 0, said
        found, wrong = _order(log.read_text().splitlines())
        broken += wrong if found >= STEPS else [f"only {found} saves are seen in {log.name}"]
        saves += found
    how = "by strace" if traced else "by calls"
    return Figure(saves, broken, f"seen {how}")


def _order(lines: list[str]) -> tuple[int, list[str]]:
    """How many checkpoints were given their names, and which of them in a wrong order."""
    calls = [
        (kind, [Path(each).name for each in re.findall(r'["<]([^">]+)[">]', rest)])
        for line in lines
        if (match := re.search(r"\b(fsync|fdatasync|rename\w*)\((.*)\) += 0", line))
        for kind, rest in [match.groups()]
    ]
    found, wrong, logged, named = 0, [], False, set()
    for index, (kind, names) in enumerate(calls):
        logged |= "sync" in kind and "metrics.jsonl" in names
        after = calls[index + 1][1] if index + 1 < len(calls) else []
        if "sync" in kind and "scores.jsonl" in names and after != ["tiny"]:
            wrong.append(f"the folder was not synced after scores.jsonl, but {after}")
        saved = names[-1].startswith(checkpoint.PREFIX) and names[-1].endswith(".safetensors")
        if not kind.startswith("rename") or not (saved or names[-1] in OTHERS):
            continue
        beside, name = names[-2] if len(names) > 2 else names[0], names[-1]
        if not any("sync" in kind and beside in names for kind, names in calls[:index]):
            wrong.append(f"{name} got its name before it was synced")
        if after != ["checkpoints" if saved else "tiny"]:
            wrong.append(f"the folder was not synced after {name}, but {after}")
        named.add(name)
        if saved:
            found += 1
            wrong += [] if logged else [f"the log was not synced before {name}"]
            logged = False
    return found, wrong + [f"{name} is never named" for name in OTHERS - named]


@promise("R24", "a checkpoint of CycleGAN at 256 pixels is saved and verified in seconds",
         short=1, full=5)  # fmt: skip
def cost_of_saving(place: Path, count: int) -> Figure:
    recipe = load_recipe("cyclegan_paper" if count > 1 else "quickstart")
    trainer = build_trainer(recipe, torch.device("cpu"), make_plan(recipe).images)
    for phase in trainer.phases:
        for parameter in phase.parameters.values():
            parameter.grad = torch.zeros_like(parameter)
        phase.optimizer.step()
    tensors, broken, spent = state.collect(trainer), [], {}
    for number in range(count):
        path = place / checkpoint.name_of(number)
        for name, digest in (("saved", checkpoint._digest), ("unhashed", lambda *_: "")):
            spent.setdefault(name, []).append(_seconds(digest, path, tensors))
        path.unlink()
        checkpoint.write(path, tensors, {"step": number})
        began = time.perf_counter()
        content = checkpoint.read(path)
        spent.setdefault("read", []).append(time.perf_counter() - began)
        same = all(torch.equal(content.tensors[name], tensors[name]) for name in tensors)
        broken += [] if same else ["what was read is not what was written"]
        size = path.stat().st_size
        path.unlink()
    saved, unhashed, read = (sorted(spent[name])[count // 2] for name in spent)
    if max(saved, read) > SAVED_WITHIN:
        broken.append(f"it took {max(saved, read):.1f} s")
    return Figure(
        count,
        broken,
        f"{size / 1e9:.2f} GB: {saved:.2f} s to save, {unhashed:.2f} s without hashing "
        f"({1 - unhashed / saved:.0%} of it), {read:.2f} s to read and verify (medians)",
    )


def _seconds(digest: Callable[..., str], path: Path, tensors: dict[str, torch.Tensor]) -> float:
    known, checkpoint._digest = checkpoint._digest, digest
    try:
        began = time.perf_counter()
        checkpoint.write(path, tensors, {"step": 0})
        return time.perf_counter() - began
    finally:
        checkpoint._digest = known
