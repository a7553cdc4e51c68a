"""Whole runs: what they leave, how they stop, and that going on equals never stopping."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from toys import tiny_recipe

from imgtrans import ImgtransError, RecipeError, checkpoint, load_model
from imgtrans.monitor.display import Display
from imgtrans.monitor.folder import RunFolder
from imgtrans.recipe import to_toml
from imgtrans.running import run

TIMED = ("seconds", "images_per_second", "data_wait", "memory_mib")


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("IMGTRANS_DATA", raising=False)


def quiet_run(recipe, **options):
    return run(recipe, Display(quiet=True), **options)


def short(**settings):
    return tiny_recipe(train={"checkpoint_every": 2, "sample_every": 4, **settings})


def metrics(folder):
    lines = map(json.loads, (Path(folder) / "metrics.jsonl").read_text().splitlines())
    return [{key: line[key] for key in line if key not in TIMED} for line in lines]


def final(folder):
    return checkpoint.read(checkpoint.found(Path(folder) / "checkpoints")[0])


def equal(one, other):
    tensors, others = final(one).tensors, final(other).tensors
    return tensors.keys() == others.keys() and all(
        torch.equal(tensors[name], others[name]) for name in tensors
    )


def test_a_run_leaves_all_that_it_promises():
    assert quiet_run(short()) == 0
    folder = Path("runs/tiny")
    assert [line["step"] for line in metrics(folder)] == list(range(1, 9))
    assert {path.name for path in folder.iterdir() if not path.name.startswith(".")} == {
        "recipe.toml", "environment.json", "status.json", "metrics.jsonl", "figures.json",
        "samples", "checkpoints", "model.safetensors", "report.html",
    }  # fmt: skip
    assert (folder / "samples/step-00000004-summer-to-winter.png").is_file()
    assert len(checkpoint.found(folder / "checkpoints")) == 3
    assert json.loads((folder / "status.json").read_text())["state"] == "done"


def test_losses_are_logged_for_each_direction():
    quiet_run(short(steps=1))
    assert set(metrics("runs/tiny")[0]["losses"]) == {
        f"{loss}/{direction}"
        for loss in ("adversarial", "adversarial.discriminators", "cycle")
        for direction in ("summer_to_winter", "winter_to_summer")
    }


def test_every_run_gets_a_folder_of_its_own():
    for _ in range(2):
        quiet_run(short(steps=1))
    assert Path("runs/tiny/status.json").exists()
    assert Path("runs/tiny-2/status.json").exists()


def test_two_runs_of_one_recipe_are_equal():
    for _ in range(2):
        quiet_run(short())
    assert equal("runs/tiny", "runs/tiny-2")
    assert metrics("runs/tiny") == metrics("runs/tiny-2")


def test_the_model_file_translates_by_itself():
    quiet_run(short(steps=2))
    model = load_model("runs/tiny/model.safetensors")
    assert model.directions == ("summer_to_winter", "winter_to_summer")
    images = torch.zeros(1, 3, 32, 40)
    assert model.translate(images, "winter_to_summer").shape == images.shape


def test_the_rate_falls_linearly_and_never_to_zero():
    quiet_run(short(decay_steps=3))
    rates = [line["learning_rate"]["generators"] / 2e-4 for line in metrics("runs/tiny")]
    assert rates == pytest.approx([1, 1, 1, 1, 1, 0.75, 0.5, 0.25])


class Interrupting(Display):
    """Sends this process a signal when a step is shown."""

    def __init__(self, step, number=signal.SIGINT):
        super().__init__(quiet=True)
        self.step, self.number = step, number

    def update(self, done, facts=str):
        if done == self.step and self._label == "step":
            os.kill(os.getpid(), self.number)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_finishes_the_step_saves_and_can_be_continued_exactly(number, code):
    assert quiet_run(short()) == 0
    assert run(short(), Interrupting(3, number)) == code
    assert final("runs/tiny-2").about["step"] == 3
    assert quiet_run(short(), resume=True) == 0
    assert equal("runs/tiny", "runs/tiny-2")
    assert metrics("runs/tiny") == metrics("runs/tiny-2")


def command(*arguments):
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, "-m", "imgtrans", "run", *arguments, "--quiet"], env=environment
    )


@pytest.mark.parametrize("workers", [0, 2])
def test_a_run_killed_at_any_moment_goes_on_as_if_nothing_happened(workers):
    Path("tiny.toml").write_text(to_toml(short(steps=40, checkpoint_every=3)))
    whole = command("tiny.toml", "--name", "whole")
    assert whole.wait(120) == 0
    killed = command("tiny.toml", "--name", "killed")
    log = Path("runs/killed/metrics.jsonl")
    while killed.poll() is None and (not log.exists() or log.read_text().count("\n") < 11):
        time.sleep(0.005)
    killed.kill()
    assert killed.wait(60) == -signal.SIGKILL
    options = ("--set", f"train.workers={workers}", "--set", "train.cache=none")
    assert command("tiny.toml", "--name", "killed", "--resume", *options).wait(120) == 0
    assert equal("runs/whole", "runs/killed")
    assert metrics("runs/whole") == metrics("runs/killed")


def test_resume_without_an_unfinished_run_starts_one():
    assert quiet_run(short(steps=1), resume=True) == 0
    assert Path("runs/tiny/status.json").exists()


def test_a_finished_run_has_nothing_to_do(capsys):
    quiet_run(short(steps=1))
    assert run(None, Display(), resume=Path("runs/tiny")) == 0
    assert "nothing to do" in capsys.readouterr().out


def test_a_finished_run_can_be_trained_longer():
    quiet_run(short(steps=2))
    quiet_run(None, resume=Path("tiny"), overrides=["train.steps=4"])
    quiet_run(short(steps=4))
    assert equal("runs/tiny", "runs/tiny-2")


def test_a_change_that_would_be_wrong_is_refused_and_shown():
    quiet_run(short(steps=1))
    with pytest.raises(RecipeError, match=r"\[train\] batch_size = 2 -> 3"):
        quiet_run(None, resume=Path("runs/tiny"), overrides=["train.batch_size=3"])


def test_a_change_that_may_be_is_shown_and_taken_over(capsys):
    quiet_run(short(steps=1))
    overrides = ["train.steps=2", "train.generators.learning_rate=1e-5"]
    run(None, Display(), resume=Path("runs/tiny"), overrides=overrides)
    assert "[train.generators] learning_rate = 0.0002 -> 1e-05" in capsys.readouterr().out
    assert metrics("runs/tiny")[1]["learning_rate"]["generators"] == 1e-5


def test_a_folder_in_use_is_refused_and_its_holder_named():
    quiet_run(short(steps=1))
    with RunFolder(Path("runs/tiny")) as held:
        held.status(state="running")
        with pytest.raises(ImgtransError, match=rf"in use by process {os.getpid()}") as caught:
            quiet_run(None, resume=Path("runs/tiny"), overrides=["train.steps=2"])
    assert caught.value.exit_code == 75


def test_no_run_folder_names_the_runs_there_are():
    quiet_run(short(steps=1))
    with pytest.raises(ImgtransError, match="runs here: tiny"):
        quiet_run(None, resume=Path("nowhere"))


def test_a_loss_that_is_not_finite_stops_the_run_and_keeps_the_last_checkpoint():
    quiet_run(short(steps=2))
    overrides = ["train.generators.learning_rate=1e30", "train.steps=9"]
    with pytest.raises(ImgtransError, match=r"(?s)step 4: .* = nan; .* lower the learning rates"):
        quiet_run(None, resume=Path("runs/tiny"), overrides=overrides)
    status = json.loads(Path("runs/tiny/status.json").read_text())
    assert (status["state"], status["step"]) == ("failed", 3)
    assert final("runs/tiny").about["step"] == 2


def test_a_save_that_fails_is_loud_and_tried_again(monkeypatch, capsys):
    write, failures = checkpoint.write, iter([True])

    def once_full(*arguments):
        if next(failures, False):
            raise OSError(28, "No space left on device")
        return write(*arguments)

    monkeypatch.setattr(checkpoint, "write", once_full)
    assert quiet_run(short()) == 0
    assert "No space left on device" in capsys.readouterr().err
    assert final("runs/tiny").about["step"] == 8


def test_saves_that_go_on_failing_end_the_run(monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint, "write", full)
    with pytest.raises(ImgtransError, match="the checkpoint of step 4 could not be written"):
        quiet_run(short())


def test_a_device_that_is_not_there_is_an_error_that_lists_those_that_are():
    with pytest.raises(RecipeError, match=r"--device cuda:7: .*here: cpu"):
        quiet_run(short(), device="cuda:7")
