"""Releases from a registry of OCI artifacts: ghcr.io, Harbor, a registry of one's own.

Each version is a tag (or a digest that the options name), each layer of the artifact a file. What a tag stands for is
looked up at each look, so that one that moved shows. Manifests are asked for by their digest, and layers have theirs
from the manifest, so that plans are exact before anything is downloaded. What is to be unpacked, or has a signature of
its own bytes, is fetched into quarantine first.

One artifact that fails costs its release only; a registry of which nothing can be had is an error of this source.
"""

from __future__ import annotations

import io
from datetime import timedelta
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from reconciler.contracts import Traits
from reconciler.errors import SourceError
from reconciler.formats.oci import CREATED, VERSION, reference_of, registry_problem, repository_problem
from reconciler.formats.size import parse_size
from reconciler.model.offer import SourceReport, Unfetched
from reconciler.web.options import web_options

from ._fetched.quarantine import Quarantine
from ._oci.artifacts import Artifacts, TooLargeError, time_of
from ._oci.choice import Wanted, manifests_of, tagged, version_of
from ._oci.dated import Dates
from ._oci.documents import Documents
from ._oci.offered import Offered, Record
from ._oci.options import OPTIONS
from ._oci.registry import Registry
from ._verify.options import verifying

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager

    from reconciler.contracts import Context, TrustedKey
    from reconciler.model.delta import Incremental, Patch
    from reconciler.model.release import Component, Release, ReleaseFile, ReleaseKey

__all__ = ["OPTIONS", "PLUGIN", "TRAITS"]

SWEPT = timedelta(days=7)
"""What isn't offered any more stays in quarantine for so long: a saved plan may want it."""


class _Found:
    """What a look finds."""

    def __init__(self) -> None:
        self.releases: dict[ReleaseKey, Release] = {}
        self.unfetched: list[Unfetched] = []
        self.problems: list[str] = []
        self.failed: list[SourceError] = []
        self.is_reached = False


class Oci:
    """The `Source` protocol of reconciler/contracts.py."""

    def __init__(self, options: Mapping[str, Any], context: Context) -> None:
        self._name: str = options["registry"]
        self._wanted = {id_: Wanted.of(entry, options.get("verify")) for id_, entry in options["components"].items()}
        problems = [registry_problem(self._name)]
        problems += [repository_problem(entry.repository) for entry in self._wanted.values()]
        if problem := next(filter(None, problems), ""):
            raise SourceError(problem)
        work, clock, log = context.work, context.clock, context.log
        self._documents = Documents(work / "documents", log)
        self._quarantine = Quarantine(work / "quarantine", context, parse_size(options["refresh_limit"]))
        self._record = Record(work / "offered.json", clock, log)
        self._dates = Dates(work / "dates.json", context)
        self._registry = Registry(
            reference_of(self._name, "any").host,
            web_options(options),
            context,
            self._documents,
            insecure=options["insecure"],
            realm=options.get("realm", ""),
        )
        self._artifacts = Artifacts(
            self._registry,
            self._name,
            documents=self._documents,
            quarantine=self._quarantine,
            max_size=parse_size(options["max_size"]),
            context=context,
        )

    def releases(self, components: Mapping[str, Component]) -> SourceReport:
        """List the versions that the registry has of these components.

        Raises:
            SourceError: it can't be reached, or wants to be left alone.
        """
        self._registry.check()
        found = _Found()
        for id_ in sorted(self._wanted.keys() & components.keys()):
            self._look(components[id_], self._wanted[id_], found)
        if found.failed and not found.is_reached:
            raise found.failed[0]
        self._record.save()
        self._documents.sweep()
        self._quarantine.sweep(self._record.keys(), SWEPT)
        return SourceReport(
            self._name,
            tuple(found.releases.values()),
            problems=tuple(found.problems),
            unfetched=tuple(found.unfetched),
        )

    def fetch(self, component: str, version: str, platform: str) -> Release:
        """Fetch and verify a release that was too large to be fetched while a plan was made.

        Raises:
            SourceError: it can't be had, or isn't what it should be.
        """
        offered = self._offered((component, version, platform))
        release, known = self._artifacts.release(offered, self._wanted[component], unlimited=True)
        self._record.add(known)
        self._record.save()
        return release

    def open(self, release: Release, file: ReleaseFile) -> AbstractContextManager[BinaryIO]:
        """Open a file of a release, or one that is attached to it.

        Raises:
            SourceError: the release isn't known, or has no such file.
        """
        offered = self._offered((release.component, release.version, release.platform))
        digest = f"sha256:{file.sha256}"
        if offered.attached.get(file.name) == digest:
            content = self._documents.get(digest)
            if content is None:
                raise SourceError(f"{file.name} of {release.component} {release.version} isn't kept any more")
            return io.BytesIO(content)
        wanted = self._wanted[release.component]
        held = self._artifacts.held(offered)
        if held is None and offered.key:  # its digest was known when it was planned: that it is fetched is no news
            self._artifacts.release(offered, wanted, unlimited=True)
            held = self._artifacts.held(offered)
        if held is not None and file.name in held.files and held.files[file.name].sha256 == file.sha256:
            return held.open(file.name)
        layer = None if offered.key else self._artifacts.layers(offered, wanted).get(file.name)
        if layer is None or layer.digest != digest:
            raise SourceError(f"{release.component} {release.version} has no file {file.name!r:.120} of that digest")
        return cast("AbstractContextManager[BinaryIO]", self._registry.blob(wanted.repository, digest))

    def open_patch(self, incremental: Incremental, patch: Patch) -> AbstractContextManager[BinaryIO]:
        """See `Source`: a registry has none.

        Raises:
            SourceError: always.
        """
        del patch
        raise SourceError(f"there are no incrementals of {incremental.component} in a registry")

    def trusted(self) -> Sequence[TrustedKey]:
        """List the keys that artifacts must be signed with."""
        return self._artifacts.keys(self._wanted.values())

    # --- how ----------------------------------------------------------------------------------------------------------

    def _look(self, component: Component, wanted: Wanted, found: _Found) -> None:
        """Add what there is of a component."""
        try:
            known = self._known(component, wanted)
        except SourceError as error:
            if error.cooldown_until is not None:
                raise
            found.failed.append(error)
            found.problems.append(f"{component.id}: {error.message}")
            return
        found.is_reached = True
        for version, tag, top in known:
            self._one(component, wanted, (version, tag, top), found)
        for tag in wanted.floating:
            self._one(component, wanted, ("", tag, ""), found)

    def _known(self, component: Component, wanted: Wanted) -> list[tuple[str, str, str]]:
        """Give the versions that there are, each with its tag or its digest."""
        named = [(version, "", digest) for version, digest in wanted.digests.items()]
        if not wanted.by_tag:
            return named
        tags = tagged(self._registry.tags(wanted.repository), wanted, component)
        return named + [(version, tag, "") for version, tag in tags if version not in wanted.digests]

    def _one(self, component: Component, wanted: Wanted, place: tuple[str, str, str], found: _Found) -> None:
        """Add what a tag or a digest stands for; `place` is the version as far as it is known, the tag, the digest."""
        version, tag, top = place
        shown = f"{component.id}: {wanted.repository}{f':{tag}' if tag else f'@{top}'}"
        try:
            digest = top or self._registry.resolve(wanted.repository, tag)
            if digest is None:
                found.problems.append(f"{shown}: there is no such tag")
                return
            for offered in self._platforms(component, wanted, version, tag, digest):
                self._add(offered, wanted, found)
        except SourceError as error:
            if error.cooldown_until is not None:
                raise
            found.problems.append(f"{shown}: {error.message}")

    def _platforms(self, component: Component, wanted: Wanted, version: str, tag: str, top: str) -> Iterator[Offered]:
        """Give what an artifact is for each platform.

        Raises:
            SourceError: its document can't be had or read, or it has no version.
        """
        _content, document = self._registry.document(wanted.repository, top)
        try:
            manifests = manifests_of(top, document, wanted)
        except ValueError as error:
            raise SourceError(str(error)) from error
        if not version:
            said = document.annotations
            place, sha256 = f"{wanted.repository}:{tag}", top.removeprefix("sha256:")
            stated = version_of(said.get(VERSION, ""), wanted, component)
            version = stated or self._dates.version(place, sha256, time_of(said.get(CREATED, "")))
        if not component.scheme.accepts(version):
            scheme = component.scheme
            raise SourceError(
                f"{version} is no version of the scheme {scheme.name} (such as {scheme.example}); a tag that moves "
                "needs `version_scheme: calver`, or an annotation with a version"
            )
        for platform, manifest in manifests:
            yield Offered(
                component=component.id,
                version=version,
                platform=platform,
                repository=wanted.repository,
                tag=tag,
                top=top,
                manifest=manifest,
            )

    def _add(self, offered: Offered, wanted: Wanted, found: _Found) -> None:
        """Add the release that an artifact is.

        Raises:
            SourceError: it isn't one.
        """
        key = offered.component, offered.version, offered.platform
        try:
            release, known = self._artifacts.release(offered, wanted)
        except TooLargeError as error:
            self._record.add(offered)
            why, size, released = error.message, error.size, error.released
            found.unfetched.append(Unfetched(*key, size=size, released=released, why=why))
            return
        before = found.releases.setdefault(key, release)
        if before.files != release.files:
            raise SourceError(f"it says that it is {offered.version}, whose own tag stands for something else")
        self._record.add(known)

    def _offered(self, key: ReleaseKey) -> Offered:
        """Give which artifact a release is.

        Raises:
            SourceError: it was never seen, or long ago.
        """
        found = self._record.get(key)
        if found is None or key[0] not in self._wanted:
            raise SourceError(f"{key[0]} {key[1]} isn't among what {self._name} was seen to have", hint="plan again")
        return found


def _traits(options: Mapping[str, Any]) -> Traits:
    ways = [entry.get("verify", options.get("verify")) for entry in options["components"].values()]
    url = f"http{'' if options['insecure'] else 's'}://{options['registry']}"
    return verifying(Traits(network=True, url=url), *ways)


TRAITS = _traits
PLUGIN = Oci
