"""The API: what it gives is what its description says, and whatever is wrong is said as JSON."""

from __future__ import annotations

import hashlib
import json
import re
import shlex
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

from reconciler.console.api import routes
from reconciler.console.api.wishes import MOST
from reconciler.console.frame import Person
from reconciler.model.controller import ControllerReport, RunProgress
from reconciler.model.report import JournalEntry, JournalOutcome
from reconciler.model.rollout import Approval
from reconciler.storage.outcomes import Fared
from reconciler.storage.state import State
from tests import shown
from tests.console import NOW, SOMEBODY, Answer, ask, console_app
from tests.door import Door
from tests.pages import marked

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.pages import Example

FOLDER = Path(__file__).parents[2] / "schema"
HOME = "https://updoser.invalid/schema/"
WHOLE: Any = yaml.safe_load((FOLDER / "openapi.yaml").read_text(encoding="utf-8"))
API = "/api/v1"
VIEWER = Person(who="eve", roles=frozenset(["viewer"]))
OPERATOR = Person(who="otto", roles=frozenset(["operator"]))
TARGET = {"component": "engine", "version": "5"}
APPROVAL = {"kind": "approve", **TARGET, "seen": "5" * 16}


def registry() -> Registry[Any]:
    found: Registry[Any] = Registry().with_resource(
        f"{HOME}openapi.yaml", Resource.from_contents(WHOLE, default_specification=DRAFT202012)
    )
    for path in FOLDER.glob("*.schema.json"):
        resource = Resource.from_contents(json.loads(path.read_text(encoding="utf-8")))
        found = found.with_resource(f"{HOME}{path.name}", resource)
    return found


REGISTRY = registry()


def fitting(schema: Any, value: Any) -> None:
    """Hold a value to a schema that stands in the description."""
    Draft202012Validator(_based(schema), registry=REGISTRY).validate(value)


def _based(node: Any) -> Any:
    """Give a schema with references from its home on."""
    if isinstance(node, list):
        return [_based(one) for one in node]
    if not isinstance(node, dict):
        return node
    found = {key: _based(value) for key, value in node.items()}
    if isinstance(found.get("$ref"), str):
        home = f"{HOME}openapi.yaml" if node["$ref"].startswith("#") else HOME
        found["$ref"] = home + node["$ref"]
    return found


def operations() -> Iterator[tuple[str, str, Any]]:
    for path, methods in WHOLE["paths"].items():
        for method, operation in methods.items():
            yield path, method, operation


def of_reference(node: Any) -> Any:
    while "$ref" in node:
        found = WHOLE
        for part in node["$ref"].removeprefix("#/").split("/"):
            found = found[part]
        node = found
    return node


@pytest.fixture
def state(tmp_path: Path) -> Iterator[State]:
    with State.open(f"sqlite:///{tmp_path}/state.db", clock=lambda: NOW) as state:
        yield state


def fill(state: State) -> None:
    """Put something of everything into a state."""
    whole = shown.status()
    state.keep_snapshots("status", {"": {**whole, "groups": []}})
    state.keep_snapshots("group", {one["group"]: one for one in whole["groups"]})
    state.keep_snapshots("plan", {"": {**shown.plan(), "members": {}}})
    state.keep_snapshots("desired", {"": {"format_version": "1.0", "components": []}})
    step = shown.rollout("rules", "halted", "1 of 3 failed")
    state.record_rollout(replace(step.record, approved=(Approval(1, "ann", NOW),)))
    for number in range(3):
        state.record_rollout(replace(step.record, version=f"1.{number}", status="done"))
    state.record_rollout(replace(step.record, component="engine", version="5", status="running"))
    state.record_fared([("pc-1", Fared(step.record.key, "no room", "machine"))])
    for number in range(1, 4):
        began = NOW + timedelta(minutes=number)
        state.begin_run(f"r{number}", "p", "apply", began, {"user": "ann"})
        outcomes: tuple[JournalOutcome, ...] = ("changed", "failed", "ok")
        state.journal(
            f"r{number}", [JournalEntry(client="pc-1", component="rules", outcome=one, at=NOW) for one in outcomes]
        )
    state.end_run("r1", "failed", shown.report(), NOW)
    state.report_controller(ControllerReport(who="ann", phase="sleeping", mode="apply", since=NOW))
    state.report_progress(RunProgress(run_id="r", command="apply", started=NOW, clients=7, finished=3))


@pytest.fixture
def app(state: State) -> Any:
    fill(state)
    return console_app(state)


def post(app: Any, body: Any, **headers: str) -> Answer:
    sent = body if isinstance(body, bytes) else json.dumps(body).encode()
    given_headers = {
        "content-type": "application/json",
        **{key.replace("_", "-"): value for key, value in headers.items()},
    }
    return ask(app, f"{API}/requests", method="POST", headers=given_headers, body=sent)


def said(answer: Answer, status: int) -> Any:
    """Give what a problem says."""
    assert answer.status == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    found = json.loads(answer.body)
    fitting(WHOLE["components"]["schemas"]["Problem"], found)
    assert found["status"] == status
    return found


# --- the description --------------------------------------------------------------------------------------------------


def test_all_that_is_answered_is_described_and_nothing_else() -> None:
    answered = {
        (re.sub(r":\w+}", "}", route.path).removeprefix(API), method.lower())
        for route in routes.ROUTES
        for method in (route.methods or ()) - {"HEAD"}
    }
    assert answered == {(path, method) for path, method, _operation in operations()}


def test_parameters_are_described_as_they_are_read() -> None:
    described = {}
    for path, method, operation in operations():
        found = [of_reference(one) for one in operation.get("parameters", ())]
        assert {one["name"] for one in found if one["in"] == "path"} == set(re.findall(r"{(\w+)}", path))
        if method == "get":
            described[path] = {
                one["name"]: one["schema"].get("default")
                for one in found
                if one["in"] == "query" and not one.get("explode")  # these stand for many names
            }
    assert {path: names for path, names in described.items() if names} == {
        path: {one.name: None if one.default == () else one.default for one in params}
        for path, params in routes.PARAMETERS.items()
    }


def test_every_operation_says_what_it_does_and_what_comes_back() -> None:
    names = [operation["operationId"] for _path, _method, operation in operations()]
    assert len(set(names)) == len(names)
    for path, method, operation in operations():
        assert operation["summary"], path
        assert {"default", "202" if method == "post" else "200"} <= operation["responses"].keys()


def media(node: Any) -> Iterator[Any]:
    """Give all that has a schema and examples beside it."""
    if isinstance(node, list):
        for one in node:
            yield from media(one)
    elif isinstance(node, dict):
        if "schema" in node:
            yield node
        for one in node.values():
            yield from media(one)


def test_every_example_fits_its_schema_and_every_schema_is_one() -> None:
    checked = 0
    for one in media(WHOLE):
        Draft202012Validator.check_schema(_based(one["schema"]))
        values = [one["example"]] if "example" in one else []
        values += [each["value"] for each in one.get("examples", {}).values()]
        for value in (*values, *one["schema"].get("examples", ())):
            fitting(one["schema"], value)
            checked += 1
    for schema in WHOLE["components"]["schemas"].values():
        for value in schema.get("examples", ()):
            fitting(schema, value)
            checked += 1
    assert checked > 15


def references(node: Any) -> Iterator[str]:
    if isinstance(node, list):
        for one in node:
            yield from references(one)
    elif isinstance(node, dict):
        for key, value in node.items():
            if key == "$ref":
                yield value
            else:
                yield from references(value)


def test_every_reference_leads_somewhere_also_for_who_got_the_description_over_http(app: Any) -> None:
    assert json.loads(ask(app, f"{API}/openapi.json").body) == WHOLE
    for reference in sorted(set(references(WHOLE))):
        file, _hash, inside = reference.partition("#")
        found = json.loads(ask(app, f"{API}/{file}").body) if file else WHOLE
        for part in filter(None, inside.split("/")):
            found = found[part]


# --- what is given ----------------------------------------------------------------------------------------------------

ASKED = {
    "/groups/{name}": ["/groups/office"],
    "/components/{id}": ["/components/rules"],
    "/rollouts/{component}/{version}": ["/rollouts/rules/2", "/rollouts/rules/1.0"],
    "/requests/{id}": ["/requests/1"],
    "/runs": ["/runs", "/runs?status=done,running&who=ann&command=app&limit=1"],
    "/runs/{id}": ["/runs/r1", "/runs/r2"],
    "/runs/{id}/entries": ["/runs/r1/entries", "/runs/r1/entries?outcome=failed&client=pc-1&component=rules&limit=1"],
    "/{name}.schema.json": ["/status.schema.json"],
    "/status": ["/status", "/status?groups=true"],
    "/rollouts": ["/rollouts", "/rollouts?over=true&limit=2"],
}


PATHS = [path for path, method, _operation in operations() if method == "get" and not path.startswith("/clients")]


@pytest.mark.parametrize("path", PATHS)
def test_each_document_is_as_its_schema_says_and_is_not_sent_again_to_who_has_it(app: Any, path: str) -> None:
    post(app, APPROVAL)
    schema = WHOLE["paths"][path]["get"]["responses"]["200"]["content"]["application/json"]["schema"]
    for asked in ASKED.get(path, [path]):
        answer = ask(app, API + asked)
        assert answer.status == 200, answer.text
        assert answer.headers["content-type"] == "application/json"
        fitting(schema, json.loads(answer.body))
        tag = answer.headers["etag"]
        for known in (tag, f'"other", W/{tag}', "*"):
            again = ask(app, API + asked, headers={"if-none-match": known})
            assert (again.status, again.body, again.headers["etag"]) == (304, b"", tag)
        assert ask(app, API + asked, headers={"if-none-match": '"other"'}).status == 200
        head = ask(app, API + asked, method="HEAD")
        assert (head.status, head.body) == (200, b"")
        assert head.headers["content-length"] == str(len(answer.body))


def test_a_status_has_its_groups_where_they_are_asked_for(app: Any) -> None:
    assert json.loads(ask(app, f"{API}/status").body)["groups"] == []
    whole = json.loads(ask(app, f"{API}/status?groups=true").body)
    assert whole == shown.status()


def test_before_the_controller_looked_there_is_nothing_and_what_to_do_is_said(state: State) -> None:
    bare = console_app(state)
    for path in ("status", "plan", "components", "sources", "desired", "rollouts", "clients", "clients/pc-1"):
        assert "updoser run" in said(ask(bare, f"{API}/{path}"), 404)["hint"]
    assert json.loads(ask(bare, f"{API}/controller").body)["controller"] is None


def test_pages_lead_through_all_of_a_list_and_end(app: Any) -> None:
    for _each in range(5):
        post(app, {"kind": "look"})
    lists = [
        ("requests?limit=2", "requests", "id"),
        ("rollouts?over=true&limit=1", "rollouts", "version"),
        ("runs?limit=1", "runs", "run_id"),
        ("runs/r1/entries?limit=2", "entries", "id"),
    ]
    for first, name, key in lists:
        seen, following = [], f"{API}/{first}"
        while following:
            answer = ask(app, following)
            found = json.loads(answer.body)
            seen += [entry[key] for entry in found[name]]
            following = found["next"]
            assert answer.headers.get("link") == (f'<{following}>; rel="next"' if following else None)
        assert seen == sorted(set(seen), reverse=True)
        assert len(seen) == (5 if name == "requests" else 3)


def test_a_rollout_says_how_it_came_to_where_it_is_and_who_failed(app: Any) -> None:
    found = json.loads(ask(app, f"{API}/rollouts/rules/2").body)
    assert [move["status"] for move in found["moves"]] == ["halted"]
    assert found["failures"] == [{"client": "pc-1", "fault": "machine", "message": "no room"}]
    assert [one["who"] for one in found["approved"]] == ["ann"]


# --- what is wrong ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "status", "part"),
    [
        ("/nonsense", 404, "openapi.json"),
        ("/groups/ofice", 404, "did you mean `office`?"),
        ("/components/rulez", 404, "did you mean `rules`?"),
        ("/rollouts/rules/9", 404, "/api/v1/rollouts"),
        ("/requests/9", 404, "/api/v1/requests"),
        ("/requests/nine", 404, "/api/v1/requests"),
        ("/updoser-x.schema.json", 404, "status"),
        ("/runs/r9", 404, "/api/v1/runs"),
        ("/runs/r9/entries", 404, "/api/v1/runs"),
        ("/runs?status=done,odd", 400, "'odd' isn't one of running"),
        ("/status?group=true", 400, "groups"),
        ("/status?groups=1", 400, "neither true nor false"),
        ("/status?groups=true&groups=true", 400, "twice"),
        ("/requests?limit=0", 400, "1 to 1000"),
        ("/requests?limit=%D9%A3", 400, "1 to 1000"),
        ("/requests?before=", 400, "before"),
        ("/rollouts?over=true&after=x", 400, "after"),
        ("/groups/a%00b", 404, "nothing that there could be"),
    ],
)
def test_what_is_asked_wrongly_is_told_with_what_to_do(app: Any, path: str, status: int, part: str) -> None:
    found = said(ask(app, API + path), status)
    assert part in f"{found['error']} {found.get('hint', '')}"


def test_what_an_address_does_not_take_is_refused_as_json(app: Any) -> None:
    answer = ask(app, f"{API}/status", method="DELETE")
    said(answer, 405)
    assert set(answer.headers["allow"].split(", ")) == {"GET", "HEAD"}
    assert set(ask(app, f"{API}/requests", method="PUT").headers["allow"].split(", ")) == {"GET", "HEAD", "POST"}


@pytest.mark.parametrize(
    ("accept", "status"),
    [
        ("*/*", 200),
        ("application/json", 200),
        ("text/html, application/*;q=0.5", 200),
        ("text/html", 406),
        ("application/json;q=0, text/html", 406),
    ],
)
def test_who_takes_no_json_gets_none(app: Any, accept: str, status: int) -> None:
    assert ask(app, f"{API}/status", headers={"accept": accept}).status == status


def test_who_is_no_viewer_sees_nothing_but_what_came_of_what_they_asked(state: State) -> None:
    fill(state)
    app, others = console_app(state, OPERATOR), console_app(state)
    for path in ("status", "requests", "controller"):
        assert "viewer" in said(ask(app, f"{API}/{path}"), 403)["error"]
    mine, theirs = post(app, {"kind": "look"}), post(others, {"kind": "look"})
    assert ask(app, mine.headers["location"]).status == 200
    assert said(ask(app, theirs.headers["location"]), 403)


def test_whatever_is_asked_the_answer_is_json_and_no_failure(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("state")
    with State.open(f"sqlite:///{folder}/state.db", clock=lambda: NOW) as state:
        fill(state)
        app = console_app(state)

        @given(
            st.sampled_from([*routes.PARAMETERS, "/status", "/plan", "/groups/x"]),
            st.text(max_size=20),
            st.text(max_size=40),
        )
        def try_one(path: str, name: str, value: str) -> None:
            query = "&".join(f"{key}={value}".encode("utf-8", "replace").hex() for key in (name, "limit"))
            answer = ask(app, API + re.sub(r"{\w+}", "rules", path) + "?" + re.sub("(..)", r"%\1", query))
            assert answer.status in {200, 400, 404}
            json.loads(answer.body)

        try_one()


@pytest.mark.parametrize("shown_there", marked("run:api"), ids=str)
def test_what_the_page_shows_is_answered(state: State, shown_there: Example) -> None:
    fill(state)
    door = Door(state, lambda: NOW)
    door.access.digests[hashlib.sha256(b"secret").digest()] = "build", ("viewer", "operator", "approver")
    for line in shown_there.text.splitlines():
        words = shlex.split(line.replace("$TOKEN", "secret").replace("$CONSOLE", "http://127.0.0.1:8484"))
        assert words.pop(0) == "curl"
        headers, body = {}, b""
        while words[0].startswith("-"):
            option, value = words.pop(0), words.pop(0)
            if option == "-d":
                body = value.encode()
            else:
                name, _colon, text = value.partition(": ")
                headers[name.lower()] = text
        path = words.pop().removeprefix("http://127.0.0.1:8484")
        answer = door.ask(path, method="POST" if body else "GET", headers=headers, body=body)
        assert answer.status == (202 if body else 200), f"{line}: {answer.text}"


# --- what is asked of the controller ----------------------------------------------------------------------------------


def test_what_is_asked_is_taken_down_and_wakes_the_controller(app: Any, state: State) -> None:
    before = state.asked()
    digest = json.loads(ask(app, f"{API}/rollouts/engine/5").body)["digest"]
    answer = post(app, {**APPROVAL, "reason": " fine ", "seen": digest})
    assert answer.status == 202
    fitting({"$ref": "request.schema.json"}, json.loads(answer.body))
    assert state.asked() == before + 1
    [made] = state.open_requests()
    assert (made.who, made.kind, made.target.component, made.reason, made.seen) == (
        "ann",
        "approve",
        "engine",
        "fine",
        digest,
    )
    assert json.loads(ask(app, answer.headers["location"]).body)["status"] == "waiting"
    state.settle(made.id, "done", "wave 2 is approved")
    assert json.loads(ask(app, answer.headers["location"]).body)["says"] == "wave 2 is approved"


def test_a_pause_of_the_controller_ends_when_it_is_said_to(app: Any, state: State) -> None:
    until = NOW + timedelta(hours=6)
    body = {"kind": "pause_controller", "until": f"{until:%Y-%m-%dT%H:%M:%SZ}", "reason": "freeze"}
    assert post(app, body).status == 202
    assert state.open_requests()[0].target.until == until
    assert "over" in said(post(app, {**body, "until": "2026-11-29T12:00:00Z"}), 400)["error"]
    assert said(post(app, {**body, "until": "2026-13-29T12:00:00Z"}), 422)["where"] == "until"


def test_who_sends_a_request_again_under_its_key_gets_the_one_that_is_there(app: Any, state: State) -> None:
    answers = [post(app, APPROVAL, idempotency_key="k1") for _each in range(3)]
    assert len({answer.headers["location"] for answer in answers}) == 1
    assert len(state.open_requests()) == 1
    assert said(post(app, {"kind": "look"}, idempotency_key="k1"), 422)["where"] == "Idempotency-Key"
    state.record_rollout(replace(state.rollouts()["engine", "5", ""], status="aborted"))
    assert post(app, APPROVAL, idempotency_key="k1").headers["location"] == answers[0].headers["location"]
    assert post(app, {"kind": "look"}, idempotency_key="k2").headers["location"] != answers[0].headers["location"]
    said(post(app, APPROVAL, idempotency_key="k" * 201), 400)


@pytest.mark.parametrize(
    ("person", "kind", "status"),
    [
        (VIEWER, "look", 403),
        (VIEWER, "approve", 403),
        (OPERATOR, "look", 202),
        (OPERATOR, "approve", 403),
        (Person(who="ada", roles=frozenset(["approver"])), "approve", 202),
        (Person(who="ada", roles=frozenset(["approver"])), "look", 403),
        (SOMEBODY, "approve", 202),
    ],
)
def test_roles_are_as_on_the_pages(state: State, person: Person, kind: str, status: int) -> None:
    fill(state)
    body = APPROVAL if kind == "approve" else {"kind": kind}
    assert post(console_app(state, person), body).status == status
    assert len(state.open_requests()) == (status == 202)


@pytest.mark.parametrize(
    ("body", "status", "part"),
    [
        (b"{", 400, "no JSON"),
        (b"\xff", 400, "no JSON"),
        (b"[" * 100_000 + b"]" * 100_000, 413, "bytes"),
        (b"[" * 20_000 + b"]" * 20_000, 400, "nested"),
        (b"1" * (MOST + 1), 413, str(MOST)),
        ([], 422, "object"),
        ({}, 422, "kind"),
        ({"kind": "reboot"}, 422, "reboot"),
        ({"kind": "approve"}, 422, "component"),
        ({"kind": "look", "component": "rules"}, 422, "rules"),
        ({"kind": "pause", **TARGET}, 422, "reason"),
        ({"kind": "pause", **TARGET, "reason": "  "}, 422, "reason"),
        ({**APPROVAL, "seen": "x"}, 422, "x"),
        ({**APPROVAL, "seen": None}, 422, "seen"),
        ({**APPROVAL, "version": "6"}, 404, "engine 6"),
        ({"kind": "resume", **TARGET, "reason": "x", "seen": "5"}, 409, "nothing to resume"),
        ({**APPROVAL, "reason": "a\0b"}, 422, "NUL"),
        ({**APPROVAL, "sort": 1}, 422, "sort"),
        ({**APPROVAL, "reason": "x" * 2001}, 422, "maxLength"),
    ],
)
def test_what_is_no_request_is_refused_and_nothing_is_written_down(
    app: Any, state: State, body: Any, status: int, part: str
) -> None:
    found = said(post(app, body), status)
    assert part in f"{found['error']} {found.get('where')}"
    assert state.open_requests() == []


def test_what_is_sent_as_a_form_is_refused(app: Any) -> None:
    for kind in ("text/plain", "application/x-www-form-urlencoded", ""):
        said(post(app, APPROVAL, content_type=kind), 415)
