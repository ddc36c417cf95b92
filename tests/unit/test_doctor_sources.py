"""The doctor says of each source whether it can be read, which keys it trusts, and what isn't signed."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from reconciler.contracts import TrustedKey
from reconciler.errors import SourceError
from reconciler.model.offer import SourceReport
from reconciler.observe.doctor_server import examine_server
from reconciler.observe.doctor_sources import examine_sources
from reconciler.present.document import checks_document
from reconciler.present.render import render
from reconciler.present.views import CHECKS
from tests.fakes import NOW

if TYPE_CHECKING:
    from tests.unit.workbench import Bench, Opened

KEY = TrustedKey("trust/vendor.pub", "minisign", "39DF3D7302CB8A87")
ROOT = TrustedKey("trust/root.json", "tuf", "ab" * 32, about="root 3: 2 of 3 must sign, until 2027-01-01")
BROKEN = TrustedKey("trust/gone.gpg", "gpg", problem="trust/gone.gpg can't be read: No such file or directory")


@pytest.fixture
def bench(opened: Opened) -> Bench:
    return opened(("a",))


def trusting(bench: Bench, *keys: TrustedKey) -> None:
    bench.source.trusted = lambda: keys  # type: ignore[attr-defined]


def spec(bench: Bench, **fields: Any) -> None:
    bench.spec = replace(bench.spec, sources=tuple(replace(one, **fields) for one in bench.spec.sources))


def looked(bench: Bench) -> tuple[list[tuple[str, str, str]], Any]:
    with bench.work() as work:
        checks, sources = examine_sources(work, ())
    return [(check.level, check.what, check.finding) for check in checks], checks_document(checks, sources)


def test_keys_are_shown_with_what_people_compare_and_where_they_stand(bench: Bench) -> None:
    trusting(bench, KEY, ROOT)
    spec(bench, signed=True)
    found, document = looked(bench)
    assert found == [
        ("ok", "source drop", "it was read: 1 release"),
        ("ok", "key of source drop", "minisign 39DF3D7302CB8A87, trust/vendor.pub"),
        ("ok", "key of source drop", f"tuf {'ab' * 32}, trust/root.json, root 3: 2 of 3 must sign, until 2027-01-01"),
        ("ok", "signatures of source drop", "all that it offers is signed"),
    ]
    (source,) = document["sources"]
    assert (source["signed"], [key["fingerprint"] for key in source["keys"]]) == ("all", [KEY.fingerprint, "ab" * 32])
    for form in ("text", "junit", "json"):
        assert "39DF3D7302CB8A87" in render(document, form, CHECKS, every=True) or form == "junit"


def test_a_key_that_cant_be_read_is_a_failure_of_any_doctor(bench: Bench) -> None:
    trusting(bench, KEY, BROKEN)
    found, document = looked(bench)
    assert ("fail", "key of source drop", BROKEN.problem) in found
    assert "trust/gone.gpg" in render(document, "junit", CHECKS)
    with bench.work() as work:
        levels = {check.finding: check.level for check in examine_server(work) if check.what == "key of source drop"}
    assert levels == {"minisign 39DF3D7302CB8A87, trust/vendor.pub": "ok", BROKEN.problem: "fail"}


def test_a_source_that_cant_say_which_keys_it_trusts_harms_no_other(bench: Bench) -> None:
    def broken() -> None:
        raise SourceError("its options are odd")

    bench.source.trusted = broken  # type: ignore[attr-defined]
    assert ("fail", "key of source drop", "its options are odd") in looked(bench)[0]


def test_what_isnt_signed_is_told_and_that_it_was_once(bench: Bench) -> None:
    found, document = looked(bench)
    assert ("warn", "signatures of source drop", "not signed") in found
    assert (document["sources"][0]["signed"], document["sources"][0]["keys"]) == ("none", [])
    spec(bench, vouches=True)
    found, document = looked(bench)
    assert ("warn", "signatures of source drop", "some of what it offers may be not signed") in found
    assert document["sources"][0]["signed"] == "some"
    bench.state.record_source(SourceReport("drop", signed_up_to={"rules": "8"}, signed_until=NOW), NOW)
    spec(bench, vouches=False)
    says = f"it had signatures up to rules 8, the last time at {NOW:%Y-%m-%dT%H:%M:%SZ}"
    assert ("warn", "signatures of source drop", f"{says}; what isn't signed and outranks that is held") in looked(
        bench
    )[0]


def test_a_source_that_cant_be_read_or_wants_to_be_left_alone_is_told_with_the_time(bench: Bench) -> None:
    until = NOW + timedelta(hours=4)
    bench.source.error = SourceError("the vendor said no", cooldown_until=until)
    found, document = looked(bench)
    assert found[:2] == [
        ("fail", "source drop", "the vendor said no"),
        ("warn", "source drop", f"it isn't asked again before {until:%Y-%m-%dT%H:%M:%SZ}"),
    ]
    assert document["sources"][0]["error"] == "the vendor said no"


def test_what_lies_in_quarantine_is_counted(bench: Bench) -> None:
    with bench.work() as work:
        folder = work.plugins.room(work.spec.sources[0]) / "quarantine" / "rules-8"
    folder.mkdir(parents=True)
    (folder / "a").write_bytes(b"x" * 2048)
    found, document = looked(bench)
    assert ("ok", "quarantine of source drop", "2.0 KiB were fetched to be verified") in found
    assert document["sources"][0]["quarantine_bytes"] == 2048


def test_the_summary_counts_sources_and_no_clients(bench: Bench) -> None:
    text = render(looked(bench)[1], "text", CHECKS, every=True)
    assert text.splitlines()[-1] == "2 checks of 1 source: 0 fail, 1 warn, 1 ok"
