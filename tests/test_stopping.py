"""Real processes: signalled, killed, cut off from their reader, two on one folder."""

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from toys import tiny_recipe

from imgtrans import checkpoint
from imgtrans.recipe import to_toml

TIMED = ("seconds", "images_per_second", "data_wait", "memory_mib")
SLOW = '''
import time

from imgtrans import Images, hookimpl
from imgtrans_seasons import Landscapes


class Late:
    def __init__(self, images):
        self.images = images

    def __len__(self):
        return len(self.images)

    def name(self, index):
        return self.images.name(index)

    def __getitem__(self, index):
        time.sleep(SECONDS)
        return self.images[index]


class Slow(Landscapes):
    """Landscapes that take their time."""

    def build(self, split, domains):
        images = super().build(split, domains)
        return Images(Late(images.x), Late(images.y), images.paired)


@hookimpl
def imgtrans_datasets():
    return {"slow": Slow}
'''


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("IMGTRANS_DATA", raising=False)


def start(*arguments, **options):
    """A process of its own, in a process group of its own."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "imgtrans", "run", *arguments]
    return subprocess.Popen(command, env=environment, start_new_session=True, text=True, **options)


def recipe_file(**settings):
    recipe = tiny_recipe(train={"checkpoint_every": 3, "sample_every": 20, **settings})
    Path("tiny.toml").write_text(to_toml(recipe))
    return "tiny.toml"


def lines_of(run):
    path = Path(f"runs/{run}/metrics.jsonl")
    return path.read_text().count("\n") if path.exists() else 0


def wait_for(process, true):
    while process.poll() is None and not true():
        time.sleep(0.005)
    assert process.poll() is None, "it ended too soon"


def metrics(run):
    lines = map(json.loads, Path(f"runs/{run}/metrics.jsonl").read_text().splitlines())
    return [{key: line[key] for key in line if key not in TIMED} for line in lines]


def equal(run, other):
    one, two = (
        checkpoint.read(checkpoint.found(Path(f"runs/{name}/checkpoints"))[0]).tensors
        for name in (run, other)
    )
    return one.keys() == two.keys() and all(torch.equal(one[name], two[name]) for name in one)


def state(run):
    return json.loads(Path(f"runs/{run}/status.json").read_text())["state"]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run of forty steps that nothing interrupts."""
    folder, before = tmp_path_factory.mktemp("whole"), Path.cwd()
    os.chdir(folder)
    try:
        assert start(recipe_file(steps=40), "--name", "whole", "--quiet").wait(120) == 0
    finally:
        os.chdir(before)
    return folder / "runs/whole"


STREAMING = ("--set", "train.workers=2", "--set", "train.cache=none")


@pytest.mark.parametrize(("first", "then"), [((), STREAMING), (STREAMING, ())])
def test_a_run_killed_at_any_moment_goes_on_as_if_nothing_happened(whole, first, then):
    file = recipe_file(steps=40)
    killed = start(file, "--name", "killed", "--quiet", *first)
    wait_for(killed, lambda: lines_of("killed") >= 11)
    killed.kill()
    assert killed.wait(60) == -signal.SIGKILL
    assert start(file, "--name", "killed", "--resume", "--quiet", *then).wait(120) == 0
    Path("runs/whole").symlink_to(whole)
    assert equal("whole", "killed")
    assert metrics("whole") == metrics("killed")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_to_the_whole_group_with_workers_saves_and_can_be_continued(whole, number, code):
    file = recipe_file(steps=40)
    process = start(file, "--name", "signalled", *STREAMING, stdout=-1, stderr=-1)
    wait_for(process, lambda: lines_of("signalled") >= 7)
    os.killpg(process.pid, number)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (code, "")
    assert state("signalled") == "stopped"
    newest = checkpoint.read(checkpoint.found(Path("runs/signalled/checkpoints"))[0])
    assert 7 <= newest.about["step"] == lines_of("signalled") < 40
    (again,) = [line for line in out.splitlines() if line.startswith("continue")]
    assert start(*shlex.split(again)[3:], "--quiet").wait(120) == 0
    Path("runs/whole").symlink_to(whole)
    assert equal("whole", "signalled")
    assert metrics("whole") == metrics("signalled")


def slow_recipe(seconds, steps=3):
    Path("slow.py").write_text(SLOW.replace("SECONDS", str(seconds)))
    text = Path(recipe_file(steps=steps)).read_text()
    Path("tiny.toml").write_text(text.replace("seasons/landscapes", "slow/slow"))
    return "tiny.toml"


def test_a_signal_while_images_are_read_stops_at_once_and_the_printed_command_goes_on():
    process = start(slow_recipe(0.5), "--plugin", "slow.py", stdout=-1, stderr=-1)
    wait_for(process, Path("runs/tiny/recipe.toml").exists)
    time.sleep(0.3)
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (143, "")
    assert state("tiny") == "stopped"
    assert "\nmodel " not in out
    (again,) = [line for line in out.splitlines() if line.startswith("continue")]
    assert "--plugin slow.py" in again
    slow_recipe(0)
    finished = start(*shlex.split(again)[3:], stdout=-1)
    out, _ = finished.communicate(timeout=60)
    assert finished.returncode == 0
    assert state("tiny") == "done"
    assert "imgtrans translate runs/tiny --plugin slow.py PICTURES" in out
    (use,) = [line for line in out.splitlines() if "load_model(" in line]
    assert "load_model('runs/tiny', plugins=['slow.py'])" in use
    code = use.partition("python")[2].strip().removesuffix("(image)") + ".directions"
    assert subprocess.run([sys.executable, "-c", code], timeout=60, check=False).returncode == 0


def test_a_second_signal_stops_at_once_with_the_first_ones_code():
    process = start(slow_recipe(0, 100_000), "--plugin", "slow.py", "--quiet")
    wait_for(process, lambda: lines_of("tiny") >= 2)
    process.send_signal(signal.SIGTERM)
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 143
    assert state("tiny") == "stopped"


def test_a_second_process_on_one_folder_is_refused_and_told_who_holds_it():
    process = start(recipe_file(steps=100_000), "--quiet")
    wait_for(process, lambda: lines_of("tiny") >= 1)
    second = start("--resume", "runs/tiny", stderr=-1)
    _, err = second.communicate(timeout=60)
    assert second.returncode == 75
    assert f"in use by process {process.pid} on " in err
    process.terminate()
    assert process.wait(60) == 143


def test_a_reader_that_goes_away_does_not_end_the_training():
    process = start(recipe_file(steps=5), stdout=-1, stderr=-1)
    process.stdout.close()
    assert process.wait(60) == 0
    assert process.stderr.read() == ""
    process.stderr.close()
    assert state("tiny") == "done"


def test_ctrl_c_while_a_plugin_is_imported_ends_the_run_there():
    Path("plugin.py").write_text(
        "import os, signal\n"
        "try:\n"
        "    os.kill(os.getpid(), signal.SIGINT)\n"
        "    for _ in range(10**8): pass\n"
        "except BaseException: pass  # as what a plugin imports may do\n"
        "print('went on')\n"
    )
    process = start("no-such-recipe", "--plugin", "plugin.py", stdout=-1, stderr=-1)
    assert (*process.communicate(), process.returncode) == ("", "stopped\n", 130)


def test_ctrl_c_while_a_program_is_imported_ends_it_there(monkeypatch):
    program = (
        "import os, signal\n"
        "from imgtrans.launching import interrupted_at_once\n"
        "with interrupted_at_once():\n"
        "    try:\n"
        "        os.kill(os.getpid(), signal.SIGINT)\n"
        "        for _ in range(10**8): pass\n"
        "    except BaseException: pass  # as what is imported may do\n"
        "print('went on')\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program], check=False, capture_output=True, text=True
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (130, "", "stopped\n")
