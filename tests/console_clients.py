"""Clients for pages of the console: a small fleet with each kind of trouble, judged as a controller judges it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from reconciler.model.client import Client, Installed, Profile
from reconciler.model.settings import Have, pack
from reconciler.model.spec import Hold
from reconciler.model.version import SCHEMES
from reconciler.storage.ground import Facts, facts_document
from reconciler.storage.judging import Counted
from reconciler.storage.observations import Observation
from tests.console import NOW

if TYPE_CHECKING:
    from collections.abc import Sequence

    from reconciler.storage.state import State

WANTED = {"virus-pattern": "15.787.00", "spyware-pattern": "16.183.00", "scan-engine": "9.850.00"}
HOUR = timedelta(hours=1)
_SCHEME = next(iter(SCHEMES.values()))


@dataclass(frozen=True)
class Made:
    """A client of the fleet: what it has, and what it said when it was looked at last."""

    name: str
    group: str = "office"
    labels: tuple[str, ...] = ()
    has: dict[str, str] | None = None
    error: str = ""
    seen: timedelta | None = HOUR / 6
    damage: str = ""


CURRENT = dict(WANTED)
ODD = "odd/na me?#%&\u00fc<b>"


def fleet(many: int = 0, said: str = "it is away") -> list[Made]:
    """Give the clients; `many` of them are current, beside one of each kind of trouble, with what others say."""
    late = {**CURRENT, "virus-pattern": "15.785.00", "spyware-pattern": "16.179.00"}
    return [
        *(Made(f"pc-{number:04}", labels=("canary",) if number < 3 else (), has=CURRENT) for number in range(many)),
        Made("branch-1", "branch", ("till", "berlin"), late),
        Made("branch-2", "branch", ("till",), {**CURRENT, "virus-pattern": "15.789.00"}),
        Made("branch-3", "branch", (), {"scan-engine": "9.850.00"}),
        Made("damaged-1", "branch", (), CURRENT, damage=f"a file is missing: {said}"),
        Made("silent-1", "office", ("canary",), late, f"did not answer: 192.0.2.7:22 didn't answer: {said}", 9 * HOUR),
        Made("sudo-1", "office", (), CURRENT, f"sudo refused: {said}", 30 * HOUR),
        Made("held-1", "office", ("lab",), late),
        Made("new-1", "branch", seen=None),
        Made(ODD, "branch", (said[:60],), late),
    ]


def keep_fleet(state: State, made: Sequence[Made]) -> None:
    """Have the state know the clients, and what the controller says of them."""
    for group in ("office", "branch"):
        members = [one for one in made if one.group == group]
        listed = [Client(one.name, group, f"{at}.example", labels=one.labels) for at, one in enumerate(members)]
        state.sync_clients(group, listed)
    seen = []
    for one in made:
        if one.has is not None:
            profile = Profile("linux-x86_64", tuple(_installed(one)), tools=("gzip", "sha256sum"), memory=2048)
            at = NOW - (one.seen or HOUR)
            seen.append(_seen(one, profile, "", at))
        if one.error:
            seen.append(_seen(one, None, one.error, NOW - HOUR))
    state.record_observations(seen)

    def measure(component: str, installed: Installed | None, _platform: str) -> Counted:
        wanted = WANTED[component]
        if installed is None:
            return Counted("missing", wanted)
        if installed.damage:
            return Counted("damaged", wanted)
        order = _SCHEME.parse(installed.version), _SCHEME.parse(wanted)
        return Counted("updated" if order[0] == order[1] else "outdated" if order[0] < order[1] else "ahead", wanted)

    facts = Facts(
        groups=dict.fromkeys(("office", "branch"), tuple(WANTED)),
        schemes=dict.fromkeys(WANTED, _SCHEME),
        holds=[Hold("held-*", "moving to another floor")],
        quarantine=timedelta(days=1),
        lineage="",
        epoch=0,
        moved={},
    )
    state.judge_profiles(tuple(WANTED), measure)
    state.keep_snapshots("facts", {"": facts_document(facts)})


def _installed(one: Made) -> Any:
    for component, version in sorted((one.has or {}).items()):
        odd = bool(one.damage) and component == "scan-engine"
        yield Installed(
            component,
            version,
            "" if odd else "a" * 64,
            previous="1.0.0" if component == "virus-pattern" else "",
            damage=one.damage if odd else "",
            kept=(("15.783.00", "b" * 64),) if component == "virus-pattern" else (),
        )


def _seen(one: Made, profile: Profile | None, error: str, at: Any) -> Observation:
    has = pack({"settings/agent.conf": Have("0123456789ab", "c" * 64)}) if profile else None
    return Observation(client=one.name, profile=profile, free=12 << 30, error=error, at=at, settings=has)
