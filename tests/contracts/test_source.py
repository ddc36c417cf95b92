"""What every source promises, whatever it reads from."""

from __future__ import annotations

import hashlib
import shutil
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from jsonschema import Draft202012Validator

from reconciler.authoring.incrementals import add_incremental
from reconciler.authoring.releases import add_release
from reconciler.contracts import Fetching, Source
from reconciler.errors import SourceError
from reconciler.model.delta import Incremental, Patch
from reconciler.model.release import ReleaseFile
from reconciler.model.spec import PluginConfig, SourceSpec
from reconciler.observe.upstream import read_sources
from reconciler.plugins.source import clamav, directory, git, http, oci, sample, tuf
from tests.clam_mirror import ClamVendor, write_keys
from tests.fakes import CODECS, FakeSource, describe, fake_context, make_component, make_plugin, make_release
from tests.fetching import FakeFetchingSource
from tests.gitserver import Repo
from tests.oci_registry import Pusher, StandIn, debian_registry, tar_gz
from tests.tufrepo import Vendor
from tests.vendor_site import Site, tarball

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path
    from types import ModuleType
NOW = datetime.now(UTC)
RULES = make_component("rules", scheme="integer")
ENGINE = make_component("engine", "engine", "dotted")
COMPONENTS = {"engine": ENGINE, "rules": RULES}
SITES: dict[Path, Site] = {}
FILES = {"all.rules": b"alert" * 200, "lpt$vpn.679": b""}
LATER = b"alert" * 200 + b"and more"
VERSIONS = {"rules": ("7", "10"), "engine": ("1.0",)}


def a_directory(tmp_path: Path) -> Any:
    build = tmp_path / "build"
    build.mkdir(exist_ok=True)
    for name, content in FILES.items():
        (build / name).write_bytes(content)
    for component, versions in VERSIONS.items():
        for version in versions:
            add_release(component, version, [build / name for name in FILES], tmp_path / "drop")
    (build / "all.rules").write_bytes(LATER)
    add_release("rules", "11", [build / "all.rules"], tmp_path / "drop")
    add_incremental("rules", "10", "11", tmp_path / "drop", codec="zstd")
    context = fake_context(tmp_path, now=datetime.now(UTC) + timedelta(hours=1))
    return make_plugin(directory, {"path": "drop"}, context)


def a_git(tmp_path: Path) -> Any:
    if not (tmp_path / "srv").exists():
        repo = Repo(tmp_path / "srv")
        for day, version in enumerate(("7", "10", "11"), start=10):
            files: Mapping[str, bytes | None] = FILES if version != "11" else {"all.rules": LATER, "lpt$vpn.679": None}
            repo.commit({f"rules/{name}": content for name, content in files.items()}, f"2026-11-{day}T06:00:00Z")
            repo.tag(version)
    options = {
        "url": (tmp_path / "srv/rules.git").as_uri(),
        "tags": "*",
        "components": {"rules": "rules", "engine": {"path": ".", "include": ["rules/all.rules"]}},
    }
    return make_plugin(git, options, fake_context(tmp_path, now=NOW))


def a_sample(tmp_path: Path) -> Any:
    return make_plugin(sample, {"day": 9, "size": 16}, fake_context(tmp_path))


def a_tuf(tmp_path: Path) -> Any:
    folder = tmp_path / "repo"
    if not folder.exists():
        vendor = Vendor(folder, NOW)
        for component, versions in VERSIONS.items():
            for version in versions:
                vendor.add(component, version, FILES)
        later = vendor.add("rules", "11", {"all.rules": LATER})
        patch = CODECS["zstd"].make(FILES["all.rules"], LATER, level=9)
        digest = vendor.put(patch)
        made = Patch("all.rules", len(patch), digest, "zstd", "all.rules", len(LATER))
        before = make_release("rules", "10", FILES).digest
        entry = Incremental(
            component="rules",
            platform="any",
            from_version="10",
            from_digest=before,
            to_version="11",
            to_digest=later.digest,
            codec="zstd",
            patches=(made,),
        )
        vendor.set_index("rules", vendor.document("rules", incrementals=[entry]))
        vendor.sign()
        shutil.copy(vendor.metadata / "1.root.json", tmp_path / "root.json")
    return make_plugin(tuf, {"url": folder.as_uri(), "trusted_root": "root.json"}, fake_context(tmp_path, now=NOW))


def an_http(tmp_path: Path) -> Any:
    """Give a source of a server's files; the server runs as long as the process, and serves nobody else."""
    if tmp_path not in SITES:
        site = SITES[tmp_path] = Site(tmp_path)
        site.put("rules/", "<a href=7/>7</a> <a href=11/>11</a> <a href=10/>10</a>")
        for version, content in (("7", FILES["all.rules"]), ("10", FILES["all.rules"]), ("11", LATER)):
            site.put(f"rules/{version}/all.rules", content)
        site.put("version", "1.0")
        site.put("engine.tar", tarball(FILES))
    options = {
        "url": SITES[tmp_path].url,
        "components": {
            "rules": {"url": "rules/{version}/all.rules", "version": {"listing": "rules/", "pattern": ">([0-9]+)<"}},
            "engine": {"url": "engine.tar", "version": {"text": "version"}, "unpack": {}},
        },
    }
    return make_plugin(http, options, fake_context(tmp_path, now=NOW))


def push_all(host: str) -> None:
    """Push what a source of the suite has."""
    push = Pusher(host)
    for component, versions in VERSIONS.items():
        for version in versions:
            push.artifact(f"vendor/{component}", version, FILES)
    push.artifact("vendor/rules", "11", {"all.rules": LATER})
    large = hashlib.shake_128(b"large").digest(100_000)
    for version, files in {"7": FILES, "10": FILES, "11": {"all.rules": LATER}, "12": {"all.rules": large}}.items():
        push.artifact("vendor/packed", version, {"rules.tar.gz": tar_gz(files)})


@pytest.fixture(scope="module")
def stand_in() -> Iterator[str]:
    with StandIn() as registry:
        push_all(registry.host)
        yield registry.host


@pytest.fixture(scope="module")
def docker_registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with debian_registry(tmp_path_factory.mktemp("registry")) as host:
        push_all(host)
        yield host


def an_oci(tmp_path: Path, host: str) -> Any:
    components = {component: {"repository": f"vendor/{component}"} for component in VERSIONS}
    options = {"registry": host, "insecure": True, "components": components}
    return make_plugin(oci, options, fake_context(tmp_path, now=NOW))


def a_clamav(tmp_path: Path) -> Any:
    vendor = ClamVendor(tmp_path / "mirror")
    if not list(vendor.folder.iterdir()):
        for database in VERSIONS:
            vendor.publish(database, 1, {f"{database}.hdb": b"aa:1:One\n"})
    write_keys(tmp_path / "keys.yaml")
    options = {
        "url": "mirror",
        "verify": [{"clamsign": {"keys": "keys.yaml"}}],
        "components": {component: {"database": component} for component in VERSIONS},
    }
    return make_plugin(clamav, options, fake_context(tmp_path))


def an_unpacked_oci(tmp_path: Path, host: str) -> Any:
    rules = {"repository": "vendor/packed", "unpack": {}, "keep": 4}
    components = {"rules": rules, "engine": {"repository": "vendor/engine"}}
    options = {"registry": host, "insecure": True, "components": components, "refresh_limit": "64KiB"}
    return make_plugin(oci, options, fake_context(tmp_path, now=NOW))


def a_fake(_tmp_path: Path) -> FakeSource:
    source = FakeFetchingSource()
    source.add_unfetched("rules", "12", {"all.rules": LATER * 2}, size=len(LATER) * 2)
    for component, versions in VERSIONS.items():
        for version in versions:
            source.add(component, version, FILES)
    later = source.add("rules", "11", {"all.rules": LATER})
    patch = CODECS["zstd"].make(FILES["all.rules"], LATER, level=9)
    described = describe("all.rules", patch)
    made = Patch(described.name, described.size, described.sha256, "zstd", "all.rules", len(LATER))
    before = make_release("rules", "10", FILES)
    source.add_incremental(
        Incremental(
            component="rules",
            platform="any",
            from_version="10",
            from_digest=before.digest,
            to_version="11",
            to_digest=later.digest,
            codec="zstd",
            patches=(made,),
        ),
        {"all.rules": patch},
    )
    return source


SOURCES: Any = {
    "directory": (a_directory,),
    "sample": (a_sample,),
    "tuf": (a_tuf,),
    "http": (an_http,),
    "oci": (an_oci, "stand_in"),
    "oci unpacked": (an_unpacked_oci, "stand_in"),
    "oci of Debian": (an_oci, "docker_registry"),
    "clamav": (a_clamav,),
    "git": (a_git,),
    "fake": (a_fake,),
}
"""What makes each source, and the fixtures of servers that it asks."""
NEEDS = {"oci of Debian": [pytest.mark.needs("docker-registry")], "git": [pytest.mark.needs("git")]}


@pytest.fixture(params=[pytest.param(name, marks=NEEDS.get(name, [])) for name in SOURCES])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    made, *servers = SOURCES[request.param]
    return lambda: made(tmp_path, *map(request.getfixturevalue, servers))


@pytest.fixture
def source(make: Callable[[], Source]) -> Source:
    return make()


def test_it_is_a_source(source: Source) -> None:
    assert isinstance(source, Source)


def test_it_lists_releases_of_the_components_that_it_is_asked_for_and_no_others(source: Source) -> None:
    assert {release.component for release in source.releases(COMPONENTS).releases} == {"engine", "rules"}
    assert {release.component for release in source.releases({"rules": RULES}).releases} == {"rules"}
    assert source.releases({}).releases == ()


def test_what_it_lists_passes_every_check(source: Source) -> None:
    spec = SourceSpec("vendor", PluginConfig("source", "any"))
    listed = source.releases(COMPONENTS)
    (report,) = read_sources([(spec, source)], COMPONENTS)
    assert (report.error, report.problems) == ("", ())
    assert set(report.releases) == set(listed.releases)
    assert set(report.incrementals) == set(listed.incrementals)


def test_looking_twice_shows_the_same(source: Source) -> None:
    assert source.releases(COMPONENTS) == source.releases(COMPONENTS)


def test_every_file_that_it_lists_opens_and_is_what_was_promised(source: Source) -> None:
    for release in source.releases(COMPONENTS).releases:
        for file in release.files:
            with source.open(release, file) as stream:
                content = stream.read()
            assert ReleaseFile(file.name, len(content), hashlib.sha256(content).hexdigest()) == file


def test_what_an_earlier_run_listed_opens_without_being_listed_again(
    source: Source, make: Callable[[], Source]
) -> None:
    (release, *_others) = source.releases(COMPONENTS).releases
    with make().open(release, release.files[0]) as stream:
        assert len(stream.read()) == release.files[0].size


def test_every_patch_that_it_lists_opens_is_what_was_promised_and_makes_the_release(source: Source) -> None:
    report = source.releases(COMPONENTS)
    files = {release.digest: {file.name: file for file in release.files} for release in report.releases}
    for entry in report.incrementals:
        for patch in entry.patches:
            with source.open_patch(entry, patch) as stream:
                content = stream.read()
            assert (len(content), hashlib.sha256(content).hexdigest()) == (patch.size, patch.sha256)
            made = b"".join(CODECS[patch.codec].apply(FILES[patch.base], content, patch.result))
            assert hashlib.sha256(made).hexdigest() == files[entry.to_digest][patch.name].sha256


def test_a_patch_that_it_does_not_have_is_a_source_error(source: Source) -> None:
    gone = Patch("gone", 1, "0" * 64, "zstd")
    entry = Incremental(
        component="rules",
        platform="any",
        from_version="1",
        from_digest="0" * 64,
        to_version="2",
        to_digest="1" * 64,
        codec="zstd",
        patches=(gone,),
    )
    with pytest.raises(SourceError), source.open_patch(entry, gone):
        pass


def test_a_file_that_it_does_not_have_is_a_source_error(source: Source) -> None:
    (release, *_others) = source.releases(COMPONENTS).releases
    with pytest.raises(SourceError), source.open(release, ReleaseFile("gone", 0, "0" * 64)):
        pass


@pytest.mark.parametrize("plugin", [clamav, directory, git, http, oci, sample, tuf], ids=lambda plugin: plugin.__name__)
def test_its_options_are_a_schema_that_describes_every_one_of_them(plugin: ModuleType) -> None:
    Draft202012Validator.check_schema(plugin.OPTIONS)
    assert plugin.OPTIONS["additionalProperties"] is False
    assert all(option["description"] for option in (plugin.OPTIONS, *plugin.OPTIONS["properties"].values()))


def test_what_is_fetched_is_listed_with_the_bytes_that_it_has_from_then_on(make: Callable[[], Source]) -> None:
    source = make()
    unfetched = source.releases(COMPONENTS).unfetched
    if not isinstance(source, Fetching):
        assert unfetched == ()
        return
    for entry in unfetched:
        release = source.fetch(*entry.key)
        assert (release.component, release.version, release.platform) == entry.key
        report = source.releases(COMPONENTS)
        assert release in report.releases
        assert entry.key not in {other.key for other in report.unfetched}
        assert source.fetch(*entry.key) == release
        for file in release.files:
            with source.open(release, file) as stream:
                content = stream.read()
            assert (len(content), hashlib.sha256(content).hexdigest()) == (file.size, file.sha256)
    with pytest.raises(SourceError):
        source.fetch("rules", "999999", "any")
