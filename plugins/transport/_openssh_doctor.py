"""What the openssh transport needs of this machine, for the doctor: the program, certificates, tickets, an agent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from reconciler.contracts import Finding
from reconciler.errors import printable
from reconciler.formats.known_hosts import KnownHosts
from reconciler.formats.ssh_certificate import read_certificate
from reconciler.programs import Ending, last_lines, read_program

from ._openssh_config import written
from ._openssh_master import NOT_THERE
from ._openssh_ticket import GET_TICKET
from ._openssh_version import HARDWARE, OLDEST, SHA1, version_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from datetime import datetime
    from pathlib import Path

    from reconciler.contracts import Context

    from ._openssh_version import Version

_PATIENCE = 10.0
_MAX_SAID = 64 * 1024
_MAX_FILE = 2**20
_MAX_KIND = 64
_AUTHORITY = "@cert-authority"
_WANTED = "have the authority sign the key anew, for as long as it is to be used"


def examined(options: Mapping[str, Any], path: Callable[[str], Path], context: Context) -> Sequence[Finding]:
    """Look at this machine; nothing is connected to but the agent."""
    keys = [path(key["file"]) for key in options.get("keys", ())]
    named = [path(entry["file"]) for entry in options.get("certificates", ())]
    beside = [key.with_name(f"{key.name.removesuffix('.pub')}-cert.pub") for key in keys]
    version = version_of(options["program"], context)
    found = [_program(options["program"], version)]
    if version.number is not None and not version.before(OLDEST):
        found += _told(options, path, version, context)
        found += _hardware(keys, version)
    found += [_certificate(file, context.clock()) for file in (*named, *(file for file in beside if file.exists()))]
    found += _authorities(path(options["known_hosts"]))
    if options.get("gssapi"):
        found.append(_ticket(context, alone=not keys))
    elif not keys and options.get("agent", True) and "config" not in options and not context.environ.get(_SOCKET):
        said = "no keys are named, and there is no agent (SSH_AUTH_SOCK isn't set): only keys in ~/.ssh are tried"
        found.append(Finding("ssh agent", "warn", said, fix="name `keys` in the transport, or start an agent"))
    return found


_SOCKET = "SSH_AUTH_SOCK"


def _program(program: str, version: Version) -> Finding:
    if version.why:
        return Finding("ssh", "fail", f"the program {program} can't be started: {version.why}", fix=NOT_THERE)
    if version.number is None:
        return Finding("ssh", "warn", f"{program} isn't OpenSSH: it says {version.said or 'nothing'}", fix=NOT_THERE)
    if version.before(OLDEST):
        return Finding("ssh", "fail", f"{version.said} is too old: 8.0 is the first that will do", fix=NOT_THERE)
    return Finding("ssh", "ok", version.said)


def _told(
    options: Mapping[str, Any], path: Callable[[str], Path], version: Version, context: Context
) -> Iterator[Finding]:
    """Have ssh read what it will be told, but for a `config`, which may run programs; it connects to nobody."""
    own = {name: value for name, value in options.items() if name != "config"}
    lines = [line for line in written(own, path, version).splitlines() if not line.startswith(("#", "Match "))]
    given = [part for line in lines for part in ("-o", line)]
    command = [options["program"], "-G", "-F", "none", *given, "--", "localhost"]
    ended = read_program(
        command, context.base, context.environment(), timeout=_PATIENCE, limit=_MAX_SAID, stop=context.stop
    )
    if ended.ending is not Ending.EXITED:
        return
    if ended.status:
        said = last_lines(ended.errors) or "it gives no reason"
        yield Finding("ssh", "fail", f"{version.said} doesn't understand what it is told: {said}", fix=NOT_THERE)
    elif options.get("gssapi") and b"\ngssapiauthentication yes\n" not in b"\n" + ended.output.lower():
        fix = "install one that has it (Debian 13 and later: openssh-client-gssapi), or name its `program`"
        yield Finding("ssh", "fail", f"{version.said} was built without Kerberos (GSSAPI)", fix=fix)


def _hardware(keys: Sequence[Path], version: Version) -> Iterator[Finding]:
    """Say which keys an old ssh can't use; of one without its public half beside it nothing is known."""
    for key in keys:
        public = key if key.suffix == ".pub" else key.with_name(f"{key.name}.pub")
        try:
            with public.open("rb") as stream:
                kind = stream.read(_MAX_KIND)
        except OSError:
            continue
        if kind.startswith(b"sk-") and version.before(HARDWARE):
            said = f"{key} is on hardware, which ssh knows from 8.2 on; this is {version.said}"
            yield Finding("ssh", "fail", said, fix=NOT_THERE)


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
    if certificate.signed_by == "ssh-rsa":
        return Finding(what, "fail", f"{shown}: its signature is of SHA-1", fix=SHA1)
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
