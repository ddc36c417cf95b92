"""Proxies: what the spec defines and what the environment names, as one kind of thing."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any
from urllib.parse import SplitResult, urlsplit

from reconciler.hints import suggestion
from reconciler.model.network import FROM_ENVIRONMENT, PROXY_PORTS, Proxy, no_proxy_problem
from reconciler.model.secret import SecretRef
from reconciler.paths import is_file
from reconciler.specfile.secrets import is_reference, reference
from reconciler.specfile.tree import Map, child_map, child_seq, families, path_at, plain, texts, value_place

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from reconciler.errors import Problem
    from reconciler.specfile.tree import Place


class ProxyReader:
    """Reads the proxies of a spec, and finds those that sources and groups name."""

    def __init__(self, tree: Map, base: Path, home: Path, problems: list[Problem], environ: Mapping[str, str]) -> None:
        """Read all that are defined; what is wrong is added to `problems`. Paths start from `base`, or else `home`."""
        self._base = base
        self._home = home
        self._defined = child_map(tree, "proxies")
        self._problems = problems
        self._environ = environ
        self._found = {name: self._proxy(name, node) for name, node in self._defined.items() if isinstance(node, Map)}

    def named(self, user: Any, scheme: str = "") -> Proxy | None:
        """Give the proxy that `proxy` of a source or group names; `scheme` is that of the URL that it leads to."""
        name = user.get("proxy") if isinstance(user, Map) else None
        if not isinstance(name, str):
            return None
        if name == FROM_ENVIRONMENT:
            return self._from_environment(scheme, value_place(user, "proxy"))
        if name not in self._defined:
            hint = suggestion(name, self._defined) or "define it under `proxies`"
            self._problems.append(value_place(user, "proxy").problem(f"the proxy `{name}` isn't defined", hint))
        return self._found.get(name)

    def _proxy(self, name: str, node: Map) -> Proxy | None:
        for at, entry in enumerate(texts(node, "no_proxy")):
            problem = no_proxy_problem(entry)
            if problem:
                self._problems.append(value_place(child_seq(node, "no_proxy"), at).problem(problem))
        parts, place = url_parts(node.get("url")), value_place(node, "url")
        if parts is None:
            if isinstance(node.get("url"), str):
                self._problems.append(without_excerpt(place, "this is no URL", "such as http://proxy.example:3128"))
            return None
        if "@" in parts.netloc:
            self._problems.append(without_excerpt(place, "`url` has a user or a password in it", _ELSEWHERE))
            return None
        host, port = _end(parts)
        if not host or parts.path not in {"", "/"} or parts.query or parts.fragment:
            self._problems.append(place.problem("this URL names no proxy", "such as http://proxy.example:3128"))
            return None
        username = node.get("username", "")
        if node.get("password") is not None and not username:
            self._problems.append(value_place(node, "password").problem("a password needs a `username`"))
        return Proxy(
            name=name,
            scheme=parts.scheme,
            host=host,
            port=port,
            username=reference(plain(username)) if is_reference(username) else str(username),
            password=reference(plain(node["password"])) if is_reference(node.get("password")) else None,
            families=families(node),
            no_proxy=texts(node, "no_proxy"),
            ca=self._ca(node),
        )

    def _ca(self, node: Map) -> str:
        ca = node.get("ca")
        if not isinstance(ca, str) or not ca:
            return ""
        place = value_place(node, "ca")
        path = path_at(place, ca, self._base, self._problems)
        return str(path if is_file(path) else path_at(place, ca, self._home, self._problems))

    def _from_environment(self, scheme: str, place: Place) -> Proxy | None:
        """Take the proxy that the environment names for a scheme, as curl does; None where it names none."""
        names = [f"{scheme}_proxy", "all_proxy"] if scheme else ["all_proxy"]
        variables = [spelling for name in names for spelling in (name, name.upper()) if spelling != "HTTP_PROXY"]
        variable = next((name for name in variables if self._environ.get(name)), "")
        if not variable:
            return None
        parts = url_parts(self._environ[variable])
        host, port = _end(parts) if parts is not None else ("", 0)
        if parts is None or parts.scheme not in PROXY_PORTS or not host:
            self._problems.append(place.problem(f"the environment's {variable} names no proxy that can be used"))
            return None
        excepted = self._environ.get("no_proxy") or self._environ.get("NO_PROXY") or ""
        return Proxy(
            name=FROM_ENVIRONMENT,
            scheme=parts.scheme,
            host=host,
            port=port,
            username=SecretRef("url", (variable, "username")) if parts.username else "",
            password=SecretRef("url", (variable, "password")) if parts.password else None,
            no_proxy=tuple(entry.strip() for entry in excepted.split(",") if entry.strip()),
        )


_ELSEWHERE = "secrets are references: write `username: NAME` and `password: {env: NAME}` beside it"


def without_excerpt(place: Place, message: str, hint: str = "") -> Problem:
    """Tell a problem of a line that has a secret in it, without showing the line."""
    return replace(place.problem(message, hint or "write `username` and `password` beside it"), excerpt="")


def url_parts(url: Any) -> SplitResult | None:
    """Take a URL apart; None where it isn't one."""
    try:
        parts = urlsplit(url) if isinstance(url, str) else None
        if parts is not None:
            _ = parts.port
    except ValueError:
        return None
    return parts


def _end(parts: SplitResult) -> tuple[str, int]:
    return parts.hostname or "", parts.port or PROXY_PORTS.get(parts.scheme, 0)
