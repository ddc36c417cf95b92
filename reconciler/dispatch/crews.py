"""The crews of a run: one for each site, and one for all that is of none; each is opened for its first client.

A site's crew that can't be opened, or breaks, is no reason for the others to stop: its clients can't be reached, and it
says why. What breaks in the crew of no site ends the run, and so does a limit of this machine.
"""

from __future__ import annotations

import time
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from reconciler.errors import PluginError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence
    from contextlib import AbstractContextManager
    from threading import Event

    from reconciler.contracts import Crew
    from reconciler.dispatch.ledger import Ledger
    from reconciler.model.batch import Halt, Order, Report
    from reconciler.model.client import Client


_LOOK = 0.2
"""Seconds between two looks at who works at a site."""


class Place(NamedTuple):
    """Where a client is worked on: a site, empty where it is of none, and a lane of its crew."""

    site: str
    lane: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CrewMaker:
    """How crews come about: `opens` gives one for a site and a number of forks, `site_of` the site of a group.

    `outlives` says whether the workers of a site go on without this process.
    """

    opens: Callable[[str, int], AbstractContextManager[Crew]]
    site_of: Callable[[str], str]
    outlives: Callable[[str], bool]


class Crews:
    """All crews that are open. Used from one thread."""

    def __init__(self, maker: CrewMaker, ledger: Ledger) -> None:
        """Open none yet; the `ledger` is that of all batches that are given."""
        self.ledger = ledger
        self._maker = maker
        self._forks = 0
        self._stack = ExitStack()
        self._open: dict[str, Crew] = {}
        self._broken: dict[str, str] = {}
        self._halted: set[Halt] = set()

    def ready(self, forks: int) -> None:
        """Have crews work on so many clients at a time; those that are open for another number are closed."""
        if forks != self._forks:
            self.close()
            self._forks = forks

    def place(self, client: Client) -> Place:
        """Give the place of a client."""
        site = self._maker.site_of(client.group)
        crew = self._crew(site)
        return Place(site, crew.lane(client.name) if crew is not None else "")

    @property
    def sites(self) -> list[str]:
        """The sites whose crews are open."""
        return list(self._open)

    def outlives(self, site: str) -> bool:
        """Say whether workers of a site go on without this process."""
        return self._maker.outlives(site)

    def refusal(self, place: Place) -> str:
        """Say why nobody works at a place; empty where somebody does."""
        crew = self._crew(place.site)
        return self._broken[place.site] if crew is None else crew.refusal(place.lane)

    def wait_for(self, site: str, patience: float, stop: Event) -> str:
        """Wait until it is known whether somebody works at a site; gives why nobody does, empty where somebody does.

        Nothing may be under way there: what is reported meanwhile is lost.

        Raises:
            LimitError: this machine has no room for more.
            PluginError: the crew is broken, or it is that of no site.
        """
        crew = self._crew(site)
        place = Place(site, crew.lane("") if crew is not None else "")
        until = time.monotonic() + patience
        while not (why := self.refusal(place)) and self.room(place) <= 0:
            if stop.is_set() or time.monotonic() >= until:
                return f"site {site} has no worker that takes work: nothing was heard of one"
            self.receive(site, _LOOK)
        return why

    def room(self, place: Place) -> int:
        """Say for how many clients more there is room."""
        crew = self._crew(place.site)
        return 0 if crew is None else crew.room(place.lane)

    def size(self, place: Place) -> int:
        """Say how many clients a batch should have."""
        crew = self._crew(place.site)
        return 1 if crew is None else max(crew.size, 1)

    def give(self, place: Place, order: Order) -> str:
        """Have a batch carried out; gives why it can't be, which is a site's trouble."""
        crew = self._crew(place.site)
        if crew is None:
            return self._broken[place.site]
        try:
            crew.give(place.lane, order)
        except PluginError as error:
            self._break(place.site, error)
            return error.message
        return ""

    def receive(self, site: str, timeout: float) -> Sequence[Report] | None:
        """Give what a site's crew reported; None when it is broken, and will say nothing any more.

        Raises:
            LimitError: this machine has no room for more.
            PluginError: the crew of no site is broken.
        """
        crew = self._crew(site)
        if crew is None:
            return None
        try:
            return crew.receive(timeout)
        except PluginError as error:
            self._break(site, error)
            return None

    def halt(self, halted: Collection[Halt]) -> None:
        """Tell all crews of rollouts that go no further, and those that are opened later."""
        new = set(halted) - self._halted
        if new:
            self._halted |= new
            for crew in self._open.values():
                crew.halt(new)

    def go_on(self, rollouts: Collection[Halt]) -> None:
        """Let rollouts go on that were halted before, as when people resumed one: a halt ends with its crew."""
        if self._halted & set(rollouts):
            self._halted.clear()
            self.close()

    def stop(self) -> None:
        """Have all crews begin nothing any more."""
        for crew in self._open.values():
            crew.stop()

    def close(self) -> None:
        """Close all crews: what is under way is waited for. The next client opens new ones."""
        self._open.clear()
        self._broken.clear()
        self._stack.close()

    def _crew(self, site: str) -> Crew | None:
        """Give the crew of a site; None where there is none, and `_broken` says why."""
        if site in self._broken:
            return None
        if site not in self._open:
            try:
                self._open[site] = self._stack.enter_context(self._maker.opens(site, max(self._forks, 1)))
                if self._halted:
                    self._open[site].halt(self._halted)
            except PluginError as error:
                self._break(site, error)
                return None
        return self._open[site]

    def _break(self, site: str, error: PluginError) -> None:
        """Remember why a site has no crew.

        Raises:
            PluginError: it is the crew of no site.
        """
        self._open.pop(site, None)
        if not site:
            raise error
        self._broken[site] = f"site {site} has no worker: {error.message}"
