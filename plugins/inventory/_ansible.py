"""What vars of Ansible say of the way to a host: which machine it is, and as whom it is changed.

* Address, port and user become those of the client. Where two names mean the same, the one with `ssh` in it wins, as in
  Ansible's connection plugin `ssh`; those of `paramiko` count for hosts that are reached with it.
* The connection, key files, hosts on the way and `become` become demands: whoever lists the client holds them against
  the transport of its group, which has them for all of its clients.
* All else that would lead elsewhere makes the host unfit, with a sentence that names the var: options of ssh that
  aren't known to be harmless, and values that can't be read as they stand, such as templates and vaulted ones.
* Passwords are left alone, and so is what only says how fast or how silently ssh works.
"""

from __future__ import annotations

import os
import shlex
from typing import TYPE_CHECKING, Any

from reconciler.formats.text import unfit
from reconciler.model.client import Demands

from ._ssh_options import SshOptions, UnfitError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

CONNECTION = "ansible_connection"
REACH = {
    "address": ("ansible_ssh_host", "ansible_host"),
    "port": ("ansible_ssh_port", "ansible_port"),
    "user": ("ansible_ssh_user", "ansible_user"),
}
"""The vars that give what a client has itself; the first that is set wins."""
_KEY_FILES = ("ansible_ssh_private_key_file", "ansible_private_key_file")
_KEYS = ("ansible_ssh_private_key", "ansible_private_key")
_ARGUMENTS = ("ansible_ssh_args", "ansible_ssh_common_args", "ansible_ssh_extra_args")
_EXECUTABLE = "ansible_ssh_executable"
_BECOME, _METHOD, _BECOME_USER = "ansible_become", "ansible_become_method", "ansible_become_user"
DECIDING = frozenset(
    [
        *(name for names in REACH.values() for name in names),
        *(CONNECTION, *_KEY_FILES, *_KEYS, *_ARGUMENTS, _EXECUTABLE, _BECOME, _METHOD, _BECOME_USER),
    ]
)
"""All vars that decide; none of them may be passed over in silence."""
_TRANSPORTS = {"smart": "ssh", "paramiko": "ssh", "paramiko_ssh": "ssh"}
_TRUE, _FALSE = frozenset(["true", "yes", "on", "1", "y", "t"]), frozenset(["false", "no", "off", "0", "n", "f", ""])


class HostAccess:
    """How a host is reached by its vars: `address`, `port`, `user` and `demands`.

    Raises:
        UnfitError: see the module's rules.
    """

    def __init__(self, values: Mapping[str, Any], base: Path) -> None:
        """Take the vars that are in force for a host; paths in them start from `base`."""
        self._values = values
        self._base = base
        connection = self._text(CONNECTION).rpartition(".")[2]
        self._paramiko = connection in {"paramiko", "paramiko_ssh"}
        self.address = self._address()
        self.port = self._port()
        self.user = self._named("user")[1] or None
        self._check_keys_and_program()
        options = SshOptions()
        for name in _ARGUMENTS:
            options.read(name, self._text(name))
        for name in self._of_paramiko("proxy_command"):
            options.read(name, shlex.join(["-o", f"ProxyCommand={self._text(name) or 'none'}"]))
        files = [self._text(next((name for name in self._key_names() if self._is_set(name)), _KEY_FILES[0]))]
        keys = (self._absolute(file) for file in (*files, *options.keys) if file)
        self.demands = Demands(
            _TRANSPORTS.get(connection, connection), tuple(dict.fromkeys(keys)), options.jump, self._become()
        )

    def _of_paramiko(self, word: str) -> tuple[str, ...]:
        return (f"ansible_paramiko_{word}",) if self._paramiko else ()

    def _key_names(self) -> tuple[str, ...]:
        return *self._of_paramiko("private_key_file"), *_KEY_FILES

    def _is_set(self, name: str) -> bool:
        return self._values.get(name) is not None

    def _named(self, what: str) -> tuple[str, str]:
        """Give which of several vars counts, and what it says; both empty where none is set."""
        names = *self._of_paramiko(what.replace("address", "host")), *REACH[what]
        name = next((name for name in names if self._is_set(name)), "")
        return name, self._text(name) if name else ""

    def _address(self) -> str:
        name, text = self._named("address")
        if name and not text:  # else the host's name would be its address in silence
            raise UnfitError(f"{name} is empty")
        return text

    def _port(self) -> int | None:
        name, text = self._named("port")
        if not text:
            return None
        if not (text.isascii() and text.isdigit() and len(text) <= 5):
            raise UnfitError(f"{name} isn't a number: {text[:40]!r}")
        return int(text)

    def _check_keys_and_program(self) -> None:
        given = next((name for name in _KEYS if self._is_set(name)), "")
        if given:
            raise UnfitError(f"{given} holds a private key; updoser reads keys from where the group's transport says")
        program = self._text(_EXECUTABLE)
        if program and os.path.basename(program) != "ssh":  # noqa: PTH119 - of a text that needn't be a path
            raise UnfitError(f"{_EXECUTABLE} is {program[:60]!r}, and updoser runs no program for its connections")

    def _become(self) -> bool | None:
        """Say whether root is to be become; None where nothing is said."""
        text = self._text(_BECOME).lower()
        if self._is_set(_BECOME) and text in _FALSE:
            return False
        for name, only in ((_METHOD, "sudo"), (_BECOME_USER, "root")):
            said = self._text(name) or only
            if said.rpartition(".")[2] != only:
                raise UnfitError(f"{name} is {said[:60]!r}, and updoser knows {only} only")
        if text and text not in _TRUE:
            raise UnfitError(f"{_BECOME} is neither true nor false: {text[:40]!r}")
        return True if text else None

    def _absolute(self, file: str) -> str:
        if trouble := unfit(file):
            raise UnfitError(f"the path of a key has {trouble} in it")
        return os.path.normpath(self._base / os.path.expanduser(file))  # noqa: PTH111 - links stay as they are named

    def _text(self, name: str) -> str:
        """Give the value of a var as text, empty where it isn't set."""
        value = self._values.get(name)
        if isinstance(value, dict) and "__ansible_vault" in value:
            raise UnfitError(f"{name} is vaulted; let the inventory give the value itself")
        text = text_of(value)
        if text is None:
            if value is None:
                return ""
            raise UnfitError(f"{name} is neither a text nor a number")
        if any(mark in text for mark in ("{{", "{%", "{#")):
            raise UnfitError(f"{name} is a template, which updoser doesn't render: {text[:60]!r}")
        return text


def text_of(value: Any) -> str | None:
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


def own_vars(values: Mapping[str, Any], reserved: str) -> dict[str, str]:
    """Give the vars that aren't Ansible's own, as text."""
    texts = ((name, text_of(value)) for name, value in values.items() if not name.startswith(reserved))
    return {name: text for name, text in texts if text is not None}


def host_argument(run: Sequence[str], host: str) -> list[str] | None:
    """Give the command that asks a program for one host's vars, in place of `--list`; None where it has no `--list`."""
    if "--list" not in run:
        return None
    at = run.index("--list")
    return [*run[:at], "--host", host, *run[at + 1 :]]
