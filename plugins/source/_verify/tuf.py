"""`tuf`: a signed repository that lists the file as a target, whoever serves the file itself."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

from reconciler.errors import SourceError
from reconciler.formats.defaults import completed
from reconciler.web.files import files_at
from reconciler.web.options import WEB, web_options

from .._fetched.turn import Turn
from .._tuf.client import refreshed, root_keys
from .._tuf.ngclient import mapped
from .._tuf.signers import Signers
from .material import NotThereError, Proof, filled

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from reconciler.contracts import Context, TrustedKey

    from .material import Material


class TufTarget:
    """A `Way`. Metadata that was verified is kept, as an older state shows in nothing else."""

    def __init__(self, options: Mapping[str, str], context: Context) -> None:
        self._url = options["url"].rstrip("/")
        self._root_name = options["trusted_root"]
        self._target = options["target"]
        self._context = context
        self._turn = Turn(self._place() / "lock", context.stop)

    def check(self, material: Material) -> Proof:
        """See `Way.check`."""
        folder = self._folder()
        files = files_at(self._url, web_options(completed({}, {"properties": WEB})), self._context)
        name = filled(self._target, material)
        with self._turn.taken():
            beside = f"-{self._place().name}"
            updater = refreshed(files, self._url, self._context, self._root_name, folder, beside=beside)
            with mapped(f"the target {name}"):
                target = updater.get_targetinfo(name)
            signed = Signers(folder / "metadata").of(name)
        if target is None:
            raise NotThereError(f"{self._url} has no target {name}")
        _hold_to(target, material, f"the target {name} of {self._url}")
        return Proof("tuf", signed.keys[0] if signed and signed.keys else "")

    def trusted(self) -> tuple[TrustedKey, ...]:
        """See `Way.trusted`."""
        return root_keys(self._context, self._root_name, self._place() / "metadata" / "root.json")

    def _place(self) -> Path:
        name = hashlib.sha256(self._url.encode()).hexdigest()[:16]
        return self._context.work / f"verify-tuf-{name}"

    def _folder(self) -> Path:
        try:
            self._place().mkdir(exist_ok=True)
        except OSError as error:
            raise SourceError(f"{self._place()} can't be made: {error.strerror}") from error
        return self._place()


def _hold_to(target: Any, material: Material, place: str) -> None:
    """Hold a material to the length and the hashes of a target.

    Raises:
        SourceError: it isn't that target.
    """
    from tuf.api.exceptions import LengthOrHashMismatchError

    try:
        with material.path.open("rb") as stream:
            target.verify_length_and_hashes(stream)
    except LengthOrHashMismatchError as error:
        raise SourceError(f"{material.name} isn't {place}: {error}") from error
    except OSError as error:
        raise SourceError(f"{material.path} can't be read: {error.strerror}") from error
