"""Checkpoints and models of every version that was released are still resumed and used.

Not bit for bit: torch's sums are rounded differently from version to version and from processor
to processor. Losses of the steps after a checkpoint must agree to a thousandth, which they do not
where something of its state is forgotten; translations to two levels of 255.
"""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from golden.write import HALF, WHOLE, picture, recipes
from PIL import Image

import imgtrans
from imgtrans import checkpoint
from imgtrans.testing import run_imgtrans

GOLDEN = Path(__file__).parent / "golden"
RUNS = sorted(path.parent for path in GOLDEN.glob("*/*/recipe.toml"))
MODELS = sorted(GOLDEN.glob("*/*.safetensors"))


def called(path):
    return "/".join(path.relative_to(GOLDEN).parts)


def losses(run):
    lines = map(json.loads, (run / "metrics.jsonl").read_text().splitlines())
    return [line["losses"] for line in lines]


@pytest.fixture(params=RUNS, ids=called)
def run(request, tmp_path, monkeypatch):
    """A copy of a golden run in the current folder."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(request.param, Path("runs", request.param.name))
    return Path("runs", request.param.name)


def test_there_is_a_golden_run_and_model_of_this_version():
    names = {path.name for path in RUNS if path.parent.name == imgtrans.__version__}
    assert names == recipes().keys()


def resumed(run):
    """The losses after the checkpoint, as they were and as they are now."""
    whole = losses(run)
    assert len(whole) == WHOLE
    outcome = run_imgtrans("run", "--resume", run, "--quiet")
    assert outcome.exit_code == 0, outcome.stderr
    now = losses(run)
    assert len(now) == WHOLE and now[:HALF] == whole[:HALF]
    return whole[HALF:], now[HALF:]


def test_a_golden_run_is_resumed_to_the_losses_it_had(run):
    for then, now in zip(*resumed(run), strict=True):
        assert now == pytest.approx(then, rel=1e-3)


@pytest.mark.parametrize(
    "part", ["optimizer/generators/exp_avg/", "optimizer/discriminators/exp_avg_sq/", "pool/"]
)
def test_a_part_of_the_state_that_is_forgotten_shows_in_the_losses(run, part):
    (path,) = checkpoint.found(run / "checkpoints")
    content = checkpoint.read(path)
    forgotten = {n: torch.zeros_like(t) for n, t in content.tensors.items() if n.startswith(part)}
    assert bool(forgotten) == (part != "pool/" or run.name == "paper")
    checkpoint.write(path, {**content.tensors, **forgotten}, content.about)
    pairs = zip(*resumed(run), strict=True)
    alike = all(now == pytest.approx(then, rel=1e-3) for then, now in pairs)
    assert alike != bool(forgotten)


@pytest.mark.parametrize("model", MODELS, ids=called)
def test_a_golden_model_translates_as_it_did(model, tmp_path):
    picture().save(tmp_path / "picture.png")
    made = tmp_path / "made"
    outcome = run_imgtrans("translate", model, tmp_path / "picture.png", "--output", made)
    assert outcome.exit_code == 0, outcome.stderr
    now, then = (
        np.asarray(Image.open(path), dtype=np.int16)
        for path in (made / "picture.png", model.with_suffix(".png"))
    )
    assert now.shape == then.shape
    assert np.abs(now - then).max() <= 2


def test_golden_files_stay_small_and_tell_of_no_machine():
    files = [path for path in GOLDEN.rglob("*") if path.is_file() and path.suffix != ".pyc"]
    assert sum(path.stat().st_size for path in files) < 500_000
    for path in files:
        assert os.fsencode(Path.home()) + b"/" not in path.read_bytes() or path.suffix == ".py"
