"""Pages: whole in themselves, harmless whatever others wrote, and with the same figures as text."""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler import cli
from reconciler.model.outlook import Outlook
from reconciler.present.html import pages, shapes
from reconciler.present.html.plan_view import view_of_plan
from reconciler.present.plan_text import headline, plan_text, quiet
from reconciler.present.render import render
from reconciler.present.terminal import Terminal
from reconciler.present.views import FORECAST, PLAN, REPORT, STATUS
from reconciler.present.words import number_text
from reconciler.specfile.secrets import MASK, Masker
from tests import shown
from tests.fleet import Fleet

if TYPE_CHECKING:
    from pathlib import Path

HOSTILE = "\"><script>alert('x')</script><img src=http://x.example onerror=y> {{ 7*7 }} \u202eevil &amp; \x1b[2J"
LONG = "x" * 5000
KINDS = {
    "plan": (shown.plan, PLAN),
    "status": (shown.status, STATUS),
    "report": (shown.report, REPORT),
    "forecast": (shown.forecast, FORECAST),
}
EMPTY = {"br", "meta", "rect", "line", "circle", "path", "polyline", "polygon", "use"}


class Read(HTMLParser):
    """A page as a browser takes it: its tags, their attributes and its text, and whether they are well nested."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[str, list[str]] = {}
        self.words: list[str] = []
        self.declared = ""
        self.feed(text)
        self.close()

    def handle_decl(self, decl: str) -> None:
        self.declared = decl

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        assert len(dict(attrs)) == len(attrs), f"{tag} has an attribute twice"
        self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        tag = self.open[-1] if self.open else ""
        self.texts.setdefault(tag, []).append(data)
        if tag not in {"style", "script", "title"}:
            self.words.append(data)

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", "".join(self.words))


def read(kind: str, *said: str, **how: Any) -> Read:
    make, view = KINDS[kind]
    return Read(render(make(*said), "html", view, **how))


@pytest.mark.parametrize("kind", KINDS)
def test_a_page_is_well_formed_and_refers_to_nothing_outside_of_it(kind: str) -> None:
    page = read(kind)
    assert (page.declared, page.open) == ("doctype html", [])
    ids = [attributes["id"] for _tag, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    for tag, attributes in page.tags:
        assert tag not in {"link", "img", "iframe", "object", "embed", "base", "form", "image"}
        assert not {"src", "style", "srcset", "action"} & set(attributes)
        assert not any(name.startswith("on") for name in attributes)
        assert (attributes.get("href") or "#")[0] == "#"
        assert (attributes.get("href") or "#")[1:] in {"", *ids}
        labels = attributes.get("aria-labelledby")
        assert labels is None or labels in ids
    assert re.findall(r"(?:url\(|@import|https?:)[^;]*", "".join(page.texts["style"])) == ["url(#hatch)"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_page_allows_its_own_style_and_script_and_nothing_else(kind: str) -> None:
    page = read(kind, HOSTILE, HOSTILE)
    (policy,) = [
        attributes["content"]
        for tag, attributes in page.tags
        if tag == "meta" and attributes.get("http-equiv") == "Content-Security-Policy"
    ]
    ((style,), (script,)) = page.texts["style"], page.texts["script"]

    def digest(text: str) -> str:
        return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()

    assert policy == (
        f"default-src 'none'; style-src 'sha256-{digest(style)}'; script-src 'sha256-{digest(script)}'; "
        "base-uri 'none'; form-action 'none'"
    )


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("text", [HOSTILE, LONG])
def test_what_others_wrote_is_text_in_a_page_and_nothing_else(kind: str, text: str) -> None:
    harmless, page = read(kind), read(kind, text, text, *([text] if kind == "plan" else []))
    assert {tag for tag, _attributes in page.tags} <= {tag for tag, _attributes in harmless.tags} | {"code", "time"}
    assert {name for _tag, attributes in page.tags for name in attributes} <= {
        name for _tag, attributes in harmless.tags for name in attributes
    } | {"datetime"}
    told = text.replace("\u202e", "?").replace("\x1b", "?")
    assert told in page.text
    assert "\u202e" not in page.text


@pytest.mark.parametrize("kind", KINDS)
def test_a_page_is_the_same_in_every_encoding(kind: str) -> None:
    make, view = KINDS[kind]
    page = render(make("gr\u00fcn \u4e2d", "\u0645"), "html", view)
    assert page.isascii()
    assert "gr\u00fcn \u4e2d" in Read(page).text


@given(st.text("<>&\"'`{}% 0123456789TZ:-aé中\u202e\u0645", min_size=9, max_size=40), st.sampled_from(list(KINDS)))
@settings(max_examples=40)
def test_a_secret_is_masked_in_a_page_however_it_is_spelled_there(secret: str, kind: str) -> None:
    masker = Masker()
    masker.add(secret)
    make, view = KINDS[kind]
    page = masker.mask(render(make(f"({secret})"), "html", view))
    assert page == masker.mask(render(make(f"({MASK})"), "html", view))


def test_a_secret_that_looks_like_a_moment_or_a_command_is_masked_in_a_page() -> None:
    for secret in ("key 2026-11-24T12:00:00Z 12 345 MiB", 'a`updoser apply`b<"\u00fc'):
        masker = Masker()
        masker.add(secret)
        page = masker.mask(render(shown.plan(f"({secret})"), "html", PLAN))
        assert "(********)" in page
        assert "key <time" not in page
        assert "a<code>updoser apply" not in page


# --- what a page says ---------------------------------------------------------------------------------------------


def plain(text: str) -> str:
    return text.replace("\u202f", " ")


def test_a_plan_begins_with_its_verdict_and_what_needs_somebody() -> None:
    document = shown.plan()
    page = read("plan")
    assert plain(page.texts["h1"][0]) == f"{headline(document)}."
    heads = [plain(text).strip() for text in page.texts["h2"]]
    assert heads[:2] == ["Halted: engine 2 in wave 2 of 3", "Not as declared"]
    assert heads.index("9 problems that are alike") < heads.index("Changed in the spec")
    assert heads.index("This run, and what comes later") < heads.index("Rollouts") < heads.index("Deploy to clients")
    empty = shown.plan(
        downloads=(), deploys=(), settings=(), rollouts=(), run=Outlook(), problems=(), drift=(), held=(), unknown=()
    )
    assert view_of_plan(empty).headline == quiet(empty)


def test_the_rows_of_a_page_are_those_of_the_text() -> None:
    document = shown.plan()
    text, page = plan_text(document), plain(read("plan").text)
    for table in (*view_of_plan(document).sections, *view_of_plan(document).findings):
        assert table.title in text
        for line in table.lines:
            for cell in filter(None, line.cells):
                assert cell in text
                assert cell in page


@pytest.mark.parametrize("kind", KINDS)
def test_the_figures_of_a_page_are_those_of_its_document(kind: str) -> None:
    page = plain(read(kind).text)
    figures = {
        "plan": ["48 215 clients", "2.0 KiB to download", "9 problems", "3 of 48 215 clients in all", "900 clients"],
        "status": ["48 212 clients", "1 of 2 components are current", "60", "37 %", "1.0 GiB", "105", "7"],
        "report": ["97 clients changed, 41 failed, 1 unreachable", "40", "1.0 MiB", "4.0 MiB", "2 incrementals made"],
        "forecast": ["10 clients", "3 releases are on their way; 1 never reaches", "50 %", "95\u2013100 %", "wave 2"],
    }
    for figure in figures[kind]:
        assert figure in page


def test_failures_that_are_alike_are_a_row_with_their_number_and_three_examples() -> None:
    page = read("report")
    assert "40 clients of office" in page.text
    assert "pc-1-2 rules: no room: 2 MiB and 37 more" in page.text
    assert "pc-1-3 rules" not in page.text


def test_clients_are_named_only_where_that_was_asked_for_and_at_most_a_thousand_of_a_change() -> None:
    names = tuple(f"client-{number:06}" for number in range(100_000))
    many = shown.plan(
        deploys=(shown.deploy("rules", clients=len(names)),),
        members={"c1": names, "c2": ("pc-3",), "c3": ("pc-4",)},
        held=(),
        gone=names,
    )
    brief, whole = (render(many, "html", PLAN, names=asked) for asked in (False, True))
    assert "client-000500" not in brief
    assert len(brief) < 60_000
    assert "client-000500" in whole
    assert "client-001000" not in whole
    assert f"and {number_text(99_000)} more".replace(" 000", "&#8239;000") in whole
    assert len(whole) < 120_000


def test_what_stands_still_has_its_waves_and_the_rest_of_many_rollouts_a_table() -> None:
    many = shown.plan(rollouts=[shown.rollout(f"r{at}", "halted", f"no {at}") for at in range(9)])
    view = view_of_plan(many)
    assert len(view.ways) == shapes.WAYS_SHOWN
    assert view.rollouts is not None
    assert len(view.rollouts.lines) == 9
    alike = view_of_plan(shown.plan(rollouts=[shown.rollout(f"r{at}", new=True) for at in range(9)]))
    assert [way.component for way in alike.ways] == ["9 rollouts"]
    assert [wave.title for wave in alike.ways[0].waves] == [
        "1 \u00b7 label=canary",
        "2 \u00b7 up to 10 %",
        "3 \u00b7 the rest",
    ]
    assert [wave.state for wave in alike.ways[0].waves] == ["passed", "open", "ahead"]


def test_what_a_rollout_waits_for_and_why_it_stands_still_hang_on_no_words() -> None:
    asked = replace(shown.rollout("asked"), says="in other words", awaits_approval=True)
    said = "wave: 2: it waits for approval: of nobody"
    view = view_of_plan(
        shown.plan(rollouts=[asked, shown.rollout("r", "halted", said), shown.rollout("s", "paused", said)])
    )
    assert [way.sign.text for way in view.ways] == ["waits for approval", "halted", "paused"]
    assert [way.waves[1].says for way in view.ways] == [
        "in other words (2 failed, 1 unreachable, 9 off)",
        "halted",
        "paused",
    ]
    alert = view.alerts[0]
    assert (alert.title, alert.why) == ("Halted: r 2 in wave 2 of 3", said)


def test_a_forecast_has_two_lines_where_it_is_compared_and_hatches_what_never_comes() -> None:
    page = read("forecast")
    lines = [attributes["class"] for tag, attributes in page.tags if tag == "polyline"]
    assert lines == ["base", "line"] * 2  # two releases are alike
    assert len([1 for tag, attributes in page.tags if (tag, attributes.get("class")) == ("rect", "never")]) == 1
    same = read("forecast")
    assert "rules 2, driver 2" in same.text


@given(st.lists(st.integers(0, 10**6), max_size=5))
def test_a_bar_fits_and_shows_whatever_is_more_than_nothing(counts: list[int]) -> None:
    segments = shapes.bar(("good", count) for count in counts)
    assert len(segments) == sum(1 for count in counts if count)
    assert all(segment.width > 1 for segment in segments)
    for one, other in pairwise(segments):
        assert one.start + one.width < other.start
    assert not segments or segments[-1].start + segments[-1].width == pytest.approx(100, abs=0.1)


@pytest.mark.parametrize(
    ("part", "whole", "text"),
    [
        (0, 0, "100 %"),
        (0, 9, "0 %"),
        (1, 10**6, "0.1 %"),
        (999_999, 10**6, "99.9 %"),
        (5, 5, "100 %"),
        (1, 3, "33.3 %"),
    ],
)
def test_no_rate_is_rounded_to_all_or_nothing(part: int, whole: int, text: str) -> None:
    assert shapes.rate_text(part, whole) == text


# --- how it looks ---------------------------------------------------------------------------------------------------


def tokens() -> tuple[dict[str, str], dict[str, str]]:
    light, dark = re.findall(r":root\{([^{}]*--text:[^{}]*)\}", pages.style_text())
    found = [dict(re.findall(r"--([\w-]+):\s*(#[0-9a-f]{6})\b", block)) for block in (light, dark)]
    return found[0], found[1]


def luminance(colour: str) -> float:
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


TONES = ("good", "late", "bad", "ahead", "pending", "idle")
READ_ON = [
    *(
        (text, ground, 4.5)
        for text in ("text", "secondary", "tertiary", "link")
        for ground in ("surface", "ground", "sunken")
    ),
    *((tone, ground, 4.5) for tone in TONES for ground in ("surface", "ground", f"{tone}-tint")),
    *((f"{tone}-shape", "surface", 3.0) for tone in TONES),
    ("control", "surface", 3.0),
]


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
def test_every_text_and_shape_stands_out_from_its_ground(scheme: int) -> None:
    colours = tokens()[scheme]
    faint = {
        f"{front} on {ground}": round(contrast(colours[front], colours[ground]), 2)
        for front, ground, least in READ_ON
        if contrast(colours[front], colours[ground]) < least
    }
    assert faint == {}


@pytest.mark.parametrize("name", [name for name in pages.STATIC if name.endswith(".css")])
def test_each_rule_of_a_look_ends_where_it_should(name: str) -> None:
    left = pages.static_text(name)
    while (inner := re.sub(r"[^{}]*\{[^{}]*\}", "", left)) != left:
        left = inner
    assert left.strip() == ""


# --- commands -------------------------------------------------------------------------------------------------------


def test_commands_that_have_a_page_print_it_and_others_refuse_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fleet = Fleet(tmp_path)
    file = ["-f", str(fleet.folder / "updoser.yaml")]
    into = tmp_path / "forecast.json"
    for command, head in (
        (["plan", *file, "--diff"], "<title>Plan of"),
        (["status", *file], "<title>Status of"),
        (["forecast", *file, "--json-into", str(into)], "<title>Forecast of"),
        (["apply", *file, "--auto-approve"], "<title>Apply of"),
    ):
        code = cli.run([*command, "--format", "html"], Terminal())
        printed = capsys.readouterr().out
        assert (code, printed.startswith("<!doctype html>"), head in printed) == (0, True, True), command
        assert Read(printed).open == []
    assert into.read_text(encoding="utf-8").startswith("{")
    assert cli.run(["history", *file, "--format", "html"], Terminal()) == 64
