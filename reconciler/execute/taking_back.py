"""What is checked here, on the server, once a client has switched: who is found bad goes back to what it had."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from reconciler.guards import Caught
from reconciler.model.deploy import Step
from reconciler.model.release import ANY_PLATFORM
from reconciler.model.settings import is_setting

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from reconciler.execute.checks import Checks
    from reconciler.execute.results import Result
    from reconciler.model.batch import Answer, StepDone
    from reconciler.model.deploy import Outcome
    from reconciler.model.release import Release

_UNKNOWN = "the version before isn't known here, so it has this one"


@dataclass(frozen=True, slots=True)
class Return:
    """A client that is to go back: what became of its task, and for components why, with the step that takes them back.

    Where there is no step the version before isn't known.
    """

    result: Result
    troubles: Mapping[str, str]
    steps: Mapping[str, Step]

    def over(self, answer: Answer) -> Result:
        """Give what became of the task in the end, by the answer to the way back."""
        done = {one.outcome.component: one.outcome for one in answer.steps}
        error = answer.error.brief if answer.error is not None else answer.not_begun
        return replace(
            self.result,
            done=tuple(self._one_over(one, done.get(one.outcome.component), error) for one in self.result.done),
        )

    def _one_over(self, one: StepDone, back: Outcome | None, error: str) -> StepDone:
        trouble = self.troubles.get(one.outcome.component)
        if trouble is None:
            return one
        bad = replace(one.outcome, status="failed", message=trouble, reason="check", loaded="", unsaid="")
        if one.outcome.component not in self.steps:
            bad = replace(bad, message=f"{trouble}; {_UNKNOWN}")
        elif back is None or back.status != "changed":
            why = error if back is None else back.message or back.status
            bad = replace(bad, message=f"{trouble}; going back failed: {why}")
        else:
            text = f"{trouble}; it is back at {one.from_version}"
            way = self.steps[one.outcome.component]
            bad = replace(bad, version=way.to_version, digest=way.to_digest, message=text)
        return replace(one, outcome=bad)


def to_check(result: Result, checks: Checks) -> list[Step]:
    """Give the steps that changed a client and are checked here."""
    group = result.task.client.group
    return [
        result.steps[outcome.component]
        for outcome in result.outcomes
        if outcome.status == "changed"
        and not is_setting(outcome.component)
        and checks.wanted(group, outcome.component, where="server", phase="switched")
    ]


def troubles_of(result: Result, steps: list[Step], checks: Checks) -> Callable[[], dict[str, str]]:
    """Give what finds out, in a thread of its own, what is bad about a client that changed, by component."""
    client = result.task.client

    def find() -> dict[str, str]:
        found = {}
        for step in steps:
            with Caught() as caught:
                trouble = checks.of_client(client.group, step.component, step.to_version, client)
            if caught.error is not None:  # what nobody could check doesn't stay
                trouble = caught.brief
            if trouble:
                found[step.component] = trouble
        return found

    return find


def way_back(result: Result, troubles: Mapping[str, str], releases: Mapping[str, Release]) -> Return:
    """Give how a client goes back; `releases` are those of the store, by digest."""
    done = {one.outcome.component: one for one in result.done}
    steps: dict[str, Step] = {}
    for component in troubles:
        step = result.steps[component]
        before = _before(result, step, done[component].from_version, releases)
        if before is not None:
            steps[component] = Step(
                component=component,
                from_version=step.to_version,
                from_digest=step.to_digest,
                to_version=before.version,
                to_digest=before.digest,
                files=before.files,
                layout=step.layout,
                held=True,
                hooks=step.hooks,
            )
    return Return(result, troubles, steps)


def _before(result: Result, step: Step, version: str, releases: Mapping[str, Release]) -> Release | None:
    """Give the release that a client had before a step, by what it said if that wasn't what was planned."""
    if version == step.from_version:
        return releases.get(step.from_digest)
    profile = result.task.profile
    platforms = {ANY_PLATFORM} | ({profile.platform} if profile is not None else set())
    mine = (one for one in releases.values() if (one.component, one.version) == (step.component, version))
    return next((one for one in mine if one.platform in platforms), None)
