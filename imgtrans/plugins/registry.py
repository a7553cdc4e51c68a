"""Finds plugins, loads each in isolation, resolves names, and knows who provides what."""

from __future__ import annotations

import fnmatch
import os
import re
import sys
import time
from contextlib import redirect_stdout
from functools import lru_cache
from importlib import metadata
from typing import TYPE_CHECKING, Any

import pluggy

from imgtrans import hooks
from imgtrans.components import KINDS, Component, kind_name, kind_noun
from imgtrans.hooks import HOOKS
from imgtrans.plugins.local import LOCAL, LocalClasses, local_name
from imgtrans.plugins.offers import check_hooks, check_offer, check_recipes, import_file
from imgtrans.plugins.record import GROUP, Plugin, UnknownComponentError
from imgtrans.problems import RecipeError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from pathlib import Path


class Registry:
    """Plugins found on this machine; each is loaded when first needed."""

    def __init__(self, entry_points: Iterable[metadata.EntryPoint]) -> None:
        """Record the plugins' names; nothing is imported yet."""
        self.plugins: dict[str, Plugin] = {}
        self.files: list[Path] = []
        """Local Python files that were offered as plugins."""
        self._loaders: dict[str, Callable[[], Any]] = {}
        self._names: dict[type[Component], str] = {}
        self._lent: dict[type[Component], str] = {}
        """Names of classes in plugins that offer what another package wrote."""
        self._local = LocalClasses()
        self._manager = pluggy.PluginManager("imgtrans")
        self._manager.add_hookspecs(hooks)
        for entry_point in entry_points:
            self._declare(entry_point)

    def _declare(self, entry_point: metadata.EntryPoint) -> None:
        dist = entry_point.dist
        plugin = Plugin(
            entry_point.name, dist.name if dist else "?", dist.version if dist else "",
            entry_point.group,
        )  # fmt: skip
        if plugin.api != GROUP:
            plugin.why = f"written for {plugin.api}; this imgtrans reads {GROUP}"
            self.plugins.setdefault(f"{plugin.name} ({plugin.api})", plugin)
        elif (twin := self.plugins.get(plugin.name)) is not None:
            if twin.distribution == plugin.distribution:
                return  # an editable and an installed copy of one distribution
            twin.why = (
                f"{twin.why.partition(';')[0]} and {plugin.package}; uninstall all but one"
                if twin.why
                else f'several distributions call their plugin "{plugin.name}": {twin.package} and '
                f"{plugin.package}; uninstall all but one"
            )
            self._loaders.pop(plugin.name, None)
        else:
            self.plugins[plugin.name] = plugin
            self._loaders[plugin.name] = entry_point.load

    def add_file(self, path: Path) -> None:
        """Offer a local Python file as a plugin named after its stem; once more changes nothing.

        Raises:
            RecipeError: there is no such file, its name is taken, or it cannot be loaded.
        """
        name = path.stem
        if path in self.files:
            return
        if not path.is_file() or path.suffix != ".py":
            message = f"--plugin {path}: there is no such Python file"
            raise RecipeError(message)
        if name in self.plugins:
            other = self.plugins[name].package
            message = f'--plugin {path}: a plugin called "{name}" exists ({other}); rename the file'
            raise RecipeError(message)
        self.plugins[name] = plugin = Plugin(name, str(path), "")
        self._loaders[name] = lambda: import_file(path)
        self.load(name)
        if plugin.why:
            message = f"--plugin {path}: {plugin.why}"
            raise RecipeError(message) from plugin.error
        self.files.append(path)

    def load(self, name: str) -> Plugin:
        """Import one plugin and collect what it offers; whatever it raises becomes its record."""
        plugin = self.plugins[name]
        loader = self._loaders.pop(name, None)
        if loader is None:
            return plugin
        begin = time.perf_counter()
        try:
            with redirect_stdout(sys.stderr):  # what a plugin prints is no part of an answer
                module = loader()
            self._manager.register(module, name)
            check_hooks(module, name)
            plugin.components = {
                kind: check_offer(kind, self._call(hook, module)) for kind, hook in HOOKS.items()
            }
            plugin.recipes = check_recipes(self._call("imgtrans_recipes", module))
        except BaseException as error:  # a plugin may raise anything at all
            if isinstance(error, KeyboardInterrupt) or os.environ.get("IMGTRANS_STRICT") == "1":
                raise
            plugin.error, plugin.why = error, f"{type(error).__name__}: {error}"
            plugin.components, plugin.recipes = {}, []
            if self._manager.has_plugin(name):
                self._manager.unregister(name=name)
        plugin.seconds = time.perf_counter() - begin
        for components in plugin.components.values():
            for key, component in components.items():
                own = _package(component.__module__) == _package(module.__name__)
                (self._names if own else self._lent).setdefault(component, f"{name}/{key}")
        return plugin

    def _call(self, hook: str, module: Any) -> Any:
        for implementation in getattr(self._manager.hook, hook).get_hookimpls():
            if implementation.plugin is module:
                return implementation.function()
        return None

    def load_all(self) -> list[Plugin]:
        """Every plugin, loaded, in the order of their names."""
        return [self.load(name) for name in sorted(self.plugins)]

    def components(self, kind: type[Component]) -> dict[str, type[Component]]:
        """Full name to class of every component that may fill a field of this kind."""
        return {
            f"{plugin.name}/{key}": component
            for plugin in self.load_all()
            for key, component in plugin.components.get(kind_name(kind), {}).items()
            if issubclass(component, kind)
        }

    def names(self, kind: type[Component]) -> list[str]:
        """Full names of a kind's components."""
        return sorted(self.components(kind))

    def find(self, kind: type[Component], name: str) -> type[Component]:
        """The component that a recipe names; a full name loads only its own plugin.

        Raises:
            UnknownComponentError: none or several answer to it; the text says which are there.
        """
        if name.startswith(LOCAL):
            return self._local.find(kind, name)
        plugin_name, _, key = name.rpartition("/")
        if plugin_name in self.plugins:
            plugin = self.load(plugin_name)
            component = plugin.components.get(kind_name(kind), {}).get(key)
            if component is not None and issubclass(component, kind):
                return component
            if plugin.why:
                raise UnknownComponentError(_broken(kind, name, plugin))
        known = self.components(kind)
        if plugin_name:
            raise UnknownComponentError(self._unknown(kind, name, known))
        matches = [full for full in known if full.rpartition("/")[2] == key]
        if len(matches) > 1:
            candidates = ", ".join(matches)
            message = (
                f'{kind_noun(kind)} "{name}" is offered by several plugins: {candidates}; '
                "write the full name"
            )
            raise UnknownComponentError(message)
        if not matches:
            raise UnknownComponentError(self._unknown(kind, name, known))
        return known[matches[0]]

    def remember(self, component: type[Component]) -> None:
        """A class that a program brings: found again, by its ``local:`` name, in this process."""
        self._local.remember(component)

    def _unknown(self, kind: type[Component], name: str, known: Mapping[str, Any]) -> str:
        others = [
            noun.replace("_", " ")
            for noun, other in KINDS.items()
            if name in self.components(other) and not issubclass(other, kind)
        ]
        if others:
            offered = ", ".join(known) or "none"
            return f'"{name}" is a {others[0]}, not a {kind_noun(kind)} (installed: {offered})'
        guess, plugin = did_you_mean(name, known), name.rpartition("/")[0]
        message = f'no {kind_noun(kind)} "{name}" is installed{guess}'
        message += f" (installed: {', '.join(known) or 'none'})"
        if plugin and not guess and plugin not in self.plugins:
            message += f'; there is no plugin "{plugin}" here: its package is perhaps called '
            message += f"imgtrans-{plugin}"
        broken = [f"{each.package} ({each.first_line})" for each in self.broken()]
        if broken:
            message += (
                f"; not loaded: {', '.join(broken)}; see `imgtrans list-components --plugins`"
            )
        return message

    def broken(self) -> list[Plugin]:
        """Plugins that could not be loaded, among those tried so far."""
        return [plugin for plugin in self.plugins.values() if plugin.why]

    def name_of(self, component: type[Component]) -> str:
        """The full name that a recipe uses; ``local:module.Class`` where no plugin offers it.

        A class is called as the plugin of its own package calls it, whoever else offers it too, so
        that installing a plugin changes no name.
        """
        if component not in self._names:
            self.load_all()
        return self._names.get(component) or self._lent.get(component) or local_name(component)

    def matching(self, kind: str | None, pattern: str | None) -> Iterator[tuple[str, Plugin, str]]:
        """Kind, plugin and key of the components whose name matches; every plugin is loaded."""
        plugins = self.load_all()
        for each in [kind] if kind else KINDS:
            for plugin in plugins:
                for key in sorted(plugin.components.get(each, {})):
                    full = f"{plugin.name}/{key}"
                    if pattern is None or any(
                        fnmatch.fnmatchcase(text, pattern) for text in (full, key)
                    ):
                        yield each, plugin, key


def _package(module: str) -> str:
    return module.partition(".")[0]


def _broken(kind: type[Component], name: str, plugin: Plugin) -> str:
    return (
        f'no {kind_noun(kind)} "{name}": its plugin {plugin.package} is installed but could not be '
        f"loaded ({plugin.why}); run `imgtrans list-components --plugins`"
    )


@lru_cache(maxsize=1)
def registry() -> Registry:
    """The plugins installed here, in this and in other API versions."""
    entry_points = metadata.entry_points()
    groups = [group for group in entry_points.groups if re.fullmatch(r"imgtrans\.v\d+", group)]
    found = [entry for group in sorted(groups) for entry in entry_points.select(group=group)]
    return Registry(found)
