"""Recipes: reading, extending, overriding, writing back, and what may change on resume."""

import tomllib
from pathlib import Path

import pytest
from imgtrans_cyclegan import Convolutional, EncoderDecoder, Residual
from imgtrans_cyclegan.folders import Download
from pydantic import BaseModel, model_validator
from toys import tiny_paper_recipe, tiny_recipe

from imgtrans.components import (
    KINDS,
    Component,
    FeatureNetwork,
    Metric,
    PerDirection,
    ResidualBlock,
)
from imgtrans.plugins import registry
from imgtrans.problems import RecipeError
from imgtrans.recipe import Recipe, changes, load_recipe, to_toml
from imgtrans.recipe.model import Adam, Train
from imgtrans.recipe.reading import check


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def written(tmp_path, text, name="mine.toml"):
    (tmp_path / name).write_text(text)
    return name


@pytest.mark.parametrize("recipe", [tiny_recipe(), tiny_paper_recipe()])
def test_what_is_written_reads_back_equal(tmp_path, recipe):
    assert load_recipe(written(tmp_path, to_toml(recipe))) == recipe


@pytest.mark.parametrize("name", ["quickstart", "cyclegan_yosemite"])
def test_a_resolved_recipe_holds_full_names_and_every_default(tmp_path, name):
    recipe = load_recipe(name)
    text = to_toml(recipe)
    assert 'use = "cyclegan/encoder-decoder"' in text
    assert "decay_steps = " in text
    assert load_recipe(written(tmp_path, text)) == recipe


def test_components_nest_by_use_or_by_their_bare_name():
    table = load_recipe("quickstart", ['generator.residual_block={use="residual",norm="instance"}'])
    assert table.generator.residual_block == Residual(norm="instance")
    bare = load_recipe("quickstart", ["generator.residual_block=cyclegan/residual"])
    assert bare.generator.residual_block == Residual()


def test_a_recipe_extends_another_by_name_or_file(tmp_path):
    written(
        tmp_path, 'extends = "quickstart"\nname = "mine"\n[train]\nsteps = 7\ndecay_steps = 1\n'
    )
    recipe = load_recipe("mine.toml")
    assert (recipe.name, recipe.train.steps) == ("mine", 7)
    assert recipe.generator == load_recipe("quickstart").generator
    written(tmp_path, 'extends = "mine.toml"\n', "second.toml")
    with pytest.raises(RecipeError, match="only one level"):
        load_recipe("second.toml")


def test_changing_use_discards_the_tables_other_keys_and_says_so(tmp_path):
    said = []
    written(tmp_path, 'extends = "quickstart"\n[dataset]\nuse = "unpaired-folders"\nroot = "x"\n')
    recipe = load_recipe("mine.toml", say=said.append)
    assert recipe.dataset.image_size == 128  # not quickstart's 64
    assert "discarded the keys of the old one: image_size, flip, scenes, test_scenes" in said[0]


def test_the_order_of_tables_changes_nothing(tmp_path):
    tables = load_recipe("quickstart").tables()
    turned = Recipe.model_validate(dict(reversed(tables.items())))
    assert turned == Recipe.model_validate(tables)


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("train.steps", "write key.key=value"),
        ("=3", "write key.key=value"),
        ("name.x=3", "name"),
        ("train.steps.x=3", "is a value, not a table"),
    ],
)
def test_an_override_that_cannot_be_used_says_why(override, says):
    with pytest.raises(RecipeError, match=says):
        load_recipe("quickstart", [override])


def test_every_override_that_cannot_be_used_is_told():
    with pytest.raises(RecipeError, match=r"(?s)--set train\.steps: .*--set =3: "):
        load_recipe("quickstart", ["train.steps", "=3"])


def test_an_unknown_recipe_names_the_nearest_and_those_there_are():
    with pytest.raises(RecipeError) as caught:
        load_recipe("quikstart")
    assert 'did you mean "quickstart"?' in str(caught.value)
    assert "cyclegan_yosemite" in str(caught.value)


def models():
    yield from (Recipe, Train, Adam, Download, PerDirection)
    for kind in KINDS.values():
        yield from registry().components(kind).values()


@pytest.mark.parametrize("model", list(models()), ids=lambda model: model.__name__)
def test_every_field_is_described_and_declared_free_or_fixed(model: type[BaseModel]):
    for name, field in model.model_fields.items():
        assert field.description, name
        measures = issubclass(model, Component) and not model.trains
        declared = (field.json_schema_extra or {}).get("resume")
        assert measures or declared in ("free", "fixed"), name


def test_a_change_of_every_field_is_found_and_told_free_from_fixed():
    before = tiny_recipe()
    after = tiny_recipe(
        name="other",
        generator=EncoderDecoder(width=3, blocks=1, residual_block=Residual(norm="none")),
        discriminator=Convolutional(width=4),
        train={"steps": 9, "seed": 5, "workers": 1, "generators": Adam(learning_rate=1e-3)},
    )
    found = {change.key: change.free for change in changes(before, after)}
    assert found == {
        "name": True,
        "generator.width": False,
        "generator.residual_block.norm": False,
        "discriminator.width": False,
        "train.steps": True,
        "train.seed": False,
        "train.workers": True,
        "train.generators.learning_rate": True,
    }
    assert changes(before, tiny_recipe()) == []


class Grid(BaseModel):
    """A table within a component."""

    rows: int = 1


class Cells(FeatureNetwork):
    """A network with parameters of every depth, none declared free."""

    grid: Grid = Grid()
    block: ResidualBlock = Residual()

    @property
    def judge(self):
        raise NotImplementedError

    def build(self):
        raise NotImplementedError


class Compared(Metric):
    """A metric that holds a network."""

    subsets: int = 1
    features: FeatureNetwork = Cells()

    def build(self):
        raise NotImplementedError


def test_what_only_measures_may_change_on_resume_whatever_its_fields_say():
    after = Compared(subsets=2, features=Cells(grid=Grid(rows=2), block=Residual(norm="none")))
    found = changes(tiny_recipe(metric={"a": Compared()}), tiny_recipe(metric={"a": after}))
    assert {change.key: change.free for change in found} == {
        "metric.a.subsets": True,
        "metric.a.features.grid.rows": True,
        "metric.a.features.block.norm": True,
    }
    (new,) = changes(tiny_recipe(), tiny_recipe(metric={"a": after}))
    assert (new.key, new.free) == ("metric.a", True)


def test_a_component_of_a_notebook_is_saved_by_its_module_and_class():
    class Mine(Residual):
        """Another one."""

    recipe = tiny_recipe(generator=EncoderDecoder(width=2, residual_block=Mine()))
    used = recipe.tables()["generator"]["residual_block"]["use"]
    assert used.startswith("local:")
    assert used.endswith("Mine")


class Unusual(Residual):
    """Fields that TOML has no types for, all with defaults."""

    where: Path = Path("here")
    norms: frozenset[str] = frozenset({"batch"})


def test_a_component_may_have_any_fields_that_texts_and_numbers_can_stand_for(monkeypatch):
    monkeypatch.setitem(registry()._local._classes, "local:unusual", Unusual)
    override = "generator.residual_block.use=local:unusual"
    block = load_recipe("quickstart", [override]).generator.residual_block
    assert isinstance(block, Unusual)
    tables = tomllib.loads(to_toml(tiny_recipe(generator=EncoderDecoder(residual_block=block))))
    assert tables["generator"]["residual_block"]["where"] == "here"
    assert tables["generator"]["residual_block"]["norms"] == ["batch"]


def test_a_validator_that_raises_anything_is_told_with_its_component(monkeypatch):
    class Faulty(Residual):
        """Raises what pydantic does not catch."""

        @model_validator(mode="after")
        def _check(self):
            message = "gone"
            raise KeyError(message)

    monkeypatch.setitem(registry()._local._classes, "local:faulty", Faulty)
    with pytest.raises(RecipeError, match=r"Faulty raised KeyError: 'gone'"):
        load_recipe("quickstart", ["generator.residual_block.use=local:faulty"])


def test_a_recipe_saved_with_a_byte_order_mark_is_read(tmp_path):
    (tmp_path / "mine.toml").write_text('extends = "quickstart"\n', encoding="utf-8-sig")
    assert load_recipe(str(tmp_path / "mine.toml")).name == "quickstart"


@pytest.mark.parametrize("name", ["~nosuchuser/x.toml", "x" * 300])
def test_a_name_that_can_be_no_file_is_an_error(name):
    with pytest.raises(RecipeError, match="is no recipe"):
        load_recipe(name)


def test_a_component_cannot_have_a_field_called_use():
    with pytest.raises(TypeError, match="rename the field"):
        type("Bad", (Component,), {"__annotations__": {"use": int}, "use": 1})


@pytest.mark.parametrize("use", ["encoder-decoder", "cyclegan/encoder-decoder"])
def test_another_name_of_the_same_component_keeps_its_keys(tmp_path, use):
    said = []
    written(tmp_path, f'extends = "quickstart"\n[generator]\nuse = "{use}"\nblocks = 2\n')
    recipe = load_recipe("mine.toml", say=said.append)
    assert (recipe.generator.width, recipe.generator.blocks) == (24, 2)
    assert said == []


GOOD = to_toml(tiny_recipe())


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("x = " + "[" * 10_000 + "]" * 10_000, "tables or arrays lie in each other"),
        ("x = " + "[" * 40 + "]" * 40, "tables or arrays lie in each other"),
        ("x = " + "{a = " * 40 + "1" + "}" * 40, "tables or arrays lie in each other"),
        ("x." * 100_000 + "x = 1", "a key has more than 32 parts"),
        ('"x" . ' * 100 + "x = 1", "a key has more than 32 parts"),
        ("x = 0x" + "f" * 10_000, "a whole number has more than 64 bits"),
        (GOOD + "#" * (1 << 20), "has more than 1,048,576 bytes"),
        (GOOD + "".join(f"a{n} = 1\n" for n in range(10_000)), "has 10,000 problems; the first"),
    ],
    ids=lambda text: text[:12],
)
def test_a_recipe_beyond_all_bounds_is_refused_at_once(tmp_path, text, says):
    (tmp_path / "x.toml").write_text(text)
    with pytest.raises(RecipeError, match=says):
        load_recipe(tmp_path / "x.toml")


@pytest.mark.parametrize("value", ["[" * 10_000, "9" * 10_000, "a." * 50_000, "[" * 40 + "]" * 40])
def test_an_override_beyond_all_bounds_is_refused(value):
    with pytest.raises(RecipeError, match="must be a whole number"):
        load_recipe("quickstart", [f"train.steps={value}"])


def test_an_override_of_many_parts_is_refused():
    with pytest.raises(RecipeError, match="a key has more than 32 parts"):
        load_recipe("quickstart", [".".join("a" * 2000) + "=1"])


def test_a_recipe_in_a_file_of_json_may_not_be_deeper_than_one_in_toml():
    tables = tiny_recipe().tables()
    for _ in range(500):
        tables = {"a": tables}
    with pytest.raises(
        RecipeError, match="a model: more than 32 tables or arrays lie in each other"
    ):
        check(tables, "a model")
