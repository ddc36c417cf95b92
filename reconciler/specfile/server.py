"""The `server` of the spec, and where a state is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from reconciler.formats.size import parse_size
from reconciler.model.spec import THREADS, ContentSpec, ServerSpec
from reconciler.specfile.secrets import is_reference, reference
from reconciler.specfile.tree import Map, child_map, duration, families, path_at, plain, value_place

if TYPE_CHECKING:
    from pathlib import Path

    from reconciler.errors import Problem
    from reconciler.model.network import Proxy
    from reconciler.model.secret import SecretRef
    from reconciler.model.spec import PluginConfig
    from reconciler.specfile.options import OptionReader
    from reconciler.specfile.proxies import ProxyReader

    Executor = tuple[PluginConfig | None, Proxy | None]

_SQLITE = "sqlite:///"
_CONTENT_KEYS = frozenset(["type", "cache", "grace", "proxy"])
_EXECUTOR_KEYS = frozenset(["type", "proxy"])


def read_server(tree: Map, home: Path, problems: list[Problem], executor: Executor | None = None) -> ServerSpec:
    """Read `server`; relative places start from `home`. `executor` is what `read_executor` made of its own."""
    node = child_map(tree, "server")
    url, password = read_state(node, home, problems)
    store = node.get("store")
    named = store if isinstance(store, str) else ""
    folder = path_at(value_place(node, "store"), named, home, problems)
    config, proxy = executor or (None, None)
    return ServerSpec(folder, url, password, families(node), executor=config or THREADS, proxy=proxy)


def read_executor(holder: Map, options: OptionReader, proxies: ProxyReader) -> tuple[PluginConfig | None, Proxy | None]:
    """Read the `executor` of a map, and the proxy that leads to it; None where there is none, or it can't be."""
    node = child_map(holder, "executor")
    return options.read("executor", node, _EXECUTOR_KEYS), proxies.named(node)


def read_content(tree: Map, options: OptionReader, proxies: ProxyReader, problems: list[Problem]) -> ContentSpec | None:
    """Read `server.content`; None where the content is in the store's folder."""
    server = child_map(tree, "server")
    if "content" not in server:
        return None
    node = child_map(server, "content")
    config = options.read("content", node, _CONTENT_KEYS)
    if config is None:
        return None
    scheme = options.traits(config, node).url.partition(":")[0]
    cache, grace = node.get("cache"), duration(node.get("grace"))
    try:
        size = parse_size(cache) if isinstance(cache, str) else 0
    except ValueError:  # the schema has said so
        size = 0
    if size == 0 and isinstance(cache, str) and not problems:
        problems.append(value_place(node, "cache").problem("the cache has no room", "such as 20GiB"))
    if grace is None:
        return None
    return ContentSpec(plugin=config, cache=size, grace=grace, proxy=proxies.named(node, scheme=scheme))


def read_state(node: Map, home: Path, problems: list[Problem]) -> tuple[str, SecretRef | None]:
    """Read the `state` of a map: the URL, empty where there is none, and where its password is."""
    state: Any = node.get("state")
    password = None
    if isinstance(state, Map):
        if is_reference(state.get("password")):
            password = reference(plain(state["password"]))
        state = state.get("url")
    url = state if isinstance(state, str) else ""
    if url.startswith(_SQLITE) and not url.startswith(f"{_SQLITE}/"):
        url = f"{_SQLITE}{home / url.removeprefix(_SQLITE)}"
    elif url and "://" not in url:
        place = value_place(node, "state")
        problems.append(place.problem(f"`{url}` is no database URL", "such as sqlite:///.updoser/state.db"))
    return url, password
