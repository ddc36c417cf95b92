"""Whose signatures vouch for a target of a repository, read from metadata that was verified a moment ago.

The client of python-tuf says that enough keys signed, and not which. It leaves what it verified in a folder; there the
same walk over delegations as its own finds the role that lists a target, and whose signatures of that role are good.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from reconciler.model.release import MAX_KEYS, SignedBy

if TYPE_CHECKING:
    from pathlib import Path

_TOP = "targets"
_OWN = ("root", "targets", "snapshot", "timestamp")
_MAX_ROLES = 33
"""As many as the client visits for one target: 32, and the first."""


class Signers:
    """Says who signed targets of one repository; each role is read once."""

    def __init__(self, metadata: Path) -> None:
        """Take the folder of what was verified."""
        self._folder = metadata
        self._read: dict[str, Any] = {}

    def of(self, target: str) -> SignedBy | None:
        """Give who vouches for a target by its path; None where the folder doesn't say."""
        from tuf.api.exceptions import RepositoryError
        from tuf.api.serialization import DeserializationError

        try:
            return self._walk(target)
        except (OSError, ValueError, RepositoryError, DeserializationError):
            return None

    def expires(self) -> dict[str, datetime]:
        """Give when the signatures expire, by role: of the repository's own roles, and of those that were asked for."""
        from tuf.api.exceptions import RepositoryError
        from tuf.api.serialization import DeserializationError

        found = {}
        for role in dict.fromkeys((*_OWN, *self._read)):
            try:
                found[role] = self._metadata(role).signed.expires
            except (OSError, ValueError, RepositoryError, DeserializationError):
                continue
        return {role: at if at.tzinfo else at.replace(tzinfo=UTC) for role, at in found.items()}

    def _walk(self, target: str) -> SignedBy | None:
        waiting, seen = [(_TOP, self._metadata("root").signed)], set[str]()
        while waiting and len(seen) < _MAX_ROLES:
            role, parent = waiting.pop()
            if role in seen:
                continue
            seen.add(role)
            found = self._metadata(role)
            if target in found.signed.targets:
                return _verdict(role, parent, found)
            if found.signed.delegations is not None:
                waiting = _next(found.signed, target, waiting)
        return None

    def _metadata(self, role: str) -> Any:
        from tuf.api.metadata import Metadata

        if role not in self._read:
            self._read[role] = Metadata.from_bytes((self._folder / f"{quote(role, '')}.json").read_bytes())
        return self._read[role]


def _next(parent: Any, target: str, waiting: list[tuple[str, Any]]) -> list[tuple[str, Any]]:
    """Put the roles to which a target is delegated on top of those that wait; behind a terminating one nobody does."""
    children = []
    for child, terminating in parent.delegations.get_roles_for_target(target):
        children.append((child, parent))
        if terminating:
            return children[::-1]
    return waiting + children[::-1]


def _verdict(role: str, parent: Any, found: Any) -> SignedBy:
    """Say which keys that the parent names for a role signed its metadata."""
    result = parent.get_verification_result(role, found.signed_bytes, found.signatures)
    return SignedBy(
        role=role,
        signatures=len(result.signed),
        known=len(result.signed) + len(result.unsigned),
        threshold=result.threshold,
        keys=tuple(sorted(result.signed)[:MAX_KEYS]),
    )
