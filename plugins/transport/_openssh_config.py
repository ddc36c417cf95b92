"""What ssh is told: a configuration made of the options, and arguments. All is checked, none goes through a shell.

The first word on a matter is the one that counts with ssh. What must hold whatever else is said comes first; a file of
the user's is included behind that. Hosts on the way that such a file names are reached with this configuration, too.

Source: ssh_config(5).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from reconciler.errors import PluginError, TransportError
from reconciler.formats.duration import parse_duration

from ._openssh_ticket import LOGGED
from ._openssh_version import NEW, PREFERS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from reconciler.model.network import AnyFamily

    from ._openssh_version import Version

_ALIVE_TRIES = 3
_STRICT = f"""\
# Made by updoser for one run. The first word on a matter counts.
IgnoreUnknown GSSAPI*,KnownHostsCommand,UpdateHostKeys,EnableEscapeCommandline,LogVerbose
BatchMode yes
PasswordAuthentication no
KbdInteractiveAuthentication no
StrictHostKeyChecking yes
GlobalKnownHostsFile none
KnownHostsCommand none
UpdateHostKeys no
VerifyHostKeyDNS no
NoHostAuthenticationForLocalhost no
AddKeysToAgent no
ForwardAgent no
ForwardX11 no
GSSAPIDelegateCredentials no
ClearAllForwardings yes
PermitLocalCommand no
RemoteCommand none
RequestTTY no
Tunnel no
ControlMaster no
ControlPath none
ConnectionAttempts 1
LogLevel INFO
LogVerbose {LOGGED}
"""
_FAST = "Match all\nKexAlgorithms -sntrup761x25519-sha512*\n"
"""What counts where the user's file says nothing of it. sntrup761 takes six times the CPU of all else in a login; an
ssh that has ML-KEM (9.9 and later) agrees on keys with that, which holds against quantum computers as well."""
_FAST_CIPHERS = "Ciphers ^aes128-gcm@openssh.com,aes256-gcm@openssh.com\n"
_HOST = re.compile(r"[A-Za-z0-9_.:][A-Za-z0-9_.:-]*(%[A-Za-z0-9_.-]+)?")
_USER = re.compile(r"[^\s\x00-\x20\x7f'\"`;&<>|(){}$\\-][^\s\x00-\x20\x7f'\"`;&<>|(){}$]*(?<!\\)\$?")


def written(options: Mapping[str, Any], path_of: Callable[[str], Path], version: Version = NEW) -> str:
    """Give the configuration for some options and an ssh; `path_of` gives the file that a text means.

    Raises:
        PluginError: a path can't stand in a configuration.
    """

    def path(text: str) -> str:
        return _quoted(str(path_of(text)), _UNFIT)

    keys, agent = options.get("keys"), options.get("agent")
    lines = [f"UserKnownHostsFile {path(options['known_hosts'])}"]
    lines += [f"IdentityFile {path(key['file'])}" for key in keys or ()]
    lines += [f"CertificateFile {path(certificate['file'])}" for certificate in options.get("certificates", ())]
    if keys is not None:
        lines.append(f"IdentitiesOnly {'no' if agent else 'yes'}")
    if agent is False:
        lines.append("IdentityAgent none")
    if "gssapi" in options:
        lines.append(f"GSSAPIAuthentication {_yes(options['gssapi'])}")
    if "config" not in options or options["compression"]:
        lines.append(f"Compression {_yes(options['compression'])}")
    lines += [
        f"ConnectTimeout {max(1, seconds_of(options, 'connect_timeout'))}",
        f"ServerAliveInterval {seconds_of(options, 'keep_alive')}",
        f"ServerAliveCountMax {_ALIVE_TRIES}",
    ]
    if "config" in options:
        lines.append(f"Include {_quoted(str(path_of(options['config'])), _UNFIT | _GLOBS)}")
    fast = _FAST if version.before(PREFERS) else _FAST + _FAST_CIPHERS
    return _STRICT + "".join(f"{line}\n" for line in lines) + fast


def seconds_of(options: Mapping[str, Any], name: str) -> int:
    """Give a duration of the options in seconds."""
    return int(parse_duration(options[name]).total_seconds())


def arguments(host: str, *, port: int | None, user: str, family: AnyFamily = "any") -> list[str]:
    """Give the arguments that lead ssh to a host; what is left out here is what its configuration says.

    Raises:
        TransportError: the names are none, and could mean something else to ssh or to a program that it starts.
    """
    if not _HOST.fullmatch(host):
        raise TransportError(f"{host!r} isn't the name of a host that ssh can be given", hint=_NAMES, reason="name")
    found = [] if family == "any" else ["-4" if family == "ipv4" else "-6"]
    if port is not None:
        found += ["-p", str(port)]
    if user:
        if not _USER.fullmatch(user):
            raise TransportError(f"{user!r} isn't a user that ssh can be given", hint=_NAMES, reason="login")
        found += ["-l", user]
    return [*found, "--", host]


_NAMES = "name it with letters, digits, dots and dashes, as the machine itself does"
_UNFIT = frozenset('"\\%')
_GLOBS = frozenset("*?[")


def _quoted(path: str, unfit: frozenset[str]) -> str:
    """Give a path as one word of a configuration."""
    if unfit & set(path) or "${" in path or not path.isprintable():
        raise PluginError(
            f"the path {path!r} can't be given to ssh", hint='use one without quotes, backslashes, `%` and "${"'
        )
    return f'"{path}"'


def _yes(value: bool) -> str:
    return "yes" if value else "no"
