"""What the documents show works as it stands."""

import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

from imgtrans import ResidualBlock, load_recipe
from imgtrans.cli import main
from imgtrans.plugins.registry import Registry

ROOT = Path(__file__).parent.parent
DOCUMENTS = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "benchmarks/README.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
]


def blocks(path, language):
    return re.findall(rf"```{language}\n(.*?)```", path.read_text(encoding="utf-8"), re.DOTALL)


def test_the_recipe_for_ones_own_folders_is_valid_and_downloads_nothing(tmp_path):
    (text,) = [text for text in blocks(ROOT / "README.md", "toml") if "extends" in text]
    (tmp_path / "my_photos.toml").write_text(text)
    recipe = load_recipe(str(tmp_path / "my_photos.toml"))
    assert recipe.domains == ("day", "night")
    assert (recipe.dataset.root, recipe.dataset.download) == ("photos", None)
    assert recipe.fallback is None


def test_the_component_to_begin_with_passes_its_test(tmp_path):
    component, test = blocks(ROOT / "CONTRIBUTING.md", "python")
    (tmp_path / "scaled.py").write_text(component)
    (tmp_path / "test_scaled.py").write_text(test)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert " passed" in done.stdout, done.stdout
    assert done.returncode == 0, done.stdout


def test_the_component_to_begin_with_can_be_built(tmp_path):
    text, _ = blocks(ROOT / "CONTRIBUTING.md", "python")
    (tmp_path / "scaled.py").write_text(text)
    registry = Registry(metadata.entry_points(group="imgtrans.v1"))
    registry.add_file(tmp_path / "scaled.py")
    block = registry.find(ResidualBlock, "scaled/scaled")(scale=0.5)
    assert block.build(4)(torch.zeros(1, 4, 8, 8)).shape == (1, 4, 8, 8)


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_every_link_to_a_file_leads_somewhere(path):
    text = path.read_text(encoding="utf-8")
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", text):
        assert (path.parent / target).exists(), target


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_every_command_and_option_shown_exists(path):
    commands = "|".join(main.commands)
    shown = re.findall(rf"imgtrans ((?:{commands})\b[^`\n#]*)", path.read_text())
    for line in shown:
        name, *words = line.split()
        known = CliRunner().invoke(main, [name, "--help"]).output
        for option in (word for word in words if word.startswith("--")):
            assert option in known, line
