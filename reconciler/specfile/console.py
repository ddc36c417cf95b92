"""The `console` of the spec: how the web console is reached, who may sign in to it, and what they may do there.

The console's process reads nothing else of the file: it has no keys, and what is wrong with clients or sources doesn't
keep anybody from seeing how the fleet is. A file that has only `server` and `console` is enough for it.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from reconciler.errors import Problem, SpecError
from reconciler.model.console import EVERYBODY, GROUP, ApiToken, ConsoleSpec, Oidc, ProxyHeader, Tls
from reconciler.model.network import is_this_machine
from reconciler.model.request import ROLES
from reconciler.paths import is_file
from reconciler.resolving import missing
from reconciler.specfile.extend import read_extended
from reconciler.specfile.proxies import ProxyReader, url_parts
from reconciler.specfile.render import render_tree
from reconciler.specfile.secrets import is_reference, reference, variables_of
from reconciler.specfile.server import read_server, read_state
from reconciler.specfile.tree import Map, child_map, child_seq, maps_of, path_at, plain, text_of, texts, value_place
from reconciler.specfile.unpacked import unpacked_at
from reconciler.specfile.validate import check, schema_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from reconciler.model.secret import SecretRef
    from reconciler.model.spec import ServerSpec

_READ = ("version", "vars", "server", "proxies", "console")


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsoleFile:
    """What the console's process takes of a file. `server` has the state as the console opens it.

    Secrets' files are below `home`, their programs start in `base`, and `secret_variables` are kept from these.
    """

    server: ServerSpec
    console: ConsoleSpec
    base: Path
    home: Path
    secret_variables: frozenset[str]

    def start_of(self, secret: SecretRef) -> Path:
        """Give the folder that a secret is read from."""
        return self.home if secret.kind == "file" else self.base


def load_console(path: Path, *, variables: Mapping[str, Any], environ: Mapping[str, str] | None = None) -> ConsoleFile:
    """Read what the console needs of a file, and nothing else.

    Raises:
        SpecError: that is invalid; carries every problem.
    """
    environ = os.environ if environ is None else environ
    problems: list[Problem] = []
    if not os.path.lexists(path):
        raise SpecError([Problem("the file isn't there", str(path), hint="-f names another")])
    path, unpacked = unpacked_at(path) or (path, None)
    whole, schema = read_extended(path, problems), schema_of("updoser")
    tree = Map(whole.place)
    for key in _READ:
        if key in whole:
            tree.take(key, whole)
    problems += render_tree(tree, variables, environ, no_exec=False)
    part = {**schema, "properties": {key: schema["properties"][key] for key in _READ}}
    check(tree, part, problems, schema)
    base = path.absolute().parent
    home = base if unpacked is None else Path(unpacked.home)
    proxies = ProxyReader(tree, base, home, problems, environ)
    server, console = read_server(tree, home, problems), read_console(tree, base, home, proxies, problems)
    for secret, node, key in _secrets(tree):
        if trouble := missing(secret, home, environ):
            problems.append(value_place(node, key).problem(f"a secret is missing: {trouble}"))
    if problems:
        raise SpecError(sorted(dict.fromkeys(problems), key=lambda problem: (problem.file, problem.line)))
    if console.state:
        server = replace(server, state=console.state, state_password=console.state_password)
    hidden = frozenset(variables_of(plain(whole)))
    return ConsoleFile(server=server, console=console, base=base, home=home, secret_variables=hidden)


def _secrets(tree: Map) -> list[tuple[SecretRef, Map, str]]:
    """Give the secrets that the console itself needs, each with the map that it stands in."""
    console = child_map(tree, "console")
    sign_in = child_map(console, "sign_in")
    where = console if "state" in console else child_map(tree, "server")
    holders = [(child_map(sign_in, "oidc"), "client_secret"), (child_map(where, "state"), "password")]
    holders += [(child_map(console, "hook"), "secret")]
    holders += [(node, "secret") for node in maps_of(child_seq(sign_in, "tokens"))]
    return [(reference(plain(node[key])), node, key) for node, key in holders if is_reference(node.get(key))]


def read_console(tree: Map, base: Path, home: Path, proxies: ProxyReader, problems: list[Problem]) -> ConsoleSpec:
    """Read `console`. What it names is looked for from `base`, and what is of this machine from `home`."""
    node = child_map(tree, "console")
    reader = _Reader(node, problems)
    sign_in = child_map(node, "sign_in")
    state, password = read_state(node, home, problems)
    found = ConsoleSpec(
        public_url=reader.public_url(),
        hosts=tuple(host.strip("[]").lower() for host in texts(node, "hosts")),
        tls=reader.tls(home),
        oidc=reader.oidc(sign_in, base, proxies),
        header=reader.header(sign_in),
        tokens=reader.tokens(sign_in),
        roles={role: texts(child_map(node, "roles"), role) for role in ROLES},
        four_eyes=node.get("four_eyes") is True,
        state=state,
        state_password=password,
        hook=_reference(child_map(node, "hook"), "secret"),
    )
    reader.judge(found, sign_in)
    return found


def _reference(node: Map, key: str) -> SecretRef | None:
    return reference(plain(node[key])) if is_reference(node.get(key)) else None


class _Reader:
    """Reads the parts of `console`; what is wrong with them is added to `problems`."""

    def __init__(self, node: Map, problems: list[Problem]) -> None:
        self._node = node
        self._problems = problems

    def _complain(self, node: Map, key: str, message: str, hint: str = "") -> None:
        self._problems.append(value_place(node, key).problem(message, hint))

    def public_url(self) -> str:
        url = text_of(self._node, "public_url").rstrip("/")
        parts = url_parts(url)
        if url and (parts is None or not parts.hostname):
            self._complain(self._node, "public_url", f"`{url}` is no URL", "such as https://updoser.example.org")
        elif parts is not None and parts.scheme == "http" and not is_this_machine(parts.hostname or ""):
            why = "what is said to the console would be open to all on the way"
            self._complain(self._node, "public_url", why, "an https URL")
        return url

    def tls(self, home: Path) -> Tls:
        node = child_map(self._node, "tls")
        pair = [
            path_at(value_place(node, key), node[key], home, self._problems) if text_of(node, key) else None
            for key in ("certificate", "key")
        ]
        if (pair[0] is None) != (pair[1] is None):
            alone = "certificate" if pair[0] else "key"
            self._complain(node, alone, "a certificate and its `key` are named together")
        return Tls(certificate=pair[0], key=pair[1], proxies=self._networks(node, "proxies"))

    def oidc(self, sign_in: Map, base: Path, proxies: ProxyReader) -> Oidc | None:
        node = child_map(sign_in, "oidc")
        issuer, client = text_of(node, "issuer"), text_of(node, "client_id")
        if not issuer or not client:
            return None
        parts = url_parts(issuer)
        if parts is None or not parts.hostname or parts.query or parts.fragment:
            self._complain(node, "issuer", f"`{issuer}` is no URL of a provider")
        elif parts.scheme == "http" and not is_this_machine(parts.hostname):
            self._complain(node, "issuer", "who signs in there would be open to all on the way", "an https URL")
        ca = path_at(value_place(node, "ca"), node["ca"], base, self._problems) if text_of(node, "ca") else None
        if ca is not None and not is_file(ca):
            self._complain(node, "ca", f"the file {ca} isn't there")
        secret = node.get("client_secret")
        return Oidc(
            issuer=issuer,
            client_id=client,
            client_secret=reference(plain(secret)) if is_reference(secret) else None,
            scopes=tuple(dict.fromkeys(("openid", *texts(node, "scopes")))),
            name_claim=text_of(node, "name_claim"),
            groups_claim=text_of(node, "groups_claim"),
            ca=ca,
            proxy=proxies.named(node, scheme=urlsplit(issuer).scheme if parts else ""),
        )

    def header(self, sign_in: Map) -> ProxyHeader | None:
        node = child_map(sign_in, "proxy")
        if not text_of(node, "header"):
            return None
        return ProxyHeader(
            header=text_of(node, "header").lower(),
            groups_header=text_of(node, "groups_header").lower(),
            peers=self._networks(node, "from"),
        )

    def tokens(self, sign_in: Map) -> tuple[ApiToken, ...]:
        found: dict[str, ApiToken] = {}
        for node in maps_of(child_seq(sign_in, "tokens")):
            name, secret = text_of(node, "name"), node.get("secret")
            if name in found:
                self._complain(node, "name", f"there is another token `{name}` above")
            if is_reference(secret) == bool(text_of(node, "sha256")):
                self._complain(node, "name", f"the token `{name}` needs a `secret` or its `sha256`, one of them")
            found[name] = ApiToken(
                name=name,
                roles=tuple(role for role in ROLES if role in child_seq(node, "roles")),
                secret=reference(plain(secret)) if is_reference(secret) else None,
                sha256=text_of(node, "sha256"),
            )
        return tuple(found.values())

    def _networks(self, node: Map, key: str) -> tuple[IPv4Network | IPv6Network, ...]:
        found = []
        listed = child_seq(node, key)
        for at, text in enumerate(listed):
            if not isinstance(text, str):
                continue
            try:
                network = ip_network(text, strict=False)
            except ValueError:
                place = value_place(listed, at)
                self._problems.append(place.problem(f"`{text}` is no address or network", "such as 10.1.0.0/24"))
                continue
            if not network.prefixlen:
                self._problems.append(value_place(listed, at).problem(f"`{text}` is everybody", "name the proxies"))
            found.append(network)
        return tuple(found)

    def judge(self, found: ConsoleSpec, sign_in: Map) -> None:
        """Say what doesn't go together."""
        people = "oidc" if found.oidc else "proxy" if found.header else ""
        if people and not any(found.roles.values()):
            why = "nobody could sign in: `console.roles` names nobody"
            self._complain(sign_in, people, why, "roles: {viewer: ['*']}")
        if found.oidc and not found.public_url:
            self._complain(sign_in, "oidc", "the provider needs to know where to lead people back: `public_url`")
        if found.four_eyes and len(found.roles.get("approver", ())) == 1 and not _many(found.roles["approver"][0]):
            why = "one person alone could approve nothing: `roles.approver` names only one"
            self._complain(self._node, "four_eyes", why)


def _many(name: str) -> bool:
    return name == EVERYBODY or name.startswith(GROUP)
