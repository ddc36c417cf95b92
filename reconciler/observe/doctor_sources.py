"""The doctor's look at sources: whether each can be read, which keys it trusts, and what it fetched and nobody has yet.

* a source that can't be read, or doesn't want to be asked now; what it says is odd
* keys, with the fingerprints that people compare; one that can't be used is a failure, as nothing it signs is believed
* what isn't signed, and what was once and isn't any more
* how much lies in quarantine
"""

from __future__ import annotations

import os
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from reconciler.guards import Caught
from reconciler.model.report import Diagnosis
from reconciler.observe.observed import ask_sources, known_reports
from reconciler.present.fields import time_text
from reconciler.present.words import count_text, size_text

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence
    from pathlib import Path

    from reconciler.contracts import TrustedKey
    from reconciler.model.offer import SourceReport
    from reconciler.model.report import DoctorLevel
    from reconciler.model.spec import SourceSpec
    from reconciler.workspace import Workspace

QUARANTINE = "quarantine"
"""The folder, in the work folder of a source, of what it fetched and doesn't vouch for yet."""
SIGN_IT = "give it `verify`, or take what it has from a signed repository: docs/signed-sources.md"


def examine_sources(work: Workspace, names: Collection[str]) -> tuple[list[Diagnosis], list[dict[str, Any]]]:
    """Ask the named sources, or all, and look at each: what was found, and an entry for the document.

    Raises:
        StateError: the state can't be read or written.
    """
    ask_sources(work, names)
    reports = {report.source: report for report in known_reports(work)}
    found: list[Diagnosis] = []
    entries = []
    for source in work.spec.sources:
        if names and source.name not in names:
            continue
        report = reports.get(source.name)
        keys, problem = trusted_keys(work, source)
        fetched = _size(work.plugins.room(source) / QUARANTINE)
        found += [*_reached(source, report, work.plugins.refusal(source.plugin)), *keys_found(source, keys, problem)]
        found += [*_signed(source, report), *_quarantine(source, fetched)]
        entries.append(_entry(source, report, keys, fetched))
    return found, entries


def trusted_keys(work: Workspace, source: SourceSpec) -> tuple[Sequence[TrustedKey], str]:
    """Give the keys that a source trusts, and why that can't be said where it can't."""
    if work.plugins.refusal(source.plugin):
        return (), ""
    with Caught() as caught:
        return work.plugins.trusted(source), ""
    return (), caught.error.message if caught.error else ""


def keys_found(source: SourceSpec, keys: Sequence[TrustedKey], problem: str) -> Iterator[Diagnosis]:
    """Give what was found of a source's keys."""
    what = f"key of source {source.name}"
    if problem:
        yield _diagnosis(what, "fail", problem)
    for key in keys:
        if key.problem:
            fix = "get it from the publisher by a way that you trust, or correct `verify` of the source"
            yield _diagnosis(what, "fail", key.problem, fix)
            continue
        yield _diagnosis(what, "ok", ", ".join(filter(None, (f"{key.scheme} {key.fingerprint}", key.place, key.about))))


def _diagnosis(what: str, level: DoctorLevel, finding: str, fix: str = "") -> Diagnosis:
    return Diagnosis(client="", what=what, level=level, finding=" ".join(finding.split()), fix=" ".join(fix.split()))


def _reached(source: SourceSpec, report: SourceReport | None, refusal: str) -> Iterator[Diagnosis]:
    what = f"source {source.name}"
    if refusal or report is None:
        yield _diagnosis(what, "warn", f"it isn't asked: {refusal}" if refusal else "it was never read")
        return
    if report.error:
        level: DoctorLevel = "warn" if source.may_be_absent else "fail"
        yield _diagnosis(what, level, report.error, "look at the options of this source, and at the way to it")
    else:
        yield _diagnosis(what, "ok", f"it was read: {count_text(len(report.releases), 'release')}")
    if report.cooldown_until:
        yield _diagnosis(what, "warn", f"it isn't asked again before {time_text(report.cooldown_until)}")
    for sentence in (*([report.accepted] if report.accepted else ()), *report.problems):
        yield _diagnosis(what, "warn", sentence)


def _signed(source: SourceSpec, report: SourceReport | None) -> Iterator[Diagnosis]:
    what = f"signatures of source {source.name}"
    if source.signed:
        yield _diagnosis(what, "ok", "all that it offers is signed")
        return
    how = "some of what it offers may be not signed" if source.vouches else "not signed"
    yield _diagnosis(what, "warn", how, "" if source.vouches else SIGN_IT)
    if report is not None and report.signed_up_to and report.signed_until:
        up_to = ", ".join(f"{name} {version}" for name, version in sorted(report.signed_up_to.items())[:5])
        until = time_text(report.signed_until)
        held = "" if source.may_outrank else "; what isn't signed and outranks that is held"
        yield _diagnosis(what, "warn", f"it had signatures up to {up_to}, the last time at {until}{held}")


def _quarantine(source: SourceSpec, fetched: int) -> Iterator[Diagnosis]:
    if fetched:
        yield _diagnosis(
            f"quarantine of source {source.name}", "ok", f"{size_text(fetched)} were fetched to be verified"
        )


def _size(folder: Path) -> int:
    """Add up the sizes of files in a folder; what vanishes while it is looked at doesn't count."""
    total = 0
    for place, _folders, names in os.walk(folder):
        for name in names:
            try:
                total += os.lstat(os.path.join(place, name)).st_size  # noqa: PTH118 - there may be many
            except OSError:
                continue
    return total


def _entry(source: SourceSpec, report: SourceReport | None, keys: Sequence[TrustedKey], fetched: int) -> dict[str, Any]:
    """Give a source as the document has it; no fingerprint, place or word is an empty text there."""
    until = report.cooldown_until if report else None
    return {
        "name": source.name,
        "type": source.plugin.name,
        "error": (report.error or None) if report else None,
        "releases": len(report.releases) if report else 0,
        "signed": "all" if source.signed else "some" if source.vouches else "none",
        "cooldown_until": time_text(until) if until else None,
        "quarantine_bytes": fetched,
        "keys": [asdict(key) for key in keys],
    }
