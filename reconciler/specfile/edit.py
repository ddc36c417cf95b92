r"""Edits of the user's YAML: a version is blocked or pinned, and comments and layout stay as they are.

* The text is spliced where the parser says that values stand; nothing is dumped again. A change is one line more, or
  one line changed, with the line ends and the indentation of the file.
* What is in force decides: the file with all that it extends, and `"*"`. Lists replace one another there, so a new
  `block` list takes along the entries that it would hide.
* No edit changes what is managed: with the first `components` comes `"*"`, and what isn't managed isn't edited.
* Each edit is read again and compared as data, alone and over what the file extends, before it is handed out: whatever
  is written strangely can lead to a refusal, never to another change.

    before   virus-pattern: {version: latest}  # the big one
    after    virus-pattern: {version: latest, block: [{version: "16.677.00", reason: "slow"}]}  # the big one
"""

from __future__ import annotations

import difflib
import errno
import os
import re
import stat
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn

from reconciler.errors import RefusedError, SpecError, UpdoserError, UsageError
from reconciler.files import write_whole
from reconciler.model.spec import LATEST
from reconciler.specfile.extend import lay_over, read_extended
from reconciler.specfile.reader import MAX_BYTES, parse
from reconciler.specfile.tree import Map, Odd, Seq, child_map
from reconciler.specfile.yamltext import BREAK, Node, block_lines, compose, key_text, line_end, one_line, quoted

if TYPE_CHECKING:
    from pathlib import Path

    from reconciler.errors import Problem

_COLON = re.compile(r"[ \t]*:")
_PROPERTIES = re.compile(r"(?:[&!]\S*(?:\s+|\Z))*")
_MARK = re.compile(r"\{\{|\{%")
_BOM = "\ufeff"


@dataclass(frozen=True, slots=True)
class Edit:
    """A proposed change of one file: its path as the user named it, and its whole text before and after."""

    path: Path
    before: str
    after: str

    def diff(self) -> str:
        """Give a unified diff for people, without line ends; empty when nothing changes."""
        before, after = (_lines(text.removeprefix(_BOM)) for text in (self.before, self.after))
        lines = difflib.unified_diff(before, after, str(self.path), str(self.path), lineterm="")
        return "".join(f"{line}\n" for line in lines)


def _lines(text: str) -> list[str]:
    lines = BREAK.split(text)
    return lines if lines[-1] else lines[:-1]


def block_version(path: Path, component: str, version: str, reason: str) -> Edit:
    """Propose to block a version of a component; one that is blocked already leaves the file as it is.

    Raises:
        UsageError: the component isn't managed, or pinned to this version.
        SpecError: the file, or one that it extends, can't be read as YAML.
        UpdoserError: the file can't be read, or the edit can't be made safely; the hint shows what to write by hand.
    """
    _check_words(component=component, version=version, reason=reason)
    file = _File(path)
    wanted = file.in_force(component)
    if _written(wanted.get("version")) == version:
        raise UsageError(
            f"{component} is pinned to {version} in {path}: blocking that would leave nothing to run",
            hint="pin another version: --to VERSION",
        )
    blocked = _blocked(wanted, component, path)
    if version in map(_version_of, blocked):
        return Edit(path, file.before, file.before)
    return _edit(file, component, "block", [*blocked, {"version": version, "reason": reason}])


def pin_version(path: Path, component: str, version: str) -> Edit:
    """Propose to pin a component to a version; one that is pinned to it already leaves the file as it is.

    Raises:
        UsageError: the component isn't managed, or the version is blocked.
        SpecError: the file, or one that it extends, can't be read as YAML.
        UpdoserError: the file can't be read, or the edit can't be made safely; the hint shows what to write by hand.
    """
    _check_words(component=component, version=version)
    file = _File(path)
    wanted = file.in_force(component)
    if version in map(_version_of, _blocked(wanted, component, path)):
        raise UsageError(
            f"{component} {version} is blocked in {path}",
            hint=f"pin another version, or remove it from components.{component}.block",
        )
    if wanted.get("version") == version:
        return Edit(path, file.before, file.before)
    return _edit(file, component, "version", version)


def write(edit: Edit) -> None:
    """Put the text after the edit in the place of the file, whole or not at all; a symbolic link stays one.

    Mode, owner and extended attributes (ACLs, labels) stay. Nothing is written when nothing changes.

    Raises:
        RefusedError: the file isn't what it was when it was read.
        UpdoserError: it can't be written.
    """
    if edit.before == edit.after:
        return
    try:
        write_whole(edit.path, edit.after.encode(), keep=True, before=partial(_check_unchanged, edit))
    except OSError as error:
        raise UpdoserError(f"{edit.path} can't be written: {error.strerror}") from error


def take_back(edit: Edit) -> None:
    """Write what was before an edit again.

    Raises:
        RefusedError, UpdoserError: see `write`.
    """
    write(replace(edit, before=edit.after, after=edit.before))


def _check_unchanged(edit: Edit) -> None:
    if _content(edit.path) != edit.before.encode():
        raise RefusedError(f"{edit.path} was changed after it was read", hint="run the command again")


def _content(path: Path) -> bytes:
    """Read a regular file, up to a bound; a pipe would wait, and what it gave would be gone."""
    number = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    regular = stat.S_ISREG(os.fstat(number).st_mode)
    if not regular:
        os.close(number)
        raise OSError(errno.EINVAL, "it isn't a regular file")
    with os.fdopen(number, "rb") as file:
        return file.read(MAX_BYTES + 1)


# --- what the file says ---------------------------------------------------------------------------------------------


class _File:
    """The user's file: its text, its own data, and the data of what it extends."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            data = _content(path)
        except (OSError, ValueError) as error:
            raise UpdoserError(f"{path} can't be read: {getattr(error, 'strerror', None) or error}") from error
        self.own = self.read(data)
        self.before = data.decode()
        self.bom = _BOM if self.before.startswith(_BOM) else ""
        self.text = self.before.removeprefix(_BOM)
        self._base: Map | None = None
        base = self.own.get("extends")
        if isinstance(base, str) and base:
            problems: list[Problem] = []
            self._base = read_extended(path.parent / base, problems)
            if problems:
                raise SpecError(problems)
        self.merged = self.laid(self.own)
        found = BREAK.search(self.text)
        self.newline = found[0] if found and found[0] in {"\r\n", "\r"} else "\n"

    def read(self, data: bytes) -> Map:
        """Read a text of this file as data."""
        problems: list[Problem] = []
        tree = parse(data, problems, str(self.path), self.path.absolute().parent)
        if problems:
            raise SpecError(problems)
        return tree

    def laid(self, own: Map) -> Map:
        """Lay data of this file over what it extends."""
        return own if self._base is None else lay_over(self._base, own)

    @property
    def lists_nothing(self) -> bool:
        """Say whether there is no `components`: then all of the catalogs is managed."""
        return self.merged.get("components") is None

    def in_force(self, component: str) -> Map:
        """Give what is wanted of a component: its entry laid over that of `"*"`."""
        components = self._map(self.merged, "components", "components")
        if not self.lists_nothing and "*" not in components and component not in components:
            raise UsageError(
                f'{component} isn\'t managed: `components` of {self.path} has neither it nor "*"',
                hint="what isn't listed isn't managed; add it there first",
            )
        common = self._map(components, "*", 'components."*"')
        return lay_over(common, self._map(components, component, f"components.{component}"))

    def _map(self, tree: Map, key: str, name: str) -> Map:
        if not isinstance(tree.get(key), Map | None):
            raise UpdoserError(f"{tree.values_at[key]}: `{name}` isn't a map", hint="updoser validate says more")
        return child_map(tree, key)


def _check_words(**words: str) -> None:
    for name, word in words.items():
        if not word.strip() or (name == "component" and word == "*"):
            raise UsageError(f"the {name} {word!r} can't be used here", hint=f"give a {name}")
        if _MARK.search(word):
            raise UsageError(f"the {name} can't hold a template: {word}", hint="leave out `{{` and `{%`")
        if any("\ud800" <= char <= "\udfff" for char in word):
            raise UsageError(f"the {name} isn't UTF-8: {word!r}")


def _blocked(wanted: Map, component: str, path: Path) -> list[Any]:
    blocked = wanted.get("block")
    if not isinstance(blocked, Seq | None):
        raise UpdoserError(f"{path}: the `block` of {component} isn't a list", hint="updoser validate says more")
    return list(blocked or ())


def _version_of(entry: Any) -> str | None:
    return _written(entry.get("version")) if isinstance(entry, Map) else None


def _written(value: Any) -> str | None:
    """Give a version as it is written; one without quotes may be read as a number."""
    return None if value is None else value.raw if isinstance(value, Odd) else str(value)


# --- from data to data ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Change:
    """What is to be: `key` of a component is `value`; `every` adds the entry that stands for all of the catalogs."""

    component: str
    key: str
    value: Any
    every: bool

    def steps(self) -> list[tuple[str, Any]]:
        """Give the keys on the way, each with all that is to stand there when it is missing."""
        entry = {self.key: self.value}
        common = {"*": {"version": LATEST}} if self.every else {}
        return [
            ("components", {**common, self.component: entry}),
            (self.component, entry),
            (self.key, self.value),
        ]

    def applied(self, tree: Map) -> Any:
        """Give data as they are to be."""
        data = plain_data(tree)
        components = data["components"] = data.get("components") or {}
        if self.every:
            components["*"] = {"version": LATEST}
        components[self.component] = {**(components.get(self.component) or {}), self.key: plain_data(self.value)}
        return data


def _edit(file: _File, component: str, key: str, value: Any) -> Edit:
    change = _Change(component, key, value, file.lists_nothing)
    after = _Splicer(file, change).text()
    try:
        own = file.read(after.encode())
    except SpecError as error:
        _refuse(file.path, f"what would come out can't be read ({error.problems[0].message})", change)
    for old, new in ((file.own, own), (file.merged, file.laid(own))):
        other = difference(change.applied(old), plain_data(new))
        if other is not None:
            meant = other[:2] == ("components", component)
            says = "wouldn't come out as meant" if meant else "would change, too"
            _refuse(file.path, f"`{'.'.join(other)}` {says}", change)
    return Edit(file.path, file.before, file.bom + after)


def _refuse(place: object, reason: str, change: _Change) -> NoReturn:
    (key, value), *_ = change.steps()
    byhand = "\n".join(f"    {line}" for line in block_lines(key, value, 0, 2))
    raise UpdoserError(f"{place} can't be edited safely: {reason}", hint=f"edit it by hand, so that it says:\n{byhand}")


def plain_data(node: Any) -> Any:
    """Give plain data; what YAML reads oddly stays as it was read."""
    if isinstance(node, dict):
        return {key: plain_data(value) for key, value in node.items()}
    return [plain_data(value) for value in node] if isinstance(node, list) else node


def difference(one: Any, other: Any) -> tuple[str, ...] | None:
    """Give the path to the first difference; None when there is none."""
    if type(one) is not type(other):
        return ()
    if isinstance(one, (dict, list)):
        pairs = one if isinstance(one, dict) else dict(enumerate(one))
        others = other if isinstance(other, dict) else dict(enumerate(other))
        for key in [*pairs, *(key for key in others if key not in pairs)]:
            below = difference(pairs[key], others[key]) if key in pairs and key in others else ()
            if below is not None:
                return (str(key), *below)
        return None
    return None if one == other else ()


class _Splicer:
    """Carries a change into the text of a file."""

    def __init__(self, file: _File, change: _Change) -> None:
        self._file, self._change, self._text = file, change, file.text
        self._root = compose(file.text)
        self._step = self._indentation()

    def text(self) -> str:
        """Give the text after the change."""
        node, tree = self._root, self._file.own
        if node is None or (node.value is None and node.kind == "scalar"):
            return self._new_file()
        for key, value in self._change.steps():
            if node.kind != "map":
                self._refuse(node, f"what stands here isn't a map with `{key}`")
            found = next((pair for pair in node.pairs() if pair[0].value == key), None)
            if found is None:
                if key in tree:
                    self._refuse(node, f"`{key}` comes from an alias")
                return self._add(node, key, value)
            parent, (name, node) = node, found
            if node.kind == "alias":
                self._refuse(node, f"`{key}` comes from an alias")
            if node.kind == "scalar" and node.value is None:
                return self._fill(name, node, value, flow=parent.flow)
            tree = child_map(tree, key)
        return self._append(node) if self._change.key == "block" else self._replace(node)

    def _refuse(self, node: Node, reason: str) -> NoReturn:
        line = len(BREAK.findall(self._text, 0, node.start)) + 1
        _refuse(f"{self._file.path}:{line}", reason, self._change)

    def _put(self, at: int, new: str, until: int | None = None) -> str:
        return self._text[:at] + new + self._text[at if until is None else until :]

    def _indentation(self) -> int:
        """Find by how much the file indents: its components, or the first line that is."""
        if self._root and self._root.kind == "map":
            for key, node in self._root.pairs():
                if key.value == "components" and node.kind == "map" and not node.flow:
                    return max(node.children[0].column - key.column, 1)
        found = re.search(r"(?m)^( +)[^\s#-]", self._text)
        return len(found[1]) if found else 2

    def _new_file(self) -> str:
        (key, value), *_ = self._change.steps()
        lines = block_lines(key, value, 0, self._step)
        start = self._file.newline if self._text and not BREAK.match(self._text[-1]) else ""
        return self._text + start + "".join(line + self._file.newline for line in lines)

    def _add(self, node: Node, key: str, value: Any) -> str:
        """Add a key behind the last one of a map."""
        if node.flow:
            return self._add_in_flow(node, "{", f"{key_text(key)}: {one_line(value)}")
        lines = block_lines(key, value, node.children[0].column, self._step)
        spaced = node is self._root and re.search(r"(?:\r\n|\n|\r)(?:\r\n|\n|\r)", self._text)
        return self._add_lines(node.end, ["", *lines] if spaced else lines)

    def _append(self, node: Node) -> str:
        """Add the last entry of the new list to the old one."""
        new = one_line(self._change.value[-1])
        if node.flow:
            return self._add_in_flow(node, "[", new)
        dash = len(self._text[: node.children[0].start].rstrip()) - 1 if self._text[node.start] != "-" else node.start
        begin = max((match.end() for match in BREAK.finditer(self._text, 0, dash)), default=0)
        if self._text[dash] != "-" or self._text[begin:dash].strip(" "):
            self._refuse(node, "the list is written in an uncommon way")
        return self._add_lines(node.end, [f"{self._text[begin:dash]}- {new}"])

    def _replace(self, node: Node) -> str:
        if node.kind != "scalar" or node.style in {"|", ">"}:
            self._refuse(node, f"`{self._change.key}` isn't written in one line")
        return self._put(self._bare(node), quoted(self._change.value), node.end)

    def _bare(self, node: Node) -> int:
        """Find where a scalar begins behind its anchor."""
        found = _PROPERTIES.match(self._text, node.start, node.end)
        return found.end() if found else node.start

    def _fill(self, name: Node, node: Node, value: Any, *, flow: bool) -> str:
        """Put a value where nothing stands, or null."""
        if node.start < node.end:
            start = self._bare(node)
            return self._put(start, one_line(value) if start < node.end else f" {one_line(value)}", node.end)
        colon = _COLON.match(self._text, name.end)
        at = colon.end() if colon else name.end
        lines = block_lines("", value, name.column, self._step)[1:]
        if lines and colon and not flow:
            return self._add_lines(at, lines)
        return self._put(at, f"{' ' if colon else ': '}{one_line(value)}")

    def _add_in_flow(self, node: Node, bracket: str, new: str) -> str:
        if node.children:
            return self._put(node.children[-1].end, f", {new}")
        at = self._text.index(bracket, node.start) + 1
        return self._put(at, f"{new} " if self._text[at] == "#" else new)

    def _add_lines(self, end: int, lines: list[str]) -> str:
        """Add lines below the one in which content ends."""
        if end and BREAK.match(self._text[end - 1]):  # a text that keeps its blank lines ends below them
            return self._put(end, "".join(line + self._file.newline for line in lines))
        return self._put(line_end(self._text, end), "".join(self._file.newline + line for line in lines))
