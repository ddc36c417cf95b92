"""Arguments for ssh in vars of Ansible: the private keys and the hosts on the way that they name.

What else could lead to another machine or user makes the host unfit; what can't is passed over. The first word on the
way counts, as with ssh. Source of the letters and names: ssh(1) and ssh_config(5).
"""

from __future__ import annotations

import os
import re
import shlex
from typing import TYPE_CHECKING

from reconciler.formats.known_hosts import SSH_PORT, host_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_NAMES = """
    addkeystoagent batchmode checkhostip ciphers clearallforwardings compression connectionattempts connecttimeout
    controlmaster controlpath controlpersist forwardagent forwardx11 globalknownhostsfile gssapiauthentication
    gssapidelegatecredentials hashknownhosts hostkeyalgorithms identitiesonly ipqos kbdinteractiveauthentication
    kexalgorithms loglevel macs numberofpasswordprompts passwordauthentication preferredauthentications
    pubkeyacceptedalgorithms pubkeyacceptedkeytypes pubkeyauthentication requesttty sendenv serveralivecountmax
    serveraliveinterval setenv stricthostkeychecking tcpkeepalive updatehostkeys userknownhostsfile verifyhostkeydns
    visualhostkey
"""
_HARMLESS = frozenset(_NAMES.split())
"""Options, in small letters, that don't change which machine answers, nor as whom."""
_FLAGS = re.compile(r"-[CqvAaxXYTt]+")
_WITH_VALUE = frozenset(f"-{letter}" for letter in "BbcDEeFIiJLlmOopQRSWw")
_HARMLESS_LETTERS = frozenset(["-c", "-m", "-S", "-e"])
_JUMP = re.compile(r"(?:ssh://)?(?:[^@]*@)?(\[[^\]]+\]|[^\[\]:@/]+)(?::(\d{1,5}))?/?")


class UnfitError(Exception):
    """What a host's vars say of the way to it can't be honoured; the message names the var."""


class SshOptions:
    """What arguments say that were read: `keys`, and `jump`, the hosts on the way as known_hosts names them."""

    def __init__(self) -> None:
        """Know nothing yet."""
        self.keys: list[str] = []
        self.jump: tuple[str, ...] = ()
        self._way_is_said = False

    def read(self, name: str, text: str) -> None:
        """Read the arguments that a var has.

        Raises:
            UnfitError: they have something that isn't known to be harmless.
        """
        try:
            words = shlex.split(text)
        except ValueError as error:
            raise UnfitError(f"{name} isn't a line of arguments: {error}") from error
        for letter, value in _letters(words):
            if letter == "-o":
                self._option(name, value)
            elif letter == "-J":
                self._say_way(name, value, value)
            elif letter == "-i":
                self.keys.append(value)
            elif letter not in _HARMLESS_LETTERS:
                raise UnfitError(f"{name} has {(letter or value)[:60]!r}, which could lead to another machine or user")

    def _option(self, name: str, text: str) -> None:
        key, value = _key_and_value(text)
        match key.lower():
            case "proxyjump":
                self._say_way(name, value, value)
            case "proxycommand":
                self._say_way(name, value, value if value.lower() == "none" else _host_of_command(value))
            case "identityfile":
                self.keys.append(value)
            case word if word not in _HARMLESS:
                raise UnfitError(f"{name} has the option {key[:60]!r}, which could lead to another machine or user")

    def _say_way(self, name: str, text: str, jump: str) -> None:
        if not self._way_is_said and jump.lower() != "none":
            try:
                self.jump = tuple(_jump_names(jump))
            except ValueError as error:
                raise UnfitError(f"{name} leads over {text[:80]!r}, which updoser can't tell the hosts of") from error
        self._way_is_said = True


def _letters(words: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Give each option with its value, and what is none under no letter; flags that change nothing are left out."""
    rest = iter(words)
    for word in rest:
        letter = word[:2] if word.startswith("-") else ""
        if letter in _WITH_VALUE:
            yield letter, word[2:] or next(rest, "")
        elif not _FLAGS.fullmatch(word):
            yield letter, word


def _key_and_value(text: str) -> tuple[str, str]:
    key, _sign, value = re.sub(r"\s*[=\s]\s*", "=", text.strip(), count=1).partition("=")
    return key, value.strip().strip('"')


def _jump_names(text: str) -> Iterator[str]:
    """Give the hosts of a ProxyJump, each as known_hosts names it."""
    for part in text.split(","):
        match = _JUMP.fullmatch(part.strip())
        if match is None:
            raise ValueError(part)
        yield host_name(match[1].strip("[]"), int(match[2] or SSH_PORT))


def _host_of_command(text: str) -> str:
    """Give the host that `ssh -W %h:%p HOST` leads over, in the form of a ProxyJump; empty for any other command."""
    try:
        program, *words = shlex.split(text)
    except ValueError:
        return ""
    given = list(_letters(words))
    found = dict(given)
    known = {"", "-W", "-p", "-l", "-i", "-o", *_HARMLESS_LETTERS}
    options = (_key_and_value(value)[0].lower() for letter, value in given if letter == "-o")
    if (
        os.path.basename(program) != "ssh"  # noqa: PTH119 - of a text that needn't be a path
        or found.get("-W") not in {"%h:%p", "[%h]:%p"}
        or not known.issuperset(found)
        or not _HARMLESS.issuperset(options)
        or sum(not letter for letter, _value in given) != 1
    ):
        return ""
    return found[""] + (f":{found['-p']}" if "-p" in found else "")
