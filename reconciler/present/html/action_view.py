"""What pages show of what people do: before, what will happen; and after, what came of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from reconciler.model.request import PROPOSED, REASONED
from reconciler.model.rollout import UNFIT
from reconciler.present.fields import time_text
from reconciler.present.html import links
from reconciler.present.html.shapes import Sign, way_of
from reconciler.present.rollout_text import WHOLE_FLEET, rollout_name
from reconciler.present.words import count_text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from reconciler.model.controller import ControllerStatus
    from reconciler.model.request import Request, RequestKind, RequestStatus, Target
    from reconciler.model.rollout import RolloutRecord
    from reconciler.present.html.shapes import Way
    from reconciler.present.rollout_text import Entry

SPANS = (
    ("1h", "1 hour", 1),
    ("4h", "4 hours", 4),
    ("12h", "12 hours", 12),
    ("1d", "1 day", 24),
    ("3d", "3 days", 72),
    ("7d", "1 week", 168),
)
"""How long a pause of the controller may be: value, words, hours."""
_WORDS: Mapping[RequestKind, tuple[str, str]] = {
    "approve": ("Approve {}?", "Approve"),
    "pause": ("Pause {}?", "Pause it"),
    "resume": ("Resume {}?", "Resume it"),
    "abort": ("Abort {}?", "Abort it"),
    "look": ("Have the controller look now?", "Look now"),
    "pause_controller": ("Pause the controller?", "Pause the controller"),
    "resume_controller": ("Let the controller go on?", "Let it go on"),
    "block": ("Block a version in the file?", "Propose the change"),
    "pin": ("Pin a version in the file?", "Propose the change"),
}
_DONE: Mapping[RequestKind, str] = {
    "approve": "Approve {}",
    "pause": "Pause {}",
    "resume": "Resume {}",
    "abort": "Abort {}",
    "look": "Look now",
    "pause_controller": "Pause the controller",
    "resume_controller": "Let the controller go on",
    "block": "Block {}",
    "pin": "Pin {}",
}
_STATUS: Mapping[RequestStatus, Sign] = {
    "waiting": Sign("ahead", "wait", "waits for the controller"),
    "seconded": Sign("late", "ask", "waits for a second person"),
    "done": Sign("good", "check", "done"),
    "refused": Sign("bad", "cross", "refused"),
}


class Scene(NamedTuple):
    """What decides on what will happen: what it is about, how many clients have it, and how the controller is.

    `seen` names what is shown. `running`: clients are changed now.
    """

    entry: Entry | None
    target: Target
    has: int | None
    controller: ControllerStatus | None
    running: bool
    four_eyes: bool
    seen: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ActionView:
    """A form, and what happens when it is sent.

    `undo` is the label of a box, empty where there is none; `asks` are fields to fill in: name, label and text.
    """

    kind: RequestKind
    title: str
    button: str
    back: str
    where: str
    way: Way | None
    now: str
    happens: Sequence[str]
    reason: bool
    undo: str
    asks: Sequence[tuple[str, str, str]]
    spans: Sequence[tuple[str, str]]
    hidden: Sequence[tuple[str, str]]
    typed: Mapping[str, str]
    problem: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestView:
    """What came of a request.

    `second` leads a second person to where they approve, too. `diff` is a change of the file that is proposed: lines,
    and the tone of each; `copied`: it is one to copy.
    """

    title: str
    sign: Sign
    says: str
    diff: Sequence[tuple[str, str]]
    copied: bool
    waits: Sequence[str]
    facts: Sequence[tuple[str, str]]
    own: str
    path: str
    back: str
    second: str
    open: bool


def view_of_action(kind: RequestKind, scene: Scene, typed: Mapping[str, str], key: str, problem: str) -> ActionView:
    """Give what a page shows before something is done; `key` is what this form is called when it is sent."""
    entry = scene.entry
    title, button = _WORDS[kind]
    hidden = [("key", typed.get("key") or key), ("seen", scene.seen)]
    if entry is not None:
        hidden += [(name, entry[name] or "") for name in ("component", "version", "group")]
    proposed = kind in PROPOSED
    return ActionView(
        kind=kind,
        title=title.format(f"{entry['component']} {entry['version']}" if entry else ""),
        button=button,
        back=_back(scene),
        where=(entry["group"] or WHOLE_FLEET) if entry else "",
        way=way_of(entry) if entry else None,
        now=entry["says"] if entry else "" if proposed else _controller_now(scene.controller),
        happens=[*_HAPPENS[kind](scene), *_when(kind, scene)],
        reason=kind in REASONED,
        undo=_undo(scene) if kind == "abort" else "",
        asks=[(name, label, getattr(scene.target, name)) for name, label in _ASKED] if proposed else [],
        spans=[(value, label) for value, label, _hours in SPANS] if kind == "pause_controller" else [],
        hidden=hidden,
        typed=typed,
        problem=problem,
    )


_ASKED = (("component", "Component"), ("version", "Version"))


def _back(scene: Scene) -> str:
    if scene.entry is not None:
        return links.rollout(scene.entry["component"], scene.entry["version"], scene.entry["group"])
    return links.component(scene.target.component) if scene.target.component else "/"


def _block(_scene: Scene) -> list[str]:
    return [
        "You get the change of the file that blocks it, to look at and to copy. Nothing else is done.",
        "Once the file says so, no client gets this version, and those that have it go back to the one before.",
    ]


def _pin(_scene: Scene) -> list[str]:
    return [
        "You get the change of the file that pins it, to look at and to copy. Nothing else is done.",
        "Once the file says so, clients get this version and no other, also where that takes them back.",
    ]


def _approve(scene: Scene) -> list[str]:
    entry = _entry(scene)
    number, waves, sizes = entry["wave"] + 1, entry["waves"], entry["sizes"]
    found = []
    if number <= waves:
        opens = "opens" if entry["awaits_approval"] else "may open once the one before it is through"
        size = sizes[number - 1] if len(sizes) >= number else 0
        gets = "gets" if size == 1 else "get"
        found.append(f"Wave {number} of {waves} {opens}: {_clients(size)} {gets} it.")
        rest = sum(sizes[number:])
        if rest:
            found.append(f"{_clients(rest)} of later waves wait{'s' if rest == 1 else ''} on.")
    else:
        found.append("It is in its last wave: there is nothing to approve.")
    if scene.four_eyes:
        found.append("A second person has to approve it, too, before it goes on.")
    return found


def _pause(scene: Scene) -> list[str]:
    found = ["No further client begins with it. Those under way are finished."]
    if scene.has:
        verbs = ("has", "keeps") if scene.has == 1 else ("have", "keep")
        found.append(f"{_clients(scene.has)} {verbs[0]} it already, and {verbs[1]} it.")
    return [*found, "It goes on when somebody resumes it; newer releases wait for it as before."]


def _resume(scene: Scene) -> list[str]:
    entry = _entry(scene)
    place = f"wave {entry['wave']} of {entry['waves']}"
    if entry["status"] == "paused":
        return [f"It goes on in {place} where it stopped."]
    found = [f"It goes on in {place}; the gate of that wave starts anew, and clients that failed are tried again."]
    if entry["status"] in UNFIT:
        found.append("Where a newer one came after it, or clients lost it since, it begins anew with its first wave.")
    return found


def _abort(scene: Scene) -> list[str]:
    found = ["It goes to nobody any more. Clients under way are finished."]
    if scene.has:
        verb = "has" if scene.has == 1 else "have"
        found.append(f"{_clients(scene.has)} {verb} it, and it stays there unless you take it back below.")
    return [*found, "It goes on only when somebody resumes it."]


def _undo(scene: Scene) -> str:
    if scene.has == 1:
        return "Take it back: the 1 client that has it goes back to the version before."
    who = f"the {_clients(scene.has)} that have it" if scene.has else "clients that have it"
    return f"Take it back: {who} go back to the version before."


def _look(_scene: Scene) -> list[str]:
    return ["Sources and rollouts are looked at within seconds, and what is due is carried out as the mode allows."]


def _pause_controller(_scene: Scene) -> list[str]:
    return [
        "The controller looks on, and changes nothing: no client, no rollout.",
        "Clients under way are finished. What somebody applies at a terminal isn't kept back.",
    ]


def _resume_controller(scene: Scene) -> list[str]:
    pause = scene.controller.pause if scene.controller else None
    if pause is None:
        return ["It isn't paused: nothing changes."]
    return ["What is due is carried out within seconds."]


_HAPPENS = {
    "approve": _approve,
    "pause": _pause,
    "resume": _resume,
    "abort": _abort,
    "look": _look,
    "pause_controller": _pause_controller,
    "resume_controller": _resume_controller,
    "block": _block,
    "pin": _pin,
}


def _entry(scene: Scene) -> Entry:
    assert scene.entry is not None
    return scene.entry


def _clients(count: int) -> str:
    return count_text(count, "client")


def _when(kind: RequestKind, scene: Scene) -> list[str]:
    """Say when it happens: the controller does it, and may be away, paused or only observing."""
    controller = scene.controller
    if controller is None or not controller.alive:
        return ["No controller runs now. It waits for one, for 24 hours at most."]
    pause = controller.pause
    if kind in PROPOSED:
        return ["The controller reads the file, and writes the change within seconds."]
    if kind in {"approve", "resume"} and pause is not None:
        return [f"The controller is paused by {pause.who}: {pause.reason}. It goes on after that."]
    if kind in {"approve", "resume"} and controller.report.mode == "observe":
        return ["The controller only observes: the next `updoser apply` carries it out."]
    return ["The controller does it within seconds."] if kind != "look" else []


def _controller_now(controller: ControllerStatus | None) -> str:
    if controller is None:
        return "No controller ever ran here."
    pause = controller.pause
    if pause is not None:
        ends = f"until {time_text(pause.until)}" if pause.until else "until somebody lets it go on"
        return f"Paused by {pause.who} since {time_text(pause.since)}, {ends}: {pause.reason}"
    if not controller.alive:
        return f"The controller isn't running; it said something last at {time_text(controller.report.since)}."
    looked = controller.report.looked
    return f"It looked last at {time_text(looked)}." if looked else "It hasn't looked yet."


def view_of_request(
    request: Request, record: RolloutRecord | None, controller: ControllerStatus | None, who: str
) -> RequestView:
    """Give what a page shows of a request: what was asked, and what came of it. `who` looks."""
    target = request.target
    name = _name(target, record)
    facts = [("asked by", request.who), ("at", time_text(request.at))]
    facts += [("from", request.address)] if request.address else []
    facts += [("because", request.reason)] if request.reason else []
    facts += [("until", time_text(target.until))] if target.until else []
    facts += [("settled at", time_text(request.done_at))] if request.done_at else []
    says, _blank, more = request.says.partition("\n\n")
    proposed = more if request.kind in PROPOSED and request.status == "done" else ""
    path = links.rollout(target.component, target.version, target.group) if record is not None else ""
    seconded = request.status == "seconded" and request.who.casefold() != who.casefold()
    return RequestView(
        title=_DONE[request.kind].format(name) + (", and take it back" if target.undo else ""),
        sign=_STATUS[request.status],
        says=says.removeprefix(f"{name}: "),
        diff=_diff(proposed or more),
        copied=bool(proposed),
        waits=_waits(request, controller),
        facts=facts,
        own=f"/requests/{request.id}",
        path=path,
        back="/rollouts" if path else "/",
        second=links.do("approve", target.component, target.version, target.group) if seconded else "",
        open=request.status in {"waiting", "seconded"},
    )


_TONES = {"+": "good", "-": "bad", "@": "idle"}


def _diff(text: str) -> list[tuple[str, str]]:
    return [(_TONES.get(line[:1], ""), line) for line in text.splitlines()]


def _name(target: Target, record: RolloutRecord | None) -> str:
    if record is not None:
        return record.name
    return rollout_name({"component": target.component, "version": target.version, "group": target.group})


def _waits(request: Request, controller: ControllerStatus | None) -> list[str]:
    if request.status == "seconded":
        return ["Somebody else with the role approver has to approve the same, as it is now."]
    if request.status != "waiting":
        return []
    if controller is None or not controller.alive:
        said = controller.report if controller else None
        last = f" The last one, {said.who}, said something at {time_text(said.since)}." if said else ""
        return [
            f"No controller runs: it waits until one does, for 24 hours at most.{last}",
            "Start one: `updoser run`",
        ]
    return [f"{controller.report.who} leads, and judges it within seconds."]
