"""Try every promise as often as docs/reliability.md says: ``python tests/campaign.py``.

Not ``python -m tests.reliability``: some packages install one that is called ``tests``, too.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import tempfile
import time
import traceback
from pathlib import Path

import click
from reliability.promises import PROMISES, Figure, Promise

MODULES = (
    "killing",
    "crashing",
    "resuming",
    "storage",
    "writing",
    "damage",
    "texts",
    "faults",
    "resources",
    "odd_files",
    "processes",
    "ranks",
    "hostile",
    "fuzzing",
    "surroundings",
)


def every() -> dict[str, Promise]:
    """All promises, in the order of the document."""
    for name in MODULES:
        importlib.import_module(f"reliability.{name}")
    return PROMISES


def tried(promise: Promise, count: int) -> Figure:
    """Try a promise in a folder of its own; an error of the trial counts as a broken promise."""
    before = Path.cwd()
    with tempfile.TemporaryDirectory(prefix=f"{promise.key}-") as place:
        os.chdir(place)
        try:
            return promise.check(Path(place), count)
        except Exception:  # noqa: BLE001 - the others are still to be tried
            return Figure(1, [traceback.format_exc()])
        finally:
            os.chdir(before)


@click.command()
@click.argument("keys", nargs=-1)
@click.option("--short", is_flag=True, help="As often as the suite does.")
@click.option(
    "--json", "file", type=click.Path(path_type=Path), help="Write the figures here, too."
)
def main(keys: tuple[str, ...], *, short: bool, file: Path | None) -> None:
    """Try the promises of these KEYS, or all."""
    promises = every()
    chosen = [key for key in promises if not keys or {key, key.partition("-")[0]} & {*keys}]
    known = {*promises, *(key.partition("-")[0] for key in promises)}
    if unknown := [key for key in keys if key not in known]:
        message = f"no promise {unknown[0]}; there are {', '.join(promises)}"
        raise click.ClickException(message)
    os.environ.pop("IMGTRANS_DATA", None)
    figures, start = {}, time.monotonic()
    for key in chosen if keys else [key for key in chosen if promises[key].short or not short]:
        promise, began = promises[key], time.monotonic()
        figure = tried(promise, promise.short if short else promise.full)
        seconds = time.monotonic() - began
        mark = "kept  " if figure.kept else "BROKEN"
        click.echo(f"{key:<4} {mark} {promise.says}: {figure} ({seconds:.0f} s)")
        for line in figure.broken[:5]:
            click.echo(f"       {line}")
        figures[key] = {"says": promise.says, "figure": str(figure), "kept": figure.kept}
    click.echo(f"{len(figures)} promises in {(time.monotonic() - start) / 60:.1f} min")
    if file is not None:
        file.write_text(json.dumps(figures, indent=1) + "\n")
    sys.exit(not all(figure["kept"] for figure in figures.values()))


if __name__ == "__main__":
    main()
