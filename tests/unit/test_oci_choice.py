"""What of a registry becomes releases: tags that are versions, layers that are files; and who is told who we are."""

from __future__ import annotations

import json
import logging
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.contracts import OwnMemory
from reconciler.errors import SourceError
from reconciler.formats.defaults import completed
from reconciler.formats.oci import EMPTY, TITLE, Descriptor, Manifest, ManifestIndex
from reconciler.plugins.source._oci.choice import Wanted, layers_of, manifests_of, tagged
from reconciler.plugins.source._oci.dated import Dates
from reconciler.plugins.source._oci.documents import Documents
from reconciler.plugins.source._oci.offered import KEPT, Offered, Record
from reconciler.plugins.source._oci.options import COMPONENT
from reconciler.plugins.source._oci.tokens import Tokens, is_related
from reconciler.web.stream import HttpStatusError
from tests.fakes import fake_context, make_component

if TYPE_CHECKING:
    from pathlib import Path

RULES = "application/vnd.cncf.falco.rulesfile.layer.v1+tar.gz"
DOTTED = make_component("rules", scheme="dotted")
LOG = logging.getLogger("test")
DIGEST = "sha256:" + "a" * 64
NOON = datetime(2026, 11, 19, 12, tzinfo=UTC)


def wanted(**options: Any) -> Wanted:
    return Wanted.of(completed({"repository": "a/falco-rules", **options}, COMPONENT))


# --- tags -------------------------------------------------------------------------------------------------------------


def test_the_newest_tags_that_are_versions_are_releases() -> None:
    tags = ["latest", "2.0.0", "10.0.0", "9.1.0", "v3", "sha256-abc.sig", "1.0.0"]
    assert tagged(tags, wanted(), DOTTED) == [("10.0.0", "10.0.0"), ("9.1.0", "9.1.0"), ("2.0.0", "2.0.0")]
    assert tagged(tags, wanted(keep=1), DOTTED) == [("10.0.0", "10.0.0")]


def test_a_tag_that_moves_with_the_newest_below_it_is_none() -> None:
    assert tagged(["1", "1.2", "1.2.0", "1.2.1"], wanted(), DOTTED) == [("1.2.1", "1.2.1"), ("1.2.0", "1.2.0")]


def test_a_tag_that_is_named_as_floating_is_no_version() -> None:
    assert tagged(["1", "2"], wanted(floating=["2"]), make_component("rules")) == [("1", "1")]


@pytest.mark.parametrize(
    ("pattern", "found"), [("1.*", ["1.9.0", "1.10.0"]), (["1.9.*", "2.*"], ["1.9.0", "2.0.0"]), ("3.*", [])]
)
def test_a_pattern_says_which_tags_are_taken(pattern: Any, found: list[str]) -> None:
    tags = tagged(["1.9.0", "1.10.0", "2.0.0"], wanted(tags=pattern), DOTTED)
    assert sorted(version for version, _tag in tags) == sorted(found)


def test_a_prefix_is_no_part_of_the_version_and_tags_without_it_are_none() -> None:
    assert tagged(["v1.2.0", "1.3.0", "rules-2.0"], wanted(strip_prefix="v"), DOTTED) == [("1.2.0", "v1.2.0")]


@given(st.lists(st.text(alphabet="012.vx", max_size=5), max_size=8))
def test_whatever_tags_there_are_each_version_comes_once(tags: list[str]) -> None:
    found = [version for version, _tag in tagged(tags, wanted(keep=100), DOTTED)]
    assert len(set(found)) == len(found)
    assert all(DOTTED.scheme.accepts(version) for version in found)


# --- layers -----------------------------------------------------------------------------------------------------------


def layer(title: str = "", media_type: str = RULES) -> Descriptor:
    return Descriptor(media_type, DIGEST, 1, {TITLE: title} if title else {})


def names(*layers: Descriptor, **options: Any) -> list[str]:
    manifest = Manifest(digest=DIGEST, media_type="", config=layer(), layers=layers)
    return [name for name, _layer in layers_of(manifest, wanted(**options))]


def test_layers_are_files_of_the_names_that_their_titles_say() -> None:
    empty = layer(media_type=EMPTY)
    assert names(layer("a.rules"), layer("./folder/b.rules"), empty) == ["a.rules", "b.rules"]


@pytest.mark.parametrize(
    ("media_type", "name"),
    [
        (RULES, "falco-rules.tar.gz"),
        ("application/vnd.oci.image.layer.v1.tar+gzip", "falco-rules.tar.gz"),
        ("application/vnd.oci.image.layer.v1.tar", "falco-rules.tar"),
        ("application/vnd.vendor.list+json", "falco-rules.json"),
        ("application/octet-stream", "falco-rules"),
    ],
)
def test_a_layer_without_a_title_is_called_as_its_repository(media_type: str, name: str) -> None:
    assert names(layer(media_type=media_type)) == [name]


def test_a_layer_is_chosen_by_its_title_or_its_media_type() -> None:
    two = layer("a.rules"), layer("b.asc", "application/pgp-signature")
    assert names(*two, layer="*.rules") == ["a.rules"]
    assert names(*two, layer=["application/pgp-*"]) == ["b.asc"]
    assert names(*two, layer="*.rules", file="own.rules") == ["own.rules"]


@pytest.mark.parametrize(
    ("layers", "options", "said"),
    [
        ([layer("../../etc/passwd")], {}, "leads elsewhere"),
        ([layer("/etc/passwd")], {}, "leads elsewhere"),
        ([layer(".hidden")], {}, "begins with"),
        ([layer("-rf")], {}, "begins with"),
        ([layer("current")], {}, "reserved"),
        ([layer("a\nb")], {}, "control bytes"),
        ([layer("a\\b")], {}, "backslash"),
        ([layer("a/x"), layer("b/x")], {}, "two layers"),
        ([layer(), layer()], {}, "two layers"),
        ([layer("a"), layer("b")], {"file": "c"}, "`file` names one"),
        ([layer("a")], {"layer": "b"}, "no layer that is wanted; it has a"),
        ([], {}, "it has nothing"),
    ],
)
def test_a_layer_that_can_be_no_file_is_refused(layers: list[Descriptor], options: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        names(*layers, **options)


# --- platforms --------------------------------------------------------------------------------------------------------


def platforms(*stated: str, **options: Any) -> list[str]:
    media_type = "application/vnd.oci.image.manifest.v1+json"
    entries = tuple(Descriptor(media_type, DIGEST, 1, platform=platform) for platform in stated)
    found = manifests_of(DIGEST, ManifestIndex(DIGEST, "", entries), wanted(**options))
    return [platform for platform, _digest in found]


def test_an_artifact_for_several_platforms_is_a_release_for_each_that_is_wanted() -> None:
    assert platforms("linux-x86_64", "linux-aarch64", "") == ["linux-x86_64", "linux-aarch64"]
    assert platforms("linux-x86_64", "linux-aarch64", platforms=["linux-aarch64"]) == ["linux-aarch64"]


def test_an_artifact_that_is_for_no_platform_or_for_one_twice_is_refused() -> None:
    with pytest.raises(ValueError, match="it has the platforms linux-x86_64"):
        platforms("linux-x86_64", platforms=["linux-riscv64"])
    with pytest.raises(ValueError, match="nothing for the platforms"):
        platforms("")
    with pytest.raises(ValueError, match="any twice"):
        platforms("any", "any")
    with pytest.raises(ValueError, match="more than 64"):
        platforms(*(f"linux-{number}" for number in range(65)))


# --- versions of what has none ----------------------------------------------------------------------------------------


def test_what_a_tag_stands_for_has_the_version_of_when_it_was_made_or_first_seen(tmp_path: Path) -> None:
    memory = OwnMemory()  # of the state; each look is another controller's

    def seen(digit: str, made: datetime | None, hours: int = 0) -> Any:
        context = replace(fake_context(tmp_path, now=NOON + timedelta(hours=hours)), memory=memory)
        return Dates(tmp_path / "dates.json", context).version("a:latest", f"0{digit}" * 32, made)

    assert seen("a", NOON - timedelta(days=1)) == "2026.11.18T120000+0a0a0a0a"
    assert seen("b", None, hours=1) == "2026.11.19T130000+0b0b0b0b"
    assert seen("b", None, hours=9) == "2026.11.19T130000+0b0b0b0b"
    assert seen("a", None, hours=9) == "2026.11.18T120000+0a0a0a0a"
    assert seen("c", datetime(1970, 1, 1, tzinfo=UTC), hours=2) == "2026.11.19T140000+0c0c0c0c"
    assert seen("d", NOON + timedelta(days=9), hours=3) == "2026.11.19T150000+0d0d0d0d"


@pytest.mark.parametrize("content", [b"", b"[]", b'{"a:latest": 5}', b'{"a:latest": {"x": "never"}}', b"\xff"])
def test_dates_that_were_damaged_are_made_anew(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "dates.json").write_bytes(content)
    dates = Dates(tmp_path / "dates.json", fake_context(tmp_path, now=NOON))
    assert dates.version("a:latest", "0a" * 32, None) == "2026.11.19T120000+0a0a0a0a"


def test_dates_of_one_controller_are_those_of_all(tmp_path: Path) -> None:
    (tmp_path / "dates.json").write_text(json.dumps({"a:latest": {"0a" * 32: "2026-10-01T00:00:00+00:00"}}))
    memory = OwnMemory()
    one, other = (replace(fake_context(tmp_path, now=NOON), memory=memory) for _each in range(2))
    assert Dates(tmp_path / "dates.json", one).version("a:latest", "0b" * 32, None) == "2026.11.19T120000+0b0b0b0b"
    assert Dates(tmp_path / "none.json", other).version("a:latest", "0a" * 32, None) == "2026.10.01T000000+0a0a0a0a"
    late = Dates(tmp_path / "none.json", replace(other, clock=lambda: NOON + timedelta(hours=5)))
    assert late.version("a:latest", "0b" * 32, None) == "2026.11.19T120000+0b0b0b0b"


# --- what is remembered -----------------------------------------------------------------------------------------------


def test_a_document_that_was_damaged_is_none(tmp_path: Path) -> None:
    documents = Documents(tmp_path / "documents", LOG)
    digest = documents.put(b"content")
    assert documents.get(digest) == b"content"
    (tmp_path / "documents" / digest.removeprefix("sha256:")).write_bytes(b"another")
    assert documents.get(digest) is None
    assert documents.put(b"content") == digest
    assert Documents(tmp_path / "documents", LOG).get(digest) == b"content"


def entry(version: str) -> Offered:
    return Offered(
        component="rules", version=version, platform="any", repository="a", tag="x", top=DIGEST, manifest=DIGEST
    )


def test_what_was_offered_is_known_in_the_next_run_and_forgotten_after_weeks(tmp_path: Path) -> None:
    now = NOON

    def record() -> Record:
        return Record(tmp_path / "offered.json", lambda: now, LOG)

    def known() -> list[bool]:
        return [record().get(("rules", version, "any")) is not None for version in ("1", "2", "3")]

    one, other = record(), record()
    assert other.get(("rules", "1", "any")) is None
    one.add(entry("1"))
    one.save()
    other.add(entry("2"))
    other.save()
    assert known() == [True, True, False]
    now += KEPT + timedelta(seconds=1)
    last = record()
    last.add(entry("3"))
    last.save()
    assert known() == [False, False, True]


@pytest.mark.parametrize("content", [b"{}", b"[5]", b'[{"component": "rules"}]', b"\xff", b'[{"at": 1}]'])
def test_a_record_that_was_damaged_is_empty(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "offered.json").write_bytes(content)
    assert Record(tmp_path / "offered.json", lambda: NOON, LOG).get(("rules", "1", "any")) is None


# --- who is told who we are -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("registry", "realm", "related"),
    [
        ("ghcr.io", "ghcr.io", True),
        ("registry-1.docker.io", "auth.docker.io", True),
        ("registry.gitlab.com", "gitlab.com", True),
        ("registry.corp.example", "a.b.corp.example", True),
        ("ghcr.io", "evil.io", False),
        ("registry.gitlab.com", "evil-gitlab.com", False),
        ("registry.gitlab.com", "com", False),
        ("127.0.0.1", "127.0.0.1", True),
        ("127.0.0.1", "127.0.0.2", False),
        ("127.0.0.1", "0.0.1", False),
        ("localhost", "127.0.0.1", False),
        ("::1", "::2", False),
    ],
)
def test_a_place_for_tokens_is_of_the_registrys_domain_or_not(registry: str, realm: str, *, related: bool) -> None:
    assert is_related(registry, realm) is related


def refusal(challenge: str) -> HttpStatusError:
    return HttpStatusError(401, "no", {"WWW-Authenticate": challenge})


def tokens(base: str, *, login: bool = True, realm: str = "") -> Tokens:
    def no_web(url: str) -> Any:
        raise SourceError(f"asks {url}")

    return Tokens(base, no_web, lambda: {"Authorization": "Basic xyz"} if login else {}, realm)


@pytest.mark.parametrize(
    ("challenge", "said"),
    [
        ('Bearer realm="http://auth.ghcr.io/token"', "isn't https"),
        ('Bearer realm="https://evil.example/token"', 'realm: "https://evil.example/token"'),
        ('Bearer realm="https://ghcr.io@evil.example/token"', "no address"),
        ('Bearer realm="https://[/token"', "no address"),
        ('Bearer realm="file:///etc/passwd"', "no address"),
        ('Bearer realm="//ghcr.io/token"', "no address"),
        ("Negotiate", "doesn't say how"),
        ("", "doesn't say how"),
        ('Bearer realm="https://ghcr.io/token"', "asks https://ghcr.io/token"),
    ],
)
def test_a_challenge_decides_who_is_asked_for_a_token_and_who_never_is(challenge: str, said: str) -> None:
    with pytest.raises(SourceError) as caught:
        tokens("https://ghcr.io").renew("a/b", refusal(challenge))
    assert said in str(caught.value)


def test_another_domain_gets_the_password_only_when_it_is_named() -> None:
    elsewhere = refusal('Bearer realm="https://auth.example/token?x=y"')
    for made in (tokens("https://ghcr.io", login=False), tokens("https://ghcr.io", realm="https://auth.example/token")):
        with pytest.raises(SourceError, match=r"asks https://auth\.example/token"):
            made.renew("a/b", elsewhere)


def test_a_registry_that_wants_the_password_itself_gets_it_once() -> None:
    made = tokens("https://ghcr.io")
    made.renew("a/b", refusal('Basic realm="x"'))
    assert made.headers("a/b") == {"Authorization": "Basic xyz"}
    assert made.headers("a/c") == {}
    with pytest.raises(SourceError, match="another user and password"):
        made.renew("a/b", refusal('Basic realm="x"'))
    with pytest.raises(SourceError, match="a user and password"):
        tokens("https://ghcr.io", login=False).renew("a/b", refusal('Basic realm="x"'))
