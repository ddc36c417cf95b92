"""Files of a web server, and releases of a forge (GitHub, GitLab): versions found out, files fetched, proven, unpacked.

* Each component has a place that says which versions there are (`_http/versions.py`, `_http/forge.py`), and a URL for
  their files. The newest is fetched into quarantine by itself, as no digest is known before; up to `keep` older ones
  are offered where they were fetched before, and else once somebody wants them.
* A release never changes. Where each version has a URL of its own, it is fetched once. Where all have the same, what
  came under a version stays that version: a file that changed before its version did, or after it, is waited for.
  Where there is no version but the file, each change makes one, named by the time of the change and by its bytes.
* What is the same is asked for again at most every `interval`, by conditional requests.
* What was proven is offered as long as the place that names versions names it, or can't be asked. One component that
  fails costs the others nothing; where all fail, the source has failed.
"""

from __future__ import annotations

from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any, BinaryIO

from reconciler.contracts import Traits
from reconciler.errors import SourceError
from reconciler.formats.size import parse_size
from reconciler.model.offer import SourceReport
from reconciler.model.release import ANY_PLATFORM
from reconciler.model.version import SCHEMES
from reconciler.web.options import web_options
from reconciler.web.web import Web

from ._fetched.quarantine import Quarantine
from ._http.documents import Documents
from ._http.look import Look, Means
from ._http.options import OPTIONS, base_of, check
from ._http.told import Told
from ._verify.options import verifying

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager

    from reconciler.contracts import Context, TrustedKey
    from reconciler.model.delta import Incremental, Patch
    from reconciler.model.release import Component, Release, ReleaseFile

SWEPT_AFTER = timedelta(days=1)
"""How long what isn't offered any more is kept: plans may want it still."""


class Http:
    """The protocols `Source`, `Fetching` and `Trusting` of reconciler/contracts.py."""

    def __init__(self, options: Mapping[str, Any], context: Context) -> None:
        self._base = base_of(options)
        self._web = Web(self._base, web_options(options), context)
        quarantine = Quarantine(context.work / "quarantine", context, parse_size(options["refresh_limit"]))
        documents = Documents(self._web, context)
        self._quarantine = quarantine
        self._means = Means(self._web, documents, quarantine, context, max_size=parse_size(options["max_size"]))
        base = f"{self._base.rstrip('/')}/"
        self._told = {id_: Told.of(id_, base, options, context) for id_ in sorted(options["components"])}

    def releases(self, components: Mapping[str, Component]) -> SourceReport:
        """Find out which versions there are of these components, and fetch the newest of each.

        Raises:
            SourceError: none of them can be found out; the error is that of the first.
        """
        self._means.documents.begin()
        kept = self._quarantine.all()
        looks = [
            Look(self._means, told, components[id_].scheme, kept)
            for id_, told in self._told.items()
            if id_ in components
        ]
        failed: list[SourceError] = []
        for look in looks:
            try:
                look.run()
            except SourceError as error:
                failed.append(error)
                look.fail(error)
        if failed and len(failed) == len(looks):
            raise failed[0]
        asked = {told for told in self._told if told in components}
        keys = {fetched.key for fetched in kept if fetched.facts.get("component") not in asked}
        self._quarantine.sweep({*keys, *(key for look in looks for key in look.keys)}, SWEPT_AFTER)
        self._means.documents.sweep()
        return SourceReport(
            self._base,
            tuple(release for look in looks for release in look.releases),
            problems=tuple(problem for look in looks for problem in look.problems),
            harmless=tuple(problem for look in looks for problem in look.waiting),
            unfetched=tuple(entry for look in looks for entry in look.unfetched),
            cooldown_until=next((error.cooldown_until for error in failed if error.cooldown_until), None),
        )

    def fetch(self, component: str, version: str, platform: str) -> Release:
        """Fetch a release that is too large to be fetched while a plan is made; see `contracts.Fetching`.

        Raises:
            SourceError: it can't be had, isn't what it should be, or isn't there any more.
        """
        told = self._told.get(component)
        if told is None or platform != ANY_PLATFORM:
            raise SourceError(f"there is no {component} for {platform} here")
        with self._quarantine.unlimited():
            kept = self._quarantine.all()
            for scheme in SCHEMES.values():  # the contract doesn't say of which one it is; it matters to tags only
                if scheme.accepts(version):
                    release = Look(self._means, told, scheme, kept).fetch(version)
                    if release is not None:
                        return release
        raise SourceError(f"{component} {version} isn't there any more", hint="make another plan")

    @contextmanager
    def open(self, release: Release, file: ReleaseFile) -> Iterator[BinaryIO]:
        """Open a file of a release that was fetched.

        Raises:
            SourceError: it isn't in quarantine any more.
        """
        wanted = release.component, release.version
        for fetched in self._quarantine.all():
            kept = fetched.files.get(file.name)
            named = fetched.facts.get("component"), fetched.facts.get("version")
            if named == wanted and kept is not None and kept.sha256 == file.sha256:
                with fetched.open(file.name) as stream:
                    yield stream
                return
        raise SourceError(
            f"{file.name} of {release.component} {release.version} isn't here any more", hint="make another plan"
        )

    def open_patch(self, incremental: Incremental, patch: Patch) -> AbstractContextManager[BinaryIO]:
        """Offer no incrementals; see `contracts.Source`.

        Raises:
            SourceError: always.
        """
        raise SourceError(f"there is no incremental {incremental.name} of {incremental.component}: {patch.name}")

    def trusted(self) -> Sequence[TrustedKey]:
        """List the keys that what is fetched must be signed with; see `contracts.Trusting`."""
        return list(dict.fromkeys(key for told in self._told.values() for key in told.verification.keys()))  # noqa: SIM118


def _traits(options: Mapping[str, Any]) -> Traits:
    """Say what it does, once it is certain that the options fit together."""
    check(options)
    url = base_of(options)
    own = [component.get("verify", options.get("verify")) for component in options["components"].values()]
    return verifying(Traits(network=not url.startswith("file:"), url=url), *own)


__all__ = ["OPTIONS", "PLUGIN", "TRAITS"]
TRAITS = _traits
PLUGIN = Http
