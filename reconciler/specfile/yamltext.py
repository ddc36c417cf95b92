"""YAML as text: where values stand in it, and how values are written into it."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from reconciler.model.spec import LATEST
from reconciler.specfile.reader import scalar
from reconciler.specfile.tree import Odd

if TYPE_CHECKING:
    from collections.abc import Iterator

BREAK = re.compile(r"\r\n|[\r\n\x85\u2028\u2029]")
_PLAIN_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")
_WORD = re.compile(r"[A-Za-z_/][A-Za-z0-9_./%=+-]*")
_SWITCHES = frozenset({"y", "n", "Y", "N"})
"""What YAML 1.1 calls true and false, and some readers do."""
_UNPRINTABLE = re.compile(r"[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]")


@dataclass(slots=True)
class Node:
    """A value in the text, from `start` to the `end` of its content; keys and values of a map stand in `children`.

    `kind` is map, list, scalar or alias; `value` the text of a scalar, None for null. Only the root and what is under
    `components` has children.
    """

    kind: str
    start: int
    end: int
    column: int
    flow: bool = False
    style: str = ""
    value: str | None = None
    kept: bool = False
    children: list[Node] = field(default_factory=list)

    def pairs(self) -> Iterator[tuple[Node, Node]]:
        """Give the keys of a map, each with its value."""
        return zip(self.children[::2], self.children[1::2], strict=True)


def compose(text: str) -> Node | None:
    """Find where the values stand; a text that the reader took is YAML. None for an empty file."""
    import yaml

    root: Node | None = None
    stack: list[Node] = []
    for event in yaml.parse(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
        name = type(event).__name__
        if name in {"MappingEndEvent", "SequenceEndEvent"}:
            node = stack.pop()
            if node.flow:  # the end of another is told below the comments that follow it
                node.end = _end(event)
        elif name in _KINDS:
            node = _node(event, _KINDS[name], text)
            root = root or node
            if stack and stack[-1].kept:
                stack[-1].children.append(node)
        else:
            continue
        if stack:
            stack[-1].end = node.end
        if name in {"MappingStartEvent", "SequenceStartEvent"}:
            node.kept = not stack or (stack[-1].kept and (len(stack) > 1 or _last_key(stack[-1]) == "components"))
            stack.append(node)
    return root


_KINDS = {"MappingStartEvent": "map", "SequenceStartEvent": "list", "ScalarEvent": "scalar", "AliasEvent": "alias"}


def _last_key(node: Node) -> str | None:
    """Give the key whose value came last."""
    return node.children[-2].value if len(node.children) % 2 == 0 else None


def _end(event: Any) -> int:
    return int(event.end_mark.index)


def _node(event: Any, kind: str, text: str) -> Node:
    mark = event.start_mark
    node = Node(kind, mark.index, _end(event), mark.column, flow=bool(getattr(event, "flow_style", False)))
    if kind == "scalar":
        node.style = event.style or ""
        null = not node.style and event.tag is None and scalar(event.value) is None
        node.value = None if null else event.value
        if node.style in {"|", ">"} and "+" not in text[node.start : line_end(text, node.start)]:
            node.end = len(text[: node.end].rstrip())  # the parser counts blank lines to it
    return node


def line_end(text: str, at: int) -> int:
    """Give where the line ends that a place is in."""
    found = BREAK.search(text, at)
    return found.start() if found else len(text)


def block_lines(key: str, value: Any, column: int, step: int) -> list[str]:
    """Write a key with its value in lines; a map of single values in one."""
    indent = " " * column
    if isinstance(value, dict) and any(isinstance(entry, (dict, list)) for entry in value.values()):
        below = [block_lines(name, entry, column + step, step) for name, entry in value.items()]
        return [f"{indent}{key_text(key)}:", *(line for lines in below for line in lines)]
    if isinstance(value, list):
        return [f"{indent}{key_text(key)}:", *(f"{indent}{' ' * step}- {one_line(entry)}" for entry in value)]
    return [f"{indent}{key_text(key)}: {one_line(value)}"]


def one_line(value: Any) -> str:
    """Write a value in one line."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key_text(key)}: {one_line(entry)}" for key, entry in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(one_line, value)) + "]"
    if isinstance(value, str):
        return value if value == LATEST else quoted(value)
    return value.raw if isinstance(value, Odd) else json.dumps(value)


def key_text(name: str) -> str:
    """Write a key: plain where that reads as the same text."""
    return name if _PLAIN_KEY.fullmatch(name) and scalar(name) == name else quoted(name)


def quoted(text: str) -> str:
    """Write a text in double quotes, in one line; the escapes of JSON are those of YAML."""
    text = json.dumps(text, ensure_ascii=False)
    return _UNPRINTABLE.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def as_word(text: str) -> str | None:
    """Write a text without quotes; None where it needs them, or where the next edit of it might."""
    return text if _WORD.fullmatch(text) and scalar(text) == text and text not in _SWITCHES else None


def written(text: str) -> str:
    """Write a text, in quotes where it needs them."""
    return as_word(text) or quoted(text)
