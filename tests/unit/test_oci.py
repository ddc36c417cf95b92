"""What a registry says is read strictly: references, manifests, indexes, tags, and header fields."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.formats import oci
from reconciler.formats.http_fields import Challenge, next_link, parse_challenges
from reconciler.formats.oci import Manifest, ManifestIndex, parse_document, parse_reference, parse_referrers, parse_tags

SHA = "sha256:" + "a" * 64
LAYER = "application/vnd.cncf.falco.rulesfile.layer.v1+tar.gz"


def descriptor(media_type: str = LAYER, **changes: Any) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": SHA, "size": 12, **changes}


def manifest(**changes: Any) -> bytes:
    data = {
        "schemaVersion": 2,
        "mediaType": oci.MANIFEST,
        "config": descriptor("application/vnd.cncf.falco.rulesfile.config.v1+json"),
        "layers": [descriptor(annotations={oci.TITLE: "rules.tar.gz"})],
        **changes,
    }
    return json.dumps({key: value for key, value in data.items() if value is not None}).encode()


def index(*entries: Any, **changes: Any) -> bytes:
    return json.dumps({"schemaVersion": 2, "mediaType": oci.INDEX, "manifests": list(entries), **changes}).encode()


# --- references -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "host", "repository", "tag", "digest"),
    [
        ("ghcr.io/falcosecurity/rules/falco-rules", "ghcr.io", "falcosecurity/rules/falco-rules", "", ""),
        ("ghcr.io/a/b:1.2.3", "ghcr.io", "a/b", "1.2.3", ""),
        (f"ghcr.io/a/b:1@{SHA}", "ghcr.io", "a/b", "1", SHA),
        ("localhost/a", "localhost", "a", "", ""),
        ("registry.example:5000/a__b/c---d:x", "registry.example:5000", "a__b/c---d", "x", ""),
        ("[::1]:5000/a", "[::1]:5000", "a", "", ""),
        ("docker.io/alpine:3", "registry-1.docker.io", "library/alpine", "3", ""),
        ("docker.io/a/b", "registry-1.docker.io", "a/b", "", ""),
    ],
)
def test_a_reference_is_read(text: str, host: str, repository: str, tag: str, digest: str) -> None:
    found = parse_reference(text)
    assert (found.host, found.repository, found.tag, found.digest) == (host, repository, tag, digest)
    assert parse_reference(str(found)) == found


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("alpine", "names no registry"),
        ("falcosecurity/rules", "names no registry"),
        ("ghcr.io/A/b", "in small letters"),
        ("ghcr.io/a/../b", "isn't a repository"),
        ("ghcr.io/a//b", "isn't a repository"),
        ("ghcr.io/a b", "isn't a repository"),
        ("ghcr.io/a?x=y", "isn't a repository"),
        ("ghcr.io/a:b/c", "isn't a tag"),
        ("ghcr.io/a:", "isn't a tag"),
        ("ghcr.io/a@sha256:1", "isn't a digest"),
        ("ghcr.io/a@md5:" + "a" * 32, "isn't a digest"),
        ("user@ghcr.io/a", "isn't a digest"),
        ("ghcr.io:99999/a", "port"),
        ("ghcr.io:0/a", "port"),
        ("-evil.io/a", "isn't a registry"),
        ("evil.io\n/a", "isn't a registry"),
        ("ghcr.io/" + "a" * 300, "isn't a repository"),
    ],
)
def test_what_is_no_reference_is_refused(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        parse_reference(text)


def test_signatures_of_the_docker_hub_name_it_as_its_own_tools_do() -> None:
    assert parse_reference("docker.io/alpine").name == "index.docker.io/library/alpine"


# --- manifests and indexes --------------------------------------------------------------------------------------------


def test_a_manifest_is_read() -> None:
    content = manifest(annotations={oci.VERSION: "1.2.3"}, subject=descriptor(oci.MANIFEST), artifactType="a/b")
    found = parse_document(content, f"{oci.MANIFEST}; charset=utf-8", oci.digest_of_bytes(content))
    assert isinstance(found, Manifest)
    assert (found.digest, found.subject, found.artifact_type) == (oci.digest_of_bytes(content), SHA, "a/b")
    assert found.annotations == {oci.VERSION: "1.2.3"}
    (layer,) = found.layers
    assert (layer.media_type, layer.sha256, layer.size, layer.title) == (LAYER, "a" * 64, 12, "rules.tar.gz")


def test_an_index_is_read_with_the_platforms_of_clients() -> None:
    stated = [
        {"os": "linux", "architecture": "amd64"},
        {"os": "linux", "architecture": "arm64", "variant": "v8"},
        {"os": "linux", "architecture": "arm", "variant": "v7"},
        {"os": "linux", "architecture": "386"},
        {"os": "linux", "architecture": "riscv64"},
        {"os": "unknown", "architecture": "unknown"},
        {"os": "li nux", "architecture": "../x"},
    ]
    found = parse_document(index(*(descriptor(oci.MANIFEST, platform=entry) for entry in stated), descriptor()))
    assert isinstance(found, ManifestIndex)
    assert [entry.platform for entry in found.manifests] == [
        "linux-x86_64",
        "linux-aarch64",
        "linux-armv7l",
        "linux-i686",
        "linux-riscv64",
        "",
        "",
        "any",
    ]


def test_a_manifest_of_docker_is_read_alike() -> None:
    assert isinstance(parse_document(manifest(mediaType=oci.DOCKER_MANIFEST)), Manifest)
    assert isinstance(parse_document(index(mediaType=oci.DOCKER_INDEX)), ManifestIndex)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "isn't JSON"),
        (b"[]", "isn't an object"),
        (b"[" * 100_000, "isn't JSON"),
        (b" " * (oci.MAX_MANIFEST + 1), "larger than"),
        (manifest(schemaVersion=1), "schemaVersion"),
        (manifest(schemaVersion=True), "schemaVersion"),
        (manifest(schemaVersion=None), "schemaVersion"),
        (manifest(manifests=[]), "two ways"),
        (manifest(mediaType=oci.INDEX), "isn't one of a manifest"),
        (index(mediaType=oci.MANIFEST), "has manifests in it"),
        (manifest(mediaType="text/html"), "isn't one of a manifest"),
        (manifest(mediaType=7), "no media type"),
        (manifest(layers=None), "no config, layers or manifests"),
        (manifest(config=None), "no config, layers or manifests"),
        (manifest(layers={}), "isn't a list"),
        (manifest(layers=[descriptor()] * (oci.MAX_LAYERS + 1)), "isn't a list of at most"),
        (manifest(layers=["x"]), "isn't an object"),
        (manifest(layers=[descriptor(digest="sha512:" + "a" * 128)]), "only SHA-256"),
        (manifest(layers=[descriptor(digest="sha256:" + "A" * 64)]), "only SHA-256"),
        (manifest(layers=[descriptor(digest="sha256:" + "a" * 64 + "\n")]), "only SHA-256"),
        (manifest(layers=[descriptor(digest=5)]), "wants a text"),
        (manifest(layers=[descriptor(size=-1)]), "size"),
        (manifest(layers=[descriptor(size=True)]), "size"),
        (manifest(layers=[descriptor(size=2**60)]), "size"),
        (manifest(layers=[descriptor("a\nb")]), "no media type"),
        (manifest(layers=[descriptor(annotations={"a": 1})]), "annotations"),
        (manifest(annotations=[]), "annotations"),
        (manifest(subject="x"), "isn't an object"),
        (index(descriptor(platform="linux")), "platform"),
        (index(descriptor(platform={"os": 5})), "platform"),
    ],
)
def test_what_is_no_manifest_is_refused(content: bytes, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        parse_document(content)


def test_a_manifest_of_another_digest_or_type_than_the_one_that_was_promised_is_refused() -> None:
    with pytest.raises(ValueError, match="isn't the one that was asked for"):
        parse_document(manifest(), oci.MANIFEST, SHA)
    with pytest.raises(ValueError, match="the registry calls it"):
        parse_document(manifest(), oci.INDEX)
    with pytest.raises(ValueError, match="has manifests in it"):
        parse_document(index(mediaType=""), oci.MANIFEST)


@given(st.binary(max_size=80))
def test_whatever_a_registry_answers_is_read_or_refused_in_words(content: bytes) -> None:
    for read in (parse_document, parse_referrers, lambda data: parse_tags(data, "a")):
        with pytest.raises(ValueError, match=r"isn't|has|larger"):
            read(content)


VALUES: Any = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3) | st.sampled_from([SHA, LAYER, oci.MANIFEST]),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(
            st.sampled_from(
                [
                    "mediaType",
                    "digest",
                    "size",
                    "platform",
                    "os",
                    "architecture",
                    "annotations",
                    "artifactType",
                    "variant",
                ]
            ),
            inner,
            max_size=5,
        )
    ),
    max_leaves=8,
)
KEYS = st.sampled_from(["schemaVersion", "mediaType", "config", "layers", "manifests", "annotations", "subject"])


@given(st.dictionaries(KEYS, VALUES))
@settings(max_examples=50, deadline=None)
def test_whatever_stands_in_a_manifest_is_read_or_refused_in_words(changes: Any) -> None:
    data = {**json.loads(manifest()), **changes}
    try:
        found = parse_document(json.dumps(data).encode())
    except ValueError as error:
        assert str(error)  # noqa: PT017 - either is right
    else:
        assert isinstance(found, Manifest | ManifestIndex)


# --- tags and referrers -----------------------------------------------------------------------------------------------


def test_tags_that_can_be_none_are_passed_over() -> None:
    data = {"name": "a/b", "tags": ["1.0", "latest", "../../x", "", 5, "a" * 200, "-x", None, "a\n"]}
    assert parse_tags(json.dumps(data).encode(), "a/b") == ("1.0", "latest")
    assert parse_tags(b'{"name": "a/b", "tags": null}', "a/b") == ()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b'{"name": "other", "tags": []}', "is that of 'other'"),
        (b'{"name": "a/b", "tags": {}}', "isn't a list"),
        (b"null", "isn't an object"),
    ],
)
def test_what_is_no_list_of_tags_is_refused(content: bytes, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        parse_tags(content, "a/b")


def test_referrers_are_an_index() -> None:
    (entry,) = parse_referrers(index(descriptor(oci.MANIFEST, artifactType="a/b")))
    assert entry.artifact_type == "a/b"
    with pytest.raises(ValueError, match="no index"):
        parse_referrers(manifest(mediaType=None))
    assert oci.referrers_tag(SHA) == "sha256-" + "a" * 64


def test_a_tag_that_stands_for_the_newest_below_it_is_floating() -> None:
    fields = {"1": (1,), "1.2": (1, 2), "1.2.0": (1, 2, 0), "1.10": (1, 10), "2.0": (2, 0)}
    assert oci.floating([*fields, "latest"], fields) == {"1", "1.2"}


# --- header fields ----------------------------------------------------------------------------------------------------


def test_challenges_are_read() -> None:
    text = (
        'Bearer realm="https://auth.example/token",service="registry",scope="repository:a/b:pull,push", Basic realm=x'
    )
    assert parse_challenges(text) == (
        Challenge(
            "bearer",
            {"realm": "https://auth.example/token", "service": "registry", "scope": "repository:a/b:pull,push"},
        ),
        Challenge("basic", {"realm": "x"}),
    )
    assert parse_challenges("Negotiate") == (Challenge("negotiate"),)
    assert parse_challenges('Negotiate oYG=, BASIC REALM = "a \\" b"') == (
        Challenge("negotiate"),
        Challenge("basic", {"realm": 'a " b'}),
    )


@pytest.mark.parametrize(
    "text", ["", "Bearer", 'Bearer realm="open', 'Bearer realm="a",realm="b"', "=,=", "x" * 100_000]
)
def test_a_challenge_that_makes_no_sense_gives_no_realm(text: str) -> None:
    assert [challenge for challenge in parse_challenges(text) if "realm" in challenge.parameters] == []


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ('</v2/a/tags/list?n=2&last=b>; rel="next"', "/v2/a/tags/list?n=2&last=b"),
        ('</one>; rel=prev, </two>;title="a, <b>" ; rel=next', "/two"),
        ('</one>; rel="start next"', "/one"),
        ("</one>", ""),
        ("/one; rel=next", ""),
        ("<" * 50_000, ""),
        ("", ""),
    ],
)
def test_the_next_page_is_found(text: str, target: str) -> None:
    assert next_link(text) == target


@given(st.text(alphabet='Bearer realm="\\,;=<>/x ', max_size=60))
def test_whatever_stands_in_a_header_is_read(text: str) -> None:
    parse_challenges(text)
    next_link(text)
