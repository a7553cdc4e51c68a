"""The kit for plugin authors: the reference passes, and every check catches what it is for."""

import subprocess
import sys

import pytest
import torch
from imgtrans_cyclegan import CycleConsistency, LeastSquares
from wrong_components import WRONG

from imgtrans.components import KINDS
from imgtrans.testing import (
    CheckError,
    checks_of,
    parametrize_with_checks,
    toy_images,
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


@parametrize_with_checks("imgtrans_cyclegan")
def test_cyclegan(component, check):
    check(component)


@parametrize_with_checks("imgtrans_seasons")
def test_seasons(component, check):
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


@pytest.mark.parametrize(
    ("line", "words"),
    [("import torch", "inside `build`"), ("import time; time.sleep(1.1)", "import what is slow")],
)
def test_a_module_that_imports_what_is_slow_is_caught(tmp_path, monkeypatch, line, words):
    monkeypatch.syspath_prepend(tmp_path)
    name = f"slow_{len(line)}"
    (tmp_path / f"{name}.py").write_text(LAZY.format(line))
    mark = parametrize_with_checks(name)
    component, check = mark.args[1][0].values
    assert check.__name__ == "imports_quickly_and_without_torch"
    with pytest.raises(CheckError, match=words):
        check(component)


def test_one_line_tests_a_plugin_that_is_not_installed(tmp_path):
    (tmp_path / "lazy_plugin.py").write_text(LAZY.format(""))
    (tmp_path / "test_lazy.py").write_text(
        "from imgtrans.testing import parametrize_with_checks\n\n"
        '@parametrize_with_checks("lazy_plugin")\n'
        "def test_component(component, check):\n    check(component)\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"],
        cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert "8 passed" in done.stdout, done.stdout


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
