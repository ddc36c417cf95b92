"""From planned changes to what clients are sent, and from their answers to what became of them."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from reconciler.client.reach import Reach
from reconciler.errors import TransportError
from reconciler.execute.deploy import Stepper, Task
from reconciler.execute.results import Result, profile_after
from reconciler.execute.tally import Tally
from reconciler.model.change import Deploy
from reconciler.model.client import Client, Installed, Profile
from reconciler.model.delta import Incremental, Kept, Patch
from reconciler.model.deploy import DeployReport, DeployRequest, InstallTarget, Layout, Outcome, Step
from reconciler.model.plan import Basis, Plan
from reconciler.model.release import Catalog
from reconciler.model.spec import ComponentSpec, ServerSpec, Spec
from reconciler.worker.change import DISTRUST, MOVED, SKIPPED
from tests.fakes import (
    CODECS,
    NOW,
    FakeClient,
    FakeComponent,
    FakeSession,
    FakeTransport,
    describe,
    make_component,
    make_release,
)
from tests.unit.deploying import Deployer, result_with

BASIS = Basis("mine", 3, 0, "s", "c")
PLAN = Plan("p", NOW, BASIS)
CLIENT = Client("pc", "g", install_root="/r")
LAYOUT = Layout((InstallTarget("*", "/opt/scanner"),))
CONTENT = {
    version: {"data": f"version {version}".encode(), "same": b"the same in all"} for version in ("1", "2", "3", "old")
}
RELEASES = {version: make_release("rules", version, content) for version, content in CONTENT.items()}
EVERYTHING = {
    file.sha256: CONTENT[version][file.name] for version, release in RELEASES.items() for file in release.files
}
SPEC = Spec(
    Path("updoser.yaml"), Path(), Path(), "s", ServerSpec(Path("store"), "sqlite://"), Catalog({}, "c"), (),
    {"rules": ComponentSpec(make_component("rules"), layout=LAYOUT)}, {}, client_keep=5,
)  # fmt: skip


@pytest.fixture(autouse=True)
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reconciler.client.reach.PAUSE", 0)


class Shelf:
    """The only thing that a Deployer asks of a store."""

    @staticmethod
    @contextmanager
    def open(sha256: str) -> Iterator[BytesIO]:
        yield BytesIO(EVERYTHING[sha256])


def change(before: Any = "1", to: Any = "2", **more: Any) -> Deploy:
    digest = RELEASES[before].digest if before else ""
    fields = {"platform": "any", "reason": "outdated", "clients": 1, "members": ("c1",), "bytes": 1, **more}
    fields.setdefault("from_digest", digest)
    return Deploy("rules", "g", before, to=to, to_digest=RELEASES[to].digest, bytes_full=2, **fields)


def steps(*changes: Deploy, held: str = "123") -> tuple[Step, ...]:
    return Stepper(SPEC, {RELEASES[version].digest: RELEASES[version] for version in held}).steps(changes)


def machine(version: str = "") -> FakeClient:
    """Make a client that has a version of the rules."""
    made = FakeClient()
    if version:
        files = {version: dict(CONTENT[version])}
        promised = {version: RELEASES[version].files}
        made.components["rules"] = FakeComponent(version, layout=LAYOUT.fingerprint, versions=files, promised=promised)
    return made


def deploy(there: Any, *planned: Any, between: Any = None) -> Result:
    """Carry changes out on a client; `between` is called before its second request."""

    class Transport(FakeTransport):
        @contextmanager
        def connect(self, client: Any) -> Iterator[FakeSession]:
            with super().connect(client) as session:
                first, calls = session.deploy, []

                def twice(request: DeployRequest, content: Callable[..., Any]) -> DeployReport | None:
                    calls.append(request)
                    if between and len(calls) == 2:
                        between()
                    return first(request, content)

                session.deploy = twice  # type: ignore[assignment, method-assign]
                yield session

    task = Task(CLIENT, steps(*planned), there.profile())
    reach = Reach(lambda _group: Transport({"pc": there}), Event())
    return Deployer(SPEC, BASIS, reach, Shelf())(task)


# --- steps ----------------------------------------------------------------------------------------------------------


def test_a_step_says_what_must_be_there_what_comes_and_where_it_goes() -> None:
    (step,) = steps(change())
    assert (step.from_version, step.from_digest) == ("1", RELEASES["1"].digest)
    assert (step.to_version, step.to_digest, step.files) == ("2", RELEASES["2"].digest, RELEASES["2"].files)
    assert step.layout == LAYOUT


def test_files_that_the_client_has_are_not_sent() -> None:
    assert [file.name for file in steps(change())[0].payload] == ["data"]


@pytest.mark.parametrize(
    "planned",
    [change(before=""), change(from_digest=""), change(before="old")],
    ids=["nothing there", "damaged", "a version that the store doesn't hold"],
)
def test_everything_is_sent_where_nothing_on_the_client_can_be_believed(planned: Deploy) -> None:
    assert steps(planned)[0].payload == RELEASES["2"].files


def test_another_layout_sends_nothing() -> None:
    assert steps(change("2", "2", reason="layout_changed"))[0].payload == ()


# --- deploying ------------------------------------------------------------------------------------------------------


def test_a_client_that_is_as_planned_gets_its_changes_in_one_request() -> None:
    there = machine("1")
    result = deploy(there, change())
    assert [outcome.status for outcome in result.outcomes] == ["changed"]
    assert there.content("rules") == CONTENT["2"]
    assert there.calls["deploy"] == 1
    (request,) = there.requests
    assert (request.lineage, request.epoch, request.install_root, request.keep) == ("mine", 3, "/r", 5)
    assert result.bytes_sent == len(CONTENT["2"]["data"])


@pytest.mark.parametrize("now", ["", "old"])
def test_a_client_that_moved_below_the_release_gets_all_of_it(now: str) -> None:
    there = machine(now)
    result = deploy(there, change())
    assert [outcome.status for outcome in result.outcomes] == ["changed"]
    assert there.content("rules") == CONTENT["2"]
    assert there.calls["deploy"] == 2
    assert there.requests[1].steps[0].kept == {}


def test_a_client_that_moved_above_the_release_is_left_alone() -> None:
    there = machine("3")
    result = deploy(there, change())
    assert [(outcome.status, outcome.message, outcome.version) for outcome in result.outcomes] == [
        ("skipped", SKIPPED, "3")
    ]
    assert there.version("rules") == "3"
    assert there.calls["deploy"] == 1


def test_a_client_that_has_the_release_already_is_fine() -> None:
    result = deploy(machine("2"), change())
    assert [outcome.status for outcome in result.outcomes] == ["ok"]


def test_a_client_with_other_bytes_of_the_release_gets_the_right_ones() -> None:
    there = machine("2")
    there.components["rules"].promised["2"] = RELEASES["old"].files
    assert [outcome.status for outcome in deploy(there, change()).outcomes] == ["changed"]
    assert there.profile().by_component["rules"].digest == RELEASES["2"].digest


def test_a_client_that_somebody_else_changes_at_the_same_time_is_stale() -> None:
    there = machine("")

    def meddle() -> None:
        there.components = machine("1").components

    result = deploy(there, change("3", "2"), between=meddle)
    assert [(outcome.status, outcome.message) for outcome in result.outcomes] == [("stale", MOVED)]
    assert there.version("rules") == "1"


def test_a_connection_that_breaks_before_the_second_request_keeps_what_was_answered() -> None:
    there = machine("old")

    def cut() -> None:
        there.unreachable = True

    result = deploy(there, change(), between=cut)
    assert isinstance(result.error, TransportError)
    assert result.outcomes == ()
    assert result.bytes_sent == len(CONTENT["2"]["data"])


def test_an_error_of_a_client_is_its_result_and_no_exception() -> None:
    there = machine("1")
    there.unreachable = True
    result = deploy(there, change())
    assert (result.outcomes, type(result.error)) == ((), TransportError)


def test_a_client_that_got_everything_after_all_saved_no_bytes() -> None:
    result = deploy(machine("old"), change())
    tally = Tally(["g"])
    tally.add(result)
    assert tally.report("r", PLAN, NOW, NOW, interrupted=False).bytes_saved == 0


def test_a_result_tells_from_what_a_client_that_moved_was_really_changed() -> None:
    (done,) = deploy(machine("old"), change()).done
    assert (done.from_version, done.sent) == ("old", sum(file.size for file in RELEASES["2"].files))


def test_what_is_for_later_is_sent_on_the_same_connection_and_not_switched_to() -> None:
    there = machine("1")
    reach = Reach(lambda _group: FakeTransport({"pc": there}), Event())
    result = Deployer(SPEC, BASIS, reach, Shelf())(Task(CLIENT, (), there.profile(), early=steps(change())))
    assert [outcome.status for outcome in result.outcomes] == ["staged"]
    assert (there.version("rules"), there.calls["connect"]) == ("1", 1)
    (held,) = steps(change(held=True))
    assert held.payload == ()
    result = Deployer(SPEC, BASIS, reach, Shelf())(Task(CLIENT, (held,), there.profile()))
    assert (there.version("rules"), result.bytes_sent) == ("2", 0)


def test_a_version_that_should_lie_there_and_does_not_is_sent_whole_on_the_same_connection() -> None:
    there = machine("1")
    result = deploy(there, change(held=True))
    assert [outcome.status for outcome in result.outcomes] == ["changed"]
    assert there.content("rules") == CONTENT["2"]
    assert (there.calls["connect"], there.calls["deploy"]) == (1, 2)
    assert there.requests[1].steps[0].payload == RELEASES["2"].files


def test_a_client_whose_steps_may_not_be_taken_any_more_is_not_even_connected_to() -> None:
    there = machine("1")
    reach = Reach(lambda _group: FakeTransport({"pc": there}), Event())
    deployer = Deployer(SPEC, BASIS, reach, Shelf(), halted=[("rules", "2", "")])
    result = deployer(Task(CLIENT, steps(change()), there.profile()))
    assert (result.outcomes, result.task.steps, there.calls["connect"]) == ((), (), 0)


# --- what a client has afterwards -------------------------------------------------------------------------------------


def after(
    status: Any, *, version: Any = "", digest: Any = "", before: Any = ("1",), to: Any = "2", keep: Any = 2
) -> Any:
    entries = tuple(Installed("rules", v, RELEASES[v].digest, previous="0") for v in before)
    profile = Profile("linux-x86_64", (Installed("engine", "7", "e"), *entries), tools=("zstd",))
    (step,) = steps(change(before[0] if before else "", to))
    task = Task(CLIENT, (step,), profile)
    return profile_after(result_with(task, Outcome("rules", status, version, digest)), BASIS, keep)


def test_a_client_that_was_changed_has_the_release_and_remembers_the_one_before() -> None:
    profile = after("changed")
    kept = (("1", RELEASES["1"].digest),)
    assert profile.by_component["rules"] == Installed(
        "rules", "2", RELEASES["2"].digest, previous="1", layout=LAYOUT.fingerprint, kept=kept
    )
    assert profile.by_component["engine"] == Installed("engine", "7", "e")
    assert (profile.lineage, profile.epoch, profile.tools) == ("mine", 3, ("zstd",))
    assert list(profile.installed) == sorted(profile.installed)


def test_what_was_sent_early_lies_ready_and_the_version_in_force_stays() -> None:
    entry = after("staged").by_component["rules"]
    assert (entry.version, entry.kept) == ("1", (("2", RELEASES["2"].digest),))


def test_a_client_that_keeps_one_version_only_has_no_other_after_a_switch() -> None:
    assert after("changed", keep=1).by_component["rules"].kept == ()


def test_the_same_version_again_keeps_the_previous_one() -> None:
    assert after("changed", before=("2",), to="2").by_component["rules"].previous == "0"


def test_a_first_install_has_no_previous_version() -> None:
    assert after("changed", before=()).by_component["rules"].previous == ""


@pytest.mark.parametrize("status", ["stale", "skipped"])
def test_a_client_that_was_left_alone_has_what_it_answered(status: str) -> None:
    assert after(status, version="3", digest="d").by_component["rules"] == Installed("rules", "3", "d")


def test_a_client_that_failed_has_what_it_had() -> None:
    assert after("failed", version="1").by_component["rules"].version == "1"


def test_of_a_client_that_was_never_seen_nothing_is_known_afterwards() -> None:
    task = Task(CLIENT, steps(change()), None)
    assert profile_after(result_with(task, Outcome("rules", "changed", "2", "d")), BASIS) is None


# --- incrementals ---------------------------------------------------------------------------------------------------


BIG = {version: b"".join(b"%s %05d\n" % (version.encode(), n // 3) for n in range(2000)) for version in ("1", "2", "3")}
LARGE = {version: make_release("rules", version, {"data": BIG[version], "same": b"s"}) for version in BIG}


class Server:
    """Releases and incrementals of a store, and clients that get them."""

    def __init__(self) -> None:
        self.content = {
            describe(name, data).sha256: data for v in BIG for name, data in (("data", BIG[v]), ("same", b"s"))
        }
        self.incrementals: list[Any] = []

    def incremental(self, before: Any, to: Any, codec: Any = "zstd", *, broken: Any = False) -> str:
        """Make an incremental; a broken one is for another old file."""
        old = (BIG[before][::-1] if broken else BIG[before]) if before else b""
        patch = CODECS[codec].make(old, BIG[to], level=9)
        described = describe("data", patch)
        self.content[described.sha256] = patch
        made = Patch("data", described.size, described.sha256, codec, "data" if before else "", len(BIG[to]))
        start = LARGE[before].digest if before else ""
        kept = (Kept("same", "same"),) if before else ()
        patches = (made,)
        if not before:
            packed = CODECS["gzip"].make(b"", b"s", level=6)
            small = describe("same", packed)
            self.content[small.sha256] = packed
            patches = (made, Patch("same", small.size, small.sha256, "gzip", "", 1))  # type: ignore[assignment]
        entry = Incremental(
            component="rules",
            platform="any",
            from_version=before,
            from_digest=start,
            to_version=to,
            to_digest=LARGE[to].digest,
            codec=codec,
            patches=patches,
            kept=kept,
        )
        self.incrementals.append(entry)
        return entry.name

    @contextmanager
    def open(self, sha256: Any) -> Iterator[Any]:
        yield BytesIO(self.content[sha256])

    def client(self, version: Any, **more: Any) -> FakeClient:
        made = FakeClient(**more)
        if version:
            files = {"data": BIG[version], "same": b"s"}
            made.components["rules"] = FakeComponent(
                version, layout=LAYOUT.fingerprint, versions={version: files}, promised={version: LARGE[version].files}
            )
        return made

    def change(self, before: Any, to: Any, *path: Any) -> Any:
        start = LARGE[before].digest if before else ""
        return Deploy(
            "rules", "g", before, start, to, LARGE[to].digest, "any", "outdated", 1, ("c1",), 1, 2, path=tuple(path)
        )

    def deployer(self, *clients: Any) -> Deployer:
        transport = FakeTransport({f"pc-{at}": there for at, there in enumerate(clients)})
        reach = Reach(lambda _group: transport, Event())
        return Deployer(SPEC, BASIS, reach, self)

    def tasks(self, planned: Deploy, *clients: FakeClient, held: str = "123") -> Iterator[Task]:
        stepper = Stepper(SPEC, {LARGE[v].digest: LARGE[v] for v in held}, self.incrementals)
        for at, there in enumerate(clients):
            yield Task(Client(f"pc-{at}", "g", install_root="/r"), stepper.steps((planned,)), there.profile())

    def deploy(self, planned: Any, *clients: Any, held: str = "123") -> Any:
        deployer = self.deployer(*clients)
        return [deployer(task) for task in self.tasks(planned, *clients, held=held)]


def test_a_client_gets_the_patch_and_nothing_else() -> None:
    server = Server()
    there = server.client("1", tools=("zstd",))
    name = server.incremental("1", "2")
    (result,) = server.deploy(server.change("1", "2", name), there)
    assert [outcome.status for outcome in result.outcomes] == ["changed"]
    assert result.bytes_sent == server.incrementals[0].size < 2000
    assert there.content("rules") == {"data": BIG["2"], "same": b"s"}
    assert result.fallbacks == frozenset()


def test_a_way_over_two_incrementals_goes_in_one_request() -> None:
    server = Server()
    there = server.client("1", tools=("zstd", "bspatch"))
    names = server.incremental("1", "2", "bsdiff"), server.incremental("2", "3")
    (result,) = server.deploy(server.change("1", "3", *names), there, held="13")
    assert there.content("rules")["data"] == BIG["3"]
    assert there.calls["deploy"] == 1
    assert result.bytes_sent == sum(entry.size for entry in server.incrementals)


def test_a_packed_full_serves_a_client_that_has_nothing_or_something() -> None:
    server = Server()
    name = server.incremental("", "2", "gzip")
    for version in ("", "1"):
        there = server.client(version)
        (result,) = server.deploy(server.change(version, "2", name), there)
        assert [outcome.status for outcome in result.outcomes] == ["changed"]
        assert there.content("rules") == {"data": BIG["2"], "same": b"s"}


def test_a_patch_that_fails_is_answered_with_the_full_on_the_same_connection() -> None:
    server = Server()
    there = server.client("1", tools=("zstd",))
    name = server.incremental("1", "2", broken=True)
    (result,) = server.deploy(server.change("1", "2", name), there)
    assert [outcome.status for outcome in result.outcomes] == ["changed"]
    assert there.content("rules")["data"] == BIG["2"]
    assert (there.calls["connect"], there.calls["deploy"]) == (1, 2)
    assert result.fallbacks == {"rules"}
    assert result.bytes_sent <= server.incrementals[0].size + LARGE["2"].size


def test_a_client_without_the_tool_after_all_gets_the_full_too() -> None:
    server = Server()
    there = server.client("1")
    (result,) = server.deploy(server.change("1", "2", server.incremental("1", "2")), there)
    assert there.content("rules")["data"] == BIG["2"]
    assert result.fallbacks == {"rules"}


def test_an_incremental_that_fails_everywhere_is_not_tried_on_the_whole_fleet() -> None:
    server = Server()
    fleet = [server.client("1", tools=("zstd",)) for _ in range(DISTRUST + 2)]
    name = server.incremental("1", "2", broken=True)
    results = server.deploy(server.change("1", "2", name), *fleet)
    assert [there.calls["deploy"] for there in fleet] == [2] * DISTRUST + [1, 1]
    assert all(there.content("rules")["data"] == BIG["2"] for there in fleet)
    assert [bool(result.fallbacks) for result in results] == [True] * DISTRUST + [False] * 2


def test_an_incremental_that_worked_once_stays_trusted() -> None:
    server = Server()
    fleet = [server.client("1", tools=("zstd",)), *(server.client("1") for _ in range(DISTRUST + 1))]
    fleet.append(server.client("1", tools=("zstd",)))
    server.deploy(server.change("1", "2", server.incremental("1", "2")), *fleet)
    assert fleet[-1].calls["deploy"] == 1


def test_a_stale_client_below_the_release_gets_the_full() -> None:
    server = Server()
    there = server.client("2", tools=("zstd",))
    (result,) = server.deploy(server.change("1", "3", server.incremental("1", "3")), there)
    assert [outcome.status for outcome in result.outcomes] == ["changed"]
    assert there.content("rules")["data"] == BIG["3"]


@pytest.mark.parametrize("way", ["gone", "for another release", "broken off"])
def test_where_the_planned_way_is_not_there_the_full_is_sent(way: Any) -> None:
    server = Server()
    there = server.client("1", tools=("zstd",))
    if way == "for another release":
        path = (server.incremental("2", "3"),)
    elif way == "broken off":
        path = (server.incremental("1", "2"), "2..3/zstd")  # type: ignore[assignment]
    else:
        path = ("1..3/zstd",)
    (result,) = server.deploy(server.change("1", "3", *path), there)
    assert there.content("rules")["data"] == BIG["3"]
    assert result.bytes_sent == len(BIG["3"])  # `same` is kept


def test_a_fallback_is_counted_in_the_recap_and_what_it_cost_is_not_saved() -> None:
    server = Server()
    good, bad = server.client("1", tools=("zstd",)), server.client("1")
    results = server.deploy(server.change("1", "2", server.incremental("1", "2")), good, bad)
    tally = Tally(["g"])
    for result in results:
        tally.add(result)
    report = tally.report("r", PLAN, NOW, NOW, interrupted=False)
    assert (report.fallbacks, report.recap["g"]["changed"]) == (1, 2)
    assert report.bytes_saved == LARGE["2"].size - server.incrementals[0].size
