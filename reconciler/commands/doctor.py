"""Examines the way to clients and sources, and shows the script that runs on clients."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconciler.assembly import at_work
from reconciler.client.behind import Behind
from reconciler.client.session import commented_script
from reconciler.errors import OutcomeError, UsageError
from reconciler.execute.doctor_relays import examine_relays
from reconciler.hints import did_you_mean
from reconciler.observe.doctor import UNREACHED, examine
from reconciler.observe.doctor_server import SERVER, examine_server, list_all
from reconciler.observe.doctor_sites import examine_sites
from reconciler.observe.doctor_sources import examine_sources
from reconciler.present.document import checks_document
from reconciler.present.views import CHECKS
from reconciler.present.words import count_text

if TYPE_CHECKING:
    from reconciler.desk import Desk
    from reconciler.model.client import Client
    from reconciler.model.relay import RelaySpec
    from reconciler.present.terminal import Terminal
    from reconciler.workspace import Workspace


def doctor(desk: Desk, names: tuple[str, ...], forks: int, *, every: bool = False) -> int:
    """Examine this machine, and the named clients or all; a check that fails makes the command fail.

    Text shows what is in trouble, with `every` the rest, too.
    """
    with at_work(desk) as work:
        clients, trouble = list_all(work)
        chosen = [client for client in clients if not names or client.name in names]
        missing = sorted(set(names) - {client.name for client in chosen})
        if missing and not trouble:
            hint = did_you_mean(missing[0], (client.name for client in clients))
            raise UsageError(
                f"there is no client {', '.join(missing)}", hint=hint or "`updoser plan --diff` names clients"
            )
        checks = [*trouble, *examine_server(work)]
        of_clients = list(examine(chosen, work, forks=forks))
        groups = {client.group for client in chosen} if names else set(work.spec.groups)
        failed = {check.client for check in of_clients if check.level == "fail" and check.what in UNREACHED}
        checks += examine_sites(work, groups, forks=forks)
        checks += examine_relays(work, _relays(work, chosen, names), chosen, failed)
        checks += of_clients
    document = checks_document(checks)
    desk.terminal.show(document, desk.form, CHECKS, every=every)
    failed = {check.client for check in checks if check.level == "fail"}
    if failed:
        here = ["this machine"] if SERVER in failed else []
        there = failed - {SERVER}
        told = [*here, *([f"{len(there)} of {count_text(len(chosen), 'client')}"] if there else [])]
        raise OutcomeError(f"in trouble: {' and '.join(told)}")
    return 0


def _relays(work: Workspace, chosen: list[Client], names: tuple[str, ...]) -> list[RelaySpec]:
    """Give the relays that named clients fetch from, or all."""
    relays = work.spec.relays
    if not names or not relays:
        return list(relays.values())
    behind = Behind(relays, work.spec.groups)
    found = {place.relay.name for place in map(behind.of, chosen) if place.relay is not None}
    return [relay for name, relay in relays.items() if name in found]


def doctor_of_sources(desk: Desk, names: tuple[str, ...]) -> int:
    """Examine the named sources or all, and no client: all that is found is shown, keys above all.

    A check that fails makes the command fail.
    """
    with at_work(desk) as work:
        known = [source.name for source in work.spec.sources]
        missing = sorted(set(names) - set(known))
        if missing:
            hint = did_you_mean(missing[0], known) or f"there is: {', '.join(known) or 'none'}"
            raise UsageError(f"there is no source {', '.join(missing)}", hint=hint)
        checks, sources = examine_sources(work, names)
    desk.terminal.show(checks_document(checks, sources), desk.form, CHECKS, every=True)
    failed = sum(check.level == "fail" for check in checks)
    if failed:
        raise OutcomeError(f"in trouble: {count_text(failed, 'check')} of sources")
    return 0


def client_script(terminal: Terminal) -> int:
    """Print the script that runs on clients."""
    terminal.result(commented_script("whole").decode())
    return 0
