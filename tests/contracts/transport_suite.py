"""What every transport and its sessions promise; tests/contracts/test_transport.py runs this over each of them."""

import hashlib
import io
from contextlib import contextmanager
from dataclasses import replace

import pytest

from reconciler.errors import OtherControllerError
from reconciler.model.client import Client, DeployRequest, Hop, InstallTarget, Layout, Patched, Step
from tests.fakes import CODECS, make_release

LINEAGE = "lineage-a"


class Content:
    """The content of releases by digest, as the store gives it."""

    def __init__(self):
        self._known = {}

    def release(self, component, version, **files):
        """Make a release; file names are the keys, with `_` for a dot."""
        named = {name.replace("_", "."): data for name, data in files.items()}
        for data in named.values():
            self._known[hashlib.sha256(data).hexdigest()] = data
        return make_release(component, version, named)

    def hop(self, codec, old, new, *, damage=False):
        """Make a patch; `damage` turns a bit over, and the patch keeps its size."""
        patch = CODECS[codec].make(old, new, level=6)
        if damage:
            at = len(patch) // 2
            patch = patch[:at] + bytes([patch[at] ^ 1]) + patch[at + 1 :]
        digest = hashlib.sha256(patch).hexdigest()
        self._known[digest] = patch
        return Hop(codec, len(patch), digest, len(new))

    @contextmanager
    def open(self, sha256):
        yield io.BytesIO(self._known[sha256])


def step(before, after, layout=None, kept=()):
    """Give the step from one release (None: nothing) to another."""
    return Step(
        after.component,
        before.version if before else "",
        before.digest if before else "",
        after.version,
        after.digest,
        after.files,
        {name: name for name in kept},
        layout or Layout(),
    )


def patched(before, after, **ways):
    """Give the step whose files are made by patches: NAME=(base, hop, …), with `_` for a dot."""
    made = {name.replace("_", "."): Patched(base, hops) for name, (base, *hops) in ways.items()}
    made = {name: replace(way, hops=tuple(way.hops)) for name, way in made.items()}
    return replace(step(before, after), patched=made)


OLD = b"".join(b"signature %07d\n" % number for number in range(0, 40_000, 2))
NEW = OLD[:100_000] + bytes(range(256)) + OLD[100_000:]
NEWER = NEW[:5_000] + NEW[5_100:] + b"and one at the end\n"


class TransportSuite:
    """Subclasses give the fixture `reached`: (transport, client)."""

    @pytest.fixture
    def content(self):
        return Content()

    @pytest.fixture
    def ask(self, reached, content):
        transport, client = reached

        def deploy(*steps, lineage=LINEAGE, epoch=1, keep=2):
            with transport.connect(client) as session:
                request = DeployRequest(lineage, epoch, client.install_root, keep, tuple(steps))
                return session.deploy(request, content.open)

        return deploy

    @pytest.fixture
    def look(self, reached):
        transport, client = reached

        def facts(*, verify=False):
            with transport.connect(client) as session:
                return session.facts(client.install_root, verify=verify).profile

        return facts

    def test_a_new_client_has_nothing_and_answers_to_nobody(self, look):
        profile = look()
        assert (profile.installed, profile.lineage, profile.epoch) == ((), "", 0)

    def test_a_first_install_is_seen_with_its_digest_and_controller(self, ask, look, content):
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

    def test_the_same_request_again_answers_ok(self, ask, look, content):
        request = step(None, content.release("rules", "1", a_txt=b"one"))
        ask(request)
        before = look()
        assert [outcome.status for outcome in ask(request).outcomes] == ["ok"]
        assert look() == before

    def test_an_update_keeps_the_version_before_as_previous(self, ask, look, content):
        old = content.release("rules", "1", a_txt=b"one", b_txt=b"same")
        new = content.release("rules", "2", a_txt=b"two", b_txt=b"same")
        ask(step(None, old))
        report = ask(step(old, new, kept={"b.txt"}))
        assert (report.outcomes[0].status, report.bytes_sent) == ("changed", 3)
        (entry,) = look(verify=True).installed
        assert (entry.version, entry.digest, entry.previous) == ("2", new.digest, "1")

    def test_a_client_that_is_not_as_expected_is_stale_and_says_what_it_has(self, ask, look, content):
        first, second, third = (content.release("rules", n, a_txt=n.encode()) for n in "123")
        ask(step(None, second))
        before = look()
        outcome = ask(step(first, third)).outcomes[0]
        assert (outcome.status, outcome.version, outcome.digest) == ("stale", "2", second.digest)
        outcome = ask(step(None, third)).outcomes[0]
        assert (outcome.status, outcome.version) == ("stale", "2")
        assert look() == before

    def test_a_stale_component_costs_no_other(self, ask, content):
        rules = content.release("rules", "1", a_txt=b"r" * 5000)
        engine = content.release("engine", "1", b_bin=b"e" * 5000)
        ask(step(None, content.release("rules", "7", a_txt=b"seven")))
        assert [o.status for o in ask(step(None, rules), step(None, engine)).outcomes] == ["stale", "changed"]

    def test_a_downgrade_is_an_update_like_any_other(self, ask, look, content):
        old, new = content.release("rules", "1", a_txt=b"one"), content.release("rules", "2", a_txt=b"two")
        ask(step(None, old))
        ask(step(old, new))
        assert ask(step(new, old)).outcomes[0].status == "changed"
        assert look(verify=True).installed[0].digest == old.digest

    def test_a_damaged_version_is_replaced_whole(self, ask, look, content):
        release = content.release("rules", "1", a_txt=b"one")
        ask(step(None, release))
        other = content.release("rules", "1", a_txt=b"uno", b_txt=b"due")
        assert ask(step(release, other)).outcomes[0].status == "changed"
        assert look(verify=True).installed[0].digest == other.digest

    def test_another_lineage_is_refused_and_changes_nothing(self, ask, look, content):
        release = content.release("rules", "1", a_txt=b"one")
        ask(step(None, release))
        before = look()
        with pytest.raises(OtherControllerError):
            ask(step(release, content.release("rules", "2", a_txt=b"two")), lineage="lineage-b")
        assert look() == before

    def test_a_lower_epoch_is_refused_and_a_higher_one_is_remembered(self, ask, look, content):
        release = content.release("rules", "1", a_txt=b"one")
        ask(step(None, release), epoch=2)
        with pytest.raises(OtherControllerError):
            ask(step(None, release), epoch=1)
        ask(step(None, release), epoch=3)
        assert look().epoch == 3

    def test_another_layout_is_carried_out_without_sending_anything(self, ask, look, content):
        release = content.release("rules", "1", a_txt=b"one")
        ask(step(None, release))
        layout = replace(Layout(), unmanaged="report")
        report = ask(step(release, release, layout, kept={"a.txt"}))
        assert (report.outcomes[0].status, report.bytes_sent) == ("changed", 0)
        assert look().installed[0].layout == layout.fingerprint

    @pytest.mark.parametrize("codec", [codec for codec in CODECS if CODECS[codec].traits.based])
    def test_a_patch_turns_the_version_in_force_into_the_next(self, ask, look, content, codec):
        old, new = content.release("rules", "1", a_txt=OLD), content.release("rules", "2", a_txt=NEW)
        ask(step(None, old))
        hop = content.hop(codec, OLD, NEW)
        report = ask(patched(old, new, a_txt=("a.txt", hop)))
        assert (report.outcomes[0].status, report.bytes_sent) == ("changed", hop.size)
        (entry,) = look(verify=True).installed
        assert (entry.version, entry.digest, entry.previous) == ("2", new.digest, "1")

    def test_a_packed_full_needs_nothing_on_the_client(self, ask, look, content):
        new = content.release("rules", "2", a_txt=NEW)
        hop = content.hop("gzip", b"", NEW)
        assert ask(patched(None, new, a_txt=("", hop))).outcomes[0].status == "changed"
        assert look(verify=True).installed[0].digest == new.digest

    def test_patches_that_follow_one_another_are_applied_in_turn(self, ask, look, content):
        old, new = content.release("rules", "1", a_txt=OLD), content.release("rules", "3", a_txt=NEWER)
        ask(step(None, old))
        hops = content.hop("zstd", OLD, NEW), content.hop("bsdiff", NEW, NEWER)
        assert ask(patched(old, new, a_txt=("a.txt", *hops))).outcomes[0].status == "changed"
        assert look(verify=True).installed[0].digest == new.digest

    def test_files_are_patched_kept_and_sent_side_by_side_also_under_other_names(self, ask, look, content):
        old = content.release("rules", "1", lpt_167=OLD, same=b"same" * 500, was=b"moved" * 500)
        new = content.release("rules", "2", lpt_169=NEW, same=b"same" * 500, now=b"moved" * 500, added=b"new" * 300)
        ask(step(None, old))
        hop = content.hop("zstd", OLD, NEW)
        way = replace(patched(old, new, lpt_169=("lpt.167", hop)), kept={"same": "same", "now": "was"})
        report = ask(way)
        assert (report.outcomes[0].status, report.bytes_sent) == ("changed", hop.size + 900)
        assert look(verify=True).installed[0].digest == new.digest

    @pytest.mark.parametrize("codec", list(CODECS))
    def test_a_damaged_patch_is_answered_and_nothing_was_touched(self, ask, look, content, codec):
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

    def test_a_patch_of_a_codec_that_the_client_does_not_know_is_answered_too(self, ask, content):
        old, new = content.release("rules", "1", a_txt=OLD), content.release("rules", "2", a_txt=NEW)
        ask(step(None, old))
        hop = replace(content.hop("zstd", OLD, NEW), codec="rdiff")
        assert ask(patched(old, new, a_txt=("a.txt", hop))).outcomes[0].status == "unpatched"

    def test_the_patches_of_a_stale_component_are_passed_over(self, ask, look, content):
        old, new = content.release("rules", "1", a_txt=OLD), content.release("rules", "2", a_txt=NEW)
        engine = content.release("engine", "1", b_bin=b"engine" * 1000)
        ask(step(None, content.release("rules", "7", a_txt=b"seven")))
        way = patched(old, new, a_txt=("a.txt", content.hop("zstd", OLD, NEW)))
        assert [o.status for o in ask(way, step(None, engine)).outcomes] == ["stale", "changed"]

    def test_a_client_that_has_another_component_too_keeps_it(self, ask, look, content):
        ask(step(None, content.release("rules", "1", a_txt=b"one")))
        ask(step(None, content.release("engine", "1", b_bin=b"two")))
        assert [entry.component for entry in look().installed] == ["engine", "rules"]


def layout_into(folder, **more):
    """Give a layout with one target folder."""
    return Layout((InstallTarget("*", str(folder), **more),))


def client_at(root, name="c1"):
    """Give a client with an install_root."""
    return Client(name, "group", install_root=str(root))
