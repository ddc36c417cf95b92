"""What a client says is held against what can be, whoever wrote its transport."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest

from reconciler.client.guard import GuardedTransport
from reconciler.errors import ProtocolError
from reconciler.model.client import MAX_EPOCH, MAX_INSTALLED, Client, Facts, Installed, Profile
from reconciler.model.deploy import DeployReport, DeployRequest, Outcome, Patched, PatchHop, Step
from reconciler.storage.state import Observation
from tests.fakes import NOW, make_release
from tests.unit.workbench import Opened

RELEASE = make_release("rules", "2", {"a": b"x"})
STEP = Step(
    component="rules",
    from_version="1",
    from_digest="a" * 64,
    to_version="2",
    to_digest=RELEASE.digest,
    files=RELEASE.files,
)
PATCHED = replace(STEP, patched={"a": Patched("a", (PatchHop("zstd", 1, "b" * 64, 1),))})
PROFILE = Profile(
    "linux-x86_64",
    (Installed("rules", "1", "a" * 64, kept=(("2", "b" * 64),)),),
    tools=("zstd",),
    lineage="lineage",
    epoch=3,
)
FACTS = Facts(PROFILE, 2**40, 0.5)


class Says:
    """A transport and a session of one client, which says what a test gives."""

    def __init__(self, said: str) -> None:
        self.said = said

    @contextmanager
    def connect(self, _client: Any) -> Iterator[Any]:
        yield self

    def facts(self, *_arguments: Any, **_options: Any) -> Any:
        return self.said

    deploy = read = facts


def ask(said: Any, what: Any, *arguments: Any) -> Any:
    with GuardedTransport(Says(said)).connect(Client("pc", "g")) as session:
        return getattr(session, what)(*arguments)


def entry(**fields: Any) -> dict[str, tuple[Installed, ...]]:
    return {"installed": (replace(PROFILE.installed[0], **fields),)}


@pytest.mark.parametrize(
    "change",
    [
        {"free": 10**18 * 1024},
        {"free": -1},
        {"user": -1},
        {"seconds": float("nan")},
        {"seconds": float("inf")},
        {"lacks": ("x",) * 1000},
        {"unmade": "x\nfree 3"},
        {"epoch": MAX_EPOCH + 1},
        {"memory": 10**18},
        {"platform": "linux-" + "x" * 1000},
        {"platform": "../.."},
        {"lineage": "x" * 100_000},
        {"unmanaged": ("a\nb",)},
        {"tools": tuple(map(str, range(1000)))},
        {"installed": tuple(Installed(f"c{at}", "1", "") for at in range(MAX_INSTALLED + 1))},
        {"installed": PROFILE.installed * 2},
        entry(component="../x"),
        entry(version="current"),
        entry(digest="short"),
        entry(previous=".."),
        entry(damage="\0"),
        entry(kept=(("2", "short"),)),
        entry(kept=tuple((str(at), "b" * 64) for at in range(1000))),
    ],
)
def test_what_a_client_cannot_be_is_that_clients_failure(change: Any) -> None:
    fields = set(Facts.__slots__) - {"profile"}
    said = replace(FACTS, **change) if set(change) <= fields else replace(FACTS, profile=replace(PROFILE, **change))
    with pytest.raises(ProtocolError):
        ask(said, "facts", "/r")


def test_the_most_that_a_client_can_say_of_itself_can_be_remembered(opened: Opened) -> None:
    profile = replace(PROFILE, epoch=MAX_EPOCH, memory=2**40)
    facts = ask(replace(FACTS, profile=profile, free=2**63 - 1), "facts", "/r")
    bench = opened()
    bench.state.record_observations([Observation(client="a", profile=facts.profile, free=facts.free, error="", at=NOW)])
    assert bench.state.profiles()[profile.fingerprint] == profile


def request(*steps: Any, purpose: Any = "switch") -> DeployRequest:
    return DeployRequest(lineage="lineage", epoch=1, install_root="/r", keep=2, steps=steps, purpose=purpose)


def outcome(status: Any, version: Any = "2", digest: Any = RELEASE.digest, **fields: Any) -> Outcome:
    return Outcome("rules", status, version, digest, **fields)


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (request(STEP), []),
        (request(STEP), [outcome("changed")] * 2),
        (request(STEP), [replace(outcome("changed"), component="engine")]),
        (request(STEP), [outcome("unpatched", "1", "a" * 64)]),
        (request(STEP), [outcome("staged", "1", "a" * 64)]),
        (request(STEP), [outcome("changed", "3")]),
        (request(STEP), [outcome("changed", digest="b" * 64)]),
        (request(STEP), [outcome("ok", "1", "a" * 64)]),
        (request(STEP), [outcome("excellent")]),
        (request(STEP), [outcome("stale", "../..")]),
        (request(STEP), [outcome("failed", digest="short")]),
        (request(STEP), [outcome("failed", message="x" * 100_000)]),
        (request(STEP), [outcome("failed", message="\0")]),
        (request(STEP), [outcome("failed", fault="yours")]),
        (request(STEP, purpose="stage"), [outcome("changed")]),
        (request(STEP, purpose="check"), [outcome("changed")]),
        (request(STEP, purpose="check"), [outcome("unpatched")]),
    ],
)
def test_an_outcome_that_was_not_asked_for_is_that_clients_failure(asked: Any, said: Any) -> None:
    with pytest.raises(ProtocolError):
        ask(DeployReport(tuple(said), 0), "deploy", asked, None)


@pytest.mark.parametrize("sent", [-1, 2, 10**30])
def test_a_client_gets_no_more_bytes_than_there_are(sent: Any) -> None:
    with pytest.raises(ProtocolError):
        ask(DeployReport((outcome("changed"),), sent), "deploy", request(STEP), None)


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (request(STEP), outcome("changed")),
        (request(STEP), outcome("ok")),
        (request(STEP), outcome("stale", "", "")),
        (request(STEP), outcome("failed", "1", "a" * 64, message="no room")),
        (request(PATCHED), outcome("unpatched", "1", "a" * 64)),
        (request(replace(STEP, held=True)), outcome("unpatched", "1", "a" * 64)),
        (request(STEP, purpose="stage"), outcome("staged", "1", "a" * 64)),
        (request(STEP, purpose="check"), outcome("ok")),
    ],
)
def test_whatever_can_become_of_a_step_is_believed(asked: Any, said: Any) -> None:
    report = DeployReport((said,), 0)
    assert ask(report, "deploy", asked, None) == report


def test_a_client_shows_the_files_that_were_asked_for_and_no_others() -> None:
    assert ask({"/a": b"x", "/etc/shadow": b"y"}, "read", "/r", ["/a", "/b"]) == {"/a": b"x", "/b": None}
    with pytest.raises(ProtocolError):
        ask({"/a": b"x" * 100_000}, "read", "/r", ["/a"])
