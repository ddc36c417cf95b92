"""Private keys over a real sshd: all that ssh-keygen writes is read, and what is wrong with one costs no other."""

from __future__ import annotations

import os
import subprocess
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.client.session import shell_session
from reconciler.errors import AuthenticationError, SecretError
from reconciler.model.client import Client
from reconciler.model.secret import SecretRef
from reconciler.plugins.transport import ssh
from reconciler.plugins.transport._ssh_keys import parse_key
from tests.fakes import fake_context, make_plugin
from tests.sshd import make_key, sshd_fleet
from tests.waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.sshd import SshFleet

LogIn: TypeAlias = "Callable[..., None]"

pytestmark = pytest.mark.needs("sshd", "ssh-keygen", "ssh-agent", "ssh-add")

WORDS = "open sesame"
LOCKS = [
    "3des-cbc",
    *(f"aes{bits}-{mode}" for bits in (128, 192, 256) for mode in ("cbc", "ctr")),
    "aes128-gcm@openssh.com",
    "aes256-gcm@openssh.com",
    "chacha20-poly1305@openssh.com",
]


def keygen(path: Path, kind: str = "ed25519", *more: str, words: str = WORDS) -> Path:
    size = ["-b", "2048"] if kind == "rsa" else []
    command = ["ssh-keygen", "-q", "-t", kind, *size, "-N", words, "-a", "2", "-f", str(path), *more]
    subprocess.run(command, check=True, capture_output=True)
    return path


def public(path: Path) -> str:
    return Path(f"{path}.pub").read_text().split()[1]


def refused(path: Path, words: str | None) -> SecretError:
    with pytest.raises(SecretError) as caught:
        parse_key(path.read_text(), words, "k")
    return caught.value


@pytest.mark.parametrize("lock", LOCKS)
def test_a_key_in_openssh_s_form_opens_whatever_cipher_locks_it(tmp_path: Path, lock: str) -> None:
    key = keygen(tmp_path / "key", "ed25519", "-Z", lock)
    assert parse_key(key.read_text(), WORDS, "k").get_base64() == public(key)
    assert "it is locked" in refused(key, None).message
    assert "its passphrase is wrong" in refused(key, "close sesame").message


@pytest.mark.parametrize("kind", ["rsa", "ecdsa"])
@pytest.mark.parametrize("form", ["PEM", "PKCS8", "RFC4716"])
def test_keys_in_every_form_that_ssh_keygen_writes_are_read(tmp_path: Path, kind: str, form: str) -> None:
    locked, plain = (
        keygen(tmp_path / "locked", kind, "-m", form),
        keygen(tmp_path / "plain", kind, "-m", form, words=""),
    )
    assert parse_key(locked.read_text(), WORDS, "k").get_base64() == public(locked)
    assert parse_key(plain.read_text(), WORDS, "k").get_base64() == public(plain)
    assert "it is locked" in refused(locked, None).message
    assert "passphrase" in refused(locked, None).hint
    assert "its passphrase is wrong" in refused(locked, "close sesame").message


def test_what_is_no_private_key_is_told_with_its_reason(tmp_path: Path) -> None:
    key = keygen(tmp_path / "key", words="")
    assert "no private key in OpenSSH's or PEM's form" in refused(Path(f"{key}.pub"), None).message
    lines = key.read_text().splitlines(keepends=True)
    key.write_text("".join([*lines[:2], *lines[3:]]))
    assert "it is damaged" in refused(key, None).message


@given(
    st.text()
    | st.builds("-----BEGIN OPENSSH PRIVATE KEY-----\n{}\n-----END OPENSSH PRIVATE KEY-----".format, st.text())
)
def test_no_text_breaks_the_reading_of_keys(text: str) -> None:
    with pytest.raises(SecretError, match="the key k can't be used: "):
        parse_key(text, WORDS, "k")


# --- logging in with several ----------------------------------------------------------------------------------------


@pytest.fixture
def log_in(tmp_path: Path) -> LogIn:
    """Log in at the first client of a fleet; secrets are files of the test's folder."""

    def enter(fleet: SshFleet, **options: object) -> None:
        secrets = {path.name: path.read_text() for path in tmp_path.iterdir() if path.is_file()}
        secrets["key"] = fleet.key.read_text()
        context = fake_context(tmp_path, shell=shell_session, secrets=secrets)
        given = {key: value for key, value in fleet.options(**options).items() if value is not None}
        with make_plugin(ssh, given, context).connect(Client("c", "g", fleet.addresses[0])):
            pass

    return enter


def keys(*names: str) -> list[SecretRef]:
    return [SecretRef("env", name) for name in names]


def test_a_key_that_cannot_be_read_costs_that_key_only(
    ssh_fleet: SshFleet, tmp_path: Path, log_in: LogIn, caplog: pytest.LogCaptureFixture
) -> None:
    keygen(tmp_path / "locked")
    (tmp_path / "words").write_text("close sesame")
    (tmp_path / "nonsense").write_text("nonsense")
    names = keys("missing", "locked", "nonsense", "key")
    log_in(ssh_fleet, keys=names, passphrase=SecretRef("env", "words"))
    assert "the key {env: locked} can't be used: its passphrase is wrong" in caplog.text
    make_key(tmp_path / "stranger")
    with pytest.raises(AuthenticationError) as caught:
        log_in(ssh_fleet, keys=keys("nonsense", "stranger"))
    assert "tried {env: stranger}" in caught.value.message
    assert "the key {env: nonsense} can't be used: it is no private key" in caught.value.message


@pytest.mark.parametrize("lock", ["aes256-gcm@openssh.com", "chacha20-poly1305@openssh.com"])
def test_a_locked_key_lets_in(tmp_path: Path, log_in: LogIn, lock: str) -> None:
    key = keygen(tmp_path / "locked", "ed25519", "-Z", lock)
    (tmp_path / "words").write_text(WORDS)
    with sshd_fleet(tmp_path / "fleet", 1, authorized=Path(f"{key}.pub").read_text()) as fleet:
        log_in(fleet, keys=keys("locked"), passphrase=SecretRef("env", "words"))


def test_keys_that_were_never_tried_because_the_host_hung_up_are_named(tmp_path: Path, log_in: LogIn) -> None:
    names = [make_key(tmp_path / f"stranger{at}").name for at in range(4)]
    with sshd_fleet(tmp_path / "fleet", 1, settings="MaxAuthTries 2\n") as fleet:
        with pytest.raises(AuthenticationError) as caught:
            log_in(fleet, keys=keys(*names, "key"))
        assert "tried {env: stranger0}, {env: stranger1}; then the host hung up" in caught.value.message
        assert "Too many authentication failures" in caught.value.message
        assert "before {env: stranger2}, {env: stranger3}, {env: key} could be tried" in caught.value.message
        assert "MaxAuthTries" in caught.value.hint
        log_in(fleet, keys=keys("stranger0", "key"))


@contextmanager
def agent(folder: Path, *paths: Path) -> Iterator[tuple[Path, Callable[[list[str]], object]]]:
    socket = folder / "agent"
    process = subprocess.Popen(["ssh-agent", "-D", "-a", str(socket)], stdout=subprocess.DEVNULL)
    try:
        until(socket.exists, process)
        run = partial(subprocess.run, check=True, capture_output=True, env={**os.environ, "SSH_AUTH_SOCK": str(socket)})
        for path in paths:
            run(["ssh-add", "-q", str(path)])
        yield socket, run
    finally:
        process.terminate()
        process.wait()


def test_where_nothing_is_named_the_agent_s_keys_come_before_those_of_the_home(
    tmp_path: Path, log_in: LogIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".ssh").mkdir()
    make_key(tmp_path / ".ssh" / "id_ed25519")
    monkeypatch.setenv("HOME", str(tmp_path))
    with sshd_fleet(tmp_path / "fleet", 1, settings="MaxAuthTries 1\n") as fleet:
        with agent(tmp_path, fleet.key) as (socket, _run):
            monkeypatch.setenv("SSH_AUTH_SOCK", str(socket))
            log_in(fleet, keys=None)
        make_key(tmp_path / "stranger")
        with agent(tmp_path, tmp_path / "stranger") as (socket, _run), pytest.raises(AuthenticationError) as caught:
            log_in(fleet, keys=None)
        assert "tried the agent's key SHA256:" in caught.value.message
        assert "before ~/.ssh/id_ed25519 could be tried" in caught.value.message


def test_a_key_that_the_agent_does_not_sign_with_costs_that_key_only(
    ssh_fleet: SshFleet, tmp_path: Path, log_in: LogIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_key(tmp_path / "stranger")
    folder = tmp_path / "home"
    (folder / ".ssh").mkdir(parents=True)
    (folder / ".ssh" / "id_ed25519").write_text(ssh_fleet.key.read_text())
    monkeypatch.setenv("HOME", str(folder))
    # `-c` asks for each use, by a program that isn't there: the agent lists the key and refuses to sign with it.
    monkeypatch.setenv("SSH_ASKPASS", "/bin/false")
    with agent(tmp_path) as (socket, run):
        run(["ssh-add", "-q", "-c", str(ssh_fleet.key)])
        monkeypatch.setenv("SSH_AUTH_SOCK", str(socket))
        with pytest.raises(AuthenticationError, match="tried the agent's key SHA256"):
            log_in(ssh_fleet, keys=[], agent=True)
        log_in(ssh_fleet, keys=None)


def test_something_that_is_no_agent_costs_nothing_but_itself(
    ssh_fleet: SshFleet, tmp_path: Path, log_in: LogIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSH_AUTH_SOCK", str(tmp_path / "nobody"))
    log_in(ssh_fleet, agent=True)
