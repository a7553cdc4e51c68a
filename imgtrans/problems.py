"""Errors a person reads: what was wrong, where, what is allowed, and how to fix it.

Every mistake a user can make ends as an ``ImgtransError``, which the command line prints without a
traceback, and so it prints an ``OSError``. Anything else that reaches the top is a bug of ours and
keeps its traceback.
"""

from __future__ import annotations

import difflib
import json
import types
import typing
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pydantic import BaseModel
    from pydantic_core import ErrorDetails


SHOWN: Final = 12
"""Lines of an error that lists things."""


MOST_PROBLEMS: Final = 100
"""Of a recipe that are told of at once: each is compared with all that is known."""


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


class ProcessError(ImgtransError):
    """What ended one of several processes, where the first one cannot say it for all."""


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


def listed(lines: Sequence[str]) -> str:
    """The first lines below each other, set in, and how many more there are."""
    more = [f"and {len(lines) - SHOWN:,} more"] if len(lines) > SHOWN else []
    return "\n".join(f"    {line}" for line in [*lines[:SHOWN], *more])


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


def describe(
    problems: Sequence[ErrorDetails], model: type[BaseModel], raw: Any, where: str
) -> RecipeError:
    """Every problem of a validation at once, in the recipe's own notation.

    Args:
        problems: what pydantic found.
        model: the model that was validated, to know which names are allowed where.
        raw: the tables as written, to show what was given.
        where: the file, or another name for where the tables came from.
    """
    found: dict[tuple[int | str, ...], list[tuple[str, str]]] = {}
    for details in problems[:MOST_PROBLEMS]:
        keys, head = _head(details, model, raw)
        explained = _explain(details, keys[:-1], model, raw)
        if (head, explained) not in found.setdefault(tuple(keys), []):
            found[tuple(keys)].append((head, explained))
    # Of a value that may be of several kinds, what is wrong inside tells more than the whole does.
    whole = {keys[:n] for keys in found for n in range(1, len(keys))}
    kept = [problems for keys, problems in found.items() if keys not in whole]
    lines = [f"  {p[0][0]}\n      {_either([text for _, text in p])}" for p in kept]
    count = "1 problem" if len(lines) == 1 else f"{len(lines)} problems"
    if len(problems) > MOST_PROBLEMS:
        count = f"{len(problems):,} problems; the first are"
    return RecipeError(f"{where} has {count}\n\n" + "\n".join(lines))


def _either(texts: Sequence[str]) -> str:
    """What a value that may be of several kinds must be: any of them."""
    first, *others = texts
    return " or ".join([first, *(text.removeprefix("must be ") for text in others)])


def _head(details: ErrorDetails, model: type[BaseModel], raw: Any) -> tuple[list[int | str], str]:
    """The keys that a problem is at, and its first line; an array is shown as a whole."""
    keys = _without_kinds([part for part in details["loc"] if part != "[key]"], model, raw)
    position = next((n for n, part in enumerate(keys) if isinstance(part, int)), len(keys))
    keys = keys[:position]
    tables, key = keys[:-1], keys[-1] if keys else ""
    head = f"[{'.'.join(map(_key, tables))}] {_key(key)}" if tables else _key(key)
    given = _given(raw, keys)
    return keys, head if given is _ABSENT else f"{head} = {as_toml(given)}"


def _key(part: int | str) -> str:
    """A key as TOML writes it."""
    text = str(part)
    bare = text.isascii() and text.replace("-", "").replace("_", "").isalnum()
    return text if bare or not text else json.dumps(text, ensure_ascii=False)


def _without_kinds(
    location: Sequence[int | str], model: type[BaseModel], raw: Any
) -> list[int | str]:
    """A location without pydantic's names of the kinds that a value may be of, as in ``int``."""
    keys: list[int | str] = []
    for position, part in enumerate(location):
        if keys and isinstance(part, str) and _names_a_kind(part, keys, model, raw):
            return [*keys, *location[position + 1 :]]
        keys.append(part)
    return keys


def _names_a_kind(part: str, keys: Sequence[int | str], model: type[BaseModel], raw: Any) -> bool:
    owner = _owner(model, keys[:-1], raw)
    field = owner.model_fields.get(str(keys[-1])) if owner else None
    if field is None:
        return False
    members = [part for part in typing.get_args(field.annotation) if part is not type(None)]
    union = typing.get_origin(field.annotation) in (typing.Union, types.UnionType)
    given = _given(raw, keys)
    inside = {*(given if isinstance(given, dict) else ())}
    for member in members:
        inside |= {*getattr(member, "model_fields", ())}
    return union and len(members) > 1 and part not in inside


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


def _explain(  # noqa: PLR0911 - one for each kind of problem
    details: ErrorDetails, tables: Sequence[Any], model: type[BaseModel], raw: Any
) -> str:
    kind, context = details["type"], details.get("ctx", {})
    match kind:
        case "missing" if isinstance(details["loc"][-1], int):
            return "has too few values"
        case "missing":
            return "is missing; it has no default, so the recipe must give it"
        case "too_long" | "too_short":
            few_or_many = "many" if kind == "too_long" else "few"
            most = context["max_length" if kind == "too_long" else "min_length"]
            return f"has too {few_or_many} values, {context['actual_length']} instead of {most}"
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
