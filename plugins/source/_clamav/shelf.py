"""What a source of databases has at hand: those that were proven, and the increments that it passes on.

All of it lies in quarantine, under `<database>-<version>` and `<database>-<number>.cdiff`. A database that was proven
with other keys than those that are trusted now is proven again before it is offered.
"""

from __future__ import annotations

import json
import re
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from reconciler.errors import SourceError
from reconciler.files import write_whole
from reconciler.formats.counts import count_text
from reconciler.formats.cvd import read_database
from reconciler.formats.text import read_json
from reconciler.model.release import ANY_PLATFORM, Release, ReleaseFile

from .trust import WrongError, check_container, check_sign, proven

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from reconciler.contracts import Context
    from reconciler.formats.cvd import Database, Info

    from .._fetched.kept import Fetched
    from .._fetched.quarantine import Quarantine
    from .mirror import Peek
    from .trust import Trust

VERSIONS = 2
"""How many versions of a database are offered: what a plan named a moment ago is still there when it is applied."""
CDIFFS = 30
"""How many increments back are kept, passed on, and applied one after another at most."""
UNUSED = timedelta(days=1)
MAX_NOTED = 256 * 2**10
_CDIFF = re.compile(r"([A-Za-z0-9_]+)-([0-9]+)\.cdiff(\.sign)?")


def version_key(database: str, version: int) -> str:
    """Give what a version is kept under."""
    return f"{database}-{version}"


def cdiff_name(database: str, number: int) -> str:
    """Give the name of the increment to a version, which is also what it is kept under."""
    return f"{database}-{number}.cdiff"


def sign_name(database: str, version: int) -> str:
    """Give the name of the signature beside a whole file, which is also what it is kept under."""
    return f"{database}-{version}.cvd.sign"


def key_of(database: str, version: str, name: str) -> str:
    """Give the key under which a file of a release lies."""
    found = _CDIFF.fullmatch(name)
    if found:
        return cdiff_name(found[1], int(found[2]))
    return name if name.endswith(".cvd.sign") else f"{database}-{version}"


@dataclass(frozen=True, slots=True)
class Held:
    """A version of a database that is at hand."""

    entry: Fetched
    database: str
    version: int
    form: str
    time: int

    @property
    def name(self) -> str:
        """The name of its file."""
        return f"{self.database}.{self.form}"

    def read(self, limit: int) -> Database:
        """Read it.

        Raises:
            WrongError: it is damaged. SourceError: it isn't there any more.
        """
        with self.entry.open(self.name) as stream:
            try:
                return read_database(stream, limit=limit)
            except (ValueError, OSError) as error:
                raise WrongError(f"{self.name} of version {self.version}, as it was kept: {error}") from error


class Shelf:
    """The databases and increments of one source in its quarantine."""

    def __init__(self, quarantine: Quarantine, trust: Trust, context: Context, limit: int) -> None:
        self._quarantine = quarantine
        self._trust = trust
        self._context = context
        self._limit = limit
        self._entries: dict[str, Fetched] | None = None
        self._refused = context.work / "refused.json"
        self._proven: dict[tuple[str, datetime], bool] = {}

    def renew(self) -> None:
        """Look at the disk again."""
        self._entries = None

    def _all(self) -> Mapping[str, Fetched]:
        if self._entries is None:
            self._entries = {entry.key: entry for entry in self._quarantine.all()}
        return self._entries

    def versions(self, database: str) -> list[Held]:
        """Give the versions of a database that were proven with what is trusted now, the newest first."""
        found = [held for held in map(_held, self._all().values()) if held is not None and held.database == database]
        return sorted((one for one in found if self._is_proven(one)), key=lambda one: -one.version)

    def _is_proven(self, held: Held) -> bool:
        if held.entry.facts.get("trust") == self._trust.mark:
            return True
        one = held.entry.key, held.entry.kept
        if one not in self._proven:
            try:
                self._prove(held)
                self._proven[one] = True
            except SourceError as error:
                self._context.log.info("%s isn't offered: %s", held.entry.key, error.message)
                self._proven[one] = False
        return self._proven[one]

    def _prove(self, held: Held) -> None:
        """Hold a version that was proven with another trust to all that is asked of one that is fetched now.

        Raises:
            WrongError: it isn't so, or that can't be told any more. SourceError: it isn't there any more.
        """
        made = held.read(self._limit)
        proven(made, held.database, self._trust)
        if held.form != "cvd":
            if self._trust.needs_sign:
                raise WrongError("it may be made of what had no signature beside it, and `require: sign` wants one")
            return
        name = sign_name(held.database, held.version)
        beside = self._all().get(name)
        sign = None
        if beside is not None:
            with beside.open(name) as stream:
                sign = stream.read()
        check_sign(sign, bytes.fromhex(held.entry.files[held.name].sha256), self._trust, self._context)
        with held.entry.open(held.name) as content:
            check_container(content, made, self._trust, needed=sign is None)

    def keep(self, database: str, form: str, info: Info) -> None:
        """Have the files that lie under a version's key stand for it."""
        header = info.header
        facts: dict[str, Any] = {
            "database": database,
            "version": header.version,
            "form": form,
            "time": header.time,
            "built": header.built,
            "signatures": header.signatures,
            "trust": self._trust.mark,
        }
        self._quarantine.keep(version_key(database, header.version), facts)
        self.renew()

    def cdiff(self, database: str, number: int) -> Fetched | None:
        """Give an increment that was verified with what is trusted now."""
        entry = self._all().get(cdiff_name(database, number))
        return entry if entry is not None and entry.facts.get("trust") == self._trust.mark else None

    def keep_cdiff(self, database: str, number: int) -> Fetched:
        """Have the files that lie under an increment's key stand for it."""
        facts = {"database": database, "cdiff": number, "trust": self._trust.mark}
        kept = self._quarantine.keep(cdiff_name(database, number), facts)
        self.renew()
        return kept

    def sign(self, database: str, version: int) -> Fetched | None:
        """Give the signature beside a whole file that was looked at with what is trusted now."""
        entry = self._all().get(sign_name(database, version))
        return entry if entry is not None and entry.facts.get("trust") == self._trust.mark else None

    def keep_sign(self, database: str, version: int, sign: bytes) -> None:
        """Keep the signature beside a whole file."""
        name = sign_name(database, version)
        self._quarantine.place(name, name).write_bytes(sign)
        self._quarantine.keep(name, {"database": database, "sign": version, "trust": self._trust.mark})
        self.renew()

    def refused(self, peek: Peek) -> str:
        """Say why a whole file was refused that is there still; empty where it is another, or that can't be told."""
        known = _read_refused(self._refused).get(peek.name)
        if not peek.validator or not isinstance(known, dict):
            return ""
        same = known.get("validator") == peek.validator and known.get("trust") == self._trust.mark
        return str(known.get("why", "")) if same else ""

    def note_refused(self, peek: Peek, why: str) -> None:
        """Remember a whole file that was refused, so that it isn't fetched again with every look."""
        noted = {"validator": peek.validator, "trust": self._trust.mark, "why": why}
        write_whole(self._refused, json.dumps(_read_refused(self._refused) | {peek.name: noted}).encode(), 0o600)

    def releases(self, component: str, database: str, form: str) -> Iterable[Release]:
        """Give the versions at hand as releases, with what a mirror of ours passes on."""
        for held in [one for one in self.versions(database) if one.form == form][:VERSIONS]:
            facts = held.entry.facts
            main = held.entry.files[held.name]
            sign = self.sign(database, held.version) if form == "cvd" else None
            others = list(sign.files.values()) if sign else []
            numbers = range(held.version, max(held.version - CDIFFS, 0), -1)
            for number in numbers:
                entry = self.cdiff(database, number)
                if entry is None:
                    break
                others += entry.files.values()
            yield Release(
                component=component,
                version=str(held.version),
                platform=ANY_PLATFORM,
                files=(ReleaseFile(main.name, main.size, main.sha256),),
                released=datetime.fromtimestamp(held.time, UTC) if held.time else None,
                notes=f"{count_text(facts['signatures'], 'signature')}, built {facts['built']}",
                signed=self._trust.signed,
                attached=tuple(sorted(ReleaseFile(one.name, one.size, one.sha256) for one in others)),
            )

    def sweep(self, databases: Iterable[str]) -> None:
        """Remove what isn't offered or passed on any more."""
        wanted = set()
        for database in databases:
            held = self.versions(database)
            wanted |= {one.entry.key for one in held[: 2 * VERSIONS]} | {f"{database}-full"}
            wanted |= {sign_name(database, one.version) for one in held[: 2 * VERSIONS]}
            newest = held[0].version if held else 0
            wanted |= {cdiff_name(database, number) for number in range(max(newest - CDIFFS, 0), newest + CDIFFS)}
        self._quarantine.sweep(wanted, UNUSED)


def _held(entry: Fetched) -> Held | None:
    facts = entry.facts
    try:
        held = Held(
            entry=entry,
            database=facts["database"],
            version=int(facts["version"]),
            form=facts["form"],
            time=int(facts["time"]),
        )
    except (KeyError, TypeError, ValueError):
        return None
    return held if held.name in entry.files and entry.key == version_key(held.database, held.version) else None


def _read_refused(file: Path) -> dict[str, Any]:
    with suppress(OSError, ValueError):
        found = read_json(file.read_bytes()[:MAX_NOTED])
        if isinstance(found, dict):
            return found
    return {}
