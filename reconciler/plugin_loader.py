"""Kind, name and options become an instance; and the list of what there is and where it came from.

Looked up in this order: bundled, then the entry point group `updoser.<kind>`, then the folders that the spec names
under `plugins:` (`<folder>/<kind>/<name>.py`). A bundled name can't be shadowed: a second plugin of that name is an
error, not a choice. Looking up one name imports one module.
"""

from __future__ import annotations

import importlib
import importlib.util
import re
import stat
import sys
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from reconciler import plugins
from reconciler.errors import PluginError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import ModuleType

    from reconciler.contracts import Context, PluginModule

KINDS = ("source", "transport", "inventory", "executor")
_NAME = re.compile(r"[a-z][a-z0-9_]*")


@dataclass(frozen=True, slots=True)
class Found:
    """A plugin that could be loaded: its kind, its name, and where it comes from in words."""

    kind: str
    name: str
    origin: str


def bundled_folder() -> Path:
    """Give the folder that holds the bundled plugins, `<kind>/<name>` below it."""
    return Path(next(iter(plugins.__path__)))


def available(kind: str, folders: Sequence[Path] = ()) -> list[Found]:
    """List the plugins of a kind without importing any, the bundled ones first.

    Raises:
        PluginError: a folder can't be trusted.
    """
    found = [Found(kind, path.stem, "bundled") for path in sorted((bundled_folder() / kind).glob("*.py"))]
    found += [
        Found(kind, point.name, f"entry point of {point.dist.name if point.dist else 'an unknown package'}")
        for point in sorted(entry_points(group=f"updoser.{kind}"), key=lambda point: point.name)
    ]
    for folder in folders:
        _check_folder(folder)
        found += [Found(kind, path.stem, f"folder {folder}") for path in sorted((folder / kind).glob("*.py"))]
    return found


def options_schema(kind: str, name: str, folders: Sequence[Path] = ()) -> Mapping[str, Any]:
    """Give the JSON Schema of a plugin's options.

    Raises:
        PluginError: there is no such plugin, or it can't be imported.
    """
    return _module(kind, name, folders).OPTIONS


def load(kind: str, name: str, options: Mapping[str, Any], context: Context, folders: Sequence[Path] = ()) -> Any:
    """Make an instance of a plugin.

    Raises:
        PluginError: there is no such plugin, it can't be imported, or its module lacks OPTIONS or PLUGIN.
        UpdoserError: what the plugin itself says of its options.
    """
    return _module(kind, name, folders).PLUGIN(options, context)


def _module(kind: str, name: str, folders: Sequence[Path]) -> PluginModule:
    if kind not in KINDS or not _NAME.fullmatch(name):
        raise PluginError(f"no plugin can be named {kind}/{name}")
    found = [plugin for plugin in available(kind, folders) if plugin.name == name]
    if not found:
        known = ", ".join(sorted({plugin.name for plugin in available(kind, folders)}))
        raise PluginError(f"there is no {kind} plugin named {name!r}", hint=f"there is: {known}")
    if len(found) > 1:
        origins = " and ".join(plugin.origin for plugin in found)
        raise PluginError(f"the {kind} plugin {name!r} stands in {origins}", hint="rename or remove one of them")
    try:
        module = _import(found[0], folders)
    except Exception as error:
        raise PluginError(f"the {kind} plugin {name!r} ({found[0].origin}) can't be imported: {error}") from error
    for attribute in ("OPTIONS", "PLUGIN"):
        if not hasattr(module, attribute):
            raise PluginError(f"the {kind} plugin {name!r} ({found[0].origin}) has no {attribute}")
    return cast("PluginModule", module)


def _import(plugin: Found, folders: Sequence[Path]) -> ModuleType:
    if plugin.origin == "bundled":
        return importlib.import_module(f"{plugins.__name__}.{plugin.kind}.{plugin.name}")
    if plugin.origin.startswith("entry point"):
        point = next(iter(entry_points(group=f"updoser.{plugin.kind}", name=plugin.name)))
        return importlib.import_module(point.module)
    path = next(path for folder in folders if (path := folder / plugin.kind / f"{plugin.name}.py").is_file())
    qualified = f"updoser_plugins.{plugin.kind}.{plugin.name}"
    spec = importlib.util.spec_from_file_location(qualified, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is no Python module")
    module = importlib.util.module_from_spec(spec)
    sys.modules[qualified] = module
    spec.loader.exec_module(module)
    return module


def _check_folder(folder: Path) -> None:
    """Refuse folders in which others can put code: world-writable, missing, or with a link that leads out."""
    if not folder.is_dir():
        raise PluginError(f"the plugin folder {folder} is not there")
    root = folder.resolve()
    for path in (root, *root.rglob("*")):
        if path.is_symlink() and not path.resolve().is_relative_to(root):
            raise PluginError(f"the plugin folder {folder} has a link that leads out of it: {path}")
        if path.exists() and path.stat().st_mode & stat.S_IWOTH:
            raise PluginError(f"{path} is writable by everyone, so its plugins aren't loaded", hint=f"chmod o-w {path}")
