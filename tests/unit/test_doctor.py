"""The doctor finds on this machine what an apply would find in its way."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from reconciler.errors import InventoryError, SourceError
from reconciler.model.client import Client, InventoryEntry
from reconciler.model.report import Diagnosis
from reconciler.model.spec import ContentSpec, InventorySpec, PluginConfig
from reconciler.observe.doctor import examine
from reconciler.observe.doctor_server import examine_server, list_all
from tests.unit.workbench import Bench, Opened


def found(bench: Bench) -> dict[str, Diagnosis]:
    with bench.work() as work:
        clients, trouble = list_all(work)
        checks = [*trouble, *examine_server(work), *examine(clients, work, forks=1)]
    return {check.what if not check.client else f"{check.client} {check.what}": check for check in checks}


@pytest.fixture
def bench(opened: Opened) -> Bench:
    return opened({"g": 1, "h": 1})


def test_nothing_is_wrong_with_a_fleet_that_is_fine(bench: Bench) -> None:
    checks = found(bench)
    assert {check.level for check in checks.values()} <= {"ok", "warn"}
    assert checks["store"].level == "ok"
    assert checks["source drop"].level == "ok"


def test_a_private_key_that_others_may_read_is_named_with_the_line_that_mends_it(bench: Bench, tmp_path: Path) -> None:
    key = tmp_path / "id"
    key.write_text("secret")
    key.chmod(0o644)
    group = replace(bench.spec.groups["g"], key_files=(str(key), str(tmp_path / "gone")))
    bench.spec = replace(bench.spec, groups={**bench.spec.groups, "g": group})
    with bench.work() as work:
        checks = [check for check in examine_server(work) if check.what == "key of group g"]
    assert [(check.level, check.finding) for check in checks] == [
        ("fail", f"{key} may be read by others (mode 0644)"),
        ("fail", f"{tmp_path}/gone: No such file or directory"),
    ]
    assert checks[0].fix.startswith(f"chmod 600 {key}")
    key.chmod(0o600)
    with bench.work() as work:
        assert next(check for check in examine_server(work) if check.what == "key of group g").level == "ok"


def test_one_inventory_that_is_broken_hides_neither_the_others_nor_their_clients(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed = InventorySpec(PluginConfig("inventory", "csv", {}))
    inside = replace(bench.spec.groups["h"], clients=(), inventory=listed)
    bench.spec = replace(bench.spec, groups={**bench.spec.groups, "h": inside})

    class Broken:
        def clients(self) -> Iterator[InventoryEntry]:
            raise InventoryError("there is no program list-them", hint="install it")

    def inventory(_plugins: Any, group: Any) -> Any:
        return Broken() if group.name == "h" else None

    monkeypatch.setattr("reconciler.workspace.Plugins.inventory", inventory)
    checks = found(bench)
    assert checks["inventory of h"].level == "fail"
    assert "there is no program list-them" in checks["inventory of h"].finding
    assert checks["inventory of h"].fix == "install it"
    assert checks["g-0 connection"].level == "ok"
    assert checks["source drop"].level == "ok"


def test_two_clients_with_one_install_root_on_one_machine_are_found_across_groups(bench: Bench) -> None:
    groups = {
        name: replace(group, clients=(Client(f"{name}-0", name, install_root="/r/same"),))
        for name, group in bench.spec.groups.items()
    }
    bench.spec = replace(bench.spec, groups=groups)
    check = found(bench)["inventory"]
    assert check.level == "fail"
    assert "g-0" in check.finding
    assert "h-0" in check.finding


def test_what_a_source_finds_odd_is_told_and_one_that_cannot_be_read_is_trouble_unless_it_may_be_absent(
    bench: Bench,
) -> None:
    bench.source.problems = ("rulez: no catalog has such a component; did you mean `rules`?",)
    check = found(bench)["source drop"]
    assert (check.level, check.finding) == ("warn", "rulez: no catalog has such a component; did you mean `rules`?")
    bench.source.error = SourceError("the folder is gone")
    assert found(bench)["source drop"].level == "fail"
    bench.spec = replace(bench.spec, sources=tuple(replace(one, may_be_absent=True) for one in bench.spec.sources))
    check = found(bench)["source drop"]
    assert (check.level, check.finding) == ("warn", "the folder is gone")


def test_a_store_that_cannot_be_a_folder_is_told(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    bench.spec = replace(bench.spec, server=replace(bench.spec.server, store=tmp_path / "file" / "store"))
    with bench.work() as work:
        check = next(check for check in examine_server(work) if check.what == "store")
    assert (check.level, check.finding) == ("fail", f"{tmp_path}/file is no folder")


def test_the_doctor_says_whether_the_place_of_shared_content_answers(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "share").mkdir()
    for path, level, finding in (
        ("share", "ok", "it answers; at most 1.0 KiB are kept in the store's folder"),
        ("away", "fail", f"the folder {tmp_path / 'away'} isn't there"),
    ):
        plugin = PluginConfig("content", "folder", {"path": str(tmp_path / path)})
        content = ContentSpec(plugin=plugin, cache=1024, grace=timedelta(days=2))
        bench.spec = replace(bench.spec, server=replace(bench.spec.server, content=content))
        with bench.work() as work:
            check = next(check for check in examine_server(work) if check.what == "content (folder)")
        assert (check.level, check.finding) == (level, finding)
