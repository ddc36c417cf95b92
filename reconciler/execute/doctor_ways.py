"""The doctor's try of a relay from one of its clients: only they know whether there is a way to its port.

The client fetches one small part, by what it has for that, and throws it away. It hashes what it got; what it answers
is a stranger's word all the same, and decides nothing but what is shown. Where nothing lies on the relay yet it asks
for what isn't there: that the relay says so shows that there is a way.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from reconciler.client.behind import Behind
from reconciler.client.protocol import clean
from reconciler.dispatch.jobs import Job, Made, by_site
from reconciler.model.batch import Probe, Target
from reconciler.model.report import Diagnosis

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from reconciler.dispatch.flow import Flow
    from reconciler.execute.filling import Filler
    from reconciler.model.batch import Answer
    from reconciler.model.client import Client
    from reconciler.model.relay import Held, RelaySpec
    from reconciler.workspace import Workspace

LARGEST = 1024 * 1024
"""Bytes of the largest part that is fetched for a try."""
TRIED = 3
"""How many clients are asked, where one can't be reached."""
TRIES, PAUSE = 15, 1.0
"""How often a web server that may not listen yet is asked, and after how many seconds again."""
_NOTHING = "0" * 64
"""The digest of no part."""
_ABSENT = re.compile(r"(?:error: |ERROR |HTTP/1\.[01] )404\b")
_NOT_YET = re.compile(r"[Rr]efused")
_NAMED = "give `host` of the relay an address, or a name that its clients resolve"
_OTHERS = "see what else has that port, or stands in between"
LEADS = "see that {url} leads to {store} there, and that others may read that"
_FIXES = {
    r"[Rr]esolv|[Nn]ame or service|bad address": _NAMED,
    r"other bytes": _OTHERS,
    r"(?:error: |ERROR |HTTP/1\.[01] )[345]\d\d\b": LEADS,
}
_OPEN = "let {client} and the other clients through to {url}: routes, and firewalls in between and on both machines; "
_OPEN += "try it there: curl -v {url}/"


class Ways:
    """Has clients try relays."""

    def __init__(self, work: Workspace, filler: Filler, clients: Iterable[Client], failed: Collection[str]) -> None:
        """Take clients, and the names of those that can't be reached; of each relay a few are asked at most."""
        self._work = work
        self._filler = filler
        self._served: set[str] = set()
        self._clients: dict[str, list[Client]] = {name: [] for name in work.spec.relays}
        behind = Behind(work.spec.relays, work.spec.groups)
        for client in clients:
            place = behind.of(client)
            if place.relay is None or place.apart:
                continue
            self._served.add(place.relay.name)
            those = self._clients[place.relay.name]
            if client.name not in failed and len(those) < TRIED:
                those.append(client)

    def examine(self, relay: RelaySpec, host: str, held: Held) -> Diagnosis:
        """Say whether a client gets a part of a host that is served at this moment."""
        what = f"relay {relay.name} ({host}) from its clients"
        if relay.name not in self._served:
            fix = "see `serves` of the relay"
            return Diagnosis(client="", what=what, level="warn", finding="no client may fetch from it", fix=fix)
        finding = "none of its clients could be reached, so that nobody knows whether they get to its port"
        said = Diagnosis("", what, "warn", finding)
        probe = _probe(relay, host, held)
        for client in self._clients[relay.name]:
            answer = self._answer(client, probe, 1 if relay.url or held.serving == "yes" else TRIES)
            if answer is not None and answer.error is None and not answer.not_begun:
                return _said(relay, client, probe, answer, what=f"relay {relay.name} ({host}) from {client.name}")
            if answer is not None and answer.error is not None:
                what = f"relay {relay.name} ({host}) from {client.name}"
                finding = f"{client.name} can't try it: {answer.error.brief}"
                fix = " ".join(answer.error.hint.split())
                said = Diagnosis(client="", what=what, level="warn", finding=finding, fix=fix)
        return said

    def _answer(self, client: Client, probe: Probe, tries: int) -> Answer | None:
        """Ask a client, and so often in all while a web server that was only just started refuses it."""

        def make(job: Job[None]) -> Made:
            return Made(task=probe, target=Target(client=job.client))

        answer = None
        for left in reversed(range(tries)):
            flow: Flow[None] = self._work.flow(make, forks=1)
            answer = next((one for _job, one in flow.answers(*by_site([client], self._work.spec.site_of))), None)
            if answer is None or not left or not _NOT_YET.search(answer.unfetched) or self._filler.wait(PAUSE):
                break
        return answer


def _probe(relay: RelaySpec, host: str, held: Held) -> Probe:
    """Say what is asked for: the smallest part, or what isn't there where there is none, or only large ones."""
    small = [(size, sha256) for sha256, size in held.parts.items() if 0 < size <= LARGEST]
    size, sha256 = min(small, default=(1, _NOTHING))
    return Probe(url=relay.base(host), size=size, sha256=sha256)


def _said(relay: RelaySpec, client: Client, probe: Probe, answer: Answer, *, what: str) -> Diagnosis:
    url = probe.url
    if answer.fetched:
        return Diagnosis("", what, "ok", f"{client.name} gets its parts from {url}")
    if not answer.unfetched:
        finding = f"{client.name} has neither curl nor wget, and gets its bytes over SSH"
        return Diagnosis(client="", what=what, level="warn", finding=finding, fix="install curl or wget there")
    why = clean(answer.unfetched)
    words = why.removeprefix(f"{url}/{probe.sha256}: ")
    if probe.sha256 == _NOTHING and _ABSENT.search(words):
        return Diagnosis("", what, "ok", f"{client.name} gets to {url}, and no part lies there yet for a try")
    fix = next((fix for pattern, fix in _FIXES.items() if re.search(pattern, words)), _OPEN)
    becomes = "waits until it does" if relay.then == "wait" else "gets its bytes over SSH"
    return Diagnosis(
        client="",
        what=what,
        level="fail",
        finding=f"{client.name} gets nothing there, and {becomes}: {why}",
        fix=fix.format(url=url, store=relay.store, client=client.name),
    )
