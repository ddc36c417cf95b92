"""Whether conditions (`formats.where`) hold of a client: of what it is, and of its components.

All conditions on a component, its version and its state must hold of the same component. A state is a word for the
component, or for the client as a whole: `state=outdated state=held` finds clients that are both. What is missing or
damaged is outdated, too, and further behind than any number of releases; what isn't known is behind by none. A version
of none is `missing`, and fits no other but with `!=`. What is written like a glob also fits as it is written.
"""

from __future__ import annotations

from datetime import timedelta
from fnmatch import translate
from math import inf
from re import IGNORECASE, escape
from re import compile as compiled
from types import MappingProxyType
from typing import TYPE_CHECKING

from reconciler.formats.duration import parse_duration
from reconciler.formats.where import COMPARE, MISSING, NEVER, OF_COMPONENT, Bound
from reconciler.hints import suggestion

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
    from datetime import datetime

    from reconciler.formats.where import Condition
    from reconciler.model.listing import ComponentState, ListedComponent
    from reconciler.model.version import VersionScheme

    ByComponent = Callable[[ListedComponent, Collection[str]], bool]

_MORE: Mapping[ComponentState, tuple[str, ...]] = {
    "missing": ("missing", "outdated"),
    "damaged": ("damaged", "outdated"),
    "deferred": ("deferred", "updated"),
}
"""What else a component is that is this."""


class Filter:
    """Conditions that are ready to be asked."""

    def __init__(
        self,
        conditions: Sequence[Condition],
        schemes: Mapping[str, VersionScheme],
        groups: Collection[str],
        now: datetime,
        odd_versions: Mapping[str, Collection[str]] = MappingProxyType({}),
    ) -> None:
        """Take the schemes of managed components, and the groups that there are.

        `odd_versions` are such as clients say that they have, and that are none in the scheme of the component.

        Raises:
            ValueError: a condition names a component or a group that isn't there, or a version that is none.
        """
        self._now = now
        self.conditions = tuple(conditions)
        known = [id_ for id_ in schemes if self.takes_component(id_)]
        for one in conditions:
            if one.field in {"component", "group"}:
                _check_names(one, schemes if one.field == "component" else groups)
        self._schemes = schemes
        self._odd = odd_versions
        of_component = [one for one in conditions if one.field in OF_COMPONENT]
        self._by_component: list[ByComponent] = [self._of_component(one, known) for one in of_component]
        self._refuses = [one.sign == "!=" for one in of_component]
        self._rest = [one for one in conditions if one.field not in OF_COMPONENT]
        self._globs = {
            one: [compiled(translate(value)) for value in one.values] for one in self._rest if one.field in _NAMES
        }
        self._parts = {one: compiled(escape(one.values[0]), IGNORECASE) for one in self._rest if one.field == "error"}

    @property
    def asks_current(self) -> bool:
        """True when some condition is about whether a client is updated in all that it should have."""
        return any(one.field == "current" for one in self._rest)

    @property
    def asks_components(self) -> bool:
        """True when some condition is about components, so that those are shown of which it holds."""
        return bool(self._by_component)

    def components(self, found: Iterable[ListedComponent], words: Collection[str]) -> tuple[ListedComponent, ...]:
        """Give those of a client's components of which all conditions hold; `words` are the states of the client."""
        return tuple(one for one in found if all(holds(one, words) for holds in self._by_component))

    def may_take(self, one: ListedComponent, *, possible: Collection[str] = (), certain: Collection[str] = ()) -> bool:
        """Say whether all conditions on components may hold of one: `certain` are states that its client is in.

        `possible` are all that it may be in.
        """
        holding = zip(self._by_component, self._refuses, strict=True)
        return all(holds(one, certain if refuses else possible) for holds, refuses in holding)

    def takes_group(self, group: str) -> bool:
        """Say whether all conditions on the group hold of one."""
        return self._takes_name("group", group)

    def takes_component(self, component: str) -> bool:
        """Say whether all conditions on the component's id hold of one."""
        asked = (one for one in self.conditions if one.field == "component")
        return all(_any_glob(one.values, component) is (one.sign == "=") for one in asked)

    def takes_platform(self, platform: str) -> bool:
        """Say whether all conditions on the platform hold of one."""
        return self._takes_name("platform", platform)

    def takes_labels(self, labels: Collection[str]) -> bool:
        """Say whether all conditions on labels hold of those of a client."""
        return self._takes_names("label", labels)

    def _takes_name(self, field: str, text: str) -> bool:
        return self._takes_names(field, (text,))

    def _takes_names(self, field: str, texts: Collection[str]) -> bool:
        asked = [one for one in self._rest if one.field == field]
        return all(self._fits(one, texts) is (one.sign == "=") for one in asked)

    def _fits(self, one: Condition, texts: Collection[str]) -> bool:
        """Say whether one of some texts is one of the values, or matches one."""
        return any(text in one.values or any(glob.match(text) for glob in self._globs[one]) for text in texts)

    def takes(
        self,
        *,
        name: str,
        group: str,
        labels: Collection[str],
        platform: str,
        seen: datetime | None,
        error: str,
        reason: str,
        known: bool,
        current: bool = False,
    ) -> bool:
        """Say whether all conditions on a client itself hold."""
        texts = {"name": (name,), "group": (group,), "label": labels, "platform": (platform,)}
        for one in self._rest:
            if one.field in _NAMES:
                holds = self._fits(one, texts[one.field])
            elif one.field == "reason":
                holds = reason in one.values
            elif one.field == "known":
                holds = ("yes" if known else "no") in one.values
            elif one.field == "current":
                holds = ("yes" if current else "no") in one.values
            elif one.field == "seen":
                holds = self._seen(one, seen)
            else:
                holds = self._parts[one].search(error) is not None
            if holds is one.sign.startswith("!"):
                return False
        return True

    def _seen(self, condition: Condition, seen: datetime | None) -> bool:
        if condition.values == (NEVER,):
            return seen is None
        span = parse_duration(condition.values[0])
        ago = None if seen is None else max(self._now - seen, timedelta())
        return (ago is None or ago > span) if condition.sign == ">" else (ago is not None and ago < span)

    def _of_component(self, condition: Condition, known: Sequence[str]) -> ByComponent:
        wanted = condition.sign != "!="
        if condition.field == "component":
            return lambda one, _words: _any_glob(condition.values, one.id) is wanted
        if condition.field == "state":
            values = frozenset(condition.values)
            return lambda one, words: (
                (not values.isdisjoint(_MORE.get(one.state, (one.state,))) or not values.isdisjoint(words)) is wanted
            )
        if condition.field == "behind":
            compare, numbers = COMPARE[condition.sign], [int(value) for value in condition.values]
            return lambda one, _words: (
                one.state != "unknown" and any(compare(_behind(one), number) for number in numbers)
            )
        return self._of_version(condition, known)

    def _of_version(self, condition: Condition, known: Sequence[str]) -> ByComponent:
        bounds: dict[str, list[Bound]] = {}
        wrong: ValueError | None = None
        for id_ in known:
            scheme = self._schemes[id_]
            odd = self._odd.get(id_, ()) if condition.sign in {"=", "!="} else ()
            exact = [value for value in condition.values if value in odd or value == MISSING]
            try:
                bounds[id_] = [Bound(condition.sign, value, scheme) for value in condition.values if value not in exact]
            except ValueError as error:
                wrong = error
                if exact:
                    bounds[id_] = []
        if not bounds and wrong is not None:
            raise ValueError(f"{condition.text}: {wrong}") from None
        together = all if condition.sign == "!=" else any

        def holds(one: ListedComponent, _words: Collection[str]) -> bool:
            scheme, own = self._schemes.get(one.id), bounds.get(one.id)
            if own is None or scheme is None:
                return False
            if (one.version or MISSING) in condition.values and condition.sign in {"=", "!="}:
                return condition.sign == "="
            if not scheme.accepts(one.version):
                return condition.sign == "!="
            key = scheme.parse(one.version).key
            return together(bound.holds(key) for bound in own)

        return holds


def _behind(one: ListedComponent) -> float:
    """Give how many releases a component lacks; what is outdated otherwise is further behind than any number."""
    return (one.behind or inf) if "outdated" in _MORE.get(one.state, (one.state,)) else 0


_NAMES = frozenset(["name", "group", "label", "platform"])


def _any_glob(values: Iterable[str], text: str) -> bool:
    return any(value == text or (_is_glob(value) and _matches(value, text)) for value in values)


def _matches(glob: str, text: str) -> bool:
    return compiled(translate(glob)).match(text) is not None


def _is_glob(text: str) -> bool:
    return any(char in text for char in "*?[")


def _check_names(condition: Condition, known: Collection[str]) -> None:
    for value in condition.values:
        if not any(_any_glob((value,), name) for name in known):
            hint = suggestion(value, known, f"{condition.field}s are")
            more = f"; {hint}" if hint else ""
            raise ValueError(f"{condition.text}: there is no {condition.field} `{value}`{more}")
