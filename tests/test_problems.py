"""What a wrong recipe is answered, word by word: the texts beside the recipes in ``problems/``."""

from pathlib import Path

import pytest

from imgtrans import RecipeError, load_recipe
from imgtrans.problems import as_toml, did_you_mean

FOLDER = Path(__file__).parent / "problems"


@pytest.mark.parametrize("name", sorted(path.stem for path in FOLDER.glob("*.toml")))
def test_golden_every_problem_is_told_in_the_recipes_own_notation(name):
    """``tests/problems/write.py`` writes the texts anew; read every one that changed."""
    with pytest.raises(RecipeError) as caught:
        load_recipe(str(FOLDER / f"{name}.toml"))
    answer = str(caught.value).replace(f"{FOLDER}/", "")
    assert f"{answer}\n" == (FOLDER / f"{name}.txt").read_text(encoding="utf-8")
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (True, "true"),
        ("a", '"a"'),
        ([1, "b"], '[1, "b"]'),
        ({"use": "x", "weight": 1.5}, '{use = "x", weight = 1.5}'),
        ("é" * 100, '"' + "é" * 76 + "..."),
    ],
)
def test_values_are_shown_as_a_recipe_would_write_them(value, written):
    assert as_toml(value) == written


def test_only_near_names_are_guessed():
    assert did_you_mean("stepz", ["steps", "seed"]) == '; did you mean "steps"?'
    assert did_you_mean("residul", ["cyclegan/residual"]) == '; did you mean "cyclegan/residual"?'
    assert did_you_mean("zebra", ["steps", "seed"]) == ""
