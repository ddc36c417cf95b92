"""Files that are made from templates, on clients that are folders: put there, checked, changed, repaired, hidden."""

from __future__ import annotations

import json
import stat
from typing import TYPE_CHECKING, Any

import pytest

from tests.fleet import Fleet

if TYPE_CHECKING:
    from pathlib import Path

    from tests.fleet import Done

TEMPLATE = "name = {{ name }}\nrole = {{ vars.role }}\n"
SECRET = "hunter2-is-the-password"


class Settings(Fleet):
    """A fleet of two clients with one file of settings, and a release."""

    def __init__(self, folder: Path, template: str = TEMPLATE, **keys: object) -> None:
        (folder / "agent.conf.j2").write_text(template)
        super().__init__(folder, 2)
        (folder / "etc").mkdir()
        for n, client in enumerate(self.spec["groups"]["all"]["clients"], start=1):
            client["vars"] = {"role": f"r{n}", "other": "x"}
        self.settings({"template": "agent.conf.j2", "path": str(folder / "etc/agent.conf"), **keys})

    def settings(self, *entries: dict[str, Any]) -> None:
        self.spec["groups"]["all"]["settings"] = list(entries)
        self.write()

    @property
    def own(self) -> dict[str, Any]:
        """The entry of the file of settings."""
        entry: dict[str, Any] = self.spec["groups"]["all"]["settings"][0]
        return entry

    def give_each_its_own(self) -> Settings:
        """Leave one client: both are folders of one machine, and would share the file."""
        self.spec["groups"]["all"]["clients"] = self.spec["groups"]["all"]["clients"][:1]
        self.write()
        return self

    @property
    def file(self) -> Path:
        return self.folder / "etc/agent.conf"

    def converge(self, *arguments: str) -> Done:
        """Apply, and see that a second time changes nothing."""
        done = self.apply(*arguments)
        assert done.code == 0, done.err
        before = self.listing(), self.file.stat()
        again = self.apply()
        assert again.code == 0, again.err
        assert "No changes" in again.out
        assert (self.listing(), self.file.stat()) == before
        return done


@pytest.fixture
def fleet(tmp_path: Path) -> Settings:
    return Settings(tmp_path, mode="0640").give_each_its_own()


def changes(fleet: Settings, *arguments: str) -> list[tuple[str, str, int]]:
    document = fleet.run("plan", "--format", "json", *arguments).json
    return [(change["group"], change["reason"], change["clients"]) for change in document["changes"]]


def test_a_file_is_put_on_the_client_and_the_second_run_changes_nothing(fleet: Settings) -> None:
    assert changes(fleet) == [("all", "missing", 1)]
    fleet.converge()
    assert fleet.file.read_text() == "name = c1\nrole = r1\n"
    assert stat.S_IMODE(fleet.file.stat().st_mode) == 0o640


def test_settings_go_in_the_same_request_as_releases(fleet: Settings) -> None:
    fleet.release("rules", "1", data=b"one")
    fleet.converge()
    assert fleet.current("c1", "rules") == {"data": b"one"}
    run = fleet.run("history", "--format", "json").json[0]["run_id"]
    said = fleet.run("history", run).out
    assert "rules" in said
    assert "settings-agent-conf-" in said


def test_each_client_has_values_of_its_own(tmp_path: Path) -> None:
    fleet = Settings(tmp_path)
    for n in (1, 2):
        (tmp_path / f"etc{n}").mkdir()
    groups = fleet.spec["groups"]
    clients, entry = groups["all"]["clients"], fleet.own
    for n in (1, 2):
        path = str(tmp_path / f"etc{n}/agent.conf")
        groups[f"g{n}"] = {**groups["all"], "clients": [clients[n - 1]], "settings": [{**entry, "path": path}]}
    del groups["all"]
    fleet.write()
    assert fleet.apply().code == 0
    assert [(tmp_path / f"etc{n}/agent.conf").read_text() for n in (1, 2)] == [
        f"name = c{n}\nrole = r{n}\n" for n in (1, 2)
    ]
    assert changes(fleet) == []
    clients[1]["vars"]["other"] = "nobody reads it"
    fleet.write()
    assert changes(fleet) == []
    clients[1]["vars"]["role"] = "changed"
    fleet.write()
    assert changes(fleet) == [("g2", "changed", 1)]


@pytest.mark.parametrize("what", ["template", "mode", "var"])
def test_what_decides_about_a_file_changes_it(fleet: Settings, what: str) -> None:
    fleet.converge()
    if what == "template":
        (fleet.folder / "agent.conf.j2").write_text("other {{ name }}\n")
    elif what == "mode":
        fleet.own["mode"] = "0600"
    else:
        fleet.spec["groups"]["all"]["clients"][0]["vars"]["role"] = "new"
    fleet.write()
    assert changes(fleet) == [("all", "changed", 1)]
    fleet.converge()
    text = {"template": "other c1\n", "mode": "name = c1\nrole = r1\n", "var": "name = c1\nrole = new\n"}
    assert fleet.file.read_text() == text[what]
    assert stat.S_IMODE(fleet.file.stat().st_mode) == (0o600 if what == "mode" else 0o640)


@pytest.mark.parametrize("form", ["grep -q good %s", 'grep -q good "%s"', "grep -q good '%s'"])
def test_a_file_that_validate_does_not_like_never_comes_to_its_place(fleet: Settings, form: str) -> None:
    fleet.own["validate"] = form
    (fleet.folder / "agent.conf.j2").write_text("good\n")
    fleet.write()
    fleet.converge()
    (fleet.folder / "agent.conf.j2").write_text("bad\n")
    for _again in range(2):
        done = fleet.apply()
        assert done.code == 3
        assert "agent.conf failed before the switch" in done.out
        assert fleet.file.read_text() == "good\n"
    (fleet.folder / "agent.conf.j2").write_text("good again\n")
    fleet.converge()
    assert fleet.file.read_text() == "good again\n"


def test_the_hook_runs_when_the_file_changed_and_a_bad_one_takes_it_back(fleet: Settings) -> None:
    log = fleet.folder / "log"
    fleet.own["hook"] = {"run": f"echo ran >>{log}; grep -q name {fleet.file}"}
    fleet.write()
    fleet.converge()
    assert log.read_text() == "ran\n"
    (fleet.folder / "agent.conf.j2").write_text("nothing\n")
    assert fleet.apply().code == 3
    assert fleet.file.read_text() == "name = c1\nrole = r1\n"


def test_a_file_that_was_changed_by_hand_is_damaged_and_put_right(fleet: Settings) -> None:
    fleet.converge()
    fleet.file.write_text("by hand\n")
    assert changes(fleet) == [("all", "damaged", 1)]
    fleet.converge()
    assert fleet.file.read_text() == "name = c1\nrole = r1\n"


def test_two_files_of_one_name_lie_in_two_folders(fleet: Settings) -> None:
    (fleet.folder / "more").mkdir()
    other = fleet.folder / "more/agent.conf"
    (fleet.folder / "b.j2").write_text("b\n")
    fleet.settings(fleet.own, {"template": "b.j2", "path": str(other)})
    fleet.converge()
    assert (fleet.file.read_text(), other.read_text()) == ("name = c1\nrole = r1\n", "b\n")
    before = fleet.file.stat()
    (fleet.folder / "b.j2").write_text("c\n")
    fleet.converge()
    assert other.read_text() == "c\n"
    assert fleet.file.stat() == before


def test_a_file_that_can_not_be_rendered_fails_and_the_rest_goes_on(tmp_path: Path) -> None:
    fleet = Settings(tmp_path, "{{ vars.odd }}\n")
    fleet.release("rules", "1", data=b"one")
    fleet.spec["groups"]["all"]["clients"][1]["vars"]["odd"] = "here"
    fleet.write()
    done = fleet.apply()
    assert done.code == 3
    assert "agent.conf.j2:1:1: 'dict object' has no attribute 'odd'" in done.out
    assert fleet.file.read_text() == "here\n"
    assert fleet.current("c1", "rules") == fleet.current("c2", "rules") == {"data": b"one"}
    assert changes(fleet) == [("all", "missing", 1)]


def test_a_template_that_can_not_be_compiled_fails_the_plan_with_its_place(fleet: Settings) -> None:
    (fleet.folder / "agent.conf.j2").write_text("fine\n{{ nime }}\n")
    done = fleet.run("plan")
    assert (done.code, done.out) == (65, "")
    assert "agent.conf.j2:2:1: the variable `nime` isn't defined" in done.err
    assert "did you mean `name`?" in done.err


def test_a_plan_that_was_approved_is_stale_when_a_template_changed(fleet: Settings) -> None:
    assert fleet.run("plan", "--out", "plan.json").code == 0
    (fleet.folder / "agent.conf.j2").write_text("somebody else's idea\n")
    assert fleet.apply("plan.json").code == 5
    assert not fleet.file.exists()


def test_what_a_run_did_is_known_without_another_look(fleet: Settings) -> None:
    assert fleet.apply().code == 0
    assert changes(fleet, "--no-refresh") == []


def test_files_of_settings_that_the_spec_has_no_more_stay_and_the_plan_says_so(fleet: Settings) -> None:
    assert fleet.apply().code == 0
    fleet.settings()
    planned = fleet.run("plan")
    assert "-  files of settings stay on  1 client  all  the group's settings don't have them any more" in planned.out
    assert fleet.apply().code == 0
    assert "files of settings" not in fleet.run("plan").out


def test_a_target_leaves_settings_out(fleet: Settings) -> None:
    fleet.release("rules", "1", data=b"one")
    document = fleet.run("plan", "--target", "rules", "--format", "json").json
    assert {change["action"] for change in document["changes"]} == {"download", "deploy"}


@pytest.mark.parametrize("reserved", ["settings", "settings-agent-conf"])
def test_no_component_of_a_catalog_takes_the_place_of_settings(fleet: Settings, reserved: str) -> None:
    catalog = fleet.folder / "catalog.yaml"
    catalog.write_text(catalog.read_text().replace("id: engine", f"id: {reserved}"))
    done = fleet.run("validate")
    assert done.code == 65
    assert f"the id `{reserved}` belongs to the settings of clients" in done.err


def test_a_plan_file_carries_settings_out(fleet: Settings) -> None:
    assert fleet.run("plan", "--out", "plan.json").code == 0
    for _again in range(2):
        assert fleet.apply("plan.json").code == 0
        assert fleet.file.read_text() == "name = c1\nrole = r1\n"


def test_without_contact_nothing_is_compared_and_no_secret_read(fleet: Settings) -> None:
    fleet.own["secrets"] = {"pw": {"command": ["touch", str(fleet.folder / "ran")]}}
    (fleet.folder / "agent.conf.j2").write_text("{{ secret.pw }}\n")
    fleet.write()
    done = fleet.run("plan", "--no-exec")
    assert done.code == 0, done.err
    assert "the settings of group all aren't compared" in done.out
    assert not (fleet.folder / "ran").exists()


def test_other_commands_need_no_secret_of_settings(fleet: Settings) -> None:
    fleet.own["secrets"] = {"pw": {"command": ["false"]}}
    (fleet.folder / "agent.conf.j2").write_text("{{ secret.pw }}\n")
    fleet.write()
    assert fleet.run("status").code == 0
    assert fleet.run("rollout", "list").code == 0
    assert fleet.run("plan").code == 1


# --- secrets ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def guarded(tmp_path: Path) -> Settings:
    """Give a client whose file has a secret in it, and whose validate and hook say it aloud."""
    fleet = Settings(tmp_path, "user: u\npassword: {{ secret.pw }}\n", secrets={"pw": {"file": "pw"}})
    fleet.own["validate"] = "cat %s"
    fleet.own["hook"] = {"run": f"cat {fleet.file}; ! grep -q bad {fleet.file}"}
    (tmp_path / "pw").write_text(f"{SECRET}\n")
    (tmp_path / "pw").chmod(0o600)
    return fleet.give_each_its_own()


def leaks(fleet: Settings, text: str, *allowed: str) -> list[str]:
    """List the files in the fleet's folder that hold a text."""
    paths = (path for path in fleet.folder.rglob("*") if path.is_file() and not path.is_symlink())
    return sorted(
        str(path.relative_to(fleet.folder))
        for path in paths
        if text.encode() in path.read_bytes() and path.name not in allowed
    )


def test_a_secret_is_in_its_file_and_nowhere_else(guarded: Settings) -> None:
    said = [guarded.run("plan", "--out", "plan.json", "--events", "events"), guarded.apply("--events", "events")]
    assert said[1].code == 0, said[1].err
    assert guarded.file.read_text() == f"user: u\npassword: {SECRET}\n"
    assert stat.S_IMODE(guarded.file.stat().st_mode) == 0o600
    (guarded.folder / "agent.conf.j2").write_text("bad: {{ secret.pw }}\n")
    said += [guarded.run("plan", "--diff"), guarded.apply("--events", "events"), guarded.run("history")]
    assert said[3].code == 3
    assert "********" in said[3].out
    assert [done for done in said if SECRET in done.out + done.err] == []
    assert leaks(guarded, SECRET, "pw", "agent.conf") == []


def test_what_clients_keep_of_a_file_nobody_else_can_read(guarded: Settings) -> None:
    assert guarded.apply().code == 0
    (kept,) = guarded.root("c1").glob("settings-*")
    assert stat.S_IMODE(kept.stat().st_mode) == 0o700
    (guarded.folder / "pw").write_text("another-long-secret")
    guarded.converge()
    assert stat.S_IMODE(kept.stat().st_mode) == 0o700
    assert guarded.file.read_text() == "user: u\npassword: another-long-secret\n"


def test_versions_tell_nothing_of_a_secret_without_the_key_of_the_state(tmp_path: Path) -> None:
    versions = set()
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        fleet = Settings(tmp_path / name, "{{ secret.pw }}", secrets={"pw": {"env": "PW"}}).give_each_its_own()
        fleet.own["path"] = str(tmp_path / "shared.conf")
        fleet.write()
        (tmp_path / name / "etc").rmdir()
        assert fleet.run("apply", "--auto-approve", PW=SECRET).code == 0
        (kept,) = fleet.root("c1").glob("settings-*/current")
        versions.add(str(kept.readlink()))
    assert len(versions) == 2


# --- differences ------------------------------------------------------------------------------------------------------


def test_diff_shows_what_will_change_in_a_file(fleet: Settings) -> None:
    fleet.converge()
    (fleet.folder / "agent.conf.j2").write_text("name = {{ name }}\nrole = boss\n")
    shown = fleet.run("plan", "--diff").out
    assert f"c1 (all): {fleet.file}" in shown
    assert "-role = r1\n" in shown
    assert "+role = boss\n" in shown
    assert " name = c1\n" in shown
    assert "role" not in fleet.run("plan").out


@pytest.mark.parametrize(
    ("suffix", "before", "after", "found"),
    [
        ("yaml", "a: {b: 1}\nc: [x]\n", "a: {b: 2}\nc: [x, y]\n", ["~ a.b: 1 -> 2", "+ c.1: y"]),
        ("json", '{"a": 1, "b": 1}', '{"a": 1}', ["- b: 1"]),
        ("ini", "[s]\na = 1\n", "[s]\na = 2\n[t]\nb = 1\n", ["~ s.a: 1 -> 2", "+ t: {'b': '1'}"]),
    ],
)
def test_diff_names_what_differs_in_data(
    fleet: Settings, suffix: str, before: str, after: str, found: list[str]
) -> None:
    fleet.own["path"] = str(fleet.folder / f"etc/x.{suffix}")
    (fleet.folder / "agent.conf.j2").write_text(before)
    fleet.write()
    assert fleet.apply().code == 0
    (fleet.folder / "agent.conf.j2").write_text(after)
    shown = fleet.run("plan", "--diff").out
    for line in found:
        assert line in shown


def test_diff_masks_the_secret_that_is_there_and_the_one_before_it(guarded: Settings) -> None:
    for form in ("text", "markdown"):
        guarded.own["path"] = str(guarded.folder / f"etc/{form}.yaml")
        guarded.write()
        (guarded.folder / "pw").write_text(SECRET)
        assert guarded.apply().code == 0
        (guarded.folder / "pw").write_text("rotated-long-secret")
        done = guarded.run("plan", "--diff", "--format", form)
        assert "password: ********" in done.out
        assert "~ password: ******** -> ********" in done.out
        assert SECRET not in done.out + done.err
        assert "rotated" not in done.out + done.err


def test_diff_shows_three_clients_of_a_group_and_counts_the_others(tmp_path: Path) -> None:
    fleet = Settings(tmp_path, "{{ name }}\n")
    fleet.spec["groups"]["all"]["clients"] = [{"name": f"c{n}", "install_root": f"clients/c{n}"} for n in range(1, 6)]
    fleet.write()
    shown = fleet.run("plan", "--diff").out
    assert [f"c{n} (all): " in shown for n in range(1, 6)] == [True, True, True, False, False]
    assert "all: 2 clients more" in shown


def test_diff_says_what_is_not_known(fleet: Settings) -> None:
    fleet.converge()
    (fleet.folder / "agent.conf.j2").write_text("new\n")
    shown = fleet.run("plan", "--diff", "--no-refresh").out
    assert "what is there isn't known" in shown
    assert "+new\n" in shown


def test_diff_in_json_stays_one_document(fleet: Settings) -> None:
    assert json.loads(fleet.run("plan", "--diff", "--format", "json").out)["changes"]
