"""The options of `http`: where each component is, which versions there are, and what is made of its file."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit, urlunsplit

from reconciler.errors import PluginError
from reconciler.formats.option_schemas import DURATION, SECRET
from reconciler.formats.pointer import POINTER_PATTERN
from reconciler.model.release import file_name_problem
from reconciler.web.options import WEB

from .._fetched.options import REFRESH_LIMIT
from .._fetched.unpack import UNPACK
from .._verify.options import VERIFY

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

GITHUB, GITLAB = "https://api.github.com", "https://gitlab.com/api/v4"
KINDS = ("text", "json", "listing", "header")
_POINTER: Mapping[str, Any] = {
    "type": "string",
    "pattern": POINTER_PATTERN,
    "x-says": "a JSON pointer such as /tag_name",
}
_PLACE = "A whole URL, or one that starts from `url` of the source."

VERSION: Mapping[str, Any] = {
    "type": ["string", "object"],
    "minLength": 1,
    "minProperties": 1,
    "additionalProperties": False,
    "x-says": "a version, or where it is found: one of {text: …}, {json: …}, {listing: …} and {header: …}",
    "description": "Which versions there are: one that is written here, or a place that says it. Left out: each change "
    "of the file is a version, named by the time of its last change and its digest (`header: Last-Modified`).",
    "examples": [{"text": "version.txt"}, {"listing": "releases/", "pattern": "rules-([0-9.]+)[.]zip"}],
    "properties": {
        "text": {
            "type": "string",
            "minLength": 1,
            "description": f"A file whose first line is the version. {_PLACE}",
            "examples": ["version.txt"],
        },
        "json": {
            "type": "string",
            "minLength": 1,
            "description": f"A JSON document that has it, at `pointer`. {_PLACE}",
            "examples": ["https://forge.example/api/releases"],
        },
        "listing": {
            "type": "string",
            "minLength": 1,
            "description": f"A page, or another text, that names all versions, as `pattern` finds them. {_PLACE}",
            "examples": ["releases/"],
        },
        "header": {
            "type": "string",
            "enum": ["Last-Modified", "ETag"],
            "description": "What tells of the file itself that it changed. The version is the time of that change, or "
            "with `ETag` the time when it was first seen, and the first digits of the digest.",
        },
        "pointer": {
            **_POINTER,
            "description": "Where the version is in the JSON document; with `each`, in each of its entries.",
            "examples": ["/tag_name"],
        },
        "each": {
            **_POINTER,
            "description": "Where the document has the list of its releases; empty where it is that list. Left out: it "
            "is about one release.",
            "examples": ["", "/releases"],
        },
        "released": {
            **_POINTER,
            "description": "Where the JSON document says when a release came out.",
            "examples": ["/published_at"],
        },
        "pattern": {
            "type": "string",
            "minLength": 1,
            "maxLength": 500,
            "description": "A regular expression, of Python's kind, that finds versions in each line of a listing or a "
            "text: its first group, or all of it. It is stopped after ten seconds.",
            "examples": ["rules-([0-9.]+)[.]zip"],
        },
    },
}
_PROJECT: Mapping[str, Any] = {"type": "string", "pattern": "^[\\w.-]+(/[\\w.-]+)+$"}
COMPONENT: Mapping[str, Any] = {
    "type": "object",
    "description": "Where the files of a component are found.",
    "additionalProperties": False,
    "properties": {
        "url": {
            "type": "string",
            "minLength": 1,
            "description": "Where its file is. `{version}` stands for the version, `{tag}` for how it is written where "
            f"it was found, `{{match}}` for all that the `pattern` matched. {_PLACE}",
            "examples": ["rules-{version}.tar.gz"],
        },
        "version": VERSION,
        "github": {
            **_PROJECT,
            "x-says": "a repository such as coreruleset/coreruleset",
            "description": "A repository on GitHub whose releases are taken, in place of `url` and `version`.",
            "examples": ["coreruleset/coreruleset"],
        },
        "gitlab": {
            **_PROJECT,
            "x-says": "a project such as group/project",
            "description": "A project on GitLab whose releases are taken, in place of `url` and `version`.",
            "examples": ["group/project"],
        },
        "asset": {
            "type": "string",
            "minLength": 1,
            "maxLength": 200,
            "description": "Which file of the forge's release is taken: a pattern for its name, with `{version}` and "
            "`{tag}`. It must match one.",
            "examples": ["*-minimal.tar.gz"],
        },
        "archive": {
            "type": ["boolean", "string"],
            "enum": [False, True, "api"],
            "default": False,
            "description": "Take the forge's own archive of the tag. With `api` that which its API makes, which is "
            "other bytes, and works for what isn't public.",
            "examples": [True],
        },
        "strip_prefix": {
            "type": "string",
            "minLength": 1,
            "maxLength": 64,
            "description": "What stands before the version in each tag; tags without it are passed over. Left out: a "
            "`v` before a digit is taken away.",
            "examples": ["release-"],
        },
        "prereleases": {
            "type": "boolean",
            "default": False,
            "description": "Take releases, too, that the forge calls prereleases.",
        },
        "keep": {
            "type": "integer",
            "minimum": 1,
            "maximum": 20,
            "default": 3,
            "description": "How many releases are offered, the newest first. Only the newest is fetched by itself.",
        },
        "interval": {
            **DURATION,
            "default": "15m",
            "description": "How long nothing is asked again that was asked before.",
            "examples": ["15m", "6h"],
        },
        "file": {
            "type": "string",
            "minLength": 1,
            "description": "What the file is called in a release, if it isn't unpacked. Left out: as in the URL.",
            "examples": ["all.rules"],
        },
        "listed": {
            "type": "boolean",
            "default": False,
            "description": "Its file is a SHA256SUMS, as `layout: tree` writes it: a release is what that lists, which "
            "lies beside it. What is verified is the list.",
        },
        "notes": {
            "type": "string",
            "minLength": 1,
            "description": "What is new in a release: a JSON pointer into the document that the version is from, or a "
            f"text with `{{version}}` and `{{tag}}` in its URL. {_PLACE} Left out: what a forge says.",
            "examples": ["/body", "changes-{version}.txt"],
        },
        "unpack": UNPACK,
        "verify": VERIFY,
    },
}
OPTIONS: Mapping[str, Any] = {
    "type": "object",
    "description": "Files of a web server, and releases of a forge.",
    "properties": {
        "url": {
            "type": "string",
            "description": "Where URLs start from that aren't whole, and the host that credentials, `headers` and "
            "`query` are for. For a forge: its API. User and password don't belong here.",
            "pattern": "^(https?://[^/\\s]+|file:///)\\S*$",
            "x-says": "a URL such as https://rules.example/open",
            "examples": ["https://rules.example/open", "https://forge.example/api/v3"],
        },
        "components": {
            "type": "object",
            "minProperties": 1,
            "description": "What it serves, by component id, and where that is.",
            "additionalProperties": COMPONENT,
            "examples": [{"rules": {"url": "rules-{version}.tar.gz", "version": {"text": "version.txt"}}}],
        },
        "token": {**SECRET, "description": "A token for the API of the forge."},
        "verify": {**VERIFY, "description": f"For components that have none of their own. {VERIFY['description']}"},
        **REFRESH_LIMIT,
        **WEB,
    },
    "required": ["components"],
    "additionalProperties": False,
}


def base_of(options: Mapping[str, Any]) -> str:
    """Give the URL that others start from: the one that is written, the API of a forge, or the first one's host.

    Raises:
        PluginError: there is none, or more than one.
    """
    told = [component for _id, component in sorted(options["components"].items())]
    forges = {GITHUB for component in told if "github" in component}
    forges |= {GITLAB for component in told if "gitlab" in component}
    if len(forges) > 1:
        raise PluginError("GitHub and GitLab are two sources", hint="credentials are for one of them only")
    if "url" in options:
        return str(options["url"])
    whole = [component["url"] for component in told if "://" in component.get("url", "")]
    if forges or whole:
        return forges.pop() if forges else _folder(whole[0])
    raise PluginError("`url` is missing", hint="without it the URLs of components must be whole")


def _folder(url: str) -> str:
    try:
        parts = urlsplit(url)
        path = parts.path.partition("{")[0].rpartition("/")[0]
        return urlunsplit((parts.scheme, parts.netloc, path if parts.scheme == "file" else "", "", ""))
    except ValueError as error:
        raise PluginError(f"`{url}` is no URL: {error}") from error


def check(options: Mapping[str, Any]) -> None:
    """See to it that the options of components fit together.

    Raises:
        PluginError: those of one don't; the message says which.
    """
    for name, component in options["components"].items():
        problem = next(_problems(component), "")
        if problem:
            raise PluginError(f"`components.{name}`: {problem}")


def _problems(component: Mapping[str, Any]) -> Iterator[str]:
    if "file" in component and (odd := file_name_problem(component["file"])):
        yield f"`file`: {odd}"
    if component["listed"]:
        yield from (f"`{key}` is for one file, and `listed` for many" for key in ("file", "unpack") if key in component)
    forge = next((key for key in ("github", "gitlab") if key in component), "")
    if forge:
        if "github" in component and "gitlab" in component:
            yield "`github` and `gitlab` are two places"
        yield from (f"`{key}` can't stand beside `{forge}`" for key in ("url", "version") if key in component)
        if bool(component["archive"]) == ("asset" in component):
            yield "one of `asset` and `archive` says what is taken of a release"
        return
    if "url" not in component:
        yield "`url` says where its file is, or `github` or `gitlab` where its releases are"
        return
    yield from (f"`{key}` is for the releases of a forge" for key in ("asset",) if key in component)
    if component["archive"]:
        yield "`archive` is for the releases of a forge"
    yield from _version_problems(component["url"], component.get("version", {"header": "Last-Modified"}))


def _version_problems(url: str, version: Any) -> Iterator[str]:
    if isinstance(version, str):
        return
    kinds = [kind for kind in KINDS if kind in version]
    if len(kinds) != 1:
        yield f"`version` is found in one way: {', '.join(f'`{kind}`' for kind in KINDS)}"
        return
    needed = {"json": "pointer", "listing": "pattern"}.get(kinds[0], "")
    if needed and needed not in version:
        yield f"`version.{kinds[0]}` needs `{needed}`"
    takes = {"json": {"pointer", "each", "released"}, "listing": {"pattern"}, "text": {"pattern"}, "header": set()}
    yield from (f"`version.{key}` isn't for `{kinds[0]}`" for key in version if key not in {*takes[kinds[0]], *kinds})
    if kinds == ["header"] and any(word in url for word in ("{version}", "{tag}")):
        yield "`url` names a version, and `version` says of no other one but by what the file is"
    if "{match}" in url and "pattern" not in version:
        yield "`{match}` in `url` is what a `pattern` matched, and there is none"
    if "pattern" in version:
        try:
            re.compile(version["pattern"])
        except re.error as error:
            yield f"`version.pattern` is no regular expression: {error}"
