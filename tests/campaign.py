"""Try every promise as often as docs/reliability.md says: ``python tests/campaign.py``.

Not ``python -m tests.reliability``: some packages install one that is called ``tests``, too.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import subprocess
import sys
import tempfile
import time
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import psutil
from reliability.promises import PROMISES, Figure, Promise

if TYPE_CHECKING:
    from collections.abc import Iterable

    Figures = dict[str, dict[str, Any]]

ALONE = (
    "killing",
    "crashing",
    "resuming",
    "storage",
    "writing",
    "faults",
    "resources",
    "processes",
    "ranks",
)
BESIDE_SOAK = ("texts", "fuzzing", "damage", "odd_files", "hostile", "surroundings")
SOAK = "R21"
"""It takes one core for half an hour: where all is tried, beside those that time nothing."""
SOAK_BOUND = 7200
"""Seconds that are waited for it once the others are done."""


def every() -> dict[str, Promise]:
    """All promises, in the order of the document."""
    for name in ALONE + BESIDE_SOAK:
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


def one_by_one(promises: Iterable[Promise], *, short: bool = False) -> Figures:
    """Try promises, and say of each how it went."""
    figures = {}
    for promise in promises:
        began = time.monotonic()
        figure = tried(promise, promise.short if short else promise.full)
        seconds = time.monotonic() - began
        mark = "kept  " if figure.kept else "BROKEN"
        click.echo(f"{promise.key:<4} {mark} {promise.says}: {figure} ({seconds:.0f} s)")
        for line in figure.broken[:5]:
            click.echo(f"       {line}")
        figures[promise.key] = {
            "says": promise.says, "figure": str(figure), "kept": figure.kept,
        }  # fmt: skip
    return figures


def everything(promises: dict[str, Promise]) -> Figures:
    """All of them, the soak beside those that time nothing."""
    modules = {f"reliability.{name}" for name in BESIDE_SOAK}
    beside = [each for each in promises.values() if each.check.__module__ in modules]
    others = [each for each in promises.values() if each not in beside and each.key != SOAK]
    figures = one_by_one(others)
    with tempfile.TemporaryDirectory() as place:
        file = Path(place, "soak.json")
        command = [sys.executable, __file__, SOAK, "--json", file]
        with subprocess.Popen(command) as soak:
            try:
                figures |= one_by_one(beside)
                soak.wait(SOAK_BOUND)
            except subprocess.TimeoutExpired:
                click.echo(f"{SOAK} has not ended in {SOAK_BOUND / 3600:.0f} h more")
            finally:
                _end(soak)
        if file.exists():
            return figures | json.loads(file.read_text())
        click.echo(f"{SOAK:<4} BROKEN {promises[SOAK].says}: no figure")
        lost = {"says": promises[SOAK].says, "figure": "none", "kept": False}
        return figures | {SOAK: lost}


def _end(soak: subprocess.Popen[bytes]) -> None:
    """End it, if it still runs, and the training that it watches, which has its own session."""
    with contextlib.suppress(psutil.NoSuchProcess):
        process = psutil.Process(soak.pid)
        for each in [*process.children(recursive=True), process]:
            each.kill()


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
    start = time.monotonic()
    if keys or short:
        some = [promises[key] for key in chosen if keys or promises[key].short]
        figures = one_by_one(some, short=short)
    else:
        figures = everything(promises)
    click.echo(f"{len(figures)} promises in {(time.monotonic() - start) / 60:.1f} min")
    if file is not None:
        file.write_text(json.dumps(figures, indent=1) + "\n")
    sys.exit(not all(figure["kept"] for figure in figures.values()))


if __name__ == "__main__":
    main()
