"""The views of documents that commands show: each has a text, and some have a Markdown of their own.

Those of what a spec declares stand in `declared`.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import Any

from reconciler.present.render import View


@dataclass(frozen=True, slots=True)
class Late:
    """What renders documents, by its module and its name there: imported when there is a document to render."""

    module: str
    name: str

    def found(self) -> Any:
        """Import it."""
        return getattr(import_module(f"reconciler.present.{self.module}"), self.name)

    def __call__(self, *document: Any, **how: Any) -> Any:
        """Render a document."""
        return self.found()(*document, **how)


def _of(module: str, name: str = "") -> Late:
    return Late(module, name or module)


def _page(name: str) -> Late:
    return Late(f"html.{name}_view", f"{name}_html")


PLAN = View(
    _of("plan_text"),
    _of("markdown", "plan_markdown"),
    gitlab=_of("gitlab", "terraform_report"),
    junit=_of("junit", "plan_junit"),
    html=_page("plan"),
    fits=True,
)
STATUS = View(
    _of("status_text"),
    _of("status_markdown"),
    html=_page("status"),
    prometheus=_of("prometheus", "status_prometheus"),
    fits=True,
)
REPORT = View(
    _of("text", "report_text"),
    _of("report_markdown"),
    junit=_of("junit", "report_junit"),
    html=_page("report"),
    fits=True,
)
FORECAST = View(_of("forecast_text"), _of("forecast_text", "forecast_markdown"), html=_page("forecast"), fits=True)
HISTORY = View(_of("history_text"), rows=_of("history_text", "history_rows"), fits=True)
OUTCOMES = View(_of("history_text", "outcomes_text"), rows=_of("history_text", "outcomes_rows"), fits=True)
RUN = View(_of("history_text", "run_text"), fits=True)
ROLLOUTS = View(_of("rollout_text", "rollouts_text"), fits=True)
REQUESTS = View(_of("request_text", "requests_text"), rows=_of("request_text", "requests_rows"), fits=True)
REPOSITORY = View(_of("text", "repository_text"))
STAGED = View(_of("text", "staged_text"))
CHECKS = View(_of("text", "checks_text"), junit=_of("junit", "checks_junit"), fits=True)
CLIENTS = View(
    _of("listing_text", "clients_text"),
    _of("listing_text", "clients_markdown"),
    _of("listing_text", "clients_rows"),
    fits=True,
)
STANDING = View(_of("standing_text"), fits=True)
