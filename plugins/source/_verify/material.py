"""What is verified, what is found out about it, and what a way to verify it is given."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol, runtime_checkable

from reconciler.errors import SourceError
from reconciler.paths import read_file

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime
    from pathlib import Path

    from reconciler.contracts import Context, TrustedKey
    from reconciler.formats.cosign import Found, Subject

CHUNK = 2**20
MAX_KEYRING = 4 * 2**20
_NOT_THERE = frozenset({403, 404, 410})
"""What a server answers of a file that it hasn't; stores of objects say 403."""


class NotThereError(SourceError):
    """A signature, or a sum, isn't there at all; that it can't be had at the moment is another thing."""


@dataclass(frozen=True, slots=True)
class Proof:
    """In which way something is proven, and with which key; without one, nothing says who made it."""

    scheme: str
    key: str = ""


class Signed(NamedTuple):
    """What is signed, its armoured signature, and when it says that it was signed."""

    content: bytes
    signature: bytes
    at: datetime


class Material(Protocol):
    """A file that was fetched, and the way to what lies beside it.

    `name` is the last part of its URL, `version` the release's, `sha256` what the bytes at `path` have: all of that is
    what the file seems to be, and what is verified.
    """

    @property
    def name(self) -> str:
        """The file's name, as where it came from has it."""

    @property
    def path(self) -> Path:
        """Where its bytes are."""

    @property
    def size(self) -> int:
        """How many there are."""

    @property
    def sha256(self) -> str:
        """Their digest, in lower-case hexadecimal digits."""

    @property
    def version(self) -> str:
        """The version of the release; empty where it isn't known."""

    @property
    def url(self) -> str:
        """Where it came from."""

    def beside(self, reference: str, limit: int) -> bytes:
        """Read what lies beside it: a name, a relative path or a whole URL.

        Raises:
            NotThereError, or an error with `status` 403, 404 or 410: there is no such thing.
            SourceError: it can't be had, or is larger than `limit` bytes.
        """

    def pointer(self, text: str) -> Any:
        """Give what a JSON pointer leads to in the document that the version came from.

        Raises:
            NotThereError: nothing is there.
            SourceError: there is no such document.
        """


@runtime_checkable
class OwnSignature(Protocol):
    """A material that carries a signature in itself, such as a signed tag: that counts where none is named."""

    def own_signature(self, kind: Literal["PGP", "SSH"]) -> Signed:
        """Give what is signed, and the signature.

        Raises:
            NotThereError: it has none of that kind.
        """


@runtime_checkable
class Cosigned(Protocol):
    """A material that is of an artifact of a registry, beside which signatures of cosign may stand."""

    def cosign(self) -> tuple[Subject, Iterator[Found]]:
        """Give what signatures must be of, and those that there are, one after the other.

        Raises, when they are read:
            SourceError: that can't be found out.
        """


@runtime_checkable
class OfComponent(Protocol):
    """A material that knows which component it is of: a signature that says so must say the same."""

    @property
    def component(self) -> str:
        """The component's id."""


class Way(Protocol):
    """One way to verify."""

    def check(self, material: Material) -> Proof:
        """Verify a material.

        Raises:
            NotThereError: what this way goes by isn't there.
            SourceError: it is there and wrong, or can't be had; the message says which and why.
        """

    def trusted(self) -> tuple[TrustedKey, ...]:
        """Give the keys that this way trusts, those that can't be read too."""


def filled(reference: str, material: Material) -> str:
    """Give a reference with the file's own in place of `{url}`, `{name}` and `{version}`."""
    values = {"url": material.url, "name": material.name, "version": material.version}
    return re.sub(r"\{(url|name|version)\}", lambda found: values[found[1]], reference)


def beside(material: Material, reference: str, limit: int) -> bytes:
    """Read what lies beside a material; see `Material.beside`.

    Raises:
        NotThereError: there is no such thing.
        SourceError: it can't be had.
    """
    place = filled(reference, material)
    try:
        content = material.beside(place, limit)
    except NotThereError:
        raise
    except SourceError as error:
        if getattr(error, "status", 0) in _NOT_THERE:
            raise NotThereError(error.message) from error
        raise
    if len(content) > limit:
        raise SourceError(f"{place} is larger than {limit} bytes")
    return content


def content_of(material: Material) -> Iterator[bytes]:
    """Give the bytes of a material in pieces.

    Raises:
        SourceError: they can't be read.
    """
    try:
        with material.path.open("rb") as stream:
            while chunk := stream.read(CHUNK):
                yield chunk
    except OSError as error:
        raise SourceError(f"{material.path} can't be read: {error.strerror}") from error


def trust_file(context: Context, name: str, limit: int) -> bytes:
    """Read a file that the operator gave.

    Raises:
        SourceError: it can't be read, or is too large.
    """

    def tell(why: str) -> SourceError:
        return SourceError(f"{name} can't be read: {why}", hint="get it from the publisher by a way that you trust")

    content = read_file(context.path(name, SourceError), limit, tell)
    if len(content) > limit:
        raise SourceError(f"{name} is larger than {limit} bytes")
    return content
