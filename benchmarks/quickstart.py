"""Whether a run on generated landscapes keeps the quickstart's promises; exit code 1 if not.

In both directions its translations of held-out scenes must be at least 3 dB nearer to the truth
than the untranslated input and no worse than a colour match, 1.5 dB better than it in the mean; and
less than 0.5 dB from its translations of training scenes. Training shows each scene in one season
only, so training scenes too have a truth that the networks never saw.

Usage: python benchmarks/quickstart.py [RUN]
"""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from statistics import mean

import click
import torch
from imgtrans_metrics.images import psnr
from imgtrans_seasons import SUMMER, WINTER, Landscapes, Scenes

from imgtrans import load_model
from imgtrans.data import to_range


@click.command()
@click.argument("run", type=click.Path(path_type=Path), default=Path("runs/quickstart"))
def main(run: Path) -> None:
    """Check the figures of RUN."""
    model = load_model(run)
    dataset = model.recipe.dataset
    if not isinstance(dataset, Landscapes):
        message = f"{run} was not trained on landscapes"
        raise click.UsageError(message)
    figures = json.loads((run / "figures.json").read_text("utf-8"))["metrics"]["psnr"]["scores"]
    promises, gains = {}, []
    train = dataset.build("train", model.recipe.domains)
    for index, name in enumerate(model.directions):
        direction = name.replace("_to_", " to ")
        there, before, match = (
            figures[name][what]["value"] for what in ("translated", "untranslated", "colour match")
        )
        shown = (train.x, train.y)[index]
        assert isinstance(shown, Scenes)
        seasons = (SUMMER, WINTER)[:: 1 if index == 0 else -1]
        source, truth = (
            to_range(torch.stack([replace(shown, season=season)[i] for i in range(len(shown))]))
            for season in seasons
        )
        made = torch.cat([model.translate(part, name) for part in source.split(16)])
        known = psnr(made, truth).mean().item()
        gains.append(there - match)
        promises[f"{direction}: {there - before:+.2f} dB to the input"] = there - before >= 3
        promises[f"{direction}: {there - match:+.2f} dB to the colour match"] = there >= match
        gap = (
            f"{direction}: {there:.2f} dB held out, {known:.2f} dB on {len(shown)} training scenes"
        )
        promises[gap] = abs(there - known) < 0.5
    promises[f"{mean(gains):+.2f} dB to the colour match in the mean"] = mean(gains) >= 1.5
    for promise, kept in promises.items():
        print(f"{'kept  ' if kept else 'BROKEN'}  {promise}")
    sys.exit(not all(promises.values()))


if __name__ == "__main__":
    main()
