"""What translating a large picture in tiles costs, and how far it is from the untiled result.

Seconds and peak memory against the bound for one large picture, and the difference to the whole at
a size that fits.

Usage: python benchmarks/tiles.py MODEL [--large WIDTHxHEIGHT] [--memory MIB]
       [--statistics exact|reduced] [--device NAME]
"""

from __future__ import annotations

import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import click
import psutil
import torch
from imgtrans_seasons import Landscapes
from PIL import Image

from imgtrans import load_model
from imgtrans.building import find_device
from imgtrans.data import to_range
from imgtrans.monitor.clock import memory_mib
from imgtrans.monitor.display import Display
from imgtrans.padding import padded
from imgtrans.tiling import Tiler
from imgtrans.translating import Options, translate_files

if TYPE_CHECKING:
    from imgtrans.inference import Translator


@click.command()
@click.argument("model")
@click.option("--large", default="6000x4000", show_default=True)
@click.option("--memory", default=1024, show_default=True, help="MiB for the layers.")
@click.option("--statistics", default="exact", show_default=True)
@click.option("--device", help="Default: the best there is.")
def main(model: str, large: str, memory: int, statistics: str, device: str | None) -> None:
    """Measure with MODEL."""
    loaded = load_model(model, find_device(device))
    scene = Landscapes(image_size=256, scenes=1).build("train", ("x", "y")).x[0]
    width, height = map(int, large.split("x"))
    with tempfile.TemporaryDirectory() as temporary:
        tiled(loaded, scene, Path(temporary), (height, width), memory, statistics)
    difference(loaded, scene)


def save(tensor: torch.Tensor, path: Path) -> None:
    """A ``C×H×W`` tensor as a file."""
    pixels = (tensor * 255).byte() if tensor.is_floating_point() else tensor
    Image.fromarray(pixels.permute(1, 2, 0).numpy()).save(path, quality=92)


def tiled(
    model: Translator,
    scene: torch.Tensor,
    place: Path,
    size: tuple[int, int],
    memory: int,
    statistics: str,
) -> None:
    """One large picture: seconds, and memory above what the process had before."""
    large = torch.nn.functional.interpolate(scene[None].float(), size, mode="bicubic")[0]
    most = 1 if scene.is_floating_point() else 255
    save(large.clamp(0, most).to(scene.dtype), place / "large.png")
    del large
    before = peak = psutil.Process().memory_info().rss
    over = threading.Event()

    def watch() -> None:
        nonlocal peak
        while not over.wait(0.02):
            peak = max(peak, psutil.Process().memory_info().rss)

    thread = threading.Thread(target=watch)
    thread.start()
    cuda = model.device.type == "cuda"
    if cuda:
        torch.cuda.reset_peak_memory_stats()
    options = Options(format="TIFF", memory=memory * 2**20, statistics=statistics)  # type: ignore[arg-type]
    source = [str(place / "large.png")]
    summary = translate_files(model, source, place, options, Display(quiet=True))
    over.set()
    thread.join()
    held = (peak - before) / 2**20
    print(f"{size[1]}×{size[0]} with {memory:,} MiB, {statistics}; failed: {len(summary.failed)}")
    print(f"  {summary.seconds:.1f} s, at most {held:,.0f} MiB more in the process", end="")
    print(f", {memory_mib(model.device):,.0f} MiB on the GPU" if cuda else "")


def difference(model: Translator, scene: torch.Tensor) -> None:
    """Of tiles to the whole image, at 1024×1024."""
    pixels = torch.nn.functional.interpolate(scene[None].float(), (1024, 1024), mode="bicubic")[0]
    pixels = (pixels.clamp(0, 1) * 255).byte() if scene.is_floating_point() else pixels.byte()
    pixels = padded(pixels[None], model.multiple)[0]
    whole = model.translate(to_range(pixels[None]))[0].cpu()
    tiler = Tiler(
        model.runner(), channels=model.channels, multiple=model.multiple, device=model.device,
        memory=2**40,
    )  # fmt: skip
    tiler.memory = int((2 * tiler.halo + 128) ** 2 * tiler.per_pixel)
    for statistics in ("exact", "reduced"):
        made = torch.cat([strip for _, strip in tiler.translate(pixels, statistics)], 1)
        found = (made - whole).abs() * 127.5
        print(
            f"tiles against the whole, {statistics}: mean {found.mean():.4f}, most "
            f"{found.max():.3f} of 255; reach and blend {tiler.halo} pixels"
        )


if __name__ == "__main__":
    main()
