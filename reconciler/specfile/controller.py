"""The `controller` of the spec: how the fleet is kept current without anybody's asking."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconciler.model.controller import MODES, ControllerSpec, Retention
from reconciler.model.share import of_percent
from reconciler.specfile.tree import child_map, percent_of, span_of, value_place, word_of

if TYPE_CHECKING:
    from datetime import timedelta

    from reconciler.errors import Problem
    from reconciler.specfile.tree import Map


def read_controller(tree: Map, problems: list[Problem]) -> ControllerSpec:
    """Read `controller`; what it doesn't say is as `ControllerSpec` has it."""
    node, usual = child_map(tree, "controller"), ControllerSpec()
    ages = child_map(node, "retention")

    def span(where: Map, key: str, otherwise: timedelta) -> timedelta:
        return span_of(where, key, problems) or otherwise

    jitter = percent_of(node.get("jitter"))
    found = ControllerSpec(
        mode=word_of(node, "mode", MODES, usual.mode),
        interval=span(node, "interval", usual.interval),
        jitter=usual.jitter if jitter is None else of_percent(jitter),
        look=span(node, "look", usual.look),
        retention=Retention(
            span(ages, "plans", usual.retention.plans),
            span(ages, "runs", usual.retention.runs),
            span(ages, "samples", usual.retention.samples),
        ),
    )
    if found.look < found.interval and "look" in node:
        message = f"clients can't be looked at more often than the rest, which is each {node.get('interval', '5m')}"
        problems.append(value_place(node, "look").problem(message, "make `interval` shorter, or `look` longer"))
    return found
