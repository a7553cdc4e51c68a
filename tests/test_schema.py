"""The schema that editors complete and check recipes with."""

import datetime as dt
import json
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Literal

import jsonschema
import pytest
from pydantic import BaseModel, ConfigDict, Field

from imgtrans.components import Dataset, ResidualBlock
from imgtrans.plugins import registry
from imgtrans.recipe import shipped_recipes
from imgtrans.schema import recipe_schema

PROBLEMS = Path(__file__).parent / "problems"
TAPLO = Path(sys.executable).parent / "taplo"

VALIDATES_ONLY = {  # told by `imgtrans validate`: a schema compares no values with each other
    "between_tables_and_within",
    "decay_longer_than_training",
    "load_size_too_small",
    "not_toml",  # an editor has its own words for it
    "size_not_a_multiple",
    "unknown_base",
}
WRONG = sorted({path.stem for path in PROBLEMS.glob("*.toml")} - VALIDATES_ONLY)

RECIPE = """
name = "mine"
dataset = "seasons/landscapes"
[generator]
use = "cyclegan/encoder-decoder"
{generator}
[loss.cycle]
use = "cyclegan/cycle-consistency"
{loss}
[train]
steps = 3
"""


@pytest.fixture(scope="module")
def schema():
    return recipe_schema()


@pytest.fixture(scope="module")
def problems_of(schema):
    jsonschema.Draft7Validator.check_schema(schema)
    validator = jsonschema.Draft7Validator(schema)

    def problems(text):
        """``key.key`` and what is wrong there, of every problem."""
        found = validator.iter_errors(tomllib.loads(text))
        return [(".".join(map(str, each.absolute_path)), each.message) for each in found]

    return problems


@pytest.mark.parametrize("name", shipped_recipes())
def test_every_shipped_recipe_is_right(problems_of, name):
    assert problems_of(shipped_recipes()[name].read_text("utf-8")) == []


@pytest.mark.parametrize("name", WRONG)
def test_a_recipe_that_is_refused_is_wrong_in_an_editor_too(problems_of, name):
    assert problems_of((PROBLEMS / f"{name}.toml").read_text("utf-8"))


@pytest.mark.parametrize(
    ("generator", "loss", "where", "what"),
    [
        ("blocks = 0", "", "generator.blocks", "0 is less than or equal to the minimum"),
        ("blokcs = 3", "", "generator", "'blokcs' was unexpected"),
        ('norm = "layer"', "", "generator.norm", "'layer' is not one of ['batch'"),
        ("residual_block = 3", "", "generator.residual_block", "3 is not of type"),
        ('residual_block = "haar"', "", "generator.residual_block", "'haar' is not one of"),
        ('residual_block = {norm = "batch"}', "", "generator.residual_block", "'use' is a requir"),
        (
            'residual_block = {use = "residual", norm = "x"}',
            "",
            "generator.residual_block.norm",
            "'x' is not one of",
        ),
        ("", "weight = -1", "loss.cycle.weight", "is not valid under any"),
    ],
)
def test_what_is_wrong_is_told_at_its_own_key(problems_of, generator, loss, where, what):
    ((path, message),) = problems_of(RECIPE.format(generator=generator, loss=loss))
    assert (path, what in message) == (where, True), message


@pytest.mark.parametrize(
    ("generator", "loss"),
    [
        ('residual_block = "residual"', ""),
        ('residual_block = {use = "cyclegan/residual"}', "weight = {x_to_y = 1.0, y_to_x = 2}"),
        ("", 'weight = 3\n[plugins]\ncyclegan = "imgtrans 0.1.0"'),
    ],
)
def test_short_names_bare_names_and_weights_per_direction_are_right(problems_of, generator, loss):
    assert problems_of(RECIPE.format(generator=generator, loss=loss)) == []


def test_a_recipe_that_extends_another_may_leave_out_anything_and_is_still_checked(problems_of):
    base = 'extends = "quickstart"\n[generator]\nwidth = {}\n[dataset]\nroot = "photos"\n'
    assert problems_of(base.format(8)) == []
    assert problems_of(base.format(0)) == [
        ("generator.width", "0 is less than or equal to the minimum of 0")
    ]
    assert {message for _, message in problems_of('[generator]\nuse = "encoder-decoder"\n')} == {
        f"'{key}' is a required property" for key in ("name", "dataset", "loss", "train")
    }


class Doubled(ResidualBlock):
    """A block of two blocks."""

    inner: ResidualBlock = None
    options: dict[str, int] = Field(default={})

    def build(self, channels):
        raise NotImplementedError


class Holding(ResidualBlock):
    """A block that may hold itself, and others in arrays and tables."""

    inner: "Holding | None" = None
    blocks: list[ResidualBlock] = Field(default_factory=list)
    named: dict[str, ResidualBlock] = Field(default={})
    when: dt.datetime | None = None
    sizes: frozenset[int] = frozenset()
    most: float = float("inf")
    word: Literal["a", "b"] = "a"

    def build(self, channels):
        raise NotImplementedError


class Odd:
    """What no schema describes."""


class Strange(BaseModel):
    model_config = ConfigDict(arbitrary_types_allowed=True)
    odd: Odd | None = None


class Unusual(Dataset):
    """A dataset with a table of a type of its own."""

    model_config = ConfigDict(arbitrary_types_allowed=True)
    strange: Strange | None = None

    def build(self, split, domains):
        raise NotImplementedError


@pytest.fixture
def offered(monkeypatch):
    """The reference plugin also offers these, as long as a test lasts."""
    registry().load_all()
    components = registry().plugins["cyclegan"].components
    for component, kind, name in (
        (Doubled, "residual_block", "odd"),
        (Holding, "residual_block", "holding"),
        (Unusual, "dataset", "odd"),
    ):
        component.model_rebuild()
        monkeypatch.setitem(components, kind, {**components[kind], name: component})
        monkeypatch.setitem(registry()._names, component, f"cyclegan/{name}")


def test_blocks_inside_blocks_end_and_strange_types_are_let_through(offered):
    schema = recipe_schema()
    validator = jsonschema.Draft7Validator(schema)
    block = '{use = "odd", inner = {use = "odd", inner = "residual"}}'
    assert validator.is_valid(
        tomllib.loads(RECIPE.format(generator=f"residual_block = {block}", loss=""))
    )
    wrong = block.replace('"residual"', '{use = "residual", nrm = 1}')
    (error,) = validator.iter_errors(
        tomllib.loads(RECIPE.format(generator=f"residual_block = {wrong}", loss=""))
    )
    assert list(error.absolute_path) == ["generator", "residual_block", "inner", "inner"]
    table = '{use = "cyclegan/odd", strange = {odd = 3}}'
    text = RECIPE.format(generator="", loss="").replace('"seasons/landscapes"', table)
    assert validator.is_valid(tomllib.loads(text))


@pytest.mark.parametrize(
    ("table", "wrong"),
    [
        ('inner = {use = "holding"}', "'use' was unexpected"),
        ("inner = {inner = {}}", None),
        ('blocks = ["residual", {use = "residual", norm = "none"}]', None),
        ("blocks = [{}]", "'use' is a required property"),
        ('blocks = [{norm = "none"}]', "'use' is a required property"),
        ('named = {a = "residual"}', None),
        ("named = {a = {}}", "'use' is a required property"),
        ("when = 2020-01-02T03:04:05", None),
        ('when = "2020-01-02T03:04:05"', None),
        ("sizes = [1, 1]", None),
        ("most = 3", None),
        ('word = "c"', "'c' is not one of"),
    ],
)
def test_parts_in_arrays_times_and_a_part_in_itself(offered, table, wrong):
    text = json.dumps(recipe_schema(), allow_nan=False)  # as strict as other programs' readers
    block = f'residual_block = {{use = "cyclegan/holding", {table}}}'
    recipe = tomllib.loads(RECIPE.format(generator=block, loss=""))
    told = [e.message for e in jsonschema.Draft7Validator(json.loads(text)).iter_errors(recipe)]
    assert (not told) if wrong is None else any(wrong in each for each in told), told


@pytest.mark.parametrize(
    ("line", "wrong"),
    [
        ('name = "a b"', "does not match"),
        ('name = ""', "does not match"),
        ('name = "a"\ndomains = ["a", "a"]', "has non-unique elements"),
        ('name = "a"\nloss."a b" = "identity"', "does not match"),
        (
            'name = "a"\nloss.a = {use = "identity", weight = {x_to_y = 1}}',
            "is a required property",
        ),
        ('name = "a"\nloss.a = "identity"', None),
        ('name = "a"\nextends = "quickstart"\nloss = {}', None),
    ],
)
def test_names_and_what_a_recipe_says_once_are_checked_too(problems_of, line, wrong):
    rest = 'dataset = "landscapes"\ngenerator = "encoder-decoder"\ntrain = {steps = 1}\n'
    told = [message for _, message in problems_of(f"{line}\n{rest}")]
    if "loss" not in line:
        told.remove("'loss' is a required property")
    assert (not told) if wrong is None else any(wrong in each for each in told), told


def test_a_short_name_of_two_components_is_wrong_in_an_editor_too(offered, monkeypatch):
    components = registry().plugins["seasons"].components
    monkeypatch.setitem(components, "residual_block", {"odd": Doubled})
    table = 'residual_block = "{}"'
    validator = jsonschema.Draft7Validator(recipe_schema())
    for name, right in (("odd", False), ("cyclegan/odd", True), ("seasons/odd", True)):
        text = RECIPE.format(generator=table.format(name), loss="")
        assert validator.is_valid(tomllib.loads(text)) is right


def lint(folder, *names):
    """What Taplo, which editors use, says of files that name their schema."""
    return subprocess.run(
        [TAPLO, "lint", "--no-auto-config", *names],
        cwd=folder, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory, schema):
    folder = tmp_path_factory.mktemp("edited")
    (folder / ".imgtrans").mkdir()
    (folder / ".imgtrans/recipe.schema.json").write_text(json.dumps(schema))
    texts = {name: file.read_text("utf-8") for name, file in shipped_recipes().items()}
    texts |= {name: (PROBLEMS / f"{name}.toml").read_text("utf-8") for name in WRONG}
    for name, text in texts.items():
        (folder / f"{name}.toml").write_text(f"#:schema .imgtrans/recipe.schema.json\n\n{text}")
    shutil.copytree(folder, folder / "deeper")
    return folder


def test_an_editor_finds_every_shipped_recipe_right(folder):
    done = lint(folder, *(f"{name}.toml" for name in shipped_recipes()))
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", WRONG)
def test_an_editor_shows_what_is_wrong(folder, name):
    done = lint(folder, f"{name}.toml")
    assert done.returncode != 0
    assert f"{name}.toml:" in done.stderr, done.stderr


def test_an_editor_marks_the_value_that_is_wrong(folder):
    text = (folder / "quickstart.toml").read_text().replace("width = 24", "width = 0")
    (folder / "marked.toml").write_text(text)
    done = lint(folder, "marked.toml")
    line = text[: text.index("width = 0")].count("\n") + 1
    assert f"marked.toml:{line}:9" in done.stderr
    assert done.stderr.count("0 is less than or equal to the minimum of 0") == 2
