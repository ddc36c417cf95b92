"""Which lines of known_hosts are about a host: as OpenSSH's own tools have it."""

from __future__ import annotations

import re
import subprocess
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.client.session import shell_session
from reconciler.errors import HostKeyError
from reconciler.formats.known_hosts import KnownHosts, hashed_name, host_name
from reconciler.model.client import Client
from reconciler.plugins.transport import ssh
from tests.fakes import fake_context, make_plugin

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from reconciler.model.release import ReleaseFile
    from tests.sshd import SshFleet

pytestmark = pytest.mark.needs("sshd", "ssh-keygen", "ssh-keyscan")

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIF4W9kSxZ2q8k4Yd8mU9cBq3f1wQ0r7pY2sT5vN6hJ1a"
HOSTS = ("db", "Db", "dB.example", "DB.Example", "x", "[db]:2222", "[DB]:2222", "[Db.example]:22", "fe80::A")


def openssh_lines(path: Path, name: str) -> list[tuple[int, str]]:
    """Give the lines, and their markers, that ssh would read for a host; ssh lowers its name first."""
    found = subprocess.run(
        ["ssh-keygen", "-F", name.lower(), "-f", str(path)], check=False, capture_output=True, text=True
    )
    lines = re.findall(r"^# Host .* found: line (\d+)(?: (CA|REVOKED))?", found.stdout, re.MULTILINE)
    return [(int(line), {"": "", "CA": "@cert-authority", "REVOKED": "@revoked"}[mark]) for line, mark in lines]


names = st.sampled_from(HOSTS)
patterns = st.builds(
    "{}{}".format,
    st.sampled_from(["", "", "!"]),
    names | st.sampled_from(["*", "D*", "?B", "*.EXAMPLE", "[*]:2222", "[[]db]:2222", "|D"]),
)
fields = st.lists(patterns, min_size=1, max_size=4).map(",".join) | st.builds(
    hashed_name, names, st.binary(min_size=20, max_size=20)
)
lines = st.builds("{}{} {}".format, st.sampled_from(["", "", "@revoked ", "@cert-authority "]), fields, st.just(KEY))


@pytest.fixture(scope="module")
def known_hosts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("known") / "known_hosts"


@settings(max_examples=60, deadline=None)
@given(written=st.lists(lines, min_size=1, max_size=6), name=names)
def test_the_lines_about_a_host_are_those_that_openssh_finds_whatever_the_case(
    known_hosts: Path, written: list[str], name: str
) -> None:
    text = "".join(f"{line}\n" for line in written)
    known_hosts.write_text(text)
    expected = openssh_lines(known_hosts, name)
    for spelling in (name, name.lower(), name.upper()):
        assert [(key.line, key.marker) for key in KnownHosts(text).lines_for(spelling)] == expected


def test_names_that_openssh_hid_are_found_in_any_case(known_hosts: Path) -> None:
    known_hosts.write_text(f"Db.Example {KEY}\n[Db.Example]:2222 {KEY}\n")
    subprocess.run(["ssh-keygen", "-H", "-f", str(known_hosts)], check=True, capture_output=True)
    text = known_hosts.read_text()
    assert "xample" not in text
    assert len(KnownHosts(text).lines_for("DB.example")) == 1
    assert len(KnownHosts(text).lines_for(host_name("DB.EXAMPLE", 2222))) == 1


@pytest.fixture
def log_in(ssh_fleet: SshFleet, tmp_path: Path) -> Callable[..., None]:
    """Log in at a host name, with a file of known hosts."""

    def connect(name: str, file: ReleaseFile, **options: str) -> None:
        context = fake_context(tmp_path, shell=shell_session, secrets={"key": ssh_fleet.key.read_text()})
        with make_plugin(ssh, ssh_fleet.options(known_hosts=str(file), **options), context).connect(
            Client("c", "g", name)
        ):
            pass

    return connect


@pytest.mark.parametrize("hidden", [False, True])
def test_a_host_named_in_any_case_is_known_by_the_line_that_ssh_keyscan_writes(
    ssh_fleet: SshFleet, tmp_path: Path, log_in: Callable[..., None], hidden: bool
) -> None:
    command = ["ssh-keyscan", *(["-H"] if hidden else []), "-4", "-p", str(ssh_fleet.port), "localhost"]
    file = tmp_path / "known_hosts"
    file.write_text(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    log_in("LocalHost", file)
    keys = [line.split(None, 1)[1] for line in file.read_text().splitlines() if not line.startswith("#")]
    name = host_name("localhost", ssh_fleet.port).upper()
    file.write_text(file.read_text() + "".join(f"@revoked {name} {key}\n" for key in keys))
    with pytest.raises(HostKeyError, match="revoked"):
        log_in("LocalHost", file)


def test_a_new_host_is_added_once_however_its_name_is_written(
    ssh_fleet: SshFleet, tmp_path: Path, log_in: Callable[..., None]
) -> None:
    file = tmp_path / "known_hosts"
    for name in ("LocalHost", "localhost", "LOCALHOST"):
        log_in(name, file, accept_new=True)
    assert len(file.read_text().splitlines()) == 1
    found = ["ssh-keygen", "-F", host_name("localhost", ssh_fleet.port), "-f", str(file)]
    assert subprocess.run(found, check=False, capture_output=True).returncode == 0


def test_a_key_that_is_learnt_beside_a_file_of_a_commit_outlives_the_commit_and_the_next_one_may_deny_it(
    ssh_fleet: SshFleet, tmp_path: Path
) -> None:
    tree = tmp_path / "git/commits/1/tree"
    file, learnt = tree / "trust/known_hosts", tmp_path / "git/learnt/trust/known_hosts"
    file.parent.mkdir(parents=True)
    file.write_text(f"elsewhere {KEY}\n")
    here = fake_context(tmp_path, shell=shell_session, secrets={"key": ssh_fleet.key.read_text()})
    context = replace(here, base=tree, home=tmp_path, tree=tree)

    def log_in(**options: bool) -> None:
        options_of = ssh_fleet.options(known_hosts="trust/known_hosts", **options)
        with make_plugin(ssh, options_of, context).connect(Client("c", "g", "localhost")):
            pass

    with pytest.raises(HostKeyError, match="unknown to"):
        log_in()
    for _each in range(2):
        log_in(accept_new=True)
    assert file.read_text() == f"elsewhere {KEY}\n"
    assert len(learnt.read_text().splitlines()) == 1
    log_in()
    file.write_text(f"{host_name('localhost', ssh_fleet.port)} {KEY}\n")
    with pytest.raises(HostKeyError, match=r"isn't the one in .*tree/trust/known_hosts:1"):
        log_in(accept_new=True)
