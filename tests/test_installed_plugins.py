"""The life of a plugin that somebody else published: installed, trained with, killed, gone."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from machine import Machine
from toys import tiny_recipe

from imgtrans import checkpoint
from imgtrans.cli import main
from imgtrans.recipe import to_toml

STEPS = 30


def wheel_of(folder):
    before = set(folder.glob("dist/*.whl"))
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation"]
    subprocess.run(command, cwd=folder, check=True, capture_output=True, timeout=120)
    (wheel,) = set(folder.glob("dist/*.whl")) - before
    return wheel


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    folder, before = tmp_path_factory.mktemp("author"), Path.cwd()
    os.chdir(folder)
    try:
        words = ["new-plugin", "wavelet", "--kind", "residual_block"]
        assert CliRunner().invoke(main, words).exit_code == 0
    finally:
        os.chdir(before)
    return folder / "imgtrans-wavelet"


@pytest.fixture(scope="module")
def wheel(package):
    return wheel_of(package)


@pytest.fixture(scope="module")
def trained(tmp_path_factory, wheel):
    """Where the plugin has trained a run to its end, and another that was killed."""
    machine = Machine(tmp_path_factory.mktemp("user"))
    machine.install(wheel)
    recipe = tiny_recipe(train={"steps": STEPS, "checkpoint_every": 4, "sample_every": 20})
    text = to_toml(recipe).replace(
        'use = "cyclegan/residual"\nnorm = "batch"', 'use = "wavelet/wavelet"'
    )
    assert "wavelet" in text
    (machine.home / "tiny.toml").write_text(text)
    machine.run("run", "tiny.toml", "--name", "whole", "--quiet")
    killed = machine.start("-m", "imgtrans", "run", "tiny.toml", "--name", "killed", "--quiet")
    metrics = machine.home / "runs/killed/metrics.jsonl"
    while killed.poll() is None and not (metrics.exists() and metrics.read_text().count("\n") > 9):
        time.sleep(0.005)
    killed.kill()
    killed.communicate()
    assert killed.returncode == -signal.SIGKILL
    return machine


@pytest.fixture
def machine(trained, wheel):
    """With the plugin as it was at training, whatever an earlier test did."""
    trained.install(wheel)
    return trained


def test_it_is_listed_shown_and_valid(machine):
    out, _ = machine.run("list-components", "residual_block")
    assert re.search(r"wavelet/wavelet +Two 3×3 conv.* imgtrans-wavelet 0\.1\.0\n", out)
    out, _ = machine.run("show", "residual_block", "wavelet")
    assert "package   imgtrans-wavelet 0.1.0\n" in out
    assert "site-packages/imgtrans_wavelet.py:" in out
    assert machine.run("validate", "tiny.toml")[0] == "tiny.toml is valid\n"


def test_killed_and_resumed_it_ends_as_one_that_was_never_stopped(machine):
    machine.run("run", "tiny.toml", "--name", "killed", "--resume", "--quiet")
    one, two = (
        checkpoint.read(checkpoint.found(machine.home / f"runs/{name}/checkpoints")[0])
        for name in ("whole", "killed")
    )
    assert one.about["step"] == two.about["step"] == STEPS
    assert one.tensors.keys() == two.tensors.keys()
    assert all(torch.equal(one.tensors[name], two.tensors[name]) for name in one.tensors)
    assert any(".factor" in name for name in one.tensors)  # the plugin's own parameter
    assert "wavelet = " in (machine.home / "runs/killed/recipe.toml").read_text()


def test_another_version_than_at_training_is_warned_of(machine, package):
    file = package / "pyproject.toml"
    file.write_text(file.read_text().replace('version = "0.1.0"', 'version = "0.2.0"'))
    machine.install(wheel_of(package))
    warning = 'plugin "wavelet" is imgtrans-wavelet 0.2.0 here and was imgtrans-wavelet 0.1.0 when'
    assert warning in machine.load_model()
    _, err = machine.run("run", "--resume", "runs/whole", "--quiet")
    assert f"warning: {warning}" in err


def test_without_it_resuming_and_using_say_which_package_and_version(machine):
    machine.pip("uninstall", "--yes", "imgtrans-wavelet")
    _, err = machine.run("run", "--resume", "runs/whole", code=2)
    assert '[generator.residual_block] use = "wavelet/wavelet"' in err
    assert "it came from imgtrans-wavelet 0.1.0: pip install imgtrans-wavelet==0.1.0" in err
    err = machine.load_model()
    assert "RecipeError: runs/whole/model.safetensors has 1 problem" in err
    assert "pip install imgtrans-wavelet==" in err
    _, err = machine.run("run", "tiny.toml", code=2)
    assert (
        'there is no plugin "wavelet" here: its package is perhaps called imgtrans-wavelet' in err
    )
    out, _ = machine.run("list-components", "--plugins")
    assert "wavelet" not in out
