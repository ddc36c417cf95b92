"""What a client answers is read as bytes from a stranger."""

import contextlib
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.client.facts import read_facts
from reconciler.client.protocol import MAX_CONTENT, read_content, read_outcomes
from reconciler.client.requests import variables
from reconciler.contracts import Completed
from reconciler.errors import ClientError, OtherControllerError, ProtocolError
from reconciler.model.client import MAX_INSTALLED
from reconciler.model.deploy import Step
from tests.fakes import make_release

DIGEST = "a" * 64
FACTS = f"""updoser 1 facts
platform Linux x86_64
began 100 3.5
free 1024
machine f86b8fe1-5b1f-4f4c-9c3a-0d3c1c0b2a11 65024:7 {" "}
tool gzip
tool zstd
selinux 0
controller abc 3
installed rules 1 {DIGEST} - l{" "}
installed engine 2.0 - 1.0 - engine/2.0/x was changed
kept rules 0.9 {DIGEST}
kept rules 2 {DIGEST}
unmanaged /opt/x y
end
""".encode()
RELEASE = make_release("rules", "2", {"a": b"x"})
STEPS = (
    Step(
        component="rules",
        from_version="",
        from_digest="",
        to_version="2",
        to_digest=RELEASE.digest,
        files=RELEASE.files,
    ),
)


def answer(data: Any, status: int = 0, stderr: bytes = b"") -> Any:
    return Completed(status, data, stderr)


def test_an_answer_is_read_behind_whatever_a_login_shell_prints() -> None:
    facts = read_facts(answer(b"Welcome!\nupdoser is great\n" + FACTS + b"bye\n"))
    engine, rules = facts.profile.installed
    assert (rules.component, rules.version, rules.digest, rules.previous, rules.layout) == (
        "rules",
        "1",
        DIGEST,
        "",
        "l",
    )
    assert (engine.digest, engine.previous, engine.damage) == ("", "1.0", "engine/2.0/x was changed")
    assert (facts.profile.platform, facts.profile.lineage, facts.profile.epoch) == ("linux-x86_64", "abc", 3)
    assert (facts.free, facts.seconds, facts.profile.tools) == (1024 * 1024, 2.5, ("gzip", "zstd"))
    assert facts.profile.unmanaged == ("/opt/x y",)
    assert (engine.kept, rules.kept) == ((), (("0.9", DIGEST), ("2", DIGEST)))


@pytest.mark.parametrize(
    "change",
    [
        (b"\nend\n", b"\n"),
        (b"platform Linux x86_64\n", b""),
        (b"platform Linux x86_64", b"platform ../.."),
        (b"free 1024", b"free -5"),
        (b"installed rules 1 ", b"installed ../x 1 "),
        (b"installed rules 1 ", b"installed rules ../../1 "),
        (b"installed engine", b"installed rules"),
        (DIGEST.encode(), b"short"),
        (b" engine/2.0/x was changed", b" "),
        (b"controller abc 3", b"controller a/b 3"),
        (b"tool gzip", b"tool rm -rf"),
        (b"unmanaged", b"nonsense"),
        (b"began 100 3.5", b"began x y"),
        (b"selinux 0", b"selinux maybe"),
        (b"machine f", b"machine x"),
        (b" 65024:7 ", b" 65024 "),
        (b"kept rules 2", b"kept rules ../2"),
        (b"kept rules 2", b"kept drivers 2"),
        (b"kept rules 0.9 " + DIGEST.encode(), b"kept rules 0.9 short"),
    ],
)
def test_an_answer_that_no_client_gives_is_a_protocol_error(change: Any) -> None:
    assert change[0] in FACTS
    with pytest.raises(ProtocolError):
        read_facts(answer(FACTS.replace(*change, 1)))  # type: ignore[call-arg]


def facts_with(lines: Any) -> Any:
    return answer(f"updoser 1 facts\nplatform Linux x86_64\n{''.join(lines)}end\n".encode())


def installed_lines(count: Any) -> Any:
    return [f"installed c{at} 1 {DIGEST} - - \n" for at in range(count)]


def test_what_clients_say_alike_is_read_once_and_what_differs_for_each() -> None:
    one, other = (read_facts(facts_with([f"free {free}\n", *installed_lines(3)])) for free in (1, 2))
    assert (one.free, other.free) == (1024, 2048)
    assert one.profile is other.profile
    assert read_facts(facts_with(installed_lines(2))).profile.installed == one.profile.installed[:2]


def test_a_long_answer_is_read_anew_each_time_so_that_nobody_fills_the_memory() -> None:
    one, other = (read_facts(facts_with(installed_lines(MAX_INSTALLED))) for _ in range(2))
    assert one.profile == other.profile
    assert one.profile is not other.profile


def test_nothing_is_believed_of_what_is_installed_behind_the_names_of_files() -> None:
    read_facts(facts_with(["unmanaged /x\n", "unmanaged /y\n", "lacks cp\n", "unmade /z\n"]))
    for line in (f"installed engine 9 {DIGEST} - - \n", f"kept c0 2 {DIGEST}\n", "controller x 3\n", "free 1\n"):
        with pytest.raises(ProtocolError):
            read_facts(facts_with([*installed_lines(1), "unmanaged /x\n", line]))


def loaded(*lines: str) -> Any:
    said = "".join(f"loaded {line}\n" for line in lines)
    found = read_facts(answer(FACTS.replace(b"unmanaged", f"{said}unmanaged".encode()))).profile
    return [(entry.loaded, entry.unsaid) for entry in found.installed]


def test_what_an_engine_says_is_a_version_or_a_short_reason_and_facts_without_it_are_as_before() -> None:
    assert loaded() == [("", ""), ("", "")]
    assert loaded("rules 0 27811", "engine 0  9.1 ") == [("9.1", ""), ("27811", "")]
    odd = f"engine 0 a/b{chr(0x202E)}{'x' * 5000}"
    (_engine, unsaid), _rules = loaded(odd, "rules late")
    assert len(unsaid) < 100
    assert unsaid.isprintable()
    assert loaded("rules late")[1] == ("", "no answer came in time")
    assert loaded("rules 7 what")[1] == ("", "exit 7: what")
    assert loaded("rules 0 current")[1] == ("", "the answer is no version: current")
    assert loaded("rules nonsense")[1] == ("", "the client doesn't say why")


@pytest.mark.parametrize("lines", [("nobody 0 1",), ("rules 0 1", "rules 0 2"), ("",)])
def test_an_engine_of_nothing_that_is_installed_or_that_answers_twice_is_a_protocol_error(lines: Any) -> None:
    with pytest.raises(ProtocolError):
        loaded(*lines)


def test_what_is_loaded_is_believed_of_what_switched_only() -> None:
    def outcome(status: str, *more: str) -> Any:
        text = "\n".join([f"updoser 1 outcomes\nrules {status} 2 {RELEASE.digest} ", *more, "end\n"])
        (found,) = read_outcomes(answer(text.encode()), STEPS)
        return found.loaded, found.unsaid

    assert outcome("changed", "1 loaded 0 2") == ("2", "")
    assert outcome("changed", "1 loaded 126 x") == ("", "the command can't be run (exit 126): x")
    for line in ("1 loaded 0 2", "2 loaded 0 2", "0 loaded 0 2"):
        with pytest.raises(ProtocolError):
            outcome("ok", line)


def test_no_client_has_more_components_than_there_can_be() -> None:
    assert len(read_facts(facts_with(installed_lines(MAX_INSTALLED))).profile.installed) == MAX_INSTALLED
    with pytest.raises(ProtocolError):
        read_facts(facts_with(installed_lines(MAX_INSTALLED + 1)))


def test_an_answer_of_twice_the_length_takes_no_more_than_twice_the_steps_to_read() -> None:
    def steps(count: Any) -> Any:
        taken = 0

        def note(*_event: Any) -> None:
            nonlocal taken
            taken += 1

        lines = installed_lines(count)
        data = facts_with(
            [*lines, *(line.replace("installed", "kept").replace(" 1 ", " 2 ")[:-6] + "\n" for line in lines)]
        )
        before = sys.getprofile()
        sys.setprofile(note)
        try:
            read_facts(data)
        finally:
            sys.setprofile(before)
        return taken

    steps(1)
    assert steps(800) < 2.2 * steps(400)


def test_a_client_shows_no_more_of_a_file_than_was_asked_for() -> None:
    line = " 78" * 16 + "\n"
    good = f"updoser 1 content\nfile 1\n{line * (MAX_CONTENT // 16)}end\n"
    assert read_content(answer(good.encode()), ["/a"]) == {"/a": b"x" * MAX_CONTENT}
    with pytest.raises(ProtocolError):
        read_content(answer(good.replace("end\n", " 78\nend\n").encode()), ["/a"])
    with pytest.raises(ProtocolError):
        read_content(answer(f"updoser 1 content\nfile 1\n {'78' * (MAX_CONTENT + 1)}\nend\n".encode()), ["/a"])


def test_a_machine_is_told_by_its_boot_and_by_the_folder_and_neither_is_remembered() -> None:
    boot, other = "f86b8fe1-5b1f-4f4c-9c3a-0d3c1c0b2a11", "0d3c1c0b-5b1f-4f4c-9c3a-f86b8fe12a11"

    def machine(line: Any) -> Any:
        return read_facts(answer(b"updoser 1 facts\nplatform Linux x86_64\n%send\n" % line)).machine

    known = [f"machine {boot} 65024:7 \n".encode(), f"machine {boot} 65024:7 updoser\n".encode()]
    cloned, container = f"machine {other} 65024:7 \n".encode(), f"machine {boot} 52:7 \n".encode()
    found = [machine(line) for line in (*known, cloned, container)]
    assert found == [machine(line) for line in (*known, cloned, container)]
    assert len(set(found)) == 4
    assert all(len(digest) == 32 and boot[:8] not in digest for digest in found)
    assert machine(b"") == ""


def test_texts_of_clients_cannot_move_the_cursor_or_break_a_line() -> None:
    facts = read_facts(answer(FACTS.replace(b"was changed", b"\x1b[2J\r\x07 gone")))
    assert facts.profile.installed[0].damage.isprintable()


def test_outcomes_are_one_for_each_step_in_order() -> None:
    good = f"updoser 1 outcomes\nrules changed 2 {DIGEST} \nend\n".encode()
    (outcome,) = read_outcomes(answer(good), STEPS)
    assert (outcome.status, outcome.version, outcome.digest) == ("changed", "2", DIGEST)
    staged = good.replace(b"changed", b"staged")
    assert read_outcomes(answer(b"updoser waits\nupdoser waits\n" + staged), STEPS)[0].status == "staged"
    for bad in (good.replace(b"rules", b"engine"), good.replace(b"changed", b"great"), good.replace(b"\nend", b"")):
        with pytest.raises(ProtocolError):
            read_outcomes(answer(bad), STEPS)


def test_files_are_read_in_the_order_in_which_they_were_asked_for() -> None:
    good = b"updoser 1 content\nfile 1\n 61 0a\n 62\nnone 2\nfile 3\nend\n"
    paths = ["/a", "/b", "/c", "/d"]
    assert read_content(answer(good), paths) == {"/a": b"a\nb", "/b": None, "/c": b""}
    for bad in (
        b"updoser 1 content\nend\n",
        good.replace(b"none 2", b"none 3"),
        good.replace(b"file 3", b" 61"),
        good.replace(b" 62", b" 6x"),
        good.replace(b"file 1\n", b""),
        good.replace(b"file 3", b"file 3\nfile 4\nfile 5"),
        b"updoser 1 content\nfile 1\n" + (b" 61" * 30 + b"\n") * 3000 + b"end\n",
    ):
        with pytest.raises(ProtocolError):
            read_content(answer(bad), paths)


def test_variables_get_names_that_a_shell_takes_and_what_fits_no_line_is_left_out() -> None:
    values = {"site-name": "a b", "SITE_NAME": "upper", "tab": "a\tb", "two": "a\nb", "esc": "\x1b", "ü": "x", "": "x"}
    assert variables(values) == {"SITE_NAME": "upper", "TAB": "a\tb", "_": "x"}
    assert variables({"long": "x" * 40_000, "n" * 200: "x"}) == {}


def test_refusals_of_the_client_become_our_errors_with_a_hint() -> None:
    with pytest.raises(OtherControllerError, match="lineage abcdefgh, epoch 4"):
        read_facts(answer(b"updoser 1 error\ncontroller abcdefghijk 4\nend\n"))
    with pytest.raises(ClientError) as caught:
        read_facts(answer(b"updoser 1 error\ninsecure / belongs to user 5\nend\n"))
    assert caught.value.message == "/ belongs to user 5"
    assert "must belong to root" in caught.value.hint
    with pytest.raises(ProtocolError, match="exit status 3.*sh: oops"):
        read_facts(answer(b"", 3, b"sh: oops\n"))


@given(st.binary(max_size=300))
def test_no_bytes_break_the_readers(data: bytes) -> None:
    kinds = (b"facts", b"outcomes", b"content")
    readers = (read_facts, lambda done: read_outcomes(done, STEPS), lambda done: read_content(done, ["/a", "/b"]))
    for reader in readers:
        for body in (data, *(b"updoser 1 %s\n%s\nend\n" % (kind, data) for kind in kinds)):
            with contextlib.suppress(ClientError, OtherControllerError):
                reader(answer(body))


@given(st.integers(0, len(FACTS) - 1), st.binary(max_size=4))
def test_no_change_of_a_real_answer_breaks_the_reader(at: int, inserted: bytes) -> None:
    with contextlib.suppress(ClientError, OtherControllerError):
        read_facts(answer(FACTS[:at] + inserted + FACTS[at + 2 :]))
