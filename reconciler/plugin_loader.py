"""Kind, name and options become an instance; and the list of what there is and where it came from.

Looked up in this order: bundled, then the entry point group `updoser.<kind>`, then the folders that the spec names
under `plugins:` (`<folder>/<kind>/<name>.py`). Names are lower-case words (`[a-z][a-z0-9_]*`); other files, such as
helpers whose name starts with `_`, are not plugins. A bundled name can't be shadowed: a second plugin of that name is
an error, not a choice. Looking up one name imports one module, once.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import re
import stat
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from importlib.machinery import PathFinder
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast, get_args

from reconciler import plugins
from reconciler.contracts import Traits
from reconciler.errors import PluginError
from reconciler.formats.defaults import completed
from reconciler.guards import blaming
from reconciler.model.spec import PluginKind

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from importlib.metadata import EntryPoint, EntryPoints
    from types import ModuleType

    from reconciler.contracts import Context, PluginModule

KINDS: tuple[PluginKind, ...] = get_args(PluginKind)
_NAME = re.compile(r"[a-z][a-z0-9_]*")


@dataclass(frozen=True, slots=True)
class Found:
    """A plugin that could be loaded: its kind, its name, and where it comes from in words.

    `module` is the import name. `file` is set for plugins of the spec's folders, which are loaded by path.
    """

    kind: PluginKind
    name: str
    origin: str
    module: str = field(repr=False)
    file: Path | None = field(default=None, repr=False)

    def __str__(self) -> str:
        return f"the {self.kind} plugin {self.name!r} ({self.origin})"


def bundled_folder() -> Path:
    """Give the folder that holds the bundled plugins, `<kind>/<name>` below it."""
    return Path(next(iter(plugins.__path__)))


def schema_folder() -> Path:
    """Give the folder that holds the JSON Schemas; installed or in a checkout, it lies beside the bundled plugins."""
    return bundled_folder().parent / "schema"


def available(kind: PluginKind, folders: Sequence[Path] = ()) -> list[Found]:
    """List the plugins of a kind without importing any, the bundled ones first.

    Raises:
        PluginError: there is no such kind, or a folder can't be trusted.
    """
    if kind not in KINDS:
        raise PluginError(f"there is no plugin kind {kind!r}", hint=f"there is: {', '.join(KINDS)}")
    found = [
        Found(kind, path.stem, "bundled", f"{plugins.__name__}.{kind}.{path.stem}")
        for path in _plugin_files(bundled_folder() / kind)
    ]
    found += [
        Found(kind, point.name, f"entry point of {_distribution(point)}", point.module) for point in _entry_points(kind)
    ]
    for folder in folders:
        _check_folder(folder)
        found += [
            Found(
                kind=kind,
                name=path.stem,
                origin=f"folder {folder}",
                module=f"updoser_plugins.{kind}.{path.stem}",
                file=path.resolve(),
            )
            for path in _plugin_files(folder / kind)
        ]
    return found


def options_schema(kind: PluginKind, name: str, folders: Sequence[Path] = ()) -> Mapping[str, Any]:
    """Give the JSON Schema of a plugin's options.

    Raises:
        PluginError: there is no such plugin, or it can't be imported.
    """
    return _module(_find(kind, name, folders)).OPTIONS


def traits(kind: PluginKind, name: str, options: Mapping[str, Any], folders: Sequence[Path] = ()) -> Traits | None:
    """Give what a plugin does with these options; None when its module doesn't say.

    Raises:
        PluginError: there is no such plugin, it can't be imported, or its TRAITS are none.
    """
    plugin = _find(kind, name, folders)
    module = _module(plugin)
    said: Any = getattr(module, "TRAITS", None)
    if callable(said):
        with blaming(f"the TRAITS of {plugin} broke", PluginError):
            said = said(completed(options, module.OPTIONS))
    if said is not None and not isinstance(said, Traits):
        raise PluginError(f"the TRAITS of {plugin} are no reconciler.contracts.Traits")
    return said


def load(
    kind: PluginKind, name: str, options: Mapping[str, Any], context: Context, folders: Sequence[Path] = ()
) -> Any:
    """Make an instance of a plugin; it gets the options with the defaults of its OPTIONS.

    Raises:
        PluginError: there is no such plugin, it can't be imported, its module lacks OPTIONS or PLUGIN, or it broke.
        UpdoserError: what the plugin itself says of its options.
    """
    plugin = _find(kind, name, folders)
    module = _module(plugin)
    with blaming(f"{plugin} can't be set up", PluginError):
        return module.PLUGIN(completed(options, module.OPTIONS), context)


def _find(kind: PluginKind, name: str, folders: Sequence[Path]) -> Found:
    candidates = available(kind, folders)
    found = [plugin for plugin in candidates if plugin.name == name]
    if not found:
        known = ", ".join(sorted({plugin.name for plugin in candidates})) or "none"
        raise PluginError(f"there is no {kind} plugin named {name!r}", hint=f"there is: {known}")
    if len(found) > 1:
        origins = " and ".join(plugin.origin for plugin in found)
        raise PluginError(f"the {kind} plugin {name!r} stands in {origins}", hint="rename or remove one of them")
    return found[0]


def _module(plugin: Found) -> PluginModule:
    with blaming(f"{plugin} can't be imported", PluginError):
        module = importlib.import_module(plugin.module) if plugin.file is None else _import_file(plugin)
    if not isinstance(getattr(module, "OPTIONS", None), Mapping):
        raise PluginError(f"{plugin} has no OPTIONS", hint="OPTIONS is a JSON Schema of the plugin's options")
    if not callable(getattr(module, "PLUGIN", None)):
        raise PluginError(f"{plugin} has no PLUGIN", hint="PLUGIN is called with the options and the context")
    return cast("PluginModule", module)


def _import_file(plugin: Found) -> ModuleType:
    """Import a plugin by path, once: the classes of a second import would not be those of the first."""
    known = sys.modules.get(plugin.module)
    if known is not None and known.__file__ == str(plugin.file):
        return known
    spec = importlib.util.spec_from_file_location(plugin.module, plugin.file)
    if spec is None or spec.loader is None:
        raise ImportError(f"{plugin.file} is no Python module")
    module = importlib.util.module_from_spec(spec)
    sys.modules[plugin.module] = module  # dataclasses look their own module up while it is executed
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[plugin.module]
        raise
    return module


def _plugin_files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("*.py") if _NAME.fullmatch(path.stem))


def _entry_points(kind: PluginKind) -> Sequence[EntryPoint]:
    return _installed_plugins(tuple(sys.path))[kind]


@lru_cache(maxsize=1)
def _installed_plugins(path: tuple[str, ...]) -> Mapping[PluginKind, Sequence[EntryPoint]]:
    """Read those of all packages on the path, once; where no package names any, that is seen without reading them."""
    if not any(map(_may_name_plugins, path)) and not _other_finders():
        return dict.fromkeys(KINDS, ())
    from importlib.metadata import entry_points

    found = cast("EntryPoints", entry_points())
    return {
        kind: sorted(
            (point for point in found.select(group=f"updoser.{kind}") if _NAME.fullmatch(point.name)),
            key=lambda point: (point.name, _distribution(point)),
        )
        for kind in KINDS
    }


def _may_name_plugins(entry: str) -> bool:
    """Say whether a package in a folder of the path may have entry points of ours; of what is no folder, none knows.

    Only the text is looked at, as importing `importlib.metadata` and reading each package takes 60 ms.
    """
    if entry.lower().endswith(".egg"):
        return True
    try:
        infos = [name for name in os.listdir(entry or ".") if name.lower().endswith((".dist-info", ".egg-info"))]  # noqa: PTH208 - faster
    except FileNotFoundError:
        return False
    except OSError:  # a zip file, or a folder that can't be listed
        return True
    return any(_names_plugins(os.path.join(entry, name, "entry_points.txt")) for name in infos)  # noqa: PTH118 - faster


def _names_plugins(file: str) -> bool:
    try:
        with open(file, "rb") as text:  # noqa: PTH123 - faster
            return b"updoser." in text.read()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True


def _other_finders() -> bool:
    """Say whether packages are found by something else than the path."""
    return any(hasattr(finder, "find_distributions") and finder is not PathFinder for finder in sys.meta_path)


def _distribution(point: EntryPoint) -> str:
    return point.dist.name if point.dist else "an unknown package"


def _check_folder(folder: Path) -> None:
    """Refuse folders in which others can put code: missing, writable by everyone, or with a link that leads out."""
    if not os.path.isdir(folder):  # noqa: PTH112 - `Path.is_dir` raises for some paths
        raise PluginError(f"the plugin folder {folder} is not there")
    root = Path(os.path.realpath(folder))
    try:
        for path in _looked_at(root):
            if path.is_symlink() and not path.resolve().is_relative_to(root):
                raise PluginError(f"the plugin folder {folder} has a link that leads out of it: {path}")
            if path.exists() and path.stat().st_mode & stat.S_IWOTH:
                raise PluginError(
                    f"{path} is writable by everyone, so its plugins aren't loaded", hint=f"chmod o-w {path}"
                )
        for parent in root.parents:
            # In a folder such as /tmp, with the sticky bit, others can't replace what isn't theirs.
            if parent.stat().st_mode & (stat.S_IWOTH | stat.S_ISVTX) == stat.S_IWOTH:
                raise PluginError(f"everyone can replace {root}: {parent} is writable by everyone")
    except OSError as error:
        raise PluginError(f"the plugin folder {folder} can't be checked: {error}") from error


def _looked_at(root: Path) -> Iterator[Path]:
    """Give the folder and all that Python may read for its plugins, compiled files included."""
    yield root
    for kind in KINDS:
        yield root / kind
        yield from (root / kind).rglob("*")
