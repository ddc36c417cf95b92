"""The addresses of the console: where a figure or a name leads to."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote, urlencode

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from reconciler.model.request import RequestKind


def path(*parts: str, **asked: str | None) -> str:
    """Give an address of its parts; what is asked for follows where it isn't empty."""
    return with_query("/" + "/".join(quote(part, safe="") for part in parts), asked.items())


def with_query(address: str, asked: Iterable[tuple[str, str | None]]) -> str:
    """Give an address with what is asked for, but for what is empty."""
    query = urlencode([(key, value) for key, value in asked if value])
    return f"{address}?{query}" if query else address


def clients(asked: Mapping[str, str | None]) -> str:
    """Give the list of the clients of which all this holds."""
    return with_query("/clients", asked.items())


def clients_with(component: str, state: str, group: str = "") -> str:
    """Give the list of the clients that count as something in a component."""
    return clients({"component": component, "state": state, "group": group})


def clients_within(component: str, state: str, within: int, group: str = "") -> str:
    """Give the list of the clients that are updated or outdated where so many releases behind count as updated."""
    if state == "outdated":
        return clients({"component": component, "state": state, "behind": f">{within}", "group": group})
    return clients({"component": component, "state": "updated,outdated", "behind": f"<={within}", "group": group})


def clients_running(component: str, version: str, group: str = "") -> str:
    """Give the list of the clients that run a version of a component; `missing` stands for none."""
    if version == "missing":
        return clients_with(component, "missing", group)
    return clients({"component": component, "version": version, "state": "!unknown", "group": group})


def client(name: str) -> str:
    """Give the page of a client."""
    return path("clients", name)


def component(name: str) -> str:
    """Give the page of a component."""
    return path("components", name)


def rollout(component: str, version: str, group: str | None = "") -> str:
    """Give the page of a rollout."""
    return path("rollouts", component, version, group=group)


def run(run_id: str) -> str:
    """Give the page of a run."""
    return path("runs", run_id)


def source(name: str) -> str:
    """Give the place of a source."""
    return f"/sources#source-{quote(name, safe='')}"


def do(kind: RequestKind, component: str = "", version: str = "", group: str | None = "") -> str:
    """Give the page that asks whether somebody really wants something of the controller."""
    return path("do", kind, component=component, version=version, group=group)
