"""Asking the sources: what they offer, checked before anything believes it.

A source is hostile until checked, whoever wrote it. What it returns is held to these rules, and what breaks one is left
out with a sentence that says so; the rest of its releases stay:

* the component was asked for, and the spec lets this source serve it (`components` of the source)
* the version is one of the component's scheme, the platform `any` or `os-arch`
* 1 to 10,000 files, of names that may be on a client, each name once, with a size and a SHA-256
* each (component, version, platform) once, or several times with the same content

A source that fails as a whole is a report with an `error`; the others are not disturbed.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING

from reconciler.errors import SourceError, UpdoserError
from reconciler.model.release import (
    PLATFORM,
    SHA256,
    Offer,
    Release,
    ReleaseFile,
    SourceReport,
    file_name_problem,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from reconciler.contracts import Source
    from reconciler.model.release import Component
    from reconciler.model.spec import SourceSpec

AT_ONCE = 8
"""How many sources are asked at a time."""
MAX_RELEASES = 50_000
MAX_FILES = 10_000
MAX_FILE_SIZE = 2**40
MAX_NOTES = 20_000
MAX_PROBLEMS = 200
MAX_SENTENCE = 500

Key = tuple[str, str, str]
"""What names a release: component, version, platform."""


def read_sources(
    sources: Sequence[tuple[SourceSpec, Source]], components: Mapping[str, Component]
) -> list[SourceReport]:
    """Ask all sources at once what they offer of these components (by id), and check what they say.

    The reports stand in the order of the sources; their releases are sorted by component, version and platform.
    """
    if not sources:
        return []
    with ThreadPoolExecutor(max_workers=min(AT_ONCE, len(sources)), thread_name_prefix="source") as pool:
        return list(pool.map(lambda pair: _read(pair[0], pair[1], components), sources))


def merge_offers(reports: Iterable[SourceReport]) -> tuple[list[Offer], list[str]]:
    """Give each release once, from the first source that has it, and a sentence for each that sources disagree about.

    A release that two sources offer with different content is held: neither is offered. The sentences cover only such
    disagreements; what a single source held back stands in its report.
    """
    offers: dict[Key, list[Offer]] = {}
    for report in reports:
        for release in report.releases:
            offers.setdefault(_key(release), []).append(Offer(report.source, release))
    agreed, problems = [], []
    for rivals in offers.values():
        if len({offer.release.digest for offer in rivals}) == 1:
            agreed.append(rivals[0])
        else:
            said = " and ".join(f"{offer.source} ({offer.release.digest[:12]})" for offer in rivals)
            problems.append(f"{_shown(rivals[0].release)} is held: the content differs between the sources {said}")
    return agreed, problems


def _read(spec: SourceSpec, source: Source, components: Mapping[str, Component]) -> SourceReport:
    wanted = {id_: component for id_, component in components.items() if _may_serve(spec, id_)}
    try:
        return _checked(spec, source.releases(wanted), components)
    except UpdoserError as error:
        return SourceReport(spec.name, error=_sentence(f"{error.message} ({error.hint})" if error.hint else str(error)))
    except Exception as error:  # noqa: BLE001 - a plugin of others may raise anything; one source must not stop the rest
        return SourceReport(spec.name, error=_sentence(f"the source broke: {type(error).__name__}: {error}"))


def _checked(spec: SourceSpec, report: SourceReport, components: Mapping[str, Component]) -> SourceReport:
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
        release = replace(offered, files=tuple(sorted(offered.files)))
        if found.setdefault(_key(release), release).files != release.files:
            torn.add(_key(release))
    problems += [_sentence(f"{_shown(found[key])}: it is listed twice, with different content") for key in sorted(torn)]
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
    return SourceReport(spec.name, tuple(releases), tuple(problems), _sentence(report.error))


def _may_serve(spec: SourceSpec, component: str) -> bool:
    return spec.components is None or component in spec.components


def _release_problem(spec: SourceSpec, release: Release, components: Mapping[str, Component]) -> str:
    """Say what is wrong with a release that a source lists; an empty string when nothing is."""
    component = components.get(release.component)
    if component is None:
        return "nobody asked for this component"
    if not _may_serve(spec, component.id):
        return "the spec doesn't let this source serve the component"
    if not component.scheme.accepts(release.version):
        return f"the version isn't one of the scheme {component.scheme.name} (such as {component.scheme.example})"
    if not PLATFORM.fullmatch(release.platform):
        return f"the platform {release.platform!r} is neither `any` nor `os-arch`"
    if not 1 <= len(release.files) <= MAX_FILES:
        return f"it has {len(release.files)} files; 1 to {MAX_FILES} are allowed"
    if len({file.name for file in release.files}) < len(release.files):
        return "a file name stands in it twice"
    if len(release.notes) > MAX_NOTES:
        return f"its notes are longer than {MAX_NOTES} characters"
    if release.released is not None and release.released.tzinfo is None:
        return "its release time has no time zone"
    return next(filter(None, map(_file_problem, release.files)), "")


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


def _shown(release: Release) -> str:
    platform = "" if release.platform == "any" else f" ({release.platform})"
    return f"{release.component} {release.version}{platform}"


def _sentence(text: str) -> str:
    """Make what a source said fit to be shown: one line, nothing that a terminal would act on, not endless."""
    shown = "".join(char if char.isprintable() else " " for char in text[:MAX_SENTENCE])
    return " ".join(shown.split())
