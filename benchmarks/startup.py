"""Seconds that ``--help`` and ``list-components`` take to start, against the bare imports.

Each command and the bare ``import click, pydantic, rich`` run in fresh processes, in alternating
rounds. Compare only the differences: the times depend on the machine and on what else it does.

Usage: python benchmarks/startup.py [--rounds N]
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

import click

SCRIPT = str(Path(sys.executable).with_name("imgtrans"))
"""What people start, as it was installed beside this Python."""
COMMANDS = {
    "bare imports": ["-c", "import click, pydantic, rich"],
    "--help": [SCRIPT, "--help"],
    "list-components": [SCRIPT, "list-components"],
}


@click.command()
@click.option("--rounds", default=10, show_default=True, help="Of each command, after a warm-up.")
def main(rounds: int) -> None:
    """Measure how long the fast commands take to start."""
    # An installed package is there as bytecode; a checkout's is written by the warm-up.
    environment = {**os.environ}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    seconds: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for round_ in range(rounds + 1):
        for name, arguments in COMMANDS.items():
            start = time.perf_counter()
            command = [sys.executable, *arguments]
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=environment)
            if round_:  # the first one fills the caches of the disk
                seconds[name].append(time.perf_counter() - start)
    bare = statistics.median(seconds["bare imports"])
    for name, values in seconds.items():
        median = statistics.median(values)
        print(f"{name:<16} {median:6.3f} s  {median - bare:+.3f} s above the bare imports")


if __name__ == "__main__":
    main()
