"""What the openssh transport needs of this machine, for the doctor: the program, certificates, tickets, an agent."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from reconciler.contracts import Finding
from reconciler.errors import printable
from reconciler.formats.known_hosts import KnownHosts
from reconciler.formats.ssh_certificate import read_certificate
from reconciler.programs import Ending, last_lines, read_program

from ._openssh_master import NOT_THERE
from ._openssh_ticket import GET_TICKET

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from datetime import datetime
    from pathlib import Path

    from reconciler.contracts import Context

_PATIENCE = 10.0
_MAX_SAID = 4096
_MAX_FILE = 2**20
_OLDEST = (8, 0)
"""From this version on ssh understands all that it is told."""
_VERSION = re.compile(r"OpenSSH_(\d+)\.(\d+)")
_AUTHORITY = "@cert-authority"
_WANTED = "have the authority sign the key anew, for as long as it is to be used"


def examined(options: Mapping[str, Any], path: Callable[[str], Path], context: Context) -> Sequence[Finding]:
    """Look at this machine; nothing is connected to but the agent."""
    keys = [path(key["file"]) for key in options.get("keys", ())]
    named = [path(entry["file"]) for entry in options.get("certificates", ())]
    beside = [key.with_name(f"{key.name.removesuffix('.pub')}-cert.pub") for key in keys]
    found = [_program(options["program"], context)]
    found += [_certificate(file, context.clock()) for file in (*named, *(file for file in beside if file.exists()))]
    found += _authorities(path(options["known_hosts"]))
    if options.get("gssapi"):
        found.append(_ticket(context, alone=not keys))
    elif not keys and options.get("agent", True) and "config" not in options and not context.environ.get(_SOCKET):
        said = "no keys are named, and there is no agent (SSH_AUTH_SOCK isn't set): only keys in ~/.ssh are tried"
        found.append(Finding("ssh agent", "warn", said, fix="name `keys` in the transport, or start an agent"))
    return found


_SOCKET = "SSH_AUTH_SOCK"


def _program(program: str, context: Context) -> Finding:
    ended = read_program(
        [program, "-V"], context.base, context.environment(), timeout=_PATIENCE, limit=_MAX_SAID, stop=context.stop
    )
    if ended.ending is Ending.NOT_STARTED:
        return Finding("ssh", "fail", f"the program {program} can't be started: {ended.why}", fix=NOT_THERE)
    said = last_lines(ended.errors or ended.output)
    version = _VERSION.search(said)
    if version is None:
        return Finding("ssh", "warn", f"{program} isn't OpenSSH: it says {said or 'nothing'}", fix=NOT_THERE)
    if (int(version[1]), int(version[2])) < _OLDEST:
        return Finding("ssh", "fail", f"{said} is too old: 8.0 is the first that will do", fix=NOT_THERE)
    return Finding("ssh", "ok", said)


def _certificate(file: Path, now: datetime) -> Finding:
    what = "certificate"
    try:
        with file.open("rb") as stream:
            certificate = read_certificate(stream.read(_MAX_FILE).decode("ascii", "replace"))
    except OSError as error:
        return Finding(what, "fail", f"{file} can't be read: {error.strerror}", fix=_WANTED)
    except ValueError as error:
        return Finding(what, "fail", f"{file}: {error}", fix=_WANTED)
    names = printable(", ".join(certificate.names)) or "everybody"
    shown = f"{file}, for {names}"
    if certificate.kind != "user":
        return Finding(what, "fail", f"{shown}: it is a host's, with which nobody logs in", fix=_WANTED)
    if why := certificate.why_not(now):
        return Finding(what, "fail", f"{shown}: it {why}", fix=_WANTED)
    until = f"until {certificate.ends:%Y-%m-%d %H:%M} UTC" if certificate.ends else "for ever"
    return Finding(what, "ok", f"{shown}, {until}")


def _ticket(context: Context, *, alone: bool) -> Finding:
    """Ask whether there is a ticket that counts; without one only keys are left, if there are any."""
    what = "Kerberos"
    ended = read_program(
        ["klist", "-s"], context.base, context.environment(), timeout=_PATIENCE, limit=_MAX_SAID, stop=context.stop
    )
    if ended.ending is not Ending.EXITED:
        said = "whether there is a ticket can't be told: klist " + (ended.why or "gives no answer")
        return Finding(
            what, "warn", said, fix="install Kerberos' programs (Debian: krb5-user, Red Hat: krb5-workstation)"
        )
    if ended.status:
        said = "this user has no ticket, or it has ended: with `gssapi` nobody is let in without one"
        return Finding(what, "fail" if alone else "warn", said, fix=GET_TICKET)
    return Finding(what, "ok", "this user has a ticket")


def _authorities(known_hosts: Path) -> Iterator[Finding]:
    """Say for which hosts authorities are trusted."""
    try:
        text = known_hosts.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return
    names = [",".join(key.names) for key in KnownHosts(text).keys if key.marker == _AUTHORITY]
    if names:
        shown = printable("; ".join(dict.fromkeys(names)))[:200]
        yield Finding("host authority", "ok", f"{known_hosts} trusts {len(names)} for hosts: {shown}")
