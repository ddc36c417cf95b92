"""Header fields of HTTP answers that say what to do next: `WWW-Authenticate` and `Link`.

Sources of the rules: RFC 9110, 11.6.1 (challenges), 5.6 (tokens and quoted strings); RFC 8288, 3 (links). What doesn't
follow them is passed over from there on: a field is one of several hints, never a promise.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_FIELD = 16_384
"""Characters of a field that are read; a longer one is taken for none."""
_TOKEN = r"[A-Za-z0-9!#$%&'*+.^_`|~-]+"  # noqa: S105 - RFC 9110's word for it
_QUOTED = r'"(?:[^"\\]|\\.)*+"'
_SCHEME = re.compile(rf"[\s,]*({_TOKEN})(?=\s|,|$)")
_PARAMETER = re.compile(rf"[\s,]*({_TOKEN})[ \t]*=[ \t]*({_QUOTED}|{_TOKEN})[ \t]*(?=,|$)")
_TOKEN68 = re.compile(r"[ \t]+[A-Za-z0-9._~+/-]+=*[ \t]*(?=,|$)")
_ESCAPED = re.compile(r"\\(.)")
_LINK = re.compile(rf"[\s,]*<([^<>\"\s]*)>((?:[ \t]*;[ \t]*{_TOKEN}(?:[ \t]*=[ \t]*(?:{_QUOTED}|{_TOKEN}))?+)*+)")
_LINK_PARAMETER = re.compile(rf";[ \t]*({_TOKEN})(?:[ \t]*=[ \t]*({_QUOTED}|{_TOKEN}))?")


@dataclass(frozen=True, slots=True)
class Challenge:
    """One way in which a server wants to be told who asks; `scheme` and the names of `parameters` in small letters."""

    scheme: str
    parameters: Mapping[str, str] = field(default_factory=dict)


def parse_challenges(text: str) -> tuple[Challenge, ...]:
    """Read a `WWW-Authenticate` field, or several joined by commas, up to what can't be read."""
    found: list[Challenge] = []
    at = 0
    text = text if len(text) <= MAX_FIELD else ""
    while scheme := _SCHEME.match(text, at):
        at = scheme.end()
        parameters: dict[str, str] = {}
        blob = _TOKEN68.match(text, at)
        if blob:
            at = blob.end()
        while not blob and (parameter := _PARAMETER.match(text, at)):
            name = parameter[1].lower()
            if name in parameters:  # RFC 9110: each once
                return tuple(found)
            parameters[name] = _unquoted(parameter[2])
            at = parameter.end()
        found.append(Challenge(scheme[1].lower(), parameters))
    return tuple(found)


def next_link(text: str) -> str:
    """Give where a `Link` field says that the next page is, as it stands there; empty where it says none."""
    at = 0
    text = text if len(text) <= MAX_FIELD else ""
    while link := _LINK.match(text, at):
        at = link.end()
        for name, value in _LINK_PARAMETER.findall(link[2]):
            if name.lower() == "rel" and "next" in _unquoted(value).lower().split():
                return link[1]
    return ""


def _unquoted(text: str) -> str:
    return _ESCAPED.sub(r"\1", text[1:-1]) if text.startswith('"') else text
