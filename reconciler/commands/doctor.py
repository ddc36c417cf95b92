"""Examines the way to clients, and shows the script that runs there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconciler.assembly import at_work
from reconciler.client.session import commented_script
from reconciler.errors import OutcomeError, UsageError
from reconciler.hints import did_you_mean
from reconciler.observe.doctor import examine
from reconciler.observe.observed import Sight, refresh_lists
from reconciler.present.document import checks_document
from reconciler.present.render import render
from reconciler.present.views import CHECKS

if TYPE_CHECKING:
    from reconciler.desk import Desk
    from reconciler.present.terminal import Terminal


def doctor(desk: Desk, names: tuple[str, ...], forks: int) -> int:
    """Examine the named clients, or all; a check that fails makes the command fail."""
    with at_work(desk) as work:
        clients = refresh_lists(work, Sight())
        chosen = [client for client in clients if not names or client.name in names]
        missing = sorted(set(names) - {client.name for client in chosen})
        if missing:
            hint = did_you_mean(missing[0], (client.name for client in clients))
            raise UsageError(
                f"there is no client {', '.join(missing)}", hint=hint or "`updoser plan --diff` names clients"
            )
        checks = list(examine(chosen, work, forks=forks))
    desk.terminal.result(render(checks_document(checks), desk.form, CHECKS))
    failed = {check.client for check in checks if check.level == "fail"}
    if failed:
        raise OutcomeError(f"clients in trouble: {len(failed)} of {len(chosen)}")
    return 0


def client_script(terminal: Terminal) -> int:
    """Print the script that runs on clients."""
    terminal.result(commented_script().decode())
    return 0
