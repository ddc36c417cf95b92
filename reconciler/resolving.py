"""References to secrets become values, where these stand: in the environment, in a file, or printed by a program."""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import unquote, urlsplit

from reconciler.errors import SecretError, UpdoserError, own_limit
from reconciler.model.secret import SecretRef
from reconciler.paths import is_file, path_from
from reconciler.programs import Ending, read_program

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


MAX_BYTES = 64 * 1024
TIMEOUT = 30
_KINDS: tuple[Literal["env", "file", "command"], ...] = ("env", "file", "command")


def is_reference(value: Any) -> bool:
    """Say whether plain data is a secret's reference: a map with one of `env`, `file`, `command`."""
    return isinstance(value, dict) and len(value) == 1 and next(iter(value)) in _KINDS


def reference(value: Mapping[str, Any]) -> SecretRef:
    """Make a reference from plain data for which `is_reference` holds."""
    kind = next(kind for kind in _KINDS if kind in value)
    where = value[kind]
    return SecretRef(kind, where if isinstance(where, str) else tuple(where))


def with_references(value: Any, schema: Mapping[str, Any]) -> Any:
    """Turn what a schema of options marks as secret into references."""
    if schema.get("x-secret") and is_reference(value):
        return reference(value)
    if isinstance(value, dict):
        properties, others = schema.get("properties", {}), schema.get("additionalProperties")
        others = others if isinstance(others, dict) else {}
        return {key: with_references(entry, properties.get(key, others)) for key, entry in value.items()}
    if isinstance(value, list):
        return [with_references(entry, schema.get("items", {})) for entry in value]
    return value


def resolve(secret: SecretRef, base: Path, environ: Mapping[str, str], public: Mapping[str, str] | None = None) -> str:
    """Give a secret; one line end behind it doesn't count. Relative paths start from `base`.

    A program that prints it gets the environment `public`, when that is given.

    Raises:
        SecretError: it isn't there, is empty, too large, or lies where everybody can write it.
    """
    read = {"env": _from_environment, "file": _from_file, "command": _from_command, "url": _from_url}[secret.kind]
    value = read(secret, base, environ if secret.kind != "command" or public is None else public)
    if not value:
        raise SecretError(f"the secret {secret} is empty")
    return value


def missing(secret: SecretRef, base: Path, environ: Mapping[str, str]) -> str:
    """Say why a secret can't be there, without resolving it; empty when it may be. Programs are believed."""
    if secret.kind == "env" and secret.value not in environ:
        return f"the environment variable {secret.value} isn't set"
    if secret.kind == "file":
        try:
            path = path_from(base, str(secret.value))
        except UpdoserError as error:
            return error.message
        if not is_file(path):
            return f"the file {secret.value} isn't there"
    return ""


def _from_environment(secret: SecretRef, _base: Path, environ: Mapping[str, str]) -> str:
    try:
        return environ[str(secret.value)]
    except KeyError:
        raise SecretError(f"the environment variable {secret.value} isn't set") from None


def _from_url(secret: SecretRef, _base: Path, environ: Mapping[str, str]) -> str:
    """Give the user or password in a URL that stands in the environment."""
    variable, part = tuple(secret.value)
    return unquote(getattr(urlsplit(environ.get(variable, "")), part) or "")


def _from_file(secret: SecretRef, base: Path, _environ: Mapping[str, str]) -> str:
    path = path_from(base, str(secret.value), SecretError)
    try:
        with path.open("rb") as file:
            if path.stat().st_mode & stat.S_IWOTH:
                raise SecretError(f"the secret {path} can be written by everybody", hint=f"chmod 600 {path}")
            return _text(file.read(MAX_BYTES + 1), secret)
    except OSError as error:
        if own := own_limit(error):
            raise own from error
        raise SecretError(f"the secret {path} can't be read: {error.strerror}") from error


def _from_command(secret: SecretRef, base: Path, environ: Mapping[str, str]) -> str:
    command = [secret.value] if isinstance(secret.value, str) else list(secret.value)
    # Its user may have to say a word on the terminal, which a group of its own couldn't read from.
    ended = read_program(command, base, environ, timeout=TIMEOUT, limit=MAX_BYTES, own_group=False)
    match ended.ending:
        case Ending.NOT_STARTED:
            raise SecretError(f"{command[0]} can't be run for a secret: {ended.why}")
        case Ending.LATE:
            raise SecretError(f"{command[0]} gave no secret within {TIMEOUT} s")
    if ended.status:
        raise SecretError(f"{command[0]} gave no secret: exit status {ended.status}")
    return _text(ended.output, secret)  # also of one that prints without end: it is too large


def _text(data: bytes, secret: SecretRef) -> str:
    if len(data) > MAX_BYTES:
        raise SecretError(f"the secret {secret} is larger than {MAX_BYTES} bytes")
    try:
        return data.decode().removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError:
        raise SecretError(f"the secret {secret} isn't text") from None
