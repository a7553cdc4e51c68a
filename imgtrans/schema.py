"""The JSON schema of recipes with everything installed, in the dialect that TOML editors read.

Draft-07, and nothing that Taplo or Tombi pass over: each kind is one definition that chooses among
its components, which are one definition each, so blocks inside blocks end. What must be there is
said apart from what may be, because a recipe that extends another may leave out anything.
"""

from __future__ import annotations

import json
from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from imgtrans.components import KINDS, Component, kind_name, kind_noun
from imgtrans.fields import defaults_of, model_schema
from imgtrans.plugins import registry

if TYPE_CHECKING:
    from pydantic import BaseModel

DIALECT: Final = "http://json-schema.org/draft-07/schema#"

_LEFT_OUT: Final = ("title", "resume", "$defs", "required", "default", "minProperties", "format")
"""Of what pydantic and our fields say: not for editors, or said elsewhere."""
_TIMES: Final = ("date", "date-time", "time", "duration")
"""Formats of what TOML has types of its own for, or texts that pydantic is less strict about."""


def as_json(value: Any) -> str:
    """JSON in ASCII, so that no terminal's encoding spoils it.

    Raises:
        ValueError: it holds a number that JSON has not.
    """
    return json.dumps(value, indent=1, allow_nan=False)


def recipe_schema() -> dict[str, Any]:
    """The schema of a recipe, as JSON's types; every plugin is loaded."""
    return _Schema().of_recipes()


class _Schema:
    """Definitions made so far, and what each must hold, by name."""

    def __init__(self) -> None:
        self.definitions: dict[str, Any] = {}
        self.needs: dict[str, Any] = {}

    def of_recipes(self) -> dict[str, Any]:
        from imgtrans.recipe import Recipe

        self._model("recipe", Recipe, {}, needed=())
        recipe, needs = self.definitions.pop("recipe"), self.needs.pop("recipe")
        recipe["properties"]["extends"] = {
            "type": "string",
            "description": "a recipe's name or file, whose tables these change; one level",
        }
        definitions = {**self.definitions, **{f"needs.{n}": s for n, s in self.needs.items()}}
        return {
            "$schema": DIALECT,
            "title": "imgtrans recipe",
            **recipe,
            "if": {"required": ["extends"]},
            "then": {},
            "else": needs,
            "definitions": dict(sorted(definitions.items())),
        }

    def _model(
        self, name: str, model: type[BaseModel], first: dict[str, Any], needed: tuple[str, ...]
    ) -> None:
        """Define a model's table; ``first`` are properties that it has besides its fields."""
        raw = model_schema(model)
        for inner, schema in raw.get("$defs", {}).items():
            self._table(f"{name}.{inner}", schema, name, {}, ())
        self._table(name, raw, name, first, needed)
        if issubclass(model, Component):
            for field, default in defaults_of(model).items():
                with suppress(ValueError):
                    as_json(default)
                    self.definitions[name]["properties"][field]["default"] = default

    def _table(
        self,
        name: str,
        raw: dict[str, Any],
        owner: str,
        first: dict[str, Any],
        needed: tuple[str, ...],
    ) -> None:
        table = self._plain(raw, owner)
        table["properties"] = {**first, **table.get("properties", {})}
        self.definitions[name] = table
        needs: dict[str, Any] = {}
        if required := [*needed, *raw.get("required", ())]:
            needs["required"] = required
        inside = {
            key: {**_needs_of(schema), **_least(raw["properties"].get(key, {}))}
            for key, schema in table["properties"].items()
        }
        if inside := {key: schema for key, schema in inside.items() if schema}:
            needs["properties"] = inside
        self.needs[name] = needs

    def _plain(self, raw: Any, owner: str) -> Any:
        """Pydantic's schema in the dialect's words; references lead to our definitions."""
        if isinstance(raw, list):
            return [self._plain(each, owner) for each in raw]
        if not isinstance(raw, dict):
            return raw
        made = {
            key: {name: self._plain(each, owner) for name, each in value.items()}
            if key == "properties"
            else self._plain(value, owner)
            for key, value in raw.items()
            if key not in _LEFT_OUT
        }
        if raw.get("format") in _TIMES:
            made.pop("type", None)
        if raw.get("type") == "array" and "prefixItems" not in raw:
            made.pop("uniqueItems", None)  # a set takes a value twice
        if isinstance(kind := made.pop("kind", None), type):
            made["allOf"] = [{"$ref": self._kind(kind)}]
        if "$ref" in made:  # what stands beside a $ref is passed over
            inner = str(made.pop("$ref")).rpartition("/")[2]
            made["allOf"] = [{"$ref": f"#/definitions/{owner}.{inner}"}]
        if "prefixItems" in made:
            made["items"] = made.pop("prefixItems")
        if "anyOf" in made:  # TOML has no null; what may be None is left out
            kept = [each for each in made.pop("anyOf") if each != {"type": "null"}]
            made = {**made, **(kept[0] if len(kept) == 1 else {"anyOf": kept})}
        return made

    def _kind(self, kind: type[Component]) -> str:
        """A reference to a kind's definition, which is made at its first use."""
        name = kind_name(kind)
        if KINDS.get(name) is not kind:  # an abstract class between a kind and its components
            name = f"{name}.{kind.__module__}.{kind.__qualname__}"
        if name not in self.definitions:
            self.definitions[name] = {}  # a component of the kind may hold the kind itself
            self._fill_kind(name, kind)
        return f"#/definitions/{name}"

    def _fill_kind(self, name: str, kind: type[Component]) -> None:
        """A choice that editors complete from, and conditions that tell precisely what is wrong.

        The choice ends in what is always right: of one that fails, nothing but the whole is told.
        """
        offered = registry().components(kind)
        count = Counter(full.rpartition("/")[2] for full in offered)
        known, bare, tables = [], [], []
        conditions: list[dict[str, Any]] = []
        needed: list[dict[str, Any]] = []
        for full, component in sorted(offered.items()):
            short = full.rpartition("/")[2]
            names = [full, *([short] if count[short] == 1 else [])]
            table = self._component(name, full, component, names)
            known += names
            bare += names if self.needs[table]["required"] == ["use"] else []
            use = {"properties": {"use": {"enum": names}}, "required": ["use"]}
            is_it = {"type": "object", **use}
            tables.append({"$ref": f"#/definitions/{table}"})
            conditions.append({"if": is_it, "then": tables[-1]})
            needed.append({"if": is_it, "then": {"$ref": f"#/definitions/needs.{table}"}})
        unnamed = self._without_use(tables)
        is_named = {"anyOf": [{"not": {"type": "object"}}, {"required": ["use"]}]}
        is_known = {"properties": {"use": {"enum": known}}}  # not where completion looks: twice
        self.definitions[name] = {
            "description": f"a {kind_noun(kind)}: a table whose use names it, or its name alone",
            "type": ["object", "string"],
            "anyOf": [*tables, {"enum": bare}, unnamed, {}],
            "allOf": [
                *conditions,
                {"if": {"type": "string"}, "then": {"enum": bare}},
                {"if": is_named, "else": unnamed},
                {"if": is_known, "else": is_known},
            ],
        }
        self.needs[name] = {"required": ["use"], "allOf": needed}

    def _component(self, kind: str, full: str, component: type[Component], names: list[str]) -> str:
        """Define one component's table; returns the definition's name."""
        name = f"{kind}.{full.replace('/', '.')}"  # a / in a JSON pointer would be escaped
        use = {"use": {"enum": names, "description": component.summary()}}
        self._model(name, component, use, ("use",))
        return name

    def _without_use(self, tables: list[dict[str, Any]]) -> dict[str, Any]:
        """What changes some keys of the component that the extended recipe names."""
        keys: dict[str, list[Any]] = {}
        for table in tables:
            definition = self.definitions[table["$ref"].rpartition("/")[2]]
            for key, schema in definition["properties"].items():
                if key != "use" and schema not in keys.setdefault(key, []):
                    keys[key].append(schema)
        return {
            "type": "object",
            "additionalProperties": False,
            "properties": {
                key: schemas[0] if len(schemas) == 1 else {"anyOf": schemas}
                for key, schemas in keys.items()
            },
        }


def _needs_of(schema: dict[str, Any]) -> dict[str, Any]:
    """What a key's value must hold, where it is a table or a table of tables."""
    if "allOf" in schema:
        reference = schema["allOf"][0]["$ref"].removeprefix("#/definitions/")
        return {"$ref": f"#/definitions/needs.{reference}"}
    for key in ("additionalProperties", "items"):
        within = schema.get(key)
        if isinstance(within, dict) and (inner := _needs_of(within)):
            return {key: inner}
        if isinstance(within, list) and any(map(_needs_of, within)):
            return {key: [_needs_of(each) for each in within]}
    tables = [needs for each in schema.get("anyOf", []) if (needs := _needs_of(each))]
    return {"if": {"type": "object"}, "then": tables[0]} if len(tables) == 1 else {}


def _least(raw: dict[str, Any]) -> dict[str, Any]:
    """How many keys a table must have at least."""
    return {"minProperties": raw["minProperties"]} if "minProperties" in raw else {}
