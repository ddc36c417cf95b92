"""Databases of ClamAV, signed by their vendor: from its network, a private mirror or a folder.

    <url>/<database>.cvd, .cld          whole files
    <url>/<database>-<version>.cdiff    how each version comes from the one before
    <url>/*.sign                        signatures beside them
    <url>/dns.txt                       which versions there are

What is offered was fetched, proven and put together before, in the folder of this source: plans know its exact digests.
`_clamav/ladder.py` says by which way, and `_clamav/trust.py` what is proven. A database that can't be had costs itself
only; what was had of it before stays. Where none can be had, the source can't be read.

Whoever is asked is told honestly who asks; a vendor's network that wants to be left alone is.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, BinaryIO
from urllib.parse import quote, urlsplit

from reconciler.contracts import Traits
from reconciler.errors import SourceError
from reconciler.formats.size import parse_size
from reconciler.model.offer import SourceReport
from reconciler.web.options import web_options

from ._clamav.ladder import Ladder, RefusedError, Told
from ._clamav.mirror import Mirror
from ._clamav.options import OPTIONS
from ._clamav.shelf import Shelf, key_of
from ._clamav.trust import load_trust, trusted
from ._fetched.quarantine import Quarantine

if TYPE_CHECKING:
    from collections.abc import Mapping
    from contextlib import AbstractContextManager
    from datetime import datetime

    from reconciler.contracts import Context, TrustedKey
    from reconciler.model.delta import Incremental, Patch
    from reconciler.model.release import Component, Release, ReleaseFile

_OWN = re.compile(r"clamav[-_]([a-z0-9_]+)")
_URL = re.compile(r"(https?|file)://", re.IGNORECASE)


class ClamAV:
    """The `Source` protocol of reconciler/contracts.py, `Fetching` and `Trusting`."""

    def __init__(self, options: Mapping[str, Any], context: Context) -> None:
        self._context = context
        self._url = _url_of(options["url"], context)
        named: Mapping[str, Any] | None = options.get("components")
        self._databases = None if named is None else {id_: str(one["database"]) for id_, one in named.items()}
        self._form: str = options["form"]
        self._verify = options["verify"][0] if "verify" in options else None
        self._max_size = parse_size(options["max_size"])
        self._mirror = Mirror(self._url, options, web_options(options), context)
        self._quarantine = Quarantine(context.work / "quarantine", context, parse_size(options["refresh_limit"]))

    def releases(self, components: Mapping[str, Component]) -> SourceReport:
        """Bring the databases of these components up to date, and list what there is of them.

        Raises:
            SourceError: none of them can be had.
        """
        wanted = {id_: database for id_ in sorted(components) if (database := self._database(id_))}
        if not wanted:
            return SourceReport(self._url)
        shelf, told = self._shelf(), Told()
        with self._quarantine.alone():
            rests = self._update(wanted, shelf, told)
            found = [release for id_, name in wanted.items() for release in shelf.releases(id_, name, self._form)]
            shelf.sweep(wanted.values())
        return SourceReport(
            self._url,
            tuple(found),
            problems=tuple(told.problems + told.harmless),
            harmless=tuple(told.harmless),
            unfetched=tuple(told.unfetched),
            cooldown_until=rests,
        )

    def fetch(self, component: str, version: str, platform: str) -> Release:
        """Fetch and prove what was too large for a plan; what comes may be a later version, or an earlier one.

        Raises:
            SourceError: it can't be had.
        """
        del platform
        database = self._database(component)
        if not database:
            raise SourceError(f"{component} is no database of this source")
        shelf, told = self._shelf(), Told()
        with self._quarantine.unlimited():
            self._update({component: database}, shelf, told)
            found = list(shelf.releases(component, database, self._form))
        if not found or int(found[0].version) < int(version):
            why = "; ".join(told.problems + told.harmless) or "it isn't there any more"
            raise SourceError(f"{component} {version} can't be had: {why}")
        return found[0]

    def open(self, release: Release, file: ReleaseFile) -> AbstractContextManager[BinaryIO]:
        """Open a file of a release, or one that goes along with it, from where it was put when it was proven.

        Raises:
            SourceError: it isn't there any more.
        """
        key = key_of(self._database(release.component), release.version, file.name)
        entry = self._quarantine.held(key)
        if entry is None:
            raise SourceError(f"{file.name} of {release.component} {release.version} isn't kept any more; plan again")
        return entry.open(file.name)

    def open_patch(self, incremental: Incremental, patch: Patch) -> AbstractContextManager[BinaryIO]:
        """Open none: increments of ClamAV go into what is offered.

        Raises:
            SourceError: always.
        """
        raise SourceError(f"{patch.name} of {incremental.component}: this source offers no incrementals")

    def trusted(self) -> list[TrustedKey]:
        """List the keys and certificates that are trusted; see `Trusting`."""
        return trusted(self._verify, self._context)

    def _shelf(self) -> Shelf:
        return Shelf(self._quarantine, load_trust(self._verify, self._context), self._context, self._max_size)

    def _database(self, component: str) -> str:
        """Give the database that a component is; empty where it is none of this source."""
        own = _OWN.fullmatch(component)
        if self._databases is None:
            return own[1] if own else ""
        return self._databases.get(component, "")

    def _update(self, wanted: Mapping[str, str], shelf: Shelf, told: Told) -> datetime | None:
        """Bring databases up to date; give the time before which the source doesn't want to be asked again.

        Raises:
            SourceError: none of them can be had.
        """
        ladder = Ladder(
            self._mirror,
            self._quarantine,
            shelf,
            load_trust(self._verify, self._context),
            self._context,
            form=self._form,
            max_size=self._max_size,
        )
        self._mirror.web.check()
        announced = self._mirror.announced(set(wanted.values()))
        answered, away = 0, None
        for component, database in wanted.items():
            try:
                ladder.update(component, database, announced.get(database), told)
                answered += 1
            except RefusedError as error:
                told.problems.append(f"{component}: {error.message}")
                answered += 1
            except SourceError as error:
                told.problems.append(f"{component}: {error.message}")
                away = away or error
                if error.cooldown_until is not None:
                    break
        if away is not None and not answered:
            raise away
        return away.cooldown_until if away is not None else None


def _url_of(url: str, context: Context) -> str:
    """Give the URL of a place: a folder may be written as a path."""
    if _URL.match(url):
        parts = urlsplit(url)
        if parts.username or parts.password:
            raise SourceError("user and password don't belong into `url`", hint="write `username` and `password`")
        return url.rstrip("/")
    return f"file://{quote(str(context.path(url, SourceError).absolute()))}"


def _traits(options: Mapping[str, Any]) -> Traits:
    remote = options["url"].lower().startswith("http")
    return Traits(network=remote, url=options["url"] if remote else "", signed="verify" in options)


TRAITS = _traits
PLUGIN = ClamAV
__all__ = ["OPTIONS", "PLUGIN", "TRAITS"]
