"""Checkpoints, models and decoded images that a disk or a hand has changed."""

from __future__ import annotations

import atexit
import itertools
import os
import random
import shutil
import tempfile
from collections import Counter
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

from .killing import MEASURED
from .promises import Figure, promise
from .workers import imgtrans

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

STEPS = 4
SWAPS = 13
"""One of so many trials of a kind swaps whole files between runs; of the others half flip a bit."""
FULL = 50 * SWAPS
"""50 swaps, 300 flips and 300 cuts."""
NEWEST = f"checkpoints/{checkpoint.name_of(STEPS)}"
FOLDERS = {"use": "cyclegan/unpaired-folders", "image_size": 32}
KEPT: list[Path] = []
"""Where the runs are that are damaged, once they are made."""


@cache
def runs() -> tuple[Path, Path]:
    """Two finished runs that differ in their seeds, with decoded images in files."""
    if not KEPT:
        KEPT.append(Path(tempfile.mkdtemp(prefix="damage-")))
        atexit.register(shutil.rmtree, KEPT[0])
        for seed in (0, 1):
            _make(KEPT[0], seed)
    return KEPT[0] / "runs/seed-0", KEPT[0] / "runs/seed-1"


def _make(place: Path, seed: int) -> None:
    recipe = tiny_recipe(  # without normalisation, which takes longest to plan
        name=f"seed-{seed}",
        dataset={**FOLDERS, "root": str(toy_folder())},
        generator={
            "use": "cyclegan/encoder-decoder", "width": 2, "blocks": 1, "norm": "none",
            "residual_block": {"use": "cyclegan/residual", "norm": "none"},
        },
        discriminator={"use": "cyclegan/convolutional", "width": 2, "norm": "none"},
        train={
            "steps": STEPS, "checkpoint_every": 2, "seed": seed, "cache": "file",
            "evaluate_every": 2, "pool_images": 6,
        },
        metric=MEASURED,
    )  # fmt: skip
    path = place / f"{seed}.toml"
    path.write_text(to_toml(recipe), encoding="utf-8")
    caches = {"IMGTRANS_CACHE": str(place / f"caches-{seed}")}
    code, said = imgtrans("run", path, "--quiet", folder=place, environment=caches)
    assert code == 0, said


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


@dataclass
class Outcomes:
    """How what was tried has ended."""

    counted: Counter[str]
    broken: list[str]

    def figure(self, detail: str = "") -> Figure:
        told = ", ".join(f"{number} {outcome}" for outcome, number in sorted(self.counted.items()))
        return Figure(self.counted.total(), self.broken, "; ".join(filter(None, (told, detail))))


def try_out(
    numbers: Sequence[int], name: str, use: Callable[[Path, Damage], str], fine: Sequence[str]
) -> Outcomes:
    """Damage a file of a copied run so often; what ``use`` returns and is not fine is wrong."""
    one, other = runs()
    good, swapped = ((run / name).read_bytes() for run in (one, other))
    found = Outcomes(Counter(), [])
    for number in numbers:
        with TemporaryDirectory() as place, _inside(place):
            run = Path("runs", one.name)
            shutil.copytree(one, run)
            damage = damaged(good, swapped, number)
            (run / name).write_bytes(damage.data)
            told = use(run, damage)
        found.counted[told if told in fine else "wrong"] += 1
        if told not in fine:
            found.broken.append(f"{damage.how}: {told}")
    return found


@contextmanager
def _inside(place: str) -> Iterator[None]:
    before = Path.cwd()
    os.chdir(place)
    try:
        yield
    finally:
        os.chdir(before)


def _same(one: checkpoint.Content, other: checkpoint.Content) -> bool:
    return one.about == other.about and same_tensors(one, other)


def same_tensors(one: checkpoint.Content, other: checkpoint.Content) -> bool:
    return one.tensors.keys() == other.tensors.keys() and all(
        torch.equal(one.tensors[name], other.tensors[name]) for name in one.tensors
    )


@promise("R8-checkpoint", "a damaged checkpoint is set aside, and the one before it is used",
         short=18, full=FULL)  # fmt: skip
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

    fine = ("refused", "set aside", "unchanged")
    return try_out(range(count), NEWEST, use, fine).figure()


@promise("R8-model", "a damaged model translates nothing",
         short=18, full=FULL)  # fmt: skip
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

    fine = ("refused", "unchanged", "another's")
    found = try_out(range(count), "model.safetensors", use, fine)
    return found.figure("another run's is as good a model")


@promise("R8-images", "a damaged file of decoded images is set aside, no changed pixel is used",
         short=18, full=FULL)  # fmt: skip
def damaged_images(place: Path, count: int) -> Figure:
    runs()
    path = min((KEPT[0] / "caches-0/images").glob("*.images"))
    good, broken = path.read_bytes(), []
    whole = image_file.open_file(path)
    assert whole is not None
    expected = [whole.flat.view(index).clone() for index in range(len(whole.flat))]
    unswapped = (number for number in itertools.count() if number % SWAPS != SWAPS - 1)
    for number in itertools.islice(unswapped, count):
        damage = damaged(good, good, number)
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
