"""What the examples of docs/examples/ change: the quickstart as it stands, and with each of them.

The same seeds, steps and scenes for all; every run is a process of its own in a temporary folder.
An example's recipe is the one that its README shows. Prints PSNR and SSIM against the true
counterparts for each direction as Markdown: mean ± standard deviation over the seeds, each seed's
value, and the differences to the quickstart of the same seed.

Usage: python benchmarks/examples.py [--steps N] [--seeds 0,1,2] [--jobs N] [--device NAME]
       [--set KEY=VALUE] [--runs FOLDER] [--json FILE]
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import mean, stdev
from typing import TYPE_CHECKING, Any, Final

import click

if TYPE_CHECKING:
    from collections.abc import Sequence

EXAMPLES: Final = Path(__file__).parent.parent / "docs" / "examples"
REFERENCE: Final = "quickstart"
VARIANTS: Final[dict[str, Sequence[str]]] = {
    REFERENCE: (REFERENCE,),
    "attention": ("attention.toml", "--plugin", "attention.py"),
    "edges": ("edges.toml", "--plugin", "edges.py"),
}
"""What ``imgtrans run`` is given for each."""


@click.command()
@click.option("--steps", type=int, help="Instead of the recipe's; over half of them rates fall.")
@click.option("--seeds", default="0,1,2", show_default=True, help="Of one run of each variant.")
@click.option("--jobs", default=1, show_default=True, help="Runs at once.")
@click.option("--device", help="Where they run. Default: the best there is.")
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="For every run.")
@click.option(
    "--runs", "folder", type=click.Path(path_type=Path), help="Keep the runs in this new folder."
)
@click.option("--json", "file", type=click.Path(path_type=Path), help="Also write all figures.")
def main(
    steps: int | None,
    seeds: str,
    jobs: int,
    device: str | None,
    overrides: tuple[str, ...],
    folder: Path | None,
    file: Path | None,
) -> None:
    """Train every variant with every seed and print how they compare."""
    if steps is not None:
        overrides = (f"train.steps={steps}", f"train.decay_steps={steps // 2}", *overrides)
    shared = [word for override in overrides for word in ("--set", override)]
    shared += ["--device", device] if device else []
    planned = [(variant, int(seed)) for seed in seeds.split(",") for variant in VARIANTS]
    if folder is not None and folder.exists():
        message = f"{folder} exists; nothing is written over"
        raise click.UsageError(message)
    with tempfile.TemporaryDirectory() as temporary:
        place = folder or Path(temporary)
        _write_examples(place)
        with ThreadPoolExecutor(jobs) as pool:
            made = list(pool.map(lambda run: _run(run[0], run[1], place, shared, jobs), planned))
    same = [run.pop("same") for run in made]
    if any(each != same[0] for each in same):
        message = f"the runs differ in more than variant and seed: {same}"
        raise click.ClickException(message)
    settings = {**same[0], "jobs": jobs, "overrides": list(overrides)}
    if file is not None:
        file.write_text(json.dumps({"settings": settings, "runs": made}, indent=1) + "\n", "utf-8")
    print("\n".join(_report(settings, made)))


def _write_examples(place: Path) -> None:
    """Each example's module, called as its plugin is, and its README's recipe."""
    place.mkdir(parents=True, exist_ok=True)
    for name in (name for name in VARIANTS if name != REFERENCE):
        example = EXAMPLES / f"imgtrans-{name}"
        shutil.copy(example / f"imgtrans_{name}.py", place / f"{name}.py")
        text = (example / "README.md").read_text("utf-8")
        (recipe,) = re.findall(r"```toml\n(.*?)```", text, re.DOTALL)
        (place / f"{name}.toml").write_text(recipe, "utf-8")


def _run(variant: str, seed: int, place: Path, shared: list[str], jobs: int) -> dict[str, Any]:
    """Train once; what the run's folder says of it."""
    name = f"{variant}-{seed}"
    seeded = ["--set", f"train.seed={seed}", "--name", name, "--quiet"]
    # Many processes with a thread for every processor each would only wait for one another.
    threads = str(max(1, (os.cpu_count() or 1) // jobs))
    done = subprocess.run(
        [sys.executable, "-m", "imgtrans", "run", *VARIANTS[variant], *shared, *seeded],
        cwd=place, env={"OMP_NUM_THREADS": threads, **os.environ},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        message = f"{name} ended with {done.returncode}:\n{done.stdout}{done.stderr}"
        raise click.ClickException(message)
    made = {"variant": variant, "seed": seed, **_read(place / "runs" / name)}
    click.echo(f"{name} trained {made['seconds']:.0f} s", err=True)
    return made


def _read(run: Path) -> dict[str, Any]:
    figures, here, status = (
        json.loads((run / f"{name}.json").read_text("utf-8"))
        for name in ("figures", "environment", "status")
    )
    last = json.loads((run / "metrics.jsonl").read_text("utf-8").splitlines()[-1])
    return {
        "figures": {
            way.replace("_", " "): {
                key: figures["metrics"][name]["scores"][way]["translated"]["value"]
                for key, name in (("psnr_db", "psnr"), ("ssim", "ssim"))
            }
            for way in figures["metrics"]["psnr"]["scores"]
        },
        "losses": last["losses"],
        "parameters": here["networks"]["generators.summer_to_winter"],
        "seconds": last["seconds"],
        "same": {
            "steps": status["steps"],
            **{name: here[name] for name in ("device", "precision", "torch", "fingerprint")},
        },
    }


def _report(settings: dict[str, Any], made: list[dict[str, Any]]) -> list[str]:
    """A line on the circumstances and two tables."""
    seeds = ", ".join(dict.fromkeys(str(run["seed"]) for run in made))
    where = ", ".join(settings[name] for name in ("device", "precision"))
    title = f"{where}, torch {settings['torch']}, {settings['jobs']} at once; "
    title += f"{settings['steps']} steps, seeds {seeds}:"
    heads = ["direction", "", "PSNR (dB)", "of each seed", "to the quickstart", "of each seed"]
    heads += ["SSIM", "to the quickstart"]
    small = ["", "parameters of a generator", "seconds of training"]
    return [
        title,
        "",
        *map(_cells, (heads, ["---"] * len(heads))),
        *(_row(way, variant, made) for way in made[0]["figures"] for variant in VARIANTS),
        "",
        *map(_cells, (small, ["---"] * len(small))),
        *(_cost(variant, made) for variant in VARIANTS),
    ]


def _row(direction: str, variant: str, made: list[dict[str, Any]]) -> str:
    def of(name: str, which: str) -> list[float]:
        return [run["figures"][direction][name] for run in made if run["variant"] == which]

    def gained(name: str) -> list[float]:
        return [a - b for a, b in zip(of(name, variant), of(name, REFERENCE), strict=True)]

    psnr, ssim = of("psnr_db", variant), of("ssim", variant)
    more, similar = ["", ""], ""
    if variant != REFERENCE:
        more = [_spread(gained("psnr_db"), "+.2f"), _each(gained("psnr_db"), "+.2f")]
        similar = _spread(gained("ssim"), "+.3f")
    mean_and_each = [_spread(psnr, ".2f"), _each(psnr, ".2f")]
    return _cells([direction, variant, *mean_and_each, *more, _spread(ssim, ".3f"), similar])


def _cost(variant: str, made: list[dict[str, Any]]) -> str:
    runs = [run for run in made if run["variant"] == variant]
    seconds = _spread([run["seconds"] for run in runs], ".0f")
    return _cells([variant, f"{runs[0]['parameters']:,}", seconds])


def _cells(texts: Sequence[str]) -> str:
    return f"| {' | '.join(texts)} |"


def _each(values: Sequence[float], form: str) -> str:
    return ", ".join(f"{value:{form}}" for value in values)


def _spread(values: Sequence[float], form: str) -> str:
    """Mean ± standard deviation; of one value there is none."""
    text = f"{mean(values):{form}}"
    return f"{text} ± {stdev(values):{form.strip('+')}}" if len(values) > 1 else text


if __name__ == "__main__":
    main()
