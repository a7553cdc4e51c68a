"""What is installed: one wheel with the core, the plugin packages and the recipes."""

import importlib.util
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from importlib import metadata
from pathlib import Path, PurePosixPath

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parent.parent


SHIPPED = {".css", ".jinja", ".js", ".py", ".toml", ".txt", ".typed"}
"""What a wheel may hold; anything else was left there by mistake."""
SOURCES = SHIPPED | {".json", ".jsonl", ".md", ".png", ".safetensors", ".yml"}
PLACES = {".ci", "benchmarks", "docs", "imgtrans", "plugins", "recipes", "tests"}
FILES = {".gitignore", "CONTRIBUTING.md", "LICENSE", "PKG-INFO", "README.md", "pyproject.toml"}


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The sdist of the tree as it stands, and a wheel made of nothing but it, without network."""
    folder = tmp_path_factory.mktemp("built")
    command = [sys.executable, "-m", "build", "--no-isolation", "-o", folder, ROOT]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.fixture(scope="module")
def wheel(built):
    return next(built.glob("*.whl"))


@pytest.fixture(scope="module")
def sdist(built):
    """The paths in it, below its folder."""
    with tarfile.open(next(built.glob("*.tar.gz"))) as archive:
        return {name.partition("/")[2] for name in archive.getnames()}


def test_the_wheel_has_nothing_but_code_templates_and_recipes(wheel):
    names = [name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name]
    assert {PurePosixPath(name).suffix for name in names} == SHIPPED
    packages = {name.partition("/")[0] for name in names}
    assert packages == {"imgtrans", *(path.parent.name for path in ROOT.glob("plugins/*/py.typed"))}
    assert not [name for name in names if PurePosixPath(name).name.startswith(("test_", "."))]
    assert {"imgtrans/recipes/quickstart.toml", "imgtrans_cyclegan/__init__.py"} <= {*names}


def test_every_package_says_that_it_is_typed_as_the_classifiers_claim(wheel):
    archive = zipfile.ZipFile(wheel)
    names = {name for name in archive.namelist() if ".dist-info/" not in name}
    (about,) = [name for name in archive.namelist() if name.endswith("METADATA")]
    assert "Classifier: Typing :: Typed\n" in archive.read(about).decode()
    assert {f"{name.partition('/')[0]}/py.typed" for name in names} <= names


def test_the_sdist_has_what_builds_and_tests_it_and_no_stray_files(sdist):
    assert {name.partition("/")[0] for name in sdist} == PLACES | FILES
    others = {name for name in sdist if PurePosixPath(name).suffix not in SOURCES}
    known = {".ci/run", ".ci/lowest", "PKG-INFO", ".gitignore"}
    assert {name for name in others - known if not name.endswith("/LICENSE")} == {"LICENSE"}
    tests = {f"tests/{path.relative_to(ROOT / 'tests')}" for path in ROOT.glob("tests/test_*.py")}
    golden = {str(path.relative_to(ROOT)) for path in ROOT.glob("tests/golden/*/*.safetensors")}
    assert tests | golden | {"tests/conftest.py", "tests/campaign.py", ".ci/lowest.py"} <= sdist


def lowest():
    spec = importlib.util.spec_from_file_location("lowest", ROOT / ".ci/lowest.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_dependency_has_one_lower_bound_and_no_upper_one():
    module = lowest()
    lines = module.lowest()
    assert [line for line in lines if line.startswith("torch==")]
    assert len({Requirement(line).name for line in lines}) == len(lines)
    for line in tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]:
        assert [each.operator for each in Requirement(line).specifier] == [">="], line


def test_what_is_installed_in_another_version_than_the_lowest_is_named(monkeypatch):
    module = lowest()
    pinned = {Requirement(line).name: Requirement(line).specifier for line in module.lowest()}
    exact = {name: str(specifier).removeprefix("==") for name, specifier in pinned.items()}
    monkeypatch.setattr(metadata, "version", lambda name: {**exact, "click": "99"}[name])
    assert module.installed_otherwise() == [f"click{pinned['click']} is installed as 99"]


def test_the_wheel_holds_every_module_and_recipe_and_nothing_else(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    sources = {
        str(path.relative_to(base))
        for base, package in (
            (ROOT, "imgtrans"),
            (ROOT / "plugins", "imgtrans_cyclegan"),
            (ROOT / "plugins", "imgtrans_metrics"),
            (ROOT / "plugins", "imgtrans_seasons"),
        )
        for path in (base / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    recipes = {f"imgtrans/recipes/{path.name}" for path in (ROOT / "recipes").glob("*.toml")}
    assert {name for name in names if ".dist-info/" not in name} == sources | recipes


def test_every_plugin_package_has_its_entry_point(wheel):
    archive = zipfile.ZipFile(wheel)
    (name,) = [each for each in archive.namelist() if each.endswith("entry_points.txt")]
    text = archive.read(name).decode()
    for path in (ROOT / "plugins").iterdir():
        if (path / "__init__.py").is_file():
            assert f"= {path.name}\n" in text.partition("[imgtrans.v1]")[2] + "\n"


def test_an_installed_wheel_finds_its_plugins_and_recipes(wheel, tmp_path):
    site = tmp_path / "site"
    zipfile.ZipFile(wheel).extractall(site)
    # Run as an installed package: no checkout and no editable hook on the path.
    hidden = str(ROOT)
    code = (
        "import sys\n"
        f"sys.path = [{str(site)!r}] + [p for p in sys.path if not p.startswith({hidden!r})]\n"
        "sys.meta_path = [f for f in sys.meta_path if 'editable' not in repr(f).lower()]\n"
        "import imgtrans, imgtrans_cyclegan\n"
        f"assert imgtrans.__file__.startswith({str(site)!r}), imgtrans.__file__\n"
        f"assert imgtrans_cyclegan.__file__.startswith({str(site)!r})\n"
        "from imgtrans.cli import main\n"
        "main(['validate', 'cyclegan_yosemite', 'quickstart'])\n"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=60, check=False, cwd=tmp_path
    )
    assert done.stdout == "cyclegan_yosemite is valid\nquickstart is valid\n", done.stderr


def test_this_checkout_is_installed_editable_and_finds_its_recipes(tmp_path):
    assert metadata.version("imgtrans") == "0.1.0"
    code = "from imgtrans.cli import main; main(['validate', 'quickstart'])"
    command = [sys.executable, "-c", code]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=60, check=False, cwd=tmp_path
    )
    assert done.stdout == "quickstart is valid\n", done.stderr
