"""A provider of OpenID Connect on loopback, for tests: it does as it should, but for what a test has it do."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, unquote, urlsplit

from joserfc import jwt
from joserfc.jwk import ECKey, KeySet

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

CLIENT = "updoser"
SECRET = "shared with: the provider/"


class Provider:
    """What it says, and what was asked of it. `claims` are those of who signs in."""

    def __init__(self, url: str, now: Callable[[], float]) -> None:
        self.url = url
        self._now = now
        self.key: Any = ECKey.generate_key("P-256", auto_kid=True)
        self.keys: list[Any] = [self.key]
        self.alg = "ES256"
        self.claims: dict[str, Any] = {"preferred_username": "ann", "groups": ["security"]}
        self.userinfo: dict[str, Any] | None = None
        self.settings: dict[str, Any] = {}
        self.token: str | None = None
        self.status = 200
        self.asked: list[str] = []
        self.fields: dict[str, str] = {}
        self.authorization = ""
        self._begun: dict[str, Any] = {}

    def lead_back(self, url: str) -> str:
        """Sign somebody in who was led here, and give what they bring back."""
        asked = {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}
        assert url.startswith(f"{self.url}/authorize?")
        assert (asked["response_type"], asked["client_id"], asked["code_challenge_method"]) == ("code", CLIENT, "S256")
        assert "openid" in asked["scope"].split()
        self._begun = asked
        return f"/sign-in/back?code=the-code&state={asked['state']}"

    def documents(self) -> dict[str, Any]:
        settings = {
            "issuer": self.url,
            **{f"{name}_endpoint": f"{self.url}/{name}" for name in ("token", "userinfo")},
            "authorization_endpoint": f"{self.url}/authorize",
            "jwks_uri": f"{self.url}/keys",
        }
        return {
            "/.well-known/openid-configuration": {**settings, **self.settings},
            "/keys": KeySet(self.keys).as_dict(private=False),
            "/userinfo": self.userinfo,
        }

    def tokens(self) -> dict[str, Any]:
        digest = hashlib.sha256(self.fields["code_verifier"].encode()).digest()
        assert base64.urlsafe_b64encode(digest).decode().rstrip("=") == self._begun["code_challenge"]
        assert self.fields["redirect_uri"] == self._begun["redirect_uri"]
        assert (self.fields["grant_type"], self.fields["code"]) == ("authorization_code", "the-code")
        return {"id_token": self.token or self.signed(), "access_token": "of-ann", "token_type": "Bearer"}

    def signed(self) -> str:
        """Give a token as the provider signs it."""
        now = self._now()
        usual = {
            "iss": self.url,
            "aud": CLIENT,
            "exp": now + 300,
            "iat": now,
            "sub": "1",
            "nonce": self._begun["nonce"],
        }
        claims = {name: value for name, value in {**usual, **self.claims}.items() if value is not None}
        return jwt.encode({"alg": self.alg, "kid": self.key.kid}, claims, self.key, algorithms=[self.alg])

    def shared(self) -> tuple[str, str]:
        """Give the client and the secret that it showed."""
        pair = base64.b64decode(self.authorization.removeprefix("Basic ")).decode()
        client, _, secret = pair.partition(":")
        return unquote(client), unquote(secret)


@contextmanager
def provider(now: Callable[[], float]) -> Iterator[Provider]:
    """Run a provider for the time of the block; `now` is its clock."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            found.asked.append(self.path)
            found.authorization = self.headers.get("Authorization", found.authorization)
            self._give(found.documents().get(self.path))

        def do_POST(self) -> None:
            found.asked.append(self.path)
            found.authorization = self.headers.get("Authorization", "")
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            found.fields = {name: values[0] for name, values in parse_qs(body).items()}
            self._give(found.tokens())

        def _give(self, document: Any) -> None:
            data = document if isinstance(document, bytes) else json.dumps(document).encode()
            self.send_response(found.status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_all: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        found = Provider(f"http://127.0.0.1:{server.server_port}", now)
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        try:
            yield found
        finally:
            server.shutdown()
