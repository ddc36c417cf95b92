"""Who runs a command where, as pipelines say it in well-known variables: the system, the job, who began it, the commit.

What stands in an environment is text of others: each value is cut, and shown without what could move a cursor.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from reconciler.errors import printable

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_VALUE = 300
"""Characters that are kept of a value."""


class System(NamedTuple):
    """A pipeline system: the variable that tells it, and which have job, actor, commit and branch or tag.

    Of several the first that is set counts; one with `{…}` is made of others.
    """

    name: str
    mark: str
    job: tuple[str, ...]
    actor: tuple[str, ...]
    commit: tuple[str, ...]
    ref: tuple[str, ...]


SYSTEMS = (
    System(
        name="GitHub Actions",
        mark="GITHUB_ACTIONS",
        job=("{GITHUB_SERVER_URL}/{GITHUB_REPOSITORY}/actions/runs/{GITHUB_RUN_ID}", "GITHUB_RUN_ID"),
        actor=("GITHUB_TRIGGERING_ACTOR", "GITHUB_ACTOR"),
        commit=("GITHUB_SHA",),
        ref=("GITHUB_HEAD_REF", "GITHUB_REF_NAME", "GITHUB_REF"),
    ),
    System(
        name="GitLab CI",
        mark="GITLAB_CI",
        job=("CI_JOB_URL", "CI_PIPELINE_URL", "CI_JOB_ID"),
        actor=("GITLAB_USER_LOGIN", "GITLAB_USER_NAME"),
        commit=("CI_COMMIT_SHA",),
        ref=("CI_COMMIT_REF_NAME",),
    ),
    System(
        name="Jenkins",
        mark="JENKINS_URL",
        job=("BUILD_URL", "BUILD_TAG"),
        actor=("BUILD_USER_ID", "CHANGE_AUTHOR"),
        commit=("GIT_COMMIT",),
        ref=("CHANGE_BRANCH", "BRANCH_NAME", "GIT_BRANCH"),
    ),
    System(
        name="Azure Pipelines",
        mark="TF_BUILD",
        job=("{SYSTEM_COLLECTIONURI}{SYSTEM_TEAMPROJECT}/_build/results?buildId={BUILD_BUILDID}", "BUILD_BUILDID"),
        actor=("BUILD_REQUESTEDFOR",),
        commit=("BUILD_SOURCEVERSION",),
        ref=("BUILD_SOURCEBRANCHNAME",),
    ),
    System(
        name="Bitbucket Pipelines",
        mark="BITBUCKET_BUILD_NUMBER",
        job=("{BITBUCKET_GIT_HTTP_ORIGIN}/pipelines/results/{BITBUCKET_BUILD_NUMBER}", "BITBUCKET_BUILD_NUMBER"),
        actor=("BITBUCKET_STEP_TRIGGERER_UUID",),
        commit=("BITBUCKET_COMMIT",),
        ref=("BITBUCKET_BRANCH", "BITBUCKET_TAG"),
    ),
    System(
        name="CI",
        mark="CI",
        job=("CI_JOB_URL", "BUILD_URL"),
        actor=(),
        commit=("CI_COMMIT_SHA", "GIT_COMMIT"),
        ref=("CI_COMMIT_REF_NAME",),
    ),
)
"""The systems that are known; the first that fits counts."""


def ci_origin(environ: Mapping[str, str]) -> dict[str, str]:
    """Give what a pipeline says of itself, under `ci`, `job`, `actor`, `commit` and `ref`; nothing outside of one."""
    system = next((one for one in SYSTEMS if environ.get(one.mark, "") not in {"", "false", "0"}), None)
    if system is None:
        return {}
    parts = {key: _first(getattr(system, key), environ) for key in ("job", "actor", "commit", "ref")}
    return bounded({"ci": system.name, **parts})


def bounded(values: Mapping[str, str]) -> dict[str, str]:
    """Give values as they may be kept: printable, cut, and none that is empty."""
    cut = {key: printable(" ".join(value.split())[:MAX_VALUE]) for key, value in values.items()}
    return {key: value for key, value in cut.items() if value}


def _first(names: tuple[str, ...], environ: Mapping[str, str]) -> str:
    for name in names:
        if "{" not in name:
            value = environ.get(name, "")
        else:
            used = [part.partition("}")[0] for part in name.split("{")[1:]]
            known = {one: environ.get(one, "") for one in used}
            value = "".join(_fill(name, known)) if all(known.values()) else ""
        if value:
            return value
    return ""


def _fill(template: str, values: Mapping[str, str]) -> list[str]:
    """Put values in place of their names; what stands in a value is never taken for a name."""
    first, *rest = template.split("{")
    return [first, *(values[name] + tail for name, _, tail in (part.partition("}") for part in rest))]
