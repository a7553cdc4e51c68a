"""Runs of two processes, as torchrun starts them: written once, stopped, killed, continued."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from torch import distributed
from toys import tiny_paper_recipe

from imgtrans import checkpoint
from imgtrans.recipe import to_toml
from imgtrans.testing import run_imgtrans

STEPS = 24


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("IMGTRANS_DATA", raising=False)


@pytest.fixture(scope="module")
def recipe(tmp_path_factory):
    """In float64, without statistics of batches: what one process and two must agree on."""
    tiny = tiny_paper_recipe()
    settings = {"batch_size": 2, "steps": STEPS, "checkpoint_every": 3, "sample_every": 12}
    changed = tiny.model_copy(update={"train": tiny.train.model_copy(update=settings)})
    file = tmp_path_factory.mktemp("recipe") / "tiny.toml"
    file.write_text(to_toml(changed))
    return str(file)


@pytest.fixture(scope="module")
def alone(recipe, tmp_path_factory):
    """The same run of one process."""
    folder, before = tmp_path_factory.mktemp("alone"), Path.cwd()
    os.chdir(folder)
    try:
        assert run_imgtrans("run", recipe, "--quiet").exit_code == 0
    finally:
        os.chdir(before)
    return folder / "runs/tiny"


def torchrun(*arguments, options=()):
    """Two processes on the processor, of one thread each."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    start = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command = [*start, *options, "-m", "imgtrans", "run", *arguments, "--device", "cpu"]
    return subprocess.Popen(command, env=environment, stdout=-1, stderr=-1, text=True)


def lines(run="runs/tiny"):
    file = Path(run, "metrics.jsonl")
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def wait_for_steps(process, count):
    while process.poll() is None and len(lines()) < count:
        time.sleep(0.01)
    assert process.poll() is None, process.communicate()


def rank(process, number):
    children = psutil.Process(process.pid).children(recursive=True)
    (found,) = [each for each in children if each.environ().get("RANK") == str(number)]
    return found


def ended(process):
    out, err = process.communicate(timeout=120)
    return process.returncode, out, err


def status():
    return json.loads(Path("runs/tiny/status.json").read_text())


def newest(run):
    return checkpoint.read(checkpoint.found(Path(run, "checkpoints"))[0])


def assert_equal_to(run):
    """What was just trained has the losses and the whole state of another run."""
    ours, theirs = lines(), lines(run)
    assert [line["step"] for line in ours] == [line["step"] for line in theirs]
    for one, other in zip(ours, theirs, strict=True):
        assert one["losses"] == pytest.approx(other["losses"], abs=1e-9)
    ours, theirs = newest("runs/tiny").tensors, newest(run).tensors
    assert set(ours) == set(theirs)
    assert all((ours[name] - theirs[name]).abs().max() < 1e-9 for name in ours)


def test_a_run_whose_process_is_killed_is_started_again_by_torchrun_and_ends_as_one_of_one_process(
    recipe, alone
):
    process = torchrun(recipe, options=("--max-restarts", "1"))
    wait_for_steps(process, 7)
    rank(process, 0).kill()
    code, out, err = ended(process)
    assert code == 0, err
    assert "started again by torchrun; continuing runs/tiny" in out
    assert out.count("done after step") == 1
    assert [path.name for path in Path("runs").iterdir()] == ["tiny"]
    assert status()["state"] == "done"
    assert json.loads(Path("runs/tiny/environment.json").read_text())["processes"] == 2
    assert_equal_to(alone)


def test_a_run_goes_on_with_another_number_of_processes_and_stops_as_one(recipe, alone):
    begun = run_imgtrans("run", recipe, "--quiet", "--set", "train.steps=4")
    assert begun.exit_code == 0
    process = torchrun("--resume", "runs/tiny", "--set", f"train.steps={STEPS}")
    wait_for_steps(process, 7)
    process.terminate()
    _, out, err = ended(process)
    (reached,) = re.findall(r"stopped after step (\d+)\n", out)
    assert len(lines()) == newest("runs/tiny").about["step"] == int(reached) < STEPS
    assert status()["state"] == "stopped"
    assert err.count("trained by 1 process before and by 2 processes now") == 1
    (again,) = [line for line in out.splitlines() if line.startswith("continue")]
    assert "torchrun --nproc-per-node 2 -m imgtrans run --resume runs/tiny" in again
    assert run_imgtrans("run", "--resume", "runs/tiny", "--quiet").exit_code == 0
    assert_equal_to(alone)


def test_a_killed_process_ends_the_others_with_a_message_and_a_checkpoint(recipe):
    process = torchrun(recipe, "--set", "train.steps=10000")
    wait_for_steps(process, 4)
    rank(process, 1).send_signal(signal.SIGKILL)
    code, _, err = ended(process)
    assert code == 1
    assert err.count("a process of this training is gone") == 1
    assert "continue with: torchrun --nproc-per-node 2 -m imgtrans run --resume runs/tiny" in err
    assert "gone" in status()["message"]
    assert status()["state"] == "failed"
    assert 3 <= newest("runs/tiny").about["step"] <= len(lines())


def test_a_batch_that_cannot_be_shared_is_said_once_and_leaves_no_folder(recipe):
    code, out, err = ended(torchrun(recipe, "--set", "train.batch_size=3"))
    assert (code, out) == (1, "")
    assert err.count("[train] batch_size = 3 cannot be shared evenly by 2 processes") == 1
    assert re.search(r"rank +: 0 .*\n +exitcode +: 2 ", err)
    assert not Path("runs").exists()


FREEZING = """
import os, runpy, signal, time
from imgtrans.distributed import living
from imgtrans.saving import Saver

save, stops = Saver.save, iter([False, True])

def late(*arguments, **options):
    if next(stops):
        os.kill(os.getpid(), signal.SIGSTOP)
    time.sleep(5)
    save(*arguments, **options)

living.SECONDS, living.LOOKS = 0.1, 30
Saver.save = late
runpy.run_module("imgtrans", run_name="__main__")
"""


@pytest.fixture
def freezing(recipe):
    """Two processes without torchrun, of which the first is late to save, and then stops.

    Silence counts after three seconds; what is merely late takes five.
    """
    store = distributed.TCPStore("localhost", 0, is_master=True, wait_for_workers=False)
    told = {
        "TORCHELASTIC_RUN_ID": "none", "TORCHELASTIC_RESTART_COUNT": "0", "WORLD_SIZE": "2",
        "LOCAL_WORLD_SIZE": "2", "TORCHELASTIC_USE_AGENT_STORE": "True", "OMP_NUM_THREADS": "1",
        "MASTER_ADDR": "localhost", "MASTER_PORT": str(store.port),
    }  # fmt: skip
    command = [sys.executable, "-c", FREEZING, "run", recipe, "--device", "cpu"]
    started = []
    for number in "01":
        environment = {**os.environ, **told, "RANK": number, "LOCAL_RANK": number}
        process = subprocess.Popen(command, env=environment, stdout=-1, stderr=-1, text=True)
        started.append(process)
    yield started
    for process in started:
        process.kill()
        process.communicate()


def test_a_first_process_that_is_late_is_waited_for_and_one_that_stops_is_told_as_gone(freezing):
    _, other = freezing
    code, _, err = ended(other)
    assert code == 1
    assert "process 0 of this training has shown no sign of life for 0.05 minutes" in err
    assert "--nproc-per-node 2 -m imgtrans run --resume runs/tiny" in err
    assert len(lines()) == 6  # the first save was late, in the second one it stopped
    assert newest("runs/tiny").about["step"] == 3
