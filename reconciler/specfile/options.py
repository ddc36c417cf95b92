"""Options of plugins: checked like the rest of the spec, completed, and handed over as plain data."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from reconciler.contracts import Traits
from reconciler.errors import PluginError
from reconciler.hints import suggestion
from reconciler.model.spec import PluginConfig, PluginKind
from reconciler.plugin_loader import available, options_schema, traits
from reconciler.resolving import with_references
from reconciler.specfile.tree import DEFAULT, Map, plain, value_place
from reconciler.specfile.validate import check

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from pathlib import Path

    from reconciler.errors import Problem
    from reconciler.model.spec import PluginKind
    from reconciler.specfile.tree import Place


class OptionReader:
    """Reads the options of plugins; equal options are checked once."""

    def __init__(self, folders: tuple[Path, ...], problems: list[Problem]) -> None:
        """Take the plugin folders of the spec; what is wrong is added to `problems`."""
        self._folders = folders
        self._problems = problems

    def read(
        self,
        kind: PluginKind,
        node: Map,
        reserved: Collection[str],
        shared: Collection[str] = (),
        *,
        key: str = "type",
    ) -> PluginConfig | None:
        """Give the plugin that `type`, or another `key`, names with the options beside it; None when that can't be.

        The `reserved` keys are ours; where one that is `shared` has a map, that is for the plugin as well.
        """
        name = node.get(key)
        if not isinstance(name, str):
            return None
        try:
            schema = options_schema(kind, name, self._folders)
        except PluginError as error:
            self._unknown(kind, name, value_place(node, key), error)
            return None
        options = Map(node.place)
        for word in node:
            if word not in reserved or (word in shared and self._is_for_both(word, name, schema, node)):
                options.take(word, node)
        # What the spec's own schema knows beside the options is no unknown key; the message lists both.
        check(options, schema, self._problems)
        for word, value in options.items():
            node.put(word, value, options.keys_at.get(word, DEFAULT), options.values_at.get(word, DEFAULT))
        return PluginConfig(kind, name, with_references(plain(options), schema))

    def _is_for_both(self, key: str, name: str, schema: Mapping[str, Any], node: Map) -> bool:
        if not isinstance(node[key], Map):
            return False
        if key in schema.get("properties", {}):
            return True
        place = value_place(node, key)
        self._problems.append(place.problem(f"`{name}` has no options for each of `{key}`", "a list of them is wanted"))
        return False

    def traits(self, config: PluginConfig | None, node: Map) -> Traits:
        """Give what a plugin does with the options that were read at `node`; nothing special when it doesn't say."""
        found = None
        try:
            if config is not None:
                found = traits(config.kind, config.name, config.options, self._folders)
        except PluginError as error:
            if not self._problems:  # what is told already may be why
                self._problems.append(value_place(node, "type").problem(error.message, error.hint))
        return found or Traits()

    def _unknown(self, kind: PluginKind, name: str, place: Place, error: PluginError) -> None:
        try:
            known = [plugin.name for plugin in available(kind, self._folders)]
        except PluginError:
            known = []
        if name in known:
            self._problems.append(place.problem(error.message, error.hint))
        else:
            self._problems.append(place.problem(f"there is no {kind} plugin `{name}`", suggestion(name, known)))
