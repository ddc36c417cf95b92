"""Batches and reports at random, as far as any can be: for whatever writes, carries and reads them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, get_args

from hypothesis import strategies as st

from reconciler import errors
from reconciler.model.batch import Answer, Batch, Change, Ended, Look, NotBegun, Probe, Read, StepDone, Target
from reconciler.model.client import Client, Facts, Installed, Profile, Same
from reconciler.model.deploy import (
    OUTCOMES,
    PHASES,
    ClientCheck,
    Fault,
    Hook,
    Hooks,
    InstallTarget,
    Layout,
    Outcome,
    Patched,
    PatchHop,
    Purpose,
    Step,
)
from reconciler.model.mark import ASKED, SAID
from reconciler.model.question import Question
from reconciler.model.relay import THENS, Offer
from reconciler.model.release import ReleaseFile
from reconciler.model.version import SCHEMES
from reconciler.reasons import REASONS

printed = st.characters(codec="utf-8", exclude_categories=["C", "Z"], include_characters=" ")
lines, words = st.text(printed, max_size=8), st.text(printed, min_size=1, max_size=8)
scripts = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=20)
components = st.from_regex(r"[a-z0-9][a-z0-9_-]{0,8}", fullmatch=True)
versions = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,8}", fullmatch=True).filter(lambda text: text != "current")
digests = st.binary(min_size=32, max_size=32).map(bytes.hex)
file_names = st.from_regex(r"[A-Za-z0-9$ä][A-Za-z0-9$ä. -]{0,8}", fullmatch=True).filter(lambda text: text != "current")
seconds = st.floats(0, 10**6)
sizes = st.integers(0, 2**40)
moments = st.datetimes(datetime(2020, 1, 1), datetime(2040, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 # the zone is apart


def few(of: Any, by: Any = None, most: int = 2) -> Any:
    return st.lists(of, max_size=most, unique_by=by).map(tuple)


questions = st.builds(Question, scripts, seconds, seconds)
hooks = st.none() | st.builds(Hook, scripts, seconds, st.sampled_from(["rollback", "keep"]))
checks = st.builds(
    ClientCheck,
    lines,
    st.sampled_from(PHASES),
    scripts,
    expect=st.integers(0, 255),
    timeout=seconds,
    retries=st.integers(0, 9),
    interval=seconds,
)
targets_of_files = st.builds(
    InstallTarget,
    files=lines,
    to=lines,
    method=st.sampled_from(["rename", "copy", "link"]),
    owner=lines,
    group=lines,
    mode=lines,
)
layouts = st.builds(
    Layout, few(targets_of_files), few(lines), st.sampled_from(["keep", "report"]), st.sampled_from(["none", "restore"])
)
hops = st.builds(PatchHop, st.sampled_from(["zstd", "bsdiff"]), sizes, digests, sizes)
ways = st.builds(Patched, st.just("") | file_names, st.lists(hops, min_size=1, max_size=2).map(tuple))


@st.composite
def steps(draw: Any) -> Step:
    files = draw(few(st.builds(ReleaseFile, file_names, sizes, digests), lambda file: file.name))
    names = st.sampled_from([file.name for file in files]) if files else st.just("")
    most = 2 if files else 0
    return Step(
        component=draw(components),
        from_version=draw(st.just("") | versions),
        from_digest=draw(st.just("") | digests),
        to_version=draw(versions),
        to_digest=draw(digests),
        files=files,
        kept=draw(st.dictionaries(names, file_names, max_size=most)),
        layout=draw(layouts),
        patched=draw(st.dictionaries(names, ways, max_size=most)),
        held=draw(st.booleans()),
        checks=draw(few(checks)),
        hooks=draw(st.builds(Hooks, hooks, hooks, hooks)),
        private=draw(st.booleans()),
        question=draw(st.none() | questions),
    )


all_steps = few(steps(), lambda step: step.component)
looks = st.builds(
    Look,
    questions=st.dictionaries(components, questions, max_size=2),
    verify=st.booleans(),
    tools=st.sampled_from(["", "files", "commands"]),
    keep=st.booleans(),
)
changes = st.builds(
    Change,
    lineage=lines,
    epoch=st.integers(0, 10**9),
    keep=st.integers(0, 9),
    steps=all_steps,
    early=few(steps(), most=1),
    purpose=st.sampled_from(get_args(Purpose)),
    schemes=st.dictionaries(components, st.sampled_from(sorted(SCHEMES)), max_size=2),
    stay=st.booleans(),
    relay=st.none()
    | st.builds(
        Offer,
        relay=lines,
        urls=few(st.sampled_from(["http://relay1:8080", "https://[2001:db8::1]/parts"])),
        parts=st.frozensets(digests, max_size=2),
        wait=seconds,
        patience=seconds.filter(bool),
        then=st.sampled_from(THENS),
        why=lines,
    ),
)

probes = st.builds(
    Probe, url=st.sampled_from(["http://relay1:8080", "https://[2001:db8::1]/parts"]), size=sizes, sha256=digests
)


@st.composite
def targets(draw: Any, group: str) -> Target:
    client = Client(
        draw(words),
        group,
        draw(lines),
        port=draw(st.none() | st.integers(1, 65535)),
        user=draw(st.none() | words),
        labels=draw(few(lines)),
        install_root=draw(lines),
        vars=draw(st.dictionaries(lines, st.text(st.characters(codec="utf-8"), max_size=9), max_size=2)),
        families=draw(st.sampled_from([(), ("ipv4",), ("ipv6",), ("ipv4", "ipv6")])),
    )
    asked = draw(st.just("") | st.from_regex(ASKED, fullmatch=True))
    return Target(client=client, steps=draw(few(steps(), most=1)), paths=draw(few(lines)), mark=asked)


@st.composite
def batches(draw: Any) -> Batch:
    group = draw(lines)
    return Batch(
        id=draw(lines),
        run_id=draw(lines),
        group=group,
        task=draw(looks | changes | st.just(Read()) | probes),
        targets=draw(few(targets(group), lambda target: target.client.name)),
        attempt=draw(st.integers(1, 99)),
        fence=draw(st.integers(0, 2**40)),
        until=draw(st.none() | moments),
    )


outcomes = st.builds(
    Outcome,
    components,
    st.sampled_from([*OUTCOMES, "skipped"]),
    st.just("") | versions,
    st.just("") | digests,
    lines,
    st.sampled_from(get_args(Fault)),
    st.sampled_from(sorted(REASONS)),
    st.just("") | versions,
    lines,
)
installed = st.builds(
    Installed,
    components,
    versions,
    st.just("") | digests,
    previous=st.just("") | versions,
    layout=lines,
    damage=lines,
    kept=st.dictionaries(versions, digests, max_size=2).map(lambda kept: tuple(kept.items())),
    loaded=st.just("") | versions,
    unsaid=lines,
)
profiles = st.builds(
    Profile,
    st.sampled_from(["any", "linux-x86_64"]),
    few(installed, lambda entry: entry.component),
    tools=few(lines),
    lineage=lines,
    epoch=st.integers(0, 10**9),
    selinux=st.booleans(),
    unmanaged=few(lines),
    memory=st.integers(0, 2**30),
)
facts = st.builds(
    Facts,
    profiles,
    st.integers(0, 2**60),
    seconds,
    st.integers(0, 2**31),
    st.booleans(),
    few(lines),
    lines,
    lines,
    st.just("") | st.from_regex(SAID, fullmatch=True),
)
answers = st.builds(
    Answer,
    batch=lines,
    attempt=st.integers(1, 99),
    client=words,
    not_begun=st.sampled_from(get_args(NotBegun)),
    steps=few(st.builds(StepDone, outcome=outcomes, from_version=versions, sent=sizes, fell_back=st.booleans())),
    halted=few(components),
    facts=st.none() | facts,
    same=st.none() | st.builds(Same, sizes),
    files=st.dictionaries(lines, st.none() | st.binary(max_size=9), max_size=2),
    bytes_sent=sizes,
    fetched=sizes,
    unfetched=lines,
    seconds=seconds,
    at=st.none() | moments,
)
ends = st.builds(Ended, lines, st.integers(1, 99), lines)


def all_errors() -> list[type[errors.UpdoserError]]:
    """Give the classes of errors that can be made of a message."""
    found = [made for made in vars(errors).values() if isinstance(made, type)]
    return [made for made in found if issubclass(made, errors.UpdoserError) and made is not errors.SpecError]
