"""Specs that somebody spoiled: the example fleets with values of other kinds in them, odd scalars, and broken bytes."""

from __future__ import annotations

import shutil
from copy import deepcopy
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from reconciler.desk import Desk, read_spec
from reconciler.errors import SpecError
from reconciler.present.declared import valid_document, valid_text
from reconciler.specfile.effective import effective_text, explain

if TYPE_CHECKING:
    from collections.abc import Iterator
    from random import Random
ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "tests/unit/data/examples"
FLEETS = ("clamav-fleet.yaml", "suricata-canary.yaml", "airgap-hq.yaml", "airgap-site.yaml", "updoser.yaml")
SPOILED = (*FLEETS, *FLEETS, "airgap-base.yaml", "clamav.catalog.yaml", "suricata.catalog.yaml")
READ_BY = {
    "airgap-base.yaml": "airgap-site.yaml",
    "clamav.catalog.yaml": "clamav-fleet.yaml",
    "suricata.catalog.yaml": "suricata-canary.yaml",
}
"""Which fleet reads a file that is no spec itself."""

RAW = (
    *("~", "yes", "off", "0644", "0x1F", "0b1", "1_000", "12:30:45", "9.10", "1e400", "-.inf", ".nan", "2026-02-30"),
    *(
        "9" * 17,
        "9" * 300,
        "-9",
        "1e15",
        "0.1",
        "-0.0",
        "''",
        "'\\0'",
        '"\\0"',
        '"\\ud800"',
        '"\\x1b[31m"',
        '"\\u202e"',
    ),
    *(
        "!!python/object:os.system x",
        "!!binary aGk=",
        "&a [*a]",
        "*nobody",
        "{? [a, b] : c}",
        "{<<: 1}",
        "{<<: {a: 1}}",
    ),
    *(
        "[[[[[[[[[[[]]]]]]]]]]]",
        "{env: X}",
        "{file: }",
        "{file: ~nosuch/x}",
        "{command: [1]}",
        "{env: a, file: b}",
        "[]",
        "{}",
    ),
)
TEXTS = (
    *("", " ", "x", "*", "@all", "~", "~nosuch/x", "~/x", "../..", "/", "/dev/zero", ".", "loop/x", "loop", "a" * 300),
    *(
        "a/" * 3000 + "x",
        "x5%",
        "5%",
        "-5%",
        "101%",
        "nan%",
        "inf%",
        "1e9%",
        "99999999999w",
        "1s",
        "0s",
        "1h30m",
        "-1h",
    ),
    *(
        "latest",
        "latest-9",
        "1.2.3.4.5",
        "9" * 400,
        "UTC",
        "Europe/Berlin",
        "../../etc/passwd",
        "Europe",
        "/etc/localtime",
    ),
    *(
        "{{ x",
        "{{ x }}",
        "{% if %}",
        "{{ 1/0 }}",
        "{{ env }}",
        "{{ 'a'*9 }}",
        "{{ day ~ day }}",
        "{{ '1e999'|int }}",
        "${x}",
    ),
    *(
        "http://[::1",
        "http://a:99999/",
        "http://u:p@h/",
        "https://",
        "sqlite:///",
        "sqlite:////",
        "mysql://x",
        "socks5h://a",
    ),
    *(
        "[::1]:22",
        "a:b:c",
        "user@host:99999",
        "host:-1",
        "\x00",
        "a\x00b",
        "\n",
        "é" * 90,
        "\U0001f600",
        "\u2028",
        "\ufeff",
        "İ",
    ),
    *(
        "name=",
        "!",
        "&&",
        "[a",
        "a[",
        "label=[z-a]",
        "(",
        "\\",
        "ssh",
        "local",
        "directory",
        "tuf",
        "csv",
        "command",
        "http",
    ),
    *(
        ">=0",
        ">=9.9.9",
        "sha256:" + "0" * 64,
        "2026-11-28",
        "9999-12-31",
        "0001-01-01",
        "24:00",
        "23:59:60",
        "mon",
        "week",
    ),
)
WORDS = (
    *(
        "type",
        "name",
        "path",
        "url",
        "keys",
        "env",
        "file",
        "command",
        "version",
        "timezone",
        "every",
        "waves",
        "share",
    ),
    *("count", "select", "transport", "inventory", "jump", "port", "proxy", "groups", "clients", "checks", "settings"),
    *(
        "template",
        "hooks",
        "install_root",
        "labels",
        "vars",
        "extends",
        "plugins",
        "repository",
        "duplication",
        "extra",
    ),
)
NUMBERS = (0, 1, -1, 2, 3, 2**31, 2**63, -(2**63), 10**18 - 1, 0.5, 1e-9, 1e308, True, False, None)


class Shelf:
    """The example fleets in a folder, with links that lead in a circle and a folder beside them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "fleets"
        shutil.copytree(EXAMPLES, self.folder)
        shutil.copy(ROOT / "updoser.yaml", self.folder)
        (self.folder / "loop").symlink_to("loop")
        self.contents = {name: (self.folder / name).read_bytes() for name in SPOILED}
        self._trees = {name: yaml.safe_load(content) for name, content in self.contents.items()}

    def spoil(self, draw: Random) -> tuple[str, bytes]:
        """Give the name of a file and what somebody made of it."""
        name = draw.choice(SPOILED)
        if draw.random() < 0.25:
            return name, _bytes(self.contents[name], draw)
        return name, _structure(self._trees[name], draw)

    def judge(self, name: str, content: bytes) -> SpecError | None:
        """Read the fleet as `updoser validate` does, with that file in it; give what it has to say (None: nothing)."""
        (self.folder / name).write_bytes(content)
        try:
            loaded = read_spec(Desk(None, self.folder / READ_BY.get(name, name)))  # type: ignore[arg-type]
            assert valid_text(valid_document(loaded.spec))
            assert effective_text(explain(loaded, ""))
        except SpecError as error:
            return error
        finally:
            (self.folder / name).write_bytes(self.contents[name])
        return None


# --- other bytes ------------------------------------------------------------------------------------------------------


def _bytes(content: bytes, draw: Random) -> bytes:
    data = bytearray(content)
    for _ in range(draw.choice((1, 1, 2, 5, 30))):
        at, size = draw.randrange(len(data) or 1), draw.choice((1, 1, 2, 8, 60))
        match draw.randrange(6):
            case 0:
                data[at : at + 1] = bytes([data[at] ^ 1 << draw.randrange(8)]) if data else b""
            case 1:
                del data[at : at + size]
            case 2:
                data[at:at] = draw.choice((b"\0", b"\xff", b"\xed\xa0\x80", b"\t", b"\r", b"\xc2\x85", b"{{", b"*a"))
            case 3:
                data[at:at] = draw.choice((b"[", b"{", b": ", b"- ", b"'", b'"', b"|\n", b"? ", b"---\n")) * size
            case 4:
                data[at:at] = data[draw.randrange(len(data) or 1) :][: size * 4]
            case 5:
                del data[at : None if draw.random() < 0.1 else at + 1]
    return bytes(data)


# --- other values -----------------------------------------------------------------------------------------------------


def _structure(tree: Any, draw: Random) -> bytes:
    tree = deepcopy(tree)
    raw: list[str] = []
    for _ in range(draw.choice((1, 1, 1, 2, 3, 8))):
        _change(tree, draw, raw)
    text = yaml.safe_dump(tree, sort_keys=False, allow_unicode=draw.random() < 0.5)
    for number, scalar in enumerate(raw):
        text = text.replace(f"raw-{number}-scalar", scalar)
    return text.encode("utf-8", "surrogatepass")


def _change(tree: Any, draw: Random, raw: list[str]) -> None:
    places = list(_places(tree))
    if not places:
        return
    holder, key = draw.choice(places)
    match draw.randrange(8):
        case 0 | 1 | 2:
            holder[key] = _value(draw, raw)
        case 3:
            del holder[key]
        case 4:  # another part of the same spec: a copy, or the same object, which is an anchor with an alias
            other, at = draw.choice(places)
            holder[key] = deepcopy(other[at]) if draw.random() < 0.7 or _holds(other[at], holder) else other[at]
        case 5 if isinstance(holder, dict):
            holder[draw.choice((*WORDS, *TEXTS, "<<"))] = holder.pop(key) if draw.random() < 0.5 else _value(draw, raw)
        case 5:
            holder += [deepcopy(holder[key])] * draw.choice((1, 2, 40))
        case 6:
            for _ in range(draw.choice((1, 3, 60))):
                holder[key] = [holder[key]] if draw.random() < 0.8 else {str(key): holder[key]}
        case 7:
            text, at = str(holder[key]), draw.randrange(len(str(holder[key])) or 1)
            holder[key] = text[:at] + draw.choice(TEXTS)[:200] + text[at + draw.randrange(3) :]


def _value(draw: Random, raw: list[str]) -> Any:
    match draw.randrange(6):
        case 0:
            return draw.choice(NUMBERS)
        case 1:
            raw.append(draw.choice(RAW))
            return f"raw-{len(raw) - 1}-scalar"
        case 2:
            return draw.choice(([], {}, [None], [[]], {"a": None}, [{}], {"type": "ssh"}, {"type": None}, {"name": 1}))
        case 3:
            return {draw.choice(WORDS): _value(draw, raw)}
        case _:
            return draw.choice(TEXTS)


def _places(tree: Any) -> Iterator[tuple[Any, Any]]:
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        for key, value in node.items() if isinstance(node, dict) else enumerate(node):
            yield node, key
            if isinstance(value, (dict, list)):
                waiting.append(value)


def _holds(node: Any, holder: Any) -> bool:
    return node is holder or (isinstance(node, (dict, list)) and any(other is holder for other, _key in _places(node)))
