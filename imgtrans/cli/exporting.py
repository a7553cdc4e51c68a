"""``imgtrans export``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from imgtrans.cli.group import add_files, examples, plugin_option

if TYPE_CHECKING:
    from imgtrans.exporting import Format


@click.command(
    epilog=examples(
        "imgtrans export runs/quickstart",
        "imgtrans export runs/quickstart --direction y-to-x --format torch-export -o summer.pt2",
    )
)
@click.argument("model")
@click.option(
    "--output",
    "-o",
    type=click.Path(path_type=Path),
    help="The file to write, instead of DIRECTION.onnx, .pt2 or .safetensors here.",
)
@click.option(
    "--format",
    "format_",
    type=click.Choice(["onnx", "torch-export", "safetensors"]),
    default="onnx",
    show_default=True,
    help="A program, for ONNX or for torch.export.load; or the weights alone.",
)
@click.option("--direction", help="x-to-y (default), y-to-x, or by the domains' names.")
@click.option("--overwrite", is_flag=True, help="Replace the file if it is there.")
@click.option("--quiet", "-q", is_flag=True, help="Show warnings and errors only.")
@plugin_option
def export(
    model: str,
    output: Path | None,
    format_: Format,
    direction: str | None,
    overwrite: bool,  # noqa: FBT001
    quiet: bool,  # noqa: FBT001
    files: tuple[Path, ...],
) -> None:
    """Write one direction of MODEL, a run's folder, a checkpoint or a model.safetensors, as a file.

    The file is run on images of several sizes and compared with the model before it is written.
    """
    from imgtrans.exporting import SUFFIXES, export_model
    from imgtrans.inference import load_model
    from imgtrans.monitor.display import Display

    add_files(files)
    display = Display(quiet=quiet)
    loaded = load_model(model)
    name = loaded.direction(direction)
    output = output or Path(name + SUFFIXES[format_])
    done = export_model(loaded, output, format_, name, overwrite=overwrite)
    display.say(f"{name} as {format_}: {output} ({done.bytes / 1e6:.1f} MB)")
    display.say(
        f"run on images of {', '.join(done.sizes)}: the largest difference from the model is "
        f"{done.difference:.1e}"
    )
