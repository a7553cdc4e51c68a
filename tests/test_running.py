"""Whole runs: what they leave, how they stop, and that going on equals never stopping."""

import json
import os
import re
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from imgtrans_cyclegan import CycleConsistency, LeastSquares, UnpairedFolders
from imgtrans_metrics import CycleError
from imgtrans_seasons import TEST_SCENES_FROM, Scenes
from PIL import Image
from toys import CPU, tiny_recipe, trainer_of

from imgtrans import ImgtransError, RecipeError, checkpoint, journal, load_model
from imgtrans.data import open_training, to_range
from imgtrans.monitor import crash
from imgtrans.monitor.display import Display
from imgtrans.monitor.folder import RunFolder
from imgtrans.opening import find_data
from imgtrans.outcome import NonFiniteError
from imgtrans.plugins import registry
from imgtrans.recipe import to_toml
from imgtrans.resuming import open_resumed
from imgtrans.running import run
from imgtrans.training import train_step

TIMED = ("seconds", "images_per_second", "data_wait", "memory_mib")


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("IMGTRANS_DATA", raising=False)


def quiet_run(recipe, **options):
    return run(recipe, Display(quiet=True), **options).exit_code


def short(**changes):
    fields = {key: changes.pop(key) for key in ("name", "loss", "dataset") if key in changes}
    return tiny_recipe(train={"checkpoint_every": 2, "sample_every": 4, **changes}, **fields)


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


def test_a_run_is_done_only_when_its_report_is(monkeypatch):
    states, write = [], journal.write_report

    def noted(folder, **options):
        states.append(json.loads((folder / "status.json").read_text()).get("state"))
        return write(folder, **options)

    monkeypatch.setattr(journal, "write_report", noted)
    assert quiet_run(short()) == 0
    assert "done" not in states
    assert 'class="state done"' in Path("runs/tiny/report.html").read_text()


def test_what_changed_in_recipe_toml_since_the_newest_checkpoint_is_told(capsys):
    assert quiet_run(short(steps=4)) == 0
    recipe = Path("runs/tiny/recipe.toml")
    changed = recipe.read_text().replace("learning_rate = 0.0002", "learning_rate = 0.0003", 1)
    recipe.write_text(changed.replace("steps = 4\n", "steps = 6\n", 1))
    resumed = quiet_run(None, resume=Path("runs/tiny"), overrides=["train.steps=5"])
    assert resumed == 0
    told = " ".join(capsys.readouterr().err.split())
    assert "recipe.toml is not that of the newest checkpoint, and is followed" in told
    assert "learning_rate = 0.0002 -> 0.0003" in told
    assert "steps" not in told


def test_a_run_leaves_all_that_it_promises():
    assert quiet_run(short()) == 0
    folder = Path("runs/tiny")
    assert [line["step"] for line in metrics(folder)] == list(range(1, 9))
    assert {path.name for path in folder.iterdir() if not path.name.startswith(".")} == {
        "recipe.toml", "environment.json", "status.json", "metrics.jsonl",
        "samples", "checkpoints", "model.safetensors", "report.html",
    }  # fmt: skip
    assert (folder / "samples/step-00000004-summer-to-winter.png").is_file()
    assert len(checkpoint.found(folder / "checkpoints")) == 4  # three, and the final one
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
    assert run(short(), Interrupting(3, number)).exit_code == code
    assert final("runs/tiny-2").about["step"] == 3
    assert quiet_run(short(), resume=True) == 0
    assert equal("runs/tiny", "runs/tiny-2")
    assert metrics("runs/tiny") == metrics("runs/tiny-2")


def test_resume_without_an_unfinished_run_starts_one():
    assert quiet_run(short(steps=1), resume=True) == 0
    assert Path("runs/tiny/status.json").exists()


def test_a_finished_run_has_nothing_to_do(capsys):
    quiet_run(short(steps=1))
    assert run(None, Display(), resume=Path("runs/tiny")).exit_code == 0
    assert "nothing to do" in capsys.readouterr().out


@pytest.mark.parametrize("missing", ["model.safetensors", "figures.json", "report.html"])
def test_a_run_killed_between_its_last_step_and_its_end_is_finished_by_resuming(missing):
    judged = short().model_copy(update={"metric": {"cycle": CycleError()}})
    quiet_run(judged)
    folder = Path("runs/tiny")
    (folder / missing).unlink()
    last = folder / "samples/step-00000008-summer-to-winter.png"
    picture = last.read_bytes()
    last.unlink()
    status = json.loads((folder / "status.json").read_text())
    (folder / "status.json").write_text(json.dumps(status | {"state": "running"}))
    assert quiet_run(judged, resume=True) == 0
    assert (folder / missing).is_file()
    assert len((folder / "scores.jsonl").read_text().splitlines()) == 1
    assert last.read_bytes() == picture
    assert json.loads((folder / "status.json").read_text())["state"] == "done"
    assert [line["step"] for line in metrics(folder)] == list(range(1, 9))


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


def test_what_a_killed_process_left_half_written_is_cleared_away():
    quiet_run(short(steps=2))
    left = [Path("runs/tiny", name) for name in (".status.json.7.tmp", "samples/.a.png.7.tmp")]
    for path in left:
        path.write_text("half")
    with RunFolder(Path("runs/tiny")):
        assert not any(path.exists() for path in left)
    assert Path("runs/tiny/status.json").exists()


def test_a_folder_in_use_is_refused_and_its_holder_named():
    quiet_run(short(steps=1))
    told = pytest.raises(ImgtransError, match=rf"in use by process {os.getpid()}")
    with RunFolder(Path("runs/tiny")), told as caught:
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
    crash = Path("runs/tiny/crash/step-00000004")
    report = json.loads((crash / "report.json").read_text())
    assert len(report["files"]["x"]) == len(report["files"]["y"]) == 2
    assert "nan" in report["figures"].values()
    assert all(f"{name}.png" in {path.name for path in crash.iterdir()} for name in "xy")
    assert str(crash) in status["message"]


def test_what_was_not_finite_first_is_found(tmp_path):
    recipe = tiny_recipe()
    trainer = trainer_of(recipe)
    data = find_data(recipe, Display(quiet=True), CPU)
    training = open_training(recipe, data.train, Display(quiet=True).counter)
    layer = dict(trainer.networks["generators.summer_to_winter"].named_modules())
    name, broken = next((n, m) for n, m in layer.items() if isinstance(m, torch.nn.Conv2d))
    broken.register_forward_hook(lambda module, images, made: made / 0)
    crash.leave(tmp_path, NonFiniteError("", 1), trainer, training)
    first = json.loads((tmp_path / "crash/step-00000001/report.json").read_text())["first"][0]
    assert first == f"the output of generators.summer_to_winter, {name} (Conv2d)"


def test_a_step_is_named_though_nothing_more_can_be_found_of_it(monkeypatch):
    def fail(*_):
        raise torch.OutOfMemoryError

    monkeypatch.setattr("imgtrans.failing.crash.leave", fail)
    overrides = {"generators": {"learning_rate": 1e30}, "steps": 9}
    with pytest.raises(NonFiniteError, match=r"(?s)step \d: .*no more is known of it"):
        quiet_run(short(**overrides))
    assert json.loads(Path("runs/tiny/status.json").read_text())["state"] == "failed"


def test_a_reader_of_images_that_dies_is_told_wherever_torch_says_so(monkeypatch):
    def die(*arguments):
        message = "DataLoader worker (pid 7) is killed by signal: Killed. "
        raise RuntimeError(message)

    monkeypatch.setattr("imgtrans.journal.memory_mib", die)  # torch says it from a signal handler
    with pytest.raises(ImgtransError, match=r"(?s)reads images is gone: .*lower train\.workers"):
        quiet_run(short())


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
    with pytest.raises(
        ImgtransError, match="the checkpoint of step 4 could not be written"
    ) as told:
        quiet_run(short())
    assert "imgtrans run --resume runs/tiny" in str(told.value)


def test_what_comes_after_a_checkpoint_may_fail_and_the_checkpoint_counts(monkeypatch, capsys):
    def full(*_):
        raise OSError(28, "No space left on device", "runs/tiny/checkpoints/old")

    monkeypatch.setattr(checkpoint, "prune", full)
    ended = run(short(), Display())
    assert ended.exit_code == 0
    assert "older checkpoints or status.json could not be changed" in capsys.readouterr().err


def test_a_full_disk_ends_the_run_in_words_and_names_the_command_that_goes_on(monkeypatch):
    def full(self, line):
        if line["step"] == 3:
            raise OSError(28, "No space left on device", "runs/tiny/metrics.jsonl")
        log(self, line)

    log = RunFolder.log
    with monkeypatch.context() as patch:
        patch.setattr(RunFolder, "log", full)
        with pytest.raises(ImgtransError) as caught:
            quiet_run(short())
    assert "No space left on device (runs/tiny/metrics.jsonl)" in str(caught.value)
    assert "continue with: imgtrans run --resume runs/tiny" in str(caught.value)
    assert json.loads(Path("runs/tiny/status.json").read_text())["state"] == "failed"
    assert quiet_run(short(), resume=True) == 0
    assert [line["step"] for line in metrics("runs/tiny")] == list(range(1, 9))


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9 GiB"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes."),
        MemoryError(),
    ],
    ids=lambda error: type(error).__name__,
)
def test_running_out_of_memory_is_told_with_what_to_do(monkeypatch, error):
    def too_much(*_):
        raise error

    monkeypatch.setattr("imgtrans.stepping.train_step", too_much)
    with pytest.raises(ImgtransError) as caught:
        quiet_run(short())
    text = str(caught.value)
    assert re.search(
        r"out of memory.*\n  a step needs about .*\n(.*\n)*.* train\.batch_size=1", text
    )
    assert "continue with: imgtrans run --resume runs/tiny" in text
    assert json.loads(Path("runs/tiny/status.json").read_text())["state"] == "failed"


def test_runs_that_is_a_file_is_an_error_that_names_it():
    Path("runs").write_text("")
    with pytest.raises(ImgtransError, match="/runs cannot be made: File exists"):
        quiet_run(short())


def falling_back():
    nowhere = UnpairedFolders(root="nowhere", image_size=32)
    dataset = tiny_recipe().dataset
    return short(steps=4).model_copy(update={"dataset": nowhere, "fallback": dataset})


def test_a_run_on_the_fallback_keeps_its_mark_however_often_it_is_continued(capsys):
    assert run(falling_back(), Interrupting(1)).exit_code == 130
    assert "TRAINING ON GENERATED ONES INSTEAD" in capsys.readouterr().err
    folder = Path("runs/tiny-generated")
    for step in (2, 3):
        assert run(falling_back(), Interrupting(step), resume=True).exit_code == 130
        assert json.loads((folder / "environment.json").read_text())["generated"] is True
    assert quiet_run(None, resume=folder) == 0
    assert load_model(folder).about["generated"] is True
    assert "generated" in (folder / "report.html").read_text()
    assert [path.name for path in Path("runs").iterdir()] == ["tiny-generated"]


def test_a_run_on_the_named_images_has_no_mark():
    quiet_run(short(steps=1))
    assert load_model("runs/tiny").about["generated"] is False


def test_held_out_images_that_are_broken_are_warned_of_and_kept_for_the_report(monkeypatch, capsys):
    read = Scenes.__getitem__

    def broken(self, index):
        if self.first == TEST_SCENES_FROM and index == 1:
            message = "the second scene is broken"
            raise ImgtransError(message)
        return read(self, index)

    monkeypatch.setattr(Scenes, "__getitem__", broken)
    dataset = tiny_recipe().dataset.model_copy(update={"broken_images": "skip"})
    judged = {"dataset": dataset, "metric": {"cycle": CycleError()}}
    assert quiet_run(short().model_copy(update=judged)) == 0
    assert "the second scene is broken" in capsys.readouterr().err
    figures = json.loads(Path("runs/tiny/figures.json").read_text())
    assert figures["images"] == {"summer": 2, "winter": 2}
    status = json.loads(Path("runs/tiny/status.json").read_text())
    assert status["left_out"] == ["the second scene is broken"]
    assert "the second scene is broken" in Path("runs/tiny/report.html").read_text()


def test_a_run_is_continued_on_the_images_it_began_with_and_no_others(monkeypatch):
    assert run(short(), Interrupting(3)).exit_code == 130
    monkeypatch.setattr(Scenes, "name", lambda self, index: f"another {index}")
    with pytest.raises(ImgtransError, match="the training images are not those"):
        quiet_run(None, resume=Path("runs/tiny"))
    Path("runs/tiny/environment.json").unlink()  # the checkpoint knows them too
    with pytest.raises(ImgtransError, match="the training images are not those"):
        quiet_run(None, resume=Path("runs/tiny"))


def test_a_recipe_edited_in_the_run_folder_is_told_by_the_checkpoint():
    assert run(short(), Interrupting(3)).exit_code == 130
    file = Path("runs/tiny/recipe.toml")
    file.write_text(file.read_text().replace("batch_size = 2", "batch_size = 1"))
    with pytest.raises(RecipeError, match=r"\[train\] batch_size = 2 -> 1"):
        quiet_run(None, resume=Path("runs/tiny"))


def test_fewer_steps_than_are_done_are_refused():
    quiet_run(short(steps=4))
    with pytest.raises(RecipeError, match=r"4 steps are done; \[train\] steps = 2 is fewer"):
        quiet_run(None, resume=Path("runs/tiny"), overrides=["train.steps=2"])


def test_a_run_whose_checkpoints_are_all_damaged_is_left_as_it_is():
    assert run(short(), Interrupting(5)).exit_code == 130
    before = metrics("runs/tiny")
    for path in checkpoint.found(Path("runs/tiny/checkpoints")):
        path.write_bytes(path.read_bytes()[:-5])
    for _ in range(2):
        with pytest.raises(ImgtransError, match=r"every checkpoint .* is damaged"):
            quiet_run(None, resume=Path("runs/tiny"))
    assert metrics("runs/tiny") == before


def test_a_log_that_was_deleted_is_warned_of(capsys):
    assert run(short(), Interrupting(3)).exit_code == 130
    Path("runs/tiny/metrics.jsonl").unlink()
    assert quiet_run(None, resume=Path("runs/tiny")) == 0
    assert "metrics.jsonl holds 0 of the 3 steps done" in capsys.readouterr().err


def test_the_run_of_a_recipe_with_a_like_name_is_not_continued():
    assert run(short(name="tiny-2"), Interrupting(3)).exit_code == 130
    assert quiet_run(short(), resume=True) == 0
    assert final("runs/tiny-2").about["step"] == 3
    assert final("runs/tiny").about["step"] == 8


def test_a_component_of_ones_own_program_trains_resumes_and_is_given_to_its_model():
    class Softer(CycleConsistency):
        """Half of it."""

    recipe = short(loss={"adversarial": LeastSquares(), "cycle": Softer(weight=5.0)})
    assert run(recipe, Interrupting(3)).exit_code == 130
    assert quiet_run(recipe, resume=True) == 0
    assert load_model("runs/tiny", components=[Softer]).directions == recipe.direction_names
    registry()._local._classes.clear()
    with pytest.raises(ImgtransError, match=r"components=\[…\]"):
        load_model("runs/tiny")


def test_a_change_of_the_images_is_not_taken_over_in_silence(capsys):
    nowhere = UnpairedFolders(root="other", image_size=32)
    own = tiny_recipe(dataset=UnpairedFolders(root="photos", image_size=32))
    quiet_run(short(steps=1))
    folder = RunFolder(Path("runs/tiny"))
    folder.write("recipe.toml", to_toml(own))
    open_resumed(folder, own.model_copy(update={"dataset": nowhere}), [], Display())
    assert (
        'the run keeps its own images, so this change is left out: [dataset] root = "photos"'
        in (capsys.readouterr().out)
    )


def test_another_environment_is_warned_of(capsys):
    assert run(short(), Interrupting(3)).exit_code == 130
    path = Path("runs/tiny/environment.json")
    path.write_text(json.dumps(json.loads(path.read_text()) | {"threads": 99}))
    assert quiet_run(None, resume=Path("runs/tiny")) == 0
    assert "threads was 99 before" in capsys.readouterr().err


def test_the_environment_tells_versions_networks_and_images():
    quiet_run(short(steps=1))
    environment = json.loads(Path("runs/tiny/environment.json").read_text())
    assert environment["torch"] == torch.__version__
    assert environment["plugins"] == dict.fromkeys(("cyclegan", "seasons"), "imgtrans 0.1.0")
    assert environment["networks"].keys() == {
        "generators.summer_to_winter", "generators.winter_to_summer",
        "discriminators.winter", "discriminators.summer",
    }  # fmt: skip
    assert environment["data"].startswith("summer 6 · winter 6 to train on; 3 · 3 held out")


def test_a_grid_shows_source_fake_and_reconstructed_side_by_side():
    quiet_run(short(steps=1))
    grid = Image.open("runs/tiny/samples/step-00000001-winter-to-summer.png")
    pixels = torch.from_numpy(np.array(grid)).permute(2, 0, 1).float() / 127.5 - 1
    cells = [pixels[:, 2:34, 2 + 34 * n : 34 + 34 * n] for n in range(3)]
    model, source = load_model("runs/tiny"), tiny_recipe().dataset.build("test", ("a", "b")).y[0]
    fake = model.translate(to_range(source[None]), "winter_to_summer")
    back = model.translate(fake, "summer_to_winter")
    for cell, expected in zip(cells, (to_range(source), fake[0], back[0]), strict=True):
        assert (cell - expected).abs().max() < 0.01


def test_the_report_is_rewritten_as_the_run_goes_on(monkeypatch):
    def look(trainer, x, y):
        if trainer.step == 5:
            pages.append(Path("runs/tiny/report.html").read_text())
        return train_step(trainer, x, y)

    pages = []
    monkeypatch.setattr("imgtrans.stepping.train_step", look)
    quiet_run(short())
    (page,) = pages
    assert "step 4 of 8" in page
    assert "cyclegan/encoder-decoder" in page  # the recipe
    assert 'type="range"' in page  # the slider over the samples


def test_a_device_that_is_not_there_is_an_error_that_lists_those_that_are():
    with pytest.raises(RecipeError, match=r"--device cuda:7: .*here: cpu"):
        quiet_run(short(), device="cuda:7")


def test_weights_that_are_not_finite_are_never_saved(monkeypatch):
    def poisoned(trainer, x, y):
        losses = train_step(trainer, x, y)
        if trainer.step == 4:
            network = trainer.networks["generators.summer_to_winter"]
            next(network.parameters()).data.fill_(float("nan"))
        return losses

    monkeypatch.setattr("imgtrans.stepping.train_step", poisoned)
    with pytest.raises(ImgtransError, match=r"step 4: .* holds values that are not finite"):
        quiet_run(short())
    assert final("runs/tiny").about["step"] == 2
