"""Asking the sources: what they offer, checked before anything believes it.

A source is hostile until checked, whoever wrote it. What it returns is held to these rules, and what breaks one is left
out with a sentence that says so; the rest of its releases stay:

* the component was asked for, and the spec lets this source serve it (`components` of the source)
* the version is one of the component's scheme, the platform `any` or `os-arch`
* 1 to 10,000 files, of names that may be on a client, each name once, with a size and a SHA-256
* files that are attached are held to the same rules, in number and names together with the others
* each (component, version, platform) once, or several times with the same content
* an unfetched release keeps the rules of `unfetched`
* an incremental is of such a component, from one such version to another, with files, sizes and digests as above; where
  the source lists its TO too, it must make that release's files, and no others

What it has of a component that no catalog knows is told, too: nobody would ever fetch that.

A source that fails as a whole is a report with an `error`; the others are not disturbed. What it offered before isn't
offered now: nothing could be had of it, and whoever cut it off mustn't gain by that.

* Whose signatures vouch for a release is believed of sources only that verify signatures of keys that the spec trusts.
* Versions that a signed source withdrew are offered by nobody. One that isn't signed can't withdraw.
* What isn't signed may be offered only where it doesn't outrank what is signed and serves the component, by what is
  known of that from any time, unless the spec allows it.
* A source never falls back: what isn't signed may not outrank what the same source ever had signed either, whether the
  spec had it verified then or a signature is missing now. From one scheme of signatures to another it may change.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from reconciler.errors import SourceError, UpdoserError, printable
from reconciler.guards import blaming
from reconciler.hints import suggestion
from reconciler.model.delta import incremental_problem
from reconciler.model.offer import Fetchable, HeldBack, Offer, OfferedIncremental, SourceReport, Unfetched
from reconciler.model.release import (
    MAX_KEYS,
    MAX_ROLE,
    PLATFORM,
    SHA256,
    Release,
    ReleaseFile,
    SignedBy,
    file_name_problem,
    release_time_problem,
)
from reconciler.observe.unfetched import checked_unfetched

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from reconciler.contracts import Source
    from reconciler.model.delta import Incremental
    from reconciler.model.offer import Withdrawal
    from reconciler.model.release import Component
    from reconciler.model.spec import SourceSpec
    from reconciler.model.version import Version

AT_ONCE = 8
"""How many sources are asked at a time."""
MAX_RELEASES = 50_000
MAX_INCREMENTALS = 200_000
MAX_FILES = 10_000
MAX_FILE_SIZE = 2**40
MAX_NOTES = 20_000
MAX_PROBLEMS = 200
MAX_SENTENCE = 500
MAX_EXPIRIES = 100

Key = tuple[str, str, str]
"""What names a release: component, version, platform."""


def read_sources(
    sources: Sequence[tuple[SourceSpec, Source]],
    components: Mapping[str, Component],
    catalog: Collection[str] | None = None,
) -> list[SourceReport]:
    """Ask all sources at once what they offer of these components (by id), and check what they say.

    `catalog` has the ids of all components that there are (None: it isn't known). The reports stand in the order of the
    sources; their releases are sorted by component, version and platform.
    """
    if not sources:
        return []
    with ThreadPoolExecutor(max_workers=min(AT_ONCE, len(sources)), thread_name_prefix="source") as pool:
        return list(pool.map(lambda pair: _read(pair[0], pair[1], components, catalog), sources))


def find_withdrawals(reports: Iterable[SourceReport], specs: Iterable[SourceSpec]) -> dict[str, list[Withdrawal]]:
    """Give what signed sources withdrew, by the source's name, also of sources that didn't answer this time."""
    signed = {spec.name: spec for spec in specs if spec.signed}
    return {
        report.source: [entry for entry in report.withdrawn if signed[report.source].may_serve(entry.component)]
        for report in reports
        if report.source in signed
    }


def merge_offers(
    reports: Sequence[SourceReport],
    specs: Sequence[SourceSpec] = (),
    components: Mapping[str, Component] | None = None,
    *,
    away: bool = False,
) -> tuple[list[Offer], list[HeldBack]]:
    """Give each release once, from the first source that has it, and each that is held back here, with the reason.

    Whoever signed these bytes vouches for them, whichever source they come from, and says when they came out and what
    is new in them. A release that two sources offer with
    different content is held: neither is offered. So is one that outranks signed sources and may not. What a single
    source held back stands in its report. With `away`, what sources that can't be read now offered before comes, too.
    """
    guard = _Guard(reports, specs, components or {})
    held: dict[HeldBack, None] = {}
    offers: dict[Key, list[Offer]] = {}
    for report in reports:
        if report.error and not away:
            continue
        for release in report.releases:
            refusal = guard.refusal(report.source, release)
            if refusal:
                held[HeldBack(release.component, release.version, refusal)] = None
            else:
                offers.setdefault(_key(release), []).append(Offer(report.source, release))
    agreed = []
    for rivals in offers.values():
        if len({offer.release.digest for offer in rivals}) == 1:
            agreed.append(_vouched(rivals))
        else:
            said = " and ".join(f"{offer.source} ({offer.release.digest[:12]})" for offer in rivals)
            release = rivals[0].release
            says = f"{_shown(release)} is held: the content differs between the sources {said}"
            held[HeldBack(release.component, release.version, says)] = None
    return agreed, list(held)


def merge_unfetched(
    reports: Sequence[SourceReport],
    specs: Sequence[SourceSpec] = (),
    components: Mapping[str, Component] | None = None,
) -> tuple[list[Fetchable], list[HeldBack]]:
    """Give each unfetched release once, from the first source that has it, and each that is held back, with the reason.

    What any source offers with its bytes isn't unfetched.
    """
    guard = _Guard(reports, specs, components or {})
    signs = {spec.name: spec.signed if spec.signed or not spec.vouches else None for spec in specs}
    offered = {_key(release) for report in reports if not report.error for release in report.releases}
    found: dict[Key, Fetchable] = {}
    held: dict[HeldBack, None] = {}
    for report in reports:
        for entry in () if report.error else report.unfetched:
            refusal = guard.refusal(report.source, entry)
            if refusal:
                held[HeldBack(entry.component, entry.version, refusal)] = None
            elif entry.key not in offered:
                found.setdefault(entry.key, Fetchable(report.source, entry, signs.get(report.source)))
    return list(found.values()), list(held)


def _vouched(rivals: Sequence[Offer]) -> Offer:
    """Give the first of some offers of the same bytes, with what the first of those that are signed says of them."""
    first, signed = rivals[0], next((offer.release for offer in rivals if offer.release.signed), None)
    if signed is None or first.release.signed:
        return first
    said = replace(first.release, signed=signed.signed, released=signed.released, notes=signed.notes)
    return Offer(first.source, said)


class _Guard:
    """Keeps what isn't signed from outranking what is, or was."""

    def __init__(
        self, reports: Sequence[SourceReport], specs: Sequence[SourceSpec], components: Mapping[str, Component]
    ) -> None:
        self._specs = {spec.name: spec for spec in specs}
        self._components = components
        self._highest: dict[str, tuple[Version, str]] = {}
        self._never_read = [spec for spec in specs if spec.signed]
        self._before = {report.source: report for report in reports}
        for report in reports:
            spec = self._specs.get(report.source)
            if spec is None:
                continue
            if spec in self._never_read and (report.releases or report.withdrawn or not report.error):
                self._never_read.remove(spec)
            for release in report.releases:
                if spec.signed or (spec.vouches and release.signed):
                    self._learn(spec, release)

    def _learn(self, spec: SourceSpec, release: Release) -> None:
        component = self._components.get(release.component)
        if component is not None and component.scheme.accepts(release.version):
            found = component.version(release.version), spec.name
            self._highest[component.id] = max(self._highest.get(component.id, found), found)

    def refusal(self, source: str, release: Release | Unfetched) -> str:
        """Say why a release may not be offered; empty when it may."""
        spec, component = self._specs.get(source), self._components.get(release.component)
        if spec is None or spec.signed or spec.may_outrank or component is None:
            return ""
        if spec.vouches and (isinstance(release, Unfetched) or release.signed):  # that is found out when it is fetched
            return ""
        fallen = self._fallen(source, release, component)
        if fallen:
            return f"{self._held(source, release)}{fallen}"
        for signed in self._never_read:
            if signed.may_serve(component.id):
                return f"{self._held(source, release)}the signed source {signed.name} was never read"
        version, name = self._highest.get(component.id, (None, ""))
        if version is None or component.version(release.version) <= version:
            return ""
        why = f"would outrank {version.text} of {name}, which is; `may_outrank: true` allows it"
        return f"{self._held(source, release)}{why}"

    def _fallen(self, source: str, release: Release | Unfetched, component: Component) -> str:
        """Say that the source had lower versions signed, where it had."""
        before = self._before[source]
        known = before.signed_up_to.get(component.id, "")
        if not component.scheme.accepts(known) or component.version(release.version) <= component.version(known):
            return ""
        until = f" when it was read at {before.signed_until:%Y-%m-%dT%H:%M:%SZ}" if before.signed_until else ""
        back = "ask its publisher for the signature" if self._specs[source].vouches else "verify it as before"
        return f"{known} of the same source still was{until}: {back}, or `may_outrank: true` allows it"

    def _held(self, source: str, release: Release | Unfetched) -> str:
        return f"{_shown(release)} of source {source} is held: it isn't signed, and "


def remember_signed(
    report: SourceReport, before: SourceReport | None, components: Mapping[str, Component], now: datetime
) -> SourceReport:
    """Give a report with what is known of signatures from before, and what was signed when it was read `now`."""
    highest = dict(before.signed_up_to) if before else {}
    for release in (*(before.releases if before else ()), *report.releases):
        component, known = components.get(release.component), highest.get(release.component, "")
        if component is None or not release.signed or not component.scheme.accepts(release.version):
            continue
        if not component.scheme.accepts(known) or component.version(known) < component.version(release.version):
            highest[release.component] = release.version
    fresh = any(release.signed for release in report.releases) and not report.accepted
    until = now if fresh else before.signed_until if before else None
    return replace(report, signed_up_to=highest, signed_until=until)


def merge_incrementals(reports: Iterable[SourceReport], offers: Iterable[Offer]) -> list[OfferedIncremental]:
    """Give each incremental to a release that is offered, once, from the first source that has it."""
    goals = {offer.release.digest for offer in offers}
    found: dict[tuple[str, str, str], OfferedIncremental] = {}
    for report in reports:
        for entry in () if report.error else report.incrementals:
            if entry.to_digest in goals:
                found.setdefault(
                    (entry.component, entry.platform, entry.name), OfferedIncremental(report.source, entry)
                )
    return list(found.values())


def _read(
    spec: SourceSpec, source: Source, components: Mapping[str, Component], catalog: Collection[str] | None
) -> SourceReport:
    wanted = {id_: component for id_, component in components.items() if spec.may_serve(id_)}
    try:
        with blaming("the source broke", SourceError):
            return _told(spec, source, source.releases(wanted), components, catalog)
    except UpdoserError as error:
        words = _sentence(f"{error.message} ({error.hint})" if error.hint else str(error))
        return SourceReport(spec.name, error=words, cooldown_until=_cooldown(getattr(error, "cooldown_until", None)))


def _cooldown(until: object) -> datetime | None:
    """Take a time at which a source may be asked again, if it is one that can be reckoned with."""
    return until if isinstance(until, datetime) and not release_time_problem(until) else None


def _told(
    spec: SourceSpec,
    source: Source,
    report: SourceReport,
    components: Mapping[str, Component],
    catalog: Collection[str] | None,
) -> SourceReport:
    """Check a report, and add what it tells of components that no catalog has."""
    strange = [name for name in report.others if catalog is not None and name not in catalog][:MAX_PROBLEMS]
    told = [f"{name}: no catalog has such a component; {suggestion(name, catalog or ())}" for name in strange]
    report = replace(report, problems=(*report.problems, *told), harmless=(*report.harmless, *told))
    return _checked(spec, source, report, components)


def _checked(
    spec: SourceSpec, source: Source, report: SourceReport, components: Mapping[str, Component]
) -> SourceReport:
    if len(report.releases) > MAX_RELEASES:
        raise SourceError(f"it lists {len(report.releases)} releases; at most {MAX_RELEASES} are read")
    found: dict[Key, Release] = {}
    torn: set[Key] = set()
    problems = [_sentence(problem) for problem in report.problems]
    for offered in report.releases:
        problem = _release_problem(spec, offered, components)
        if problem:
            problems.append(_sentence(f"{_shown(offered)}: {problem}"))
            continue
        release = replace(
            offered,
            files=tuple(sorted(offered.files)),
            signed=_vouching(spec, offered),
            attached=tuple(sorted(offered.attached)),
        )
        if found.setdefault(_key(release), release).files != release.files:
            torn.add(_key(release))
    problems += [_sentence(f"{_shown(found[key])}: it is listed twice, with different content") for key in sorted(torn)]
    incrementals, refused = _checked_incrementals(spec, report, components, found)
    problems += refused
    unfetched, refused = checked_unfetched(spec, source, report, components, found)
    problems += map(_sentence, refused)
    if len(problems) > MAX_PROBLEMS:
        problems[MAX_PROBLEMS:] = [f"and {len(problems) - MAX_PROBLEMS} problems more"]
    releases = sorted(
        (release for key, release in found.items() if key not in torn),
        key=lambda release: (
            release.component,
            components[release.component].version(release.version),
            release.platform,
        ),
    )
    return SourceReport(
        spec.name,
        tuple(releases),
        problems=tuple(problems),
        error=_sentence(report.error),
        incrementals=incrementals,
        withdrawn=tuple(entry for entry in report.withdrawn if entry.component in components),
        accepted=_sentence(report.accepted),
        cooldown_until=_cooldown(report.cooldown_until),
        harmless=tuple(map(_sentence, report.harmless)),
        expires=_expiries(report) if spec.signed else {},
        unfetched=unfetched,
    )


def _expiries(report: SourceReport) -> dict[str, datetime]:
    """Take when signatures expire, of so many roles as can be shown; one that isn't a time is left out."""
    return {
        printable(role[:MAX_ROLE]): at.astimezone(UTC)
        for role, at in sorted(report.expires.items())[:MAX_EXPIRIES]
        if _is_moment(at)
    }


def _is_moment(value: object) -> bool:
    return isinstance(value, datetime) and value.tzinfo is not None


def _vouching(spec: SourceSpec, release: Release) -> SignedBy | None:
    """Give whose signatures vouch for a release; a source that verifies none has no say in that."""
    if not spec.signed and not (spec.vouches and release.signed):
        return None
    said = release.signed or SignedBy()
    keys = tuple(printable(key[:MAX_ROLE]) for key in said.keys[:MAX_KEYS])
    role, scheme = printable(said.role[:MAX_ROLE]), printable(said.scheme[:MAX_ROLE])
    return replace(said, source=spec.name, role=role, keys=keys, scheme=scheme)


def _checked_incrementals(
    spec: SourceSpec, report: SourceReport, components: Mapping[str, Component], releases: Mapping[Key, Release]
) -> tuple[tuple[Incremental, ...], list[str]]:
    """Give the incrementals of a report that keep the rules, sorted, and a sentence for each that doesn't."""
    if len(report.incrementals) > MAX_INCREMENTALS:
        raise SourceError(f"it lists {len(report.incrementals)} incrementals; at most {MAX_INCREMENTALS} are read")
    good: dict[Key, Incremental] = {}
    problems = []
    for entry in report.incrementals:
        goal = releases.get((entry.component, entry.to_version, entry.platform))
        problem = _incremental_problem(spec, entry, components, goal)
        if problem:
            problems.append(_sentence(f"{entry.component} {entry.name}: {problem}"))
        else:
            good.setdefault((entry.component, entry.name, entry.platform), entry)
    return tuple(good[key] for key in sorted(good)), problems


def _incremental_problem(
    spec: SourceSpec, entry: Incremental, components: Mapping[str, Component], goal: Release | None
) -> str:
    component = components.get(entry.component)
    if component is None:
        return "nobody asked for this component"
    if not spec.may_serve(component.id):
        return "the spec doesn't let this source serve the component"
    problem = incremental_problem(entry)
    if problem:
        return problem
    if not entry.from_version or entry.refused:
        return "it comes from no release"
    for version in (entry.from_version, entry.to_version):
        if not component.scheme.accepts(version):
            return f"{version} isn't a version of the scheme {component.scheme.name}"
    if goal is None:
        return ""
    sizes = {file.name: file.size for file in goal.files}
    if goal.digest != entry.to_digest or not entry.makes(frozenset(sizes)):
        return f"it doesn't make the files of {entry.to_version} that the source lists"
    if any(patch.result != sizes[patch.name] for patch in entry.patches):
        return f"a patch of it makes a file of another size than {entry.to_version} has"
    return ""


def _release_problem(spec: SourceSpec, release: Release, components: Mapping[str, Component]) -> str:
    """Say what is wrong with a release that a source lists; an empty string when nothing is."""
    component = components.get(release.component)
    if component is None:
        return "nobody asked for this component"
    if not spec.may_serve(component.id):
        return "the spec doesn't let this source serve the component"
    if not component.scheme.accepts(release.version):
        return f"the version isn't one of the scheme {component.scheme.name} (such as {component.scheme.example})"
    if not PLATFORM.fullmatch(release.platform):
        return f"the platform {release.platform!r} is neither `any` nor `os-arch`"
    files = (*release.files, *release.attached)
    if not release.files or len(files) > MAX_FILES:
        return f"it has {len(files)} files; 1 to {MAX_FILES} are allowed"
    if len({file.name for file in files}) < len(files):
        return "a file name stands in it twice"
    if len(release.notes) > MAX_NOTES:
        return f"its notes are longer than {MAX_NOTES} characters"
    problem = release_time_problem(release.released) if release.released is not None else ""
    if problem:
        return f"its release time {problem}"
    return next(filter(None, map(_file_problem, files)), "")


def _file_problem(file: ReleaseFile) -> str:
    problem = file_name_problem(file.name)
    if problem:
        return problem
    if not 0 <= file.size <= MAX_FILE_SIZE:
        return f"the size of {file.name} is {file.size} bytes"
    if not SHA256.fullmatch(file.sha256):
        return f"the SHA-256 of {file.name} isn't 64 hexadecimal digits"
    return ""


def _key(release: Release) -> Key:
    return release.component, release.version, release.platform


def _shown(release: Release | Unfetched) -> str:
    platform = "" if release.platform == "any" else f" ({release.platform})"
    return f"{release.component} {release.version}{platform}"


def _sentence(text: str) -> str:
    """Make what a source said fit to be shown: one line, nothing that a terminal would act on, not endless."""
    return printable(" ".join(text[:MAX_SENTENCE].split()))
