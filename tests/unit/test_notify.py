"""Who is told what: conditions begin, change and end, are told once each, and nothing is lost when a process dies."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from threading import Event
from types import SimpleNamespace
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.controller.post import GIVEN_UP, Post
from reconciler.errors import NotifierError, SpecError, StateError
from reconciler.model.notice import (
    CONDITIONS,
    OF_CONTROLLER,
    SEVERITIES,
    Condition,
    ConditionKind,
    Message,
    Notice,
    NotifierSpec,
    Severity,
    Threshold,
    message_of,
)
from reconciler.model.plan import Finding
from reconciler.model.report import ComponentStatus, SourceStatus
from reconciler.model.repository import RoleStatus
from reconciler.model.spec import PluginConfig
from reconciler.planner.conditions import FleetFacts, controller_conditions, fleet_conditions
from reconciler.planner.telling import tell
from reconciler.specfile.load import load_spec
from reconciler.specfile.validate import schema_of
from reconciler.storage.state import State
from reconciler.storage.tables import OUTBOX
from tests.unit.situations import Situation, situations

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
CHAT = NotifierSpec(name="chat", plugin=PluginConfig("notifier", "command", {"run": "x"}))
ALL = frozenset(CONDITIONS)
WORDS: list[Severity] = ["warning", "critical", "critical", "info"]


def halted(about: str = "rules 2", severity: Severity = "critical", says: str = "it is halted") -> Condition:
    return Condition("rollout_halted", about, severity, says)


def changes(spec: NotifierSpec, *rounds: tuple[timedelta, list[Condition]]) -> list[list[str]]:
    """Give what is told in each of some rounds: the time since the beginning, and what is there."""
    known: Any = {}
    told = []
    for after, found in rounds:
        known, notices = tell(spec, known, found, ALL, NOW + after)
        told.append([f"{one.change} {one.condition.about}" for one in notices])
    return told


# --- who is told ----------------------------------------------------------------------------------------------------


def test_a_condition_is_told_when_it_begins_and_when_it_ends_and_not_in_between() -> None:
    other_words = halted(says="it is halted for 3 h by now")
    rounds = [(MINUTE, [halted()]), (2 * MINUTE, [other_words]), (3 * MINUTE, []), (4 * MINUTE, [])]
    assert changes(CHAT, *rounds) == [["begun rules 2"], [], ["ended rules 2"], []]


def test_a_condition_that_gets_worse_or_better_is_told_once_more() -> None:
    rounds = [(n * MINUTE, [halted(severity=word)]) for n, word in enumerate(WORDS)]
    assert changes(CHAT, *rounds) == [["begun rules 2"], ["changed rules 2"], [], ["changed rules 2"]]


def test_what_lasts_is_told_again_as_often_as_is_wanted() -> None:
    rounds = [(n * HOUR, [halted()]) for n in range(5)]
    assert changes(replace(CHAT, repeat=2 * HOUR), *rounds) == [
        ["begun rules 2"],
        [],
        ["goes_on rules 2"],
        [],
        ["goes_on rules 2"],
    ]
    assert changes(replace(CHAT, repeat=None), *rounds)[1:] == [[], [], [], []]


def test_what_is_over_by_itself_soon_is_never_told() -> None:
    drift = Condition("drift", "rules", "warning", "changed")
    assert changes(CHAT, (0 * MINUTE, [drift]), (9 * MINUTE, [drift]), (9.5 * MINUTE, [])) == [[], [], []]
    assert changes(CHAT, (0 * MINUTE, [drift]), (10 * MINUTE, [drift]), (11 * MINUTE, [])) == [
        [],
        ["begun rules"],
        ["ended rules"],
    ]


def test_only_what_is_asked_for_and_severe_enough_is_told() -> None:
    some = replace(CHAT, on=frozenset[ConditionKind](["drift"]))
    assert changes(some, (MINUTE, [halted()])) == [[]]
    severe = replace(CHAT, min_severity="critical")
    rounds = [(MINUTE, [halted(severity=word)]) for word in SEVERITIES]
    assert changes(severe, *rounds, (MINUTE, [halted(severity="warning")])) == [
        [],
        [],
        ["begun rules 2"],
        ["ended rules 2"],
    ]


def test_outdated_and_unknown_clients_are_told_when_they_are_too_many_for_too_long() -> None:
    spec = replace(CHAT, outdated=Threshold(0.5, DAY), unknown=Threshold(0.1, HOUR))
    outdated = [Condition("outdated", "rules", "warning", "x", share) for share in (0.5, 0.6)]
    unknown = [Condition("unknown", "", "warning", "x", share) for share in (0.1, 0.2)]
    assert changes(spec, *((n * DAY, [outdated[0], unknown[0]]) for n in range(3))) == [[], [], []]
    assert changes(spec, *((n * HOUR, [outdated[1], unknown[1]]) for n in (0, 1, 24))) == [
        [],
        ["begun "],
        ["begun rules"],
    ]


def test_a_round_that_failed_ends_nothing_that_it_could_not_see() -> None:
    known, _begun = tell(CHAT, {}, [halted()], ALL, NOW)
    known, notices = tell(CHAT, known, controller_conditions("no disk", 1, ["bad"]), OF_CONTROLLER, NOW)
    assert [(one.change, one.condition.kind) for one in notices] == [("begun", "spec_rejected")]
    _known, notices = tell(CHAT, known, [halted()], ALL, NOW)
    assert [(one.change, one.condition.kind) for one in notices] == [("ended", "spec_rejected")]


def test_who_wants_to_hear_no_more_of_a_kind_is_not_told_that_it_is_over() -> None:
    known, _begun = tell(CHAT, {}, [halted()], ALL, NOW)
    assert tell(replace(CHAT, on=frozenset[ConditionKind](["drift"])), known, [halted()], ALL, NOW) == ({}, ())


# --- what there is to tell ------------------------------------------------------------------------------------------


@settings(max_examples=30)
@given(situations())
def test_halts_and_approvals_of_a_plan_are_told_and_nothing_in_what_names_them_tells_the_time(
    situation: Situation,
) -> None:
    plan = situation.plan()
    found = fleet_conditions(FleetFacts(plan=plan), NOW)
    by_kind = {kind: {one.about for one in found if one.kind == kind} for kind in CONDITIONS}
    assert by_kind["rollout_halted"] == {step.record.name for step in plan.halted}
    waiting = [step for step in plan.rollouts if "waits for approval" in step.says]
    assert len(by_kind["approval_needed"]) == len(waiting)
    assert by_kind["drift"] == {finding.component for finding in plan.drift}
    assert len({one.fingerprint for one in found}) == len(found)
    assert all(one.severity in SEVERITIES and one.summary and 0 <= one.share <= 1 for one in found)
    later = fleet_conditions(FleetFacts(plan=plan), NOW + 90 * DAY)
    assert [one.fingerprint for one in later] == [one.fingerprint for one in found]


@pytest.fixture
def plan() -> Any:
    return SimpleNamespace(rollouts=(), clients={"g": 10}, unknown=(), unreachable=(), drift=(), members={})


def test_sources_signatures_and_clients_in_trouble_are_told(plan: Any) -> None:
    plan.unknown = (Finding("g", 4, ("a",), "silent"),)
    plan.members = {"a": tuple("wxyz")}
    facts = FleetFacts(
        plan=plan,
        components=(ComponentStatus("rules", "2", "2", updated=6, outdated=2, ahead=0, unknown=0),),
        sources=(
            SourceStatus("good", NOW),
            SourceStatus("odd", NOW, error="HTTP\n500"),
            SourceStatus("old", None, stale=True),
        ),
        quarantined=1,
        waits=True,
        roles=(
            RoleStatus("root", 1, NOW + 20 * DAY),
            RoleStatus("timestamp", 1, NOW + DAY),
            RoleStatus("targets", 0, None),
        ),
        lifetimes={"root": 100 * DAY, "timestamp": 2 * DAY, "targets": DAY},
    )
    assert {(one.kind, one.severity, one.summary) for one in fleet_conditions(facts, NOW)} == {
        ("source_stale", "warning", "source odd doesn't answer since 2026-11-24 12:00 UTC: HTTP 500"),
        ("source_stale", "critical", "source old doesn't answer and never did"),
        ("signature_expiring", "warning", "the signatures of the repository's root expire on 2026-12-14 12:00 UTC"),
        ("outdated", "warning", "rules: 2 clients of 8 outdated"),
        ("unknown", "warning", "nothing is known of 4 clients of 10"),
        ("client_quarantined", "warning", "1 client in quarantine: `updoser status` names them"),
        ("approval_needed", "warning", "releases wait: `updoser apply` lets them go out"),
    }


@pytest.mark.parametrize(
    ("expires", "told"),
    [
        ({}, None),
        ({"root": NOW + 31 * DAY, "targets": NOW + 3 * DAY, "timestamp": NOW + DAY}, None),
        ({"root": NOW + 29 * DAY, "timestamp": NOW + DAY}, ("warning", "(root) expire on 2026-12-23")),
        ({"root": NOW + 9 * DAY, "targets": NOW + DAY}, ("critical", "(root) expire on")),
        ({"root": NOW + 29 * DAY, "rules": NOW + 12 * HOUR}, ("critical", "(rules) expire on")),
        ({"timestamp": NOW + 5 * HOUR}, ("warning", "(timestamp) expire on")),
        ({"snapshot": NOW - HOUR}, ("critical", "(snapshot) have expired on")),
    ],
)
def test_of_the_signatures_of_a_source_those_nearest_to_their_end_are_told_and_in_time(
    plan: Any, expires: dict[str, datetime], told: tuple[str, str] | None
) -> None:
    facts = FleetFacts(plan=plan, sources=(SourceStatus("hq", NOW, expires=expires), SourceStatus("other", NOW)))
    found = [(one.about, one.severity, one.summary) for one in fleet_conditions(facts, NOW)]
    if told is None:
        assert found == []
    else:
        [(about, severity, summary)] = found
        assert (about, severity) == ("source hq", told[0])
        assert f"the signatures of source hq {told[1]}" in summary


def test_a_controller_that_fails_again_and_again_is_critical() -> None:
    assert [controller_conditions("x", failures, [])[0].severity for failures in (1, 4, 5)] == [
        "warning",
        "warning",
        "critical",
    ]
    assert controller_conditions("", 0, []) == ()
    (rejected,) = controller_conditions("", 0, ["updoser.yaml:3:1: unknown key `x`\n  3 | x: hunter2"])
    assert rejected.summary == "updoser.yaml:3:1: unknown key `x`"
    (unreachable,) = controller_conditions("", 0, [], "git.example: no route\nto host")
    says = "it isn't known whether there is a newer spec: git.example: no route"
    assert (unreachable.kind, unreachable.severity, unreachable.summary) == ("spec_unreachable", "warning", says)


# --- messages -------------------------------------------------------------------------------------------------------


def test_a_message_survives_the_outbox_and_its_worst_comes_first() -> None:
    found = [Condition("drift", "b", "info", "b drifts"), halted()]
    _known, notices = tell(replace(CHAT, patience=timedelta()), {}, found, ALL, NOW)
    message = Message("id", NOW, "host", notices)
    assert message_of(message.document) == message
    jsonschema.validate(message.document, schema_of("notification"))
    assert (message.severity, message.title) == ("critical", "updoser on host: it is halted (and 1 more)")
    assert message.text == "it is halted\nb drifts"
    over = Message("id", NOW, "host", (Notice("ended", halted(), NOW),))
    assert (over.severity, over.text) == ("info", "over: it is halted")


# --- the outbox -----------------------------------------------------------------------------------------------------


class Killed(BaseException):
    """The process is gone."""


class Site:
    """A controller's state, and people who are told: the clock, what fails and when it dies are the test's."""

    def __init__(self, state: State) -> None:
        self.state = state
        self.now = NOW
        self.events: list[str] = []
        self.counted: list[tuple[str, str]] = []
        self.got: list[Message] = []
        self.fails = False
        self.dies_after_sending = False
        self.post = self.started()

    def started(self) -> Post:
        means = SimpleNamespace(
            clock=lambda: self.now, stop=Event(), emit=lambda event: self.events.append(event.message)
        )
        self.lead: Any = SimpleNamespace(state=self.state, means=means)
        return Post("host", made=lambda _spec: self, count=lambda *said: self.counted.append(said))

    def send(self, message: Message, *, timeout: float) -> None:
        assert timeout > 0
        if self.fails:
            raise NotifierError("no way")
        self.got.append(message)
        if self.dies_after_sending:
            raise Killed

    def round(self, *found: Condition, spec: NotifierSpec = CHAT, judged: frozenset[ConditionKind] = ALL) -> None:
        self.post.note(self.lead, self.spec(spec), found, judged)

    def deliver(self, spec: NotifierSpec = CHAT) -> None:
        self.post.deliver(self.lead, self.spec(spec))

    @staticmethod
    def spec(*notifiers: NotifierSpec) -> Any:
        return SimpleNamespace(notify=notifiers)

    @property
    def heard(self) -> list[str]:
        return [f"{one.change} {one.condition.about}" for message in self.got for one in message.notices]


@pytest.fixture
def site(state_url: str) -> Iterator[Site]:
    with State.open(state_url, clock=lambda: NOW) as state:
        yield Site(state)


def test_a_message_that_is_not_taken_is_sent_again_later_and_in_its_turn(site: Site) -> None:
    site.fails = True
    site.round(halted("a"))
    site.deliver()
    site.round()
    site.deliver()
    assert site.events == ["notifier chat: no way"]
    assert site.post.due == NOW + MINUTE
    site.fails = False
    site.deliver()
    assert site.got == []
    assert site.counted == [("chat", "failed")]
    site.now += MINUTE
    site.deliver()
    assert site.heard == ["begun a", "ended a"]
    assert site.counted[1:] == [("chat", "delivered")] * 2
    assert site.post.due is None
    assert site.events == ["notifier chat: no way", "over: notifier chat: no way"]


def test_a_message_that_nobody_takes_for_a_day_is_given_up_and_that_is_said(site: Site) -> None:
    site.fails = True
    site.round(halted("a"))
    while site.post.due is not None:
        site.now = max(site.now, site.post.due)
        site.deliver()
        assert site.now < NOW + GIVEN_UP + HOUR
    assert [text for text in site.events if "given up" in text] == [
        "notifier chat: a message is given up: updoser on host: it is halted"
    ]


def test_a_notifier_that_fails_keeps_no_other_one_waiting(site: Site) -> None:
    other = replace(CHAT, name="pager", grouped=False)
    spec = site.spec(CHAT, other)
    site.post._made = lambda one: SimpleNamespace(send=site.send) if one.name == "pager" else Broken()
    site.post.note(site.lead, spec, [halted("a"), halted("b")], ALL)
    site.post.deliver(site.lead, spec)
    assert [[one.condition.about for one in message.notices] for message in site.got] == [["a"], ["b"]]
    assert len({message.id for message in site.got}) == 2
    assert [one.notifier for one in site.state.first_waiting()] == ["chat"]


class Broken:
    def send(self, message: Message, *, timeout: float) -> None:
        raise NotifierError(f"{message.id} within {timeout}")


def test_a_notifier_that_leaves_the_spec_is_forgotten_with_what_it_was_to_send(site: Site) -> None:
    site.round(halted("a"))
    site.post.note(site.lead, site.spec(), [halted("a")], ALL)
    assert (site.state.first_waiting(), site.state.known("chat")) == ([], {})
    assert site.events == ["messages of notifiers that aren't in the spec any more are dropped: 1"]


def test_what_is_so_is_known_until_it_is_over_though_nobody_is_told_of_it(site: Site) -> None:
    drift = Condition("drift", "rules", "warning", "changed by somebody else")
    site.post.note(site.lead, site.spec(), [drift, halted()], ALL)
    assert [(known.condition, known.since) for known in site.state.conditions()] == [(halted(), NOW)]
    site.now += HOUR  # what may be over by itself counts when it lasts
    site.post.note(site.lead, site.spec(), [drift, halted()], ALL)
    assert [known.condition.kind for known in site.state.conditions()] == ["rollout_halted", "drift"]
    site.post.note(site.lead, site.spec(), [], OF_CONTROLLER)  # a round that failed knows nothing of the fleet
    assert len(site.state.conditions()) == 2
    site.post.note(site.lead, site.spec(), [], ALL)
    assert (site.state.conditions(), site.state.first_waiting()) == ((), [])


def test_a_clock_that_was_ahead_keeps_no_message_back(site: Site) -> None:
    site.fails, site.now = True, NOW + 900 * DAY
    site.round(halted("a"))
    site.deliver()
    site.fails, site.now = False, NOW
    site.deliver()
    assert site.heard == ["begun a"]


@pytest.mark.parametrize("body", ["[]", "{", '{"id": 1, "at": "x", "host": "", "notices": []}', '{"id": "a"}'])
def test_what_nobody_wrote_into_the_outbox_is_damage_of_the_state(site: Site, body: str) -> None:
    site.round(halted("a"))
    with site.state._engine.begin() as connection:
        connection.execute(OUTBOX.update().values(body=body))
    with pytest.raises(StateError):
        site.state.first_waiting()


ABOUT = ("a", "b", "c")
ROUNDS = st.lists(
    st.tuples(
        st.frozensets(st.sampled_from(ABOUT)),
        st.sampled_from(["", "", "fails", "dies while sending", "dies before noting", "sees nothing"]),
        st.sampled_from([MINUTE, HOUR]),
    ),
    max_size=8,
)


@cache
def lasting() -> State:
    return State.open("sqlite://", clock=lambda: NOW)  # made once: to make one takes far longer than an example


@pytest.fixture(scope="module", autouse=True)
def closed() -> Iterator[None]:
    yield
    lasting().close()
    lasting.cache_clear()


@settings(max_examples=25)
@given(ROUNDS)
def test_whatever_fails_or_dies_each_beginning_and_end_is_told_in_order_and_none_twice_for_nothing(rounds: Any) -> None:
    spec = replace(CHAT, repeat=None)
    state = lasting()
    state.forget_notifiers(())
    site = Site(state)
    told: list[str] = []
    seen: frozenset[str] = frozenset()
    for there, trouble, span in [*rounds, (frozenset(), "", HOUR), (frozenset(), "", HOUR)]:
        site.now += span
        site.fails, site.dies_after_sending = trouble == "fails", trouble == "dies while sending"
        if trouble == "dies before noting":
            site.post = site.started()
            continue
        if trouble == "sees nothing":
            site.round(spec=spec, judged=OF_CONTROLLER)
        else:
            site.round(*map(halted, sorted(there)), spec=spec)
            told += [f"begun {one}" for one in sorted(there - seen)] + [f"ended {one}" for one in sorted(seen - there)]
            seen = there
        try:
            site.deliver(spec)
        except Killed:
            site.post = site.started()
    first = {message.id: message for message in site.got}  # what came once more has the same id
    assert [f"{one.change} {one.condition.about}" for message in first.values() for one in message.notices] == told
    assert state.first_waiting() == []


# --- the spec -------------------------------------------------------------------------------------------------------


def spec_of(folder: Path, notify: str) -> tuple[NotifierSpec, ...]:
    path = folder / "updoser.yaml"
    path.write_text(f"version: 1\n{notify}\n", "utf-8")
    return load_spec(path).notify


def test_a_spec_says_who_is_told_of_what(tmp_path: Path) -> None:
    assert spec_of(tmp_path, "") == ()
    (usual,) = spec_of(tmp_path, "notify: [{name: chat, type: command, run: x}]")
    assert usual == CHAT
    (found,) = spec_of(
        tmp_path,
        "notify: [{name: a, type: webhook, url: 'https://x/', conditions: [drift, outdated], "
        "min_severity: warning, repeat: never, for: 0s, outdated: {above: 5%}, unknown: {for: 2h}, "
        "grouped: false, timeout: 1m}]",
    )
    assert sorted(found.on) == ["drift", "outdated"]
    assert (found.min_severity, found.repeat) == ("warning", None)
    assert (found.patience, found.outdated, found.unknown) == (
        timedelta(),
        Threshold(0.05, 7 * DAY),
        Threshold(0.2, 2 * HOUR),
    )
    assert (found.grouped, found.timeout) == (False, MINUTE)


@pytest.mark.parametrize(
    ("notify", "says"),
    [
        ("[{name: a, type: command, run: x}, {name: a, type: command, run: x}]", "there is another notifier `a`"),
        ("[{name: a, type: pigeon}]", "there is no notifier plugin `pigeon`"),
        ("[{name: a, type: command}]", "run"),
        ("[{name: a, type: command, run: x, conditions: [weather]}]", "weather"),
        ("[{name: a, type: command, run: x, timeout: 1h}]", "at most 1m"),
        ("[{name: a, type: command, run: x, proxy: none}]", "none"),
        ("[{name: a, type: email, host: x, from: 'a b', to: [c@d]}]", "an address such as"),
        ("x", "notify"),
    ],
)
def test_a_notifier_that_can_not_be_is_told_at_its_place(tmp_path: Path, notify: str, says: str) -> None:
    with pytest.raises(SpecError, match=says) as caught:
        spec_of(tmp_path, f"notify: {notify}")
    assert "updoser.yaml:2" in str(caught.value)
