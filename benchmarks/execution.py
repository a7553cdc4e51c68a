"""Whether the fast ways through a step change what is learnt by more than another seed does.

Trains a recipe with plain execution and three seeds, in float32, and once more with the first of
these seeds and the device's fast ways. Prints for each loss, in means of 20 steps, the mean
distance of the two runs of the first seed, beside the mean distance of two plain runs of different
seeds; and for each metric at the end the same. Exit code 1 where the first is larger than the
largest of the second. Equal seeds start equal, and what rounding changes grows until the two are as
far apart as any; a fast way that is wrong would be farther.

Usage: python benchmarks/execution.py [RECIPE] [--steps N] [--seeds 0,1,2] [--device NAME]
       [--fast KEY=VALUE]... [--set KEY=VALUE]... [--everywhere]
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from itertools import combinations, pairwise
from pathlib import Path
from statistics import mean
from typing import TYPE_CHECKING, Final

import click

if TYPE_CHECKING:
    from collections.abc import Sequence

SMOOTHED: Final = 20
"""Steps."""
ALWAYS: Final = "from imgtrans import winograd; winograd.pays = lambda *_: True"
START: Final = "from imgtrans.cli import main; main()"


@dataclass(frozen=True)
class Run:
    """What one training left."""

    losses: dict[str, list[float]]
    """Smoothed, by name."""
    figures: dict[str, float]
    """At the end, by metric and direction."""


@click.command()
@click.argument("recipe", default="quickstart")
@click.option("--steps", default=200, show_default=True, help="Of each run; over half, rates fall.")
@click.option("--seeds", default="0,1,2", show_default=True, help="Of the plain runs.")
@click.option("--device", help="Where they run. Default: the best there is.")
@click.option(
    "--fast",
    multiple=True,
    metavar="KEY=VALUE",
    default=["train.execution=auto"],
    show_default=True,
    help="Set for the fast run only.",
)
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="For every run.")
@click.option(
    "--everywhere", is_flag=True, help="On a processor: fast convolutions of every size too."
)
def main(
    recipe: str,
    steps: int,
    seeds: str,
    device: str | None,
    fast: tuple[str, ...],
    overrides: tuple[str, ...],
    everywhere: bool,  # noqa: FBT001 - click hands it over by name
) -> None:
    """Compare fast runs of RECIPE with plain ones."""
    common = [f"train.steps={steps}", f"train.decay_steps={steps // 2}", *overrides]
    plain = [*common, "train.execution=plain", "train.precision=float32"]
    where = ["--device", device] if device else []
    first, *_ = numbers = seeds.split(",")
    with tempfile.TemporaryDirectory() as folder:
        runs = [
            _train(recipe, [*plain, f"train.seed={seed}"], where, Path(folder), f"plain-{seed}")
            for seed in numbers
        ]
        settings = [*plain, f"train.seed={first}", *fast]
        other = _train(recipe, settings, where, Path(folder), "fast", everywhere=everywhere)
    print(f"{recipe}, {steps} steps, seeds {seeds}; fast: {', '.join(fast)}, seed {first}")
    print("| | plain and fast | between seeds | at most |\n| --- | --- | --- | --- |")
    # A loop, not all(): every line is shown.
    within = [_compared(name, runs, other) for name in (*other.losses, *other.figures)]
    sys.exit(not all(within))


def _train(
    recipe: str,
    settings: Sequence[str],
    where: Sequence[str],
    folder: Path,
    name: str,
    *,
    everywhere: bool = False,
) -> Run:
    given = [word for setting in settings for word in ("--set", setting)]
    start = f"{ALWAYS}; {START}" if everywhere else START
    done = subprocess.run(
        [sys.executable, "-c", start, "run", recipe, *given, *where, "--name", name, "--quiet"],
        cwd=folder, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        message = f"{name} ended with {done.returncode}:\n{done.stdout}{done.stderr}"
        raise click.ClickException(message)
    return _read(folder / "runs" / name)


def _read(run: Path) -> Run:
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text("utf-8").splitlines()]
    metrics = json.loads((run / "figures.json").read_text("utf-8"))["metrics"]
    return Run(
        {name: _smooth([line["losses"][name] for line in lines]) for name in lines[0]["losses"]},
        {
            f"{name}, {direction}": scores["translated"]["value"]
            for name, metric in metrics.items()
            for direction, scores in metric["scores"].items()
        },
    )


def _smooth(values: Sequence[float]) -> list[float]:
    ends = range(0, len(values) + 1, SMOOTHED)
    return [mean(values[start:end]) for start, end in pairwise(ends)]


def _compared(name: str, plain: Sequence[Run], fast: Run) -> bool:
    """Print a line; whether the fast run is as near to the plain one as other seeds are."""
    between = [_distance(name, one, other) for one, other in combinations(plain, 2)]
    here = _distance(name, plain[0], fast)
    print(f"| {name} | {here:.4f} | {mean(between):.4f} | {max(between):.4f} |")
    return here <= max(between)


def _distance(name: str, one: Run, other: Run) -> float:
    if name in one.figures:
        return abs(one.figures[name] - other.figures[name])
    pairs = zip(one.losses[name], other.losses[name], strict=True)
    return mean(abs(a - b) for a, b in pairs)


if __name__ == "__main__":
    main()
