"""What gpgv found good in one look isn't asked again in the next, as long as nothing of it changed."""

from __future__ import annotations

import tempfile
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from reconciler.plugins.source import directory
from reconciler.plugins.source._verify import gpg as way
from tests.fakes import fake_context, make_component, make_plugin
from tests.materials import Gpg

if TYPE_CHECKING:
    from collections.abc import Iterator

    from reconciler.model.offer import SourceReport

pytestmark = pytest.mark.needs("gpg", "gpgv")

COMPONENTS = {"rules": make_component("rules")}
VERIFY = [{"gpg": {"keyring": "vendor.gpg"}}]
NOW = datetime.now(UTC)


@pytest.fixture(scope="module")
def vendor() -> Iterator[Gpg]:
    with tempfile.TemporaryDirectory(prefix="g", dir="/tmp") as folder:  # the path of its agent's socket must be short
        made = Gpg(Path(folder) / "h")
        yield made
        made.close()


class Carried:
    """A folder of signed releases, and how often a look at it starts gpgv."""

    def __init__(self, folder: Path, vendor: Gpg, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self._vendor = vendor
        self.signer = vendor.new(f"{folder.name}@vendor.example")
        vendor.export(folder / "vendor.gpg", self.signer)
        self._starts = 0
        started = way.read_program

        def counted(*args: Any, **options: Any) -> Any:
            self._starts += 1
            return started(*args, **options)

        monkeypatch.setattr(way, "read_program", counted)

    def put(self, version: str, content: str) -> None:
        place = self.folder / "drop" / "rules" / version
        place.mkdir(parents=True, exist_ok=True)
        (place / "all.rules").write_text(content)
        (place / "SHA256SUMS").write_text(f"{sha256(content.encode()).hexdigest()}  all.rules\n")
        self.sign(version)

    def sign(self, version: str) -> None:
        self._vendor.sign(self.folder / "drop" / "rules" / version / "SHA256SUMS", self.signer)

    def look(self, *, after: timedelta = timedelta(hours=1)) -> tuple[SourceReport, int]:
        """Look with a source that was made for that, as each run does."""
        before = self._starts
        source = make_plugin(directory, {"path": "drop", "verify": VERIFY}, fake_context(self.folder, now=NOW + after))
        return source.releases(COMPONENTS), self._starts - before


@pytest.fixture
def carried(tmp_path: Path, vendor: Gpg, monkeypatch: pytest.MonkeyPatch) -> Carried:
    made = Carried(tmp_path, vendor, monkeypatch)
    made.put("1", "one")
    made.put("2", "two")
    return made


def test_what_did_not_change_is_verified_once_and_still_says_who_signed(carried: Carried) -> None:
    first, started = carried.look()
    assert started == 2
    again, started = carried.look()
    assert (again, started) == (first, 0)
    assert {release.signed.keys for release in again.releases if release.signed} == {(carried.signer,)}
    assert len(again.releases) == 2


def test_what_changed_is_verified_again_and_nothing_else(carried: Carried) -> None:
    carried.look()
    carried.put("2", "other")
    assert carried.look()[1] == 1
    (carried.folder / "drop/rules/1/SHA256SUMS").write_text(f"{sha256(b'evil').hexdigest()}  all.rules\n")
    (carried.folder / "drop/rules/1/all.rules").write_text("evil")
    report, started = carried.look()
    assert ([release.version for release in report.releases], started) == (["2"], 1)
    assert carried.look()[1] == 1, "what was refused isn't remembered"


def test_another_keyring_has_all_verified_again(carried: Carried, vendor: Gpg) -> None:
    carried.look()
    other = vendor.new("other@vendor.example")
    vendor.export(carried.folder / "vendor.gpg", carried.signer, other)
    report, started = carried.look()
    assert (len(report.releases), started) == (2, 2)
    vendor.export(carried.folder / "vendor.gpg", other)
    report, started = carried.look()
    assert (report.releases, started) == ((), 2)
    assert "which the keyring hasn't" in report.problems[0]


def test_a_proof_does_not_hold_for_ever_as_keys_expire(carried: Carried) -> None:
    carried.look()
    assert carried.look(after=timedelta(hours=24))[1] == 0
    assert carried.look(after=timedelta(hours=26))[1] == 2
    assert carried.look(after=timedelta(hours=1))[1] == 2, "a clock that was set back"


@pytest.mark.parametrize("harm", ["", "nonsense", '{"format": 1, "hashed": {}, "proven": {"x": [1, 2]}}'])
def test_a_memory_that_is_damaged_proves_nothing(carried: Carried, harm: str) -> None:
    carried.look()
    (memory,) = (carried.folder / "work").glob("directory-*.json")
    memory.write_text(harm)
    assert carried.look()[1] == 2
    assert carried.look()[1] == 0
