"""Plan files: a plan's document as JSON, written whole or not at all, and who vouches for it.

A plan file drives every client, so `apply` takes only those whose SHA-256 the state recorded, or that are signed:
`signature` is then an HMAC-SHA256 over the document without it, as compact JSON with sorted keys.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from reconciler.errors import DocumentError, UpdoserError
from reconciler.files import write_whole
from reconciler.formats.text import read_json
from reconciler.paths import read_file

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

MAX_BYTES = 1024**3
MIN_KEY_BYTES = 32
MAX_KEY_BYTES = 64 * 1024
_SIGNATURE = "signature"


@dataclass(frozen=True, slots=True)
class PlanFile:
    """A plan file as it was read: the document, the SHA-256 of the file, and its signature or an empty string."""

    document: Any
    sha256: str
    signature: str

    def is_signed_by(self, key: bytes) -> bool:
        """Say whether the file was signed with a key."""
        return hmac.compare_digest(self.signature.encode("utf-8", "replace"), _sign(self.document, key).encode())


def write_plan_file(
    path: Path,
    document: dict[str, Any],
    key: bytes | None = None,
    *,
    record: Callable[[str], None] = lambda _sha256: None,
) -> str:
    """Write a plan's document, signed when a key is given; give the SHA-256 of the file.

    `record` gets that before the file has its name: where it fails, what stood under the name stays.

    Raises:
        UpdoserError: the file can't be written.
    """
    if key is not None:
        document = {**document, _SIGNATURE: _sign(document, key)}
    data = (json.dumps(document, ensure_ascii=False, separators=(",", ":")) + "\n").encode()
    sha256 = hashlib.sha256(data).hexdigest()
    try:
        write_whole(path, data, 0o600, before=lambda: record(sha256))
    except OSError as error:
        raise UpdoserError(f"{path} can't be written: {error.strerror}") from error
    return sha256


def read_plan_file(path: Path) -> PlanFile:
    """Read a plan file; whether its content makes sense is not judged here.

    Raises:
        DocumentError: it can't be read, is too large, or isn't JSON.
    """
    hint = "plan files are written by `updoser plan --out FILE`"
    data = read_file(path, MAX_BYTES, lambda why: DocumentError(f"{path} can't be read: {why}", hint=hint))
    if len(data) > MAX_BYTES:
        raise DocumentError(f"{path} is larger than {MAX_BYTES} bytes", hint=hint)
    try:
        document = read_json(data)
    except ValueError as error:
        raise DocumentError(f"{path} is no plan file: {error}", hint=hint) from error
    signature = document.pop(_SIGNATURE, "") if isinstance(document, dict) else ""
    return PlanFile(document, hashlib.sha256(data).hexdigest(), signature if isinstance(signature, str) else "")


def read_key(path: Path) -> bytes:
    """Read the key that signs plan files; a line end behind it doesn't count.

    Raises:
        UpdoserError: it can't be read, or is too short or too long to be one.
    """
    data = read_file(path, MAX_KEY_BYTES, lambda why: UpdoserError(f"the key {path} can't be read: {why}"))
    key = data.rstrip(b"\r\n")
    if not MIN_KEY_BYTES <= len(key) <= MAX_KEY_BYTES:
        raise UpdoserError(
            f"the key {path} has {len(key)} bytes; it needs at least {MIN_KEY_BYTES}",
            hint=f"make one: openssl rand -hex {MIN_KEY_BYTES} > {path}",
        )
    return key


def _sign(document: Any, key: bytes) -> str:
    data = json.dumps(document, sort_keys=True, separators=(",", ":")).encode()
    return hmac.new(key, data, hashlib.sha256).hexdigest()
