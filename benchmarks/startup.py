"""Seconds that ``--help`` and ``list-components`` take to start, against the bare imports.

The last two list one and twenty plugins more, each a package of its own as ``imgtrans new-plugin``
writes it, with a residual block and a loss. Each command and the bare ``import click, pydantic,
rich`` run in fresh processes, in alternating rounds. Compare only the differences: the times
depend on the machine and on what else it does.

Usage: python benchmarks/startup.py [--rounds N]
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import click

from imgtrans.scaffold import new_plugin

SCRIPT = str(Path(sys.executable).with_name("imgtrans"))
"""What people start, as it was installed beside this Python."""
COMMANDS = {
    "bare imports": ["-c", "import click, pydantic, rich"],
    "--help": [SCRIPT, "--help"],
    "list-components": [SCRIPT, "list-components"],
    "the same, +1": [SCRIPT, "list-components"],
    "the same, +20": [SCRIPT, "list-components"],
}
MORE = {"the same, +1": 1, "the same, +20": 20}
"""So many plugins more are installed."""


@click.command()
@click.option("--rounds", default=10, show_default=True, help="Of each command, after a warm-up.")
def main(rounds: int) -> None:
    """Measure how long the fast commands take to start."""
    # An installed package is there as bytecode; a checkout's is written by the warm-up.
    environment = {**os.environ}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    with tempfile.TemporaryDirectory() as folder:
        sites = {name: _site(Path(folder, name), count) for name, count in MORE.items()}
        _measure(rounds, environment, sites)


def _site(folder: Path, count: int) -> str:
    """A folder of packages, as ``pip install --target`` leaves it."""
    for number in range(count):
        name = f"many{number}"
        new_plugin(name, ["residual_block", "loss"], folder)
        module = folder / f"imgtrans-{name}" / f"imgtrans_{name}.py"
        module.rename(folder / module.name)
        info = folder / f"imgtrans_{name}-0.1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: imgtrans-{name}\nVersion: 0.1.0\n", "utf-8"
        )
        (info / "entry_points.txt").write_text(
            f"[imgtrans.v1]\n{name} = imgtrans_{name}\n", "utf-8"
        )
    return str(folder)


def _measure(rounds: int, environment: dict[str, str], sites: dict[str, str]) -> None:
    seconds: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for round_ in range(rounds + 1):
        for name, arguments in COMMANDS.items():
            start = time.perf_counter()
            command = [sys.executable, *arguments]
            more = {"PYTHONPATH": sites[name]} if name in sites else {}
            subprocess.run(
                command, check=True, stdout=subprocess.DEVNULL, env={**environment, **more}
            )
            if round_:  # the first one fills the caches of the disk
                seconds[name].append(time.perf_counter() - start)
    bare = statistics.median(seconds["bare imports"])
    for name, values in seconds.items():
        median = statistics.median(values)
        print(f"{name:<16} {median:6.3f} s  {median - bare:+.3f} s above the bare imports")


if __name__ == "__main__":
    main()
