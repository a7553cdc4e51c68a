"""What translating pictures costs beside the network itself.

Pictures per second of ``imgtrans translate``, JPEGs to JPEGs; of the bare network on the same
pictures, decoded and on the device, as it was trained and made fast; and of reading and writing
alone, with as many threads. Medians of alternating rounds.

Usage: python benchmarks/translate.py [MODEL] [--recipe NAME] [--pictures N] [--size PIXELS]
       [--folder PATH] [--rounds N] [--precision auto|float32|bfloat16] [--compile] [--device NAME]

Without MODEL a recipe's untrained networks are measured, which are as fast as trained ones.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import click
import torch
from imgtrans_seasons import Landscapes
from PIL import Image

from imgtrans import load_model, load_recipe
from imgtrans.building import build_generators, find_device
from imgtrans.checkpoint import Content
from imgtrans.data import to_range
from imgtrans.inference import Translator
from imgtrans.monitor.display import Display
from imgtrans.padding import through
from imgtrans.translating import Options, translate_files
from imgtrans.translating.batches import Batches
from imgtrans.translating.job import THREADS
from imgtrans.translating.opened import open_picture, write_picture

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from imgtrans.inference import Precision

SIDE = "the same, a batch on each core"


@click.command()
@click.argument("model", required=False)
@click.option("--recipe", default="quickstart", show_default=True, help="Where MODEL is missing.")
@click.option("--pictures", default=64, show_default=True)
@click.option("--size", default=256, show_default=True, help="Of the pictures, in pixels.")
@click.option("--folder", type=click.Path(path_type=Path), help="JPEGs instead of landscapes.")
@click.option("--rounds", default=5, show_default=True)
@click.option("--precision", default="auto", show_default=True)
@click.option("--compile", "compiled", is_flag=True, help="Measure torch.compile, too.")
@click.option("--device", help="Default: the best there is.")
def main(
    model: str | None,
    recipe: str,
    pictures: int,
    size: int,
    folder: Path | None,
    rounds: int,
    precision: Precision,
    compiled: bool,  # noqa: FBT001
    device: str | None,
) -> None:
    """Measure with MODEL."""
    where = find_device(device)
    if model is None:
        loaded = untrained(recipe, where, precision)
    else:
        loaded = load_model(model, where, precision=precision)
    with tempfile.TemporaryDirectory() as temporary:
        place = Path(temporary)
        (place / "in").mkdir()
        for index, image in enumerate(squares(folder, pictures, size)):
            image.save(place / "in" / f"{index}.jpg", quality=92)
        report(measured(ways(loaded, place, compiled=compiled), pictures, rounds), loaded, size)


def untrained(name: str, device: torch.device, precision: Precision) -> Translator:
    """A recipe's networks with their first weights."""
    recipe = load_recipe(name)
    tensors = {
        f"{direction}/{key}": value
        for direction, network in build_generators(recipe, torch.device("cpu")).items()
        for key, value in network.state_dict().items()
    }
    return Translator(recipe, Content(tensors, {"kind": "model"}), device, precision)


def squares(folder: Path | None, count: int, size: int) -> Iterable[Image.Image]:
    """Generated landscapes, or the upper left squares of a folder's pictures, over and over."""
    if folder is None:
        scenes = Landscapes(image_size=size, scenes=count).build("train", ("x", "y")).x
        for index in range(count):
            levels = scenes[index]
            levels = (levels * 255).byte() if levels.is_floating_point() else levels
            yield Image.fromarray(levels.permute(1, 2, 0).numpy())
        return
    found = sorted(path for path in folder.rglob("*") if path.suffix.lower() in (".jpg", ".jpeg"))
    for index in range(count):
        with Image.open(found[index % len(found)]) as image:
            box = (0, 0, min(image.size), min(image.size))
            yield image.convert("RGB").resize((size, size), box=box)


def ways(model: Translator, place: Path, *, compiled: bool) -> dict[str, Callable[[], object]]:
    """What is measured, by its name; each goes through all pictures once."""
    direction, cores = model.directions[0], torch.get_num_threads()
    paths = sorted((place / "in").iterdir())
    files = [(path, place / "alone" / path.name, model.channels, None) for path in paths]
    opened = [open_picture(*each) for each in files]
    batches = Batches(model, direction, Options.memory, "exact", lambda _: None)
    pixels = torch.stack([torch.from_numpy(each.pixels.copy()) for each in opened])
    shown = [
        to_range(each.permute(0, 3, 1, 2)).contiguous().to(model.device)
        for each in pixels.split(batches.at_once(opened[0]))
    ]
    fast = model.runner(direction, deep=False)
    made = [batches.run([each], 1)[0][1] for each in opened]
    written = [(*each, "JPEG") for each in zip(opened, made, strict=True)]

    def translate() -> None:
        options, quiet = Options(overwrite=True), Display(quiet=True)
        summary = translate_files(model, [str(place / "in")], place / "out", options, quiet)
        assert summary.done == len(paths)

    found: dict[str, Callable[[], object]] = {
        "network as trained": lambda: one_by_one(model, model.network(direction), shown),
        "network, fast": lambda: one_by_one(model, fast, shown),
        SIDE: lambda: side_by_side(model, fast, shown, cores),
        "reading": lambda: in_threads(open_picture, files),
        "writing": lambda: in_threads(write_picture, written),
        "translate": translate,
    }
    if model.device.type != "cpu":
        del found[SIDE]
    if compiled:
        network = torch.compile(fast)
        start = time.perf_counter()
        one_by_one(model, network, shown[:1])
        print(f"compiled in {time.perf_counter() - start:.1f} s")
        found["network, compiled"] = lambda: one_by_one(model, network, shown)
    return found


def one_by_one(model: Translator, network: torch.nn.Module, shown: list[torch.Tensor]) -> None:
    """One batch after the other, with all cores."""
    for batch in shown:
        through(network, batch, model.multiple)
    if model.device.type == "cuda":
        torch.cuda.synchronize()


def side_by_side(
    model: Translator, network: torch.nn.Module, shown: list[torch.Tensor], cores: int
) -> None:
    """As translating does it, with no files."""

    def work(some: list[torch.Tensor]) -> None:
        torch.set_num_threads(1)
        one_by_one(model, network, some)

    with ThreadPoolExecutor(cores) as pool:
        list(pool.map(work, [shown[first::cores] for first in range(cores)]))


def in_threads(function: Callable[..., object], calls: list[tuple[object, ...]]) -> None:
    """As many at once as translating has threads for it."""
    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(lambda each: function(*each), calls))


def measured(
    found: dict[str, Callable[[], object]], pictures: int, rounds: int
) -> dict[str, float]:
    """Pictures per second of each; the first round is not counted."""
    seconds: dict[str, list[float]] = {name: [] for name in found}
    for number in range(rounds + 1):
        for name, way in found.items():
            start = time.perf_counter()
            way()
            if number:
                seconds[name].append(time.perf_counter() - start)
    return {name: pictures / statistics.median(each) for name, each in seconds.items()}


def report(rates: dict[str, float], model: Translator, size: int) -> None:
    """The table, and the shares."""
    print(
        f"{size}×{size} on {model.device}, {torch.get_num_threads()} threads, {THREADS} for files"
    )
    for name, rate in rates.items():
        print(f"  {name:<32} {rate:9.1f} images/s")
    bare = max(rate for name, rate in rates.items() if name in ("network, fast", SIDE))
    files = 1 / (1 / rates["reading"] + 1 / rates["writing"])
    print(
        f"  translate / network as trained: {rates['translate'] / rates['network as trained']:.0%}"
    )
    print(f"  translate / network, fast:      {rates['translate'] / bare:.0%}")
    print(f"  translate / reading + writing:  {rates['translate'] / files:.0%}")
    print(f"  translate / all three in a row: {rates['translate'] * (1 / bare + 1 / files):.0%}")


if __name__ == "__main__":
    main()
