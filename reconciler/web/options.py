"""How a web server is spoken with, as options of the sources that do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from reconciler.formats.duration import parse_duration
from reconciler.formats.option_schemas import DURATION, SECRET
from reconciler.model.network import ANY_FAMILY, FAMILIES
from reconciler.web.connections import HttpOptions
from reconciler.web.pace import RATE_PATTERN, parse_rate

if TYPE_CHECKING:
    from collections.abc import Mapping

_VALUE: Mapping[str, Any] = {
    **SECRET,
    "type": ["string", "object"],
    "x-says": "text or a secret's place such as {env: NAME}",
}
WEB: Mapping[str, Any] = {
    "family": {
        "type": "string",
        "enum": [*FAMILIES, ANY_FAMILY],
        "default": ANY_FAMILY,
        "description": "The address family to connect with. `any`: both are tried, and the faster one stays.",
        "examples": ["ipv4"],
    },
    "limit": {
        "type": "string",
        "pattern": RATE_PATTERN,
        "x-says": "a rate such as 10MiB/s",
        "description": "The most that is downloaded in a second, for thin lines. Left out: no limit.",
        "examples": ["10MiB/s"],
    },
    "ca": {
        "type": "string",
        "minLength": 1,
        "description": "A file of certificates that sign the server's, in place of the system's.",
        "examples": ["trust/ca.pem"],
    },
    "certificate": {
        "type": "string",
        "minLength": 1,
        "description": "The client certificate to show, a PEM file.",
        "examples": ["trust/client.pem"],
    },
    "key": {**SECRET, "description": "The key of the client certificate."},
    "username": {
        "type": ["string", "object"],
        "description": "Who downloads, where the server wants to know: a name, or a secret's place.",
        "x-secret": True,
        "examples": ["mirror"],
    },
    "password": {**SECRET, "description": "The user's password."},
    "headers": {
        "type": "object",
        "description": "Headers to send to the source's own host, by name: texts, or places of secrets.",
        "propertyNames": {"pattern": "^[A-Za-z0-9!#$%&'*+.^_`|~-]+$", "x-says": "the name of a header is wanted"},
        "examples": [{"X-Api-Key": {"file": "secrets/key"}}],
        "additionalProperties": {
            **_VALUE,
            "description": "Its value, or a secret's place.",
            "examples": ["north", {"file": "secrets/key"}],
        },
    },
    "query": {
        "type": "object",
        "description": "What to add to the query of each URL on the source's own host: texts, or places of secrets.",
        "propertyNames": {"minLength": 1},
        "examples": [{"oinkcode": {"env": "OINKCODE"}}],
        "additionalProperties": {
            **_VALUE,
            "description": "Its value, or a secret's place.",
            "examples": ["stable", {"env": "OINKCODE"}],
        },
    },
    "connect_timeout": {**DURATION, "default": "10s", "description": "For connecting.", "examples": ["10s"]},
    "read_timeout": {
        **DURATION,
        "default": "30s",
        "description": "How long the server may send nothing.",
        "examples": ["30s"],
    },
    "timeout": {**DURATION, "default": "6h", "description": "For one file as a whole.", "examples": ["6h"]},
}
"""The properties of a schema of options."""


def web_options(options: Mapping[str, Any], user_agent: str = "updoser") -> HttpOptions:
    """Read them from options that are complete; `user_agent` is what the source calls itself."""

    def seconds(key: str) -> float:
        return parse_duration(options[key]).total_seconds()

    return HttpOptions(
        family=options["family"],
        limit=parse_rate(options["limit"]) if "limit" in options else 0.0,
        connect=seconds("connect_timeout"),
        read=seconds("read_timeout"),
        total=seconds("timeout"),
        ca=options.get("ca", ""),
        certificate=options.get("certificate", ""),
        key=options.get("key"),
        username=options.get("username", ""),
        password=options.get("password"),
        bearer=options.get("token"),
        headers=options.get("headers", {}),
        query=options.get("query", {}),
        user_agent=user_agent,
    )
