"""What plans, statuses, `why` and the doctor say of sites: which groups are there, and where nobody works."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from jsonschema import Draft202012Validator

from reconciler.errors import PluginError
from reconciler.model.site import SiteStanding
from reconciler.model.spec import THREADS, SiteSpec
from reconciler.observe.doctor import examine
from reconciler.observe.doctor_server import list_all
from reconciler.observe.doctor_sites import examine_sites
from reconciler.observe.observed import Sight
from reconciler.planning import PlanOptions, new_plan, status_of
from reconciler.present.document import plan_document, status_document
from reconciler.present.html.plan_view import view_of_plan
from reconciler.present.html.status_view import view_of_status
from reconciler.present.markdown import plan_markdown
from reconciler.present.plan_text import plan_text
from reconciler.present.reading import read_plan
from reconciler.present.site_text import site_rows
from reconciler.present.status_markdown import status_markdown
from reconciler.present.status_text import status_text
from reconciler.workspace import Plugins
from tests.unit.test_documents import schema

if TYPE_CHECKING:
    from reconciler.model.plan import Plan
    from reconciler.model.report import Diagnosis, Status
    from tests.unit.workbench import Bench, Opened

DOWN = "down: it had no worker for 2 clients"


@pytest.fixture
def bench(opened: Opened) -> Bench:
    """Give a fleet of four groups: two at lyon, one at paris, one at no site."""
    made = opened({"office": 1, "plant": 1, "paris": 1, "here": 1})
    lyon = SiteSpec("lyon", ("office", "plant"), THREADS)
    made.spec = replace(made.spec, sites={"lyon": lyon, "paris": SiteSpec("paris", ("paris",), THREADS)})
    return made


@pytest.fixture
def nobody_at_lyon(monkeypatch: pytest.MonkeyPatch) -> None:
    usual = Plugins.executor_of

    def executor_of(plugins: Plugins, site: str) -> Any:
        if site == "lyon":
            raise PluginError("the broker doesn't answer")
        return usual(plugins, site)

    monkeypatch.setattr(Plugins, "executor_of", executor_of)


def looked(bench: Bench) -> tuple[Plan, Status]:
    with bench.work() as work:
        plan = new_plan(work, PlanOptions(Sight()))
        return plan, status_of(work, Sight(refresh=False))


def checked(document: dict[str, Any], name: str) -> dict[str, Any]:
    Draft202012Validator(schema(name)).validate(document)
    return document


@pytest.mark.usefixtures("nobody_at_lyon")
def test_a_plan_says_which_groups_are_at_which_site_and_which_site_is_down(bench: Bench) -> None:
    plan, _status = looked(bench)
    basis = replace(plan.basis, spec_digest="a" * 64, catalog_digest="b" * 64)
    document = checked(plan_document(replace(plan, basis=basis)), "plan")
    assert document["sites"] == [
        {"site": "lyon", "groups": ["office", "plant"], "clients": 2, "no_worker": 2},
        {"site": "paris", "groups": ["paris"], "clients": 1, "no_worker": 0},
    ]
    assert read_plan(document).sites == plan.sites
    text = plan_text(document)
    assert f"\nSites\n  lyon   2 clients  office, plant  {DOWN}\n  paris   1 client  paris\n" in text
    assert text.count("fix: see that the workers of their site run") == 1
    assert f"| lyon | 2 clients | office, plant | {DOWN} |" in plan_markdown(document)
    sheet = next(sheet for sheet in view_of_plan(document).sections if sheet.title == "Sites")
    assert [line.cells for line in sheet.lines] == [
        ("lyon", "2 clients", "office, plant", DOWN),
        ("paris", "1 client", "paris", ""),
    ]


@pytest.mark.usefixtures("nobody_at_lyon")
def test_a_status_says_of_each_group_its_site_and_that_it_is_down(bench: Bench) -> None:
    _plan, status = looked(bench)
    document = checked(status_document(status), "status")
    assert {entry["group"]: entry.get("site") for entry in document["groups"]} == {
        "office": "lyon",
        "plant": "lyon",
        "paris": "paris",
        "here": None,
    }
    assert [(entry["site"], entry["no_worker"]) for entry in document["sites"]] == [("lyon", 2), ("paris", 0)]
    (trouble,) = document["troubles"]
    assert (trouble["reason"], trouble["clients"]) == ("worker", 2)
    assert "site lyon has no worker: the broker doesn't answer" in trouble["examples"][0]["message"]
    assert f"  lyon   2 clients  office, plant  {DOWN}\n" in status_text(document)
    assert f"| lyon | 2 clients | office, plant | {DOWN} |" in status_markdown(document)
    sheet = view_of_status(document).sites
    assert sheet is not None
    assert sheet.lines[0].cells == ("lyon", "2 clients", "office, plant", DOWN)


def test_a_site_whose_worker_came_back_is_not_down_any_more(bench: Bench) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Plugins, "executor_of", _broken)
        assert [site.down for site in looked(bench)[0].sites] == [True, True]
    plan, status = looked(bench)
    assert [(site.site, site.down) for site in plan.sites] == [("lyon", False), ("paris", False)]
    assert plan.sites == status.sites
    assert "down:" not in plan_text(plan_document(plan))


def _broken(plugins: Plugins, site: str) -> Any:
    if site:
        raise PluginError("the broker doesn't answer")
    return plugins.executor


def test_documents_of_a_spec_without_sites_name_none(opened: Opened) -> None:
    plan, status = looked(opened({"g": 1, "h": 1}))
    assert "sites" not in plan_document(plan)
    assert "site" not in str(status_document(status))
    assert "Sites" not in plan_text(plan_document(plan)) + status_text(status_document(status))


def test_a_plan_for_some_groups_names_their_sites_only(bench: Bench) -> None:
    with bench.work() as work:
        plan = new_plan(work, PlanOptions(Sight(limit="plant")))
    assert plan.sites == (SiteStanding(site="lyon", groups=("plant",), clients=1, no_worker=0),)


def test_of_many_sites_those_that_are_down_are_told_first_and_the_rest_is_counted() -> None:
    sites = [
        {"site": f"s{at}", "groups": [f"g{at}"], "clients": 2, "no_worker": 2 if at == 29 else 0} for at in range(30)
    ]
    rows = site_rows({"sites": sites})
    assert (rows[0][0], rows[0][3], rows[-1]) == ("s29", DOWN, ("10 more sites", "20 clients", "", ""))


# --- the doctor -------------------------------------------------------------------------------------------------------


def sites_of_doctor(bench: Bench, *groups: str) -> list[Diagnosis]:
    with bench.work() as work:
        list(examine(list_all(work)[0], work, forks=2))
        return list(examine_sites(work, groups or tuple(work.spec.groups), forks=2))


@pytest.mark.usefixtures("nobody_at_lyon")
def test_the_doctor_says_of_each_site_whether_somebody_works_there_and_what_to_do(bench: Bench) -> None:
    lyon, paris = sites_of_doctor(bench)
    assert (lyon.what, lyon.level) == ("site lyon (threads)", "fail")
    assert lyon.finding == "site lyon has no worker: the broker doesn't answer"
    assert lyon.fix == (
        "see that the workers of their site run, and that they reach what they dial out to: docs/sites.md"
    )
    assert (paris.what, paris.level, paris.finding) == (
        "site paris (threads)",
        "ok",
        "somebody works there, for 1 group",
    )


def test_the_doctor_looks_only_at_sites_of_the_groups_that_are_asked_for(bench: Bench) -> None:
    assert [check.what for check in sites_of_doctor(bench, "paris", "here")] == ["site paris (threads)"]


def test_the_doctor_gives_a_site_up_that_says_nothing(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    with bench.work() as work:
        monkeypatch.setattr(type(work.crews), "room", lambda _crews, _place: 0)
        monkeypatch.setattr("reconciler.observe.doctor_sites.PATIENCE", 0.0)
        lyon, _paris = examine_sites(work, ("plant", "paris"), forks=1)
    assert (lyon.level, lyon.finding) == ("fail", "site lyon has no worker that takes work: nothing was heard of one")
