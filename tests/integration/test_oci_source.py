"""Artifacts of registries, Debian's and one of ours: what becomes of them, and what goes wrong between them and us."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from reconciler.contracts import OwnMemory
from reconciler.errors import SourceError
from reconciler.formats import cosign
from reconciler.formats.minisign import new_secret_key, prehash, sign
from reconciler.model.network import Proxy
from reconciler.model.release import ReleaseFile
from reconciler.model.secret import SecretRef
from reconciler.model.spec import PluginConfig, SourceSpec
from reconciler.observe.upstream import read_sources
from reconciler.plugins.source import oci
from reconciler.plugins.source._oci import registry as oci_registry
from reconciler.web import stream
from tests.cosign_signer import Signer
from tests.fakes import fake_context, make_component, make_plugin
from tests.oci_registry import Pusher, StandIn, debian_registry, digest_of, tar_gz
from tests.servers import Odd, part, squid

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from contextlib import ExitStack
    from pathlib import Path

    from reconciler.model.offer import SourceReport
    from reconciler.model.release import Release

NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)
RULES = {"rules": make_component("rules", scheme="dotted")}
DATED = {"rules": make_component("rules", scheme="calver")}
WHERE = "falcosecurity/rules/falco-rules"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
BIG = hashlib.shake_128(b"big").digest(2_500_000)
SECRETS = {"WORD": "hunter2-secret", "KEY": "api-key-secret"}
WORD = SecretRef("env", "WORD")
API_KEY = {"X-Api-Key": SecretRef("env", "KEY")}
OURS, THEIRS = Signer(), Signer()
VERIFY = [{"cosign": {"key": "ours.pub"}}]


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "PAUSE", 0.01)
    monkeypatch.setattr(stream, "LONGEST_PAUSE", 0.02)


@pytest.fixture
def registry() -> Iterator[StandIn]:
    with StandIn() as made:
        yield made


@pytest.fixture
def push(registry: StandIn) -> Pusher:
    return Pusher(registry.host)


class Look:
    """A source as a run has it. Options that aren't of the source as a whole are those of its component."""

    def __init__(
        self,
        folder: Path,
        host: str,
        *,
        now: datetime = NOW,
        proxy: Proxy | None = None,
        memory: OwnMemory | None = None,
        **options: Any,
    ) -> None:
        (folder / "ours.pub").write_bytes(OURS.pem)
        (folder / "theirs.pub").write_bytes(THEIRS.pem)
        whole = {key: options.pop(key) for key in oci.OPTIONS["properties"] if key in options}
        component = {"repository": WHERE, **options}
        context = fake_context(folder, now=now, secrets=SECRETS, proxy=proxy)
        context = replace(context, memory=memory or context.memory)
        self.source: Any = make_plugin(
            oci, {"registry": host, "insecure": True, "components": {"rules": component}, **whole}, context
        )

    def report(self, components: Any = None) -> SourceReport:
        spec = SourceSpec("vendor", PluginConfig("source", "oci"), signed=bool(self.source.trusted()))
        (answer,) = read_sources([(spec, self.source)], components or RULES)
        return answer

    def releases(self, components: Any = None) -> dict[str, Release]:
        report = self.report(components)
        assert (report.error, report.problems) == ("", ())
        return {release.version: release for release in report.releases}

    def release(self, components: Any = None) -> Release:
        (found,) = self.releases(components).values()
        return found

    def problem(self) -> str:
        (found,) = self.report().problems
        return found

    def content(self, release: Release, *, attached: bool = False) -> dict[str, bytes]:
        """Read the files of a release, which must be what was promised."""
        found = {}
        for file in release.attached if attached else release.files:
            with self.source.open(release, file) as opened:
                found[file.name] = opened.read()
            assert ReleaseFile(file.name, len(found[file.name]), hashlib.sha256(found[file.name]).hexdigest()) == file
        return found


# --- what there is ----------------------------------------------------------------------------------------------------


def test_tags_are_versions_and_layers_files_known_exactly_before_anything_is_downloaded(
    registry: StandIn, push: Pusher, tmp_path: Path
) -> None:
    for version in ("1.0.0", "1.1.0", "1.2.0", "1.3.0", "1.3", "1", "latest"):
        push.artifact(WHERE, version, {"a.rules": version.encode(), "b.rules": b"same"})
    look = Look(tmp_path, registry.host)
    found = look.releases()
    assert sorted(found) == ["1.1.0", "1.2.0", "1.3.0"]
    assert registry.asked("GET", "/blobs/") == 0
    assert look.content(found["1.2.0"]) == {"a.rules": b"1.2.0", "b.rules": b"same"}


def test_a_look_that_finds_nothing_new_asks_for_tags_and_their_digests_only(
    registry: StandIn, push: Pusher, tmp_path: Path
) -> None:
    made = push.artifact(WHERE, "1.0.0", {"a.rules": b"one"})
    push.sign(WHERE, made, OURS)
    before = Look(tmp_path, registry.host, verify=VERIFY).report()
    registry.seen.clear()
    assert Look(tmp_path, registry.host, verify=VERIFY).report() == before
    asked = [(method, path.rpartition("/")[2]) for method, path, _headers in registry.seen if "token" not in path]
    signatures = cosign.signature_tag(digest_of(made))
    assert asked == [("GET", "list?n=1000")] * 2 + [("HEAD", "1.0.0"), ("HEAD", signatures)]


@pytest.mark.needs("docker-registry")
def test_a_registry_of_debian_that_wants_a_password(tmp_path: Path) -> None:
    with debian_registry(tmp_path / "registry", user="joe", password=SECRETS["WORD"]) as host:
        push = Pusher(host, "joe", SECRETS["WORD"])
        for number in range(3):
            made = push.artifact(WHERE, f"1.{number}.0", {"a.rules": BIG})
            push.refer(WHERE, made, OURS.message(made), tagged=True)
        look = Look(tmp_path, host, username="joe", password=WORD, verify=VERIFY)
        found = look.releases()
        assert sorted(found) == ["1.0.0", "1.1.0", "1.2.0"]
        assert look.content(found["1.1.0"]) == {"a.rules": BIG}
        with look.source.open(found["1.1.0"], found["1.1.0"].files[0]) as opened:
            opened.seek(2_000_000)
            assert opened.read() == BIG[2_000_000:]
        assert "wants a user and password" in Look(tmp_path, host).report().error
        assert "wants another user and password" in Look(tmp_path, host, username="jim", password=WORD).report().error


def test_an_artifact_for_several_platforms_is_a_release_for_each(
    registry: StandIn, push: Pusher, tmp_path: Path
) -> None:
    made = {
        platform: push.artifact(WHERE, "", {"plugin.so": platform.encode()})
        for platform in ("linux/amd64", "linux/arm64", "unknown/unknown")
    }
    push.sign(WHERE, push.index(WHERE, "1.0.0", made), OURS)
    look = Look(tmp_path, registry.host, verify=VERIFY)
    report = look.report()
    assert (report.problems, [entry.platform for entry in report.releases]) == ((), ["linux-aarch64", "linux-x86_64"])
    arm, _intel = report.releases
    assert look.content(arm) == {"plugin.so": b"linux/arm64"}
    along = look.content(arm, attached=True)
    assert sorted(along) == ["cosign-1.json", "cosign-1.sig", "oci-index.json", "oci-manifest.json"]
    assert along["oci-manifest.json"] == made["linux/arm64"]


def test_a_digest_says_which_artifact_a_version_is_whatever_its_tags(
    registry: StandIn, push: Pusher, tmp_path: Path
) -> None:
    made = push.artifact(WHERE, "1.0.0", {"a.rules": b"right"})
    push.artifact(WHERE, "1.0.0", {"a.rules": b"moved"})
    push.artifact(WHERE, "2.0.0", {"a.rules": b"two"})
    digests = {"1.0.0": digest_of(made)}
    look = Look(tmp_path, registry.host, digests=digests)
    assert look.content(look.release()) == {"a.rules": b"right"}
    assert registry.asked("GET", "/tags/list") == 0
    assert sorted(Look(tmp_path, registry.host, digests=digests, tags="*").releases()) == ["1.0.0", "2.0.0"]


def test_a_tag_that_moves_is_taken_only_when_asked_and_each_move_is_a_release(
    registry: StandIn, push: Pusher, tmp_path: Path
) -> None:
    push.artifact(WHERE, "latest", {"a.rules": b"one"})
    assert Look(tmp_path, registry.host).releases(DATED) == {}

    memory = OwnMemory()  # that of the state, which outlives each run

    def look(hours: int) -> tuple[str, bytes]:
        at = NOW + timedelta(hours=hours)
        made = Look(tmp_path, registry.host, floating=["latest"], now=at, memory=memory)
        release = made.release(DATED)
        return release.version[:18], made.content(release)["a.rules"]

    assert look(0) == look(1) == ("2026.11.29T120000+", b"one")
    push.artifact(WHERE, "latest", {"a.rules": b"two"})
    assert look(2) == look(3) == ("2026.11.29T140000+", b"two")


def test_a_tag_that_moves_has_the_version_that_its_artifact_says(
    registry: StandIn, push: Pusher, tmp_path: Path
) -> None:
    said = {"org.opencontainers.image.version": "1.2.0", "org.opencontainers.image.created": "2026-11-20T06:00:00Z"}
    push.artifact(WHERE, "latest", {"a.rules": b"one"}, annotations=said)
    release = Look(tmp_path, registry.host, floating=["latest"]).release()
    assert (release.version, release.released) == ("1.2.0", datetime(2026, 11, 20, 6, tzinfo=UTC))
    push.artifact(WHERE, "1.2.0", {"a.rules": b"another"})
    report = Look(tmp_path, registry.host, floating=["latest"]).report()
    assert [entry.sha256 for entry in report.releases[0].files] == [hashlib.sha256(b"another").hexdigest()]
    assert report.problems == (
        f"rules: {WHERE}:latest: it says that it is 1.2.0, whose own tag stands for something else",
    )


def test_a_tag_that_moves_and_can_have_no_version_is_told(registry: StandIn, push: Pusher, tmp_path: Path) -> None:
    push.artifact(WHERE, "latest", {"a.rules": b"one"})
    assert "is no version of the scheme dotted" in Look(tmp_path, registry.host, floating=["latest"]).problem()
    problem = Look(tmp_path, registry.host, floating=["edge"]).problem()
    assert problem == f"rules: {WHERE}:edge: there is no such tag"


def test_a_saved_plan_gets_what_it_was_made_of_though_the_tag_moved(
    registry: StandIn, push: Pusher, tmp_path: Path
) -> None:
    push.artifact(WHERE, "1.0.0", {"a.rules": b"one"})
    planned = Look(tmp_path, registry.host).release()
    push.artifact(WHERE, "1.0.0", {"a.rules": b"two"})
    assert Look(tmp_path, registry.host).content(planned) == {"a.rules": b"one"}


# --- fetched to be known ----------------------------------------------------------------------------------------------


def test_a_layer_that_is_unpacked_is_fetched_once(registry: StandIn, push: Pusher, tmp_path: Path) -> None:
    push.artifact(WHERE, "1.0.0", {"rules.tar.gz": tar_gz({"rules/falco.yaml": b"rule", "README": b"no"})})
    unpack = {"include": ["*.yaml"]}
    look = Look(tmp_path, registry.host, unpack=unpack)
    release = look.release()
    assert look.content(release) == Look(tmp_path, registry.host, unpack=unpack).content(release)
    assert look.content(release) == {"falco.yaml": b"rule"}
    Look(tmp_path, registry.host, unpack=unpack).releases()
    assert registry.asked("GET", "/blobs/") == 1
    other = Look(tmp_path, registry.host, unpack={}).release()
    assert sorted(file.name for file in other.files) == ["README", "falco.yaml"]


def test_what_is_larger_than_may_be_fetched_for_a_plan_is_fetched_when_it_is_asked_for(
    registry: StandIn, push: Pusher, tmp_path: Path
) -> None:
    content = tar_gz({"big.yaml": BIG})
    push.artifact(WHERE, "1.0.0", {"rules.tar.gz": content})
    options: Any = {"unpack": {}, "refresh_limit": "64KiB"}
    report = Look(tmp_path, registry.host, **options).report()
    (unfetched,) = report.unfetched
    assert (report.releases, unfetched.key, unfetched.size) == ((), ("rules", "1.0.0", "any"), len(content))
    assert registry.asked("GET", "/blobs/") == 0
    push.artifact(WHERE, "1.0.0", {"rules.tar.gz": tar_gz({"other.yaml": b"moved meanwhile"})})
    fetched = Look(tmp_path, registry.host, **options).source.fetch("rules", "1.0.0", "any")
    assert Look(tmp_path, registry.host, **options).content(fetched) == {"big.yaml": BIG}


def test_what_was_swept_out_of_quarantine_comes_again_for_a_plan_that_needs_it(
    registry: StandIn, push: Pusher, tmp_path: Path
) -> None:
    push.artifact(WHERE, "1.0.0", {"rules.tar.gz": tar_gz({"a.yaml": b"rule"})})
    release = Look(tmp_path, registry.host, unpack={}, refresh_limit="64KiB").release()
    for path in sorted((tmp_path / "work" / "quarantine").rglob("*"), reverse=True):
        if path.is_dir():
            path.rmdir()
        else:
            path.unlink()
    again = Look(tmp_path, registry.host, unpack={}, refresh_limit="0B")
    assert again.content(release) == {"a.yaml": b"rule"}


def test_two_layers_with_a_file_of_one_name_are_not_unpacked_together(
    registry: StandIn, push: Pusher, tmp_path: Path
) -> None:
    push.artifact(WHERE, "1.0.0", {"a.tar.gz": tar_gz({"x": b"1"}), "b.tar.gz": tar_gz({"x": b"2"})})
    assert "x is in a.tar.gz and in b.tar.gz" in Look(tmp_path, registry.host, unpack={}).problem()
    release = Look(tmp_path, registry.host, unpack={}, layer="b.*").release()
    assert [file.sha256 for file in release.files] == [hashlib.sha256(b"2").hexdigest()]


# --- who we are -------------------------------------------------------------------------------------------------------


def test_user_and_password_go_for_a_token_and_nowhere_else(tmp_path: Path) -> None:
    with StandIn(user="joe", password=SECRETS["WORD"]) as registry:
        Pusher(registry.host).artifact(WHERE, "1.0.0", {"a.rules": b"one"})
        look = Look(tmp_path, registry.host, username="joe", password=WORD)
        assert look.content(look.release()) == {"a.rules": b"one"}
        basic = [path for _method, path, headers in registry.seen if "Basic" in headers.get("Authorization", "")]
        assert basic
        assert all(path.startswith("/token?") for path in basic)
        error = Look(tmp_path, registry.host, username="jim", password=WORD).report().error
        assert f"gives this user no token for {WHERE} (HTTP 401)" in error
        assert "gives anybody no token" in Look(tmp_path, registry.host).report().error


def test_a_place_for_tokens_on_another_host_gets_the_password_only_when_it_is_named(tmp_path: Path) -> None:
    with StandIn(user="joe", password=SECRETS["WORD"], realm_host="localhost") as registry:
        Pusher(registry.host).artifact(WHERE, "1.0.0", {"a.rules": b"one"})
        login: Any = {"username": "joe", "password": WORD, "headers": API_KEY}
        assert "localhost, which is of another domain" in Look(tmp_path, registry.host, **login).report().error
        assert registry.asked("GET", "/token") == 0
        realm = f"http://localhost:{registry.port}/token"
        assert list(Look(tmp_path, registry.host, realm=realm, **login).releases()) == ["1.0.0"]
        for _method, path, headers in registry.seen:
            assert ("X-Api-Key" in headers) is not path.startswith("/token"), path


def test_a_token_that_runs_out_in_the_midst_of_a_file_is_got_again(
    registry: StandIn, push: Pusher, tmp_path: Path
) -> None:
    push.artifact(WHERE, "1.0.0", {"a.rules": BIG})
    look = Look(tmp_path, registry.host)
    release = look.release()

    def cut(_method: str, path: str, headers: Mapping[str, str]) -> Any:
        if "/blobs/" in path and "Range" not in headers:
            registry.forget_tokens()
            return 200, {"Content-Length": str(len(BIG)), "Connection": "close"}, BIG[:1_000_000]
        return None

    registry.twist = cut
    assert look.content(release) == {"a.rules": BIG}
    asked = [headers.get("Range", "") for _method, path, headers in registry.seen if "/blobs/" in path]
    assert asked == ["", "bytes=1000000-", "bytes=1000000-"]


def test_a_registry_that_refuses_every_token_is_not_asked_without_end(
    registry: StandIn, push: Pusher, tmp_path: Path
) -> None:
    push.artifact(WHERE, "1.0.0", {"a.rules": b"one"})
    look = Look(tmp_path, registry.host)
    release = look.release()
    refusal = {"WWW-Authenticate": f'Bearer realm="http://{registry.host}/token"'}
    registry.twist = lambda _method, path, _headers: None if "token" in path else (401, refusal, b"")
    assert "wants a user and password" in look.report().error
    with pytest.raises(SourceError, match="wants a user and password"):
        look.content(release)
    assert len(registry.seen) < 20


# --- what goes wrong on the way ---------------------------------------------------------------------------------------


def test_blobs_on_another_host_come_without_any_secret(
    registry: StandIn, push: Pusher, tmp_path: Path, stack: ExitStack
) -> None:
    push.artifact(WHERE, "1.0.0", {"a.rules": BIG})
    told: list[dict[str, str]] = []

    def network(path: str, asked: Mapping[str, str], _content: bytes | None) -> Any:
        told.append(dict(asked))
        content = registry.blobs[path.split("/")[1].partition("?")[0]]
        if len(told) == 1:
            return 200, {"Content-Length": str(len(content)), "Connection": "close"}, content[:900_000]
        return part(content, int(asked.get("Range", "bytes=0-")[6:-1]))

    other = stack.enter_context(Odd(tmp_path, network))
    registry.cdn = other.url.replace("127.0.0.1", "localhost")
    look = Look(tmp_path, registry.host, headers=API_KEY)
    assert look.content(look.release()) == {"a.rules": BIG}
    assert [asked.get("Range", "") for asked in told] == ["", "bytes=900000-"]
    assert not any({"Authorization", "X-Api-Key"} & asked.keys() for asked in told)


@pytest.mark.parametrize("begins", [0, 5, 2_000_000])
def test_a_part_that_begins_elsewhere_than_it_was_asked_for_spoils_nothing(
    registry: StandIn, push: Pusher, tmp_path: Path, begins: int
) -> None:
    push.artifact(WHERE, "1.0.0", {"a.rules": BIG})
    look = Look(tmp_path, registry.host)
    release = look.release()

    def odd(_method: str, path: str, headers: Mapping[str, str]) -> Any:
        if "/blobs/" not in path:
            return None
        if "Range" not in headers and registry.asked("GET", "/blobs/") < 2:
            return 200, {"Content-Length": str(len(BIG)), "Connection": "close"}, BIG[:1_000_000]
        return part(BIG, begins) if "Range" in headers else None

    registry.twist = odd
    assert look.content(release) == {"a.rules": BIG}


def test_a_registry_that_asks_for_a_pause_is_left_alone_by_the_next_run_too(
    registry: StandIn, push: Pusher, tmp_path: Path
) -> None:
    push.artifact(WHERE, "1.0.0", {"a.rules": b"one"})
    registry.twist = lambda *_asked: (429, {"Retry-After": "3600"}, b"")
    report = Look(tmp_path, registry.host).report()
    assert "left alone until 2026-11-29T13:00:00Z: it answered HTTP 429" in report.error
    registry.twist = None
    registry.seen.clear()
    later = Look(tmp_path, registry.host, now=NOW + timedelta(minutes=59)).report()
    assert later.cooldown_until == NOW + timedelta(hours=1)
    assert registry.seen == []
    assert list(Look(tmp_path, registry.host, now=NOW + timedelta(minutes=61)).releases()) == ["1.0.0"]


@pytest.mark.needs("squid")
def test_a_registry_behind_a_proxy_that_wants_a_password(
    registry: StandIn, push: Pusher, tmp_path: Path, stack: ExitStack
) -> None:
    push.artifact(WHERE, "1.0.0", {"rules.tar.gz": tar_gz({"a.yaml": BIG})})
    port = stack.enter_context(squid(tmp_path / "squid", user="updoser", password=SECRETS["WORD"]))
    proxy = Proxy("site", "http", "127.0.0.1", port, username="updoser", password=WORD)
    look = Look(tmp_path, registry.host, proxy=proxy, unpack={})
    assert look.content(look.release()) == {"a.yaml": BIG}
    assert all("Via" in headers for _method, _path, headers in registry.seen)


def test_a_list_of_tags_that_goes_on_elsewhere_or_without_end_is_an_error(
    registry: StandIn, push: Pusher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(oci_registry, "MAX_PAGES", 4)
    push.artifact(WHERE, "1.0.0", {"a.rules": b"one"})
    page = json.dumps({"name": WHERE, "tags": ["1.0.0"]}).encode()
    links = iter(["http://evil.example/v2/x/tags/list?n=1"])

    def odd(_method: str, path: str, _headers: Mapping[str, str]) -> Any:
        return (200, {"Link": f"<{next(links)}>; rel=next"}, page) if "tags" in path else None

    registry.twist = odd
    assert "its next page is elsewhere" in Look(tmp_path, registry.host).report().error
    links = iter([f"/v2/{WHERE}/tags/list?n=1000"])  # the page itself
    assert list(Look(tmp_path, registry.host).releases()) == ["1.0.0"]
    links = (f"list?last={number}" for number in range(10_000))
    assert "more than 4 pages" in Look(tmp_path, registry.host).report().error


def test_what_is_no_registry_is_said_to_be_none(tmp_path: Path, stack: ExitStack) -> None:
    page = stack.enter_context(Odd(tmp_path, lambda *_asked: (200, {"Content-Type": "text/html"}, b"<html>")))
    assert "the list of tags isn't JSON" in Look(tmp_path, page.url.removeprefix("http://")).report().error


# --- a registry that lies ---------------------------------------------------------------------------------------------


def test_a_manifest_that_is_not_of_its_digest_costs_its_release_only(
    registry: StandIn, push: Pusher, tmp_path: Path
) -> None:
    made = push.artifact(WHERE, "1.0.0", {"a.rules": b"one"})
    push.artifact(WHERE, "2.0.0", {"a.rules": b"two"})
    registry.blobs[digest_of(made)] = made.replace(b"a.rules", b"b.rules")
    report = Look(tmp_path, registry.host).report()
    assert [release.version for release in report.releases] == ["2.0.0"]
    assert "isn't the one that was asked for" in report.problems[0]


def test_a_layer_of_other_bytes_is_refused_before_it_is_unpacked(
    registry: StandIn, push: Pusher, tmp_path: Path
) -> None:
    right = tar_gz({"a.yaml": b"right"})
    push.artifact(WHERE, "1.0.0", {"rules.tar.gz": right})
    registry.blobs[digest_of(right)] = tar_gz({"b.yaml": b"wrong"}).ljust(len(right), b"\0")[: len(right)]
    assert "something else for sha256:" in Look(tmp_path, registry.host, unpack={}).problem()
    registry.blobs[digest_of(right)] = right
    assert list(Look(tmp_path, registry.host, unpack={}).releases()) == ["1.0.0"]


def test_a_hostile_title_costs_its_release_only(registry: StandIn, push: Pusher, tmp_path: Path) -> None:
    push.artifact(WHERE, "1.0.0", {"../../etc/cron.d/x": b"one"})
    push.artifact(WHERE, "2.0.0", {"a.rules": b"two"})
    report = Look(tmp_path, registry.host).report()
    assert ([release.version for release in report.releases], len(report.problems)) == (["2.0.0"], 1)


# --- signatures -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["payload", "statement", "message", "fallback"])
def test_a_signature_is_found_wherever_cosign_puts_it_and_goes_along_with_the_release(
    registry: StandIn, push: Pusher, tmp_path: Path, form: str
) -> None:
    made = push.artifact(WHERE, "1.0.0", {"a.rules": b"one"})
    registry.referrers = form != "fallback"
    if form == "payload":
        push.sign(WHERE, made, OURS)
    else:
        bundle = OURS.message(made) if form == "message" else OURS.statement(digest_of(made))
        push.refer(WHERE, made, bundle, tagged=form == "fallback")
    look = Look(tmp_path, registry.host, verify=VERIFY)
    release = look.release()
    key = cosign.public_key(OURS.pem)
    assert release.signed is not None
    assert (release.signed.scheme, release.signed.keys) == ("cosign", (cosign.fingerprint(key),))
    along = look.content(release, attached=True)
    assert along["oci-manifest.json"] == made
    proof = cosign.Found("", along.get("cosign-1.bundle.json", b""))
    if form == "payload":
        proof = cosign.Found("", along["cosign-1.json"], along["cosign-1.sig"].decode())
    assert cosign.verify(cosign.Subject(made, [f"{registry.host}/{WHERE}"]), [proof], key) is proof
    assert registry.asked("GET", "/blobs/") == 1


def test_what_is_not_signed_with_the_key_is_held_and_the_rest_is_offered(
    registry: StandIn, push: Pusher, tmp_path: Path
) -> None:
    push.sign(WHERE, push.artifact(WHERE, "1.0.0", {"a.rules": b"one"}), OURS)
    push.artifact(WHERE, "1.1.0", {"a.rules": b"not signed"})
    push.sign(WHERE, push.artifact(WHERE, "1.2.0", {"a.rules": b"by somebody else"}), THEIRS)
    report = Look(tmp_path, registry.host, verify=VERIFY).report()
    assert [release.version for release in report.releases] == ["1.0.0"]
    wrong, missing = report.problems
    assert "isn't signed with this key" in wrong
    assert "has no signature" in missing


def test_the_signature_of_another_artifact_is_none(registry: StandIn, push: Pusher, tmp_path: Path) -> None:
    good = push.artifact(WHERE, "1.0.0", {"a.rules": b"good"})
    push.sign(WHERE, good, OURS)
    evil = push.artifact(WHERE, "1.1.0", {"a.rules": b"evil"})
    stolen = registry.blobs[registry.tags[WHERE][cosign.signature_tag(digest_of(good))]]
    push.put(WHERE, cosign.signature_tag(digest_of(evil)), stolen, MANIFEST)
    push.refer(WHERE, evil, OURS.statement(digest_of(good)))
    report = Look(tmp_path, registry.host, verify=VERIFY).report()
    assert [release.version for release in report.releases] == ["1.0.0"]
    assert report.problems[0].count("of another artifact") == 2


def test_what_refers_to_another_artifact_is_not_looked_at(registry: StandIn, push: Pusher, tmp_path: Path) -> None:
    made = push.artifact(WHERE, "1.0.0", {"a.rules": b"one"})
    other = push.artifact(WHERE, "0.9.0", {"a.rules": b"other"})
    push.refer(WHERE, other, OURS.message(made))
    entry = {"mediaType": MANIFEST, "artifactType": cosign.BUNDLE}
    listed = [
        {**entry, "digest": digest, "size": len(registry.blobs[digest])}
        for digest in registry.types
        if b'"subject"' in registry.blobs[digest]
    ]
    answer = json.dumps({"schemaVersion": 2, "manifests": listed}).encode()
    registry.twist = lambda _method, path, _headers: (200, {}, answer) if "/referrers/" in path else None
    assert "has no signature" in Look(tmp_path, registry.host, verify=VERIFY, tags="1.*").problem()


def test_one_good_signature_among_those_of_others_is_enough(registry: StandIn, push: Pusher, tmp_path: Path) -> None:
    made = push.artifact(WHERE, "1.0.0", {"a.rules": b"one"})
    push.sign(WHERE, made, THEIRS)
    for bundle in (THEIRS.statement(digest_of(made)), b"junk", OURS.statement(digest_of(made))):
        push.refer(WHERE, made, bundle)
    assert list(Look(tmp_path, registry.host, verify=VERIFY).releases()) == ["1.0.0"]
    both = [*VERIFY, {"cosign": {"key": "theirs.pub"}}]
    signed = Look(tmp_path, registry.host, verify=both).release().signed
    assert signed is not None
    assert len(signed.keys) == 2


def test_a_mirror_says_under_which_name_its_artifacts_were_signed(
    registry: StandIn, push: Pusher, tmp_path: Path
) -> None:
    name = f"ghcr.io/{WHERE}"
    push.sign(WHERE, push.artifact(WHERE, "1.0.0", {"a.rules": b"one"}), OURS, name=name)
    assert f"it was signed as '{name}'" in Look(tmp_path, registry.host, verify=VERIFY).problem()
    assert list(Look(tmp_path, registry.host, verify=VERIFY, signed_as=name).releases()) == ["1.0.0"]


def test_a_key_that_is_changed_counts_at_once_for_what_was_unpacked_before(
    registry: StandIn, push: Pusher, tmp_path: Path
) -> None:
    push.sign(WHERE, push.artifact(WHERE, "1.0.0", {"rules.tar.gz": tar_gz({"a.yaml": b"one"})}), OURS)
    options: Any = {"verify": [{"cosign": {"key": "key.pub"}}], "unpack": {}}
    (tmp_path / "key.pub").write_bytes(OURS.pem)
    assert list(Look(tmp_path, registry.host, **options).releases()) == ["1.0.0"]
    (tmp_path / "key.pub").write_bytes(THEIRS.pem)
    assert "isn't signed with this key" in Look(tmp_path, registry.host, **options).problem()
    (tmp_path / "key.pub").unlink()
    assert "can't be read" in Look(tmp_path, registry.host, **options).problem()


def test_a_layer_with_a_signature_of_its_own_is_fetched_to_be_verified_and_not_again(
    registry: StandIn, push: Pusher, tmp_path: Path
) -> None:
    key = new_secret_key()
    (tmp_path / "vendor.pub").write_text(key.public.text)
    for version, signed in (("1.0.0", BIG), ("1.1.0", b"something else")):
        signature = sign(key, prehash(iter([signed])), trusted="file:a.rules")
        push.artifact(WHERE, version, {"a.rules": BIG, "a.rules.minisig": signature})
    options: Any = {"layer": "*.rules", "verify": [{"minisign": {"key": "vendor.pub"}}], "refresh_limit": "64KiB"}
    report = Look(tmp_path, registry.host, **options).report()
    assert (report.problems, report.releases) == ((), ())
    assert [entry.version for entry in report.unfetched] == ["1.0.0", "1.1.0"]
    fetched = Look(tmp_path, registry.host, **options).source.fetch("rules", "1.0.0", "any")
    with pytest.raises(SourceError, match=r"a\.rules can't be verified"):
        Look(tmp_path, registry.host, **options).source.fetch("rules", "1.1.0", "any")
    registry.seen.clear()
    look = Look(tmp_path, registry.host, **options)
    (release,) = look.report().releases
    assert release == fetched
    assert (release.signed and release.signed.scheme, look.content(release)) == ("minisign", {"a.rules": BIG})
    assert registry.asked("GET", "/blobs/") == 0


def test_a_layer_is_proven_by_a_digest_that_another_layer_has(registry: StandIn, push: Pusher, tmp_path: Path) -> None:
    sums = f"{hashlib.sha256(b'one').hexdigest()}  a.rules\n".encode()
    push.artifact(WHERE, "1.0.0", {"a.rules": b"one", "SHA256SUMS": sums})
    push.artifact(WHERE, "1.1.0", {"a.rules": b"two", "SHA256SUMS": sums})
    push.artifact(WHERE, "1.2.0", {"a.rules": b"three"})
    report = Look(tmp_path, registry.host, layer="*.rules", verify=[{"sha256": {"sums": "SHA256SUMS"}}]).report()
    assert [(release.version, release.signed) for release in report.releases] == [("1.0.0", None)]
    assert "has no layer 'SHA256SUMS'" in report.problems[0]
    assert "SHA256SUMS says" in report.problems[1]
