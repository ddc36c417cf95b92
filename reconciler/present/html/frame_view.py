"""What stands around each page of the console: how the controller is, the run that is under way, and what waits.

Whoever looks at a page must know whether it can be believed: a controller that is gone, late or paused is said on each.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

from reconciler.present.fields import time_text
from reconciler.present.html import links
from reconciler.present.html.shapes import Alert, Button
from reconciler.present.rollout_text import is_alarm
from reconciler.present.words import count_text, number_text, size_text, span_text

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence
    from datetime import datetime

    from reconciler.model.controller import ControllerStatus, RunProgress
    from reconciler.model.request import Role
    from reconciler.present.rollout_text import Entry

LATE = timedelta(minutes=2)
"""How long after the time that a controller named it may be silent; the same for a run."""


class Badge(NamedTuple):
    """How many of something need somebody, and what that is."""

    number: str
    says: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RunBar:
    """How far the run under way is: `part` and `whole` are clients, and both 0 where it changes none now."""

    says: str
    detail: str
    link: str
    part: int
    whole: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Around:
    """What stands around a page. `badges` are by the path of the page of the navigation."""

    banners: Sequence[Alert] = ()
    run: RunBar | None = None
    badges: Mapping[str, Badge] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What is known when a page is made: `status` is the document, None where none was made yet.

    `shown_at` is when that was made. `busy`: somebody changes the fleet. `waiting` are requests of which nothing came.
    """

    now: datetime
    status: Any = None
    shown_at: datetime | None = None
    controller: ControllerStatus | None = None
    progress: RunProgress | None = None
    busy: bool = False
    waiting: int = 0


def around(known: Known, roles: Collection[Role]) -> Around:
    """Give what stands around a page for somebody with these roles."""
    rollouts = known.status["rollouts"] if known.status else ()
    run = known.progress if known.busy else None
    return Around(
        banners=[*_of_controller(known, "operator" in roles), *_of_spec(known), *_waiting(known)],
        run=run_bar(run, known.now) if run else None,
        badges=_badges(rollouts, known),
    )


def needy(rollouts: Iterable[Entry]) -> list[Entry]:
    """Give the rollouts that need somebody: they stand still, or wait for approval."""
    return [entry for entry in rollouts if is_alarm(entry) or entry.get("awaits_approval")]


def _badges(rollouts: Iterable[Entry], known: Known) -> dict[str, Badge]:
    found = {}
    needs = len(needy(rollouts))
    if needs:
        found["/rollouts"] = Badge(number_text(needs), "need somebody" if needs > 1 else "needs somebody")
    if known.waiting:
        found["/audit"] = Badge(number_text(known.waiting), "wait" if known.waiting > 1 else "waits")
    return found


def run_bar(run: RunProgress, now: datetime) -> RunBar:
    """Give how far a run is."""
    counts = [
        f"{number_text(run.finished)} of {number_text(run.clients)} done" if run.clients else "",
        f"{number_text(run.failed)} failed" if run.failed else "",
        f"{number_text(run.unreachable)} not reached" if run.unreachable else "",
        f"{size_text(run.sent)} sent" if run.sent else "",
    ]
    silent = run.at is not None and now - run.at > LATE
    word = f"no word since {time_text(run.at)}" if silent and run.at else ""
    return RunBar(
        says=run.step or f"updoser {run.command}",
        detail=", ".join(filter(None, [*counts, word])),
        link=links.run(run.run_id),
        part=run.finished,
        whole=run.clients,
    )


def _of_controller(known: Known, operates: bool) -> list[Alert]:
    found = known.controller
    if found is None:
        return []
    said, shown = found.report, f"What is shown is of {time_text(known.shown_at)}." if known.shown_at else ""
    alerts = []
    if not found.alive:
        stopped = said.phase == "stopped"
        title = "The controller was stopped" if stopped else "The controller is gone"
        why = (
            f"It {'ended' if stopped else f'was {said.phase}'} at {time_text(said.since)}, and nothing is kept current."
        )
        todo = "`updoser run` starts it, or its service" if stopped else "look why, and start it again: `updoser run`"
        alerts.append(
            Alert(tone="late" if stopped else "bad", icon="alert", title=title, why=f"{why} {shown}".strip(), todo=todo)
        )
    elif said.phase == "sleeping" and said.next_at is not None and known.now - said.next_at > LATE:
        late = span_text((known.now - said.next_at).total_seconds())
        why = f"It should have looked at {time_text(said.next_at)}. {shown}".strip()
        alerts.append(Alert(tone="bad", icon="wait", title=f"The controller is late by {late}", why=why))
    if found.pause is not None:
        pause = found.pause
        until = f" until {time_text(pause.until)}" if pause.until else ""
        why = f"{pause.who}, since {time_text(pause.since)}: {pause.reason}. It looks, and changes nothing."
        button = (Button("Go on\u2026", links.do("resume_controller")),) if operates else ()
        title = f"The controller is paused{until}"
        alerts.append(Alert(tone="late", icon="pause", title=title, why=why, buttons=button))
    if found.alive and said.trouble:
        times = f"{count_text(said.failures, 'round')} in a row" if said.failures > 1 else "the last round"
        again = f" It tries again at {time_text(said.next_at)}." if said.next_at else ""
        title = f"The controller fails: {times}"
        alerts.append(Alert(tone="bad", icon="alert", title=title, why=f"{said.trouble}.{again} {shown}".strip()))
    return alerts


def _of_spec(known: Known) -> list[Alert]:
    """Say that a spec is refused, as the controller says it, or remembers it in its conditions."""
    conditions = (known.status or {}).get("conditions", ())
    whys = [one["summary"] for one in conditions if one["kind"] == "spec_rejected"]
    if known.controller is not None:
        whys = [known.controller.report.rejected] if known.controller.report.rejected else []
    title = "The spec is refused, and the one before stays in force"
    return [Alert(tone="bad", icon="alert", title=title, why=why) for why in whys]


def _waiting(known: Known) -> list[Alert]:
    if not known.waiting or (known.controller is not None and known.controller.alive):
        return []  # it looks within seconds
    title = f"{count_text(known.waiting, 'request')} wait{'s' if known.waiting == 1 else ''} for a controller"
    return [Alert(tone="late", icon="wait", title=title, buttons=(Button("Look at it", "/audit"),))]
