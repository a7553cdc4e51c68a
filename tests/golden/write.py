"""Make what every later version must still resume and translate with.

``python tests/golden/write.py`` writes the folder of this version, once, when it is released; it
refuses to write over one. All that is in it comes from generated landscapes and from a formula.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

from imgtrans import Recipe, __version__
from imgtrans.testing import run_imgtrans, tiny_recipe

HERE = Path(__file__).parent
HALF, WHOLE = 4, 8
"""Steps after which the checkpoint was saved, and of all the log."""
TRAIN = {"steps": WHOLE, "decay_steps": 4, "checkpoint_every": HALF}
TRAIN |= {"generators": {"learning_rate": 0.002}, "discriminators": {"learning_rate": 0.02}}
"""Fast, so that what is forgotten shows."""


def recipes() -> dict[str, Recipe]:
    """One as the seed trains and one as the paper does, with a few numbers each."""
    paper = tiny_recipe(
        name="paper",
        generator={"use": "cyclegan/resnet", "width": 1, "blocks": 1},
        discriminator={"use": "cyclegan/patch", "width": 1, "layers": 1},
        loss={"identity": {"use": "cyclegan/identity", "weight": 5.0}},
        train={**TRAIN, "batch_size": 1, "order": "generators-first", "pool_images": 2},
    )
    seed = tiny_recipe(
        name="seed",
        generator={"use": "cyclegan/encoder-decoder", "width": 1, "blocks": 1},
        discriminator={"use": "cyclegan/convolutional", "width": 1},
        train=TRAIN,
    )
    return {"seed": seed, "paper": paper}


def picture() -> Image.Image:
    """Waves of other lengths in red, green and blue."""
    y, x = np.mgrid[:32, :40]
    waves = [np.sin(x / a + y / b) for a, b in ((3, 9), (7, 4), (5, -6))]
    return Image.fromarray(((np.stack(waves, -1) + 1) * 127.5).astype(np.uint8))


def write(place: Path) -> None:
    """Train each recipe in a folder elsewhere, and copy what a killed run would have left."""
    for name, recipe in recipes().items():
        assert run_imgtrans("run", recipe, "--quiet").exit_code == 0
        run, target = Path("runs", name), place / name
        (target / "checkpoints").mkdir(parents=True)
        # Not the environment and status: they tell of a machine, and resuming needs them not.
        for file in ("recipe.toml", "metrics.jsonl", f"checkpoints/step-{HALF:08d}.safetensors"):
            shutil.copy(run / file, target / file)
        shutil.copy(run / "model.safetensors", place / f"{name}.safetensors")
        picture().save("picture.png")
        made = run_imgtrans("translate", place / f"{name}.safetensors", "picture.png", "-o", "made")
        assert made.exit_code == 0, made.stderr
        shutil.copy(next(Path("made").iterdir()), place / f"{name}.png")
        shutil.rmtree("made")


if __name__ == "__main__":
    place = HERE / __version__
    if place.exists():
        sys.exit(f"{place} is there already; what a version wrote stays as it is")
    with tempfile.TemporaryDirectory() as elsewhere:
        os.chdir(elsewhere)
        write(place)
