"""Clients that a program lists, in the JSON of Ansible's dynamic inventories: `ansible-inventory --list` as it is.

* Groups are objects (`hosts`, `children`, `vars`) or, in the old form, plain lists of hosts. A client is in the groups
  that list it, in all groups above them, and in `all`.
* Vars of Ansible that say which machine a client is, and as whom it is changed, are honoured or make it unfit
  (`_ansible`); no other `ansible_*` is taken over, for passwords stand there. What else is text, a number or a truth
  value becomes a var, as text.
* A program whose answer has no `_meta` is asked for the vars of each host, with `--host` in place of `--list`.
* Vars of a host win over those of its groups, and a group's over those of the groups above it. Nothing is rendered.
* The program runs without a shell, in the folder of the spec; it is stopped with all that it started when its time is
  over or its answer too long. Of the environment it gets no variable that holds a secret of the spec, but for those
  that `pass_env` names.
"""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

from reconciler.contracts import Traits
from reconciler.errors import InventoryError
from reconciler.formats.duration import parse_duration
from reconciler.formats.option_schemas import PASS_ENV
from reconciler.formats.text import read_json
from reconciler.model.client import InventoryEntry
from reconciler.programs import Ending, last_lines, read_program

from ._ansible import HostAccess, host_argument, own_vars
from ._groups import Groups
from ._ssh_options import UnfitError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from reconciler.contracts import Context

META = "_meta"
RESERVED = "ansible_"
MAX_OUTPUT = 512 * 2**20
"""Bytes; a million hosts with a few vars each."""
MAX_VARS = 2**20
"""Bytes that a program may print about one host."""
SHOWN_LINES, MAX_SHOWN = 5, 2000
"""Lines, and characters in all, that are shown of what a program said that failed."""

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
        "pass_env": PASS_ENV,
    },
    "required": ["run"],
    "additionalProperties": False,
}


class CommandInventory:
    """The `Inventory` protocol of reconciler/contracts.py."""

    def __init__(self, options: Mapping[str, Any], context: Context) -> None:
        self._run: tuple[str, ...] = tuple(options["run"])
        self._env: Mapping[str, str] = options.get("env", {})
        self._pass: Sequence[str] = options.get("pass_env", ())
        self._context = context
        self._base = context.base
        try:
            self._timeout = parse_duration(options["timeout"]).total_seconds()
        except ValueError as error:
            raise InventoryError(f"timeout of the inventory program {self._run[0]}: {error}") from error

    def clients(self) -> Iterator[InventoryEntry]:
        """Run the program and list what it names, sorted.

        Raises:
            InventoryError: it can't be run, failed, took too long, or its answer isn't an inventory.
            SecretError: a variable of `pass_env` isn't set.
        """
        deadline = time.monotonic() + self._timeout
        program = self._run[0]
        env = {**self._context.environment(self._pass), **self._env}
        data = _json(self._printed(self._run, env, self._timeout, MAX_OUTPUT), program)
        if META not in data:
            data[META] = {"hostvars": self._ask_each(sorted(_groups(data, program).hosts), env, deadline)}
        yield from _entries(data, program, self._base)

    def _ask_each(self, hosts: Sequence[str], env: Mapping[str, str], deadline: float) -> dict[str, Any]:
        """Ask for the vars of each host, as Ansible does; all of that within the time of the program."""
        program, found = self._run[0], dict[str, Any]()
        for host in hosts:
            command = host_argument(self._run, host)
            if command is None:
                raise InventoryError(
                    f"{program}: its answer has no `_meta`, so which machine {host!r} is may stand elsewhere",
                    hint="have it print `_meta` with `hostvars`, `{}` where hosts have no vars; or have `--list` in "
                    "`run`, and it is asked for each host with `--host`",
                )
            if host.startswith("-"):
                raise InventoryError(f"{program}: a host is called {host[:60]!r}, which `--host` can't ask for")
            try:
                left = deadline - time.monotonic()
                answer = self._printed(command, env, max(left, 0), MAX_VARS)
            except InventoryError as error:
                if time.monotonic() < deadline:
                    raise InventoryError(f"asked for {host!r}: {error.message}", hint=error.hint) from error
                raise InventoryError(
                    f"{program} has no `_meta`, and gave the vars of {len(found)} of {len(hosts)} hosts in "
                    f"{self._timeout:.0f} s",
                    hint="have it print `_meta` with `hostvars`, or raise `timeout` of the inventory",
                ) from error
            found[host] = _json(answer, f"{program} --host {host}") if answer.strip() else {}
        return found

    def _printed(self, command: Sequence[str], env: Mapping[str, str], timeout: float, limit: int) -> bytes:
        """Give what a program printed.

        Raises:
            InventoryError: it can't be started, ended with another status than 0, took longer than `timeout` seconds,
                or printed more than `limit` bytes.
        """
        ended = read_program(command, self._base, env, timeout=timeout, limit=limit)
        name = f"the inventory program {command[0]}"
        match ended.ending:
            case Ending.NOT_STARTED:
                raise InventoryError(f"{name} can't be started: {ended.why.lower()}")
            case Ending.LATE:
                raise InventoryError(
                    f"{name} wasn't done after {timeout:.0f} s and was stopped",
                    hint="raise `timeout` of the inventory if it needs longer",
                )
            case Ending.ENDLESS:
                raise InventoryError(f"{name} printed more than {limit} bytes")
        if ended.status:
            hint = last_lines(ended.errors, SHOWN_LINES, MAX_SHOWN) or "it said nothing on its standard error"
            raise InventoryError(f"{name} ended with status {ended.status}", hint=hint)
        return ended.output


def parse_inventory(answer: bytes, program: str, base: Path) -> Iterator[InventoryEntry]:
    """Read what an inventory program printed; paths in it start from `base`.

    Raises:
        InventoryError: it isn't a dynamic inventory; the message names the place.
    """
    yield from _entries(_json(answer, program), program, base)


def _entries(data: Mapping[str, Any], program: str, base: Path) -> Iterator[InventoryEntry]:
    hostvars = _hostvars(data, program)
    groups = _groups(data, program)
    for host in sorted(groups.hosts | hostvars.keys()):
        own = hostvars.get(host, {})
        if not isinstance(own, dict):
            raise InventoryError(f"{program}: the vars of {host!r} aren't an object")
        try:
            above, inherited = groups.of(host)
        except ValueError as error:
            raise InventoryError(f"{program}: {host!r}: {error}") from error
        yield _entry(host, above, {**inherited, **own}, base)


def _groups(data: Mapping[str, Any], program: str) -> Groups:
    try:
        return Groups({name: value for name, value in data.items() if name != META})
    except ValueError as error:
        raise InventoryError(f"{program}: {error}") from error


def _json(answer: bytes, program: str) -> dict[str, Any]:
    hint = "it must print the JSON of an Ansible dynamic inventory and nothing else to its standard output"
    try:
        data = read_json(answer)
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise InventoryError(f"{program} printed no JSON: {error.msg} at {place}", hint=hint) from error
    except ValueError as error:
        raise InventoryError(f"{program} printed no JSON that can be used: {error}", hint=hint) from error
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


def _entry(host: str, groups: tuple[str, ...], values: Mapping[str, Any], base: Path) -> InventoryEntry:
    vars_ = own_vars(values, RESERVED)
    try:
        reach = HostAccess(values, base)
    except UnfitError as error:
        return InventoryEntry(host, groups=groups, vars=vars_, unfit=str(error))
    return InventoryEntry(
        host,
        reach.address,
        port=reach.port,
        user=reach.user,
        labels=(),
        groups=groups,
        vars=vars_,
        demands=reach.demands,
    )


TRAITS = Traits(programs=True)
PLUGIN = CommandInventory
