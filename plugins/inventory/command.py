"""Clients that a program lists, in the JSON of Ansible's dynamic inventories: `ansible-inventory --list` as it is.

* Groups are objects (`hosts`, `children`, `vars`) or, in the old form, plain lists of hosts. A client is in the groups
  that list it, in all groups above them, and in `all`.
* `ansible_host`, `ansible_port` and `ansible_user` say how a client is reached; no other `ansible_*` is taken over, for
  passwords stand there. What else is text, a number or a truth value becomes a var, as text.
* Vars of a host win over those of its groups, and a group's over those of the groups above it. Nothing is rendered.
* The program runs without a shell, in the folder of the spec; it is stopped with all that it started when its time is
  over or its answer too long.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from reconciler.contracts import Traits
from reconciler.errors import InventoryError
from reconciler.model.client import InventoryEntry
from reconciler.model.duration import parse_duration

from ._groups import Groups
from ._program import run_program

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from reconciler.contracts import Context

META = "_meta"
RESERVED = "ansible_"

OPTIONS: Mapping[str, Any] = {
    "type": "object",
    "description": "Clients that a program lists, in the JSON of Ansible's dynamic inventories.",
    "properties": {
        "run": {
            "type": "array",
            "items": {"type": "string"},
            "minItems": 1,
            "description": "The program and its arguments. It runs without a shell, in the folder of the spec.",
            "examples": [["ansible-inventory", "-i", "hosts.ini", "--list"]],
        },
        "timeout": {
            "type": "string",
            "default": "60s",
            "description": "How long the program may take.",
            "examples": ["60s", "5m"],
        },
        "env": {
            "type": "object",
            "additionalProperties": {"type": "string"},
            "description": "Variables that are added to the environment that updoser runs in. No place for secrets.",
            "examples": [{"ANSIBLE_CONFIG": "ansible.cfg"}],
        },
    },
    "required": ["run"],
    "additionalProperties": False,
}


class Command:
    """The `Inventory` protocol of reconciler/contracts.py."""

    def __init__(self, options: Mapping[str, Any], context: Context) -> None:
        self._run: tuple[str, ...] = tuple(options["run"])
        self._env: Mapping[str, str] = options.get("env", {})
        self._base = context.base
        try:
            self._timeout = parse_duration(options.get("timeout", "60s")).total_seconds()
        except ValueError as error:
            raise InventoryError(f"timeout of the inventory program {self._run[0]}: {error}") from error

    def clients(self) -> Iterator[InventoryEntry]:
        """Run the program and list what it names, sorted.

        Raises:
            InventoryError: it can't be run, failed, took too long, or its answer isn't an inventory.
        """
        answer = run_program(self._run, self._base, self._env, timeout=self._timeout)
        yield from parse_inventory(answer, self._run[0])


def parse_inventory(answer: bytes, program: str) -> Iterator[InventoryEntry]:
    """Read what an inventory program printed.

    Raises:
        InventoryError: it isn't a dynamic inventory; the message names the place.
    """
    data = _json(answer, program)
    hostvars = _hostvars(data, program)
    try:
        groups = Groups({name: value for name, value in data.items() if name != META})
    except ValueError as error:
        raise InventoryError(f"{program}: {error}") from error
    for host in sorted(groups.hosts | hostvars.keys()):
        own = hostvars.get(host, {})
        if not isinstance(own, dict):
            raise InventoryError(f"{program}: the vars of {host!r} aren't an object")
        above, inherited = groups.of(host)
        yield _entry(host, above, {**inherited, **own}, program)


def _json(answer: bytes, program: str) -> dict[str, Any]:
    hint = "it must print the JSON of an Ansible dynamic inventory and nothing else to its standard output"
    try:
        data = json.loads(answer)
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise InventoryError(f"{program} printed no JSON: {error.msg} at {place}", hint=hint) from error
    except (ValueError, RecursionError) as error:
        raise InventoryError(f"{program} printed no JSON: {error}", hint=hint) from error
    if not isinstance(data, dict):
        raise InventoryError(f"{program} printed no JSON object", hint=hint)
    return data


def _hostvars(data: Mapping[str, Any], program: str) -> Mapping[str, Any]:
    match data.get(META, {}):
        case {"hostvars": dict(hostvars)}:
            return hostvars
        case dict(meta) if "hostvars" not in meta:
            return {}
    raise InventoryError(f"{program}: `_meta` isn't an object with an object `hostvars`")


def _entry(host: str, groups: tuple[str, ...], values: Mapping[str, Any], program: str) -> InventoryEntry:
    texts = {name: text for name, value in values.items() if (text := _text(value)) is not None}
    port = texts.get("ansible_port") or None
    if port is not None and not (port.isascii() and port.isdigit() and len(port) <= 5):
        raise InventoryError(f"{program}: ansible_port of {host!r} isn't a number: {port[:40]!r}")
    reach = {name: texts.get(name, "") for name in ("ansible_host", "ansible_user")}
    for name, text in reach.items():
        if "{{" in text or "{%" in text:
            raise InventoryError(
                f"{program}: {name} of {host!r} is a template: {text[:60]!r}",
                hint="updoser renders no values of inventories; let the inventory give the value itself",
            )
    return InventoryEntry(
        host,
        reach["ansible_host"],
        None if port is None else int(port),
        reach["ansible_user"] or None,
        (),
        groups,
        {name: text for name, text in texts.items() if not name.startswith(RESERVED)},
    )


def _text(value: Any) -> str | None:
    """Give a scalar as text; None for what is no scalar, and for null."""
    match value:
        case str():
            return value
        case bool():
            return "true" if value else "false"
        case int() | float():
            return str(value)
        case {"__ansible_unsafe": str(text)}:  # how ansible-inventory marks text that must never be rendered
            return text
    return None


TRAITS = Traits(programs=True)
PLUGIN = Command
