"""The planner's cases: data in tests/cases, a spec and what was observed, and exactly the plan that must come of it.

    name: what the case shows
    components: {rules: {scheme: integer, version: latest}}   # catalog and wanted version in one; also scan_methods, to
    groups: {g: conventional}                                 # group -> scan method, or null
    held: [rules 1]                                           # COMPONENT VERSION [PLATFORM] [=CONTENT]
    offers: [rules 2]
    clients:                                                  # COUNT GROUP [PLATFORM]: what they have
      - 3 g: [rules 1]                                        # COMPONENT VERSION [=CONTENT] [@none]; with ! damaged
      - {2 g: unknown no connection}
      - {1 g: {hold: INC-1, has: [rules 1]}}
    plan:
      downloads: [rules 1 -> 2 outdated]
      deploys: [3 g rules 1 -> 2 outdated]                    # CLIENTS GROUP COMPONENT FROM -> TO REASON [downgrade]
      held, unknown, drift, problems, gone: …                      # what isn't there must be empty

A release's content is one file, named after the component, that holds CONTENT or else its version.
"""

from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml

from reconciler.model.client import Installed, InstallTarget, Layout, Profile
from reconciler.model.plan import Basis, Cohort
from reconciler.model.release import SCAN_METHODS, Offer
from reconciler.model.spec import ComponentSpec, GroupSpec, PluginConfig
from reconciler.planner.planner import Observed, Wanted, make_plan
from tests.fakes import make_component, make_release

FILES = sorted((Path(__file__).parents[1] / "cases").glob("*.yaml"))
CASES = [(file.stem, case) for file in FILES for case in yaml.safe_load_all(file.read_text(encoding="utf-8"))]
KEYS = {"name", "components", "groups", "held", "offers", "clients", "plan", "freeze", "gone"}


def release(text):
    words = text.split()
    content = next((word[1:] for word in words if word.startswith("=")), words[1])
    platform = next((word for word in words[2:] if not word.startswith("=")), "any")
    return make_release(words[0], words[1], {words[0]: content.encode()}, platform)


def component(name, options):
    options = options or {}
    methods = frozenset(options.get("scan_methods", SCAN_METHODS))
    made = make_component(name, scheme=options.get("scheme", "integer"), scan_methods=methods)
    layout = Layout((InstallTarget("*", options["to"]),)) if "to" in options else Layout()
    return ComponentSpec(made, str(options.get("version", "latest")), layout)


def installed(text, components):
    words = text.lstrip("!").split()
    if text.startswith("!"):
        return Installed(words[0], words[1], "", damage=f"{words[0]} was changed")
    known = components.get(words[0]) or component(words[0], {})
    layout = Layout().fingerprint if "@none" in words else known.layout.fingerprint
    plain = " ".join(word for word in words if not word.startswith("@"))
    return Installed(words[0], words[1], release(plain).digest, layout=layout)


def cohort(number, entry, components):
    ((head, has),) = entry.items()
    count, group, *platform = head.split()
    members = tuple(f"{group}-{number}-{n}" for n in range(int(count)))
    hold = ""
    if isinstance(has, str):
        word, _, reason = has.partition(" ")
        if word == "unknown":
            return Cohort(group, members, unknown=reason)
        raise AssertionError(has)
    if isinstance(has, dict):
        hold, has = has["hold"], has["has"]
    entries = tuple(sorted(installed(text, components) for text in has))
    return Cohort(group, members, Profile(platform[0] if platform else "linux-x86_64", entries), hold=hold)


def shown(plan):
    """Give a plan in the words of a case."""
    findings = {
        kind: [
            " ".join(filter(None, (str(f.clients), f.group, f.component, f.version, f.reason)))
            for f in getattr(plan, kind)
        ]
        for kind in ("held", "unknown", "drift", "deferred", "unreachable")
    }
    platform = {"any": ""}
    listed = {
        "downloads": [
            f"{d.component} {d.previous or '-'} -> {d.to}{platform.get(d.platform, ' ' + d.platform)} {d.reason}"
            for d in plan.downloads
        ],
        "deploys": [
            f"{d.clients} {d.group} {d.component} {d.from_version or '-'} -> {d.to}"
            f"{platform.get(d.platform, ' ' + d.platform)} {d.reason}{' downgrade' if d.downgrade else ''}"
            + (f" sends {d.bytes}" if d.bytes != d.bytes_full else "")
            for d in plan.deploys
        ],
        **findings,
        "problems": list(plan.problems),
        "gone": list(plan.gone),
    }
    return {key: value for key, value in listed.items() if value}


@pytest.mark.parametrize(
    "case", [case for _file, case in CASES], ids=[f"{file}: {case['name']}" for file, case in CASES]
)
def test_case(case):
    assert set(case) <= KEYS, set(case) - KEYS
    components = {name: component(name, options) for name, options in case["components"].items()}
    groups = {
        name: GroupSpec(name, PluginConfig("transport", "local"), "/r", method)
        for name, method in case.get("groups", {"g": None}).items()
    }
    observed = Observed(
        basis=Basis("lineage", 1, 0, "s", "c"),
        held=[release(text) for text in case.get("held", ())],
        offers=[Offer("drop", release(text)) for text in case.get("offers", ())],
        cohorts=[cohort(at, entry, components) for at, entry in enumerate(case.get("clients", ()))],
        gone=case.get("gone", ()),
        freeze=case.get("freeze", ""),
    )
    plan = make_plan(Wanted(components, groups), observed, plan_id="p", now=datetime(2026, 11, 24, tzinfo=UTC))
    assert shown(plan) == case["plan"]
    assert plan.empty == (not case["plan"].get("downloads") and not case["plan"].get("deploys"))
