"""Who somebody is by what they show, and which roles they have.

A session is a row of the state and a secret that only the browser has. The rows are bound to what the spec says about
signing in: where that changes, everybody signs in anew.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import secrets
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from hmac import compare_digest
from typing import TYPE_CHECKING

from reconciler.console.frame import Person, csrf_of
from reconciler.console.guard.caller import header, is_in
from reconciler.console.sign_in.link import Link
from reconciler.console.sign_in.tries import Tries
from reconciler.errors import StateError, UpdoserError
from reconciler.model.console import EVERYBODY, GROUP
from reconciler.model.request import ROLES
from reconciler.storage.sessions import Session

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from datetime import datetime

    from starlette.types import Scope

    from reconciler.console.guard.caller import Caller
    from reconciler.console.sign_in.oidc import Provider
    from reconciler.model.console import ConsoleSpec
    from reconciler.model.request import Role
    from reconciler.storage.sessions import SignInWay
    from reconciler.storage.state import State

LASTS = timedelta(hours=12)
IDLE = timedelta(hours=2)
TOUCHED = timedelta(minutes=1)
"""How old it may be in the state when somebody was here last."""
TOKEN = "token:"  # noqa: S105 - what programs are called with
LONGEST_NAME = 200
_BYTES = 32
_LOG = logging.getLogger("updoser.console")


class SignInError(UpdoserError):
    """Somebody can't sign in: it isn't them, they have no role, or whoever knows them can't be asked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """Who gets in. `owner` is who started the server, and who comes by the link that it shows.

    `digests` has the name and the roles of each token by the SHA-256 of its secret.
    """

    spec: ConsoleSpec
    state: State
    clock: Callable[[], datetime]
    say: Callable[[str], None]
    owner: str = ""
    digests: Mapping[bytes, tuple[str, tuple[Role, ...]]] = field(default_factory=dict)
    provider: Provider | None = None
    link: Link = field(default_factory=Link)
    tries: Tries = field(default_factory=Tries)
    key: bytes = field(default_factory=lambda: secrets.token_bytes(_BYTES))

    @property
    def has_link(self) -> bool:
        """True when there is no other way in for people."""
        return self.spec.oidc is None and self.spec.header is None

    def roles_of(self, who: str, groups: Iterable[str] = ()) -> frozenset[Role]:
        """Give the roles of a person who is in some groups; who has one may look, too."""
        names = {who, EVERYBODY, *(f"{GROUP}{group}" for group in groups)}
        found: set[Role] = {role for role in ROLES if names.intersection(self.spec.roles.get(role, ()))}
        return frozenset(found | {"viewer"} if found else found)

    # --- what is shown with each request ------------------------------------------------------------------------------

    def by_token(self, shown: str) -> Person | None:
        """Give the program that shows a token."""
        given = hashlib.sha256(shown.encode("utf-8", "replace")).digest()
        found = None
        for digest, (name, roles) in self.digests.items():
            if compare_digest(digest, given):
                found = Person(who=f"{TOKEN}{name}", roles=frozenset({*roles, "viewer"}), way="token")
        return found

    def by_header(self, scope: Scope, caller: Caller) -> Person | None:
        """Give who asks as the proxy before this says it; None where it says nothing.

        Raises:
            SignInError: somebody else says it, or it is no name.
        """
        said = self.spec.header
        names = {name.decode("latin-1") for name, _value in scope["headers"]}
        if said is None or not names.intersection({said.header, said.groups_header} - {""}):
            return None
        if not is_in(caller.peer, said.peers, here=False):
            raise SignInError(f"{caller.peer} may not say in a header who asks")
        if said.header not in names:
            return None
        who = name_of(header(scope, said.header).encode("latin-1").decode("utf-8", "replace"))
        groups = header(scope, said.groups_header).encode("latin-1").decode("utf-8", "replace").split(",")
        roles = self.roles_of(who, [group.strip() for group in groups if group.strip()])
        form = hmac.new(self.key, who.encode(), hashlib.sha256).hexdigest()
        return Person(who=who, roles=roles, way="proxy", csrf=form)

    def by_session(self, secret: str) -> Person | None:
        """Give who is signed in with a secret; takes note that they were here.

        Raises:
            StateError: the state can't be read.
        """
        kept = self._kept(secret)
        found = self.state.session(kept, IDLE)
        if found is None:
            return None
        if self.clock() - found.used > TOUCHED:
            with suppress(StateError):  # somebody else writes for long: it is written with the next request
                self.state.touch_session(kept)
        return Person(who=found.who, roles=frozenset(found.roles), way=found.way, csrf=csrf_of(secret))

    def lasts(self, secret: str) -> bool:
        """Say whether somebody is signed in with a secret still; a page that only stays open is nobody's being there.

        Raises:
            StateError: the state can't be read.
        """
        return self.state.session(self._kept(secret), IDLE) is not None

    # --- signing in and out -------------------------------------------------------------------------------------------

    def sign_in(self, who: str, groups: Iterable[str], way: SignInWay, address: str) -> str:
        """Sign somebody in, and give the secret for their browser.

        Raises:
            SignInError: they have no role.
            StateError: it can't be written.
        """
        roles = frozenset(ROLES) if way == "link" else self.roles_of(who, groups)
        if not roles:
            _LOG.warning("%s, who has no role, tried to sign in from %s", who, address)
            raise SignInError(
                f"nobody gave {who} a role here", hint="`console.roles` in the file of the fleet says who may do what"
            )
        secret, now = secrets.token_urlsafe(_BYTES), self.clock()
        self.state.forget_sessions(IDLE)
        ordered = tuple(role for role in ROLES if role in roles)
        session = Session(who=who, roles=ordered, way=way, address=address, created=now, used=now, ends=now + LASTS)
        self.state.begin_session(self._kept(secret), session)
        self.say(f"{who} signed in from {address} ({way}): {', '.join(ordered)}")
        return secret

    def sign_out(self, secret: str) -> None:
        """Sign somebody out.

        Raises:
            StateError: it can't be written.
        """
        self.state.end_session(self._kept(secret))

    def _kept(self, secret: str) -> str:
        """Give the secret as the state gets to see it (it keeps a digest): another one where the spec is another."""
        says = repr((self.spec.oidc, self.spec.header, sorted(self.spec.roles.items())))
        return hmac.new(says.encode(), secret.encode("utf-8", "replace"), hashlib.sha256).hexdigest()


def name_of(said: str) -> str:
    """Give the name of a person as somebody else says it.

    Raises:
        SignInError: it is none, or one that means something else here.
    """
    who = said.strip()
    if not who or len(who) > LONGEST_NAME or not who.isprintable():
        raise SignInError("that is no name of a person")
    if who == EVERYBODY or who.startswith((GROUP, TOKEN)):
        raise SignInError(f"{who} is no name of a person here")
    return who
