"""The `notify` of the spec: who is told of what."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from reconciler.model.notice import CONDITIONS, SEVERITIES, NotifierSpec, Threshold
from reconciler.model.share import of_percent
from reconciler.specfile.tree import Map, child_map, child_seq, percent_of, span_of, value_place, word_of

if TYPE_CHECKING:
    from reconciler.errors import Problem
    from reconciler.specfile.options import OptionReader
    from reconciler.specfile.proxies import ProxyReader

_KEYS = frozenset(
    [
        *("name", "type", "conditions", "min_severity", "repeat", "for", "outdated", "unknown", "grouped"),
        *("timeout", "proxy"),
    ]
)
NEVER = "never"
LONGEST = timedelta(minutes=1)
"""For one message: a controller has more to do than to wait for a chat."""
_OUTDATED, _UNKNOWN = Threshold(0.1, timedelta(days=7)), Threshold(0.2, timedelta(hours=1))


def read_notify(
    tree: Map, options: OptionReader, proxies: ProxyReader, problems: list[Problem]
) -> tuple[NotifierSpec, ...]:
    """Read `notify`, in the order of the file."""
    found: dict[str, NotifierSpec] = {}
    for node in child_seq(tree, "notify"):
        if not isinstance(node, Map) or not isinstance(node.get("name"), str):
            continue
        name = node["name"]
        if name in found:
            problems.append(value_place(node, "name").problem(f"there is another notifier `{name}` above"))
        config = options.read("notifier", node, _KEYS)
        if config is None:
            continue
        asked = child_seq(node, "conditions")
        found[name] = NotifierSpec(
            name=name,
            plugin=config,
            on=frozenset(kind for kind in CONDITIONS if kind in asked)
            if "conditions" in node
            else frozenset(CONDITIONS),
            min_severity=word_of(node, "min_severity", SEVERITIES),
            repeat=None if node.get("repeat") == NEVER else span_of(node, "repeat", problems) or timedelta(hours=24),
            patience=_patience(node, problems),
            outdated=_threshold(node, "outdated", _OUTDATED, problems),
            unknown=_threshold(node, "unknown", _UNKNOWN, problems),
            grouped=node.get("grouped") is not False,
            timeout=_timeout(node, problems),
            proxy=proxies.named(node),
        )
    return tuple(found.values())


def _patience(node: Map, problems: list[Problem]) -> timedelta:
    if node.get("for") == "0s":
        return timedelta(0)
    return span_of(node, "for", problems) or timedelta(minutes=10)


def _timeout(node: Map, problems: list[Problem]) -> timedelta:
    found = span_of(node, "timeout", problems) or timedelta(seconds=15)
    if found > LONGEST:
        problems.append(value_place(node, "timeout").problem("a message takes at most 1m"))
    return found


def _threshold(node: Map, key: str, usual: Threshold, problems: list[Problem]) -> Threshold:
    inner = child_map(node, key)
    above = percent_of(inner.get("above"))
    return Threshold(usual.above if above is None else of_percent(above), span_of(inner, "for", problems) or usual.span)
