"""The doctor: looks at the way to clients and at what they have, and names for each trouble what fixes it."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from reconciler.client.protocol import TOOLS_HINT, UNWRITABLE_HINT, lacking
from reconciler.dispatch.jobs import Job, Made, by_site
from reconciler.errors import AuthenticationError, ClientError, HostKeyError
from reconciler.model.batch import Look, Target
from reconciler.model.deploy import Hooks
from reconciler.model.report import Diagnosis
from reconciler.present.words import size_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from reconciler.errors import UpdoserError
    from reconciler.model.batch import Answer
    from reconciler.model.client import Client, Facts
    from reconciler.model.deploy import Layout
    from reconciler.model.report import DoctorLevel
    from reconciler.model.spec import Spec
    from reconciler.workspace import Workspace

LOW_DISK = 256 * 1024**2
SLOW_SHELL = 0.3
"""A login shell that reads a long profile costs each client of each run that much; see `Facts.seconds`."""
_STAGES = ((AuthenticationError, "authentication"), (HostKeyError, "host key"), (ClientError, "client"))
UNREACHED = {"connection", *(stage for _kind, stage in _STAGES)}
"""What fails of a client that can't be asked anything."""
_DELTA_TOOLS = ("zstd", "bspatch")


def examine(clients: Iterable[Client], work: Workspace, *, forks: int) -> Iterator[Diagnosis]:
    """Look at each client and give what was found, client by client in their order."""
    listed = list(clients)

    @cache
    def task_of(group: str) -> Look:
        return Look(tools="commands" if _runs_commands(work.spec, group) else "files")

    def make(job: Job[None]) -> Made:
        return Made(task=task_of(job.client.group), target=Target(client=job.client))

    flow = work.flow(make, forks=forks)
    checks = {
        job.client.name: _found(job.client, answer, work)
        for job, answer in flow.answers(*by_site(listed, work.spec.site_of))
    }
    for client in listed:
        yield from checks.get(client.name, ())


def _found(client: Client, answer: Answer, work: Workspace) -> list[Diagnosis]:
    if answer.error is not None:
        return [_failed(client, answer.error)]
    facts, seconds = answer.facts, answer.seconds
    if facts is None:
        return []
    layouts = [component.layout for component in work.spec.components.values() if component.layout.targets]
    return [
        Diagnosis(client.name, "connection", "ok", f"connected in {seconds * 1000:.0f} ms"),
        _rights(client, facts),
        _shell(client, facts),
        _install_root(client, facts),
        _tools(client, facts),
        _disk(client, facts),
        _selinux(client, facts, layouts),
        _apparmor(client, facts, layouts),
    ]


def _rights(client: Client, facts: Facts) -> Diagnosis:
    who = "root" if facts.user == 0 else f"user {facts.user}"
    return Diagnosis(client.name, "become", "ok", f"works as {who}")


def _failed(client: Client, error: UpdoserError) -> Diagnosis:
    stage = next((stage for kind, stage in _STAGES if isinstance(error, kind)), "connection")
    return Diagnosis(
        client=client.name,
        what=stage,
        level="fail",
        finding=" ".join(error.message.split()),
        fix=" ".join(error.hint.split()),
    )


def _shell(client: Client, facts: Facts) -> Diagnosis:
    took = f"the client's shell took {facts.seconds * 1000:.0f} ms"
    if facts.seconds <= SLOW_SHELL:
        return Diagnosis(client.name, "shell", "ok", took)
    return Diagnosis(
        client=client.name,
        what="shell",
        level="warn",
        finding=took,
        fix="shorten what the login shell reads (~/.bashrc, ~/.profile) for this user",
    )


def _runs_commands(spec: Spec, group: str) -> bool:
    """Say whether clients of a group run checks or hooks, or ask their engines."""
    of_group = spec.groups[group]
    return (
        any(check.where == "client" for check in of_group.checks)
        or any(setting.validate or setting.hook for setting in of_group.settings)
        or any(component.hooks != Hooks() or component.loaded for component in spec.components.values())
    )


def _tools(client: Client, facts: Facts) -> Diagnosis:
    if facts.lacks:
        return Diagnosis(client=client.name, what="tools", level="fail", finding=lacking(facts.lacks), fix=TOOLS_HINT)
    have = [tool for tool in _DELTA_TOOLS if tool in facts.profile.tools]
    if "zstd" in have:
        return Diagnosis(client.name, "tools", "ok", f"has {', '.join(have)}")
    return Diagnosis(
        client=client.name,
        what="tools",
        level="warn",
        finding="no zstd of 1.4.5 or later: it gets packed fulls",
        fix="apt-get install zstd",
    )


def _install_root(client: Client, facts: Facts) -> Diagnosis:
    if facts.unmade:
        return Diagnosis(
            client=client.name,
            what="install_root",
            level="fail",
            finding=f"{facts.unmade} can't be made",
            fix=UNWRITABLE_HINT,
        )
    return Diagnosis(client.name, "install_root", "ok", f"{client.install_root}, platform {facts.profile.platform}")


def _disk(client: Client, facts: Facts) -> Diagnosis:
    level: DoctorLevel = "ok" if facts.free >= LOW_DISK else "warn"
    fix = "" if level == "ok" else f"make room below {client.install_root}, or lower client_keep"
    return Diagnosis(client=client.name, what="disk", level=level, finding=f"{size_text(facts.free)} free", fix=fix)


def _selinux(client: Client, facts: Facts, layouts: Iterable[Layout]) -> Diagnosis:
    if not facts.profile.selinux:
        return Diagnosis(client.name, "SELinux", "ok", "not enforcing")
    if any(layout.selinux == "none" for layout in layouts):
        finding = "enforcing, and files are installed in other folders without their label"
        return Diagnosis(
            client=client.name,
            what="SELinux",
            level="warn",
            finding=finding,
            fix="set `selinux: restore` for the component",
        )
    return Diagnosis(client.name, "SELinux", "ok", "enforcing; installed files get the label of their folder")


def _apparmor(client: Client, facts: Facts, layouts: Iterable[Layout]) -> Diagnosis:
    if not facts.apparmor:
        return Diagnosis(client.name, "AppArmor", "ok", "not enforcing")
    folders = sorted({target.to for layout in layouts for target in layout.targets if target.method == "link"})
    if folders:
        finding = f"enforcing, and {', '.join(folders)} gets links to {client.install_root}"
        fix = f"let the daemon's profile read {client.install_root}/**, or install with `method: rename`"
        return Diagnosis(client=client.name, what="AppArmor", level="warn", finding=finding, fix=fix)
    return Diagnosis(client.name, "AppArmor", "ok", "enforcing; installed files are plain files in their folder")
