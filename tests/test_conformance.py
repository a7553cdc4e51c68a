"""The kit for plugin authors: the reference passes, and every check catches what it is for."""

import importlib
import random
import subprocess
import sys
from functools import cache

import pytest
import torch
from imgtrans_cyclegan import (
    Convolutional,
    CycleConsistency,
    LeastSquares,
    Patch,
    Residual,
    ResNet,
    UNet,
)
from imgtrans_metrics import weights
from torchvision.models import Inception3, squeezenet1_1
from unusual_components import UNUSUAL
from wrong_components import WRONG
from wrong_components.metrics import changed

from imgtrans.components import KINDS
from imgtrans.plugins import registry
from imgtrans.testing import (
    CheckError,
    checks_of,
    every,
    example,
    parametrize_with_checks,
    run_imgtrans,
    tiny_recipe,
    toy_images,
    translated_of,
    translation_of,
)

LAZY = """
from imgtrans import Field, ResidualBlock, hookimpl
{}
class Nothing(ResidualBlock):
    '''Nothing.'''
    def build(self, channels):
        from torch import nn
        return nn.Identity()
@hookimpl
def imgtrans_residual_blocks():
    return {{"nothing": Nothing}}
"""


@parametrize_with_checks(
    "imgtrans_cyclegan",
    examples=[ResNet(width=8, blocks=2), UNet(width=4, depth=5), Patch(width=8)],
)
def test_cyclegan(component, check):
    check(component)


@parametrize_with_checks("imgtrans_seasons")
def test_seasons(component, check):
    check(component)


@cache
def stands_in_for(published):
    """Weights as of a file that nobody can install: of the same shapes, from chance."""
    if "inception" in published:
        return Inception3(num_classes=1008, aux_logits=False, init_weights=False).state_dict()
    return squeezenet1_1().state_dict()


@parametrize_with_checks("imgtrans_metrics")
def test_metrics(component, check, monkeypatch):
    read = weights.read
    monkeypatch.setattr(weights, "of_user", lambda given, names, what: names[0])
    monkeypatch.setattr(
        weights,
        "read",
        lambda file, sha256: stands_in_for(file) if isinstance(file, str) else read(file, sha256),
    )
    check(component)


@pytest.mark.parametrize("case", WRONG)
def test_a_check_catches_what_is_wrong_and_says_what_to_change(case):
    component, words = WRONG[case]
    (check,) = [c for c in checks_of(component) if c.__name__ == case.partition(",")[0]]
    with pytest.raises(CheckError) as caught:
        check(component)
    assert words in str(caught.value)


def test_every_check_has_a_wrong_component():
    checks = {check.__name__ for kind in KINDS.values() for check in checks_of(kind)}
    caught = {case.partition(",")[0] for case in WRONG} | {"imports_quickly_and_without_torch"}
    assert checks == caught


@pytest.mark.parametrize("what", UNUSUAL)
def test_what_is_unusual_and_right_passes(what):
    for check in checks_of(UNUSUAL[what]):
        # Made in a function, in modules that import torch, which their own tests may.
        if check.__name__ not in ("pickles", "imports_quickly_and_without_torch"):
            check(UNUSUAL[what])


def test_checks_leave_a_tests_own_random_numbers_alone():
    before = random.getstate(), torch.get_rng_state().tolist()
    for what in ("sometimes", "of some", "quantised"):
        for check in checks_of(UNUSUAL[what])[-3:]:
            check(UNUSUAL[what])
    after = random.getstate(), torch.get_rng_state().tolist()
    assert before == after


@pytest.fixture
def plugin(tmp_path, monkeypatch):
    """Write a plugin's modules, and get the cases of its test: component, check and its name."""
    monkeypatch.syspath_prepend(tmp_path)

    def write(examples=(), **sources):
        for name, source in sources.items():
            (tmp_path / f"{name}.py").write_text(source)
        mark = parametrize_with_checks(next(iter(sources)), examples=examples)
        return [(*case.values, case.id) for case in mark.args[1]]

    return write


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("import torch", r"slow_12.py, line 3\): import torch, and what needs it, inside `build`"),
        ("try: import torch\nexcept ImportError: pass", "inside `build`"),
        ("import time; time.sleep(0.4)", "import what is slow"),
        ("import sys; assert 'pytest' in sys.modules", "in a fresh process: AssertionError"),
        ("import sys; 'pytest' in sys.modules or sys.exit()", "it ends Python"),
    ],
)
def test_a_module_that_imports_what_is_slow_is_caught(plugin, line, words, monkeypatch):
    monkeypatch.setattr(every, "SECONDS", 0.3)
    component, check, name = plugin(**{f"slow_{len(line)}": LAZY.format(line)})[0]
    assert name == "residual_block/nothing-imports_quickly_and_without_torch"
    with pytest.raises(CheckError, match=words):
        check(component)


def test_the_module_with_the_hooks_is_imported_too_and_not_only_that_of_the_class(plugin):
    hooks = (
        "import torch\nimport quick_part\nfrom imgtrans import hookimpl\n"
        "imgtrans_residual_blocks = quick_part.imgtrans_residual_blocks"
    )
    component, check, _ = plugin(hooks_that_import_torch=hooks, quick_part=LAZY.format(""))[0]
    with pytest.raises(CheckError, match="importing hooks_that_import_torch imports torch"):
        check(component)


def test_one_slow_import_is_forgiven(monkeypatch):
    seconds = iter((1.4, 0.2))
    monkeypatch.setattr(every, "_import_seconds", lambda module: next(seconds))
    every.imports_quickly_and_without_torch(LeastSquares)


NEEDY = """
from imgtrans import Dataset, Field, Images, hookimpl
class Scans(Dataset):
    '''Scans of two machines.'''
    first: str = Field(description="folder of x")
    second: str = Field(description="folder of y")
    def build(self, split, domains):
        from wrong_components.datasets import List, grey
        return {"here": Images(List(grey), List(grey))}[self.first]
@hookimpl
def imgtrans_datasets():
    return {"scans": Scans}
"""


def test_a_test_may_give_an_example_of_a_component(plugin):
    for component, check, name in plugin(needy=NEEDY):
        if name.endswith("reads_the_same_again"):
            with pytest.raises(CheckError, match="give first, second a default"):
                check(component)
            scans = component(first="here", second="there")
    for component, check, name in plugin([scans], needy=NEEDY):
        if name.endswith(("reads_the_same_again", "survives_a_recipe")):
            check(component)
    with pytest.raises(CheckError):  # only where it was given
        example(component)


def test_examples_that_serve_no_component_are_errors(plugin):
    plugin(lonely=LAZY.format(""))
    with pytest.raises(TypeError, match=r"lonely does not offer LeastSquares \(it offers Nothing"):
        parametrize_with_checks("lonely", examples=[LeastSquares()])
    with pytest.raises(TypeError, match=r"must be components, such as Dicom\(root=…\), not <class"):
        parametrize_with_checks("imgtrans_cyclegan", examples=[LeastSquares])
    with pytest.raises(TypeError, match="there are two of LeastSquares"):
        parametrize_with_checks("imgtrans_cyclegan", examples=[LeastSquares(), LeastSquares()])


def test_one_line_tests_a_plugin_that_is_not_installed(tmp_path):
    (tmp_path / "lazy_plugin.py").write_text(LAZY.format(""))
    (tmp_path / "test_lazy.py").write_text(
        "from imgtrans.testing import parametrize_with_checks\n\n"
        '@parametrize_with_checks("lazy_plugin")\n'
        "def test_component(component, check):\n    check(component)\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", "not exports"],
        cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert "13 passed, 1 deselected" in done.stdout, done.stdout


def test_a_plugin_without_a_component_is_told_when_tests_are_collected(plugin):
    with pytest.raises(TypeError, match="offers no component, so there is nothing to check"):
        plugin(empty_plugin=LAZY.format("").replace('{"nothing": Nothing}', "{}"))


def test_a_misspelt_hook_is_told_when_tests_are_collected(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    source = LAZY.format("").replace("imgtrans_residual_blocks", "imgtrans_residual_block")
    (tmp_path / "misspelt_plugin.py").write_text(source)
    with pytest.raises(TypeError, match='did you mean "imgtrans_residual_blocks"'):
        parametrize_with_checks("misspelt_plugin")


def test_a_loss_is_called_on_given_images():
    images = toy_images()
    translation = translation_of(source=images, reconstructed=images - 0.25)
    assert CycleConsistency().build()(translation).item() == pytest.approx(0.25)


def test_what_is_not_given_is_made_by_small_networks():
    translation = translation_of()
    assert LeastSquares().build().generators(translation).requires_grad
    assert torch.equal(translation_of().fake, translation.fake)
    with pytest.raises(TypeError, match="no image called 'fakes'"):
        translation_of(fakes=toy_images())


@pytest.mark.parametrize("given", ["source", "target", "fake"])
def test_images_that_are_not_given_are_others_of_the_same_shape(given):
    images = toy_images(1, (8, 12), 1).double()
    translation = translation_of(**{given: images})
    others = {translation.source, translation.target, translation.reconstructed} - {images}
    assert all(other.shape == images.shape and other.dtype == images.dtype for other in others)
    assert not torch.equal(translation.source, translation.target)
    assert LeastSquares().build().discriminators(translation).isfinite()


def test_a_metric_is_called_on_given_images():
    images = toy_images(3, (8, 12), 1)
    translated = translated_of(source=images, fake=images + 0.25, reconstructed=images - 0.5)
    assert changed(translated).tolist() == pytest.approx([0.25] * 3)
    assert torch.equal(translated.reconstructed, images - 0.5)
    assert translated.truth.shape == images.shape
    assert not torch.equal(translated.truth, images)


def test_what_a_metric_is_not_given_is_made_without_gradients():
    images = toy_images(1, (8, 12), 1)
    translated = translated_of(truth=images)
    made = (translated.source, translated.fake, translated.reconstructed)
    assert all(image.shape == images.shape and not image.requires_grad for image in made)
    assert not torch.equal(translated.source, translated.fake)
    with pytest.raises(TypeError, match="no image called 'target'"):
        translated_of(target=images)


def test_torch_is_hidden_from_a_judge_and_comes_back():
    component, _ = WRONG["says_which_it_is, torch"]
    with pytest.raises(CheckError, match="import of torch halted"):
        checks_of(component)[len(every.CHECKS)](component)
    assert importlib.import_module("torch.nn") is torch.nn


def test_a_tiny_recipe_takes_a_component_of_any_kind():
    deep = UNUSUAL["many pixels"]()
    assert tiny_recipe(residual_block=Residual(norm="none")).generator.residual_block.norm == "none"
    assert tiny_recipe(generator=deep).dataset.image_size == 96
    assert tiny_recipe(discriminator=Convolutional(width=3)).discriminator.width == 3
    assert list(tiny_recipe(loss={"mine": LeastSquares()}).loss) == ["adversarial", "cycle", "mine"]
    assert tiny_recipe(loss={"cycle": LeastSquares()}).loss["cycle"] == LeastSquares()
    assert tiny_recipe(metric={"mine": UNUSUAL["as a field says"]()}).metric["mine"].to == "truth"
    with pytest.raises(TypeError, match="give the residual block to your generator"):
        tiny_recipe(generator=deep, residual_block=Residual())


def test_a_tiny_recipe_trains_on_the_command_line(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    recipe = tiny_recipe(train={"steps": 1})
    done = run_imgtrans("run", recipe, "--device", "cpu", "--quiet")
    assert (done.exit_code, done.stderr) == (0, "")
    assert (tmp_path / "runs" / "tiny" / "model.safetensors").is_file()


def test_the_command_line_tells_mistakes_and_hides_no_fault(tmp_path, monkeypatch):
    done = run_imgtrans("validate", tiny_recipe(), "--set", "generator.width=0")
    assert (done.exit_code, done.stdout) == (2, "")
    assert "[generator] width = 0" in done.stderr
    known = registry()
    monkeypatch.setattr(known, "plugins", {**known.plugins})  # other tests list them
    monkeypatch.setattr(known, "files", [*known.files])
    (tmp_path / "given_as_a_file.py").write_text(LAZY.format(""))
    words = ("--plugin", tmp_path / "given_as_a_file.py", "--match", "given*")
    assert "given_as_a_file/nothing" in run_imgtrans("list-components", *words).stdout
    monkeypatch.setattr("imgtrans.cli.finding.print_components", lambda rows, broken: 1 // 0)
    with pytest.raises(ZeroDivisionError):
        run_imgtrans("list-components")
