"""Signing in at a provider of OpenID Connect: the code flow with PKCE (RFC 7636, RFC 9700).

Somebody is led there with a `state`, a `nonce` and the digest of a secret that stays here. Who comes back is the same
browser (a cookie), with that `state`; the token that the code is changed for is of this provider (`iss`), for us
(`aud`), of this sign-in (`nonce`), of now, and signed by a key that the provider publishes, never by our secret.
"""

from __future__ import annotations

import base64
import hashlib
import secrets
import time
from collections import OrderedDict
from contextlib import contextmanager
from dataclasses import dataclass
from hmac import compare_digest
from threading import BoundedSemaphore, Lock
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote, urlencode, urlsplit

from joserfc import jwt
from joserfc.errors import InvalidKeyIdError, JoseError
from joserfc.jwk import KeySet

from reconciler.console.sign_in.access import SignInError, name_of
from reconciler.console.sign_in.fetching import Fetcher, ProviderError
from reconciler.errors import words_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from datetime import datetime

    from reconciler.contracts import Dial
    from reconciler.model.console import Oidc

ALGORITHMS = [f"{family}{size}" for family in ("RS", "PS", "ES") for size in (256, 384, 512)] + ["EdDSA", "Ed25519"]
"""How a token may be signed: by a key of which the provider keeps the other half to itself."""
SKEW = 60.0
"""Seconds by which clocks may differ."""
BEGUN = 600.0
"""Seconds in which somebody must come back."""
MOST_BEGUN = 1000
MOST_GROUPS = 1000
_KNOWN = 3600.0
"""Seconds for which a provider's settings and keys are believed without asking."""
_AGAIN = 60.0
"""Seconds between two looks for a key that isn't known."""
AT_ONCE = 4
"""Threads that wait for the provider at most: pages take the others."""
_KINDS = ("RSA", "EC", "OKP")


class SignedIn(NamedTuple):
    """Who signed in, the groups that they are in, and where they were going."""

    who: str
    groups: tuple[str, ...]
    next: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Begun:
    """Somebody who was led to the provider."""

    browser: bytes
    nonce: str
    verifier: str
    next: str
    at: float


class Provider:
    """A provider, and those who are under way to it. Safe to use from several threads."""

    def __init__(
        self,
        spec: Oidc,
        public_url: str,
        secret: str,
        dial: Dial,
        clock: Callable[[], datetime],
        watch: Callable[[], float] = time.monotonic,
    ) -> None:
        """Ask nobody yet. `secret` is that of the client, empty where it has none; `watch` counts seconds."""
        self._spec = spec
        self._back = f"{public_url}/sign-in/back"
        self._secret = secret
        self._fetcher = Fetcher(dial, spec.ca, spec.proxy)
        self._clock = clock
        self._watch = watch
        self._lock = Lock()
        self._asks = Lock()
        self._room = BoundedSemaphore(AT_ONCE)
        self._begun: OrderedDict[str, _Begun] = OrderedDict()
        self._settings: tuple[float, Mapping[str, Any]] | None = None
        self._keys: tuple[float, KeySet] | None = None

    @property
    def host(self) -> str:
        """The provider, as people know it."""
        return urlsplit(self._spec.issuer).hostname or ""

    def begin(self, target: str) -> tuple[str, str]:
        """Give where to lead somebody who goes to `target`, and the secret that their browser is to keep until then.

        Raises:
            ProviderError: the provider can't be asked where that is.
        """
        with self._having_room():
            at = self._address("authorization_endpoint")
        state, nonce, verifier, browser = (secrets.token_urlsafe(32) for _ in range(4))
        with self._lock:
            begun = _Begun(browser=_digest(browser), nonce=nonce, verifier=verifier, next=target, at=self._watch())
            self._begun[state] = begun
            while len(self._begun) > MOST_BEGUN:
                self._begun.popitem(last=False)
        asked = {
            "response_type": "code",
            "client_id": self._spec.client_id,
            "redirect_uri": self._back,
            "scope": " ".join(self._spec.scopes),
            "state": state,
            "nonce": nonce,
            "code_challenge": base64.urlsafe_b64encode(_digest(verifier)).decode().rstrip("="),
            "code_challenge_method": "S256",
        }
        return f"{at}{'&' if '?' in at else '?'}{urlencode(asked)}", browser

    def end(self, given: Mapping[str, str], browser: str) -> SignedIn:
        """Give who comes back with what the provider gave them.

        Raises:
            SignInError: it isn't who was led there, they were refused, or what they bring proves nothing.
            ProviderError: the provider can't be asked.
        """
        with self._lock:
            begun = self._begun.pop(given.get("state", ""), None)
        if begun is None or self._watch() - begun.at > BEGUN or not compare_digest(begun.browser, _digest(browser)):
            raise SignInError("this sign-in wasn't begun here, or too long ago")
        if given.get("iss", self._spec.issuer) != self._spec.issuer:
            raise SignInError("somebody else than the provider leads back")
        if "error" in given:
            said = given.get("error_description") or given["error"]
            raise SignInError(f"{self.host} lets nobody in: {said[:200]}")
        with self._having_room():
            tokens = self._exchange(given.get("code", ""), begun)
            claims = self._claims(str(tokens.get("id_token", "")), begun.nonce)
            claims = self._completed(claims, tokens.get("access_token"))
        return SignedIn(self._who(claims), self._groups(claims), begun.next)

    @contextmanager
    def _having_room(self) -> Iterator[None]:
        if not self._room.acquire(blocking=False):
            raise ProviderError(f"others wait for {self.host}, too", hint="try again in a moment")
        try:
            yield
        finally:
            self._room.release()

    # --- what the provider says -----------------------------------------------------------------------------------

    def _exchange(self, code: str, begun: _Begun) -> Mapping[str, Any]:
        """Change the code for tokens."""
        fields = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": self._back,
            "code_verifier": begun.verifier,
            "client_id": self._spec.client_id,
        }
        headers = {}
        if self._secret:
            ways = self._known_settings().get("token_endpoint_auth_methods_supported", ["client_secret_basic"])
            if isinstance(ways, list) and "client_secret_post" in ways and "client_secret_basic" not in ways:
                fields["client_secret"] = self._secret
            else:
                pair = f"{quote(self._spec.client_id, safe='')}:{quote(self._secret, safe='')}"
                headers["Authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"
        return self._fetcher.post(self._address("token_endpoint"), fields, headers)

    def _claims(self, token: str, nonce: str) -> dict[str, Any]:
        """Give what a token says that holds.

        Raises:
            SignInError: it doesn't hold.
        """
        try:
            claims = dict(self._decoded(token))
        except (JoseError, ValueError, TypeError, KeyError) as error:
            raise SignInError(f"the token isn't signed as it must be: {words_of(error)}") from error
        if why := self._why_not(claims, nonce):
            raise SignInError(f"the token doesn't hold: {why}")
        return claims

    def _decoded(self, token: str) -> Mapping[str, Any]:
        """Give what a token says, if its signature is good; a key that isn't known may be a new one."""
        try:
            return jwt.decode(token, self._known_keys(), algorithms=ALGORITHMS).claims
        except InvalidKeyIdError:
            return jwt.decode(token, self._known_keys(_AGAIN), algorithms=ALGORITHMS).claims

    def _why_not(self, claims: Mapping[str, Any], nonce: str) -> str:
        """Say what of a token doesn't hold (OpenID Connect Core, 3.1.3.7); empty when all does."""
        now, client = self._clock().timestamp(), self._spec.client_id
        audience, said = claims.get("aud"), claims.get("nonce")
        listed = audience if isinstance(audience, list) else [audience]
        ends, begins = _time(claims.get("exp")), _time(claims.get("nbf", claims.get("iat", 0)))
        if claims.get("iss") != self._spec.issuer:
            return "it is of another provider"
        if client not in listed or claims.get("azp", client if len(listed) == 1 else None) != client:
            return "it is for somebody else"
        if ends is None or ends <= now - SKEW:
            return "it has expired"
        if begins is None or begins > now + SKEW:
            return "it isn't in force yet"
        if not isinstance(said, str) or not compare_digest(said.encode("utf-8", "replace"), nonce.encode()):
            return "it is of another sign-in"
        return "" if isinstance(claims.get("sub"), str) else "it says nothing of who it is"

    def _completed(self, claims: dict[str, Any], access: Any) -> dict[str, Any]:
        """Ask for what a token lacks, where the provider tells it elsewhere."""
        wanted = {self._spec.name_claim, self._spec.groups_claim} - {""}
        if wanted <= claims.keys() or not isinstance(access, str) or not access.isprintable():
            return claims
        if "userinfo_endpoint" not in self._known_settings():
            return claims
        more = self._fetcher.get(self._address("userinfo_endpoint"), {"Authorization": f"Bearer {access}"})
        if more.get("sub") != claims["sub"]:
            raise SignInError("the provider tells of somebody else than the token")
        return {**more, **claims}

    def _who(self, claims: Mapping[str, Any]) -> str:
        name = self._spec.name_claim
        said = claims.get(name)
        if not isinstance(said, str):
            raise SignInError(
                f"{self.host} doesn't say who this is: there is no claim {name}",
                hint="`console.sign_in.oidc.name_claim` names the claim, and `scopes` what is asked for",
            )
        if name == "email" and claims.get("email_verified", True) is not True:
            raise SignInError(f"{self.host} doesn't know whether the address {said[:200]} is theirs")
        return name_of(said)

    def _groups(self, claims: Mapping[str, Any]) -> tuple[str, ...]:
        said = claims.get(self._spec.groups_claim) if self._spec.groups_claim else None
        listed = said if isinstance(said, list) else [said]
        return tuple(group for group in listed[:MOST_GROUPS] if isinstance(group, str))

    # --- what is known of the provider ----------------------------------------------------------------------------

    def _known_settings(self) -> Mapping[str, Any]:
        with self._asks:
            if self._settings is None or self._watch() - self._settings[0] > _KNOWN:
                found = self._fetcher.get(f"{self._spec.issuer.rstrip('/')}/.well-known/openid-configuration")
                if found.get("issuer") != self._spec.issuer:
                    raise ProviderError(
                        f"the provider calls itself {str(found.get('issuer'))[:200]}, and not {self._spec.issuer}",
                        hint="`console.sign_in.oidc.issuer` is to be as it calls itself",
                    )
                self._settings = self._watch(), found
            return self._settings[1]

    def _known_keys(self, older: float = _KNOWN) -> KeySet:
        """Give the keys of the provider; asked again where they are older than so many seconds."""
        at = self._address("jwks_uri")
        with self._asks:
            if self._keys is None or self._watch() - self._keys[0] > older:
                listed = self._fetcher.get(at).get("keys")
                usable = [
                    key
                    for key in (listed if isinstance(listed, list) else [])
                    if isinstance(key, dict) and key.get("kty") in _KINDS and key.get("use", "sig") == "sig"
                ]
                self._keys = self._watch(), KeySet.import_key_set({"keys": usable})
            return self._keys[1]

    def _address(self, name: str) -> str:
        found = self._known_settings().get(name)
        if not isinstance(found, str):
            raise ProviderError(f"the provider {self.host} has no {name}")
        return found


def _time(value: Any) -> float | None:
    return value if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "replace")).digest()
