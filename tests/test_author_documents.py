"""What ``docs/plugins/`` tells authors is what the code does."""

import inspect
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from machine import Machine, in_folder
from safetensors.torch import save_file

import imgtrans
from imgtrans import hooks, testing
from imgtrans.components import KINDS, Component
from imgtrans.evaluation import Translated
from imgtrans.translation import Translation

PAGES = Path(__file__).parent.parent / "docs/plugins"
REFERENCE = (PAGES / "reference.md").read_text(encoding="utf-8")
BLOCK = re.compile(
    r"(?:<!-- file: (?P<file>\S+) -->\n)?```(?P<language>\w+)\n(?P<text>.*?)```", re.DOTALL
)


def script_of(page):
    """A page's commands and files, in their order, as one script."""
    lines = ["set -eux"]
    for block in BLOCK.finditer(page.read_text(encoding="utf-8")):
        file, language, text = block["file"], block["language"], block["text"]
        assert (file is None) == (language in ("sh", "text")), text
        if file is not None:
            lines.append(f"cat > {file} <<'END_OF_FILE'\n{text}END_OF_FILE")
        elif language == "sh":
            lines.append(text)
    return "\n".join(lines)


@pytest.fixture(scope="module")
def author(tmp_path_factory):
    """Where the tutorial has been followed, and what that printed."""
    machine = Machine(tmp_path_factory.mktemp("author"))
    script = script_of(PAGES / "tutorial.md")
    # Without network: what would be fetched is here.
    script = script.replace("-m build --wheel", "-m build --wheel --no-isolation")
    offline = {"PIP_NO_INDEX": "1", "PIP_NO_DEPS": "1", "PIP_NO_BUILD_ISOLATION": "0"}
    path = f"{machine.venv / 'bin'}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-c", script], cwd=machine.home, capture_output=True, text=True, check=False,
        timeout=280, env={**os.environ, **offline, "PATH": path},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return machine.home / "imgtrans-dilated", done.stdout


def test_the_tutorial_leads_from_nothing_to_a_wheel_and_a_trained_run(author):
    folder, printed = author
    assert re.search(r"dilated/dilated +Two 3×3 convolutions .* imgtrans-dilated 0\.1\.0", printed)
    assert "residual block dilated/dilated\n  3×3 convolutions at several distances" in printed
    assert len(re.findall(r"= \d+ passed", printed)) == 3
    assert "done after step 2" in printed
    assert [path.name for path in folder.glob("dist/*")] == [
        "imgtrans_dilated-0.1.0-py3-none-any.whl"
    ]
    assert (folder / "runs/dilated/report.html").exists()


def test_what_the_tutorial_says_to_break_is_caught(author):
    folder, _ = author
    file = folder / "imgtrans_dilated.py"
    whole = file.read_text()
    file.write_text(whole.replace("padding=distance, ", ""))
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-k", "keeps_shape"],
        cwd=folder, capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    file.write_text(whole)
    assert done.returncode == 1
    assert "CheckError: the residual block Dilated" in done.stdout


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """Each kind's component as a module, its recipe as a file, and one test for all of them."""
    folder = tmp_path_factory.mktemp("pages")
    for kind in KINDS:
        text = (PAGES / f"{kind}.md").read_text(encoding="utf-8")
        (folder / f"page_{kind}.py").write_text(blocks_of(text, "python")[0])
        (folder / f"{kind}.toml").write_text(blocks_of(text, "toml")[0])
        (folder / f"test_{kind}.py").write_text(TEST.format(f"page_{kind}", ""))
    return folder


def blocks_of(text, language):
    return [block["text"] for block in BLOCK.finditer(text) if block["language"] == language]


TEST = """
from imgtrans.testing import parametrize_with_checks

@parametrize_with_checks("{0}", {1})
def test_component(component, check):
    check(component)
"""


def test_the_component_of_every_kinds_page_passes_its_checks(pages):
    done = in_folder(pages, "pytest", "-q", "-p", "no:cacheprovider")
    assert done.returncode == 0, done.stdout
    assert re.search(r"^1\d\d passed", done.stdout, re.MULTILINE)


def test_a_network_with_weights_of_ones_own_passes_its_checks_with_the_tests(tmp_path):
    text = (PAGES / "feature_network.md").read_text(encoding="utf-8")
    _, module = blocks_of(text, "python")
    (tmp_path / "small_network.py").write_text(module)
    weights = {"0.weight": torch.rand(16, 3, 5, 5) - 0.5, "0.bias": torch.zeros(16)}
    save_file(weights, tmp_path / "small.safetensors")
    given = "examples=[small_network.Small(weights='small.safetensors')]"
    (tmp_path / "test_small.py").write_text(
        "import small_network\n" + TEST.format("small_network", given)
    )
    done = in_folder(tmp_path, "pytest", "-q", "-p", "no:cacheprovider")
    assert re.search(r"^13 passed", done.stdout, re.MULTILINE), done.stdout
    (tmp_path / "small.safetensors").unlink()
    done = in_folder(tmp_path, "pytest", "-q", "-p", "no:cacheprovider", "-k", "frozen")
    assert "the weights of small are not at small.safetensors" in done.stdout
    assert "put its weights where it looks for them, or give the test" in done.stdout


def test_the_recipe_of_every_kinds_page_is_valid(pages):
    files = [word for kind in KINDS for word in ("--plugin", f"page_{kind}.py")]
    recipes = [f"{kind}.toml" for kind in KINDS]
    done = in_folder(pages, "imgtrans", "validate", *recipes, *files, "--dry-run")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count(" is valid") == len(KINDS)


def written(function):
    """A signature as the reference writes it: as in the source, on one line."""
    return str(inspect.signature(function)).replace("'", "").replace("|", r"\|")


HOOKS = [
    name for name in vars(hooks) if name.startswith("imgtrans_") and callable(getattr(hooks, name))
]


@pytest.mark.parametrize("name", HOOKS)
def test_every_hook_is_in_the_reference_with_its_signature(name):
    assert f"`{name}{written(getattr(hooks, name))}`" in REFERENCE


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_has_a_page_and_is_in_the_reference_with_its_signature(kind):
    component = KINDS[kind]
    assert f"| `{component.__name__}` | `build{written(component.build)}` |" in REFERENCE
    page = (PAGES / f"{kind}.md").read_text(encoding="utf-8")
    parameters = list(inspect.signature(component.build).parameters)[1:]
    assert f"`build({', '.join(parameters)})`" in page
    assert f"`{hooks.HOOKS[kind]}`" in page
    assert f"[{kind.replace('_', ' ')}]({kind}.md)" in (PAGES / "tutorial.md").read_text()


def members(kind):
    """What a kind has besides ``build`` that a plugin's author may use or set."""
    own = {name for name in vars(kind) if not name.startswith("_")}
    return sorted((own | {*kind.model_fields}) - {"build", "model_config", "model_fields"})


@pytest.mark.parametrize(
    ("kind", "member"), [(kind, name) for kind in KINDS.values() for name in members(kind)]
)
def test_every_member_of_a_kind_is_in_the_reference(kind, member):
    assert re.search(rf"`{kind.__name__}\.{member}\b", REFERENCE)


@pytest.mark.parametrize("name", ["paper", "summary", "trains"])
def test_what_every_component_has_is_in_the_reference(name):
    assert hasattr(Component, name)
    assert f"`{name}" in REFERENCE


IMAGES = {"source", "target", *(name for name in vars(Translation) if not name.startswith("_"))}


def test_everything_that_a_loss_may_ask_for_is_in_the_reference_and_nothing_else():
    section = REFERENCE.partition("## What a loss sees")[2].partition("\n## ")[0]
    assert set(re.findall(r"^\| `(\w+)", section, re.MULTILINE)) == IMAGES
    assert f"`discriminate{written(Translation.discriminate)}`" in section


SEEN = {"source", "fake", *(name for name in vars(Translated) if not name.startswith("_"))}


def test_everything_that_a_metric_may_ask_for_is_in_the_reference_and_nothing_else():
    section = REFERENCE.partition("## What a metric sees")[2].partition("\n## ")[0]
    assert set(re.findall(r"^\| `(\w+)", section, re.MULTILINE)) == SEEN


@pytest.mark.parametrize("name", [n for n in imgtrans.__all__ if n != "__version__"])
def test_every_public_name_is_in_the_reference(name):
    assert re.search(rf"`[^`]*\b{name}\b[^`]*`", REFERENCE)


@pytest.mark.parametrize("name", testing.__all__)
def test_every_name_of_the_kit_is_in_the_reference(name):
    assert re.search(rf"`[^`]*\b{name}\b[^`]*`", REFERENCE)


@pytest.mark.parametrize(
    "function", [imgtrans.load_recipe, imgtrans.run, imgtrans.load_model], ids=lambda f: f.__name__
)
def test_every_function_is_in_the_reference_with_all_its_arguments(function):
    (shown,) = re.findall(rf"`{function.__name__}\((.*?)\) -> ", REFERENCE)
    names = [word.partition("=")[0] for word in shown.replace("*, ", "").split(", ")]
    assert names == list(inspect.signature(function).parameters)
