"""The command line as a person meets it: its words, its exit codes, and no traceback."""

import gc
import json
import subprocess
import sys

import pytest
from click.testing import CliRunner
from imgtrans_cyclegan import UnpairedFolders
from toys import tiny_recipe

import imgtrans
from imgtrans.cli import main
from imgtrans.components import KINDS
from imgtrans.hooks import HOOKS
from imgtrans.recipe import shipped_recipes, to_toml


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("IMGTRANS_DATA", raising=False)


def call(*arguments):
    return CliRunner().invoke(main, arguments)


def without(module, *arguments):
    """Run a command in a process of its own that fails when the module is imported."""
    code = (
        f"import sys; sys.modules['{module}'] = None\n"
        "from imgtrans.cli import main\nmain(sys.argv[1:])"
    )
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["list-components"],
        ["list-components", "--plugins", "--json"],
        ["run", "--help"],
        ["validate", "quickstart", "cyclegan_yosemite"],
        ["show", "generator", "encoder-decoder"],
        ["show", "quickstart", "--lock"],
        ["recipes"],
        ["schema"],
        ["run", "no_such_recipe"],
        ["benchmark", "no_such_recipe"],
    ],
)
def test_fast_commands_never_import_torch(arguments):
    done = without("torch", *arguments)
    assert "Traceback" not in done.stderr
    assert done.returncode == (2 if "no_such_recipe" in arguments else 0)


def test_the_page_of_one_run_needs_no_torch(tmp_path):
    (tmp_path / "recipe.toml").write_text('name = "toy"\n')
    done = without("torch", "report", str(tmp_path))
    assert done.stdout == f"{tmp_path / 'report.html'}\n", done.stderr


@pytest.mark.parametrize("arguments", [["--help"], ["run", "--help"], ["--version"]])
def test_help_never_waits_for_pydantic(arguments):
    assert without("pydantic", *arguments).returncode == 0


def test_every_public_name_is_there_and_listed():
    assert set(imgtrans.__all__) <= set(dir(imgtrans))
    assert all(hasattr(imgtrans, name) for name in imgtrans.__all__)
    with pytest.raises(AttributeError, match="no attribute 'loadmodel'"):
        _ = imgtrans.loadmodel


def test_every_kind_has_a_hook_and_every_hook_a_kind():
    assert list(HOOKS) == list(KINDS)


def test_listing_components_leaves_the_garbage_collector_on():
    call("list-components")
    assert gc.isenabled()


@pytest.mark.parametrize("command", [[], *([name] for name in main.commands)])
def test_every_help_ends_with_two_examples(command):
    text = call(*command, "--help").output
    examples = text.partition("Examples:\n")[2].strip().splitlines()
    assert len(examples) == 2
    assert all(line.strip().startswith("imgtrans ") for line in examples)


def test_components_are_listed_with_summary_and_package():
    text = call("list-components").output
    (line,) = [each for each in text.splitlines() if "cyclegan/residual" in each]
    assert "Two 3×3 convolutions and a shortcut" in line
    assert "imgtrans 0.1.0" in line


def test_one_kind_and_a_pattern_narrow_the_list():
    rows = json.loads(call("list-components", "loss", "--match", "*cycle*", "--json").output)
    assert [row["name"] for row in rows["components"]] == [
        "cyclegan/cycle-consistency",
        "cyclegan/identity",
        "cyclegan/least-squares",
    ]
    rows = json.loads(call("list-components", "--match", "resi*", "--json").output)
    assert [row["name"] for row in rows["components"]] == ["cyclegan/residual"]


def test_a_command_that_is_over_neither_looks_for_garbage_nor_listens():
    code = (
        "import atexit, gc, signal\n"
        "atexit.register(lambda: print('frozen', gc.get_freeze_count() > 0))\n"
        "atexit.register(lambda: print('deaf', signal.getsignal(2) == 1))\n"
        "from imgtrans.cli import main; main(['list-components'])"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert "deaf True\nfrozen True" in done.stdout


def test_what_could_not_be_loaded_is_listed_below_and_why(tmp_path):
    info = tmp_path / "broken-2.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: broken\nVersion: 2.0\n")
    (info / "entry_points.txt").write_text("[imgtrans.v1]\nbroken = not_there\n")
    code = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r}); from imgtrans.cli import main; main()"
    )
    command = [sys.executable, "-c", code, "list-components"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    above, _, below = done.stdout.partition("not loaded")
    assert "cyclegan/residual" in above
    assert "broken 2.0  ModuleNotFoundError: No module named 'not_there'" in below


@pytest.mark.parametrize("name", ["quickstart", "cyclegan", "cyclegan_paper", "cyclegan_yosemite"])
def test_shipped_recipes_are_installed_and_valid(name):
    assert name in shipped_recipes()
    assert call("validate", name).output == f"{name} is valid\n"


def test_a_dry_run_shows_networks_forwards_shapes_and_data():
    done = call("validate", "cyclegan_yosemite", "--dry-run")
    assert done.exit_code == 0
    words = " ".join(done.output.split())
    assert "generators.summer_to_winter 8,402,176 2 16×3×128×128" in words
    assert "discriminators.winter 2,765,568 3 16×1×7×7" in words
    assert "4,000, 10 network forwards each" in words
    assert "summer2winter_yosemite" in words


def test_a_wrong_recipe_lists_every_problem_and_leaves_with_2():
    changes = ["--set", "train.stepz=3", "--set", "generator.width=0", "--set", "directions=one"]
    done = call("run", "quickstart", *changes)
    assert done.exit_code == 2
    for part in ('"stepz"', "[generator] width = 0", 'directions = "one"', "3 problems"):
        assert part in done.output
    assert "Traceback" not in done.output


def test_without_a_recipe_the_usage_is_shown():
    done = call("run")
    assert done.exit_code == 2
    assert "Missing argument 'RECIPE'" in done.output


def test_missing_data_end_with_1_and_say_where_they_were_looked_for(tmp_path):
    recipe = tiny_recipe(dataset=UnpairedFolders(root="nope", image_size=32))
    (tmp_path / "tiny.toml").write_text(to_toml(recipe))
    done = call("run", "tiny.toml")
    assert done.exit_code == 1
    assert '[dataset] root = "nope": there is no such folder' in done.output
    assert str(tmp_path / "data" / "nope") in done.output
    assert "Traceback" not in done.output


def test_a_run_from_the_command_line_shows_its_plan_and_how_to_use_it(tmp_path):
    recipe = tiny_recipe(train={"steps": 2}, metric={"psnr": {"use": "metrics/psnr"}})
    (tmp_path / "tiny.toml").write_text(to_toml(recipe))
    done = call("run", "tiny.toml", "--device", "cpu", "--name", "mine")
    assert done.exit_code == 0, done.output
    words = " ".join(done.output.split())
    for part in (
        "recipe mine: summer_to_winter, winter_to_summer",
        "data summer 6 · winter 6 to train on",
        "networks 2 generators of ",
        "2 discriminators of ",
        "device cpu, float32",
        "plan 2 steps of 2 images a domain: 0.67 epochs",
        "results runs/mine",
        "PSNR",
        "report.html",
        "load_model",
    ):
        assert part in words


def test_quiet_runs_say_nothing(tmp_path):
    (tmp_path / "tiny.toml").write_text(to_toml(tiny_recipe(train={"steps": 1})))
    done = call("run", "tiny.toml", "--quiet", "--device", "cpu")
    assert (done.exit_code, done.output) == (0, "")


def test_a_local_plugin_file_serves_a_recipe(tmp_path):
    (tmp_path / "mine.py").write_text(
        "from imgtrans import ResidualBlock, hookimpl\n"
        "class Same(ResidualBlock):\n"
        "    def build(self, channels):\n"
        "        from torch import nn\n"
        "        return nn.Identity()\n"
        "@hookimpl\n"
        "def imgtrans_residual_blocks():\n"
        "    return {'same': Same}\n"
    )
    code = "from imgtrans.cli import main; main()"
    options = ["--plugin", "mine.py", "--set", "generator.residual_block.use=mine/same"]
    command = [sys.executable, "-c", code, "validate", "quickstart", *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout.endswith("quickstart is valid\n"), done.stderr


def test_plugins_are_listed_with_package_and_state():
    lines = call("list-components", "--plugins").output.splitlines()
    assert [line.split() for line in lines] == [
        ["cyclegan", "imgtrans", "0.1.0", "loaded"],
        ["metrics", "imgtrans", "0.1.0", "loaded"],
        ["seasons", "imgtrans", "0.1.0", "loaded"],
    ]


@pytest.mark.parametrize("command", ["validate", "report", "import", "evaluate", "export", "show"])
def test_a_name_that_is_too_long_for_a_file_is_an_error(command):
    done = call(command, "a" * 5000)
    assert done.exit_code in {1, 2}
    assert "error: a" in done.stderr and "File name too long" in done.stderr
