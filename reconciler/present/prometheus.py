"""A status as metrics in Prometheus's text format (0.0.4), for its server and for textfile collectors.

Names and labels are a contract: alerts hang on them, so one goes away with a major version only. No label has the name
of a client in it: each would be a series of its own. A series comes once, whatever names were given to what it counts.
"""

from __future__ import annotations

from collections import defaultdict
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from reconciler import __version__
from reconciler.errors import printable
from reconciler.model.controller import PHASES
from reconciler.model.protection import PERCENT
from reconciler.model.rollout import STATUSES
from reconciler.present.document import OVER

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

VERDICTS = ("updated", "outdated", "ahead", "unknown", "pending")
OUTCOMES = ("passed", "failed", "pending", "unreachable", "off", "hindered", "unknown")
"""What became of the clients of a wave."""


class Metric(NamedTuple):
    """What a name stands for."""

    kind: Literal["gauge", "counter", "histogram"]
    help: str


METRICS: Mapping[str, Metric] = {
    "updoser_build_info": Metric("gauge", "The version of updoser."),
    "updoser_status_timestamp_seconds": Metric("gauge", "When this was counted."),
    "updoser_last_look_timestamp_seconds": Metric("gauge", "When a client was looked at last."),
    "updoser_fleet_clients": Metric("gauge", "All clients."),
    "updoser_clients": Metric("gauge", "Clients by how they stand with a component."),
    "updoser_group_clients": Metric("gauge", "The same by group, where that was asked for."),
    "updoser_component_updated_ratio": Metric("gauge", "The share of clients that are updated, 0 to 1."),
    "updoser_component_released_timestamp_seconds": Metric("gauge", "When the version held came out."),
    "updoser_component_info": Metric("gauge", "The highest version held, and offered."),
    "updoser_time_to_protection_seconds": Metric(
        "gauge", "How long it took until so large a share of the clients had a release."
    ),
    "updoser_quarantined_clients": Metric("gauge", "Clients left alone as they failed too often."),
    "updoser_drifted_clients": Metric("gauge", "Clients on which somebody else changed it."),
    "updoser_troubled_clients": Metric("gauge", "Clients that can't be reached or fail, by the reason."),
    "updoser_rollout_state": Metric("gauge", "1 for the state that a rollout is in."),
    "updoser_rollout_wave": Metric("gauge", "The wave that is open."),
    "updoser_rollout_waves": Metric("gauge", "How many waves a rollout has."),
    "updoser_rollout_wave_clients": Metric("gauge", "Clients of the open wave by what became of them."),
    "updoser_rollout_needs_approval": Metric("gauge", "Whether a rollout waits for somebody's approval."),
    "updoser_rollout_stuck": Metric("gauge", "Whether a rollout never goes on unless somebody acts."),
    "updoser_next_step_timestamp_seconds": Metric("gauge", "When the next step of a rollout is due."),
    "updoser_source_last_success_timestamp_seconds": Metric("gauge", "When a source answered last."),
    "updoser_source_stale": Metric("gauge", "Whether a source was silent for longer than stale_after."),
    "updoser_source_error": Metric("gauge", "Whether a source failed when it was asked last."),
    "updoser_signature_expires_timestamp_seconds": Metric("gauge", "When the signatures of a source expire, by role."),
    "updoser_repository_signature_expires_timestamp_seconds": Metric(
        "gauge", "When the signatures of the repository for other sites expire, by role."
    ),
    "updoser_transferred_bytes_total": Metric("counter", "Bytes received from sources and sent to clients."),
    "updoser_saved_bytes_total": Metric("counter", "Bytes that fulls would have added to these."),
    "updoser_leader": Metric("gauge", "Whether a controller leads."),
    "updoser_controller_phase": Metric("gauge", "1 for what the controller does."),
    "updoser_controller_failures": Metric("gauge", "Rounds of the controller that failed in a row."),
    "updoser_last_round_timestamp_seconds": Metric("gauge", "When a round began that went well."),
    "updoser_next_look_timestamp_seconds": Metric("gauge", "When the controller looks again."),
    "updoser_run_in_progress_since_timestamp_seconds": Metric("gauge", "Since when the fleet is being changed."),
    "updoser_paused": Metric("gauge", "Whether somebody paused the controller."),
    "updoser_requests_waiting": Metric("gauge", "What people asked that nothing came of yet."),
    "updoser_spec_commit_info": Metric("gauge", "The commit in force, and who signed it."),
    "updoser_spec_last_verified_timestamp_seconds": Metric("gauge", "When nothing was wrong last with what was read."),
    "updoser_reconcile_total": Metric("counter", "Rounds by their result."),
    "updoser_run_duration_seconds": Metric("histogram", "How long the phases of rounds took."),
    "updoser_notifications_total": Metric("counter", "Messages by whether they were delivered."),
    "updoser_run_clients_total": Metric("counter", "Clients of runs by what became of them."),
    "updoser_last_run_timestamp_seconds": Metric("gauge", "When a run ended last, by how it ended."),
}
"""All that there is. What stands behind `paused` only a controller knows that is running."""


class Sample(NamedTuple):
    """A value of a metric; `part` is what stands behind the name in a histogram."""

    name: str
    value: float
    labels: Mapping[str, str] = {}
    part: str = ""


def status_prometheus(document: Any, *, groups: bool = False) -> str:
    """Render a status as metrics; with `groups` also by group, which are many."""
    controller = document.get("controller")
    known = controller_samples(controller, document["created"]) if controller else ()
    return exposition([*fleet_samples(document, groups=groups), *known])


def exposition(samples: Iterable[Sample]) -> str:
    """Write samples, those of a name together; of two with the same labels the later one counts."""
    found: dict[str, dict[str, float]] = defaultdict(dict)
    for sample in samples:
        labels = ",".join(f'{name}="{_escaped(value)}"' for name, value in sample.labels.items())
        found[sample.name][f"{sample.name}{sample.part}" + (f"{{{labels}}}" if labels else "")] = sample.value
    lines = []
    for name, metric in METRICS.items():
        if name in found:
            lines += [f"# HELP {name} {metric.help}", f"# TYPE {name} {metric.kind}"]
            lines += [f"{series} {_number(value)}" for series, value in found[name].items()]
    return "".join(f"{line}\n" for line in lines)


def _escaped(text: str) -> str:
    return printable(text).replace("\\", "\\\\").replace('"', '\\"')


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(float(value))


def _moment(text: str | None) -> float | None:
    return None if text is None else datetime.fromisoformat(text).timestamp()


def _times(found: Iterable[tuple[str, str | None, Mapping[str, str]]]) -> Iterator[Sample]:
    """Give samples of times, but for those that aren't known."""
    for name, text, labels in found:
        moment = _moment(text)
        if moment is not None:
            yield Sample(name, moment, labels)


def fleet_samples(document: Any, *, groups: bool = False) -> Iterator[Sample]:
    """Give the samples of a status, but for those of its controller."""
    yield Sample("updoser_build_info", 1, {"version": __version__})
    yield from _times(
        [
            ("updoser_status_timestamp_seconds", document["created"], {}),
            ("updoser_last_look_timestamp_seconds", document["as_of"], {}),
        ]
    )
    yield Sample("updoser_fleet_clients", document["clients"])
    for entry in document["components"]:
        yield from _component(entry)
    for group in document["groups"] if groups else ():
        for entry in group["components"]:
            yield from _verdicts("updoser_group_clients", entry, {"group": group["group"]})
    yield Sample("updoser_quarantined_clients", len(document["quarantined"]))
    for entry in document.get("drifted", ()):
        yield Sample("updoser_drifted_clients", entry["clients"], {"component": entry["component"] or ""})
    for entry in document.get("troubles", ()):
        yield Sample("updoser_troubled_clients", entry["clients"], {"reason": entry["reason"]})
    yield from _rollouts(document["rollouts"])
    for entry in document["sources"]:
        yield from _source(entry)
    published = document.get("repository", {}).get("expires", {})
    name = "updoser_repository_signature_expires_timestamp_seconds"
    yield from _times((name, at, {"role": role}) for role, at in published.items())
    traffic = document["traffic"]
    for name, received, sent in (("transferred", "received", "sent"), ("saved", "not_received", "saved")):
        yield Sample(f"updoser_{name}_bytes_total", traffic[received], {"direction": "received"})
        yield Sample(f"updoser_{name}_bytes_total", traffic[sent], {"direction": "sent"})


def _verdicts(name: str, entry: Any, labels: Mapping[str, str]) -> Iterator[Sample]:
    for verdict in VERDICTS:
        yield Sample(name, entry.get(verdict, 0), {**labels, "component": entry["id"], "state": verdict})


def _component(entry: Any) -> Iterator[Sample]:
    labels = {"component": entry["id"]}
    yield from _verdicts("updoser_clients", entry, {})
    yield Sample("updoser_component_updated_ratio", entry["rate"], labels)
    yield from _times([("updoser_component_released_timestamp_seconds", entry.get("released_at"), labels)])
    versions = {"held": entry["latest_held"] or "", "offered": entry["latest_offered"] or ""}
    yield Sample("updoser_component_info", 1, {**labels, **versions})
    protection = entry.get("protection") or {}
    for milestone, percent in PERCENT.items():
        if protection.get(milestone) is not None:
            about = {**labels, "version": protection["version"], "share": f"{percent / 100:g}"}
            yield Sample("updoser_time_to_protection_seconds", protection[milestone], about)


def _rollouts(entries: Any) -> Iterator[Sample]:
    for entry in entries:
        labels = {"component": entry["component"], "version": entry["version"], "group": entry["group"] or ""}
        for state in STATUSES:
            if state not in OVER:
                yield Sample("updoser_rollout_state", entry["status"] == state, {**labels, "state": state})
        yield Sample("updoser_rollout_wave", entry["wave"], labels)
        yield Sample("updoser_rollout_waves", entry["waves"], labels)
        for outcome in OUTCOMES:
            count = entry["counts"].get(outcome, 0)
            yield Sample("updoser_rollout_wave_clients", count, {**labels, "outcome": outcome})
        yield Sample("updoser_rollout_needs_approval", entry["awaits_approval"], labels)
        yield Sample("updoser_rollout_stuck", entry.get("stuck", False), labels)
    due = min((entry["next_at"] for entry in entries if entry["next_at"]), default=None)
    yield from _times([("updoser_next_step_timestamp_seconds", due, {})])


def _source(entry: Any) -> Iterator[Sample]:
    labels = {"source": entry["name"]}
    yield from _times([("updoser_source_last_success_timestamp_seconds", entry["last_success"], labels)])
    yield Sample("updoser_source_stale", entry["stale"], labels)
    yield Sample("updoser_source_error", entry["error"] is not None, labels)
    expires = entry.get("expires", {})
    name = "updoser_signature_expires_timestamp_seconds"
    yield from _times((name, at, {**labels, "role": role}) for role, at in expires.items())


_LEADS_NOT = frozenset(["starting", "waiting to lead", "stopped"])


def controller_samples(entry: Any, now: str) -> Iterator[Sample]:
    """Give the samples of what a controller says of itself; `now` is when they are given, as documents have times."""
    alive = entry["alive"]
    yield Sample("updoser_leader", alive and entry["phase"] not in _LEADS_NOT)
    for phase in PHASES:
        is_in = entry["phase"] == phase if alive else phase == "stopped"
        yield Sample("updoser_controller_phase", is_in, {"phase": phase})
    yield Sample("updoser_controller_failures", entry["failures"])
    changing = alive and entry["phase"] == "changing"
    yield from _times(
        [
            ("updoser_last_round_timestamp_seconds", entry["looked"], {}),
            ("updoser_spec_last_verified_timestamp_seconds", entry.get("verified"), {}),
            ("updoser_next_look_timestamp_seconds", entry["next_at"] if alive else None, {}),
            ("updoser_run_in_progress_since_timestamp_seconds", entry["since"] if changing else None, {}),
        ]
    )
    if entry.get("commit"):
        yield Sample("updoser_spec_commit_info", 1, {"commit": entry["commit"], "signer": entry.get("signer") or ""})
    yield Sample("updoser_requests_waiting", entry.get("requests_waiting", 0))
    pause = entry["pause"]
    yield Sample("updoser_paused", pause is not None and (pause["until"] is None or pause["until"] > now))
