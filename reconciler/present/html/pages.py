"""A view in its template, with all that it needs inside: the look of updoser, and what sorts tables where scripts run.

The policy of a page allows what has the digests of these two, and nothing else: not even markup that came in with a
text of somebody else could run, load or send anything.
"""

from __future__ import annotations

import base64
import hashlib
import re
from functools import cache, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reconciler import __version__
from reconciler.present.html.spelling import ago, prose, remedy, spelled

if TYPE_CHECKING:
    from collections.abc import Callable

    from jinja2 import Environment

_TEMPLATES = Path(__file__).parent / "templates"
_SHORT, _REMEMBERED = 80, 10_000
"""Texts of so many characters are spelled once, as pages have the same names and figures again and again."""
_SENTENCE, _SENTENCES = 400, 2_000
"""The same for sentences."""
_COMMENT = re.compile(r"/\*.*?\*/", re.DOTALL)
_BLANKS = re.compile(r"\s+")
_AROUND = re.compile(r" ?([{};,>]) ?")


STATIC = {
    "updoser.css": "text/css",
    "console.css": "text/css",
    "tables.js": "text/javascript",
    "console.js": "text/javascript",
    "icon.svg": "image/svg+xml",
}
"""The files that pages of the console name, and what they are."""


def page(template: str, view: Any) -> str:
    """Render a view as a page that stands for itself."""
    return _environment().get_template(template).render(view=view)


def console_page(template: str, view: Any, frame: Any) -> str:
    """Render a view as a page of the console, with its frame: it names its look and scripts, which have addresses."""
    return _environment().get_template(template).render(view=view, frame=frame)


@cache
def _environment() -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    @lru_cache(_REMEMBERED)
    def marked_up(text: str) -> Markup:
        return Markup(spelled(text))  # noqa: S704

    @lru_cache(_SENTENCES)
    def marked_up_sentence(text: str) -> Markup:
        return Markup(prose(text))  # noqa: S704 - it is spelled there

    def shown_sentence(text: str) -> Markup:
        return marked_up_sentence(text) if len(text) <= _SENTENCE else marked_up_sentence.__wrapped__(text)

    def shown(value: Any) -> Any:
        if not isinstance(value, str) or isinstance(value, Markup):
            return value
        return marked_up(value) if len(value) <= _SHORT else Markup(spelled(value))  # noqa: S704

    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=shown,
    )
    environment.filters["remedy"] = lambda text: Markup(remedy(text))  # noqa: S704 - it is spelled there
    environment.filters["prose"] = shown_sentence
    environment.filters["begun"] = lambda text: text[:1].upper() + text[1:]
    style, script = style_text(), script_text()
    environment.globals.update(
        style=Markup(style),  # noqa: S704 - our own
        script=Markup(script),  # noqa: S704 - our own
        policy=policy(style, script),
        version=__version__,
        static=static_address,
        once=_once,
        ago=lambda now, at: Markup(ago(now, at)),  # noqa: S704 - it is spelled there
    )
    return environment


def _once(kept: dict[str, Any], part: str, caller: Callable[[], Any]) -> Any:
    """Render a part of a page that follows from its view alone, once for each view."""
    known = kept.get(part)
    if known is None:
        known = kept[part] = caller()
    return known


@cache
def static_text(name: str) -> str:
    """Give a file of `STATIC`."""
    return style_text(name) if name.endswith(".css") else (_TEMPLATES / name).read_text(encoding="utf-8")


@cache
def static_address(name: str) -> str:
    """Give the address of a file of `STATIC`, which is another one when what is in it changes."""
    return f"/static/{name}?{hashlib.sha256(static_text(name).encode()).hexdigest()[:16]}"


def style_text(name: str = "updoser.css") -> str:
    """Give the look of updoser, without what only people read."""
    text = _COMMENT.sub("", (_TEMPLATES / name).read_text(encoding="utf-8"))
    return _AROUND.sub(r"\1", _BLANKS.sub(" ", text)).strip()


def script_text() -> str:
    """Give the script of a page."""
    return (_TEMPLATES / "tables.js").read_text(encoding="utf-8").strip()


def policy(style: str, script: str) -> str:
    """Give the Content-Security-Policy of a page with that style and script, and nothing else."""
    sources = [f"{kind}-src '{_digest(text)}'" for kind, text in (("style", style), ("script", script))]
    return "; ".join(["default-src 'none'", *sources, "base-uri 'none'", "form-action 'none'"])


def _digest(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
