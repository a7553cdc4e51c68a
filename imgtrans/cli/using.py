"""``imgtrans translate`` and ``imgtrans evaluate``: what trained models are used for."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from imgtrans.cli.group import add_files, examples, plugin_option

if TYPE_CHECKING:
    from imgtrans.inference import Precision
    from imgtrans.tiling import Statistics

_FORMATS = {"bmp": "BMP", "jpg": "JPEG", "png": "PNG", "tif": "TIFF", "webp": "WEBP"}


@click.command(
    epilog=examples(
        "imgtrans translate runs/quickstart photos/ --output translated",
        "imgtrans translate runs/quickstart 'photos/*.jpg' --direction y-to-x --output summer",
    )
)
@click.argument("model")
@click.argument("inputs", nargs=-1, required=True, metavar="INPUT…")
@click.option(
    "--output", "-o", required=True, type=click.Path(path_type=Path), help="Folder of the results."
)
@click.option("--direction", help="x-to-y (default), y-to-x, or by the domains' names.")
@click.option("--resize", is_flag=True, help="Work at the training size; results are of that size.")
@click.option(
    "--format", "format_", type=click.Choice(list(_FORMATS)), help="Instead of each file's own."
)
@click.option("--overwrite", is_flag=True, help="Translate again what is in the output folder.")
@click.option(
    "--memory",
    default=2048,
    show_default=True,
    type=click.IntRange(1),
    metavar="MIB",
    help="The network's layers may take so much; what needs more is translated in tiles.",
)
@click.option(
    "--statistics",
    type=click.Choice(["exact", "reduced"]),
    default="exact",
    show_default=True,
    help="Of normalisation over tiles: the whole picture's, or faster, a shrunken one's.",
)
@click.option("--device", help="cpu, cuda, cuda:1, … Default: the best there is.")
@click.option(
    "--precision",
    type=click.Choice(["auto", "float32", "bfloat16"]),
    default="auto",
    show_default=True,
    help="auto: bfloat16 for 8-bit pictures on a GPU that has it, float32 otherwise.",
)
@click.option("--quiet", "-q", is_flag=True, help="Show warnings and errors only.")
@plugin_option
def translate(
    model: str,
    inputs: tuple[str, ...],
    output: Path,
    direction: str | None,
    resize: bool,  # noqa: FBT001
    format_: str | None,
    overwrite: bool,  # noqa: FBT001
    memory: int,
    statistics: Statistics,
    device: str | None,
    precision: Precision,
    quiet: bool,  # noqa: FBT001
    files: tuple[Path, ...],
) -> None:
    """Translate pictures with MODEL, a run's folder, a checkpoint or a model.safetensors.

    INPUT is a picture, a folder, which is walked, or a pattern. Names, folders, sizes and formats
    are kept; what is in the output folder already is left as it is.
    """
    from imgtrans.building import find_device
    from imgtrans.inference import load_model
    from imgtrans.monitor.display import Display
    from imgtrans.translating import Options, translate_files

    add_files(files)
    display = Display(quiet=quiet)
    loaded = load_model(model, find_device(device), precision=precision)
    format_ = _FORMATS[format_] if format_ else None
    options = Options(direction, resize, format_, overwrite, memory * 2**20, statistics)
    display.say(f"{loaded.direction(direction)} on {loaded.device}, into {output}")
    summary = translate_files(loaded, inputs, output, options, display)
    rate = summary.done / summary.seconds if summary.seconds else 0.0
    text = f"{summary.done:,} translated ({rate:.1f} images/s)"
    text += f", {summary.skipped:,} there already (--overwrite)" if summary.skipped else ""
    display.say(text)
    if summary.failed:
        listed = "\n".join(f"  {path}" for path in summary.failed)
        click.echo(f"error: {len(summary.failed):,} failed:\n{listed}", err=True)
        sys.exit(1)


@click.command(
    epilog=examples(
        "imgtrans evaluate runs/quickstart",
        "imgtrans evaluate summer2winter.safetensors --data photos --json",
    )
)
@click.argument("model")
@click.option("--recipe", help="Take images and metrics from this recipe instead.")
@click.option(
    "--data",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder instead of dataset.root.",
)
@click.option("--device", help="cpu, cuda, cuda:1, … Default: the best there is.")
@click.option("--json", "as_json", is_flag=True, help="Print all figures as JSON.")
@click.option("--quiet", "-q", is_flag=True, help="Show warnings and errors only.")
@plugin_option
def evaluate(
    model: str,
    recipe: str | None,
    data: Path | None,
    device: str | None,
    as_json: bool,  # noqa: FBT001
    quiet: bool,  # noqa: FBT001
    files: tuple[Path, ...],
) -> None:
    """Measure MODEL, a run's folder, a checkpoint or a model.safetensors, on held-out images.

    The metrics are the recipe's and all that are installed besides. Untranslated images, and images
    with nothing but their colours matched, are measured too: a useful model beats both. On its own
    images a run's report shows the figures, with the best and the worst pictures.
    """
    from imgtrans.building import find_device
    from imgtrans.evaluation.command import evaluate as measure
    from imgtrans.monitor.display import Display

    add_files(files)
    display = Display(quiet=quiet or as_json)
    figures = measure(model, display, find_device(device), recipe=recipe, data=data)
    if as_json:
        click.echo(json.dumps(figures, indent=1))
