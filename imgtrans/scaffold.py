"""Writes a plugin package that is complete as it stands: ``imgtrans new-plugin``."""

from __future__ import annotations

import os
import re
from datetime import UTC, datetime
from importlib.resources import files
from importlib.util import find_spec
from string import Template
from typing import TYPE_CHECKING, Final

from imgtrans.hooks import AROUND, HOOKS, TABLES
from imgtrans.problems import RecipeError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

NAME: Final = r"[a-z][a-z0-9]*(-[a-z0-9]+)*"
LONGEST: Final = 30
"""Letters of a name: with more, the templates' lines would be too long for their linter."""

_FILES: Final = {
    "pyproject.toml": "pyproject.toml.txt",
    "README.md": "README.md.txt",
    "LICENSE": "LICENSE.txt",
    "tests/test_${module}.py": "test.py.txt",
    ".github/workflows/test.yml": "workflow.yml.txt",
}
"""File of a plugin to its template."""

_KEYS: Final = {"loss": "weight = 1.0\n", "dataset": "image_size = 64\n"}
"""What a recipe that extends the quickstart says besides ``use``."""

_PUBLIC: Final = {
    "generator": ["Generator"],
    "discriminator": ["Discriminator"],
    "residual_block": ["ResidualBlock"],
    "loss": ["Loss"],
    "dataset": ["Dataset", "Images", "Split"],
    "metric": ["Metric"],
    "feature_network": ["FeatureNetwork", "Judge"],
}
"""What a kind's module needs of imgtrans when it is imported."""

_STANDARD: Final = {
    "dataset": ["from dataclasses import dataclass, replace"],
    "feature_network": ["from hashlib import sha256", "from pathlib import Path"],
}
"""And of Python."""

_TYPES: Final = {"loss": ["Term", "Translation"], "metric": ["PerImage", "Translated"]}
"""And what it needs of imgtrans for its annotations only."""


def new_plugin(name: str, kinds: Sequence[str], into: Path) -> list[Path]:
    """Write the package ``imgtrans-NAME`` into a new folder of that name.

    Args:
        name: of the plugin, as recipes will write it.
        kinds: which kinds of component it begins with; each at most once is written.
        into: where the folder goes.

    Returns:
        The files written, the folder's own first.

    Raises:
        RecipeError: the name is no plugin's name, or is taken; or the folder exists or cannot be
            made.
    """
    module = f"imgtrans_{name.replace('-', '_')}"
    folder = into / f"imgtrans-{name}"
    _refuse_wrong(name)
    _refuse_taken(name, module, folder)
    kinds = [kind for kind in HOOKS if kind in kinds]
    words = _words(name, module, kinds)
    texts = {target: _template(source) for target, source in _FILES.items()}
    texts["${module}.py"] = _module(kinds)
    written = [folder]
    try:
        for target, text in texts.items():
            file = folder / Template(target).substitute(words)
            file.parent.mkdir(parents=True, exist_ok=True)
            with file.open("x", encoding="utf-8") as opened:
                opened.write(Template(text).substitute(words))
            written.append(file)
    except OSError as error:
        message = f"{error.filename} cannot be written: {error.strerror}"
        raise RecipeError(message) from None
    return written


def _refuse_wrong(name: str) -> None:
    if re.fullmatch(NAME, name) and not name.startswith("imgtrans") and len(name) <= LONGEST:
        return
    better = re.sub(r"[^a-z0-9]+", "-", name.lower()).removeprefix("imgtrans")
    better = better.lstrip("-0123456789").rstrip("-")
    message = (
        f'"{name}" is no name for a plugin: use lower-case letters, digits and single "-", '
        f"{LONGEST} of them at most, without imgtrans, which the package's name gets by itself"
    )
    if re.fullmatch(NAME, better) and len(better) <= LONGEST:
        message += f'; such as "{better}"'
    raise RecipeError(message)


def _refuse_taken(name: str, module: str, folder: Path) -> None:
    from imgtrans.plugins import registry

    taken = next((each for each in registry().plugins.values() if each.name == name), None)
    if taken is not None:
        message = f'a plugin called "{name}" is installed ({taken.package}); choose another name'
        raise RecipeError(message)
    if find_spec(module) is not None:
        message = f'a module called "{module}" can be imported here; choose another name'
        raise RecipeError(message)
    if os.path.lexists(folder):
        message = f"{folder} exists, and nothing is written over; choose another name or place"
        raise RecipeError(message)


def _words(name: str, module: str, kinds: Sequence[str]) -> dict[str, str]:
    """What the templates' ``$words`` stand for."""
    from imgtrans import __version__

    names = (f"{kind.replace('_', ' ')}{'es' if kind == 'loss' else 's'}" for kind in kinds)
    nouns = ", ".join(names).capitalize()
    snippets = (
        f'\n```toml\nextends = "quickstart"\nname = "{name}"\n\n'
        f"{AROUND.get(kind, '')}"
        f'[{TABLES[kind].format(name)}]\nuse = "{name}/{name}"\n{_KEYS.get(kind, "")}```\n'
        for kind in kinds
    )
    return {
        "name": name,
        "module": module,
        "Class": "".join(part.capitalize() for part in name.split("-")),
        "nouns": nouns,
        "version": __version__,
        "year": str(datetime.now(tz=UTC).year),
        "snippets": "".join(snippets),
    }


def _module(kinds: Sequence[str]) -> str:
    """The plugin's module: imports, one component per kind, one hook per kind."""
    standard = (line for kind in kinds for line in _STANDARD.get(kind, ()))
    types = sorted(name for kind in kinds for name in _TYPES.get(kind, ()))
    tensor = {"residual_block", "loss", "dataset", "metric", "feature_network"} & set(kinds)
    module = {"residual_block", "generator", "discriminator", "feature_network"} & set(kinds)
    torch = ["Tensor"] * bool(tensor) + ["nn"] * bool(module)
    words = {
        "standard": "".join(f"{line}\n" for line in standard),
        "imports": _imports({name for kind in kinds for name in _PUBLIC[kind]}),
        "types": f"    from imgtrans import {', '.join(types)}\n" if types else "",
    }
    words["types"] += f"    from torch import {', '.join(torch)}\n"
    components = [_template(f"kinds/{kind}.txt") for kind in kinds]
    words["parts"] = "\n\n".join([*components, *(_hook(kind) for kind in kinds)])
    return Template(_template("module.py.txt")).safe_substitute(words)


def _imports(names: set[str]) -> str:
    """As ruff would format it: on one line where it fits."""
    listed = [*sorted({*names, *(["Field"] * (names != {"Loss"}))}), "hookimpl"]
    line = f"from imgtrans import {', '.join(listed)}"
    many = "".join(f"    {name},\n" for name in listed)
    return line if len(line) <= 100 else f"from imgtrans import (\n{many})"


def _hook(kind: str) -> str:
    base = _PUBLIC[kind][0]
    return (
        f"@hookimpl\ndef {HOOKS[kind]}() -> Mapping[str, type[{base}]]:\n"
        f'    return {{"$name": ${{Class}}{base}}}\n'
    )


def _template(name: str) -> str:
    return (files("imgtrans") / "template" / name).read_text("utf-8")
