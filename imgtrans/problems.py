"""Errors a person reads: what was wrong, where, what is allowed, and how to fix it.

Every mistake a user can make ends as an ``ImgtransError``, which the command line prints without a
traceback. Anything else that reaches the top is a bug of ours and keeps its traceback.
"""

from __future__ import annotations

import difflib
import json
import typing
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from pydantic import BaseModel, ValidationError
    from pydantic_core import ErrorDetails


class ImgtransError(Exception):
    """A mistake or a fault that a user can mend; the text is the whole message. Exit code 1."""

    exit_code = 1


class RecipeError(ImgtransError):
    """A recipe, an override or a command line that cannot be used as it stands. Exit code 2."""

    exit_code = 2


class DataNotFoundError(ImgtransError):
    """The images that a recipe names are not on this machine; its ``fallback`` may stand in."""


class NoHeldOutError(ImgtransError):
    """A dataset has no test split; runs go on and show training images in their samples."""


class RunInUseError(ImgtransError):
    """Another process is working in this run folder. Exit code 75, as in ``sysexits.h``."""

    exit_code = 75


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known word most like ``word``, or None where none is near."""
    known = list(known)
    short = {name.rpartition("/")[2]: name for name in known}
    matches = difflib.get_close_matches(word, [*known, *short], n=1, cutoff=0.6)
    return short.get(matches[0], matches[0]) if matches else None


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """`` did you mean "…"?`` with a leading ``;``, or nothing."""
    match = nearest(word, known)
    return f'; did you mean "{match}"?' if match else ""


def as_toml(value: Any) -> str:
    """A value as a recipe would write it, cut to one short line."""
    if isinstance(value, dict):
        text = "{" + ", ".join(f"{key} = {as_toml(item)}" for key, item in value.items()) + "}"
    elif isinstance(value, (list, tuple)):
        text = "[" + ", ".join(as_toml(item) for item in value) + "]"
    elif isinstance(value, (bool, str)):
        text = json.dumps(value, ensure_ascii=False)
    else:
        text = str(value)
    return text if len(text) <= 80 else text[:77] + "..."


def describe(error: ValidationError, model: type[BaseModel], raw: Any, where: str) -> RecipeError:
    """Every problem of a validation at once, in the recipe's own notation.

    Args:
        error: what pydantic found.
        model: the model that was validated, to know which names are allowed where.
        raw: the tables as written, to show what was given.
        where: the file, or another name for where the tables came from.
    """
    lines = [_line(details, model, raw) for details in error.errors(include_url=False)]
    count = "1 problem" if len(lines) == 1 else f"{len(lines)} problems"
    return RecipeError(f"{where} has {count}\n\n" + "\n".join(lines))


def _line(details: ErrorDetails, model: type[BaseModel], raw: Any) -> str:
    location = [part for part in details["loc"] if part != "[key]"]
    keys, index = _split_index(location)
    tables, key = keys[:-1], keys[-1] if keys else ""
    head = f"[{'.'.join(map(str, tables))}] {key}" if tables else str(key)
    given = _given(raw, location)
    if details["type"] == "missing" or given is _ABSENT:
        return f"  {head}\n      {_explain(details, tables, model, raw)}"
    shown = as_toml(given) if index is None else as_toml(_given(raw, keys))
    return f"  {head} = {shown}\n      {_explain(details, tables, model, raw)}"


def _split_index(location: Sequence[int | str]) -> tuple[list[int | str], int | None]:
    """A position inside an array is shown as the whole array."""
    for position, part in enumerate(location):
        if isinstance(part, int):
            return list(location[:position]), part
    return list(location), None


_ABSENT = object()


def _given(raw: Any, location: Sequence[int | str]) -> Any:
    for part in location:
        if part == "use" and isinstance(raw, str):  # the short form: block = "haar"
            return raw
        try:
            raw = raw[part]
        except (KeyError, IndexError, TypeError):
            return _ABSENT
    return raw


_PLAIN: Final = {
    "bool_parsing": "true or false",
    "bool_type": "true or false",
    "dict_type": "a table",
    "float_parsing": "a number",
    "float_type": "a number",
    "int_from_float": "a whole number",
    "int_parsing": "a whole number",
    "int_type": "a whole number",
    "model_type": "a table",
    "string_type": "a text in quotes",
    "tuple_type": 'an array, such as ["a", "b"] or [0.5, 0.999]',
}
"""What TOML has in place of Python's types, by pydantic's names of errors."""


def _explain(details: ErrorDetails, tables: Sequence[Any], model: type[BaseModel], raw: Any) -> str:
    kind, context = details["type"], details.get("ctx", {})
    match kind:
        case "missing":
            return "is missing; it has no default, so the recipe must give it"
        case "extra_forbidden":
            name, owner = str(details["loc"][-1]), _owner(model, tables, raw)
            known = sorted(owner.model_fields) if owner else []
            listed = f"; it has {', '.join(known)}" if known else ""
            return f'there is no "{name}" here{did_you_mean(name, known) or listed}'
        case "literal_error":
            allowed = context["expected"].replace("'", '"')
            names = [part.strip() for part in allowed.replace(" or ", ", ").split(",")]
            guess = did_you_mean(str(details["input"]), [name.strip('"') for name in names])
            return f"must be {allowed}{guess}"
        case _ if kind in _PLAIN:
            return f"must be {_PLAIN[kind]}"
        case _:
            message = details["msg"].removeprefix("Value error, ")
            message = message.replace("Input should be", "must be", 1)
            return message[0].lower() + message[1:] if message else kind


def _owner(model: type[BaseModel], tables: Sequence[Any], raw: Any) -> type[BaseModel] | None:
    """The model whose fields stand in this table; a component's comes from its ``use``."""
    from imgtrans.components import Component, is_abstract
    from imgtrans.plugins import registry

    owner: Any = model
    for part in tables:
        raw = raw.get(part) if isinstance(raw, dict) else None
        if isinstance(owner, type):
            field = owner.model_fields.get(str(part))  # type: ignore[attr-defined]
            owner = _model_in(field.annotation) if field else None
        else:  # a table of named components: its values are the models
            owner = owner[0] if owner else None
        if isinstance(owner, type) and issubclass(owner, Component) and is_abstract(owner):
            use = raw.get("use") if isinstance(raw, dict) else None
            try:
                owner = registry().find(owner, str(use)) if use else None
            except LookupError:
                return None
    return owner if isinstance(owner, type) else None


def _model_in(annotation: Any) -> Any:
    """The model that an annotation such as ``Model | None`` or ``dict[str, Model]`` holds."""
    from pydantic import BaseModel

    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    arguments = typing.get_args(annotation)
    found = [model for model in map(_model_in, arguments) if model is not None]
    if typing.get_origin(annotation) is dict:
        return found
    return found[0] if found else None


def listing(names: Mapping[str, Any] | Iterable[str]) -> str:
    """Names in one line, or "none"."""
    return ", ".join(sorted(names)) or "none"
