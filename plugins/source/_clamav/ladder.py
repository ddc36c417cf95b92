"""How one database comes to its newest version, by the way that fetches least.

1. What is at hand is as new as what there is: nothing is fetched. A mirror that has an older one isn't followed back.
2. Increments (cdiffs) one after another, each verified, applied, and its outcome proven by `.info`. What was fetched of
   them stays, so that what ends in the midst goes on there; as far as they reach, the database is kept.
3. The whole file: where nothing is at hand or what is is damaged, where increments are too many, one is empty (so a
   mirror says it), missing or wrong. It counts against `refresh_limit`; what is larger waits for apply. It may be older
   than what is announced, while a mirror updates: increments follow.

One increment that is announced and not there yet is waited for: a mirror writes it a moment later.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from reconciler.errors import InterruptedRunError, SourceError
from reconciler.formats.cdiff import apply, parse_cdiff, script_of
from reconciler.formats.cvd import Database, info_of, read_database, write_cld
from reconciler.model.offer import Unfetched
from reconciler.model.release import ANY_PLATFORM

from .._fetched.quarantine import OverLimitError
from .shelf import CDIFFS, cdiff_name, version_key
from .trust import WrongError, check_cdiff, check_container, check_sign, proven

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from reconciler.contracts import Context
    from reconciler.formats.cvd import Info

    from .._fetched.quarantine import Quarantine
    from .mirror import Mirror, Peek
    from .shelf import Held, Shelf
    from .trust import Trust

MAX_CDIFF = 64 * 2**20


class _EndedError(Exception):
    """Increments lead no further; `why` says it."""

    def __init__(self, why: str, *, missing: bool = False) -> None:
        super().__init__(why)
        self.why = why
        self.missing = missing


class _DamagedError(Exception):
    """What is at hand isn't what was kept."""


class RefusedError(SourceError):
    """A source answers, and what it has isn't what its vendor signed."""


@dataclass(slots=True)
class _Way:
    """How far increments led: the members, and `.info` of the last version that was proven."""

    database: str
    members: Mapping[str, bytes] = field(default_factory=dict)
    info: Info | None = None


@dataclass(slots=True)
class Told:
    """What is to be said of an update: sentences, those of them that are harmless, and what wasn't fetched."""

    problems: list[str] = field(default_factory=list)
    harmless: list[str] = field(default_factory=list)
    unfetched: list[Unfetched] = field(default_factory=list)


class Ladder:
    """Brings databases of one source up to date."""

    def __init__(
        self,
        mirror: Mirror,
        quarantine: Quarantine,
        shelf: Shelf,
        trust: Trust,
        context: Context,
        *,
        form: str,
        max_size: int,
    ) -> None:
        self._mirror = mirror
        self._quarantine = quarantine
        self._shelf = shelf
        self._trust = trust
        self._context = context
        self._form = form
        self._max_size = max_size

    def update(self, component: str, database: str, announced: int | None, told: Told) -> None:
        """Bring a database up to date, as far as that goes now.

        Raises:
            SourceError: it can't be had, or isn't what it should be.
        """
        peek: Peek | None = None
        base = next(iter(self._shelf.versions(database)), None)
        if announced is None:
            peek = self._mirror.peek(database, base.time if base else 0)
            announced = peek.version if peek else base.version if base else 0
        if base is not None and announced <= base.version:
            if announced < base.version:
                self._is_behind(database, announced, base, told)
            if self._has_form(base):
                if base.form == "cvd":
                    self._late_sign(base, told)
                return
        elif base is not None and self._form == "cld":
            base, done = self._by_cdiffs(base, announced, told)
            if done:
                return
        try:
            self._by_whole(database, base, peek, announced, told)
        except OverLimitError as error:
            told.unfetched.append(
                Unfetched(
                    component=component,
                    version=str(announced),
                    platform=ANY_PLATFORM,
                    size=error.needed,
                    released=None,
                    why=error.message,
                )
            )

    def _has_form(self, base: Held) -> bool:
        """Say whether what is at hand is in the form that is deployed, having it unpacked where that is all."""
        if base.form != self._form and self._form == "cld":
            made = base.read(self._max_size)
            self._keep_cld(made.members, base.database, proven(made, base.database, self._trust))
            return True
        return base.form == self._form

    def _is_behind(self, database: str, version: int, base: Held, told: Told) -> None:
        told.harmless.append(
            f"{database}: the source has {version} now and had {base.version} before; it isn't followed back"
        )

    # --- increments ---------------------------------------------------------------------------------------------------

    def _by_cdiffs(self, base: Held, upto: int, told: Told) -> tuple[Held | None, bool]:
        """Go from one version to a later one as far as increments lead.

        Give the version that was reached, None where what was at hand is damaged, and whether that is enough for now.
        """
        database, start = base.database, base.version
        if upto - start > CDIFFS:
            self._context.log.info("%s is %d versions behind: the whole file", database, upto - start)
            return base, False
        way = _Way(database)
        ended: _EndedError | None = None
        try:
            for number in range(start + 1, upto + 1):
                script = self._script(database, number, told)
                if not way.members:
                    way.members = self._members(base)
                way.members, way.info = self._applied(way.members, script, database, number)
        except _DamagedError as error:
            self._context.log.info("%s %d isn't what was kept: %s", database, start, error)
            return None, False
        except _EndedError as error:
            ended = error
        except (InterruptedRunError, SourceError):
            self._keep_way(way)
            raise
        if self._keep_way(way):
            base = self._shelf.versions(database)[0]
        if ended is None:
            return base, True
        waits = ended.missing and (way.info is not None or upto - start == 1)
        if waits:
            told.harmless.append(f"{database}: {upto} is announced, and {ended.why} yet")
        else:
            self._context.log.info("%s: %s: the whole file", database, ended.why)
        return base, waits

    def _members(self, base: Held) -> Mapping[str, bytes]:
        """Give the members of what is at hand, which is proven once more.

        Raises:
            _DamagedError: it isn't what was kept; it is gone now.
        """
        try:
            made = base.read(self._max_size)
            proven(made, base.database, self._trust)
        except WrongError as error:
            self._quarantine.drop(base.entry.key)
            self._shelf.renew()
            raise _DamagedError(error.message) from error
        return made.members

    def _keep_way(self, way: _Way) -> bool:
        """Keep what increments led to; False where they led nowhere."""
        if way.info is None:
            return False
        self._keep_cld(way.members, way.database, way.info)
        return True

    def _applied(
        self, members: Mapping[str, bytes], script: bytes, database: str, number: int
    ) -> tuple[Mapping[str, bytes], Info]:
        """Apply one increment, and prove what comes of it.

        Raises:
            _EndedError: it doesn't fit, or what comes of it isn't what the vendor signed.
        """
        name = cdiff_name(database, number)
        try:
            after = apply(members, script, database)
            info = proven(Database(info_of(after, database).header, after), database, self._trust)
            if info.header.version != number:
                raise ValueError(f"it makes version {info.header.version}")  # noqa: TRY301 - as what `apply` raises
        except (ValueError, WrongError) as error:
            said = error.message if isinstance(error, WrongError) else str(error)
            self._quarantine.drop(name)
            self._shelf.renew()
            raise _EndedError(f"{name} can't be applied: {said}") from error
        return after, info

    def _script(self, database: str, number: int, told: Told) -> bytes:
        """Give the commands of an increment, which is verified.

        Raises:
            _EndedError: there is none that can be used. SourceError: it can't be had now.
        """
        name = cdiff_name(database, number)
        entry = self._shelf.cdiff(database, number)
        try:
            if entry is None:
                self._fetch_cdiff(database, number)
                entry = self._shelf.cdiff(database, number)
                assert entry is not None
            with entry.open(name) as stream:
                return script_of(parse_cdiff(stream.read()))
        except WrongError as error:
            told.problems.append(f"{name} is refused: {error.message}")
            raise _EndedError(f"{name} is refused") from error
        except ValueError as error:
            self._quarantine.drop(name)
            self._shelf.renew()
            raise _EndedError(f"{name}: {error}") from error
        except SourceError as error:
            if self._mirror.is_gone(error):
                raise _EndedError(f"{name} isn't there", missing=True) from error
            raise

    def _fetch_cdiff(self, database: str, number: int) -> None:
        """Fetch and verify an increment and the signature beside it.

        Raises:
            WrongError: it isn't what its vendor signed. ValueError: it is no increment. SourceError: it can't be had.
        """
        name = cdiff_name(database, number)
        path = self._quarantine.fetch(name, name, lambda: self._mirror.open(name), size=None, limit=MAX_CDIFF)
        try:
            data = path.read_bytes()
            if not data:
                raise ValueError("it is empty: the whole file is to be taken")  # noqa: TRY301 - as what `parse_cdiff` raises
            cdiff = parse_cdiff(data)
            if cdiff.version != number:
                raise WrongError(f"it is the increment to {cdiff.version}")  # noqa: TRY301
            sign = self._mirror.sign(name)
            check_sign(sign, hashlib.sha256(data).digest(), self._trust, self._context)
            check_cdiff(cdiff, self._trust)
            if sign is not None:
                self._quarantine.place(name, f"{name}.sign").write_bytes(sign)
        except (ValueError, WrongError):
            self._quarantine.drop(name)
            raise
        self._shelf.keep_cdiff(database, number)

    # --- the whole file -----------------------------------------------------------------------------------------------

    def _by_whole(self, database: str, base: Held | None, peek: Peek | None, upto: int, told: Told) -> None:
        """Fetch the whole file, and go on with increments where it is older than what is announced."""
        if base is not None and base.form == self._form:
            peek = peek or self._mirror.peek(database)
            if peek is not None and peek.version <= base.version:  # anybody can announce, and with each look anew
                told.harmless.append(_is_still(database, upto, peek.version))
                return
        there = peek or self._mirror.whole(database)
        if why := self._shelf.refused(there):
            raise RefusedError(why)
        key = f"{database}-full"
        path = self._quarantine.fetch(
            key,
            there.name,
            lambda: self._mirror.open(there.name, there.validator),
            size=there.size,
            validator=there.validator,
            limit=self._max_size,
        )
        try:
            version = self._take(path, database, there.name, base, told)
        except WrongError as error:
            says = f"{there.name} is refused: {error.message}"
            self._shelf.note_refused(there, says)
            raise RefusedError(says) from error
        finally:
            self._quarantine.drop(key)
        if version is None:
            return
        held = next(one for one in self._shelf.versions(database) if one.version == version)
        if version < upto:
            self._context.log.info("%s is %d, and %d is announced", there.name, version, upto)
            if self._form == "cld":
                self._by_cdiffs(held, upto, told)
            else:
                told.harmless.append(_is_still(database, upto, version))
        if self._form == "cvd" and base is not None and base.version < version <= base.version + CDIFFS:
            self._pass_on(database, range(base.version + 1, version + 1), told)

    def _take(self, path: Path, database: str, name: str, base: Held | None, told: Told) -> int | None:
        """Prove a whole file and keep it in the form that is deployed; None where it is older than what is at hand."""
        with path.open("rb") as stream:
            try:
                made = read_database(stream, limit=self._max_size)
            except (ValueError, OSError) as error:
                raise WrongError(str(error)) from error
            info = proven(made, database, self._trust)
            version = info.header.version
            if base is not None and version < base.version:
                self._is_behind(database, version, base, told)
                return None
            sign = None
            if name.endswith(".cvd"):
                sign = self._mirror.sign(f"{database}-{version}.cvd")
                stream.seek(0)
                check_sign(sign, hashlib.file_digest(stream, "sha256").digest(), self._trust, self._context)
                check_container(stream, made, self._trust, needed=sign is None)
            elif self._trust.needs_sign:
                raise WrongError("a .cld has no signature beside it, and `require: sign` wants one")
        if self._form == "cld":
            self._keep_cld(made.members, database, info)
            return version
        if not name.endswith(".cvd"):
            raise SourceError(f"{database}.cvd isn't there", hint="take `form: cld`, or another mirror")
        path.replace(self._quarantine.place(version_key(database, version), f"{database}.cvd"))
        self._shelf.keep(database, "cvd", info)
        if sign is not None:
            self._shelf.keep_sign(database, version, sign)
        return version

    def _late_sign(self, base: Held, told: Told) -> None:
        """Fetch the signature beside a whole file that is at hand without: mirrors may have it later."""
        if self._shelf.sign(base.database, base.version) is not None:
            return
        sign = self._mirror.sign(f"{base.database}-{base.version}.cvd")
        if sign is None:
            return
        try:
            digest = bytes.fromhex(base.entry.files[base.name].sha256)
            check_sign(sign, digest, self._trust, self._context)
        except WrongError as error:
            told.problems.append(f"{base.database}-{base.version}.cvd.sign is refused: {error.message}")
            return
        self._shelf.keep_sign(base.database, base.version, sign)

    def _pass_on(self, database: str, numbers: Iterable[int], told: Told) -> None:
        """Fetch increments that nobody needs here, for those who take them from a mirror of ours."""
        for number in numbers:
            if self._shelf.cdiff(database, number) is None:
                try:
                    self._fetch_cdiff(database, number)
                except WrongError as error:
                    told.problems.append(f"{cdiff_name(database, number)} is refused: {error.message}")
                except (SourceError, ValueError) as error:
                    self._context.log.info("%s isn't passed on: %s", cdiff_name(database, number), error)

    def _keep_cld(self, members: Mapping[str, bytes], database: str, info: Info) -> None:
        place = self._quarantine.place(version_key(database, info.header.version), f"{database}.cld")
        try:
            with place.open("wb") as out:
                for part in write_cld(members, database):
                    out.write(part)
        except ValueError as error:
            raise WrongError(str(error)) from error
        except OSError as error:
            raise SourceError(f"{place} can't be written: {error.strerror}") from error
        self._shelf.keep(database, "cld", info)


def _is_still(database: str, announced: int, there: int) -> str:
    return f"{database}: {announced} is announced, and the whole file is {there} still"
