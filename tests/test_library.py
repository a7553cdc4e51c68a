"""imgtrans from Python: recipes made of objects, runs, models, one's own classes, types."""

import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch
from imgtrans_cyclegan import CycleConsistency
from toys import tiny_recipe

from imgtrans import RecipeError, ResidualBlock, Run, load_recipe, run, stepping, testing
from imgtrans.monitor.clock import Stop
from imgtrans.recipe import to_toml

ROOT = Path(__file__).parent.parent
EXAMPLE = ROOT / "docs/examples/from_python.py"


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def python(*arguments):
    return subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, timeout=240, check=False
    )


def test_a_recipe_of_objects_trains_and_gives_its_folder_figures_and_model():
    metric = {"cycle": "metrics/cycle-error"}
    done = run(tiny_recipe(train={"steps": 2}, metric=metric), quiet=True)
    assert done == Run(Path("runs/tiny"))
    assert done.figures["metrics"]["cycle"]["scores"]["summer_to_winter"]["translated"]
    assert done.model().directions == ("summer_to_winter", "winter_to_summer")


def test_objects_and_toml_are_equal_in_standing():
    recipe = tiny_recipe()
    Path("tiny.toml").write_text(to_toml(recipe))
    assert load_recipe("tiny.toml") == load_recipe(Path("tiny.toml")) == recipe


def test_a_run_goes_on_from_python_by_its_recipe_or_its_folder():
    run(tiny_recipe(train={"steps": 2}), quiet=True)
    longer = tiny_recipe(train={"steps": 3})
    assert run(longer, resume="runs/tiny", quiet=True).folder == Path("runs/tiny")
    assert run(resume=Path("runs/tiny"), quiet=True).folder == Path("runs/tiny")
    assert Path("runs/tiny/metrics.jsonl").read_text().count("\n") == 3
    assert run(tiny_recipe(train={"steps": 2}), resume=True, quiet=True) == Run(Path("runs/tiny-2"))


def test_without_a_recipe_and_a_run_there_is_nothing_to_do():
    with pytest.raises(TypeError, match="run needs a recipe"):
        run()
    with pytest.raises(TypeError, match="which load_recipe makes of a file or name"):
        run("quickstart")
    with pytest.raises(RecipeError, match="nowhere is no run folder"):
        run(resume="nowhere")


@pytest.mark.parametrize(
    ("number", "raised"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, SystemExit)]
)
def test_a_stopped_run_raises_after_saving_and_goes_on(monkeypatch, number, raised):
    real = stepping.train_step

    def interrupted(trainer, x, y):
        if trainer.step == 1:
            signal.raise_signal(number)
        return real(trainer, x, y)

    monkeypatch.setattr("imgtrans.stepping.train_step", interrupted)
    with pytest.raises(raised) as caught:
        run(tiny_recipe(train={"steps": 4}), quiet=True)
    assert raised is KeyboardInterrupt or caught.value.code == 143
    assert run(tiny_recipe(train={"steps": 4}), resume=True, quiet=True) == Run(Path("runs/tiny"))


def block(shift):
    """A class of one name, as a notebook's cell makes it each time it runs."""

    class Shifted(ResidualBlock):
        """Adds a number."""

        def build(self, channels):
            class Add(torch.nn.Conv2d):
                def forward(self, images):
                    return images + 0 * super().forward(images) + shift

            return Add(channels, channels, 1)

    return Shifted()


def test_a_runs_model_has_the_class_that_was_trained_though_it_was_defined_again():
    trained = run(testing.tiny_recipe(residual_block=block(1.0), train={"steps": 1}), quiet=True)
    images = torch.zeros(1, 3, 32, 32)
    before = trained.model().translate(images)
    testing.tiny_recipe(residual_block=block(50.0))
    assert torch.equal(trained.model().translate(images), before)
    both = testing.tiny_recipe(residual_block=block(1.0), fallback=None).model_copy(
        update={"loss": {"a": softer(1), "b": softer(2)}}
    )
    with pytest.raises(RecipeError, match="holds two classes called local:"):
        run(both)


def softer(number):
    class Softer(CycleConsistency):
        """Less of it."""

    return Softer(weight=number)


def test_a_run_may_be_made_in_a_thread():
    done = []
    thread = threading.Thread(
        target=lambda: done.append(run(tiny_recipe(train={"steps": 1}), quiet=True))
    )
    thread.start()
    thread.join()
    assert done == [Run(Path("runs/tiny"))]
    with Stop().listening():  # the main thread's signals are as they were
        pass


def test_the_example_trains_and_its_model_is_loaded_by_another_program():
    done = python(EXAMPLE)
    assert done.returncode == 0, done.stderr
    assert "(1, 3, 64, 64) from " in done.stdout
    assert "load_model('runs/from_python', components=[Scaled])" in done.stdout
    assert "imgtrans.run(recipe, resume='runs/from_python')  in the program that" in done.stdout
    load = "from imgtrans import load_model; load_model('runs/from_python', components=[{}])"
    given = f"import sys; sys.path.insert(0, {str(EXAMPLE.parent)!r}); import from_python as f; "
    assert python("-c", given + load.format("f.Scaled")).returncode == 0
    forgotten = python("-c", load.format("")).stderr
    assert '"local:__main__.Scaled" is a class of the program that trained it' in forgotten


def test_a_type_checker_knows_everything_in_the_example(tmp_path):
    cache = f"--cache-dir={tmp_path}"
    checked = python("-m", "mypy", "--strict", cache, str(EXAMPLE))
    assert checked.returncode == 0, checked.stdout
    wrong = EXAMPLE.read_text().replace("Scaled(scale=0.5)", 'Scaled(scale="half")')
    wrong = wrong.replace("return run(recipe)", "return run(recipe, 1)")
    (tmp_path / "wrong.py").write_text(wrong)
    answer = python("-m", "mypy", "--strict", cache, "wrong.py").stdout
    assert 'Argument "scale" to "Scaled" has incompatible type "str"; expected "float"' in answer
    assert 'Too many positional arguments for "run"' in answer
