"""What a pull request shows: tables that hold, and text of others that is only text."""

import json
import re
from html import escape
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from reconciler.model.change import Deploy, Download, Proof, Settings
from reconciler.model.plan import Basis, Finding, Plan, RolloutStep, WaveCounts
from reconciler.model.report import ComponentStatus, Quarantined, Status
from reconciler.model.rollout import Cut, RolloutRecord
from reconciler.present.document import plan_document, status_document
from reconciler.present.markdown import MARKER, MAX_BYTES, block, plan_markdown
from reconciler.present.render import FORMATS, Format, View, json_text, render
from reconciler.present.status_markdown import status_markdown
from reconciler.present.views import PLAN, STATUS
from reconciler.present.words import number_text
from tests.fakes import NOW

BASIS = Basis("l", 1, 0, "s", "c")
HOSTILE = "x|y\n# head `a` <img src=x> <!-- @everyone *b* [c](d) \x1b[2J ~~z~~ \\"


def deploy(component: str = "rules", group: str = "office", **more: Any) -> Any:
    fields = {"reason": "outdated", "clients": 2, "members": ("c1",), "bytes": 1536, "bytes_full": 2048, **more}
    return Deploy(component, group, "1", "a" * 64, "2", "b" * 64, "any", **fields)


def plan(**fields: Any) -> Any:
    return plan_document(Plan("p", NOW, BASIS, **fields))


EXAMPLE = """\
<!-- updoser:plan -->

### Plan: 1 download (2.0 KiB), 1 change on 2 of 3 clients (3.0 KiB); \
drift 0, held 0, deferred 0, unknown 1, unreachable 0; not as declared: 1 problem

- :warning: source vendor: it is away

| clients that come and go | clients | names |
| --- | --- | --- |
| gone from the inventory | 1 client | old-pc |

What is gone keeps what it has, unmanaged.

Saved against fulls: 1.0 KiB to deploy.

| download | from | to | size | what | reason |
| --- | --- | --- | --- | --- | --- |
| rules | - | 2 | 2.0 KiB | full from drop | missing |

| deploy | group | from | to | clients | each | reason |
| --- | --- | --- | --- | --- | --- | --- |
| rules | office | 1 | 2 | 2 clients | 1.5 KiB each | pinned, downgrade |

| not changed | group | component | clients | reason |
| --- | --- | --- | --- | --- |
| unknown | office | all components | 1 client | no connection |

- no connection (pc-3): look at the network, and at what sshd logs there
"""


@pytest.fixture
def example() -> Any:
    return plan(
        downloads=(Download("rules", "", "2", "b" * 64, "any", "drop", 2048, "missing"),),
        deploys=(deploy(reason="pinned", downgrade=True),),
        unknown=(Finding("office", 1, ("c2",), "no connection"),),
        gone=("old-pc",),
        problems=("source vendor: it is away",),
        members={"c1": ("pc-2", "pc-1"), "c2": ("pc-3",)},
        clients={"office": 3},
    )


def test_a_plan_reads_like_this(example: Any) -> None:
    assert plan_markdown(example) == EXAMPLE


def test_names_are_folded_below(example: Any) -> None:
    folded = plan_markdown(example, names=True).removeprefix(EXAMPLE)
    assert (
        folded
        == "\n<details><summary>Clients</summary>\n\n- rules 2 (office): pc-1, pc-2\n- gone: old-pc\n\n</details>\n"
    )


def test_a_status_is_one_table() -> None:
    counted = ComponentStatus("rules", "2", "", 1, 1, 0, 0, age=None)
    text = status_markdown(status_document(Status(NOW, None, 2, (counted,), {"g": (counted,)})))
    assert text.splitlines()[0].startswith("### Status: 2 clients, 0 of 1 component updated everywhere; ")
    assert text.splitlines()[-1] == "| rules | 2 | 1 | 1 | 0 | 50.0 % | - | - |"


def step(
    component: Any = "rules",
    group: Any = "",
    status: Any = "running",
    says: Any = "wave 1 of 2 is open: 0 of 2 done",
    *,
    new: Any = True,
) -> Any:
    cuts = (Cut("label=canary"), Cut(upto=2**32 - 1))
    record = RolloutRecord(
        component=component,
        version="2",
        group=group,
        status=status,
        cuts=cuts,
        sizes=(2, 98),
        structure="s",
        started=NOW,
        opened=NOW,
        reason=says.partition(": ")[2],
    )
    return RolloutStep(record, new, says, WaveCounts(2, pending=2, off=1))


ROLLOUTS = """\
<!-- updoser:plan -->

### Plan: 0 downloads (0 B), 3 changes on 4 of 100 clients (4.5 KiB), settings on 2 clients; \
drift 0, held 0, deferred 0, unknown 0, unreachable 0

- :no_entry: Halted: engine 2 (plant) in wave 1 of 2: 1 of 2 clients failed (pc-1: no); \
go on or give it up: updoser rollout resume\\|abort engine; or block 2 in the file

Saved against fulls: 3.5 KiB to deploy.

| rollout | version | group | waves | where it is |
| --- | --- | --- | --- | --- |
| rules | 2 | whole fleet | 2 + 98 clients | wave 1 of 2 is open: 0 of 2 done (1 off) |
| engine | 2 | plant | 2 + 98 clients | :no_entry: halted in wave 1 of 2 |

| prove again | wave | what | clients |
| --- | --- | --- | --- |
| rules 2 | wave 1 of 2 | switched checks once more | 2 clients |
| rules 2 | wave 1 of 2 | gate 1 |  |

| deploy | group | from | to | clients | each | reason |
| --- | --- | --- | --- | --- | --- | --- |
| rules | office | 1 | 2 | 2 clients | 1.5 KiB each, sent early, switched to in time | outdated, wave 1 of 2 |
| rules | office | 1 | 2 | 1 client | from what it kept, nothing sent | outdated, wave 1 of 2 |
| other | office | 1 | 2 | 1 client | 1.5 KiB each | missing |

| settings | group | reason |
| --- | --- | --- |
| 2 clients | office | changed |

<details><summary>Clients</summary>

- rules 2 again: pc-1, pc-2
- rules 2 (office): pc-1, pc-2
- rules 2 (office): pc-3
- other 2 (office): pc-4
- settings (office): pc-1, pc-2

</details>
"""


def test_a_plan_with_rollouts_reads_like_this() -> None:
    says = "halted in wave 1 of 2: 1 of 2 clients failed (pc-1: no)"
    made = plan(
        deploys=(
            deploy(wave=1, early=True),
            deploy(wave=1, held=True, bytes=0, clients=1, members=("c2",)),
            deploy("other", reason="missing", clients=1, members=("c3",)),
        ),
        settings=(Settings("office", "changed", 2, ("c1",)),),
        proofs=(Proof("rules", "2", "", 1, "recheck", 0, 2, ("c1",)), Proof("rules", "2", "", 1, "gate")),
        rollouts=(step(), step("engine", "plant", "halted", says, new=False)),
        members={"c1": ("pc-2", "pc-1"), "c2": ("pc-3",), "c3": ("pc-4",)},
        clients={"office": 100},
    )
    assert plan_markdown(made, names=True) == ROLLOUTS


def test_a_status_has_tables_of_rollouts_and_quarantine_where_there_are_any() -> None:
    status = Status(
        NOW, None, 2, (), {}, rollouts=(step(), step("engine", status="halted", says="halted in wave 1 of 2: no")),
        quarantined=tuple(Quarantined(f"pc-{n}", "office", NOW, 3, "not | enough disk") for n in range(25)),
    )  # fmt: skip
    parts = status_markdown(status_document(status)).split("\n\n")
    assert parts[1].startswith("- :no_entry: Halted: engine 2 in wave 1 of 2: no; ")
    assert parts[2].splitlines()[2:] == [
        "| engine | 2 | whole fleet | 2026-11-24T12:00:00Z | :no_entry: halted in wave 1 of 2 |",
        "| rules | 2 | whole fleet | 2026-11-24T12:00:00Z | wave 1 of 2 is open: 0 of 2 done (1 off) |",
    ]
    row = "| pc-0, pc-1, pc-2 and 22 more | office | until 2026-11-24T12:00:00Z | 3 failures | not \\| enough disk |"
    assert parts[3].splitlines()[2:] == [row]


# --- what others wrote ----------------------------------------------------------------------------------------------


def hostile(text: Any) -> Any:
    finding = Finding(text, 1, ("c1",), text, text, text)
    return plan(
        downloads=(Download(*[text] * 6, 1, text),),  # type: ignore[call-arg]
        deploys=(deploy(text, text, reason=text),),
        settings=(Settings(text, text, 1, ("c1",)),),
        proofs=(Proof(text, text, text, 1, "recheck", 0, 1, ("c1",)),),
        rollouts=(step(text, text, "halted", text),),
        drift=(finding,),
        gone=(text,),
        problems=(text,),
        members={"c1": (text, text)},
        clients={text: 2},
    )


def rendered(text: str) -> Any:
    counted = ComponentStatus(text, text, text, 1, 1, 0, 0)
    stopped, left_alone = step(text, text, "halted", text), Quarantined(text, text, NOW, 3, text)
    status = status_document(
        Status(NOW, None, 2, (counted,), {"g": (counted,)}, rollouts=(stopped,), quarantined=(left_alone,))
    )
    return plan_markdown(hostile(text), names=True).removeprefix(MARKER) + status_markdown(status)


def unescaped(char: Any, text: str) -> Any:
    """Find a character that no backslash takes the power of."""
    return re.findall(rf"(?<!\\)(?:\\\\)*{re.escape(char)}", text)


def own_lines(text: str) -> Any:
    """Give the kinds of lines that a document consists of, by their beginning."""
    starts = (
        "### ",
        "- ",
        "| ",
        "What is gone keeps what it has, unmanaged.",
        "Saved against fulls: ",
        "<details><summary>Clients</summary>",
        "</details>",
    )
    return [line for line in text.splitlines() if line and not line.startswith(starts)]


def test_hostile_names_add_no_line_and_break_no_table() -> None:
    text = rendered(HOSTILE)
    assert own_lines(text) == []
    assert text.count("### ") == 2
    for block_ in text.split("\n\n"):
        rows = [line for line in block_.splitlines() if line.startswith("|")]
        assert len({len(unescaped("|", row)) for row in rows}) <= 1


@pytest.mark.parametrize("char", ["`", "*", "[", "]"])
def test_hostile_names_are_no_markup(char: str) -> None:
    assert not unescaped(char, rendered(HOSTILE))


def test_hostile_names_are_no_html() -> None:
    text = rendered(HOSTILE)
    own = text.replace("<details><summary>Clients</summary>", "").replace("</details>", "")
    assert not unescaped("<", own)


def test_hostile_names_mention_nobody() -> None:
    # Forges look for mentions in what the Markdown became: an entity or a backslash doesn't stop them, a gap does.
    text = rendered("@everyone and a@b")
    assert "everyone" in text
    assert not re.search(r"(?:@|&#64;|&commat;)[A-Za-z0-9]", text)


@given(st.text(max_size=12))
def test_no_name_adds_a_line_or_a_column(name: str) -> None:
    text = rendered(name)
    assert own_lines(text) == []
    assert all(line.replace("\u200b", "").isprintable() for line in text.split("\n"))
    for line in text.splitlines():
        if line.startswith("| rules"):
            assert len(unescaped("|", line)) == 8


@given(st.text(alphabet="`~a\n", max_size=20))
def test_nothing_closes_a_fence_from_inside(text: str) -> None:
    lines = block(text).split("\n")
    fence = lines[0]
    assert re.fullmatch(r"`{3,}", fence)
    assert lines[-2] == fence
    assert not any(line.strip().startswith(fence) for line in lines[1:-2])


# --- size and folding --------------------------------------------------------------------------------------------


def many(components: int, **more: Any) -> Any:
    deploys = tuple(deploy(f"rules-{n:04}", **more) for n in range(components))
    return plan(deploys=deploys, members={"c1": ("pc-1", "pc-2")}, clients={"office": 2})


def test_components_that_differ_in_nothing_else_are_one_row_with_their_releases_folded_below() -> None:
    text = plan_markdown(many(13))
    assert "| 13 components | office |  |  | 2 clients | 39.0 KiB in all, in full | outdated |\n" in text
    assert "<details><summary>13 releases</summary>\n\nrules-0000 2, rules-0001 2" in text
    assert plan_markdown(many(13), names=True).count("| rules-") == 13


@pytest.mark.parametrize(("components", "cut"), [(0, False), (100, False), (1500, True)])
def test_a_comment_has_at_most_what_a_forge_takes_and_says_so(components: int, cut: bool) -> None:
    text = plan_markdown(many(components), names=True)
    assert len(text.encode()) <= MAX_BYTES
    assert text.startswith(f"{MARKER}\n\n### Plan: 0 downloads (0 B), {number_text(components)} change")
    assert ("left out here" in text) == cut
    assert (text.count("\n| rules-") > 500) == cut


def test_a_forge_sees_tables_and_fences_where_they_are_meant() -> None:
    parser = MarkdownIt("commonmark").enable("table")
    text = f"{plan_markdown(many(13), names=True)}\n{block('a <b>')}"
    tokens = [token.type for token in parser.parse(text)]
    assert tokens[:2] == ["html_block", "heading_open"]
    assert tokens.count("table_open") == 1
    assert tokens.count("tr_open") == 14
    assert tokens[-1] == "fence"


# --- formats --------------------------------------------------------------------------------------------------------


def test_every_format_is_made_from_the_same_document(example: Any) -> None:
    texts = {form: render(example, form, PLAN) for form in FORMATS if FORMATS[form].shows(PLAN)}
    assert texts["text"].splitlines()[0] == texts["markdown"].splitlines()[2].removeprefix("### ")
    assert texts["json"] == json_text(example)
    status = status_document(Status(NOW, None, 0, (), {}))
    assert render(status, "json", STATUS) == json_text(status)
    assert render(status, "markdown", STATUS).startswith("### Status")
    assert render(status, "text", STATUS).startswith("Status: ")


def test_what_has_no_markdown_of_its_own_stands_in_a_fence() -> None:
    assert render({"a": 1}, "markdown", View(lambda _document: "```\n")) == "````\n```\n````\n"
    assert render({"a": "grün"}, "json", View(str)) == '{\n  "a": "grün"\n}\n'
    assert render({"a": 1}, "text", View(lambda _document: "as text")) == "as text"


def test_another_format_is_one_entry_that_shows_any_view(monkeypatch: pytest.MonkeyPatch) -> None:
    def as_html(view: Any, document: Any, how: Any) -> Any:
        return f"<pre>{escape(view.text(document, **how))}</pre>"

    monkeypatch.setitem(FORMATS, "html", Format(as_html))
    example = plan(problems=("a <b> & c",))
    assert "<pre>Plan: " in render(example, "html", PLAN, names=True)
    assert "a &lt;b&gt; &amp; c" in render(example, "html", PLAN)


@pytest.mark.parametrize("char", ["\x7f", "\x9b", "\u202e", "\u2028", "\udcff"])
def test_json_on_a_terminal_moves_no_cursor_and_comes_back_as_it_was(char: str) -> None:
    text = json_text({"a": char})
    assert char not in text
    assert text.encode()
    assert json.loads(text) == {"a": char}
