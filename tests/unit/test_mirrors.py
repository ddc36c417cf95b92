"""Mirrors in the layouts of other programs: what a plan says of them, and what an apply makes of that."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from reconciler.controller.places import places_document
from reconciler.model.offer import Offer, Withdrawal
from reconciler.model.plan import Basis
from reconciler.model.release import Catalog
from reconciler.model.repository import Published
from reconciler.model.secret import SecretRef
from reconciler.model.spec import MirrorSpec, PluginConfig, RepositorySpec
from reconciler.observe.doctor_server import examine_server
from reconciler.planner.imagined import advance
from reconciler.planner.inputs import Observed, Wanted
from reconciler.planner.planner import make_plan
from reconciler.planning import look_and_plan, wanted_of
from reconciler.present.html.sources_view import view_of_sources
from tests.clam_files import database
from tests.fakes import describe, make_component, make_release
from tests.unit.workbench import COMPONENT, Opened

ALONG = {"data-2.cdiff": b"increment", "data.sign": b"signature"}


@pytest.fixture
def bench(opened: Opened) -> Any:
    made = opened(("a",))
    components = {COMPONENT: make_component(COMPONENT)}
    made.spec = replace(made.spec, catalog=Catalog(components, "catalog"))
    return made


def mirror(bench: Any, folder: Path, layout: str = "tree", name: str = "", **more: Any) -> Path:
    """Have the spec publish in a layout; `more` are keys of the spec, options of the layout stand in `options`."""
    options = more.pop("options", {})
    path = folder / (name or layout)
    spec = MirrorSpec(
        **{
            "name": name or layout,
            "plugin": PluginConfig("layout", layout, options),
            "path": path,
            "publish": "downloaded",
            **more,
        }
    )
    bench.spec = replace(bench.spec, mirrors=(*(one for one in bench.spec.mirrors if one.name != spec.name), spec))
    return path


def said(plan: Any) -> list[str]:
    return [
        f"{one.repository}: {' '.join(filter(None, (one.component, one.to, one.kind)))}: {one.reason}"
        for one in plan.publishes
    ]


def lying(path: Path) -> list[str]:
    return sorted(str(file.relative_to(path)) for file in path.rglob("*") if file.is_file())


def test_a_plan_says_what_a_mirror_gets_and_the_apply_writes_it_and_the_next_plan_has_nothing(
    bench: Any, tmp_path: Path
) -> None:
    path = mirror(bench, tmp_path)
    plan = bench.plan()
    assert said(plan) == ["tree: rules 1 release: downloaded"]
    assert not path.exists()
    assert bench.apply(plan=plan).published == 1
    assert lying(path) == [f"rules/{name}" for name in ("1/SHA256SUMS", "1/data", "1/same", "latest", "versions.txt")]
    assert bench.plan().publishes == ()


def test_what_is_wanted_comes_and_what_is_beyond_the_kept_ones_goes(bench: Any, tmp_path: Path) -> None:
    path = mirror(bench, tmp_path, options={"keep": 2})
    bench.apply()
    bench.release("2")
    bench.apply()
    bench.release("3")
    plan = bench.plan()
    assert said(plan) == ["tree: rules 1 let go: 2 others are kept", "tree: rules 3 release: downloaded"]
    bench.apply(plan=plan)
    assert (path / "rules/versions.txt").read_text() == "2\n3\n"
    assert not (path / "rules/1").exists()
    assert bench.plan().publishes == ()


def test_a_version_that_is_withdrawn_vanishes(bench: Any, tmp_path: Path) -> None:
    path = mirror(bench, tmp_path)
    bench.apply()
    bench.release("2")
    bench.apply()
    mirror(bench, tmp_path, withdrawn=(Withdrawal(COMPONENT, "2", "INC-1"),))
    assert said(bench.plan()) == ["tree: rules 2 withdraw: INC-1"]
    bench.apply()
    assert (path / "rules/latest").read_text() == "1\n"
    assert not (path / "rules/2").exists()
    assert bench.plan().publishes == ()


def test_what_is_not_as_it_was_published_is_written_anew(bench: Any, tmp_path: Path) -> None:
    path = mirror(bench, tmp_path)
    bench.apply()
    (path / "rules/1/data").write_bytes(b"rotten")
    (path / "index.html").write_bytes(b"somebody's own")
    assert said(bench.plan()) == ["tree: files: rules/1/data is another one"]
    bench.apply()
    assert (path / "rules/1/data").read_bytes() == b"content 1"
    assert (path / "index.html").exists()
    assert bench.plan().publishes == ()


def test_a_release_that_clients_failed_with_is_not_published_and_what_it_was_to_replace_stays(
    bench: Any, tmp_path: Path
) -> None:
    path = mirror(bench, tmp_path, options={"keep": 1})
    bench.apply()
    bench.release("2")
    bench.machines["a"].broken.add(COMPONENT)
    bench.apply()
    assert (path / "rules/latest").read_text() == "1\n"
    assert (path / "rules/1/data").exists()
    assert not (path / "rules/2").exists()


def test_a_mirror_that_waits_for_the_rollout_gets_a_release_when_it_is_done(bench: Any, tmp_path: Path) -> None:
    path = mirror(bench, tmp_path, publish="after_rollout")
    bench.apply()
    bench.release("2")
    assert said(bench.plan()) == []
    bench.apply(wait=True)
    assert (path / "rules/latest").read_text() == "2\n"


def test_what_was_attached_later_is_fetched_and_passed_on(bench: Any, tmp_path: Path) -> None:
    bench.source.add(COMPONENT, "2", {"data": b"2"}, attached=ALONG)
    bench.apply()
    path = mirror(bench, tmp_path)
    bench.source.lost.add("data.sign")
    plan = bench.plan()
    assert said(plan) == [
        "tree: rules 2 attached: to be fetched: data-2.cdiff, data.sign",
        "tree: rules 2 release: downloaded",
    ]
    bench.apply(plan=plan)
    assert [name for name in lying(path) if "data" in name] == ["rules/2/data", "rules/2/data-2.cdiff"]
    assert said(bench.plan()) == ["tree: rules 2 attached: to be fetched: data.sign"]
    assert bench.apply().published == 0
    assert [entry.message for entry in bench.journal()] == ["what is attached to it can't be had"]
    bench.source.lost.clear()
    assert bench.apply().failed == ()
    assert (path / "rules/2/data.sign").read_bytes() == b"signature"
    assert bench.plan().publishes == ()


def test_a_release_that_cannot_lie_in_a_layout_is_told_and_the_rest_goes_on(bench: Any, tmp_path: Path) -> None:
    mirror(bench, tmp_path, "clamav")
    path = mirror(bench, tmp_path)
    plan = bench.plan()
    assert said(plan) == ["tree: rules 1 release: downloaded"]
    assert any(
        "repository clamav: rules 1 isn't published: data is no file that ClamAV loads" in text
        for text in plan.problems
    )
    bench.apply(plan=plan)
    assert (path / "rules/latest").exists()


def test_a_mirror_that_cannot_be_written_is_told_and_another_one_is_written(bench: Any, tmp_path: Path) -> None:
    (tmp_path / "bad").write_bytes(b"a file, and no folder")
    mirror(bench, tmp_path, name="bad")
    path = mirror(bench, tmp_path)
    report = bench.apply()
    says = f"error: {tmp_path}/bad can't be written: File exists; what is published stays"
    assert [(one.component, one.message) for one in report.failed] == [("repository bad", says)]
    assert (path / "rules/latest").exists()


def test_a_record_that_is_damaged_is_told_with_what_to_do_and_stops_nothing_else(bench: Any, tmp_path: Path) -> None:
    path = mirror(bench, tmp_path)
    bench.apply()
    record = tmp_path / "tree.mirror.json"
    record.write_text('{"releases": [], "files": {"a": 1}}')
    plan = bench.plan()
    assert plan.publishes == ()
    assert any(
        text.startswith(f"repository tree: nothing is published: {record} isn't what was written")
        for text in plan.problems
    )
    record.unlink()
    before = (path / "rules/1/data").stat().st_mtime_ns
    bench.apply()
    assert (path / "rules/1/data").stat().st_mtime_ns == before
    assert bench.plan().publishes == ()


def test_a_component_that_a_mirror_is_not_to_have_any_more_goes(bench: Any, tmp_path: Path) -> None:
    path = mirror(bench, tmp_path)
    bench.apply()
    mirror(bench, tmp_path, components=frozenset({"other"}))
    assert said(bench.plan()) == ["tree: rules 1 let go: the mirror isn't to have the component"]
    bench.apply()
    assert lying(path) == []


STAYS = "freshclam doesn't go back, and clients that have it keep it until a higher one comes"


def test_a_plan_says_that_readers_of_a_mirror_do_not_follow_a_way_back(bench: Any, tmp_path: Path) -> None:
    for version in ("2", "3"):
        bench.source.add(COMPONENT, version, {"daily.cvd": database(int(version))})
    path = mirror(bench, tmp_path, "clamav")
    bench.apply()
    assert (path / "dns.txt").read_text().split(":")[2] == "3"
    bench.component(version="2")
    assert said(bench.plan()) == [
        f"clamav: rules 2 release: downloaded; 3 was published: {STAYS}",
        "clamav: rules 3 let go: 2 is there",
    ]
    bench.apply()
    assert (path / "dns.txt").read_text().split(":")[2] == "2"
    mirror(bench, tmp_path, "clamav", withdrawn=(Withdrawal(COMPONENT, "2", "INC-1"),))
    assert said(bench.plan()) == [f"clamav: rules 2 withdraw: INC-1; {STAYS}"]
    bench.apply()
    assert lying(path) == []


def test_what_is_imagined_after_a_plan_publishes_nothing_twice(bench: Any, tmp_path: Path) -> None:
    bench.source.add(COMPONENT, "2", {"data": b"2"}, attached=ALONG)
    mirror(bench, tmp_path, options={"keep": 1})
    with bench.work() as work:
        options = bench.options()
        plan, observed = look_and_plan(work, options)
        wanted = wanted_of(work, options)
        later = advance(wanted, observed, plan, bench.now)
        assert plan.publishes
        assert make_plan(wanted, later, plan_id="p", now=bench.now).publishes == ()


def test_the_page_of_sources_has_mirrors_and_what_is_wrong_with_them(bench: Any, tmp_path: Path) -> None:
    mirror(bench, tmp_path)
    mirror(bench, tmp_path, name="odd <b>")
    (tmp_path / "odd <b>").write_bytes(b"a file")
    bench.apply()
    (tmp_path / "odd <b>.mirror.json").write_text("nonsense")
    with bench.work() as work:
        places = places_document(work)
    view = view_of_sources([], [], places, bench.now)
    assert [(one.name, one.layout, one.releases) for one in view.mirrors] == [
        ("tree", "tree", "1 release"),
        ("odd <b>", "tree", "0 releases"),
    ]
    assert "isn't what was written" in view.mirrors[1].error


def test_the_doctor_looks_at_the_keys_that_sign_mirrors(bench: Any, tmp_path: Path) -> None:
    (tmp_path / "open.key").write_text("key")
    (tmp_path / "open.key").chmod(0o644)
    mirror(bench, tmp_path, options={"minisign": SecretRef("file", str(tmp_path / "open.key"))})
    with bench.work() as work:
        found = {entry.what: entry for entry in examine_server(work)}
    assert "may be read by others" in found["key of repository tree"].finding


def test_what_came_to_a_release_after_it_was_signed_is_signed_then(bench: Any, tmp_path: Path) -> None:
    release = make_release(COMPONENT, "1", {"a": b"1"}, attached=(describe("a.sign", b"s"),))
    key = SecretRef("env", "KEY")
    spec = RepositorySpec(tmp_path, "manual", (key,), 1, expires={}, online_key=key)
    wanted = Wanted(bench.spec.components, {}, repository=spec)
    basis = Basis("lineage", 1, 0, "s", "c")
    for listed, offered, reasons in (
        ((), (), ["new: a.sign"]),
        (release.attached, (), []),
        (release.attached, (describe("b.sign", b"t"),), ["to be fetched: b.sign"]),
    ):
        before = Published(ready=True, releases=(replace(release, attached=listed),))
        offers = [Offer("drop", replace(release, attached=(*release.attached, *offered)))]
        observed = Observed(basis, [release], offers, published=before)
        plan = make_plan(wanted, observed, plan_id="p", now=bench.now)
        assert [(change.kind, change.reason) for change in plan.publishes] == [("attached", why) for why in reasons]
