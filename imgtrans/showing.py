"""What ``imgtrans show`` and ``imgtrans recipes`` tell, gathered from classes and files."""

from __future__ import annotations

import inspect
import re
from typing import TYPE_CHECKING, Any, Final

import tomli_w

from imgtrans.components import kind_name, kind_noun
from imgtrans.fields import defaults_of, model_schema
from imgtrans.hooks import AROUND, TABLES
from imgtrans.plugins import registry
from imgtrans.problems import as_toml
from imgtrans.recipe import shipped_recipes
from imgtrans.recipe.resuming import is_free

if TYPE_CHECKING:
    from collections.abc import Iterator
    from importlib.resources.abc import Traversable

    from imgtrans.components import Component

_WORDS: Final = {
    "array": "array",
    "boolean": "true or false",
    "integer": "whole number",
    "number": "number",
    "object": "table",
    "string": "text",
}
_BOUNDS: Final = {
    "exclusiveMinimum": "> {}",
    "minimum": "≥ {}",
    "exclusiveMaximum": "< {}",
    "maximum": "≤ {}",
    "multipleOf": "a multiple of {}",
    "minLength": "of {} letters or more",
    "maxLength": "of {} letters at most",
    "minItems": "of {} values or more",
    "maxItems": "of {} values at most",
    "pattern": "matching {}",
}


def component_facts(component: type[Component]) -> dict[str, Any]:
    """All there is to know of a component before it is used, as JSON's types."""
    name = registry().name_of(component)
    plugin = registry().plugins.get(name.rpartition("/")[0])
    parameters = list(_parameters(component))
    summary, _, more = inspect.cleandoc(component.__doc__ or "").partition("\n")
    return {
        "kind": kind_name(component),
        "name": name,
        "summary": summary,
        "description": more.strip(),
        "package": plugin.package if plugin else "",
        "defined": _place(component),
        "paper": component.paper,
        "parameters": parameters,
        "recipe": _recipe_table(name, component, parameters),
    }


def _place(component: type[Component]) -> str:
    """``file:line``, as terminals and editors open it."""
    try:
        return f"{inspect.getsourcefile(component)}:{inspect.getsourcelines(component)[1]}"
    except (OSError, TypeError):  # a notebook's, or there is only bytecode
        return component.__module__


def _parameters(component: type[Component]) -> Iterator[dict[str, Any]]:
    schema, defaults = model_schema(component), defaults_of(component)
    definitions = schema.get("$defs", {})
    for name, field in component.model_fields.items():
        default = as_toml(defaults[name]) if name in defaults else "not set"
        yield {
            "name": name,
            "type": _type(schema["properties"][name], definitions),
            "required": field.is_required(),
            "default": "" if field.is_required() else default,
            "description": " ".join((field.description or "").split()),
            "resume": "free" if is_free(field) or not component.trains else "fixed",
        }


def _type(  # noqa: PLR0911 - one for each form
    schema: dict[str, Any], definitions: dict[str, Any]
) -> str:
    """What a field takes, in words, with its range."""
    if isinstance(schema.get("kind"), type):
        return f"a {kind_noun(schema['kind'])}"
    if "$ref" in schema:
        table = definitions[schema["$ref"].rpartition("/")[2]]
        if "properties" not in table:
            return _type(table, definitions)
        return f"table of {', '.join(table['properties'])}"
    if "anyOf" in schema:
        kinds = (each for each in schema["anyOf"] if each != {"type": "null"})
        return " or ".join(_type(each, definitions) for each in kinds)
    if "enum" in schema or "const" in schema:
        *first, last = map(as_toml, schema.get("enum", [schema.get("const")]))
        return f"{', '.join(first)} or {last}" if first else last
    words = _WORDS.get(schema.get("type", ""), "any value")
    inside = schema.get("items", schema.get("additionalProperties"))
    if isinstance(inside, dict):
        words += f" (each: {_type(inside, definitions)})"
    elif "prefixItems" in schema:
        parts = (_type(each, definitions) for each in schema["prefixItems"])
        return f"array ({', '.join(parts)})"
    bounds = (text.format(schema[key]) for key, text in _BOUNDS.items() if key in schema)
    return " ".join([words, *bounds])


def _recipe_table(name: str, component: type[Component], parameters: list[dict[str, Any]]) -> str:
    """The table that chooses a component, with every default; what must be given is a comment."""
    path = TABLES[kind_name(component)].format(re.sub(r"\W", "-", name.rpartition("/")[2]))
    tables: dict[str, Any] = {"use": name, **defaults_of(component)}
    for key in reversed(path.split(".")):
        tables = {key: tables}
    first, use, rest = tomli_w.dumps(tables).partition("\nuse = ")
    use_line, _, rest = rest.partition("\n")
    wanted = "".join(
        f"# {p['name']} = …    needed: {p['type']}; {p['description']}\n"
        for p in parameters
        if p["required"]
    )
    around = AROUND.get(kind_name(component), "")
    return f"{around}{first}{use}{use_line}\n{wanted}{rest}"


def component_lines(facts: dict[str, Any]) -> Iterator[str]:
    """What a person reads of `component_facts`."""
    yield f"{facts['kind'].replace('_', ' ')} {facts['name']}"
    yield f"  {facts['summary']}"
    if facts["description"]:
        yield ""
        yield from (f"  {line}".rstrip() for line in facts["description"].splitlines())
    yield ""
    rows = ("package", "defined", "paper")
    yield from (f"{label:<9} {facts[label]}" for label in rows if facts[label])
    yield ""
    if facts["parameters"]:
        yield "parameters (* may change when a run is resumed)"
    width = max((len(each["name"]) for each in facts["parameters"]), default=0) + 1
    for each in facts["parameters"]:
        name = each["name"] + ("*" if each["resume"] == "free" else "")
        default = "needed" if each["required"] else f"default {each['default']}"
        yield f"  {name:<{width}}  {each['type']}; {default}"
        yield f"  {'':<{width}}  {each['description']}"
    yield ""
    yield "in a recipe"
    yield ""
    yield facts["recipe"].rstrip()


def recipe_rows() -> list[dict[str, str]]:
    """Name, summary and package of every installed recipe; the summary is its first comment."""
    plugins = registry().plugins
    return [
        {
            "name": name,
            "summary": _summary(file),
            "package": plugins[name.rpartition("/")[0]].package if "/" in name else "imgtrans",
        }
        for name, file in shipped_recipes().items()
    ]


def _summary(file: Traversable) -> str:
    try:
        text = file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        return f"cannot be read: {error}"
    lines = (line.removeprefix("#").strip() for line in text.splitlines() if line.startswith("# "))
    return next(lines, "").rstrip(".")
