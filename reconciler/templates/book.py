"""The settings of a spec: which version of each file a client should have, and what its bytes are.

* A version is a keyed fingerprint (HMAC-SHA256) of all that decides the bytes and what is done with them: the text of
  the template, where and how the file is put, and the values that the template reads. The key never leaves the state,
  so that nobody can guess a secret, or a variable, from a version.
* Only what a template reads counts: another variable of the client, or of the file, makes no new version.
* Clients share what they have in common. Where nothing of a client is read, its group has one version.
* Rendering comes last, when a client is changed or a difference is shown: a plan needs no rendered file.
* Settings aren't gated by waves: a client gets all of its changed files at once, and each goes back by itself when
  `validate` or the hook says no.
"""

from __future__ import annotations

import hmac
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from reconciler.errors import Problem, SpecError
from reconciler.model.settings import HIDDEN, setting_id, unpack, wish
from reconciler.paths import read_file
from reconciler.templates.fault import TemplateFault
from reconciler.templates.profile import OF_CLIENT, SECRET, SETTINGS_FILE
from reconciler.templates.settings_file import Template

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from reconciler.model.client import Client
    from reconciler.model.network import Proxy
    from reconciler.model.secret import SecretRef
    from reconciler.model.spec import GroupSpec, SettingSpec, Spec

OF_GROUP = ("group", "proxy")
_OWN = frozenset(OF_CLIENT) - {*OF_GROUP}
_DIGITS = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Sheet:
    """One file of a group's settings: its template compiled, and what is the same for all clients of the group.

    `own` are the names of what is read of each client, `entries` those of its `vars` (None: all).
    """

    id: str
    spec: SettingSpec
    template: Template
    shared: Mapping[str, Any]
    secrets: Mapping[str, str]
    own: tuple[str, ...]
    entries: frozenset[str] | None
    base: hmac.HMAC

    def inputs(self, client: Client) -> dict[str, Any]:
        """Give what the template reads of a client."""
        found: dict[str, Any] = {}
        for name in self.own:
            value = getattr(client, name)
            if name == "vars":
                value = {key: text for key, text in value.items() if self.entries is None or key in self.entries}
            found[name] = list(value) if name == "labels" else value
        return found

    def version(self, inputs: Mapping[str, Any]) -> str:
        """Give the version that comes of these values of a client."""
        made = self.base.copy()
        made.update(_canonical(inputs))
        return made.hexdigest()[:_DIGITS]

    def render(self, client: Client, *, masked: bool = False) -> str:
        """Give the file for a client; `masked` with HIDDEN in place of each line of the secrets.

        Raises:
            TemplateFault: it can't be rendered.
        """
        secrets = {name: _hidden(value) for name, value in self.secrets.items()} if masked else self.secrets
        return self.template.render({**self.shared, **self.inputs(client), SECRET: dict(secrets)})

    def trouble(self, fault: TemplateFault) -> str:
        """Say where and why the template can't be rendered."""
        place = ":".join(str(part) for part in (self.spec.template.name, fault.line, fault.column) if part)
        return f"{place}: {fault.message}"


class Book:
    """The settings of all groups. Templates are read when a group is first asked for; secrets, too."""

    def __init__(self, spec: Spec, key: bytes, secret: Callable[[SecretRef], str]) -> None:
        """Take the key of the fingerprints, and what resolves secrets."""
        self._spec = spec
        self._key = key
        self._secret = secret
        self._sheets: dict[str, tuple[Sheet, ...]] = {}

    @property
    def groups(self) -> list[str]:
        """The groups that have settings."""
        return [name for name, group in self._spec.groups.items() if group.settings]

    def sheets(self, group: str) -> tuple[Sheet, ...]:
        """Give the files of a group's settings.

        Raises:
            SpecError: a template can't be read or compiled; all that are wrong are told at once.
            SecretError: a secret that one of them reads can't be resolved.
        """
        if group not in self._sheets:
            problems: list[Problem] = []
            made = [self._sheet(self._spec.groups[group], setting, problems) for setting in self._of(group)]
            if problems:
                raise SpecError(problems)
            self._sheets[group] = tuple(sheet for sheet in made if sheet is not None)
        return self._sheets[group]

    def wish_of_group(self, group: str) -> str | None:
        """Give what all clients of a group should have (`model.settings.wish`); None where that differs among them."""
        sheets = self.sheets(group)
        if any(sheet.own for sheet in sheets):
            return None
        return wish({sheet.id: sheet.version({}) for sheet in sheets})

    def wish(self, client: Client) -> str:
        """Give what a client should have."""
        return wish(self.versions(client))

    def versions(self, client: Client) -> dict[str, str]:
        """Give the version of each file that a client should have, by the file's id."""
        return {sheet.id: sheet.version(sheet.inputs(client)) for sheet in self.sheets(client.group)}

    def due(self, client: Client, has: str) -> list[tuple[Sheet, str]]:
        """Give the files that differ from what a client has, each with its version; all where none does any more."""
        there, versions = unpack(has), self.versions(client)
        sheets = self.sheets(client.group)
        due = [sheet for sheet in sheets if there.get(sheet.id, ("", ""))[0] != versions[sheet.id]]
        due += [sheet for sheet in sheets if sheet not in due and not there[sheet.id][1]]
        return [(sheet, versions[sheet.id]) for sheet in due or sheets]

    def _of(self, group: str) -> tuple[SettingSpec, ...]:
        return self._spec.groups[group].settings

    def _sheet(self, group: GroupSpec, setting: SettingSpec, problems: list[Problem]) -> Sheet | None:
        shown = template_name(setting, self._spec)
        text = ""
        try:
            text = _read(setting)
            template = Template(text, str(setting.template))
            self._check(template, setting)
        except TemplateFault as fault:
            lines = text.split("\n")
            excerpt = lines[fault.line - 1] if 0 < fault.line <= len(lines) else ""
            problems.append(
                Problem(
                    message=fault.message,
                    file=shown,
                    line=fault.line,
                    column=fault.column,
                    excerpt=excerpt,
                    hint=fault.hint,
                )
            )
            return None
        uses = template.uses
        shared = {name: value for name, value in self._spec.variables.items() if name in uses.names}
        of_group = {"group": group.name, "proxy": _proxy(group.proxy)}
        shared |= {name: value for name, value in of_group.items() if name in uses.names}
        names = setting.secrets if uses.secrets is None else {name: setting.secrets[name] for name in uses.secrets}
        secrets = {name: self._secret(reference) for name, reference in names.items()}
        put = (setting.path, setting.owner, setting.group, setting.mode, setting.method, setting.validate)
        hook = (setting.hook.run, setting.hook.timeout, setting.hook.on_failure) if setting.hook else None
        base = hmac.new(self._key, _canonical([text, put, hook, shared, secrets]), "sha256")
        own = tuple(sorted(uses.names & _OWN))
        return Sheet(
            id=setting_id(setting.path),
            spec=setting,
            template=template,
            shared=shared,
            secrets=secrets,
            own=own,
            entries=uses.vars,
            base=base,
        )

    def _check(self, template: Template, setting: SettingSpec) -> None:
        """Refuse names that nobody gives a value for, or two do."""
        variables, uses = self._spec.variables, template.uses
        clash = sorted(uses.names & {*OF_CLIENT, SECRET} & variables.keys())
        if clash:
            raise TemplateFault(f"`{clash[0]}` is of the client here, and `vars` has one, too", "rename that one")
        template.check_names(frozenset([*variables, *OF_CLIENT, SECRET]))
        unknown = sorted((uses.secrets or frozenset()) - setting.secrets.keys())
        if unknown:
            known = ", ".join(setting.secrets) or "none"
            raise TemplateFault(f"the setting names no secret `{unknown[0]}`", f"`secrets` has: {known}")


def _read(setting: SettingSpec) -> str:
    try:
        data = read_file(
            setting.template,
            SETTINGS_FILE.limits.template * 4,
            lambda why: TemplateFault(f"the template can't be read: {why}"),
        )
        return data.decode()
    except UnicodeDecodeError:
        raise TemplateFault("the template isn't UTF-8 text") from None


def template_name(setting: SettingSpec, spec: Spec) -> str:
    """Give a template's path as the user knows it."""
    path = setting.template
    return str(path.relative_to(spec.base) if path.is_relative_to(spec.base) else path)


def _proxy(proxy: Proxy | None) -> dict[str, Any] | None:
    """Give what a template may know of a group's proxy: never its user or password."""
    return {"name": proxy.name, "host": proxy.host, "port": proxy.port, "scheme": proxy.scheme} if proxy else None


def _canonical(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), default=str).encode()


def _hidden(secret: str) -> str:
    return "\n".join(HIDDEN for _line in secret.split("\n"))
