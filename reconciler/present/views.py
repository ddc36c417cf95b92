"""The views of documents that commands show: each has a text, and some have a Markdown of their own.

Those of what a spec declares stand in `declared`.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from reconciler.present.forecast_text import forecast_markdown, forecast_text
from reconciler.present.gitlab import terraform_report
from reconciler.present.history_text import history_rows, history_text, outcomes_rows, outcomes_text, run_text
from reconciler.present.junit import checks_junit, plan_junit, report_junit
from reconciler.present.listing_text import clients_markdown, clients_rows, clients_text
from reconciler.present.markdown import plan_markdown
from reconciler.present.plan_text import plan_text
from reconciler.present.render import Render, View
from reconciler.present.report_markdown import report_markdown
from reconciler.present.request_text import requests_rows, requests_text
from reconciler.present.rollout_text import rollouts_text
from reconciler.present.standing_text import standing_text
from reconciler.present.status_markdown import status_markdown
from reconciler.present.status_text import status_text
from reconciler.present.text import checks_text, report_text, repository_text, staged_text


def _page(name: str) -> Render:
    """Give what renders a document as a page; its modules are imported when there is one to render."""

    def shown(document: Any, **how: Any) -> str:
        made: Render = getattr(import_module(f"reconciler.present.html.{name}_view"), f"{name}_html")
        return made(document, **how)

    return shown


def _metrics(document: Any, **how: Any) -> str:
    from reconciler.present.prometheus import status_prometheus

    return status_prometheus(document, **how)


PLAN = View(plan_text, plan_markdown, gitlab=terraform_report, junit=plan_junit, html=_page("plan"), fits=True)
STATUS = View(status_text, status_markdown, html=_page("status"), prometheus=_metrics, fits=True)
REPORT = View(report_text, report_markdown, junit=report_junit, html=_page("report"), fits=True)
FORECAST = View(forecast_text, forecast_markdown, html=_page("forecast"), fits=True)
HISTORY = View(history_text, rows=history_rows, fits=True)
OUTCOMES = View(outcomes_text, rows=outcomes_rows, fits=True)
RUN = View(run_text, fits=True)
ROLLOUTS = View(rollouts_text, fits=True)
REQUESTS = View(requests_text, rows=requests_rows, fits=True)
REPOSITORY = View(repository_text)
STAGED = View(staged_text)
CHECKS = View(checks_text, junit=checks_junit, fits=True)
CLIENTS = View(clients_text, clients_markdown, clients_rows, fits=True)
STANDING = View(standing_text, fits=True)
