"""Plugins: found by entry points, isolated from each other, named without precedence."""

import json
import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

from imgtrans.components import Dataset, Generator, Loss, ResidualBlock
from imgtrans.plugins import Registry, UnknownComponentError, registry
from imgtrans.problems import RecipeError

GOOD = '''
from imgtrans import ResidualBlock, hookimpl

class Same(ResidualBlock):
    """Nothing at all."""
    def build(self, channels):
        from torch import nn
        return nn.Identity()

@hookimpl
def imgtrans_residual_blocks():
    return {"same": Same}
'''


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Put a distribution with one plugin on the path, as ``pip`` would leave it."""
    monkeypatch.syspath_prepend(tmp_path)
    modules = set(sys.modules)

    def add(name, source=GOOD, *, plugin=None, group="imgtrans.v1", version="1.0"):
        module = f"module_{name}"
        (tmp_path / f"{module}.py").write_text(source)
        info = tmp_path / f"{name}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        (info / "entry_points.txt").write_text(f"[{group}]\n{plugin or name} = {module}\n")

    yield add
    for module in set(sys.modules) - modules:
        if module.startswith("module_"):
            del sys.modules[module]


def found(path):
    return Registry(
        entry
        for dist in metadata.distributions(path=[str(path)])
        for entry in dist.entry_points
        if entry.group.startswith("imgtrans.v")
    )


def test_a_plugin_is_found_by_its_entry_point(install, tmp_path):
    install("good")
    registry = found(tmp_path)
    assert registry.names(ResidualBlock) == ["good/same"]
    assert registry.plugins["good"].package == "good 1.0"
    component = registry.find(ResidualBlock, "same")
    assert component.summary() == "Nothing at all"
    assert registry.name_of(component) == "good/same"


def test_a_full_name_loads_only_its_own_plugin(install, tmp_path):
    install("good")
    install("other", "raise RuntimeError('must not be imported')")
    registry = found(tmp_path)
    registry.find(ResidualBlock, "good/same")
    assert "module_other" not in sys.modules
    assert not registry.broken()


WRONG = {
    "import error": ("import no_such_package", "ModuleNotFoundError: No module named"),
    "exit": ("raise SystemExit(3)", "SystemExit: 3"),
    "syntax": ("def", "SyntaxError"),
    "exception in a hook": (
        GOOD.replace('return {"same": Same}', 'raise KeyError("gone")'),
        "KeyError: 'gone'",
    ),
    "no mapping": (GOOD.replace('{"same": Same}', "[Same]"), "must return a mapping of names"),
    "no name": (GOOD.replace('"same"', '"My Block"'), "'My Block' is no name"),
    "misspelt hook": (
        GOOD.replace("imgtrans_residual_blocks", "imgtrans_residual_block"),
        'did you mean "imgtrans_residual_blocks"?',
    ),
    "a hook without its mark": (
        GOOD + "\ndef imgtrans_losses():\n    return {}\n",
        '"imgtrans_losses" is not marked: put @hookimpl above it',
    ),
    "wrong class": (GOOD.replace('"same": Same', '"same": int'), "subclass of ResidualBlock"),
    "wrong kind": (
        GOOD.replace("imgtrans_residual_blocks", "imgtrans_losses"),
        '"same" must be a subclass of Loss',
    ),
    "abstract": (GOOD.replace("def build", "def built"), '"same" does not define build'),
    "recipes are a text": (
        GOOD + "\n@hookimpl\ndef imgtrans_recipes():\n    return '/nowhere'\n",
        "must return a list of folders",
    ),
    "recipes are texts": (
        GOOD + "\n@hookimpl\ndef imgtrans_recipes():\n    return ['/nowhere']\n",
        "must return folders as",
    ),
    "names for type checkers only": (
        "from __future__ import annotations\n"
        + GOOD.replace("def build", "size: Decimal = 1\n    def build"),
        "import it outside of `if TYPE_CHECKING`",
    ),
    "a field of no type that a recipe can set": (
        GOOD.replace("def build", "size: Odd = None\n    def build").replace(
            "class Same", "class Odd: pass\n\nclass Same"
        ),
        "Unable to generate pydantic-core schema",
    ),
    "names for type checkers only, in a nested table": (
        "from __future__ import annotations\nfrom pydantic import BaseModel\n"
        + GOOD.replace("def build", "size: Inner = None\n    def build").replace(
            "class Same", "class Inner(BaseModel):\n    number: Decimal = 1\n\nclass Same"
        ),
        "import it outside of `if TYPE_CHECKING`",
    ),
    "one class under two names": (
        GOOD.replace('{"same": Same}', '{"same": Same, "twin": Same}'),
        '"same" and "twin" are one class',
    ),
    "an alias": (
        GOOD.replace("def build", "size: int = Field(default=1, alias='s')\n    def build").replace(
            "import ", "import Field, ", 1
        ),
        "Same.size has an alias; rename the field",
    ),
    "anything at all": (
        "class Gone(BaseException): ...\nraise Gone('away')",
        "Gone: away",
    ),
    "no hook": ("x = 1", "implements no hook"),
    "field called use": (GOOD.replace("def build", "use: int = 1\n    def build"), "rename"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_broken_plugin_is_a_record_and_hides_no_other(install, tmp_path, case):
    source, why = WRONG[case]
    install("bad", source)
    install("good")
    registry = found(tmp_path)
    assert registry.names(ResidualBlock) == ["good/same"]
    (broken,) = registry.broken()
    assert (broken.name, broken.package) == ("bad", "bad 1.0")
    assert why in broken.why
    with pytest.raises(UnknownComponentError, match=r"bad 1\.0 is installed but could not be"):
        registry.find(ResidualBlock, "bad/same")


def listed(tmp_path, *arguments):
    """What the command line lists with these distributions on the path."""
    code = "import sys; sys.path.insert(0, sys.argv.pop(1)); from imgtrans.cli import main; main()"
    command = [sys.executable, "-c", code, str(tmp_path), "list-components", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    return done


def test_nothing_that_plugins_do_wrong_keeps_the_list_from_being_shown(install, tmp_path):
    names = [f"bad{number}" for number in range(len(WRONG))]
    for name, (source, _) in zip(names, WRONG.values(), strict=True):
        install(name, source)
    install("later", group="imgtrans.v2")
    install("first", plugin="twin")
    install("second", plugin="twin")
    install("talkative", "import warnings\nprint('hi')\nwarnings.warn('old')\n" + GOOD)
    install("good")
    done = listed(tmp_path, "--json")
    told = json.loads(done.stdout)
    components = {row["name"] for row in told["components"]}
    assert {"good/same", "talkative/same", "cyclegan/residual"} <= components
    errors = {row["plugin"]: row["error"] for row in told["not_loaded"]}
    assert set(errors) == {*names, "later", "twin"}
    assert all(why in errors[name] for name, (_, why) in zip(names, WRONG.values(), strict=True))
    assert "hi" in done.stderr
    assert "UserWarning: old" in done.stderr
    shown = listed(tmp_path).stdout.partition("not loaded")
    assert all(name in shown[2] for name in errors)
    assert "good/same" in shown[0]


def test_a_plugin_that_is_slow_is_named_beside_the_answer(install, tmp_path):
    install("slow", "import time; time.sleep(1.05)" + GOOD)
    install("good")
    done = listed(tmp_path, "residual_block", "--json")
    assert "slow/same" in [row["name"] for row in json.loads(done.stdout)["components"]]
    note = r'note: plugin "slow" \(slow 1\.0\) took \d+\.\d s to load; its author can move '
    assert re.search(note, done.stderr)


def test_what_a_plugin_prints_is_no_part_of_an_answer(install, tmp_path, capsys):
    install("good", "print('hello')" + GOOD)
    assert found(tmp_path).names(ResidualBlock) == ["good/same"]
    assert capsys.readouterr() == ("", "hello\n")


def test_a_file_called_as_a_module_is_leaves_that_module_alone(tmp_path):
    file = tmp_path / "random.py"
    file.write_text(GOOD)
    registry = Registry([])
    registry.add_file(file)
    assert registry.names(ResidualBlock) == ["random/same"]
    assert hasattr(sys.modules["random"], "Random")


def test_a_class_without_a_docstring_has_no_summary(install, tmp_path):
    install("good", GOOD.replace('"""Nothing at all."""', ""))
    assert found(tmp_path).find(ResidualBlock, "same").summary() == ""


@pytest.mark.parametrize("first", ["good", "zzz"])
def test_a_class_keeps_the_name_of_its_own_package_whoever_else_offers_it(install, tmp_path, first):
    lent = GOOD.replace("class Same", "from module_good import Same\nclass Other")
    install("good")
    install("zzz", lent)
    registry = found(tmp_path)
    component = registry.find(ResidualBlock, f"{first}/same")
    assert registry.name_of(component) == "good/same"


def test_strict_mode_raises_what_the_plugin_raised(install, tmp_path, monkeypatch):
    install("bad", "1 / 0")
    monkeypatch.setenv("IMGTRANS_STRICT", "1")
    with pytest.raises(ZeroDivisionError):
        found(tmp_path).load_all()


def test_two_distributions_of_one_name_are_both_refused_and_named(install, tmp_path):
    install("first", plugin="twin")
    install("second", plugin="twin")
    registry = found(tmp_path)
    assert registry.names(ResidualBlock) == []
    (broken,) = registry.broken()
    assert re.search("first 1.0", broken.why)
    assert re.search("second 1.0", broken.why)


def test_a_plugin_of_another_api_version_is_reported_without_being_imported(install, tmp_path):
    install("later", "raise RuntimeError", group="imgtrans.v2")
    registry = found(tmp_path)
    registry.load_all()
    assert "written for imgtrans.v2; this imgtrans reads imgtrans.v1" in registry.broken()[0].why
    assert "module_later" not in sys.modules


def test_a_short_name_that_two_plugins_offer_is_an_error_that_lists_them(install, tmp_path):
    install("good")
    install("better")
    registry = found(tmp_path)
    with pytest.raises(UnknownComponentError, match=r"better/same, good/same; write the full name"):
        registry.find(ResidualBlock, "same")


def test_an_unknown_name_names_the_nearest_and_what_did_not_load(install, tmp_path):
    install("good")
    install("bad", "1 / 0")
    with pytest.raises(UnknownComponentError) as caught:
        found(tmp_path).find(ResidualBlock, "good/sane")
    assert 'did you mean "good/same"?' in str(caught.value)
    assert "not loaded: bad 1.0 (ZeroDivisionError" in str(caught.value)


def test_a_local_file_is_a_plugin_named_after_its_stem(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text(GOOD)
    registry = found(tmp_path)
    registry.add_file(file)
    registry.add_file(file)  # once more changes nothing
    assert registry.names(ResidualBlock) == ["mine/same"]
    (tmp_path / "other").mkdir()
    twin = file.rename(tmp_path / "other/mine.py")
    with pytest.raises(RecipeError, match='a plugin called "mine" exists'):
        registry.add_file(twin)


@pytest.mark.parametrize(("content", "why"), [(None, "no such Python file"), ("1/0", "ZeroDiv")])
def test_a_local_file_that_cannot_be_loaded_is_an_error(tmp_path, content, why):
    file = tmp_path / "mine.py"
    if content is not None:
        file.write_text(content)
    with pytest.raises(RecipeError, match=why):
        found(tmp_path).add_file(file)


def test_the_reference_set_is_found_like_any_other():
    offered = {kind: registry().names(kind) for kind in (Generator, Loss, Dataset)}
    assert "cyclegan/encoder-decoder" in offered[Generator]
    assert {"cyclegan/least-squares", "cyclegan/cycle-consistency", "cyclegan/identity"} <= set(
        offered[Loss]
    )
    assert {"cyclegan/unpaired-folders", "seasons/landscapes"} <= set(offered[Dataset])
    assert registry().plugins["cyclegan"].distribution == "imgtrans"


def test_the_core_imports_no_plugin():
    core = Path(__file__).parent.parent / "imgtrans"
    plugin = re.compile(r"^\s*(from|import) imgtrans_", re.MULTILINE)
    assert [path for path in core.rglob("*.py") if plugin.search(path.read_text())] == []
