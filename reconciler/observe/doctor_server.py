"""The doctor's look at this machine: what an apply would find in the way of it before it gets to any client.

* inventories, each by itself, so that one that is broken doesn't hide the others; and the fleet's list as a whole
* sources: those that can't be read, and what they say is odd (a folder with the name of no component, say); the keys
  that they trust
* the state: nobody can sit between this machine and the server that has it
* the store: it can be written to, and there is room
* private keys that others may read
* what transports need of this machine, as they say it: a program, certificates that still count
* machines that answer under several names with one install_root, as far as earlier looks told
"""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reconciler.contracts import Examined, WritablePlace
from reconciler.guards import Caught
from reconciler.model.report import Diagnosis
from reconciler.model.secret import SecretRef
from reconciler.observe.cohorts import say_doubles
from reconciler.observe.doctor_sources import keys_found, trusted_keys
from reconciler.observe.inventory import list_clients
from reconciler.observe.observed import Sight, ask_sources, known_reports, recall_lists, refresh_lists
from reconciler.present.words import size_text

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from reconciler.contracts import Finding
    from reconciler.model.client import Client
    from reconciler.model.report import DoctorLevel
    from reconciler.workspace import Workspace

SERVER = ""
"""What stands for this machine in place of a client."""
VERIFY = "add sslmode=verify-full and sslrootcert=FILE to server.state: docs/state.md"
LOW_STORE = 1024**3
_OTHERS = stat.S_IRWXG | stat.S_IRWXO


def list_all(work: Workspace) -> tuple[list[Client], list[Diagnosis]]:
    """List the fleet and ask the sources; where that fails, give what is wrong and the clients that can be had.

    Raises:
        StateError: the state can't be written.
    """
    with Caught() as caught:
        return refresh_lists(work, Sight()), []
    assert caught.error is not None
    with Caught():  # what the state knows of the fleet must do, for what is asked of it next
        recall_lists(work)
    ask_sources(work)
    clients: list[Client] = []
    found: list[Diagnosis] = []
    for name, group in work.spec.groups.items():
        with Caught() as one:
            clients += list_clients(group, work.plugins.inventory(group))
        if one.error is not None:
            found.append(_diagnosis(f"inventory of {name}", "fail", one.error.message, one.error.hint))
    if not found:  # each is fine, and together they aren't
        found.append(_diagnosis("inventory", "fail", caught.error.message, caught.error.hint))
    return clients, found


def examine_server(work: Workspace) -> Iterator[Diagnosis]:
    """Look at this machine, and give what was found."""
    yield from _sources(work)
    if why := work.state.unverified():
        yield _diagnosis("state", "warn", why, VERIFY)
    yield _store(work.spec.server.store)
    yield from _content(work)
    yield from _keys(work)
    yield from _transports(work)
    _by_name, told = say_doubles(work.roll.doubles())
    for text in told:
        yield _diagnosis("machines", "warn", text, "give each an install_root of its own, or keep one of the names")


def _diagnosis(what: str, level: DoctorLevel, finding: str, fix: str = "") -> Diagnosis:
    return Diagnosis(
        client=SERVER, what=what, level=level, finding=" ".join(finding.split()), fix=" ".join(fix.split())
    )


def _sources(work: Workspace) -> Iterator[Diagnosis]:
    away = {source.name for source in work.spec.sources if source.may_be_absent}
    for report in known_reports(work):
        what = f"source {report.source}"
        if report.error:
            level: DoctorLevel = "warn" if report.source in away else "fail"
            yield _diagnosis(what, level, report.error, "look at the options of this source, and at the way to it")
            continue
        for problem in report.problems:
            yield _diagnosis(what, "warn", problem)
        if not report.problems:
            yield _diagnosis(what, "ok", f"{len(report.releases)} releases")
    for source in work.spec.sources:
        yield from keys_found(source, *trusted_keys(work, source))


def _store(store: Path) -> Diagnosis:
    """Say whether the store may be written to, and what room there is; it is made with the first release."""
    place = next((path for path in (store, *store.parents) if path.exists()), Path("/"))
    if not place.is_dir():
        return _diagnosis("store", "fail", f"{place} is no folder", "name another place in server.store")
    if not os.access(place, os.W_OK | os.X_OK):
        finding = f"{place} can't be written to by {_who()}"
        return _diagnosis("store", "fail", finding, f"chown {_who()} {place}, or name another place in server.store")
    try:
        free = shutil.disk_usage(place).free
    except OSError as error:
        return _diagnosis("store", "fail", f"{place}: {error.strerror}")
    if free < LOW_STORE:
        return _diagnosis("store", "warn", f"{size_text(free)} free for {store}", "make room, or lower server.keep")
    return _diagnosis("store", "ok", f"{store}, {size_text(free)} free")


def _content(work: Workspace) -> Iterator[Diagnosis]:
    """Say whether the place can be asked where several machines have the store's content."""
    content = work.spec.server.content
    if content is None:
        return
    what, users = f"content ({content.plugin.name})", 0
    with Caught() as caught:
        place = work.plugins.content(content)
        place.size("0" * 64)
        users = len(place.users()) if isinstance(place, WritablePlace) else 0
    if caught.error is not None:
        fix = caught.error.hint or "look at server.content, and at the way to it"
        yield _diagnosis(what, "fail", caught.error.message, fix)
        return
    used = f", used by {users}" if users else ""
    yield _diagnosis(what, "ok", f"it answers{used}; at most {size_text(content.cache)} are kept in the store's folder")


def _who() -> str:
    return "root" if os.geteuid() == 0 else f"user {os.geteuid()}"


def _secrets(options: Any) -> Iterator[SecretRef]:
    """Give the secrets that options of a plugin name, whatever they are for."""
    if isinstance(options, SecretRef):
        yield options
    elif isinstance(options, (Mapping, list)):
        for value in options.values() if isinstance(options, Mapping) else options:
            yield from _secrets(value)


def _keys(work: Workspace) -> Iterator[Diagnosis]:
    """Look at the private keys that the spec names as files."""
    files = {path: f"key of group {group.name}" for group in work.spec.groups.values() for path in group.key_files}
    repository = work.spec.repository
    if repository is not None and repository.online_key.kind == "file":
        files[str(work.spec.home / str(repository.online_key.value))] = "key of the repository"
    for mirror in work.spec.mirrors:
        for secret in _secrets(mirror.plugin.options):
            if secret.kind == "file":
                files[str(work.spec.home / str(secret.value))] = f"key of repository {mirror.name}"
    for path, what in files.items():
        try:
            mode = Path(path).stat().st_mode
        except OSError as error:
            yield _diagnosis(what, "fail", f"{path}: {error.strerror}", "name a private key that is there")
            continue
        if mode & _OTHERS:
            finding = f"{path} may be read by others (mode {stat.S_IMODE(mode):04o})"
            yield _diagnosis(what, "fail", finding, f"chmod 600 {path}, and make another if somebody had it")
        elif not os.access(path, os.R_OK):
            yield _diagnosis(what, "fail", f"{path} can't be read by {_who()}", f"chown {_who()} {path}")
        else:
            yield _diagnosis(what, "ok", path)


def _transports(work: Workspace) -> Iterator[Diagnosis]:
    """Have transports say what they need of this machine; those of sites need it there. What is alike is told once."""
    told: set[tuple[str, str]] = set()
    for group in work.spec.groups:
        if work.spec.site_of(group):
            continue
        found: Sequence[Finding] = ()
        with Caught() as caught:
            transport = work.plugins.transport(group)
            found = tuple(transport.examine()) if isinstance(transport, Examined) else ()
        if caught.error is not None:
            yield _diagnosis(f"transport of group {group}", "fail", caught.error.message, caught.error.hint)
        for one in found:
            if (one.what, one.text) not in told:
                told.add((one.what, one.text))
                yield _diagnosis(f"{one.what} of group {group}", one.level, one.text, one.fix)
