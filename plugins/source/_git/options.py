"""The options of a git repository as a source."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from reconciler.errors import PluginError
from reconciler.formats.size import SIZE_PATTERN, parse_size
from reconciler.web.options import WEB

from .._fetched.options import REFRESH_LIMIT
from .._fetched.selection import SELECTION, Selection
from .._verify.options import VERIFY

if TYPE_CHECKING:
    from collections.abc import Mapping

_REF = re.compile(r"(?!-)[\w./+@#=-]{1,200}")
_PATTERN = "^[^\\s~^:\\\\]{1,200}$"
_WAYS = ("gpg", "ssh")
_SERVED = {key: SELECTION[key] for key in ("include", "exclude", "flatten")}


def _verify() -> dict[str, Any]:
    """Give the schema of `verify` with the ways that git's own signatures are of."""

    def own(schema: Any) -> Any:
        if isinstance(schema, dict):
            if schema.get("properties", {}).keys() >= set(_WAYS):
                ways = {name: _without_places(schema["properties"][name]) for name in _WAYS}
                return {**schema, "properties": ways, **_SHOWN}
            return {key: own(value) for key, value in schema.items()}
        return schema

    return {
        **own(VERIFY),
        "description": "Whose signatures count: those of the tags, or of the commits of a branch. A list: all of these "
        "ways. Left out: plans say that it isn't signed.",
        "examples": [[{"gpg": {"keyring": "trust/vendor.gpg"}}]],
    }


_SHOWN: Mapping[str, Any] = {
    "x-says": "one way to verify, such as {gpg: {keyring: trust/vendor.gpg}}",
    "examples": [{"gpg": {"keyring": "trust/vendor.gpg"}}],
}


def _without_places(schema: Any) -> Any:
    """Leave out what says where a signature lies that isn't git's own."""
    kept = {key: value for key, value in schema["properties"].items() if key in {"keyring", "signers"}}
    return {**schema, "properties": kept}


OPTIONS: Mapping[str, Any] = {
    "type": "object",
    "description": "Releases made of a git repository: of its tags, or of the commits of a branch. No git is needed.",
    "properties": {
        "url": {
            "type": "string",
            "description": "What `git clone` takes: http, https or file. User and password don't belong here.",
            "pattern": "^(https?://[^/\\s]+|file:///|ssh://|git://|[^/\\s]+@[^/\\s]+:)\\S*$",
            "x-says": "a URL such as https://github.com/coreruleset/coreruleset.git",
            "examples": ["https://github.com/coreruleset/coreruleset.git", "file:///media/in/rules.git"],
        },
        "tags": {
            "type": "string",
            "pattern": _PATTERN,
            "x-says": "a pattern such as v4.*",
            "description": "The tags whose names are like this; each is a release. Versions are in the names.",
            "examples": ["v4.*"],
        },
        "branch": {
            "type": "string",
            "pattern": _PATTERN,
            "x-says": "the name of a branch, such as main",
            "description": "The branch whose newest commit is a release. Versions are the times of commits.",
            "examples": ["main"],
        },
        "strip_prefix": {
            "type": "string",
            "default": "v",
            "description": "What tags have before the version, where they have it.",
            "examples": ["v"],
        },
        "keep": {
            "type": "integer",
            "minimum": 1,
            "maximum": 50,
            "default": 3,
            "description": "How many of the newest releases are offered.",
            "examples": [3],
        },
        "components": {
            "type": "object",
            "minProperties": 1,
            "description": "What it has, by component: the folder that the release is made of, or more than that.",
            "examples": [{"crs": "rules"}, {"crs": {"path": "rules", "include": ["*.conf", "*.data"]}}],
            "additionalProperties": {
                "type": ["string", "object"],
                "description": "A folder of the repository; `.` for all of it.",
                "x-says": "a folder, or {path: …, include: […]}",
                "additionalProperties": False,
                "examples": ["rules", {"path": "rules", "include": ["*.conf"]}],
                "properties": {
                    "path": {
                        "type": "string",
                        "minLength": 1,
                        "default": ".",
                        "description": "The folder; `.` for all of the repository.",
                        "examples": ["rules"],
                    },
                    **_SERVED,
                },
            },
        },
        "rewinds": {
            "type": "string",
            "enum": ["refuse", "allow"],
            "default": "refuse",
            "description": "What to do where a branch doesn't come after what was taken of it (a forced push).",
        },
        "verify": _verify(),
        **REFRESH_LIMIT,
        "max_size": {
            "type": "string",
            "pattern": SIZE_PATTERN,
            "x-says": "a size such as 64MiB or 2GB",
            "default": "1GiB",
            "description": "The most that a release may have, and that may come at once; more is refused.",
            "examples": ["1GiB"],
        },
        **WEB,
    },
    "required": ["url", "components"],
    "additionalProperties": False,
}


@dataclass(frozen=True, slots=True)
class Served:
    """What of a repository a component's releases are made of."""

    path: str
    selection: Selection

    @property
    def key(self) -> str:
        """A text that stands for it."""
        chosen = self.selection
        return json.dumps([self.path, chosen.include, chosen.exclude, chosen.flatten])


def served(options: Mapping[str, Any]) -> dict[str, Served]:
    """Read the option `components`.

    Raises:
        PluginError: a path leads out of the repository.
    """
    found = {}
    for component, given in options["components"].items():
        own = {"path": given, "flatten": "name"} if isinstance(given, str) else given
        parts = [part for part in own["path"].split("/") if part not in {"", "."}]
        if ".." in parts:
            raise PluginError(f"`{own['path']}` of {component} leads out of the repository")
        selection = Selection(
            include=tuple(own.get("include", ())),
            exclude=tuple(own.get("exclude", ())),
            flatten=own["flatten"],
        )
        found[str(component)] = Served("/".join(parts), selection)
    return found


def check(options: Mapping[str, Any]) -> None:
    """Refuse options that don't fit together.

    Raises:
        PluginError: they don't; the message says which, and the hint what to do.
    """
    url, name = str(options["url"]), options.get("branch", "")
    if ("branch" in options) == ("tags" in options):
        raise PluginError("a git source needs one of `tags` and `branch`", hint="tags: v1.*")
    if urlsplit(url).scheme not in {"http", "https", "file"}:
        raise PluginError(
            f"{url} can't be fetched: this source speaks git over http and https only, and reads folders",
            hint="take the repository's https URL with `username` and `password` (a token), or keep a clone of it "
            "(git clone --mirror, git fetch by a timer) and name that: file:///srv/rules.git",
        )
    if urlsplit(url).username or urlsplit(url).password:
        raise PluginError("user and password don't belong into `url`", hint="`username` and `password: {env: NAME}`")
    if not name:
        return
    if not _REF.fullmatch(name) or ".." in name or name.endswith((".lock", "/", ".")):
        raise PluginError(f"`{name}`: no branch can have that name")


def sizes(options: Mapping[str, Any]) -> tuple[int, int]:
    """Give the limit of a refresh, and that of a release, in bytes."""
    return parse_size(options["refresh_limit"]), parse_size(options["max_size"])
