"""Who we are at a registry: the header that a request needs, got by what the registry asks for.

A registry that wants to know who asks answers 401 with a challenge. `Basic`: the user's name and password go to it.
`Bearer`: a token for pulling from one repository is got from the place that the challenge names (its realm), without
credentials or with them, and goes along from then on.

* A realm on another host gets name and password, no other secret of the options, and only where it is of the same
  domain as the registry, or named by the option `realm`: whoever can write a challenge could name any host.
* It is reached by https, unless the registry itself is plain http.
* Tokens are kept in memory alone, and only asked for where they are wanted.

Source of the rules: the distribution project's token specification, and RFC 9110.
"""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from ipaddress import ip_address
from threading import Lock
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode, urlsplit

from reconciler.errors import SourceError
from reconciler.formats.http_fields import parse_challenges
from reconciler.formats.text import read_json
from reconciler.web.stream import HttpStatusError, shown

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from reconciler.formats.http_fields import Challenge
    from reconciler.web.web import Web

MAX_ANSWER = 256 * 2**10
_TOKEN = re.compile(r"[A-Za-z0-9._~+/=:-]{1,65536}")
LIFETIME = 60.0
"""Seconds that a token is good for where nothing is said of it, says the specification."""
_EARLY = 10.0
_LONGEST = 3600.0


@dataclass(frozen=True, slots=True)
class _Held:
    value: str
    until: float


class Tokens:
    """What proves to one registry who we are; used by several threads at once.

    `web_at` gives what reaches a realm, `credentials` the header with name and password, or nothing without a user.
    """

    def __init__(
        self, base: str, web_at: Callable[[str], Web], credentials: Callable[[], Mapping[str, str]], realm: str = ""
    ) -> None:
        self._base = base
        self._web_at = web_at
        self._credentials = credentials
        self._realm = realm
        self._lock = Lock()
        self._held: dict[str, _Held] = {}

    def headers(self, repository: str) -> dict[str, str]:
        """Give what is known to be needed for a repository so far."""
        with self._lock:
            held = self._held.get(repository)
        return {"Authorization": held.value} if held is not None and time.monotonic() < held.until else {}

    def renew(self, repository: str, refusal: HttpStatusError) -> None:
        """Get what the registry asks for in an answer 401.

        Raises:
            SourceError: that can't be had, or mustn't be given.
        """
        challenges = parse_challenges(refusal.headers.get("WWW-Authenticate", ""))
        bearer = next((one for one in challenges if one.scheme == "bearer" and one.parameters.get("realm")), None)
        basic = next((one for one in challenges if one.scheme == "basic"), None)
        if bearer is not None:
            held = self._token(bearer, repository)
        elif basic is not None:
            held = self._login(repository)
        else:
            raise SourceError(
                f"{self._base} wants to know who asks, and doesn't say how (HTTP 401 without a challenge)",
                hint="is it a registry? `registry` is its host alone, such as ghcr.io",
            )
        with self._lock:
            self._held[repository] = held

    def refused(self, repository: str) -> SourceError:
        """Give the error of a registry that doesn't take what it asked for."""
        which = "another" if self._credentials() else "a"
        return SourceError(
            f"{self._base} wants {which} user and password for {repository} (HTTP 401)",
            hint="give `username` and `password` of somebody who may read it",
        )

    def _login(self, repository: str) -> _Held:
        header = self._credentials().get("Authorization", "")
        if not header or self.headers(repository).get("Authorization") == header:
            raise self.refused(repository)
        return _Held(header, time.monotonic() + 10 * _LONGEST)

    def _token(self, challenge: Challenge, repository: str) -> _Held:
        realm = challenge.parameters["realm"]
        login = dict(self._credentials())
        self._check(realm, with_login=bool(login))
        query = [(name, challenge.parameters[name]) for name in ("service",) if name in challenge.parameters]
        stated = challenge.parameters.get("scope", "").split(" ")
        others = [scope for scope in stated if scope and not scope.startswith("repository:")]
        query += [("scope", scope) for scope in (f"repository:{repository}:pull", *others)]
        url = f"{realm}{'&' if urlsplit(realm).query else '?'}{urlencode(query)}"
        now = time.monotonic()
        try:
            answer = self._web_at(realm).get(url, limit=MAX_ANSWER, headers=login.items())
            return _token_of(answer.body, now)
        except HttpStatusError as error:
            if error.status not in {400, 401, 403}:
                raise
            who = "this user" if login else "anybody"
            raise SourceError(
                f"{shown(realm)} gives {who} no token for {repository} (HTTP {error.status})",
                hint="is the repository's name right? Give `username` and `password` of somebody who may read it",
            ) from error
        except ValueError as error:
            raise SourceError(f"{shown(realm)} gives no token: {error}") from error

    def _check(self, realm: str, *, with_login: bool) -> None:
        """Refuse a realm that mustn't be asked.

        Raises:
            SourceError: it mustn't.
        """
        try:
            parts, own = urlsplit(realm), urlsplit(self._base)
            host = parts.hostname or ""
            port_is_none = parts.port == 0
        except ValueError:
            host, port_is_none = "", True
        if not host or port_is_none or parts.scheme not in {"http", "https"} or parts.username is not None:
            raise SourceError(f"{self._base} names a place for tokens that is no address")
        if own.scheme == "https" and parts.scheme != "https":
            raise SourceError(f"{self._base} names a place for tokens that isn't https: {shown(realm)}")
        allowed = realm.partition("?")[0] == self._realm or is_related(own.hostname or "", host)
        if with_login and not allowed:
            raise SourceError(
                f"{self._base} wants user and password to go to {host}, which is of another domain",
                hint=f'if that is right, say so: realm: "{realm.partition("?")[0]}"',
            )


def _token_of(content: bytes, now: float) -> _Held:
    """Read the answer of a realm, asked at `now`.

    Raises:
        ValueError: it has no token.
    """
    data: Any = read_json(content)
    if type(data) is not dict:
        raise ValueError("the answer is no object")
    token = data.get("token") or data.get("access_token")
    if type(token) is not str or not _TOKEN.fullmatch(token):
        raise ValueError("the answer has no token")
    lifetime = data.get("expires_in")
    seconds = float(lifetime) if type(lifetime) is int and 0 < lifetime < 10**9 else LIFETIME
    return _Held(f"Bearer {token}", now + max(min(seconds, _LONGEST) - _EARLY, 1.0))


def is_related(registry: str, realm: str) -> bool:
    """Say whether two hosts are of one domain: the same, or both below what the registry's host is in.

    `auth.docker.io` is related to `registry-1.docker.io`, and `gitlab.com` to `registry.gitlab.com`; no host is to one
    that only shares `com`, and no address to another.
    """
    if registry == realm:
        return True
    if _is_address(registry) or _is_address(realm):
        return False
    domain = registry.partition(".")[2]
    return "." in domain and (realm == domain or realm.endswith(f".{domain}"))


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True
