"""What is installed: one wheel with the core, the plugin packages and the recipes."""

import subprocess
import sys
import zipfile
from importlib import metadata
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Built from the tree as it stands, without network."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "-o", folder, ROOT]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return next(folder.glob("*.whl"))


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
