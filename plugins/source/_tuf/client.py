"""Reading a signed repository: the root that the operator gave, and python-tuf's updater."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from reconciler.contracts import TrustedKey
from reconciler.errors import SourceError

from .memory import Verified
from .ngclient import fetcher, mapped, repository_error

if TYPE_CHECKING:
    from pathlib import Path

    from tuf.ngclient.updater import Updater

    from reconciler.contracts import Context

MAX_ROOT = 512_000


def trusted_root(context: Context, name: str) -> bytes:
    """Read the root that the spec names.

    Raises:
        SourceError: it can't be read.
    """
    path = context.path(name, SourceError)
    try:
        with path.open("rb") as stream:
            content = stream.read(MAX_ROOT + 1)
    except OSError as error:
        raise SourceError(
            f"the trusted root {name} can't be read: {error.strerror}",
            hint="get the publisher's first root by a way that you trust, and name its file in `trusted_root`",
        ) from error
    if len(content) > MAX_ROOT:
        raise SourceError(f"the trusted root {name} is larger than {MAX_ROOT} bytes")
    return content


def root_keys(context: Context, name: str, known: Path | None = None) -> tuple[TrustedKey, ...]:
    """Give the keys of a root: of the one in `known`, which was verified since, or of the one that the spec names."""
    from tuf.api.metadata import Metadata, Root

    try:
        content = trusted_root(context, name)
    except SourceError as error:
        return (TrustedKey(name, "tuf", problem=error.message),)
    try:
        if known is not None and known.is_file():
            content = known.read_bytes()
        root = Metadata[Root].from_bytes(content).signed
        role = root.get_delegated_role("root")
    except Exception:  # noqa: BLE001 - whatever stands in the file
        return (TrustedKey(name, "tuf", problem=f"{name} isn't a root that can be trusted"),)
    about = f"root {root.version}: {role.threshold} of {len(role.keyids)} must sign, until {root.expires:%Y-%m-%d}"
    return tuple(TrustedKey(name, "tuf", key, about=about) for key in sorted(role.keyids))


def refreshed(files: Any, url: str, context: Context, root_name: str, folder: Path, *, beside: str = "") -> Updater:
    """Verify a repository's own metadata; what was verified before lies in `folder`, in which it may write.

    What another controller verified counts, too: see `memory`, also for `beside`.

    Raises:
        SourceError: it can't be had, or breaks a rule.
        StateError: what controllers remember can't be read or written.
    """
    from tuf.ngclient.updater import Updater

    root = trusted_root(context, root_name)
    metadata, targets = folder / "metadata", folder / "targets"
    metadata.mkdir(exist_ok=True)
    targets.mkdir(exist_ok=True)
    verified = Verified(context, metadata, root, beside=beside)
    with mapped("metadata"):
        verified.bring()
        try:
            updater = Updater(
                str(metadata), "metadata/", str(targets), "targets/", fetcher=fetcher(files, url), bootstrap=root
            )
        except repository_error() as error:
            raise SourceError(
                f"{root_name} isn't a root that can be trusted: {error}",
                hint="get it from the publisher again, by a way that you trust",
            ) from error
        try:
            updater.refresh()
        finally:  # it may have verified a part before it failed
            verified.tell()
    return updater
