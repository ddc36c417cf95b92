"""The JSON Schema of the spec with the options of all plugins that there are: for editors, and to explain keys.

The spec's own schema knows where options of plugins stand (`x-plugin` names the kind there), and the OPTIONS of plugins
say which. Here both become one: at such a place one of several shapes is possible, told apart by `type`, or by the key
that `x-plugin-key` names.

* Where `type` has a default, it may be left out. A group's transport is laid over that of `defaults`, so that without
  its `type` it may have options of any, and needs none.
* `$ref`s of a plugin keep their meaning: its OPTIONS then stand under `$defs` too, and the references lead there.
* What a plugin breaks costs its options, not the schema.
* Nothing in it depends on this machine: no paths, and the same order each time.
"""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from reconciler.errors import PluginError
from reconciler.plugin_loader import available, options_schema
from reconciler.specfile.validate import schema_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from reconciler.model.spec import PluginKind

SCHEMA_FILE = "updoser.schema.json"
"""What the file is called that editors read, beside the spec."""
KIND = "x-plugin"
"""Marks in the spec's own schema where the options of plugins stand, and of which kind they are."""
SHARED = "x-shared"
"""Marks a key of ours that options of a plugin may have, too, as a map; for another plugin it is no map."""
KEY = "x-plugin-key"
"""Names the key that names the plugin, where that isn't `type`."""
LAID_OVER = "x-laid-over"
"""Marks what is laid over what stands elsewhere, so that it needn't be complete by itself."""
_JUDGED_APART = frozenset(
    {"type", "properties", "required", "additionalProperties", "title", "description", "examples"}
)
_SCALARS = frozenset({"string", "integer", "number", "boolean"})
_ABOUT = frozenset({"title", "description", "default", "examples", "x-says", "x-secret"})
_MAPS = frozenset({"properties", "patternProperties", "$defs", "dependentSchemas"})
"""Words whose values are maps of schemas by names of any kind."""
_DATA = frozenset({"const", "default", "enum", "examples", "required"})
"""Words whose values are no schemas."""
_TEMPLATE = {"type": "string", "pattern": r"\{\{|\{%"}


@dataclass(frozen=True, slots=True)
class Whole:
    """The schema, and sentences about plugins whose options aren't in it."""

    schema: dict[str, Any]
    notes: tuple[str, ...] = ()


def whole_schema(folders: Sequence[Path] = ()) -> Whole:
    """Give the schema of the spec with the options of all plugins, those in the spec's plugin folders too.

    Raises:
        PluginError: a folder can't be trusted.
    """
    schema = deepcopy(dict(schema_of("updoser")))
    definitions: dict[str, Any] = {}
    notes: list[str] = []
    for node in _marked(schema):
        kind = cast("PluginKind", node[KIND])
        found: dict[str, Mapping[str, Any]] = {}
        for plugin in available(kind, folders):
            try:
                options = options_schema(kind, plugin.name, folders)
                _check(options)
                found[plugin.name] = _at_home(dict(options), f"{kind}.{plugin.name}", definitions)
            except PluginError as error:
                notes.append(f"{plugin} is left out: {error.message}")
        _join(node, found)
    schema["$defs"].update(definitions)
    return Whole(schema, tuple(dict.fromkeys(notes)))


def editor_schema(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Give a schema that judges a file before its templates are rendered: one may stand for any single value."""
    return cast("dict[str, Any]", _templated(schema))


def _marked(node: Any) -> Iterator[dict[str, Any]]:
    if isinstance(node, dict):
        if isinstance(node.get(KIND), str):
            yield node
        for value in [*node.values()]:
            yield from _marked(value)
    elif isinstance(node, list):
        for value in node:
            yield from _marked(value)


def _check(options: Mapping[str, Any]) -> None:
    """Refuse what is no schema."""
    from jsonschema import Draft202012Validator, SchemaError

    try:
        Draft202012Validator.check_schema(options)
    except SchemaError as error:
        raise PluginError(f"its OPTIONS are no JSON Schema: {error.message[:200]}") from error


def _at_home(options: dict[str, Any], name: str, definitions: dict[str, Any]) -> dict[str, Any]:
    """Give OPTIONS whose references lead to where they stand in the whole."""
    if not any(True for _ref in _references(options)):
        return options
    home = f"#/$defs/{name}"
    moved = cast("dict[str, Any]", _moved(options, home))
    definitions[name] = moved
    return {key: value for key, value in moved.items() if key != "$defs"}


def _references(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if isinstance(node.get("$ref"), str):
            yield node["$ref"]
        for value in node.values():
            yield from _references(value)
    elif isinstance(node, list):
        for value in node:
            yield from _references(value)


def _moved(node: Any, home: str) -> Any:
    if isinstance(node, dict):
        return {
            key: home + value[1:] if key == "$ref" and isinstance(value, str) and value.startswith("#") else inner
            for key, value in node.items()
            for inner in [_moved(value, home)]
        }
    return [_moved(value, home) for value in node] if isinstance(node, list) else node


def _join(node: dict[str, Any], found: Mapping[str, Mapping[str, Any]]) -> None:
    """Make a place that takes any options one that takes those of the plugins that there are."""
    own, key = node["properties"], node.get(KEY, "type")
    default = own[key].get("default")
    if default is not None and default not in found:
        found = {default: {"additionalProperties": False}, **found}  # the core's own
    shapes = [_shape(own, name, options, key=key, named=name != default) for name, options in found.items()]
    if LAID_OVER in node:
        shapes = [_shape(own, name, options, key=key, named=True) for name, options in found.items()]
        shapes.append(_any_of(own, found))
    own[key] = {**own[key], "enum": [*found]}
    own[key].pop("minLength", None)
    del node["additionalProperties"]
    node["oneOf"] = shapes


def _shape(own: Mapping[str, Any], name: str, options: Mapping[str, Any], *, key: str, named: bool) -> dict[str, Any]:
    """Give what a plugin takes beside the keys that the place has itself."""
    required = [*([key] if named else []), *options.get("required", ())]
    more = {word: value for word, value in options.items() if word not in _JUDGED_APART and word != "$defs"}
    return {
        "title": f"{key}: {name}",
        **({"description": options["description"]} if "description" in options else {}),
        "properties": {
            key: {"const": name, "description": options.get("description", own[key]["description"])},
            **{word: {"type": "array"} if SHARED in said else True for word, said in own.items() if word != key},
            **options.get("properties", {}),
        },
        **({"required": required} if required else {}),
        "additionalProperties": options.get("additionalProperties", True),
        **more,
    }


def _any_of(own: Mapping[str, Any], found: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Give what stands there without a `type`: options of the one that is in force elsewhere."""
    known: dict[str, Any] = {}
    for options in found.values():
        for key, described in options.get("properties", {}).items():
            known.setdefault(key, described)
    return {
        "title": "the type that is in force",
        "not": {"required": ["type"]},
        "properties": {**known, **{key: True for key in own if key != "type"}},
        "additionalProperties": all(options.get("additionalProperties", True) for options in found.values()),
    }


def _templated(node: Any) -> Any:
    """Let a template stand for each single value that isn't any text already."""
    if isinstance(node, list):
        return [_templated(entry) for entry in node]
    if not isinstance(node, dict):
        return node
    made = {}
    for key, value in node.items():
        if key in _MAPS and isinstance(value, dict):
            made[key] = {name: _templated(part) for name, part in value.items()}
        else:
            made[key] = value if key in _DATA else _templated(value)
    types = node.get("type", ())
    types = {types} if isinstance(types, str) else set(types) if isinstance(types, list) else set()
    judged = {key: made[key] for key in made if key not in _ABOUT and key != "type"}
    if not types & _SCALARS or (types == {"string"} and not judged.keys() - {"minLength"}):
        return made
    about = {key: value for key, value in made.items() if key in _ABOUT}
    return {**about, "anyOf": [{"type": made["type"], **judged}, _TEMPLATE]}
