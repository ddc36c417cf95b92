"""What every transport and its sessions promise; tests/contracts/test_transport.py runs this over each of them."""

from __future__ import annotations

import hashlib
import io
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING, Any, Literal, Protocol

import pytest

from reconciler.contracts import MarkingSession
from reconciler.errors import ClientError, OtherControllerError
from reconciler.model.client import Client, Facts, Same
from reconciler.model.deploy import (
    ClientCheck,
    DeployRequest,
    Hook,
    Hooks,
    InstallTarget,
    Layout,
    Patched,
    PatchHop,
    Step,
)
from reconciler.model.mark import SAID, WANTED
from tests.fakes import CODECS, make_release

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator
    from pathlib import Path

    from reconciler.contracts import Transport
    from reconciler.model.client import Profile
    from reconciler.model.deploy import DeployReport
    from reconciler.model.release import Release

LINEAGE = "lineage-a"


class Content:
    """The content of releases by digest, as the store gives it."""

    def __init__(self) -> None:
        self._known: dict[str, bytes] = {}

    def release(self, component: str, version: str, **files: bytes) -> Release:
        """Make a release; file names are the keys, with `_` for a dot."""
        named = {name.replace("_", "."): data for name, data in files.items()}
        for data in named.values():
            self._known[hashlib.sha256(data).hexdigest()] = data
        return make_release(component, version, named)

    def hop(self, codec: str, old: bytes, new: bytes, *, damage: bool = False) -> PatchHop:
        """Make a patch; `damage` turns a bit over, and the patch keeps its size."""
        patch = made_patch(codec, old, new)
        if damage:
            at = len(patch) // 2
            patch = patch[:at] + bytes([patch[at] ^ 1]) + patch[at + 1 :]
        digest = hashlib.sha256(patch).hexdigest()
        self._known[digest] = patch
        return PatchHop(codec, len(patch), digest, len(new))

    @contextmanager
    def open(self, sha256: str) -> Iterator[io.BytesIO]:
        yield io.BytesIO(self._known[sha256])


@cache
def made_patch(codec: str, old: bytes, new: bytes) -> bytes:
    """Make a patch once for all tests."""
    return CODECS[codec].make(old, new, level=6)


def step(before: Release | None, after: Release, layout: Layout | None = None, kept: Collection[str] = ()) -> Step:
    """Give the step from one release (None: nothing) to another."""
    return Step(
        component=after.component,
        from_version=before.version if before else "",
        from_digest=before.digest if before else "",
        to_version=after.version,
        to_digest=after.digest,
        files=after.files,
        kept={name: name for name in kept},
        layout=layout or Layout(),
    )


def patched(before: Release | None, after: Release, **ways: tuple[str, *tuple[PatchHop, ...]]) -> Step:
    """Give the step whose files are made by patches: NAME=(base, hop, …), with `_` for a dot."""
    made = {name.replace("_", "."): Patched(base, tuple(hops)) for name, (base, *hops) in ways.items()}
    return replace(step(before, after), patched=made)


class ShellCommands:
    """Commands for checks and hooks that leave a trace in a folder, and fail for the versions that a test names."""

    def __init__(self, folder: Path) -> None:
        self._ran, self._bad = folder / "ran", folder / "bad"
        self._ran.touch()
        self._bad.touch()

    def text(self, name: str) -> str:
        return (
            f'echo "{name} $UPDOSER_COMPONENT ${{UPDOSER_PREVIOUS:--}} ${{UPDOSER_VERSION:--}}" >>{self._ran}\n'
            f'echo something else\necho no good\n! grep -qx "{name} $UPDOSER_VERSION" {self._bad}'
        )

    def fail(self, name: str, *versions: dict[str, dict[str, bytes]]) -> None:
        with self._bad.open("a") as bad:
            bad.writelines(f"{name} {version}\n" for version in versions)

    def ran(self) -> list[str]:
        """Give `NAME COMPONENT FROM TO` for each command that was run since this was last asked."""
        ran = self._ran.read_text().splitlines()
        self._ran.write_text("")
        return ran


OLD = b"".join(b"signature %07d\n" % number for number in range(0, 40_000, 2))
NEW = OLD[:100_000] + bytes(range(256)) + OLD[100_000:]
NEWER = NEW[:5_000] + NEW[5_100:] + b"and one at the end\n"


class Commands(Protocol):
    """Commands for checks and hooks: `text` names one, `fail` has it fail, `ran` gives what was run since."""

    def text(self, name: str) -> str: ...
    def fail(self, name: str, *versions: str) -> None: ...
    def ran(self) -> list[str]: ...


class TransportSuite:
    """Subclasses give the fixtures `reached`, (transport, client), and `commands`."""

    @pytest.fixture
    def content(self) -> Content:
        return Content()

    @pytest.fixture
    def ask(self, reached: tuple[Transport, Client], content: Content) -> Callable[..., DeployReport]:
        transport, client = reached

        def deploy(*steps: Step, lineage: str = LINEAGE, epoch: int = 1, keep: int = 2, **more: Any) -> DeployReport:
            with transport.connect(client) as session:
                request = DeployRequest(
                    lineage=lineage,
                    epoch=epoch,
                    install_root=client.install_root,
                    keep=keep,
                    steps=tuple(steps),
                    **more,
                )
                return session.deploy(request, content.open)

        return deploy

    @pytest.fixture
    def look(self, reached: tuple[Transport, Client]) -> Callable[..., Profile]:
        transport, client = reached

        def facts(*, verify: bool = False) -> Profile:
            with transport.connect(client) as session:
                return session.facts(client.install_root, verify=verify).profile

        return facts

    def test_a_new_client_has_nothing_and_answers_to_nobody(self, look: Callable[..., Profile]) -> None:
        profile = look()
        assert (profile.installed, profile.lineage, profile.epoch) == ((), "", 0)

    def test_a_first_install_is_seen_with_its_digest_and_controller(
        self, ask: Callable[..., DeployReport], look: Callable[..., Profile], content: Content
    ) -> None:
        release = content.release("rules", "1", a_txt=b"one", b_txt=b"")
        report = ask(step(None, release))
        assert [outcome.status for outcome in report.outcomes] == ["changed"]
        assert report.bytes_sent == 3
        profile = look()
        (entry,) = profile.installed
        assert (entry.component, entry.version, entry.digest) == ("rules", "1", release.digest)
        assert (entry.previous, entry.damage, entry.layout) == ("", "", Layout().fingerprint)
        assert (profile.lineage, profile.epoch) == (LINEAGE, 1)
        assert look(verify=True) == profile

    def test_a_client_that_is_as_it_was_says_so_by_its_mark(
        self, reached: tuple[Transport, Client], ask: Callable[..., DeployReport], content: Content
    ) -> None:
        transport, client = reached
        ask(step(None, content.release("rules", "1", a_txt=b"one")))

        def look_again(mark: str) -> Facts | Same:
            with transport.connect(client) as session:
                assert isinstance(session, MarkingSession)
                return session.look_again(client.install_root, mark)

        first = look_again(WANTED)
        assert isinstance(first, Facts)
        assert SAID.fullmatch(first.mark)
        assert isinstance(look_again(first.mark), Same)
        anew = look_again(f"{first.mark}?")
        assert isinstance(anew, Facts)
        assert (anew.mark, anew.profile) == (first.mark, first.profile)
        ask(step(None, content.release("engine", "1", e=b"e")))
        later = look_again(first.mark)
        assert isinstance(later, Facts)
        assert later.mark != first.mark
        assert {entry.component for entry in later.profile.installed} == {"engine", "rules"}

    def test_the_same_request_again_answers_ok(
        self, ask: Callable[..., DeployReport], look: Callable[..., Profile], content: Content
    ) -> None:
        request = step(None, content.release("rules", "1", a_txt=b"one"))
        ask(request)
        before = look()
        assert [outcome.status for outcome in ask(request).outcomes] == ["ok"]
        assert look() == before

    def test_an_update_keeps_the_version_before_as_previous(
        self, ask: Callable[..., DeployReport], look: Callable[..., Profile], content: Content
    ) -> None:
        old = content.release("rules", "1", a_txt=b"one", b_txt=b"same")
        new = content.release("rules", "2", a_txt=b"two", b_txt=b"same")
        ask(step(None, old))
        report = ask(step(old, new, kept={"b.txt"}))
        assert (report.outcomes[0].status, report.bytes_sent) == ("changed", 3)
        (entry,) = look(verify=True).installed
        assert (entry.version, entry.digest, entry.previous) == ("2", new.digest, "1")

    def test_a_client_that_is_not_as_expected_is_stale_and_says_what_it_has(
        self, ask: Callable[..., DeployReport], look: Callable[..., Profile], content: Content
    ) -> None:
        first, second, third = (content.release("rules", n, a_txt=n.encode()) for n in "123")
        ask(step(None, second))
        before = look()
        outcome = ask(step(first, third)).outcomes[0]
        assert (outcome.status, outcome.version, outcome.digest) == ("stale", "2", second.digest)
        outcome = ask(step(None, third)).outcomes[0]
        assert (outcome.status, outcome.version) == ("stale", "2")
        assert look() == before

    def test_a_stale_component_costs_no_other(self, ask: Callable[..., DeployReport], content: Content) -> None:
        rules = content.release("rules", "1", a_txt=b"r" * 5000)
        engine = content.release("engine", "1", b_bin=b"e" * 5000)
        ask(step(None, content.release("rules", "7", a_txt=b"seven")))
        assert [o.status for o in ask(step(None, rules), step(None, engine)).outcomes] == ["stale", "changed"]

    def test_a_downgrade_is_an_update_like_any_other(
        self, ask: Callable[..., DeployReport], look: Callable[..., Profile], content: Content
    ) -> None:
        old, new = content.release("rules", "1", a_txt=b"one"), content.release("rules", "2", a_txt=b"two")
        ask(step(None, old))
        ask(step(old, new))
        assert ask(step(new, old)).outcomes[0].status == "changed"
        assert look(verify=True).installed[0].digest == old.digest

    def test_a_damaged_version_is_replaced_whole(
        self, ask: Callable[..., DeployReport], look: Callable[..., Profile], content: Content
    ) -> None:
        release = content.release("rules", "1", a_txt=b"one")
        ask(step(None, release))
        other = content.release("rules", "1", a_txt=b"uno", b_txt=b"due")
        assert ask(step(release, other)).outcomes[0].status == "changed"
        assert look(verify=True).installed[0].digest == other.digest

    def test_another_lineage_is_refused_and_changes_nothing(
        self, ask: Callable[..., DeployReport], look: Callable[..., Profile], content: Content
    ) -> None:
        release = content.release("rules", "1", a_txt=b"one")
        ask(step(None, release))
        before = look()
        with pytest.raises(OtherControllerError):
            ask(step(release, content.release("rules", "2", a_txt=b"two")), lineage="lineage-b")
        assert look() == before

    def test_a_lower_epoch_is_refused_and_a_higher_one_is_remembered(
        self, ask: Callable[..., DeployReport], look: Callable[..., Profile], content: Content
    ) -> None:
        release = content.release("rules", "1", a_txt=b"one")
        ask(step(None, release), epoch=2)
        with pytest.raises(OtherControllerError):
            ask(step(None, release), epoch=1)
        ask(step(None, release), epoch=3)
        assert look().epoch == 3

    def test_another_layout_is_carried_out_without_sending_anything(
        self, ask: Callable[..., DeployReport], look: Callable[..., Profile], content: Content
    ) -> None:
        release = content.release("rules", "1", a_txt=b"one")
        ask(step(None, release))
        layout = replace(Layout(), unmanaged="report")
        report = ask(step(release, release, layout, kept={"a.txt"}))
        assert (report.outcomes[0].status, report.bytes_sent) == ("changed", 0)
        assert look().installed[0].layout == layout.fingerprint

    @pytest.mark.parametrize("codec", [codec for codec in CODECS if CODECS[codec].traits.based])
    def test_a_patch_turns_the_version_in_force_into_the_next(
        self, ask: Callable[..., DeployReport], look: Callable[..., Profile], content: Content, codec: str
    ) -> None:
        old, new = content.release("rules", "1", a_txt=OLD), content.release("rules", "2", a_txt=NEW)
        ask(step(None, old))
        hop = content.hop(codec, OLD, NEW)
        report = ask(patched(old, new, a_txt=("a.txt", hop)))
        assert (report.outcomes[0].status, report.bytes_sent) == ("changed", hop.size)
        (entry,) = look(verify=True).installed
        assert (entry.version, entry.digest, entry.previous) == ("2", new.digest, "1")

    def test_a_packed_full_needs_nothing_on_the_client(
        self, ask: Callable[..., DeployReport], look: Callable[..., Profile], content: Content
    ) -> None:
        new = content.release("rules", "2", a_txt=NEW)
        hop = content.hop("gzip", b"", NEW)
        assert ask(patched(None, new, a_txt=("", hop))).outcomes[0].status == "changed"
        assert look(verify=True).installed[0].digest == new.digest

    def test_patches_that_follow_one_another_are_applied_in_turn(
        self, ask: Callable[..., DeployReport], look: Callable[..., Profile], content: Content
    ) -> None:
        old, new = content.release("rules", "1", a_txt=OLD), content.release("rules", "3", a_txt=NEWER)
        ask(step(None, old))
        hops = content.hop("zstd", OLD, NEW), content.hop("bsdiff", NEW, NEWER)
        assert ask(patched(old, new, a_txt=("a.txt", *hops))).outcomes[0].status == "changed"
        assert look(verify=True).installed[0].digest == new.digest

    def test_files_are_patched_kept_and_sent_side_by_side_also_under_other_names(
        self, ask: Callable[..., DeployReport], look: Callable[..., Profile], content: Content
    ) -> None:
        old = content.release("rules", "1", lpt_167=OLD, same=b"same" * 500, was=b"moved" * 500)
        new = content.release("rules", "2", lpt_169=NEW, same=b"same" * 500, now=b"moved" * 500, added=b"new" * 300)
        ask(step(None, old))
        hop = content.hop("zstd", OLD, NEW)
        way = replace(patched(old, new, lpt_169=("lpt.167", hop)), kept={"same": "same", "now": "was"})
        report = ask(way)
        assert (report.outcomes[0].status, report.bytes_sent) == ("changed", hop.size + 900)
        assert look(verify=True).installed[0].digest == new.digest

    @pytest.mark.parametrize("codec", list(CODECS))
    def test_a_damaged_patch_is_answered_and_nothing_was_touched(
        self, ask: Callable[..., DeployReport], look: Callable[..., Profile], content: Content, codec: str
    ) -> None:
        old, new = content.release("rules", "1", a_txt=OLD), content.release("rules", "2", a_txt=NEW)
        other = content.release("engine", "1", b_bin=b"engine" * 1000)
        ask(step(None, old))
        base = "a.txt" if CODECS[codec].traits.based else ""
        hop = content.hop(codec, OLD if base else b"", NEW, damage=True)
        report = ask(patched(old, new, a_txt=(base, hop)), step(None, other))
        assert [outcome.status for outcome in report.outcomes] == ["unpatched", "changed"]
        assert (report.outcomes[0].version, report.outcomes[0].digest) == ("1", old.digest)
        entries = {entry.component: entry for entry in look(verify=True).installed}
        assert (entries["rules"].version, entries["rules"].digest) == ("1", old.digest)
        assert ask(patched(old, new, a_txt=(base, hop)).full).outcomes[0].status == "changed"

    def test_a_patch_of_a_codec_that_the_client_does_not_know_is_answered_too(
        self, ask: Callable[..., DeployReport], content: Content
    ) -> None:
        old, new = content.release("rules", "1", a_txt=OLD), content.release("rules", "2", a_txt=NEW)
        ask(step(None, old))
        hop = replace(content.hop("zstd", OLD, NEW), codec="rdiff")
        assert ask(patched(old, new, a_txt=("a.txt", hop))).outcomes[0].status == "unpatched"

    def test_the_patches_of_a_stale_component_are_passed_over(
        self, ask: Callable[..., DeployReport], look: Callable[..., Profile], content: Content
    ) -> None:
        old, new = content.release("rules", "1", a_txt=OLD), content.release("rules", "2", a_txt=NEW)
        engine = content.release("engine", "1", b_bin=b"engine" * 1000)
        ask(step(None, content.release("rules", "7", a_txt=b"seven")))
        way = patched(old, new, a_txt=("a.txt", content.hop("zstd", OLD, NEW)))
        assert [o.status for o in ask(way, step(None, engine)).outcomes] == ["stale", "changed"]

    def test_a_client_that_has_another_component_too_keeps_it(
        self, ask: Callable[..., DeployReport], look: Callable[..., Profile], content: Content
    ) -> None:
        ask(step(None, content.release("rules", "1", a_txt=b"one")))
        ask(step(None, content.release("engine", "1", b_bin=b"two")))
        assert [entry.component for entry in look().installed] == ["engine", "rules"]

    # --- versions that lie there already ----------------------------------------------------------------------------

    def test_versions_that_are_kept_are_told_with_their_digests(
        self, ask: Callable[..., DeployReport], look: Callable[..., Profile], content: Content
    ) -> None:
        one, two, three = (content.release("rules", n, a_txt=n.encode()) for n in "123")
        ask(step(None, one))
        assert look().installed[0].kept == ()
        ask(step(one, two), keep=3)
        ask(step(two, three), keep=3)
        assert look().installed[0].kept == (("1", one.digest), ("2", two.digest))

    def test_a_version_that_was_kept_is_switched_to_without_sending_anything(
        self, ask: Callable[..., DeployReport], look: Callable[..., Profile], content: Content
    ) -> None:
        old, new = content.release("rules", "1", a_txt=OLD, b_txt=b""), content.release("rules", "2", a_txt=NEW)
        ask(step(None, old))
        ask(step(old, new))
        report = ask(replace(step(new, old), held=True))
        assert (report.outcomes[0].status, report.bytes_sent) == ("changed", 0)
        (entry,) = look(verify=True).installed
        assert (entry.version, entry.digest, entry.previous) == ("1", old.digest, "2")
        assert entry.kept == (("2", new.digest),)
        assert ask(replace(step(old, new), held=True)).outcomes[0].status == "changed"

    def test_a_version_that_is_not_there_after_all_is_answered_and_can_be_sent(
        self, ask: Callable[..., DeployReport], look: Callable[..., Profile], content: Content
    ) -> None:
        old, new = content.release("rules", "1", a_txt=OLD), content.release("rules", "2", a_txt=NEW)
        ask(step(None, old))
        outcome = ask(replace(step(old, new), held=True)).outcomes[0]
        assert (outcome.status, outcome.version, outcome.digest) == ("unpatched", "1", old.digest)
        assert look(verify=True).installed[0].kept == ()
        assert ask(replace(step(old, new), held=True).full).outcomes[0].status == "changed"

    def test_a_version_that_is_sent_early_lies_ready_and_what_is_in_force_stays(
        self, ask: Callable[..., DeployReport], look: Callable[..., Profile], content: Content
    ) -> None:
        old, new = content.release("rules", "1", a_txt=OLD), content.release("rules", "2", a_txt=NEW)
        ask(step(None, old))
        before = look()
        report = ask(step(old, new), purpose="stage")
        outcome = report.outcomes[0]
        assert (outcome.status, outcome.version, outcome.digest) == ("staged", "1", old.digest)
        assert report.bytes_sent == len(NEW)
        after = look(verify=True)
        assert after.installed[0].kept == (("2", new.digest),)
        assert replace(after.installed[0], kept=()) == before.installed[0]
        assert ask(step(old, new), purpose="stage").outcomes[0].status == "staged"
        assert look() == after
        report = ask(replace(step(old, new), held=True))
        assert (report.outcomes[0].status, report.bytes_sent) == ("changed", 0)
        assert look(verify=True).installed[0].digest == new.digest

    def test_a_version_that_was_sent_early_stays_until_another_one_is_switched_to(
        self, ask: Callable[..., DeployReport], look: Callable[..., Profile], content: Content
    ) -> None:
        one, two, three = (content.release("rules", n, a_txt=n.encode()) for n in "123")
        ask(step(None, one))
        ask(step(one, two), purpose="stage")
        ask(step(one, one, replace(Layout(), unmanaged="report"), kept={"a.txt"}))
        ask(step(None, content.release("engine", "1", b_bin=b"engine")))
        assert [entry.kept for entry in look().installed] == [(), (("2", two.digest),)]
        ask(step(one, three))
        assert look().by_component["rules"].kept == (("1", one.digest),)

    def test_early_or_not_a_client_that_is_not_as_expected_says_what_it_has(
        self, ask: Callable[..., DeployReport], look: Callable[..., Profile], content: Content
    ) -> None:
        one, two, three = (content.release("rules", n, a_txt=n.encode()) for n in "123")
        assert ask(step(None, one), purpose="stage").outcomes[0].status == "staged"
        assert look().installed == ()
        assert ask(step(None, one)).outcomes[0].status == "changed"
        assert ask(step(two, three), purpose="stage").outcomes[0].status == "stale"
        assert ask(step(None, one), purpose="stage").outcomes[0].status == "ok"

    # --- checks and hooks -------------------------------------------------------------------------------------------

    @pytest.fixture
    def with_commands(self, commands: Commands) -> Callable[..., Step]:
        """Give a step with checks and hooks, by their names."""

        def add(
            before: Release | None,
            after: Release,
            *,
            staged: Collection[str] = (),
            switched: Collection[str] = (),
            hooks: Collection[str] = (),
            on_failure: Literal["rollback", "keep"] = "rollback",
        ) -> Step:
            named: list[tuple[str, Literal["staged", "switched"]]] = [(name, "staged") for name in staged]
            named += [(name, "switched") for name in switched]
            checks = tuple(ClientCheck(name, phase, commands.text(name), interval=0) for name, phase in named)
            made = {name.split("-")[0]: Hook(commands.text(name), on_failure=on_failure) for name in hooks}
            return replace(step(before, after), checks=checks, hooks=Hooks(**made))

        return add

    @pytest.fixture
    def three(self, content: Content) -> list[Release]:
        return [content.release("rules", n, a_txt=n.encode()) for n in "123"]

    def test_commands_run_around_a_switch_in_their_order_and_not_where_nothing_changes(
        self,
        ask: Callable[..., DeployReport],
        look: Callable[..., Profile],
        with_commands: Callable[..., Step],
        commands: Commands,
        three: list[Release],
    ) -> None:
        ask(step(None, three[0]))
        way = with_commands(
            three[0], three[1], staged=["detects"], switched=["runs"], hooks=["before", "after", "always"]
        )
        assert ask(way).outcomes[0].status == "changed"
        order = ["detects", "before", "after", "runs", "always"]
        assert commands.ran() == [f"{name} rules 1 2" for name in order]
        assert look(verify=True).installed[0].digest == three[1].digest
        assert ask(way).outcomes[0].status == "ok"
        assert (
            ask(with_commands(three[0], three[2], staged=["detects"], hooks=["always"])).outcomes[0].status == "stale"
        )
        assert commands.ran() == []

    def test_a_staged_check_that_fails_keeps_the_client_as_it_was(
        self,
        ask: Callable[..., DeployReport],
        look: Callable[..., Profile],
        with_commands: Callable[..., Step],
        commands: Commands,
        three: list[Release],
    ) -> None:
        ask(step(None, three[0]))
        before = look()
        commands.fail("detects", "2")
        way = with_commands(
            three[0], three[1], staged=["detects"], switched=["runs"], hooks=["before", "after", "always"]
        )
        outcome = ask(way).outcomes[0]
        assert (outcome.status, outcome.version, outcome.digest) == ("failed", "1", three[0].digest)
        assert outcome.message == "check detects failed before the switch: exit 1, expected 0: no good"
        assert commands.ran() == ["detects rules 1 2"]
        assert look(verify=True) == before
        assert ask(way, purpose="stage").outcomes[0].status == "failed"
        assert look(verify=True) == before

    def test_a_switched_check_that_fails_brings_its_component_back_and_no_other(
        self,
        ask: Callable[..., DeployReport],
        look: Callable[..., Profile],
        content: Content,
        with_commands: Callable[..., Step],
        commands: Commands,
        three: list[Release],
    ) -> None:
        engine = content.release("engine", "1", b_bin=b"engine")
        ask(step(None, three[0]))
        commands.fail("runs", "2")
        steps = (
            with_commands(three[0], three[1], switched=["runs", "sees"], hooks=["after", "always"]),
            with_commands(None, engine, switched=["sees"], hooks=["after"]),
        )
        first, second = ask(*steps).outcomes
        assert (first.status, first.version, first.digest) == ("failed", "1", three[0].digest)
        assert first.message == "check runs failed after the switch: exit 1, expected 0: no good; it is back at 1"
        assert second.status == "changed"
        assert commands.ran() == [
            "after rules 1 2",
            "runs rules 1 2",
            "after rules 2 1",
            "sees engine - 1",
            "always rules 1 2",
        ]
        rules = look(verify=True).by_component["rules"]
        assert (rules.version, rules.digest, rules.previous, rules.kept) == ("1", three[0].digest, "", ())

    def test_a_first_install_whose_check_fails_is_removed(
        self,
        ask: Callable[..., DeployReport],
        look: Callable[..., Profile],
        with_commands: Callable[..., Step],
        commands: Commands,
        three: list[Release],
    ) -> None:
        commands.fail("runs", "1")
        outcome = ask(with_commands(None, three[0], switched=["runs"], hooks=["after"])).outcomes[0]
        assert (outcome.status, outcome.version) == ("failed", "")
        assert outcome.message.endswith("no good; it is removed again")
        assert commands.ran() == ["after rules - 1", "runs rules - 1", "after rules 1 -"]
        assert look().installed == ()
        assert ask(step(None, three[0])).outcomes[0].status == "changed"

    def test_a_version_that_lay_there_already_stays_when_its_check_fails(
        self,
        ask: Callable[..., DeployReport],
        look: Callable[..., Profile],
        with_commands: Callable[..., Step],
        commands: Commands,
        three: list[Release],
    ) -> None:
        ask(step(None, three[0]))
        ask(step(three[0], three[1]), purpose="stage")
        commands.fail("runs", "2")
        way = replace(with_commands(three[0], three[1], switched=["runs"]), held=True)
        assert ask(way).outcomes[0].status == "failed"
        (entry,) = look(verify=True).installed
        assert (entry.version, entry.damage, entry.kept) == ("1", "", (("2", three[1].digest),))

    def test_a_check_of_another_layout_that_fails_brings_the_layout_back(
        self,
        ask: Callable[..., DeployReport],
        look: Callable[..., Profile],
        with_commands: Callable[..., Step],
        commands: Commands,
        three: list[Release],
    ) -> None:
        ask(step(None, three[0]))
        before = look()
        commands.fail("runs", "1")
        way = with_commands(three[0], three[0], switched=["runs"], hooks=["before"])
        way = replace(way, layout=Layout(unmanaged="report"), kept={"a.txt": "a.txt"})
        assert ask(way).outcomes[0].status == "failed"
        assert look(verify=True) == before

    def test_a_damaged_version_whose_check_fails_is_replaced_and_not_believed(
        self,
        ask: Callable[..., DeployReport],
        look: Callable[..., Profile],
        content: Content,
        with_commands: Callable[..., Step],
        commands: Commands,
        three: list[Release],
    ) -> None:
        ask(step(None, three[0]))
        other = content.release("rules", "1", a_txt=b"uno")
        commands.fail("runs", "1")
        outcome = ask(with_commands(three[0], other, switched=["runs"], hooks=["before", "after"])).outcomes[0]
        assert (outcome.status, outcome.version, outcome.digest) == ("failed", "1", "")
        assert "it stays" in outcome.message
        assert commands.ran() == ["before rules 1 1", "after rules 1 1", "runs rules 1 1"]
        (entry,) = look().installed
        assert (entry.version, entry.digest, entry.damage) == ("1", "", "its checks were not finished")
        assert ask(replace(step(None, other), from_version="1")).outcomes[0].status == "changed"
        assert look(verify=True).installed[0].digest == other.digest

    def test_a_hook_that_several_components_share_runs_once(
        self, ask: Callable[..., DeployReport], content: Content, with_commands: Callable[..., Step], commands: Commands
    ) -> None:
        releases = [content.release(name, "1", a_txt=name.encode()) for name in ("engine", "rules")]
        steps = [with_commands(None, release, hooks=["before", "after", "always"]) for release in releases]
        steps[1] = replace(steps[1], hooks=replace(steps[1].hooks, after=Hook(commands.text("after-too"))))
        assert [outcome.status for outcome in ask(*steps).outcomes] == ["changed", "changed"]
        assert commands.ran() == ["before engine - 1", "after engine - 1", "after-too rules - 1", "always engine - 1"]

    def test_where_the_hook_before_fails_nothing_of_its_components_is_switched(
        self,
        ask: Callable[..., DeployReport],
        look: Callable[..., Profile],
        content: Content,
        with_commands: Callable[..., Step],
        commands: Commands,
        three: list[Release],
    ) -> None:
        ask(step(None, three[0]))
        before = look()
        commands.fail("before", "2")
        rules = with_commands(three[0], three[1], switched=["runs"], hooks=["before", "after", "always"])
        engine = with_commands(None, content.release("engine", "1", b_bin=b"e"), hooks=["after-too"])
        first, second = ask(rules, engine).outcomes
        assert (first.status, first.message) == ("failed", "hook before failed: exit 1: no good")
        assert second.status == "changed"
        assert commands.ran() == ["before rules 1 2", "after-too engine - 1", "always rules 1 2"]
        assert look(verify=True).by_component["rules"] == before.by_component["rules"]

    @pytest.mark.parametrize("on_failure", ["rollback", "keep"])
    def test_a_hook_after_that_fails_takes_its_switches_back_or_is_told(
        self,
        ask: Callable[..., DeployReport],
        look: Callable[..., Profile],
        with_commands: Callable[..., Step],
        commands: Commands,
        three: list[Release],
        on_failure: str,
    ) -> None:
        ask(step(None, three[0]))
        commands.fail("after", "2")
        way = with_commands(three[0], three[1], switched=["runs"], hooks=["after"], on_failure=on_failure)
        outcome = ask(way).outcomes[0]
        (entry,) = look(verify=True).installed
        assert entry.damage == ""
        if on_failure == "keep":
            assert (outcome.status, outcome.message) == ("changed", "hook after failed: exit 1: no good")
            assert commands.ran() == ["after rules 1 2", "runs rules 1 2"]
            assert entry.version == "2"
        else:
            assert outcome.status == "failed"
            assert outcome.message == "hook after failed: exit 1: no good; it is back at 1"
            assert commands.ran() == ["after rules 1 2", "after rules 2 1"]
            assert entry.version == "1"

    def test_a_hook_at_the_end_that_fails_is_told(
        self,
        ask: Callable[..., DeployReport],
        with_commands: Callable[..., Step],
        commands: Commands,
        three: list[Release],
    ) -> None:
        commands.fail("always", "1")
        outcome = ask(with_commands(None, three[0], hooks=["always"])).outcomes[0]
        assert (outcome.status, outcome.message) == ("changed", "hook always failed: exit 1: no good")

    def test_a_request_to_check_changes_nothing_and_says_what_it_found(
        self,
        ask: Callable[..., DeployReport],
        look: Callable[..., Profile],
        with_commands: Callable[..., Step],
        commands: Commands,
        three: list[Release],
    ) -> None:
        ask(step(None, three[0]))
        before = look()
        way = with_commands(three[0], three[0], staged=["detects"], switched=["runs"], hooks=["before", "always"])
        report = ask(way, purpose="check", lineage=LINEAGE, epoch=5)
        assert ([outcome.status for outcome in report.outcomes], report.bytes_sent) == (["ok"], 0)
        assert commands.ran() == ["runs rules 1 1"]
        commands.fail("runs", "1")
        outcome = ask(way, purpose="check").outcomes[0]
        assert (outcome.status, outcome.version) == ("failed", "1")
        assert outcome.message == "check runs failed in force: exit 1, expected 0: no good"
        commands.ran()
        other = with_commands(three[1], three[1], switched=["runs"])
        assert ask(other, purpose="check").outcomes[0].status == "stale"
        assert commands.ran() == []
        assert look() == before

    # --- reading ----------------------------------------------------------------------------------------------------

    def test_small_files_can_be_read_and_large_ones_to_a_limit(
        self, reached: tuple[Transport, Client], ask: Callable[..., DeployReport], content: Content
    ) -> None:
        big = bytes(range(256)) * 300
        many = {f"n{number}": big[number:] for number in range(20)}
        ask(step(None, content.release("rules", "1", a_txt=b"one\n\n", empty=b"", **many)))
        transport, client = reached
        folder = f"{client.install_root}/rules/current"
        asked = [f"{folder}/{name}" for name in ("a.txt", "empty", "missing", *many)]
        with transport.connect(client) as session:
            found = session.read(client.install_root, [*asked, "/no/such/file"])
            assert list(found) == [*asked, "/no/such/file"]
            assert list(found.values())[:3] == [b"one\n\n", b"", None]
            assert found["/no/such/file"] is None
            assert [found[f"{folder}/{name}"] for name in many] == [data[:65536] for data in many.values()]
            assert session.read(client.install_root, []) == {}
            for paths in (["relative"], ["/a/../b"], ["/a\nb"], [f"/{number}" for number in range(51)]):
                with pytest.raises(ClientError):
                    session.read(client.install_root, paths)


def layout_into(folder: Path, **more: Any) -> Layout:
    """Give a layout with one target folder."""
    return Layout((InstallTarget("*", str(folder), **more),))


def client_at(root: Path, name: str = "c1") -> Client:
    """Give a client with an install_root."""
    return Client(name, "group", install_root=str(root))
