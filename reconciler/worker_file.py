"""The file of a worker on another machine: how it reaches clients, where it keeps content, how much it does at a time.

Keys, known_hosts and all else that a transport needs are of this machine: none of it comes from the controller, and
host keys that nobody brought are refused. `schema/worker.schema.json` says what may stand there; a mistake is told with
its line, and with all others.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from reconciler.errors import PluginError, Problem, SpecError
from reconciler.formats.defaults import completed
from reconciler.formats.judge import Judge
from reconciler.formats.size import parse_size
from reconciler.hints import suggestion
from reconciler.model.spec import PluginConfig
from reconciler.paths import path_from, read_file
from reconciler.plugin_loader import options_schema, schema_folder
from reconciler.resolving import with_references
from reconciler.worker.setup import Setup, Way

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from reconciler.model.spec import PluginKind

FILE = "updoser-worker.yaml"
MAX_BYTES = 4 * 2**20
MAX_DEPTH = 50
_TRANSPORT: PluginKind = "transport"
_WAY = "give `transport` with its `type` and options, for all or under `groups`"

Marks = dict[tuple[Any, ...], tuple[int, int]]
"""Line and column of each value, by the way to it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerFile:
    """What stands in a worker's file. `processes` and `station` are None where it doesn't say."""

    setup: Setup
    forks: int
    cache: Path
    limit: int
    site: str = ""
    processes: int | None = None
    content: tuple[PluginConfig, ...] = ()
    station: PluginConfig | None = None


def read_worker_file(path: Path) -> WorkerFile:
    """Read a worker's file.

    Raises:
        SpecError: it can't be read, or something in it is wrong.
    """
    content = read_file(path, MAX_BYTES, lambda why: SpecError([Problem(f"it can't be read: {why}", str(path))]))
    if len(content) > MAX_BYTES:
        raise SpecError([Problem(f"it has more than {MAX_BYTES // 2**20} MiB", str(path))])
    reader = _Reader(path, content)
    data = reader.data()
    made = reader.made(data)
    if reader.problems:
        raise SpecError(sorted(reader.problems, key=lambda problem: (problem.line, problem.column)))
    return made


class _Reader:
    """Reads one file; what is wrong with it is collected."""

    def __init__(self, path: Path, content: bytes) -> None:
        self._path = path
        self._base = path.absolute().parent
        self._content = content
        self._marks: Marks = {}
        self._folders: tuple[Path, ...] = ()
        self.problems: list[Problem] = []

    def data(self) -> dict[str, Any]:
        """Give what stands in it, as its schema wants it.

        Raises:
            SpecError: it is no YAML, or something is wrong with it.
        """
        import yaml

        try:
            node = yaml.compose(self._content.decode("utf-8-sig"), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
            loader = yaml.SafeLoader("")
            found = self._plain(node, loader, ()) if node is not None else {}
        except UnicodeDecodeError:
            raise SpecError([Problem("it isn't UTF-8", str(self._path))]) from None
        except (yaml.YAMLError, ValueError, RecursionError) as error:
            mark = getattr(error, "problem_mark", None)
            words = getattr(error, "problem", None) or str(error)
            place = (mark.line + 1, mark.column + 1) if mark is not None else (0, 0)
            raise SpecError([self._problem(f"it is no YAML: {words}", place)]) from error
        schema = json.loads((schema_folder() / "worker.schema.json").read_text(encoding="utf-8"))
        self._judge(found, schema, ())
        if self.problems:
            raise SpecError(self.problems)
        return completed(found, schema)

    def made(self, data: Mapping[str, Any]) -> WorkerFile:
        """Give what it means."""
        self._folders = tuple(path_from(self._base, folder) for folder in data.get("plugins", ()))
        common = data.get("transport")
        ways = {
            name: self._way(_laid_over(common, group.get("transport")), ("groups", name, "transport"))
            for name, group in data.get("groups", {}).items()
        }
        any_way = None if data["only_groups"] or common is None else self._way(common, ("transport",))
        if not ways and any_way is None:
            self.problems.append(self._problem("it says of no group how clients are reached", (0, 0), _WAY))
        cache = path_from(self._base, data["cache"]["folder"])
        return WorkerFile(
            setup=Setup(
                base=self._base,
                home=self._base,
                work=cache / "work",
                ways=ways,
                any_way=any_way,
                plugin_folders=self._folders,
                hidden=frozenset(_variables(data)),
            ),
            forks=data["forks"],
            cache=cache,
            limit=parse_size(data["cache"]["limit"]),
            site=data.get("site", ""),
            processes=data.get("processes"),
            content=tuple(
                PluginConfig("content", place["type"], self._options("content", place, ("content", at)))
                for at, place in enumerate(data.get("content", ()))
            ),
            station=self._station(data),
        )

    def _station(self, data: Mapping[str, Any]) -> PluginConfig | None:
        node = data.get("station")
        return (
            None
            if node is None
            else PluginConfig("station", node["type"], self._options("station", node, ("station",)))
        )

    def _way(self, transport: Mapping[str, Any], place: tuple[Any, ...]) -> Way:
        if "type" not in transport:
            self.problems.append(self.problem_at(place, "has no `type`", _WAY))
            return Way(plugin="")
        return Way(plugin=transport["type"], options=self._options(_TRANSPORT, transport, place))

    def _options(self, kind: PluginKind, node: Mapping[str, Any], place: tuple[Any, ...]) -> dict[str, Any]:
        """Give the options of a plugin that stand beside its `type`."""
        options = {key: value for key, value in node.items() if key != "type"}
        try:
            schema = options_schema(kind, node["type"], self._folders)
        except PluginError as error:
            self.problems.append(self._problem(error.message, self._place((*place, "type")), error.hint))
            return {}
        self._judge(options, schema, place)
        found: dict[str, Any] = with_references(options, schema)
        return found

    def _judge(self, data: Any, schema: Mapping[str, Any], place: tuple[Any, ...]) -> None:
        if Judge(schema).is_right(data, schema):
            return
        from jsonschema import Draft202012Validator  # heavy, and as a rule nothing is wrong

        for error in Draft202012Validator(schema).iter_errors(data):
            self.problems += _told(error, self, place)

    def problem_at(self, way: Sequence[Any], message: str, hint: str = "") -> Problem:
        """Make a problem of a value."""
        shown = ".".join(map(str, way))
        return self._problem(f"`{shown}` {message}" if shown else f"it {message}", self._place(tuple(way)), hint)

    def _place(self, way: tuple[Any, ...]) -> tuple[int, int]:
        while way and way not in self._marks:
            way = way[:-1]
        return self._marks.get(way, (0, 0))

    def _problem(self, message: str, place: tuple[int, int], hint: str = "") -> Problem:
        line, column = place
        lines = self._content.decode("utf-8", "replace").splitlines()
        excerpt = lines[line - 1] if 0 < line <= len(lines) else ""
        return Problem(message, str(self._path), line, column, excerpt=excerpt, hint=hint)

    def _plain(self, node: Any, loader: Any, way: tuple[Any, ...]) -> Any:
        """Make plain data of a node, and remember where it stands."""
        if len(way) > MAX_DEPTH:
            raise ValueError("it is nested too deeply")
        self._marks.setdefault(way, (node.start_mark.line + 1, node.start_mark.column + 1))
        if node.id == "mapping":
            found: dict[str, Any] = {}
            for key_node, value in node.value:
                key = key_node.value if key_node.id == "scalar" else ""
                mark = key_node.start_mark.line + 1, key_node.start_mark.column + 1
                if key in found or not key or key == "<<":
                    self.problems.append(self._problem(f"`{key}` can't stand here, or stands here twice", mark))
                    continue
                self._marks[(*way, key)] = mark
                found[key] = self._plain(value, loader, (*way, key))
            return found
        if node.id == "sequence":
            return [self._plain(entry, loader, (*way, at)) for at, entry in enumerate(node.value)]
        return loader.construct_object(node, deep=True)


def _laid_over(common: Mapping[str, Any] | None, own: Mapping[str, Any] | None) -> Mapping[str, Any]:
    """Give a group's transport: its own over that for all, unless that is of another type."""
    common, own = common or {}, own or {}
    return {**common, **own} if own.get("type", common.get("type")) == common.get("type") else own


def _variables(value: Any) -> Iterator[str]:
    """Give the variables that references to secrets name."""
    if isinstance(value, dict):
        if len(value) == 1 and isinstance(value.get("env"), str):
            yield value["env"]
        for entry in value.values():
            yield from _variables(entry)
    elif isinstance(value, list):
        for entry in value:
            yield from _variables(entry)


def _told(error: Any, reader: _Reader, place: tuple[Any, ...]) -> Iterator[Problem]:
    """Say in words what jsonschema found."""
    way = [*place, *error.absolute_path]
    schema = error.schema if isinstance(error.schema, dict) else {}
    if error.validator == "additionalProperties":
        known = [key for key in schema.get("properties", {}) if key != "type"]
        for key in sorted(set(error.instance) - set(schema.get("properties", {}))):
            yield reader.problem_at([*way, key], "isn't known", suggestion(key, known))
        return
    if error.validator == "required":
        missing = next(key for key in error.validator_value if key not in error.instance)
        yield reader.problem_at(way, f"has no `{missing}`")
        return
    says = schema.get("x-says") or (schema.get("description", "") if error.validator == "const" else "")
    yield reader.problem_at(way, f"isn't right: {says or error.message[:200]}")


def file_in_force(named: Path | None) -> Path:
    """Give the file that is named, or that of the working folder."""
    from pathlib import Path

    return named or Path(os.environ.get("UPDOSER_WORKER", FILE))
