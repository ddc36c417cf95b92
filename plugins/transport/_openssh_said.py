"""What ssh logs when it can't connect, as an error with its reason. Pure.

It says so in words only, which are the same in every language and have been for years; what isn't known here is shown
as it stands. The log is ssh's own: what a host says stands in it within a line, never as one.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from reconciler.errors import AuthenticationError, HostKeyError, HungUpError, TransportError, printable

from ._openssh_ticket import hint as ticket_hint
from ._openssh_ticket import parted
from ._openssh_version import OLDEST, SHA1

if TYPE_CHECKING:
    from collections.abc import Sequence

    from reconciler.reasons import Reason

_LONGEST = 300
_LEFT_OUT = re.compile(r"(Load key .*|no such identity: .*|sign_and_send_pubkey: .*|Certificate invalid: .*)")
"""Lines that say why something wasn't tried, or wasn't believed."""
_NOT_BELIEVED = ("Certificate invalid", "Certificate signed with disallowed algorithm")
_UNKNOWN = re.compile(r"No (\S+) host key is known for (\S+) and ")
_CHANGED = re.compile(r"Host key for (\S+) has changed and ")
_OFFENDING = re.compile(r"Offending \S+ key in (.+:\d+)$")
_SHOWN = re.compile(r"The fingerprint for the (\S+) key sent by the remote host is$")
_REVOKED = re.compile(r"The (\S+) host key for (\S+) is marked as revoked")
_DENIED = re.compile(r"(\S+)@\S+: Permission denied(?: \((.*)\))?\.$")
_FAREWELL = re.compile(r"Received disconnect from \S+ port \d+:\d+: (.*)$")
_CONNECT = re.compile(r"ssh: connect to host (\S+) port (\d+): (.*)$")
_RESOLVE = re.compile(r"ssh: Could not resolve hostname (\S+): (.*)$")
_SILENT = re.compile(r"(Connection timed out during banner exchange|Timeout, server .* not responding)")
_NO_GREETING = re.compile(
    r"(ssh|kex)_exchange_identification: .*[Cc]onnection (closed|reset) by |Connection reset by UNKNOWN port "
)
_OVER_PROXY = re.compile(r"Connection (closed|reset) by UNKNOWN port ")
_TERMINATING = re.compile(r"/.+: terminating, \d+ bad configuration options?$")
_COMMAND_LINE = re.compile(r"command-line:? line \d+: ")
_NO_OPTION = re.compile(r"\S*(?:unknown|invalid|illegal) option -- .")
_BAD_LINE = re.compile(r"(/.+?|command-line):? line (\d+): (.*)$")
_UNKNOWN_WORD = re.compile(r"Bad configuration option: (\S+)")
_REASONS: dict[str, Reason] = {
    "Connection refused": "refused",
    "Connection timed out": "silent",
    "No route to host": "silent",
    "Network is unreachable": "silent",
}
_SIGNED = "; or it is signed by an authority for other names, or for another time"
_TO_AGENT = (
    "name `keys` in the transport, or add the public key to ~/.ssh/authorized_keys there; a key that is locked, "
)
_TO_AGENT += "or on hardware that asks for a PIN, must be in the agent: ssh-add"
_CROWDED = "its server has too many logins under way (MaxStartups), or refuses this machine for a while "
_CROWDED += "(PerSourcePenalties): work on fewer clients at a time with --forks, or raise that there"


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What ssh was to do: the host as known_hosts names it, where its key should stand, and the user's file if any.

    `scan` is the command that shows the host's keys. `own_way`: ssh connects by itself, as its configuration says.
    `ticket`: it was to log in by a ticket of Kerberos, and `keys`: by keys that are named, too. `made` is the file of
    what it was told for this run, and `ssh` says which one it is.
    """

    name: str
    known_hosts: str
    scan: str
    config: str = ""
    own_way: bool = False
    timeout: int = 0
    ticket: bool = False
    keys: bool = False
    made: str = ""
    ssh: str = ""


def trouble(asked: Asked, lines: Sequence[str]) -> TransportError:
    """Say why ssh reached nobody, by the lines of its log."""
    lines, tickets = parted(lines)
    for kind in (_host_key, partial(_login, tickets), _on_the_way, _no_greeting, _not_understood):
        error = kind(asked, lines)
        if error is not None:
            return error
    return TransportError(f"{asked.name} speaks no SSH that we share: {_last(lines)}")


def farewell(lines: Sequence[str]) -> str:
    """Give what ssh said last before a connection ended, or nothing."""
    return _last(parted(lines)[0], nothing="")


def _host_key(asked: Asked, lines: Sequence[str]) -> TransportError | None:
    invalid = "".join(f"; {_shown(line)}" for line in lines if line.startswith(_NOT_BELIEVED))
    by_sha1 = any(line.startswith(_NOT_BELIEVED[1]) for line in lines)
    if found := _first(_REVOKED, lines):
        return HostKeyError(f"the key of {found[2]} ({found[1]}) is revoked by {asked.known_hosts}")
    if found := _first(_CHANGED, lines):
        place, kind = _first(_OFFENDING, lines), _first(_SHOWN, lines)
        print_ = next((line.rstrip(".") for line in lines if line.startswith("SHA256:")), "")
        shown = f" ({kind[1]} {print_})" if kind and print_ else ""
        return HostKeyError(
            f"the key of {found[1]}{shown} isn't the one in {place[1] if place else asked.known_hosts}{invalid}",
            hint="somebody may be in between; if the host was set up anew, replace that line",
        )
    if found := _first(_UNKNOWN, lines):
        signed = _SIGNED if found[1].endswith("-CERT") else ""
        return HostKeyError(
            f"the key of {found[2]} ({found[1]}) is unknown to {asked.known_hosts}{invalid}{signed}",
            hint=SHA1
            if by_sha1
            else f"compare what `{asked.scan} | ssh-keygen -lf -` shows with the host's own fingerprint, then: "
            f"{asked.scan} >> {asked.known_hosts}",
        )
    if any(line.startswith("Host key verification failed") for line in lines):
        said = _last(lines[:-1])
        more = invalid.replace(f"; {said}", "")
        return HostKeyError(f"the key of {asked.name} isn't trusted: {said}{more}", hint=SHA1 if by_sha1 else "")
    return None


def _login(tickets: Sequence[str], asked: Asked, lines: Sequence[str]) -> TransportError | None:
    left_out = "".join(f"; {_shown(line)}" for line in dict.fromkeys(filter(_LEFT_OUT.match, lines)))
    if found := _first(_DENIED, lines):
        wanted = f"; the host accepts {found[2]}" if found[2] else ""
        kerberos = "".join(f"; Kerberos: {_shown(words)}" for words in tickets)
        hints = [ticket_hint(tickets, found[2] or "")] if asked.ticket or tickets else []
        hints += [_TO_AGENT] if asked.keys or not asked.ticket else []
        said = f"user {found[1]} isn't let in{wanted}{kerberos}{left_out}"
        return AuthenticationError(said, hint="; or ".join(hints))
    found = _first(_FAREWELL, lines)
    if found and "authentication failures" in found[1]:
        return AuthenticationError(
            f"{asked.name} lets nobody in: it hung up ({_shown(found[1])}){left_out}",
            hint="name the right one of `keys` alone, or raise MaxAuthTries there",
        )
    return None


def _on_the_way(asked: Asked, lines: Sequence[str]) -> TransportError | None:
    if found := _first(_RESOLVE, lines):
        return TransportError(f"the host {found[1]} isn't known: {_shown(found[2])}", reason="name")
    if found := _first(_CONNECT, lines):
        words = _shown(found[3])
        said = f"{found[1]}:{found[2]} can't be reached: {words[:1].lower()}{words[1:]}"
        return TransportError(said, reason=_REASONS.get(found[3]))
    if _first(_SILENT, lines):
        said = f"{asked.name} didn't greet as SSH does within {asked.timeout} s"
        return TransportError(said, reason="silent")
    if asked.own_way and _first(_OVER_PROXY, lines):
        return TransportError(
            f"the way to {asked.name} that {asked.config} names leads nowhere: {_last(lines[:1])}",
            hint=f"see what its ProxyCommand or ProxyJump says: ssh -F {asked.config} with the host",
            reason="jump",
        )
    return None


def _no_greeting(asked: Asked, lines: Sequence[str]) -> TransportError | None:
    if _first(_NO_GREETING, lines):
        return HungUpError(f"{asked.name} hung up before it greeted", hint=_CROWDED)
    return None


def _not_understood(asked: Asked, lines: Sequence[str]) -> TransportError | None:
    """Say what of its configuration ssh doesn't take: of ours, as one that is too old, or of the user's."""
    if not any(_first(pattern, lines) for pattern in (_TERMINATING, _COMMAND_LINE, _NO_OPTION)):
        return None
    found = _first(_BAD_LINE, lines)
    if found and asked.config and found[1] not in {asked.made, "command-line"}:
        unknown = _UNKNOWN_WORD.match(found[3])
        passes = f", or write `IgnoreUnknown {_shown(unknown[1])}` before it" if unknown else ""
        return TransportError(
            f"ssh doesn't take {_shown(found[1])}, line {found[2]}: {_shown(found[3])}",
            hint=f"mend that line{passes}; `ssh -G -F {asked.config} HOST` says whether ssh takes it",
            reason="other",
        )
    said = found[3] if found else lines[0]
    return TransportError(
        f"{_shown(asked.ssh) or 'ssh'} doesn't understand what it is told: {_shown(said)}",
        hint=f"have OpenSSH {OLDEST[0]}.{OLDEST[1]} or later on this machine, or name one as `program`",
        reason="other",
    )


def _first(pattern: re.Pattern[str], lines: Sequence[str]) -> re.Match[str] | None:
    return next((found for found in map(pattern.match, lines) if found), None)


def _last(lines: Sequence[str], *, nothing: str = "it hung up") -> str:
    return _shown(lines[-1]) if lines else nothing


def _shown(text: str) -> str:
    return printable(text.strip()[:_LONGEST]).rstrip(".")
