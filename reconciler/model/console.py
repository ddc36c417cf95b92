"""How the web console is reached, who may sign in to it, and what they may do there."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from ipaddress import IPv4Network, IPv6Network
    from pathlib import Path

    from reconciler.model.network import Proxy
    from reconciler.model.request import Role
    from reconciler.model.secret import SecretRef

GROUP = "group:"
"""What the name of a group begins with where people and groups are listed: nobody becomes one by their own name."""
EVERYBODY = "*"
LEAST_SECRET = 16
"""Characters that a token has at least."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Oidc:
    """A provider of OpenID Connect; `issuer` is as it writes itself, character by character.

    `name_claim` says who somebody is, `groups_claim` which groups they are in; empty: nobody asks.
    """

    issuer: str
    client_id: str
    client_secret: SecretRef | None = None
    scopes: tuple[str, ...] = ("openid", "profile")
    name_claim: str = "preferred_username"
    groups_claim: str = "groups"
    ca: Path | None = None
    proxy: Proxy | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ProxyHeader:
    """A proxy that knows who asks, and says so in a header; it is believed where it is one of `peers`."""

    header: str
    groups_header: str
    peers: tuple[IPv4Network | IPv6Network, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiToken:
    """A program that asks the API: by the secret that it shows, or the SHA-256 of that, in hex."""

    name: str
    roles: tuple[Role, ...]
    secret: SecretRef | None = None
    sha256: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tls:
    """How what is said to the console stays between the two: by its own certificate, or by `proxies` before it."""

    certificate: Path | None = None
    key: Path | None = None
    proxies: tuple[IPv4Network | IPv6Network, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsoleSpec:
    """All that the spec says of the console.

    `public_url` is where people find it, without a slash at the end; empty: nowhere but on this machine. `hosts` are
    more names that it has. `roles` has who has each of them: people, groups (`group:NAME`), or everybody (`*`).
    """

    public_url: str = ""
    hosts: tuple[str, ...] = ()
    tls: Tls = field(default_factory=Tls)
    oidc: Oidc | None = None
    header: ProxyHeader | None = None
    tokens: tuple[ApiToken, ...] = ()
    roles: Mapping[Role, tuple[str, ...]] = field(default_factory=dict)
    four_eyes: bool = False
    state: str = ""
    state_password: SecretRef | None = None
    hook: SecretRef | None = None
