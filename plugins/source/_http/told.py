"""What the options say of one component."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from reconciler.formats.duration import parse_duration

from .._fetched.unpack import Unpacking
from .._verify.verification import Verification

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import timedelta

    from reconciler.contracts import Context

CHANGES = {"header": "Last-Modified"}
"""What tells versions apart where the options don't say."""
_MAKING = ("url", "github", "gitlab", "asset", "archive", "file", "unpack", "listed", "strip_prefix")
"""Options by which something else would be made of what a source has."""


@dataclass(frozen=True)
class Told:
    """A component's options, read; `base` is the URL that others start from."""

    id: str
    base: str
    options: Mapping[str, Any]
    verification: Verification
    unpacking: Unpacking | None
    interval: timedelta
    has_token: bool

    @classmethod
    def of(cls, id_: str, base: str, options: Mapping[str, Any], context: Context) -> Told:
        """Read the options of a component out of those of the source, which are complete."""
        own = options["components"][id_]
        return cls(
            id=id_,
            base=base,
            options=own,
            verification=Verification(own.get("verify", options.get("verify")), context),
            unpacking=Unpacking.of(own["unpack"]) if "unpack" in own else None,
            interval=parse_duration(own["interval"]),
            has_token="token" in options,
        )

    @property
    def version(self) -> Any:
        """Where its versions are found."""
        return self.options.get("version", CHANGES)

    @property
    def is_dated(self) -> bool:
        """Whether it has no versions but its changes."""
        return not self.project and not isinstance(self.version, str) and "header" in self.version

    @property
    def is_mutable(self) -> bool:
        """Whether all versions are found at one URL, one after the other."""
        return not self.project and not any(word in self.url for word in ("{version}", "{tag}", "{match}"))

    @property
    def url(self) -> str:
        """Where its file is."""
        return str(self.options.get("url", ""))

    @property
    def github(self) -> str:
        """Its repository on GitHub."""
        return str(self.options.get("github", ""))

    @property
    def gitlab(self) -> str:
        """Its project on GitLab."""
        return str(self.options.get("gitlab", ""))

    @property
    def project(self) -> str:
        """Its project on a forge."""
        return self.github or self.gitlab

    @property
    def archive(self) -> bool | str:
        """Whether the archive of a tag is taken, and of which kind."""
        return self.options["archive"]  # type: ignore[no-any-return]

    @property
    def asset(self) -> str:
        """Which file of a forge's release is taken."""
        return str(self.options.get("asset", ""))

    @property
    def strip_prefix(self) -> str:
        """What stands before the version in each tag."""
        return str(self.options.get("strip_prefix", ""))

    @property
    def prereleases(self) -> bool:
        """Whether prereleases are taken, too."""
        return bool(self.options["prereleases"])

    @property
    def keep(self) -> int:
        """How many releases are offered."""
        return int(self.options["keep"])

    @property
    def file(self) -> str:
        """What its file is called in a release; empty where it is called as it is."""
        return str(self.options.get("file", ""))

    @property
    def is_list(self) -> bool:
        """Whether its file lists those of a release, which lie beside it."""
        return bool(self.options["listed"])

    @property
    def notes(self) -> str:
        """Where it says what is new."""
        return str(self.options.get("notes", ""))

    @property
    def fingerprint(self) -> str:
        """What tells what is made and proven by these options from what others would make of the same files.

        Keys that are trusted belong to it: what was proven by one that isn't trusted any more is proven anew. So does
        what finds versions: the same version may stand for another tag, and another file.
        """
        made = [self.base, *(self.options.get(key) for key in _MAKING)]
        if not isinstance(self.version, str):  # which says itself what is wanted
            made.append(self.version)
        said = json.dumps([made, self.verification.options, self.verification.mark], sort_keys=True, default=str)
        return hashlib.sha256(said.encode()).hexdigest()[:16]
