"""What changed in a spec: in words, the losses first, and nothing that a plan file must not hold."""

import copy
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from reconciler.model.plan import Basis, Plan
from reconciler.model.spec_change import SpecChange
from reconciler.present.document import plan_document
from reconciler.present.reading import read_plan
from reconciler.present.render import render
from reconciler.present.views import PLAN
from reconciler.specfile.changes import MAX_SHOWN, spec_changes

SCHEMA = Path(__file__).parents[2] / "schema" / "plan.schema.json"
NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
SPEC: dict[str, Any] = {
    "version": 1,
    "client_keep": 2,
    "server": {"state": "sqlite:///s.db"},
    "vars": {"day": 1},
    "proxies": {},
    "hold": [{"clients": "label=lab", "reason": "audit"}],
    "quarantine": {"after_failures": 2, "for": "24h"},
    "sources": [
        {
            "name": "hq",
            "type": "tuf",
            "url": "https://u:secret@hq.example/r",
            "when_absent": "error",
            "stale_after": "2d",
        }
    ],
    "components": {
        "rules": {
            "version": "latest",
            "min_age": "2d",
            "block": [{"version": "7", "reason": "bad"}],
            "hooks": {"after": {"run": "reload", "on_failure": "rollback"}},
            "loaded": {"run": "engine --version", "within": "2m"},
        },
        "engine": {"version": "3"},
    },
    "auto_update": {
        "enabled": True,
        "trigger": "manual",
        "windows": [{"from": "22:00", "to": "06:00"}],
        "blackouts": [{"from": "2026-12-20", "to": "2027-01-06", "reason": "holidays"}],
        "rollout": {
            "waves": [
                {"select": "label=canary", "soak": "2d", "approve": "manual"},
                {"share": "10%", "soak": "1d", "approve": "auto"},
                {"share": "100%", "approve": "auto"},
            ],
            "max_failed": 1,
            "max_fail_percentage": "5%",
            "max_unreachable_percentage": 10,
            "min_attempted": 5,
            "recheck": "end_of_soak",
            "wait_loaded": "30m",
            "on_failure": "rollback",
            "gate": [{"type": "command", "run": "gate"}],
        },
    },
    "defaults": {"checks": [{"name": "detects", "run": "scan"}]},
    "groups": {
        "branch": {
            "transport": {"type": "ssh", "accept_new": False, "user": "root"},
            "clients": [
                {"name": "b-1", "labels": ["canary"], "address": "10.0.0.1"},
                *({"name": f"b-{at}", "labels": [], "address": f"10.0.0.{at}"} for at in range(2, 7)),
            ],
        },
        "far": {"inventory": {"type": "csv", "max_shrink": "10%", "min_clients": 5}},
    },
    "repository": {"keys": {"threshold": 2}},
    "notify": [{"name": "pager", "type": "webhook"}, {"name": "chat", "type": "webhook", "conditions": ["drift"]}],
}
WAVES = "auto_update.rollout.waves"


def changed(*edits: tuple[str, Any], base: Any = None) -> dict[str, Any]:
    """Give the spec with other values at dotted paths; None takes away what is there."""
    spec: dict[str, Any] = copy.deepcopy(SPEC if base is None else base)
    for path, value in edits:
        at: Any = spec
        *way, last = path.split(".")
        for key in way:
            at = at[int(key)] if isinstance(at, list) else at.setdefault(key, {})
        if value is None:
            del at[int(last) if isinstance(at, list) else last]
        else:
            at[int(last) if isinstance(at, list) else last] = value
    return spec


def says(*edits: tuple[str, Any]) -> list[str]:
    return [change.says for change in spec_changes(SPEC, changed(*edits))]


def test_a_group_that_lost_its_proxy_is_reached_directly() -> None:
    behind = changed(("groups.branch.proxy", "egress"))
    assert [it.says for it in spec_changes(behind, SPEC)] == ["group branch is reached directly, no more over egress"]
    other = changed(("groups.branch.proxy", "bridge"))
    assert [it.says for it in spec_changes(behind, other)] == [
        "group branch is reached over bridge, no more over egress"
    ]


def test_a_pin_of_one_of_all_components_says_what_becomes_of_it() -> None:
    everything = changed(("components", {"*": {"version": "latest", "unmanaged": "keep"}}))
    pinned = changed(("components.engine", {"version": "4", "unmanaged": "keep"}), base=everything)
    assert [it.says for it in spec_changes(everything, pinned)] == ["components.engine.version: latest -> 4"]
    assert [it.says for it in spec_changes(pinned, everything)] == ["components.engine.version: 4 -> latest"]


def test_a_component_goes_with_all_that_protected_it_and_none_where_all_are_managed() -> None:
    (gone,) = spec_changes(SPEC, changed(("components.rules", None)))
    assert (gone.says, gone.safety) == ("component rules is not managed any more", True)
    assert not any(
        change.safety
        for change in spec_changes(changed(("components", {"engine": {}})), {**SPEC, "components": {"*": {}}})
    )
    everything = changed(("components", {"*": {}, "engine": {}}))
    found = spec_changes(everything, changed(("components", {"engine": {}})))
    assert [change.says for change in found if change.safety] == ["only components that the spec names are managed now"]


@pytest.mark.parametrize(
    ("path", "value", "sentence"),
    [
        ("auto_update.enabled", False, "auto_update.enabled: true -> false"),
        ("components.engine.version", "4", "components.engine.version: 3 -> 4"),
        ("components.new", {"version": "1"}, "component new is managed now: version 1"),
        ("groups.branch.proxy", "egress", "group branch is reached over egress, no more directly"),
        ("groups.branch.proxy", "socks5://u:p@h", "group branch is reached over another proxy, no more directly"),
        ("sources.0.proxy", "egress", "source hq is reached over egress, no more directly"),
        ("proxies.egress", {"url": "http://u:secret@proxy.example"}, "proxy egress is new"),
        ("groups.branch.labels", ["a", "b"], "groups.branch.labels is new: [a, b]"),
        ("sources.0.url", "https://u:secret@other.example/r", "sources.hq.url changed"),
        ("server.state", "postgresql://u:secret@h/db", "server.state changed"),
        ("vars.day", 2, "vars.day changed"),
        ("vars.token", "secret", "vars.token is new"),
        ("groups.branch.transport.user", "admin", "groups.branch.transport.user changed"),
        ("groups.branch.clients.0.address", "10.9.9.9", "groups.branch.clients.address changed of 1 client (b-1)"),
        ("groups.far", None, "group far is gone: clients of an inventory"),
        ("groups.branch", None, "group branch is gone: 6 clients (b-1, b-2, b-3 and 3 more)"),
        (
            "groups.dmz",
            {"clients": [{"name": f"d-{at}"} for at in range(12)]},
            "group dmz is new: 12 clients (d-0, d-1, d-2 and 9 more)",
        ),
        (
            "groups.branch.clients",
            SPEC["groups"]["branch"]["clients"][:2],
            "group branch: 4 clients (b-3, b-4, b-5 and 1 more) gone",
        ),
        ("components.engine.version", None, "components.engine.version is gone: 3"),
        ("auto_update.stage", "x" * 200, f"auto_update.stage is new: {'x' * 79}…"),
    ],
)
def test_a_change_of_the_spec_is_a_sentence_without_what_a_plan_must_not_hold(
    path: str, value: Any, sentence: str
) -> None:
    assert says((path, value)) == [sentence]


@pytest.mark.parametrize(
    ("path", "value", "sentence"),
    [
        ("defaults.checks", [], "check detects is removed from defaults"),
        ("defaults", None, "check detects is removed from defaults"),
        ("defaults.checks.0.run", "other", "defaults.checks.detects: runs another program"),
        ("components.rules.hooks.before", {"run": "x"}, "components.rules.hooks.before: runs a program that is new"),
        (
            "components.rules.hooks.after.on_failure",
            "keep",
            "components.rules.hooks.after: what fails is not rolled back",
        ),
        ("sources.0.type", "directory", "sources.hq: its releases need no signature any more"),
        ("sources.0.accept_expired", {"until": "x"}, "sources.hq: signatures that have expired are accepted"),
        ("sources.0.may_outrank", True, "sources.hq: may outrank other sources"),
        ("sources.0.stale_after", "5d", "sources.hq: may be silent for longer: 2d -> 5d"),
        ("sources.0.when_absent", "hold", "sources.hq: its absence is no error any more"),
        (
            "groups.branch.transport.accept_new",
            True,
            "groups.branch.transport: host keys that nobody knows are trusted",
        ),
        ("hold", [], "the hold of label=lab is lifted"),
        ("components.engine", None, "component engine is not managed any more"),
        ("components.rules", None, "component rules is not managed any more"),
        ("components.rules.block", None, "components.rules: version 7 is not blocked any more"),
        ("components.rules.min_age", "12h", "components.rules: the least age of releases is shorter: 2d -> 12h"),
        ("components.rules.min_age", None, "components.rules: the least age of releases is shorter: 2d -> none"),
        (f"{WAVES}.2", None, "auto_update.rollout: fewer waves: 3 -> 2"),
        (f"{WAVES}.0.soak", "1h", "auto_update.rollout: soak of wave 1 shortened: 2d -> 1h"),
        (f"{WAVES}.1.soak", None, "auto_update.rollout: soak of wave 2 shortened: 1d -> none"),
        (f"{WAVES}.0.approve", "auto", f"{WAVES}.0: goes on without approval"),
        ("auto_update.rollout.gate", [], "auto_update.rollout: a gate is removed (1 -> 0)"),
        ("auto_update.rollout.recheck", "none", "auto_update.rollout: nothing is checked again at the end of a soak"),
        (
            "auto_update.rollout.wait_loaded",
            None,
            "auto_update.rollout: gates don't wait for engines to load releases any more",
        ),
        (
            "auto_update.rollout.wait_loaded",
            "2h",
            "auto_update.rollout: engines may take longer to load releases: 30m -> 2h",
        ),
        ("components.rules.loaded", None, "components.rules: engines aren't asked any more what they have loaded"),
        ("components.rules.loaded.enabled", False, "components.rules.loaded: engines aren't asked any more"),
        (
            "components.rules.loaded.within",
            None,
            "components.rules.loaded: switches don't wait for engines to load them any more",
        ),
        (
            "components.rules.loaded.within",
            "1h",
            "components.rules.loaded: engines may take longer to load what was switched: 2m -> 1h",
        ),
        ("auto_update.rollout.on_failure", "halt", "auto_update.rollout: what fails is not rolled back"),
        ("auto_update.rollout.max_failed", 9, "auto_update.rollout: more clients may fail: 1 -> 9"),
        ("auto_update.rollout.max_fail_percentage", "6%", "auto_update.rollout: more clients may fail: 5% -> 6%"),
        (
            "auto_update.rollout.max_unreachable_percentage",
            50,
            "auto_update.rollout: more clients may be unreachable: 10 -> 50",
        ),
        ("auto_update.rollout.min_attempted", 1, "auto_update.rollout: fewer clients must have been tried: 5 -> 1"),
        ("auto_update.windows", [], "auto_update: updates may come at any time: the windows are removed"),
        ("auto_update.windows.0.to", "08:00", "auto_update: the windows are wider: 56 h -> 70 h a week"),
        ("auto_update.blackouts", [], "auto_update: a blackout is removed (1 -> 0)"),
        ("auto_update.trigger", "download", "auto_update: updates start by themselves"),
        ("quarantine", None, "failing clients are not quarantined any more"),
        ("quarantine.after_failures", 9, "quarantine: clients are quarantined later: 2 -> 9"),
        ("quarantine.for", "1h", "quarantine: clients are quarantined for a shorter time: 24h -> 1h"),
        (
            "groups.far.inventory.max_shrink",
            "90%",
            "groups.far.inventory: an inventory may lose more clients: 10% -> 90%",
        ),
        ("groups.far.inventory.min_clients", 1, "groups.far.inventory: an inventory may have fewer clients: 5 -> 1"),
        ("client_keep", 1, "the spec: clients keep fewer versions to go back to: 2 -> 1"),
        ("repository.keys.threshold", 1, "repository.keys: fewer keys must sign: 2 -> 1"),
        ("notify.0", None, "the notifier pager is removed"),
        ("notify.1.conditions", ["unknown"], "notify.chat: nobody is told any more of: drift"),
    ],
)
def test_what_takes_away_a_protection_is_said_first_and_marked(path: str, value: Any, sentence: str) -> None:
    found = spec_changes(SPEC, changed((path, value), ("auto_update.aaa", 1)))
    assert (found[0].says, found[0].safety) == (sentence, True)
    assert "auto_update.aaa is new" in [change.says for change in found if not change.safety]
    back = [change.says for change in spec_changes(changed((path, value)), SPEC) if change.safety]
    assert sentence not in back or "another program" in sentence  # whichever it is, nobody tried it


def test_a_new_group_of_an_inventory_has_as_many_clients_as_were_listed() -> None:
    new = changed(("groups.new", {"inventory": {"type": "csv"}}))
    for clients, shown in (
        ({"new": 2940}, "2 940 clients"),
        ({"new": 1}, "1 client"),
        ({}, "clients"),
        ({"new": 0}, "clients"),
    ):
        (change,) = spec_changes(SPEC, new, clients)
        assert change.says == f"group new is new: {shown} of an inventory"


def test_a_first_wave_that_takes_more_is_less_safe() -> None:
    base = changed((f"{WAVES}.0", {"share": "1%"}))
    found = spec_changes(base, changed((f"{WAVES}.0.share", "50%"), base=base))
    assert [(change.says, change.safety) for change in found] == [
        ("auto_update.rollout: the first wave takes more: 1% -> 50%", True)
    ]


def test_a_wave_is_emptied_by_its_pattern_or_by_the_labels_of_clients() -> None:
    known = changed(("groups.far", None))
    emptied = "auto_update.rollout: the wave label={} takes nobody"
    for path, value, label in (
        (f"{WAVES}.0.select", "label=canari", "canari"),
        ("groups.branch.clients.0.labels", [], "canary"),
    ):
        found = spec_changes(known, changed((path, value), base=known))
        assert (found[0].says, found[0].safety) == (emptied.format(label), True)
    unknown = spec_changes(SPEC, changed((f"{WAVES}.0.select", "label=canari")))
    assert not any(change.safety for change in unknown)  # an inventory may have such clients


def test_sources_in_another_order_and_entries_that_only_moved_along_are_told_apart() -> None:
    two = changed(("sources", [*SPEC["sources"], {"name": "b", "type": "directory"}]))
    turned = changed(("sources", two["sources"][::-1]), base=two)
    assert [change.says for change in spec_changes(two, turned)] == ["sources: another order"]
    longer = changed(("hold", [{"clients": "pc-1", "reason": "new"}, *SPEC["hold"]]))
    assert [change.says for change in spec_changes(SPEC, longer)] == ["hold.0 is new: clients pc-1, reason new"]


def test_no_more_is_listed_than_people_read_and_losses_always_are() -> None:
    many = changed(*((f"auto_update.k{at}", at) for at in range(MAX_SHOWN + 5)), ("hold", []))
    found = spec_changes(SPEC, many)
    assert found[0].safety
    assert (found[-1].says, found[-1].count) == ("and 6 more", 6)
    assert spec_changes(SPEC, SPEC) == ()


def plan_with(*changes: SpecChange) -> Any:
    return plan_document(Plan("p", NOW, Basis("l", 1, 0, "a" * 64, "b" * 64), spec_changes=changes))


def test_a_plan_shows_the_first_changes_of_the_spec_and_counts_the_others() -> None:
    plain = [SpecChange(f"k{at}", "added", f"k{at} is new") for at in range(15)]
    document = plan_with(SpecChange("hold", "changed", "the hold of a|b is lifted", safety=True), *plain)
    text = render(document, "text", PLAN, names=False)
    assert "  ! less safe: the hold of a|b is lifted\n    k0 is new\n" in text
    assert "k8 is new\n    and 6 more: --diff\n" in text
    assert "k14 is new" in render(document, "text", PLAN, names=True)
    markdown = render(document, "markdown", PLAN, names=False)
    assert "- :warning: less safe: the hold of a\\|b is lifted\n- k0 is new\n" in markdown


def test_changes_of_the_spec_come_back_from_a_document_as_its_schema_has_them() -> None:
    document = plan_with(SpecChange("hold", "changed", "the hold of x is lifted", safety=True))
    Draft202012Validator(json.loads(SCHEMA.read_text(encoding="utf-8"))).validate(document)
    assert plan_document(read_plan(document)) == document
    assert "spec_changes" not in plan_with()


MINISIGN, GPG, SUMS = (
    {"minisign": {"key": "a.pub"}},
    {"gpg": {"keyring": "a.gpg"}},
    {"sha256": {"sums": "SHA256SUMS"}},
)


@pytest.mark.parametrize(
    ("before", "after", "sentence"),
    [
        ([MINISIGN], None, "sources.hq: what it fetches isn't verified any more"),
        ([MINISIGN, SUMS], [SUMS], "sources.hq: isn't verified any more by: minisign"),
        ({"all": [MINISIGN]}, {"any": [SUMS]}, "sources.hq: isn't verified any more by: minisign"),
        ([MINISIGN, SUMS], {"any": [MINISIGN, SUMS]}, "one of several ways to verify is enough: minisign, sha256"),
        ({"any": [MINISIGN]}, {"any": [MINISIGN, SUMS]}, "may be verified by another way instead: sha256"),
        ([MINISIGN], [MINISIGN, GPG], ""),
        ({"any": [MINISIGN, SUMS]}, [MINISIGN], ""),
        (None, [MINISIGN], ""),
        ("odd", {"any": 7}, ""),
    ],
)
@pytest.mark.parametrize("place", ["sources.0.verify", "sources.0.components.rules.verify"])
def test_less_proof_of_what_a_source_fetches_takes_away_a_protection(
    before: Any, after: Any, sentence: str, place: str
) -> None:
    old = SPEC if before is None else changed((place, before))
    new = SPEC if after is None else changed((place, after))
    found = [change.says for change in spec_changes(old, new) if change.safety]
    where = "sources.hq" if place == "sources.0.verify" else "sources.hq.components.rules"
    assert found == ([f"{where}: {sentence.removeprefix('sources.hq: ')}"] if sentence else [])


LYON: dict[str, Any] = {
    "groups": ["branch"],
    "executor": {"type": "celery", "url": "amqps://b", "seal_key": "A" * 44, "batch": 50, "budget": "25m"},
}
ELSEWHERE = "clients are worked on from elsewhere: whoever is there gets secrets of their settings"


@pytest.mark.parametrize(
    ("path", "value", "sentence"),
    [
        (
            "sites.lyon.executor.seal_key",
            "B" * 44,
            "sites.lyon.executor: secrets of settings are sealed for another key: whoever has it can read them",
        ),
        ("sites.lyon.executor", {"type": "relay", "host": "r"}, f"sites.lyon: {ELSEWHERE}"),
        (
            "sites.lyon.executor.url",
            "amqps://evil",
            "sites.lyon: another way to its executor (url): whoever is there works on its clients",
        ),
        ("sites.lyon.groups", ["branch", "far"], "sites.lyon: works on more groups: far"),
        ("sites.paris", {"groups": ["far"], "executor": {"type": "relay", "host": "r"}}, f"sites.paris: {ELSEWHERE}"),
        ("server.executor", {"type": "relay", "host": "r"}, f"server: {ELSEWHERE}"),
    ],
)
def test_who_else_could_read_secrets_of_settings_is_said_first_and_marked(path: str, value: Any, sentence: str) -> None:
    base = changed(("sites", {"lyon": LYON}))
    found = spec_changes(base, changed((path, value), base=base))
    assert (found[0].says, found[0].safety) == (sentence, True)
    assert "evil" not in str(found)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("sites.lyon.executor.batch", 10),
        ("sites.lyon.executor.budget", "40m"),
        ("sites.lyon.executor.beat", "10s"),
        ("sites.lyon.forks", 10),
        ("sites.lyon.executor", {"type": "threads"}),
        ("sites", {}),
        ("sites.new", {"groups": ["new"], "executor": {"type": "relay", "host": "r"}}),
        ("server.executor", {"type": "processes", "count": 4}),
    ],
)
def test_how_much_a_site_does_at_a_time_and_who_stops_working_there_take_no_protection_away(
    path: str, value: Any
) -> None:
    base = changed(("sites", {"lyon": LYON}))
    assert not any(change.safety for change in spec_changes(base, changed((path, value), base=base)))
