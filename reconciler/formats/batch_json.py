"""Batches as documents, which are made here and read by workers: `schema/batch.schema.json` describes them.

* What clients share stands once: the task with its steps. A client's own stands beside it.
* Nothing private is in it: rendered settings, which have secrets, travel beside it by their digests. So the reader of a
  document has an `Order` only with what came beside it.
* Who reads believes nothing: each value has a type and a limit, digests and names of files are what they must be, and
  what is written by a later minor version is passed over.
"""

from __future__ import annotations

import json
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, get_args

from reconciler.errors import DocumentError
from reconciler.formats.entries import Entry, filled, time_text
from reconciler.formats.offer_json import offer_form, read_offer
from reconciler.formats.text import read_object
from reconciler.model.batch import Batch, Change, Look, Probe, Read, Target
from reconciler.model.client import MAX_EPOCH, Client
from reconciler.model.delta import CODEC_NAME, MAX_SIZE
from reconciler.model.deploy import (
    PHASES,
    ClientCheck,
    Hook,
    Hooks,
    InstallMethod,
    InstallTarget,
    Layout,
    OnHookFailure,
    Patched,
    PatchHop,
    Purpose,
    Step,
)
from reconciler.model.mark import ASKED
from reconciler.model.network import FAMILIES
from reconciler.model.question import Question
from reconciler.model.relay import RELAY_URL
from reconciler.model.release import COMPONENT_ID, SHA256, VERSION_NAME, ReleaseFile, file_name_problem
from reconciler.model.version import SCHEMES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from reconciler.model.batch import Task

FORMAT_VERSION: Final = "1.0"
MAX_BATCH = 64 * 2**20
"""Bytes of a document."""
MAX_CLIENTS = 10_000
"""Clients of a batch."""
MAX_STEPS = 1_000
MAX_FILES = 10_000
"""Files of a step."""
MAX_COMMANDS = 1_000
"""Checks of a step, and questions of a look."""
MAX_READ = 1_000
"""Files that are read of one client."""
MAX_VAR = 256 * 2**10
"""Characters of a client's variable; commands get shorter ones only."""
_PATH, _NAME = 4_096, 253
_METHODS: tuple[InstallMethod, ...] = get_args(InstallMethod)
_PURPOSES: tuple[Purpose, ...] = get_args(Purpose)
_FAILING: tuple[OnHookFailure, ...] = get_args(OnHookFailure)


def write_batch(batch: Batch) -> bytes:
    """Write a batch."""
    document = {
        "format_version": FORMAT_VERSION,
        "id": batch.id,
        "run_id": batch.run_id,
        "group": batch.group,
        "attempt": batch.attempt,
        "fence": batch.fence,
        **filled(until=batch.until and time_text(batch.until), finishes=batch.finishes),
        "task": _task_form(batch.task),
        "targets": [_target_form(target, batch.group) for target in batch.targets],
    }
    return json.dumps(document, separators=(",", ":"), ensure_ascii=False).encode()


def read_batch(content: bytes) -> Batch:
    """Read what `write_batch` wrote, or somebody who pretends to.

    Raises:
        DocumentError: it is malformed, contradicts itself, or has a format of another major version.
    """
    try:
        return _batch(Entry(read_object(content, "the batch", MAX_BATCH), "batch"))
    except (ValueError, RecursionError) as error:
        raise DocumentError(f"the batch is malformed: {error}") from error


def check_format(document: Entry) -> None:
    """Refuse a document of another major version.

    Raises:
        ValueError: it is one, or names no version.
    """
    version = document.text("format_version", most=20)
    if version.partition(".")[0] != FORMAT_VERSION.partition(".")[0]:
        raise ValueError(f"it has the format {version}, and this version of updoser reads 1.x")


def _batch(entry: Entry) -> Batch:
    check_format(entry)
    group = entry.text("group", most=_NAME)
    targets = tuple(_target(target, group) for target in entry.entries("targets", most=MAX_CLIENTS))
    if len({target.client.name for target in targets}) < len(targets):
        raise ValueError("a client stands in it twice")
    task = entry.entry("task")
    if task is None:
        raise ValueError("it has no task")
    return Batch(
        id=entry.text("id", most=200),
        run_id=entry.text("run_id", most=200),
        group=group,
        task=_task(task),
        targets=targets,
        attempt=entry.number("attempt", least=1),
        fence=entry.number("fence"),
        until=entry.time("until"),
        finishes=entry.flag("finishes", default=False),
    )


def _task_form(task: Task) -> dict[str, Any]:
    match task:
        case Look():
            return {
                "kind": "look",
                **filled(
                    questions={name: _question_form(question) for name, question in task.questions.items()},
                    verify=task.verify,
                    tools=task.tools,
                    keep=task.keep,
                ),
            }
        case Change():
            return {
                "kind": "change",
                "lineage": task.lineage,
                "epoch": task.epoch,
                "keep": task.keep,
                "purpose": task.purpose,
                **filled(
                    steps=[_step_form(step) for step in task.steps],
                    early=[_step_form(step) for step in task.early],
                    schemes=dict(task.schemes),
                    stay=task.stay,
                    relay=task.relay and offer_form(task.relay),
                ),
            }
        case Probe():
            return {"kind": "probe", "url": task.url, "size": task.size, "sha256": task.sha256}
    return {"kind": "read"}


def _task(entry: Entry) -> Task:
    match entry.word("kind", ("look", "change", "read", "probe")):
        case "look":
            return Look(
                questions={
                    _component(name): _question(found) for name, found in entry.items("questions", most=MAX_COMMANDS)
                },
                verify=entry.flag("verify", default=False),
                tools=entry.word("tools", ("", "files", "commands"), ""),
                keep=entry.flag("keep", default=False),
            )
        case "change":
            relay = entry.entry("relay")
            return Change(
                lineage=entry.text("lineage", most=_NAME),
                epoch=entry.number("epoch", most=MAX_EPOCH),
                keep=entry.number("keep", most=1_000),
                steps=_steps(entry, "steps"),
                early=_steps(entry, "early"),
                purpose=entry.word("purpose", _PURPOSES),
                schemes=entry.named("schemes", lambda _name, scheme: type(scheme) is str and scheme in SCHEMES),
                stay=entry.flag("stay", default=False),
                relay=read_offer(relay) if relay else None,
            )
        case "probe":
            return Probe(
                url=entry.text("url", fits=RELAY_URL),
                size=entry.number("size", most=MAX_SIZE),
                sha256=entry.text("sha256", fits=SHA256),
            )
    return Read()


def _target_form(target: Target, group: str) -> dict[str, Any]:
    client = target.client
    return {
        "name": client.name,
        **({} if client.group == group else {"group": client.group}),
        **filled(
            address=client.address,
            user=client.user,
            labels=list(client.labels),
            install_root=client.install_root,
            vars=dict(client.vars),
            families=list(client.families),
            steps=[_step_form(step) for step in target.steps],
            paths=list(target.paths),
            mark=target.mark,
        ),
        **({} if client.port is None else {"port": client.port}),
    }


def _target(entry: Entry, group: str) -> Target:
    families = entry.texts("families", most=len(FAMILIES))
    name = entry.text("name", most=_NAME)
    if not name:
        raise ValueError(f"{entry.where} has an empty name")
    client = Client(
        name,
        entry.text("group", group, most=_NAME),
        entry.text("address", "", most=_NAME),
        port=entry.number("port", 0, most=65_535) or None,
        user=entry.text("user", "", most=_NAME) or None,
        labels=entry.texts("labels"),
        install_root=entry.text("install_root", "", most=_PATH),
        vars=entry.named("vars", lambda _name, value: type(value) is str and len(value) <= MAX_VAR),
        families=tuple(family for family in FAMILIES if family in families),
    )
    if client.families != families:
        raise ValueError(f"{entry.where}.families isn't some of {', '.join(FAMILIES)}, in that order")
    paths = entry.texts("paths", most=MAX_READ, longest=_PATH)
    return Target(client=client, steps=_steps(entry, "steps"), paths=paths, mark=entry.text("mark", "", fits=ASKED))


def _step_form(step: Step) -> dict[str, Any]:
    return {
        "component": step.component,
        "to_version": step.to_version,
        "to_digest": step.to_digest,
        "files": [{"name": file.name, "size": file.size, "sha256": file.sha256} for file in step.files],
        **filled(
            from_version=step.from_version,
            from_digest=step.from_digest,
            kept=dict(step.kept),
            patched={name: _patched_form(patched) for name, patched in step.patched.items()},
            layout=_layout_form(step.layout),
            held=step.held,
            checks=[_check_form(check) for check in step.checks],
            hooks=_hooks_form(step.hooks),
            private=step.private,
            question=step.question and _question_form(step.question),
        ),
    }


def _steps(entry: Entry, key: str) -> tuple[Step, ...]:
    steps = tuple(map(_step, entry.entries(key, most=MAX_STEPS)))
    if len({step.component for step in steps}) < len(steps):
        raise ValueError(f"{entry.where}.{key} has two steps of one component")
    return steps


def _step(entry: Entry) -> Step:
    files = tuple(map(_file, entry.entries("files", most=MAX_FILES)))
    names = {file.name for file in files}
    if len(names) < len(files):
        raise ValueError(f"{entry.where} has two files of one name")
    question, layout, hooks = entry.entry("question"), entry.entry("layout"), entry.entry("hooks")
    step = Step(
        component=_component(entry.text("component")),
        from_version=entry.text("from_version", "", fits=VERSION_NAME),
        from_digest=entry.text("from_digest", "", fits=SHA256),
        to_version=entry.text("to_version", fits=VERSION_NAME),
        to_digest=entry.text("to_digest", fits=SHA256),
        files=files,
        kept=entry.named("kept", lambda name, base: name in names and _is_file_name(base), most=MAX_FILES),
        layout=_layout(layout) if layout else Layout(),
        patched={name: _patched(found) for name, found in entry.items("patched", most=MAX_FILES)},
        held=entry.flag("held", default=False),
        checks=tuple(map(_check, entry.entries("checks", most=MAX_COMMANDS))),
        hooks=_hooks(hooks) if hooks else Hooks(),
        private=entry.flag("private", default=False),
        question=_question(question) if question else None,
    )
    if not step.patched.keys() <= names:
        raise ValueError(f"{entry.where} patches a file that it hasn't")
    return step


def _component(text: str) -> str:
    if not COMPONENT_ID.fullmatch(text):
        raise ValueError(f"{text!r:.80} is no component")
    return text


def _file(entry: Entry) -> ReleaseFile:
    name = entry.text("name")
    problem = file_name_problem(name)
    if problem:
        raise ValueError(f"{entry.where}: {problem}")
    return ReleaseFile(name, entry.number("size", most=MAX_SIZE), entry.text("sha256", fits=SHA256))


def _is_file_name(value: Any) -> bool:
    return type(value) is str and not file_name_problem(value)


def _patched_form(patched: Patched) -> dict[str, Any]:
    hops = [{"codec": hop.codec, "size": hop.size, "sha256": hop.sha256, "result": hop.result} for hop in patched.hops]
    return {"hops": hops, **filled(base=patched.base)}


def _patched(entry: Entry) -> Patched:
    base = entry.text("base", "")
    if base and file_name_problem(base):
        raise ValueError(f"{entry.where}: {file_name_problem(base)}")
    hops = tuple(
        PatchHop(
            codec=hop.text("codec", fits=CODEC_NAME),
            size=hop.number("size", most=MAX_SIZE),
            sha256=hop.text("sha256", fits=SHA256),
            result=hop.number("result", most=MAX_SIZE),
        )
        for hop in entry.entries("hops", most=1_000)
    )
    if not hops:
        raise ValueError(f"{entry.where} has no hops")
    return Patched(base, hops)


@lru_cache(maxsize=1_000)
def _layout_form(layout: Layout) -> Mapping[str, Any]:
    return filled(
        targets=[
            {
                "files": target.files,
                "to": target.to,
                "method": target.method,
                **filled(owner=target.owner, group=target.group, mode=target.mode),
            }
            for target in layout.targets
        ],
        replaces=list(layout.replaces),
        unmanaged=layout.unmanaged if layout.unmanaged != "keep" else "",
        selinux=layout.selinux if layout.selinux != "none" else "",
    )


def _layout(entry: Entry) -> Layout:
    return Layout(
        targets=tuple(
            InstallTarget(
                files=target.text("files"),
                to=target.text("to", most=_PATH),
                method=target.word("method", _METHODS),
                owner=target.text("owner", ""),
                group=target.text("group", ""),
                mode=target.text("mode", ""),
            )
            for target in entry.entries("targets", most=1_000)
        ),
        replaces=entry.texts("replaces", most=1_000),
        unmanaged=entry.word("unmanaged", ("keep", "report"), "keep"),
        selinux=entry.word("selinux", ("none", "restore"), "none"),
    )


def _check_form(check: ClientCheck) -> dict[str, Any]:
    return {
        "name": check.name,
        "phase": check.phase,
        "run": check.run,
        "expect": check.expect,
        "timeout": check.timeout,
        "retries": check.retries,
        "interval": check.interval,
    }


def _check(entry: Entry) -> ClientCheck:
    return ClientCheck(
        name=entry.text("name"),
        phase=entry.word("phase", PHASES),
        run=entry.lines("run"),
        expect=entry.number("expect", most=255),
        timeout=entry.seconds("timeout"),
        retries=entry.number("retries", most=1_000_000),
        interval=entry.seconds("interval"),
    )


def _hooks_form(hooks: Hooks) -> dict[str, Any]:
    return {
        moment: {"run": hook.run, "timeout": hook.timeout, "on_failure": hook.on_failure}
        for moment, hook in (("before", hooks.before), ("after", hooks.after), ("always", hooks.always))
        if hook is not None
    }


def _hooks(entry: Entry) -> Hooks:
    return Hooks(*(_hook(entry.entry(moment)) for moment in ("before", "after", "always")))


def _hook(entry: Entry | None) -> Hook | None:
    if entry is None:
        return None
    return Hook(entry.lines("run"), entry.seconds("timeout"), entry.word("on_failure", _FAILING))


def _question_form(question: Question) -> dict[str, Any]:
    return {"run": question.run, "timeout": question.timeout, **filled(within=question.within)}


def _question(entry: Entry) -> Question:
    return Question(entry.lines("run"), entry.seconds("timeout"), entry.seconds("within", 0.0))
