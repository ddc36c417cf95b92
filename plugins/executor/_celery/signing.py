"""Orders are signed by the controller, in Celery's form `auth`, so that a broker can't make up work.

Celery's own set-up is of the whole process: it knows one key, and takes all else out of kombu. Here each crew signs
with its own, and a worker knows certificates of controllers only.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from reconciler.errors import PluginError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

MAX_FILE = 2**16


@dataclass(frozen=True, slots=True)
class Signer:
    """Signs messages."""

    serialize: Callable[[Any], bytes]

    @classmethod
    def of(cls, cert: Path, key: Path) -> Signer:
        """Take a certificate and its key.

        Raises:
            PluginError: they can't be read, or aren't of RSA.
        """
        from celery.exceptions import SecurityError
        from celery.security.certificate import Certificate
        from celery.security.key import PrivateKey
        from celery.security.serialization import SecureSerializer

        try:
            serializer = SecureSerializer(PrivateKey(_read(key), password=None), Certificate(_read(cert)))
        except (SecurityError, TypeError, ValueError) as error:
            hint = "orders are signed with RSA: `sign_cert` and `sign_key` name such a pair beside another certificate"
            raise PluginError(f"{cert} and {key} can't sign orders: {error}", hint=hint) from error
        return cls(serializer.serialize)


def reader_of(certificates: tuple[Path, ...]) -> Callable[[Any], Any]:
    """Give what reads messages that one of these certificates signed, and raises for all others.

    Raises:
        PluginError: a certificate can't be read, or isn't of RSA.
    """
    from celery.exceptions import SecurityError
    from celery.security.certificate import Certificate, CertStore
    from celery.security.serialization import SecureSerializer

    store = CertStore()
    for path in certificates:
        try:
            store.add_cert(Certificate(_read(path)))
        except (SecurityError, TypeError, ValueError) as error:
            raise PluginError(f"{path} is no certificate of a controller: {error}") from error
    read: Callable[[Any], Any] = SecureSerializer(cert_store=store).deserialize
    return read


def _read(path: Path) -> str:
    try:
        with path.open("rb") as stream:
            return stream.read(MAX_FILE).decode("ascii")
    except (OSError, UnicodeDecodeError) as error:
        raise PluginError(f"{path} can't be read: {getattr(error, 'strerror', None) or error}") from error
