"""What surrounds a switch: checks of versions, hooks, and settings, from the tree to what a Spec has of them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, get_args

from reconciler.model.deploy import PHASES, Hook, Hooks, OnHookFailure
from reconciler.model.spec import CheckPlace, CheckSpec, SettingMethod, SettingSpec
from reconciler.paths import is_file
from reconciler.specfile.catalogs import known_component, question_of
from reconciler.specfile.secrets import is_reference, reference
from reconciler.specfile.tree import (
    child_map,
    maps_of,
    path_at,
    plain,
    seconds_of,
    text_of,
    value_place,
    whole_of,
    word_of,
)

if TYPE_CHECKING:
    from pathlib import Path

    from reconciler.errors import Problem
    from reconciler.model.question import Question
    from reconciler.model.release import Catalog, Component
    from reconciler.model.spec import ComponentSpec
    from reconciler.specfile.options import OptionReader
    from reconciler.specfile.tree import Map, Place, Seq

PLACES: tuple[CheckPlace, ...] = get_args(CheckPlace)
ON_FAILURE: tuple[OnHookFailure, ...] = get_args(OnHookFailure)
METHODS: tuple[SettingMethod, ...] = get_args(SettingMethod)
_CHECK_KEYS = frozenset(["name", "type", "for", "phase", "where", "timeout", "retries", "interval"])


class CheckReader:
    """Reads checks, hooks and settings."""

    def __init__(self, catalog: Catalog, base: Path, options: OptionReader, problems: list[Problem]) -> None:
        """Take the folder that relative paths start from; what is wrong is added to `problems`."""
        self._catalog = catalog
        self._base = base
        self._options = options
        self._problems = problems

    def _complain(self, place: Place, message: str, hint: str = "") -> None:
        self._problems.append(place.problem(message, hint))

    # --- checks -------------------------------------------------------------------------------------------------------

    def checks(self, nodes: Seq) -> tuple[CheckSpec, ...]:
        """Read the checks of `defaults` or a group."""
        found: dict[str, CheckSpec] = {}
        for node in maps_of(nodes):
            name = text_of(node, "name")
            if name in found:
                self._complain(value_place(node, "name"), f"there is another check `{name}` above")
            check = self._check(name, node)
            if name and check is not None:
                found[name] = check
        return tuple(found.values())

    def _check(self, name: str, node: Map) -> CheckSpec | None:
        component = text_of(node, "for")
        if component:
            known_component(component, self._catalog, value_place(node, "for"), self._problems)
        timeout = seconds_of(node, "timeout", 60.0, self._problems)
        interval = seconds_of(node, "interval", 5.0, self._problems)
        config = self._options.read("check", node, _CHECK_KEYS)
        if config is None:
            return None
        return CheckSpec(
            name=name,
            plugin=config,
            component=component,
            phase=word_of(node, "phase", PHASES),
            where=word_of(node, "where", PLACES),
            timeout=timeout,
            retries=whole_of(node, "retries") or 0,
            interval=interval,
        )

    # --- hooks --------------------------------------------------------------------------------------------------------

    def hooks(self, component: Map) -> Hooks:
        """Read the hooks of a component."""
        node = child_map(component, "hooks")
        return Hooks(self._hook(node, "before"), self._hook(node, "after"), self._hook(node, "always"))

    def _hook(self, holder: Map, key: str) -> Hook | None:
        node = child_map(holder, key)
        run = text_of(node, "run")
        if not run:
            return None
        timeout = seconds_of(node, "timeout", 60.0, self._problems)
        return Hook(run, timeout, word_of(node, "on_failure", ON_FAILURE))

    # --- what engines have loaded -------------------------------------------------------------------------------------

    def loaded(self, component: Component, node: Map) -> Question | None:
        """Read how the engine of a component is asked: by its catalog, where the spec doesn't say otherwise."""
        return question_of(child_map(node, "loaded"), self._problems, component.loaded)

    def check_loaded(self, own: Map, wanted: ComponentSpec) -> None:
        """Refuse what a component says of an engine that nothing asks."""
        if wanted.loaded is not None:
            return
        node = child_map(own, "loaded")
        if "loaded" in own and node.get("enabled") is not False:
            message = f"`loaded` of {wanted.component.id} needs `run`: its catalog says no command"
            self._complain(own.keys_at["loaded"], message, "a command that prints the version that is loaded")
        rollout = child_map(child_map(own, "auto_update"), "rollout")
        if "wait_loaded" in rollout:
            message = f"`wait_loaded` of {wanted.component.id} needs `loaded`: nothing says what is loaded"
            self._complain(value_place(rollout, "wait_loaded"), message, "add `loaded: {run: ...}` to the component")

    # --- settings -----------------------------------------------------------------------------------------------------

    def settings(self, nodes: Seq) -> tuple[SettingSpec, ...]:
        """Read the settings of `defaults` or a group. Templates must be there; nobody reads them here."""
        found: dict[str, SettingSpec] = {}
        for node in maps_of(nodes):
            setting = self._setting(node)
            if setting.path in found:
                self._complain(value_place(node, "path"), f"another template is put at `{setting.path}` above")
            found[setting.path] = setting
        return tuple(found.values())

    def _setting(self, node: Map) -> SettingSpec:
        named, path = text_of(node, "template"), text_of(node, "path")
        template = path_at(value_place(node, "template"), named, self._base, self._problems)
        if named and not is_file(template):
            self._complain(value_place(node, "template"), f"the template `{named}` isn't there", _FROM_HERE)
        if path.startswith("/") and {"", ".", ".."} & set(path.rstrip("/").split("/")[1:]):
            self._complain(value_place(node, "path"), f"`{path}` has `.`, `..`, or a slash too many")
        elif path.startswith("/") and not path.endswith("/") and not _FILE.fullmatch(path):
            self._complain(value_place(node, "path"), f"`{path}` can't be put on a client", _FILE_RULES)
        named_secrets = child_map(node, "secrets")
        secrets = {name: reference(plain(ref)) for name, ref in named_secrets.items() if is_reference(ref)}
        return SettingSpec(
            template=template,
            path=path,
            owner=text_of(node, "owner"),
            group=text_of(node, "group"),
            mode=text_of(node, "mode") or (PRIVATE if secrets else ""),
            validate=text_of(node, "validate"),
            hook=self._hook(node, "hook"),
            method=word_of(node, "method", METHODS),
            secrets=secrets,
        )


PRIVATE = "0600"
"""The mode of a file with secrets in it, where the spec names none."""
_FILE = re.compile(r"(/[^/]+)+/(?!current$)[^/.\\-][^/\\]{0,254}")
_FILE_RULES = "it needs a folder, and a name that doesn't begin with `.` or `-` and has no `\\` in it"
_FROM_HERE = "a relative path starts from the spec's folder"
