"""Write what each wrong recipe is answered: ``python tests/problems/write.py``, then read it."""

from pathlib import Path

from imgtrans import RecipeError, load_recipe

for path in sorted(Path(__file__).parent.glob("*.toml")):
    try:
        load_recipe(str(path))
    except RecipeError as error:
        answer = str(error).replace(f"{path.parent}/", "")
        path.with_suffix(".txt").write_text(f"{answer}\n")
    else:
        message = f"{path} is valid"
        raise SystemExit(message)
