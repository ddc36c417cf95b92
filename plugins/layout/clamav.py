"""What freshclam reads: databases at the top, its publisher's increments and signatures, and `dns.txt`.

    <path>/daily.cvd, main.cld, …            the databases, each in the form that its release has
    <path>/daily-27002.cdiff                 increments of the publisher, as far back as `cdiffs` says
    <path>/daily-27002.cdiff.sign            their signatures, and those of the databases (ClamAV 1.5 and later)
    <path>/daily-27002.cvd.sign
    <path>/rules.ndb, …                      files of signatures in other forms, for `DatabaseCustomURL`
    <path>/dns.txt                           what the publisher has in the DNS: the version of each database

* Increments and signatures are the publisher's, passed on as they came (`attached`). None is made here: nobody else can
  sign them. What didn't come isn't there, and is answered with 404, from which freshclam goes on to the whole file.
* What belongs to a version comes before the database that has it, and `dns.txt` comes last: whoever believes it early
  would ask for what isn't there, and fetch whole files.
* A database is in it once. freshclam takes what is newer, and never goes back.
* Fields of `dns.txt` count by their position: the engine's version, main, daily, the time, whether engines should warn
  (never), the functionality level, safebrowsing, bytecode. What isn't there is 0.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from reconciler.contracts import Traits
from reconciler.errors import RepositoryError
from reconciler.formats.cvd import HEADER, parse_header
from reconciler.model.mirror import LayoutTraits, Placed
from reconciler.model.release import ANY_PLATFORM, ReleaseFile

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence
    from datetime import datetime

    from reconciler.contracts import Context
    from reconciler.formats.cvd import Header
    from reconciler.model.mirror import OpenFile
    from reconciler.model.release import Release

RECORD = "dns.txt"
FIELDS = ("engine", "main", "daily", "time", "warning", "flevel", "safebrowsing", "bytecode")
DATABASE = re.compile(r"([A-Za-z0-9_]{1,64})(?:[-.][A-Za-z0-9_.-]*)?\.(cvd|cld|cud)")
"""ClamAV goes by what stands before the first `-` or `.`."""
PLAIN = re.compile(
    r"[A-Za-z0-9_][A-Za-z0-9_.-]*\.(?:hdb|hdu|hsb|hsu|mdb|mdu|msb|msu|ndb|ndu|ldb|ldu|imp|fp|sfp|ftm|cdb|crb|pwdb|ign"
    r"|ign2|idb|gdb|pdb|wdb|yar|yara|cbc)"
)
INCREMENT = re.compile(r"([A-Za-z0-9_]{1,64})-([0-9]{1,10})\.cdiff(?:\.sign)?")
SIGNATURE = re.compile(r"([A-Za-z0-9_]{1,64})-([0-9]{1,10})\.cvd\.sign")
FIRST, THEN, LAST = range(3)

OPTIONS: Mapping[str, Any] = {
    "type": "object",
    "description": "What freshclam and other tools of ClamAV read: databases, increments and signatures of their "
    "publisher, and dns.txt.",
    "properties": {
        "cdiffs": {
            "type": "integer",
            "minimum": 0,
            "maximum": 1000,
            "default": 30,
            "description": "How many increments of each database stay: clients that are further back fetch it whole.",
            "examples": [30],
        },
        "engine": {
            "type": "string",
            "pattern": r"^[0-9]{1,4}(\.[0-9]{1,4}){1,3}$",
            "default": "0.0.0",
            "description": "The engine's version in dns.txt, for who copies that into a DNS of his own. No engine is "
            "told to warn of it.",
            "examples": ["1.4.3"],
        },
    },
    "additionalProperties": False,
}


class ClamAv:
    """The `Layout` protocol of reconciler/contracts.py."""

    traits = LayoutTraits(
        keeps=1, forward="freshclam doesn't go back, and clients that have it keep it until a higher one comes"
    )

    def __init__(self, options: Mapping[str, Any], context: Context) -> None:
        del context
        self._cdiffs: int = options["cdiffs"]
        self._engine: str = options["engine"]

    def refusal(self, release: Release) -> str:
        """Say why freshclam couldn't have a release; empty when it can."""
        if release.platform != ANY_PLATFORM:
            return f"it is for {release.platform}, and freshclam knows no platforms"
        odd = next((file.name for file in release.files if not _is_of_clamav(file.name)), "")
        if odd:
            return f"{odd} is no file that ClamAV loads; `components` of the repository says what it has"
        return ""

    def place(self, releases: Sequence[Release], others: Sequence[Release], there: Collection[str]) -> Sequence[Placed]:
        """Say what lies where.

        Raises:
            RepositoryError: two releases have one database, or a file of one name.
        """
        owners: dict[str, str] = {}
        databases: dict[str, ReleaseFile] = {}
        placed: list[Placed] = []
        for release in releases:
            label = f"{release.component} {release.version}"
            for file in release.files:
                found = DATABASE.fullmatch(file.name)
                name = found[1] if found else file.name
                if name in owners:
                    raise RepositoryError(
                        f"{owners[name]} and {label} both have {name}",
                        hint="`components` of the repository says which of them it has",
                    )
                owners[name] = label
                if found:
                    databases[name] = file
                placed.append(Placed(f"{name}.{found[2]}" if found else name, file, turn=THEN))
            placed += self._along(release, [*releases, *others], there)
        if databases.keys() & set(FIELDS):
            placed.append(self._record(databases))
        return placed

    def _along(self, release: Release, known: Sequence[Release], there: Collection[str]) -> Iterator[Placed]:
        """Give increments and signatures of a release's databases: those that are attached, and those that lie there.

        Increments up to the release's version, from whichever release of the component they came with; signatures of
        databases of that version only.
        """
        if not release.version.isdecimal():
            return
        version = int(release.version)
        forms = {found[1]: found[2] for file in release.files if (found := DATABASE.fullmatch(file.name))}
        same = (entry for entry in known if entry.component == release.component)
        attached = {file.name: file for entry in same for file in entry.attached}
        for name in sorted({*attached, *there}):
            increment, signature = INCREMENT.fullmatch(name), SIGNATURE.fullmatch(name)
            if increment and increment[1] in forms:
                wanted = version - self._cdiffs < int(increment[2]) <= version
            else:
                wanted = bool(signature and forms.get(signature[1]) == "cvd" and int(signature[2]) == version)
            if wanted:
                yield Placed(name, attached.get(name), turn=FIRST)

    def _record(self, databases: Mapping[str, ReleaseFile]) -> Placed:
        named = {name: file for name, file in sorted(databases.items()) if name in FIELDS}
        mark = " ".join([self._engine, *(f"{name}={file.sha256}" for name, file in named.items())])

        def made(open_file: OpenFile, now: datetime) -> bytes:
            headers = {name: _header(file, open_file) for name, file in named.items()}
            said = {name: header.version for name, header in headers.items()}
            said |= {"time": int(now.timestamp()), "flevel": max(header.flevel for header in headers.values())}
            values = {"engine": self._engine, **said}
            return (":".join(str(values.get(field, 0)) for field in FIELDS) + "\n").encode()

        return Placed(RECORD, made, mark, turn=LAST)


def _is_of_clamav(name: str) -> bool:
    return bool(DATABASE.fullmatch(name) or PLAIN.fullmatch(name))


def _header(file: ReleaseFile, open_file: OpenFile) -> Header:
    with open_file(file) as stream:
        try:
            return parse_header(stream.read(HEADER))
        except ValueError as error:
            raise RepositoryError(f"{file.name} is no database of ClamAV: {error}") from error


TRAITS = Traits()
PLUGIN = ClamAv
