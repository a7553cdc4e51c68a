"""Files that a disk or a hand has changed: seen before they are used, or harmless.

Where nothing can tell, such as in a text that people may edit, a changed file still ends in a run
like another or in an error of ours, never in a traceback or in other weights unnoticed.
"""

from __future__ import annotations

import os
import random
import shutil
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import torch

from imgtrans import checkpoint, load_model
from imgtrans.checkpoint import CorruptFileError
from imgtrans.data import image_file
from imgtrans.recipe import to_toml
from imgtrans.testing import run_imgtrans, tiny_recipe, toy_folder

from .promises import Figure, promise
from .workers import imgtrans

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

STEPS = 4
SWAPS = 6
"""One of so many trials of a kind swaps whole files between runs; of the others half flip a bit."""
NEWEST = f"checkpoints/{checkpoint.name_of(STEPS)}"
FOLDERS = {"use": "cyclegan/unpaired-folders", "image_size": 32}
KEPT = TemporaryDirectory(prefix="damage-")


@cache
def runs() -> tuple[Path, Path]:
    """Two finished runs that differ in their seeds, with decoded images in files."""
    place = Path(KEPT.name)
    for seed in (0, 1):
        recipe = tiny_recipe(
            name=f"seed-{seed}",
            dataset={**FOLDERS, "root": str(toy_folder())},
            train={"steps": STEPS, "checkpoint_every": 2, "seed": seed, "cache": "file"},
        )
        path = place / f"{seed}.toml"
        path.write_text(to_toml(recipe), encoding="utf-8")
        caches = {"IMGTRANS_CACHE": str(place / f"caches-{seed}")}
        code, said = imgtrans("run", path, "--quiet", folder=place, environment=caches)
        assert code == 0, said
    return place / "runs/seed-0", place / "runs/seed-1"


@dataclass(frozen=True)
class Damage:
    """What happens to a file."""

    how: str
    data: bytes


def damaged(good: bytes, other: bytes, number: int) -> Damage:
    """The file of another run, one with a bit flipped, or one cut off."""
    draw = random.Random(number)
    if number % SWAPS == SWAPS - 1:
        return Damage("swapped", other)
    if number % 2:
        size = draw.randrange(len(good))
        return Damage(f"cut off after {size} of {len(good)} bytes", good[:size])
    bit = draw.randrange(len(good) * 8)
    data = bytearray(good)
    data[bit // 8] ^= 1 << bit % 8
    return Damage(f"bit {bit % 8} of byte {bit // 8:,} flipped", bytes(data))


def try_out(count: int, name: str, use: Callable[[Path, Damage], str], detail: str = "") -> Figure:
    """Damage a file of a copied run so often; what ``use`` returns is wrong."""
    one, other = runs()
    good, swapped = ((run / name).read_bytes() for run in (one, other))
    broken = []
    outcomes: dict[str, int] = {}
    for number in range(count):
        with TemporaryDirectory() as place, _inside(place):
            run = Path("runs", one.name)
            shutil.copytree(one, run)
            damage = damaged(good, swapped, number)
            (run / name).write_bytes(damage.data)
            told = use(run, damage)
        outcome = told if told in FINE else "wrong"
        outcomes[outcome] = outcomes.get(outcome, 0) + 1
        if outcome == "wrong":
            broken.append(f"{damage.how}: {told}")
    counted = ", ".join(f"{number} {outcome}" for outcome, number in sorted(outcomes.items()))
    return Figure(count, broken, "; ".join(filter(None, (counted, detail))))


FINE = ("refused", "set aside", "unchanged", "another's", "harmless", "told")


@contextmanager
def _inside(place: str) -> Iterator[None]:
    before = Path.cwd()
    os.chdir(place)
    try:
        yield
    finally:
        os.chdir(before)


def _same(one: checkpoint.Content, other: checkpoint.Content) -> bool:
    return one.about == other.about and _same_tensors(one, other)


def _same_tensors(one: checkpoint.Content, other: checkpoint.Content) -> bool:
    return one.tensors.keys() == other.tensors.keys() and all(
        torch.equal(one.tensors[name], other.tensors[name]) for name in one.tensors
    )


@promise("R8-checkpoint", "a damaged checkpoint is set aside, and the one before it is used",
         short=18, full=900)  # fmt: skip
def damaged_checkpoint(place: Path, count: int) -> Figure:
    del place
    whole = runs()[0]
    newest, before = (checkpoint.read(path) for path in checkpoint.found(whole / "checkpoints")[:2])

    def use(run: Path, damage: Damage) -> str:
        warnings: list[str] = []
        if damage.how == "swapped":  # whole, but of another recipe
            outcome = run_imgtrans("run", "--resume", run, "--quiet")
            there = "[train] seed = 1 -> 0" in outcome.stderr and outcome.exit_code == 2
            return "refused" if there else f"{outcome}"
        content = checkpoint.newest(run / "checkpoints", warnings.append)
        assert content is not None
        if _same(content, newest):
            return "unchanged"
        if not _same(content, before):
            return "other tensors"
        there = (run / f"{NEWEST}.damaged").exists() and NEWEST.rpartition("/")[2] in warnings[0]
        return "set aside" if there else f"not told: {warnings}"

    return try_out(count, NEWEST, use)


@promise("R8-model", "a damaged model translates nothing",
         short=18, full=900)  # fmt: skip
def damaged_model(place: Path, count: int) -> Figure:
    del place
    good = checkpoint.read(runs()[0] / "model.safetensors")

    def use(run: Path, damage: Damage) -> str:
        path = run / "model.safetensors"
        try:
            load_model(path)
        except CorruptFileError as error:
            return "refused" if str(path) in str(error) else f"not named: {error}"
        if _same(checkpoint.read(path), good):
            return "unchanged"
        return "another's" if damage.how == "swapped" else "other tensors"

    return try_out(count, "model.safetensors", use, "another run's model is as good a model")


@promise("R8-images", "a damaged file of decoded images is set aside, no changed pixel is used",
         short=18, full=900)  # fmt: skip
def damaged_images(place: Path, count: int) -> Figure:
    runs()
    path = min((Path(KEPT.name) / "caches-0/images").glob("*.images"))
    good, broken = path.read_bytes(), []
    whole = image_file.open_file(path)
    assert whole is not None
    expected = [whole.flat.view(index).clone() for index in range(len(whole.flat))]
    for number in range(count):
        damage = damaged(good, good, number + (number % SWAPS == SWAPS - 1))
        changed = place / path.name
        changed.write_bytes(damage.data)
        try:
            found = image_file.open_file(changed)
            assert found is not None
            seen = [found.flat.view(index) for index in range(len(found.flat))]
        except CorruptFileError:
            continue
        if not all(map(torch.equal, seen, expected)) or found.keys != whole.keys:
            broken.append(f"{damage.how}: other pixels")
    return Figure(count, broken)


def _resumed(run: Path, damage: Damage) -> str:
    """Go on from a run with a damaged text: to the end it would have had, or an error of ours."""
    for left in (NEWEST, "model.safetensors"):  # so that steps are made with what was damaged
        (run / left).unlink()
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as the commands that made the runs
    try:
        outcome = run_imgtrans("run", "--resume", run, "--quiet")
        report = run_imgtrans("report", run)
    except Exception as error:  # noqa: BLE001 - is what is looked for
        return f"{type(error).__name__}: {error}"
    finally:
        torch.set_num_threads(threads)
    for command in (outcome, report):
        if command.exit_code not in (0, 1, 2):
            return f"exit code {command.exit_code}: {command.stderr}"
        if command.exit_code and not command.stderr.startswith(("error: ", "warning: ")):
            return f"it ends without a word: {command}"
    if outcome.exit_code:
        return "refused"
    content = checkpoint.read(checkpoint.found(run / "checkpoints")[0])
    good = checkpoint.read(runs()[0] / NEWEST)
    if int(content.about["step"]) == STEPS and not _same_tensors(content, good):
        return "other weights"
    return "told" if "warning: " in outcome.stderr else "harmless"


def _text(key: str, name: str, says: str) -> None:
    @promise(key, says, short=8, full=100)
    def damaged_text(place: Path, count: int) -> Figure:
        del place
        return try_out(count, name, _resumed)

    del damaged_text


_text("R8-log", "metrics.jsonl", "a damaged log costs lines, not the run, and is told")
_text("R8-status", "status.json", "a damaged status.json changes nothing of the training")
_text("R8-recipe", "recipe.toml", "a damaged recipe.toml is refused, or is one that may be")
_text("R8-environment", "environment.json", "a damaged environment.json is refused or harmless")
