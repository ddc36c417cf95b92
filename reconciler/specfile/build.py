"""From a checked tree to a Spec: values resolved, names looked up, and what no schema can say checked."""

from __future__ import annotations

import hashlib
import json
import os
import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from reconciler import __version__
from reconciler.errors import PluginError, SpecError
from reconciler.formats.size import parse_size, size_text
from reconciler.hints import suggestion
from reconciler.model.delta import PROCESS, Duplication
from reconciler.model.deploy import InstallMethod, InstallTarget, Layout, SelinuxLabels, Unmanaged
from reconciler.model.spec import (
    LATEST,
    ComponentSpec,
    GroupSpec,
    Hold,
    Quarantine,
    SourceSpec,
    Spec,
)
from reconciler.paths import read_file
from reconciler.plugin_loader import available
from reconciler.resolving import missing
from reconciler.specfile.catalogs import is_version, known_component, load_catalogs
from reconciler.specfile.checks import CheckReader
from reconciler.specfile.controller import read_controller
from reconciler.specfile.extend import lay_over
from reconciler.specfile.groups import GroupReader
from reconciler.specfile.notify import read_notify
from reconciler.specfile.options import OptionReader
from reconciler.specfile.policy import PolicyReader
from reconciler.specfile.presets import is_named
from reconciler.specfile.proxies import ProxyReader, url_parts, without_excerpt
from reconciler.specfile.relays import RelayReader
from reconciler.specfile.repository import RepositoryReader
from reconciler.specfile.secrets import is_reference, reference, variables_of
from reconciler.specfile.server import read_content, read_executor, read_server
from reconciler.specfile.sites import read_sites
from reconciler.specfile.tree import (
    Map,
    Seq,
    child_map,
    child_seq,
    day_of,
    duration,
    maps_of,
    path_at,
    pattern_of,
    plain,
    span_of,
    text_of,
    value_place,
    whole_of,
    word_of,
    written,
)
from reconciler.specfile.unpacked import tree_of
from reconciler.templates.profile import SETTINGS_FILE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from reconciler.errors import Problem
    from reconciler.model.console import ConsoleSpec
    from reconciler.model.release import Catalog, Component
    from reconciler.specfile.tree import Place
    from reconciler.specfile.unpacked import Unpacked

ALL = "*"
METHODS: tuple[InstallMethod, ...] = get_args(InstallMethod)
UNMANAGED: tuple[Unmanaged, ...] = get_args(Unmanaged)
SELINUX: tuple[SelinuxLabels, ...] = get_args(SelinuxLabels)
_SOURCE_KEYS = frozenset(["name", "type", "components", "stale_after", "proxy", "when_absent", "may_outrank"])
_BEHIND = re.compile(r"latest-([12])")
_CONDITION = re.compile(r"(>=|<=|==|!=|>|<)\s*([0-9.]+)")


class Builder:
    """Builds one Spec; what is wrong is added to `problems`, and then there is no Spec."""

    def __init__(
        self,
        tree: Map,
        path: Path,
        problems: list[Problem],
        *,
        variables: Mapping[str, Any],
        no_exec: bool,
        environ: Mapping[str, str] | None,
        unpacked: Unpacked | None = None,
    ) -> None:
        """Take a tree that is checked and completed, and `-e`; with `environ`, missing secrets are problems.

        A file of a commit that was `unpacked` has its own places only: the others start where the note says.
        """
        self._tree = tree
        self._variables = variables
        self._path = path
        self._no_exec = no_exec
        self._base = path.absolute().parent
        self._unpacked = unpacked
        self._home = Path(unpacked.home) if unpacked else self._base
        self._problems = problems
        self._environ = environ
        self._folders = () if no_exec else self._plugin_folders()
        self._options = OptionReader(self._folders, problems)
        self._proxies = ProxyReader(tree, self._base, self._home, problems, os.environ if environ is None else environ)
        self.notes: list[str] = []
        if no_exec and child_seq(tree, "plugins"):
            self.notes.append("--no-exec: plugins of folders aren't loaded")

    def build(self) -> Spec:
        """Give the Spec.

        Raises:
            SpecError: there were problems, in this part or before.
        """
        tree = self._tree
        self._check_required_version()
        catalog = load_catalogs(child_seq(tree, "catalogs"), self._base, self._problems)
        executor = read_executor(child_map(tree, "server"), self._options, self._proxies)
        server = replace(
            read_server(tree, self._home, self._problems, executor),
            content=read_content(tree, self._options, self._proxies, self._problems),
        )
        sources = self._sources(catalog)
        checks = CheckReader(catalog, self._base, self._options, self._problems)
        components = self._components(catalog, checks)
        groups = GroupReader(tree, self._home, self._options, self._proxies, self._problems).read(checks)
        sites = read_sites(tree, groups, self._options, self._proxies, self._problems)
        holds = self._holds()
        relays = RelayReader(tree, self._options, self._proxies, self._problems).read(groups)
        reader = RepositoryReader(catalog, self._home, self._options, self._problems, clients=bool(groups))
        repository, mirrors = reader.read(tree)
        self._check_duplication()
        quarantine = self._quarantine()
        controller = read_controller(tree, self._problems)
        console = self._console()
        notify = read_notify(tree, self._options, self._proxies, self._problems)
        policies = PolicyReader(tree, self._options, self._problems).read(components, groups)
        if self._environ is not None:
            self._check_secrets(tree, self._environ)
        if self._problems:
            raise SpecError(self._problems)
        effective = plain(tree)
        return Spec(
            path=self._path,
            base=self._base,
            home=self._home,
            tree=tree_of(self._path) if self._unpacked else None,
            sites=sites,
            digest=_digest(effective, {} if self._no_exec else groups),
            server=server,
            catalog=catalog,
            sources=sources,
            components=components,
            groups=groups,
            plugin_folders=self._folders,
            holds=holds,
            client_keep=tree["client_keep"],
            duplication=self._duplication(),
            repository=repository,
            mirrors=mirrors,
            policies=policies,
            quarantine=quarantine,
            controller=controller,
            console=console,
            notify=notify,
            relays=relays,
            variables={**plain(child_map(tree, "vars")), **self._variables},
            effective=effective,
            secret_variables=frozenset(variables_of(effective)),
            commit=self._unpacked.commit if self._unpacked else "",
            signer=self._unpacked.signer if self._unpacked else "",
        )

    def _complain(self, place: Place, message: str, hint: str = "") -> None:
        self._problems.append(place.problem(message, hint))

    # --- the whole file -----------------------------------------------------------------------------------------------

    def _console(self) -> ConsoleSpec | None:
        if "console" not in self._tree:
            return None
        from reconciler.specfile.console import read_console

        return read_console(self._tree, self._base, self._home, self._proxies, self._problems)

    def _plugin_folders(self) -> tuple[Path, ...]:
        folders = []
        entries = child_seq(self._tree, "plugins")
        for at, entry in enumerate(entries):
            if isinstance(entry, str):
                folder = path_at(value_place(entries, at), entry, self._base, self._problems)
                try:
                    available("source", (folder,))
                    folders.append(folder)
                except PluginError as error:
                    self._complain(value_place(entries, at), error.message, error.hint)
        return tuple(folders)

    def _check_required_version(self) -> None:
        wanted = self._tree.get("required_version")
        if not isinstance(wanted, str):
            return
        have = _numbers(__version__)
        tests = {
            ">=": lambda x: have >= x,
            "<=": lambda x: have <= x,
            ">": lambda x: have > x,
            "<": lambda x: have < x,
            "==": lambda x: have == x,
            "!=": lambda x: have != x,
        }
        if not all(tests[sign](_numbers(number)) for sign, number in _CONDITION.findall(wanted)):
            place = value_place(self._tree, "required_version")
            self._complain(place, f"this file wants updoser {wanted}, and this is {__version__}")

    def _check_secrets(self, node: Any, environ: Mapping[str, str]) -> None:
        pairs = node.items() if isinstance(node, Map) else enumerate(node) if isinstance(node, Seq) else ()
        for key, value in pairs:
            if node is self._tree and key == "console":  # what only the console's process needs
                continue
            if isinstance(value, Map) and is_reference(value):
                kind = next(iter(value))
                if isinstance(value[kind], str):
                    trouble = missing(reference(value), self._home, environ)
                    if trouble:
                        self._complain(value_place(value, kind), f"a secret is missing: {trouble}")
            elif isinstance(value, (Map, Seq)):
                self._check_secrets(value, environ)

    # --- sources and components ---------------------------------------------------------------------------------------

    def _sources(self, catalog: Catalog) -> tuple[SourceSpec, ...]:
        found: dict[str, SourceSpec] = {}
        for node in child_seq(self._tree, "sources"):
            if not isinstance(node, Map) or not isinstance(node.get("name"), str):
                continue
            if node["name"] in found:
                self._complain(value_place(node, "name"), f"there is another source `{node['name']}` above")
            limited = self._limited(node, catalog)
            config = self._options.read("source", node, _SOURCE_KEYS, shared={"components"})
            if config is None:
                continue
            does = self._options.traits(config, node)
            found[node["name"]] = SourceSpec(
                name=node["name"],
                plugin=config,
                components=limited,
                stale_after=duration(node.get("stale_after")),
                proxy=self._proxies.named(node, scheme=does.url.partition(":")[0]),
                remote=does.network,
                host=self._check_url(node, does.url),
                signed=does.signed,
                vouches=does.vouches,
                absent_is_error=node.get("when_absent") == "error",
                may_be_absent=node.get("when_absent") == "hold",
                may_outrank=node.get("may_outrank") is True,
            )
        return tuple(found.values())

    def _limited(self, node: Map, catalog: Catalog) -> frozenset[str] | None:
        """Give the components that a source may serve: those of a list, or those that its plugin is told about."""
        if "components" not in node:
            return None
        told = child_map(node, "components")
        for name in told:
            known_component(name, catalog, told.keys_at[name], self._problems)
        listed = child_seq(node, "components")
        for at, component in enumerate(listed):
            if isinstance(component, str):
                known_component(component, catalog, value_place(listed, at), self._problems)
        return frozenset(map(str, [*told, *listed]))

    def _check_url(self, node: Map, url: str) -> str:
        """Give the host of the URL that a source asks; empty where it asks none."""
        parts = url_parts(url)
        place = value_place(node, next((key for key, value in node.items() if value == url), "type"))
        if parts is None:
            self._problems.append(without_excerpt(place, "this is no URL", "such as https://updates.example/repo"))
            return ""
        if "@" in parts.netloc:
            self._problems.append(without_excerpt(place, "`url` has a user or a password in it"))
        elif parts.query or parts.fragment:
            self._complain(place, "`url` has a `?` or a `#` in it", "files are found below it by their path")
        return parts.hostname or ""

    def _components(self, catalog: Catalog, checks: CheckReader) -> dict[str, ComponentSpec]:
        nodes = child_map(self._tree, "components")
        for name in nodes:
            if name != ALL:
                known_component(name, catalog, nodes.keys_at[name], self._problems)
        every = "components" not in self._tree or ALL in nodes
        common = child_map(nodes, ALL)
        found = {}
        for component in catalog.components.values():
            if every or component.id in nodes:
                node = lay_over(common, written(child_map(nodes, component.id)))
                wanted = self._component(component, node, checks)
                checks.check_loaded(child_map(nodes, component.id), wanted)
                found[component.id] = wanted if is_named(nodes, component.id) else replace(wanted, named=False)
        return found

    def _component(self, component: Component, node: Map, checks: CheckReader) -> ComponentSpec:
        version, behind = str(node.get("version", LATEST)), 0
        match = _BEHIND.fullmatch(version)
        if match:
            version, behind = LATEST, int(match[1])
        elif isinstance(node.get("version"), str) and version != LATEST:
            place, more = value_place(node, "version"), "; or `latest`, `latest-1`, `latest-2`"
            is_version(component, version, place, self._problems, more)
        targets = tuple(map(_target, maps_of(node.get("install"))))
        layout = Layout(
            targets=targets,
            replaces=tuple(map(str, child_seq(node, "replaces"))),
            unmanaged=word_of(node, "unmanaged", UNMANAGED),
            selinux=word_of(node, "selinux", SELINUX),
        )
        if layout.replaces and not targets:
            self._complain(value_place(node, "replaces"), "`replaces` needs `install`: it removes from its folders")
        duplicate = node.get("duplicate", component.duplicate)
        return ComponentSpec(
            component,
            version,
            layout=layout,
            duplicate=duplicate is True,
            codec=self._codec(node),
            behind=behind,
            min_age=duration(node.get("min_age")),
            snapshot=day_of(node, "snapshot", self._problems),
            blocked=self._blocked(component, node),
            hooks=checks.hooks(node),
            loaded=checks.loaded(component, node),
        )

    def _blocked(self, component: Component, node: Map) -> dict[str, str]:
        found: dict[str, str] = {}
        for entry in maps_of(node.get("block")):
            version, place = entry.get("version"), value_place(entry, "version")
            if isinstance(version, str) and is_version(component, version, place, self._problems):
                if version in found:
                    self._complain(place, "this version is blocked twice")
                found[version] = " ".join(str(entry.get("reason", "")).split())
        return found

    def _codec(self, node: Map) -> str:
        """Give the codec of a component; one that `duplication` doesn't have would never be used."""
        name = node.get("codec", "")
        codecs = tuple(self._named_codecs()) or Duplication().codecs
        if isinstance(name, str) and name and name not in codecs:
            hint = suggestion(name, codecs) or f"there is: {', '.join(codecs)}"
            self._complain(value_place(node, "codec"), f"the codec `{name}` isn't one of `duplication`", hint)
        return str(name)

    def _named_codecs(self) -> dict[str, Map]:
        codecs = child_map(child_map(self._tree, "duplication"), "codecs")
        return {name: entry for name, entry in codecs.items() if isinstance(entry, Map)}

    def _duplication(self) -> Duplication:
        """Give what `duplication` says; a spec with problems has none."""
        node, named = child_map(self._tree, "duplication"), self._named_codecs()
        return Duplication(
            enabled=node.get("enabled", True) is True,
            incrementals=node["incrementals"],
            keep_fulls=node["keep_fulls"],
            codecs=tuple(named) or Duplication().codecs,
            levels={name: entry["level"] for name, entry in named.items() if "level" in entry},
            windows={name: entry["window"] for name, entry in named.items() if "window" in entry},
            memory=self._memory(),
        )

    def _memory(self) -> int:
        """Give the bytes of memory that making incrementals may take; 0 where nothing says so, or nothing sound."""
        text = child_map(self._tree, "duplication").get("memory")
        try:
            return parse_size(text) if isinstance(text, str) else 0
        except ValueError:  # the schema has said so
            return 0

    def _check_duplication(self) -> None:
        node = child_map(self._tree, "duplication")
        if "memory" in node and 0 <= self._memory() < PROCESS:
            hint = f"such as 2GiB; a process that makes one takes {size_text(PROCESS)} before it begins"
            self._complain(value_place(node, "memory"), "with so little memory no incremental is made", hint)
        self._check_codecs()

    def _check_codecs(self) -> None:
        codecs = child_map(child_map(self._tree, "duplication"), "codecs")
        known = [plugin.name for plugin in available("codec", self._folders)]
        for name in codecs:
            if name not in known:
                hint = suggestion(name, known) or f"there is: {', '.join(known)}"
                self._complain(codecs.keys_at[name], f"there is no codec `{name}`", hint)

    def _holds(self) -> tuple[Hold, ...]:
        holds = []
        for node in maps_of(self._tree.get("hold")):
            clients, until = pattern_of(node, "clients", self._problems), day_of(node, "until", self._problems)
            holds.append(Hold(clients, text_of(node, "reason"), until))
        return tuple(holds)

    def _quarantine(self) -> Quarantine:
        node = child_map(self._tree, "quarantine")
        span = span_of(node, "for", self._problems)
        return Quarantine(whole_of(node, "after_failures") or 0, span or Quarantine().span)


def _digest(effective: Any, groups: Mapping[str, GroupSpec]) -> str:
    """Give the digest of all that decides: the effective values, and the templates that they name."""
    found = hashlib.sha256(json.dumps(effective, sort_keys=True, default=str).encode())
    for path in sorted({setting.template for group in groups.values() for setting in group.settings}):
        try:
            found.update(hashlib.sha256(read_file(path, SETTINGS_FILE.limits.template * 4, OSError)).digest())
        except OSError:  # who renders it says so, with the place
            found.update(b"?")
    return found.hexdigest()


def _target(node: Map) -> InstallTarget:
    texts_of = {key: text_of(node, key) for key in ("files", "to", "owner", "group", "mode")}
    return InstallTarget(method=word_of(node, "method", METHODS), **texts_of)


def _numbers(text: str) -> tuple[int, int, int]:
    parts = [int(part) for part in re.findall(r"\d+", text)[:3]]
    major, minor, patch = (*parts, 0, 0, 0)[:3]
    return major, minor, patch
