"""Releases that sources have and nobody knows the bytes of yet: what they say of them, checked before it is believed.

The rules are those of releases (`upstream`), as far as there is something to check:

* the component was asked for, and the spec lets this source serve it
* the version is one of the component's scheme, the platform `any` or `os-arch`
* the size is a number of bytes, or isn't known; the release time is one that a release can have
* the source can fetch, and lists each (component, version, platform) once; what it lists as a release isn't unfetched
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from reconciler.contracts import Fetching
from reconciler.errors import SourceError, printable
from reconciler.model.release import PLATFORM, VERSION_NAME, release_time_problem

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from reconciler.contracts import Source
    from reconciler.model.offer import SourceReport, Unfetched
    from reconciler.model.release import Component, ReleaseKey
    from reconciler.model.spec import SourceSpec

MAX_UNFETCHED = 10_000
MAX_SIZE = 2**40
MAX_WHY = 300


def checked_unfetched(
    spec: SourceSpec,
    source: Source,
    report: SourceReport,
    components: Mapping[str, Component],
    listed: Collection[ReleaseKey],
) -> tuple[tuple[Unfetched, ...], list[str]]:
    """Give the unfetched releases of a report that keep the rules, sorted, and a sentence for each that doesn't.

    `listed` are the releases that it lists with their bytes.

    Raises:
        SourceError: there are too many.
    """
    if len(report.unfetched) > MAX_UNFETCHED:
        raise SourceError(f"it lists {len(report.unfetched)} unfetched releases; at most {MAX_UNFETCHED} are read")
    good: dict[ReleaseKey, Unfetched] = {}
    problems = []
    for entry in report.unfetched:
        problem = _problem(spec, source, entry, components)
        if problem:
            problems.append(f"{entry.component} {entry.version}: {problem}")
        elif entry.key not in listed:
            good.setdefault(entry.key, replace(entry, why=printable(" ".join(entry.why[:MAX_WHY].split()))))
    ordered = sorted(good.values(), key=lambda entry: _order(entry, components))
    return tuple(ordered), problems


def _order(entry: Unfetched, components: Mapping[str, Component]) -> tuple[object, ...]:
    return entry.component, components[entry.component].version(entry.version), entry.platform


def _problem(spec: SourceSpec, source: Source, entry: Unfetched, components: Mapping[str, Component]) -> str:
    """Say what is wrong with an unfetched release that a source lists; an empty string when nothing is."""
    component = components.get(entry.component)
    if component is None:
        return "nobody asked for this component"
    if not spec.may_serve(component.id):
        return "the spec doesn't let this source serve the component"
    if not component.scheme.accepts(entry.version) or not VERSION_NAME.fullmatch(entry.version):
        return f"the version isn't one of the scheme {component.scheme.name} (such as {component.scheme.example})"
    if not PLATFORM.fullmatch(entry.platform):
        return f"the platform {entry.platform!r} is neither `any` nor `os-arch`"
    if entry.size is not None and (type(entry.size) is not int or not 0 <= entry.size <= MAX_SIZE):
        return f"its size is {entry.size} bytes"
    problem = release_time_problem(entry.released) if entry.released is not None else ""
    if problem:
        return f"its release time {problem}"
    return "" if isinstance(source, Fetching) else "nobody knows its bytes, and the source can't fetch it"
