"""The packages under ``docs/examples/`` are complete, and the comparison is of what they show."""

import importlib
import json
import re
import tomllib
from pathlib import Path

import pytest
from click.testing import CliRunner
from machine import in_folder

from imgtrans.cli import main

ROOT = Path(__file__).parent.parent
NAMES = ["attention", "edges"]


def folder_of(name):
    return ROOT / "docs" / "examples" / f"imgtrans-{name}"


def recipe_of(name):
    text = (folder_of(name) / "README.md").read_text(encoding="utf-8")
    (recipe,) = re.findall(r"```toml\n(.*?)```", text, re.DOTALL)
    return recipe


def test_every_example_is_tested_here():
    assert {path.name for path in (ROOT / "docs" / "examples").glob("imgtrans-*")} == {
        f"imgtrans-{name}" for name in NAMES
    }


@pytest.mark.parametrize("name", NAMES)
def test_its_settings_are_those_that_a_new_plugin_gets_today(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert CliRunner().invoke(main, ["new-plugin", f"{name}x", "--kind", "loss"]).exit_code == 0
    for file in ("pyproject.toml", ".github/workflows/test.yml", "LICENSE"):
        today = (tmp_path / f"imgtrans-{name}x" / file).read_text(encoding="utf-8")
        today = re.sub(rf"\b{name}x\b|(?<=imgtrans_){name}x", name, today)
        ours = (folder_of(name) / file).read_text(encoding="utf-8")
        described = r'description = ".*"'
        assert re.sub(described, "", ours) == re.sub(described, "", today)


@pytest.mark.parametrize("name", NAMES)
def test_its_own_tests_pass_though_it_is_not_installed(name):
    done = in_folder(folder_of(name), "pytest", "-q", "-p", "no:cacheprovider")
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("command", [["check"], ["format", "--check"]], ids=" ".join)
def test_its_code_is_as_its_own_linter_wants_it(name, command):
    done = in_folder(folder_of(name), "ruff", *command, "--no-cache")
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("name", NAMES)
def test_its_wheel_installs_and_the_recipe_of_its_readme_is_valid(name, tmp_path):
    site = tmp_path / "site"
    build = ("build", "--wheel", "--no-isolation", "--outdir", str(tmp_path))
    done = in_folder(folder_of(name), *build)
    assert done.returncode == 0, done.stdout + done.stderr
    (wheel,) = tmp_path.glob("*.whl")
    offline = ("--no-deps", "--no-index", "--quiet", "--target", str(site))
    assert in_folder(tmp_path, "pip", "install", *offline, str(wheel)).returncode == 0
    (tmp_path / "recipe.toml").write_text(recipe_of(name), encoding="utf-8")
    done = in_folder(tmp_path, "imgtrans", "validate", "recipe.toml", path=site)
    assert done.stdout == "recipe.toml is valid\n", done.stderr


@pytest.fixture
def comparison(monkeypatch):
    """The script as a module."""
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    return importlib.import_module("examples")


TABLES = """
import json, pathlib, sys
from imgtrans.plugins import registry
from imgtrans.recipe import load_recipe
registry().add_file(pathlib.Path(f"{sys.argv[1]}.py"))
print(json.dumps([load_recipe(name).tables() for name in ("quickstart", f"{sys.argv[1]}.toml")]))
"""


@pytest.mark.parametrize("name", NAMES)
def test_the_comparison_changes_the_quickstart_by_what_the_readme_shows(name, comparison, tmp_path):
    comparison._write_examples(tmp_path)
    (tmp_path / "tables.py").write_text(TABLES, encoding="utf-8")
    done = in_folder(tmp_path, "tables", name)
    reference, changed = json.loads(done.stdout)
    shown = tomllib.loads(recipe_of(name))
    if name == "attention":
        block = changed["generator"].pop("residual_block")
        assert block["use"] == shown["generator"]["residual_block"]["use"]
        assert reference["generator"].pop("residual_block")["use"] == "cyclegan/residual"
    else:
        assert shown["loss"]["edges"].items() <= changed["loss"].pop("edges").items()
    assert {**changed, "name": ""} == {**reference, "name": ""}


def test_the_comparison_trains_and_reads_what_the_runs_leave(comparison, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    two = dict(list(comparison.VARIANTS.items())[:2])
    monkeypatch.setattr(comparison, "VARIANTS", two)
    small = ("scenes=2", "test_scenes=2", "image_size=32")
    command = [word for each in small for word in ("--set", f"dataset.{each}")]
    command += ["--steps", "2", "--seeds", "3", "--jobs", "2", "--device", "cpu"]
    done = CliRunner().invoke(comparison.main, [*command, "--json", "all.json"])
    assert done.exit_code == 0, done.output
    assert len(re.findall(r"^\| summer to winter \|", done.output, re.MULTILINE)) == 2
    saved = json.loads((tmp_path / "all.json").read_text(encoding="utf-8"))
    assert (saved["settings"]["device"], saved["settings"]["steps"]) == ("cpu", 2)
    assert [(run["variant"], run["seed"]) for run in saved["runs"]] == [(name, 3) for name in two]
    assert saved["runs"][0]["parameters"] < saved["runs"][1]["parameters"]
    assert not (tmp_path / "runs").exists()


def test_the_comparison_prints_means_spreads_and_differences_seed_by_seed(comparison):
    def run(variant, seed, psnr):
        figures = {"a to b": {"psnr_db": psnr, "ssim": psnr / 100}}
        return {"variant": variant, "seed": seed, "figures": figures, "parameters": 9, "seconds": 2}

    made = [
        run("quickstart", 0, 15), run("attention", 0, 16), run("edges", 0, 14),
        run("quickstart", 1, 17), run("attention", 1, 20), run("edges", 1, 15),
    ]  # fmt: skip
    settings = {"device": "cpu", "precision": "float32", "torch": "2", "jobs": 1, "steps": 5}
    lines = comparison._report(settings, made)
    assert lines[0] == "cpu, float32, torch 2, 1 at once; 5 steps, seeds 0, 1:"
    assert "| a to b | quickstart | 16.00 ± 1.41 | 15.00, 17.00 |  |  | 0.160 ± 0.014 |  |" in lines
    assert (
        "| a to b | attention | 18.00 ± 2.83 | 16.00, 20.00 | +2.00 ± 1.41 | +1.00, +3.00 "
        "| 0.180 ± 0.028 | +0.020 ± 0.014 |"
    ) in lines
    assert "| edges | 9 | 2 ± 0 |" in lines
