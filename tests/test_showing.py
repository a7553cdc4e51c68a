"""``imgtrans show``, ``recipes``, ``copy`` and ``schema``: finding out before writing."""

import datetime as dt
import enum
import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from click.testing import CliRunner
from imgtrans_cyclegan import EncoderDecoder, Residual

from imgtrans import Field, Metric, ResidualBlock, load_recipe
from imgtrans.cli import main
from imgtrans.components import KINDS, Loss
from imgtrans.plugins import registry
from imgtrans.recipe import to_toml
from imgtrans.showing import component_facts

HEAD = 'extends = "quickstart"\n'
COMPONENTS = [
    (kind, full) for kind, component in KINDS.items() for full in registry().names(component)
]


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def call(*arguments):
    return CliRunner().invoke(main, arguments)


def test_a_component_is_shown_with_all_that_choosing_it_takes():
    text = call("show", "generator", "encoder-decoder").output
    assert text.startswith("generator cyclegan/encoder-decoder\n  Three stride-2 convolutions")
    assert "package   imgtrans 0.1.0\n" in text
    (place,) = re.findall(r"defined   (.*):(\d+)\n", text)
    assert "class EncoderDecoder" in Path(place[0]).read_text().splitlines()[int(place[1]) - 1]
    assert "paper     Johnson et al., 2016" in text
    assert re.search(
        r"  blocks +whole number > 0 ≤ 1000; default 6\n +residual blocks between", text
    )
    assert '"batch", "instance" or "none"; default "batch"' in text
    assert 'a residual block; default {use = "cyclegan/residual", norm = "batch"}' in text


def test_what_must_be_given_and_what_may_change_on_resume_are_marked():
    text = call("show", "dataset", "unpaired-folders").output
    assert re.search(r"  root\* +text; needed\n +folder of the images", text)
    assert re.search(r"  image_size +whole number > 0; default 128\n", text)
    assert re.search(r"  train_x\* +text; default not set\n", text)
    assert "# root = …    needed: text; folder of the images" in text


def test_all_that_only_measures_may_change_on_resume():
    class Lines(Metric):
        """How many lines there are."""

        width: int = Field(default=1, description="of a line, in pixels")

        def build(self):
            raise NotImplementedError

    assert [each["resume"] for each in component_facts(Lines)["parameters"]] == ["free"]


@pytest.mark.parametrize(("kind", "name"), COMPONENTS)
def test_the_table_shown_is_a_recipe_to_paste(kind, name):
    table = call("show", kind, name).output.partition("in a recipe\n")[2]
    table = re.sub(r"# (\w+) = …", r'\1 = "photos"    #', table)
    Path("pasted.toml").write_text(HEAD + table)
    recipe = load_recipe("pasted.toml", ["dataset.image_size=256"])  # which every network takes
    assert any(type(part) in KINDS[kind].__subclasses__() for part in parts_of(recipe))
    assert re.sub(r"\s", "", name) in to_toml(recipe)


def parts_of(recipe):
    yield from (recipe.generator, recipe.discriminator)
    yield getattr(recipe.generator, "residual_block", None)
    yield from (recipe.dataset, *recipe.loss.values(), *recipe.metric.values())
    yield from (getattr(metric, "features", None) for metric in recipe.metric.values())


class Many(ResidualBlock):
    """A block with parameters of many types."""

    between: float = Field(default=0.5, gt=0, le=1, description="a share")
    word: str = Field(default="a", pattern="[a-z]", max_length=3, description="a word")
    sizes: tuple[int, ...] = Field(default=(1, 2), description="some sizes")
    pair: tuple[int, float] = Field(default=(1, 0.5), description="a pair")
    names: dict[str, int] = Field(default={"a": 1}, description="a table")
    choice: int | str = Field(default=1, description="one or the other")

    def build(self, channels):
        raise NotImplementedError


def test_types_and_ranges_are_told_in_words():
    Many.model_rebuild()
    told = {each["name"]: each["type"] for each in component_facts(Many)["parameters"]}
    assert told == {
        "between": "number > 0 ≤ 1",
        "word": "text of 3 letters at most matching [a-z]",
        "sizes": "array (each: whole number)",
        "pair": "array (whole number, number)",
        "names": "table (each: whole number)",
        "choice": "whole number or text",
    }


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Odd(ResidualBlock):
    """A block with fields that are made, nested, or of Python's own types."""

    made: list[int] = Field(default_factory=list, description="made\nnew each time")
    inner: ResidualBlock = Field(default_factory=Residual, description="any block")
    own: Residual = Field(default=Residual(norm="none"), description="this very block")
    itself: "Odd | None" = Field(default=None, description="one more")
    colour: Colour = Field(default=Colour.BLUE, description="a colour")
    day: dt.date = Field(default=dt.date(2020, 1, 2), description="a day")
    many: list[ResidualBlock] = Field(default=[Residual()], description="some blocks")

    def build(self, channels):
        raise NotImplementedError


def test_fields_of_every_kind_are_shown_as_a_recipe_would_write_them(monkeypatch):
    Odd.model_rebuild()
    monkeypatch.setitem(registry()._names, Odd, "odd/v1.2")
    facts = component_facts(Odd)
    told = {each["name"]: (each["type"], each["default"]) for each in facts["parameters"]}
    block = '{use = "cyclegan/residual", norm = "batch"}'
    assert told == {
        "made": ("array (each: whole number)", "[]"),
        "inner": ("a residual block", block),
        "own": ("table of norm", '{norm = "none"}'),
        "itself": ("table of made, inner, own, itself, colour, day, many", "not set"),
        "colour": ('"red" or "blue"', '"blue"'),
        "day": ("text", '"2020-01-02"'),
        "many": ("array (each: a residual block)", f"[{block}]"),
    }
    assert facts["parameters"][0]["description"] == "made new each time"
    table = tomllib.loads(facts["recipe"])["generator"]["residual_block"]
    made = dict(table, use=None)
    del made["use"]
    assert Odd.model_validate_json(json.dumps(made), strict=True) == Odd()


def test_a_loss_with_a_dot_in_its_name_gets_a_table_without_one(monkeypatch):
    class Dotted(Loss):
        """A loss."""

        def build(self):
            raise NotImplementedError

    monkeypatch.setitem(registry()._names, Dotted, "odd/l1.5")
    assert component_facts(Dotted)["recipe"].startswith('[loss.l1-5]\nuse = "odd/l1.5"\n')


def test_recipes_that_cannot_be_read_and_plugins_that_did_not_load_are_told(tmp_path):
    Path("more").mkdir()
    Path("more/bad.toml").write_bytes(b"\xff\xfe\x00")
    Path("more/folder.toml").mkdir()
    Path("mine.py").write_text(
        "import pathlib\nfrom imgtrans import hookimpl\n\n\n@hookimpl\n"
        "def imgtrans_recipes():\n    return [pathlib.Path(__file__).parent / 'more']\n"
    )
    info = tmp_path / "broken-2.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: broken\nVersion: 2.0\n")
    (info / "entry_points.txt").write_text("[imgtrans.v1]\nbroken = not_there\n")
    for command in (["recipes", "--plugin", "mine.py"], ["schema"]):
        done = subprocess.run(
            [sys.executable, "-m", "imgtrans", *command],
            capture_output=True, text=True, timeout=60, check=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])},
        )  # fmt: skip
        note = 'note: without plugin "broken" (broken 2.0): ModuleNotFoundError: No module named'
        assert note in done.stderr
        if command[0] == "recipes":
            assert re.search(r"mine/bad +cannot be read: .* mine\.py", done.stdout)
            assert "mine/folder" not in done.stdout


def test_a_component_is_also_shown_as_json():
    facts = json.loads(call("show", "residual_block", "residual", "--json").output)
    assert facts["name"] == "cyclegan/residual"
    assert facts["parameters"][0]["default"] == '"batch"'
    assert tomllib.loads(facts["recipe"])["generator"]["residual_block"]["norm"] == "batch"


def test_a_component_of_a_local_file_is_shown():
    Path("mine.py").write_text(
        "from imgtrans import Loss, hookimpl\n\n\nclass Mine(Loss):\n    '''Mine.'''\n"
        "    def build(self):\n        return None\n\n\n@hookimpl\n"
        "def imgtrans_losses():\n    return {'mine': Mine}\n"
    )
    command = [sys.executable, "-m", "imgtrans", "show", "loss", "mine", "--plugin", "mine.py"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert "package   mine.py\n" in done.stdout
    assert "mine.py:4\n" in done.stdout
    assert "[loss.mine]" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "answer"),
    [
        (["generator"], "which generator? imgtrans show generator NAME; installed: cyclegan/enc"),
        (["block", "residual"], "block is no kind of component; there are generator, discrim"),
        (["residual_block", "residul"], 'did you mean "cyclegan/residual"?'),
        (["loss", "cyclegan/residual"], '"cyclegan/residual" is a residual block, not a loss'),
        (["residual"], "residual is a component: imgtrans show residual_block residual"),
        (["quickstrt"], 'did you mean "quickstart"?'),
        (["quickstart", "--set", "train.stepz=1"], '[train] stepz = 1\n      there is no "stepz"'),
        (["loss", "identity", "--lock"], "--set and --lock are for recipes"),
    ],
)
def test_what_cannot_be_shown_is_answered_with_what_can(arguments, answer):
    done = call("show", *arguments)
    assert done.exit_code == 2
    assert answer in done.output
    assert "Traceback" not in done.output


def test_a_recipe_is_shown_resolved_and_reads_back_equal():
    done = call("show", "quickstart", "--set", "train.batch_size=9")
    Path("shown.toml").write_text(done.stdout)
    assert load_recipe("shown.toml") == load_recipe("quickstart", ["train.batch_size=9"])
    assert json.loads(call("show", "quickstart", "--json").output)["train"]["steps"] == 750


def test_notes_are_no_part_of_a_shown_recipe():
    done = call("show", "quickstart", "--set", "loss.cycle.use=identity")
    assert tomllib.loads(done.stdout)["loss"]["cycle"]["use"] == "cyclegan/identity"
    assert "discarded the keys of the old one: weight" in done.stderr


def test_a_locked_recipe_names_the_packages_and_warns_of_other_versions():
    done = call("show", "quickstart", "--lock")
    assert tomllib.loads(done.stdout)["plugins"] == {
        "cyclegan": "imgtrans 0.1.0",
        "metrics": "imgtrans 0.1.0",
        "seasons": "imgtrans 0.1.0",
    }
    Path("locked.toml").write_text(done.stdout.replace("imgtrans 0.1.0", "imgtrans 0.0.9", 1))
    assert load_recipe("locked.toml").plugins["cyclegan"] == "imgtrans 0.0.9"
    warning = 'plugin "cyclegan" is imgtrans 0.1.0 here and was imgtrans 0.0.9 when the recipe'
    for command in ("show", "validate"):
        done = call(command, "locked.toml")
        assert (done.exit_code, warning in done.stderr) == (0, True)


def test_a_locked_recipe_says_how_to_get_a_plugin_that_is_missing():
    text = call("show", "quickstart", "--lock").stdout
    text = text.replace('[generator.residual_block]\nuse = "cyclegan/residual"\nnorm = "batch"',
                        '[generator.residual_block]\nuse = "wavelet/haar"')  # fmt: skip
    Path("locked.toml").write_text(text + 'wavelet = "imgtrans-wavelet 1.2"\n')
    answer = call("validate", "locked.toml").stderr
    assert "it came from imgtrans-wavelet 1.2: pip install imgtrans-wavelet==1.2" in answer
    Path("locked.toml").write_text(text + 'wavelet = "/somewhere/wavelet.py"\n')
    answer = call("validate", "locked.toml").stderr
    assert "it came from the file /somewhere/wavelet.py: give it with --plugin" in answer


def test_recipes_are_listed_with_what_they_are_and_where_from():
    lines = call("recipes").output.splitlines()
    assert re.match(r"quickstart +Generated landscapes, summer into winter .* imgtrans$", lines[-1])
    names = [row["name"] for row in json.loads(call("recipes", "--json").output)]
    assert names == ["cyclegan", "cyclegan_paper", "cyclegan_yosemite", "quickstart"]


def test_a_copied_recipe_keeps_its_comments_and_is_completed_by_editors():
    done = call("copy", "quickstart", "deep/first.toml")
    assert done.output.splitlines() == [
        "wrote  deep/first.toml",
        "wrote  deep/.imgtrans/recipe.schema.json",
        "next   edit it, then: imgtrans run deep/first.toml",
    ]
    text = Path("deep/first.toml").read_text()
    assert text.startswith("#:schema .imgtrans/recipe.schema.json\n\n# Generated landscapes")
    assert load_recipe("deep/first.toml") == load_recipe("quickstart")
    told = json.loads(call("schema").output)
    assert json.loads(Path("deep/.imgtrans/recipe.schema.json").read_text()) == told


def test_a_copy_is_written_over_nothing():
    Path("mine.toml").write_text("mine")
    done = call("copy", "quickstart", "mine.toml")
    assert done.exit_code == 2
    assert "mine.toml exists, and nothing is written over" in done.output
    assert Path("mine.toml").read_text() == "mine"


def test_what_cannot_be_copied_is_told():
    assert 'did you mean "quickstart"' in call("copy", "quickstrt", "a.toml").output
    Path("file").write_text("")
    assert "cannot be written" in call("copy", "quickstart", "file/a.toml").output
    Path("y").mkdir()
    Path("y/.imgtrans").write_text("")
    assert "y/.imgtrans" in call("copy", "quickstart", "y/a.toml").output
    assert not Path("y/a.toml").exists()
    assert not Path("a.toml").exists()


def test_a_copy_of_what_extends_a_file_is_whole():
    Path("there").mkdir()
    call("copy", "quickstart", "there/base.toml")
    Path("there/more.toml").write_text('extends = "base.toml"\nname = "more"\n')
    call("copy", "there/more.toml", "more.toml")
    assert load_recipe("more.toml") == load_recipe("there/more.toml")
    assert "extends" not in Path("more.toml").read_text()
    assert call("copy", "more.toml", "my own.toml").output.endswith("imgtrans run 'my own.toml'\n")
    call("copy", "there/more.toml", "there/again.toml")
    assert 'extends = "base.toml"' in Path("there/again.toml").read_text()


def test_the_facts_of_a_class_that_no_plugin_offers_are_told_too():
    class Mine(Loss):
        """Mine."""

        def build(self):
            raise NotImplementedError

    facts = component_facts(Mine)
    assert (facts["package"], facts["summary"]) == ("", "Mine.")
    assert component_facts(EncoderDecoder)["package"] == "imgtrans 0.1.0"
