"""Seconds to list a folder of many images, against a bare walk; and to start on it again.

Builds a tree of hard links to a few generated JPEGs in a temporary folder and deletes it at the
end. Each measurement is a fresh process: the bare walk, what ``unpaired-folders`` lists and checks,
and a start from the prompt to the first batch, parts apart. With ``--start`` the images are decoded
once before, into a file as ``train.cache = "file"`` keeps it, and the start is a second one.

Usage: python benchmarks/indexing.py [--images 1000000] [--start] [--folder FOLDER]
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import click

LINKS = 30_000
"""Of one file; file systems have a limit."""
A_FOLDER = 1_000
SIDE = 256


@click.command()
@click.option("--images", default=1_000_000, show_default=True, help="Of both domains together.")
@click.option("--start", is_flag=True, help="Decode them once, and start a second time.")
@click.option("--folder", type=click.Path(path_type=Path), help="Where the tree is built.")
@click.option("--rounds", default=3, show_default=True)
def main(images: int, start: bool, folder: Path | None, rounds: int) -> None:  # noqa: FBT001 - a flag
    """Measure how long many images take to list."""
    with tempfile.TemporaryDirectory(dir=folder) as place:
        root = Path(place)
        _build(root, images)
        print(f"{images:,} images")
        environment = {**os.environ, "IMGTRANS_CACHE": str(root / "caches")}
        kinds = ["walk", "list"]
        if start:
            first = _child("start", root, environment)
            print(f"{'first start':<14} {first['seconds']:8.2f} s")
            kinds.append("start")
        for _ in range(rounds):
            for kind in kinds:
                told = _child(kind, root, environment)
                parts = ", ".join(f"{k} {v:.2f}" for k, v in told["parts"].items())
                print(f"{kind:<14} {told['seconds']:8.2f} s  {told['mib']:6.0f} MiB  {parts}")


def _build(root: Path, images: int) -> None:
    import numpy as np
    from PIL import Image

    rng = np.random.Generator(np.random.PCG64(0))
    seed = root / "seed.jpg"
    for number in range(images):
        if number % LINKS == 0:  # a smooth picture: eight by eight colours, enlarged
            seed.unlink(missing_ok=True)
            few = Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8))
            few.resize((SIDE, SIDE), Image.Resampling.BICUBIC).save(seed, quality=90)
        domain, place = ("trainA", "trainB")[number % 2], number // 2
        folder = root / domain / f"{place // A_FOLDER:04d}"
        if place % A_FOLDER == 0:
            folder.mkdir(parents=True)
        os.link(seed, folder / f"{place:07d}.jpg")
    seed.unlink(missing_ok=True)


def _child(kind: str, root: Path, environment: dict[str, str]) -> dict[str, object]:
    command = [sys.executable, __file__, "child", kind, str(root)]
    began = time.perf_counter()
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    whole = time.perf_counter() - began
    told = json.loads(done.stdout)
    return {"seconds": sum(told["parts"].values()) if kind != "start" else whole, **told}


def _measured(kind: str, root: Path) -> None:
    parts: dict[str, float] = {}
    began = time.perf_counter()

    def part(name: str) -> None:
        nonlocal began
        now = time.perf_counter()
        parts[name] = now - began
        began = now

    if kind == "walk":
        before = _mib()
        _walk(root)
        part("walk")
        print(json.dumps({"parts": parts, "mib": _mib() - before}))
        return
    import torch
    from imgtrans_cyclegan import UnpairedFolders
    from imgtrans_cyclegan.listing import listed
    from imgtrans_cyclegan.sizes import refuse_small

    from imgtrans import Images
    from imgtrans.data import fingerprint, open_training
    from imgtrans.data.image_file import keys_of
    from imgtrans.testing import tiny_recipe

    part("imports")
    before = _mib()
    dataset = UnpairedFolders(root=str(root), image_size=64)
    if kind == "list":
        del parts["imports"]
        x, y = (listed(root / domain, root, 3, 64) for domain in ("trainA", "trainB"))
        part("list")
        for each in (x, y):
            refuse_small(each, 64)
        part("check sizes")
        fingerprint(Images(x, y))
        part("fingerprint")
        for each in (x, y):
            keys_of(each)
        part("stamps")
    else:
        recipe = tiny_recipe(dataset=dataset, train={"cache": "file"})
        images = dataset.build("train", recipe.domains)
        part("list and check sizes")
        fingerprint(images)
        part("fingerprint")
        data = open_training(recipe, images, lambda *_: lambda: None)
        part("open")
        next(data.batches(0, 1, torch.device("cpu")))
        part("first batch")
    print(json.dumps({"parts": parts, "mib": _mib() - before}))


def _walk(root: Path) -> int:
    """How many files lie below a folder."""
    folders, files = [str(root)], 0
    while folders:
        with os.scandir(folders.pop()) as entries:
            for entry in entries:
                if entry.is_dir():
                    folders.append(entry.path)
                else:
                    files += 1
    return files


def _mib() -> float:
    """The most memory that this process has held."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    if sys.argv[1:2] == ["child"]:
        _measured(sys.argv[2], Path(sys.argv[3]))
    else:
        main()
