"""What ssh is told, what its words mean, and its socket: without any ssh."""

from __future__ import annotations

import base64
import socket
import struct
import threading
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.errors import (
    AuthenticationError,
    HostKeyError,
    HungUpError,
    PluginError,
    TransportError,
)
from reconciler.formats.defaults import completed
from reconciler.formats.ssh_certificate import read_certificate
from reconciler.plugins.transport._openssh_config import arguments, written
from reconciler.plugins.transport._openssh_mux import MuxError, MuxSocket, SilentError
from reconciler.plugins.transport._openssh_options import OPTIONS
from reconciler.plugins.transport._openssh_said import Asked, farewell, trouble
from reconciler.plugins.transport._openssh_version import Version

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# --- what ssh is told -----------------------------------------------------------------------------------------------


def config(**options: Any) -> list[str]:
    text: str = written(completed(options, OPTIONS), lambda path: Path("/spec") / path)
    return text.splitlines()


def test_what_must_hold_stands_before_what_the_user_s_file_says() -> None:
    lines = config(config="ssh_config", keys=[{"file": "k"}], certificates=[{"file": "c"}], known_hosts="trust/hosts")
    user = lines.index('Include "/spec/ssh_config"')
    for line in (
        "BatchMode yes",
        "StrictHostKeyChecking yes",
        "GlobalKnownHostsFile none",
        "UpdateHostKeys no",
        "NoHostAuthenticationForLocalhost no",
        "ForwardAgent no",
        "PermitLocalCommand no",
        "ControlMaster no",
        'UserKnownHostsFile "/spec/trust/hosts"',
        'IdentityFile "/spec/k"',
        'CertificateFile "/spec/c"',
        "IdentitiesOnly yes",
    ):
        assert lines.index(line) < user


def test_a_file_of_the_user_is_read_only_where_the_spec_names_one() -> None:
    assert not [line for line in config() if line.startswith("Include")]


@pytest.mark.parametrize(("said", "prefers"), [((8, 0), False), ((8, 1), True), ((10, 0), True), (None, True)])
def test_an_ssh_is_told_only_what_its_version_understands(said: tuple[int, int] | None, prefers: bool) -> None:
    text = written(completed({}, OPTIONS), lambda path: Path("/spec") / path, Version(number=said))
    assert ("Ciphers ^" in text) == prefers


def test_the_agent_is_asked_for_all_its_keys_or_for_none_as_the_options_say() -> None:
    keys = [{"file": "k"}]
    assert "IdentitiesOnly no" in config(keys=keys, agent=True)
    assert "IdentityAgent none" in config(agent=False)
    assert not [line for line in config() if line.startswith("Identit")]


@pytest.mark.parametrize("path", ['a"b', "a\\b", "%h", "${HOME}/k", "a\nProxyCommand x", "\x1b[0m"])
def test_a_path_that_would_mean_something_to_ssh_is_refused(path: str) -> None:
    for options in ({"known_hosts": path}, {"keys": [{"file": path}]}, {"config": path}):
        with pytest.raises(PluginError, match="can't be given to ssh"):
            config(**options)


def test_a_config_is_one_file_and_no_pattern_of_some() -> None:
    with pytest.raises(PluginError):
        config(config="conf*")


@pytest.mark.parametrize("host", ["pc-7.example", "10.0.0.1", "fe80::1%eth0", "2001:db8::1", "_srv", "PC_7"])
def test_names_of_hosts_are_given_behind_the_end_of_options(host: str) -> None:
    given = arguments(host, port=2222, user="joe@CORP", family="ipv6")
    assert given == ["-6", "-p", "2222", "-l", "joe@CORP", "--", host]
    assert arguments(host, port=None, user="") == ["--", host]


@pytest.mark.parametrize(
    "host", ["", "-oProxyCommand=x", "a b", "a;b", "$(x)", "`x`", "user@host", "ssh://h", "%h", "a%h/", "a\nb", "a'b"]
)
def test_what_is_no_name_of_a_host_never_gets_to_ssh(host: str) -> None:
    with pytest.raises(TransportError, match="isn't the name of a host") as caught:
        arguments(host, port=None, user="")
    assert caught.value.reason == "name"


@pytest.mark.parametrize("user", ["joe", "joe@corp.example", "CORP\\joe", "pc-7$", "jörg", "j-o-e", "_www"])
def test_users_of_all_directories_are_taken(user: str) -> None:
    assert arguments("h", port=None, user=user) == ["-l", user, "--", "h"]


@pytest.mark.parametrize("user", ["-x", "a b", "a;b", "$(x)", "a$b", "a\\", "a'b", 'a"b', "a|b", "a\x00"])
def test_what_is_no_user_never_gets_to_ssh(user: str) -> None:
    with pytest.raises(TransportError, match="isn't a user"):
        arguments("h", port=None, user=user)


# --- what its words mean --------------------------------------------------------------------------------------------

ASKED = Asked(name="[h]:2222", known_hosts="/k", scan="ssh-keyscan -p 2222 h", timeout=10)
CHANGED = """\
@    WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!     @
The fingerprint for the ED25519 key sent by the remote host is
SHA256:abc.
Add correct host key in /k to get rid of this message.
Offending ED25519 key in /k:12
Host key for [h]:2222 has changed and you have requested strict checking.
Host key verification failed.
"""
SAID = {
    CHANGED: (HostKeyError, "host_key", r"the key of \[h\]:2222 \(ED25519 SHA256:abc\) isn't the one in /k:12"),
    "No RSA host key is known for h and you have requested strict checking.\nHost key verification failed.": (
        HostKeyError,
        "host_key",
        r"the key of h \(RSA\) is unknown to /k",
    ),
    "@ WARNING: REVOKED HOST KEY DETECTED! @\nThe RSA host key for h is marked as revoked.\n"
    "This could mean that a stolen key is being used to impersonate this host.\nRSA host key for h was revoked and you "
    "have requested strict checking.\nHost key verification failed.": (
        HostKeyError,
        "host_key",
        r"the key of h \(RSA\) is revoked by /k",
    ),
    "something new.\nHost key verification failed.": (HostKeyError, "host_key", "isn't trusted: something new$"),
    'Load key "/x": bad permissions\njoe@h: Permission denied (publickey,password).': (
        AuthenticationError,
        "login",
        'user joe isn\'t let in; the host accepts publickey,password; Load key "/x": bad permissions',
    ),
    "Received disconnect from ::1 port 22:2: Too many authentication failures\nDisconnected from ::1 port 22": (
        AuthenticationError,
        "login",
        r"it hung up \(Too many authentication failures\)",
    ),
    "ssh: Could not resolve hostname h: Name or service not known": (TransportError, "name", "the host h isn't known"),
    "ssh: connect to host h port 22: Connection refused": (TransportError, "refused", "h:22 can't be reached"),
    "ssh: connect to host h port 22: No route to host": (TransportError, "silent", "no route to host"),
    "Connection timed out during banner exchange\nConnection to h port 22 timed out": (
        TransportError,
        "silent",
        "didn't greet as SSH does within 10 s",
    ),
    "kex_exchange_identification: Connection closed by remote host\nConnection closed by ::1 port 22": (
        HungUpError,
        "crowded",
        "hung up before it greeted",
    ),
    "kex_exchange_identification: read: Connection reset by peer": (HungUpError, "crowded", "hung up before it"),
    "Unable to negotiate with ::1 port 22: no matching key exchange method found. Their offer: x": (
        TransportError,
        "connection",
        "speaks no SSH that we share: Unable to negotiate",
    ),
    "": (TransportError, "connection", "it hung up"),
    "/run/x/config: line 3: Bad configuration option: foo\n/run/x/config: terminating, 1 bad configuration options": (
        TransportError,
        "other",
        "ssh doesn't understand what it is told: Bad configuration option: foo",
    ),
    "command-line line 0: Bad number of tries.": (TransportError, "other", r"what it is told: Bad number of tries\n"),
    "unknown option -- E\nusage: ssh [-46]": (TransportError, "other", "what it is told: unknown option -- E"),
    "Received disconnect from ::1 port 22:2: x: line 3: y: terminating, 1 bad configuration option": (
        TransportError,
        "connection",
        "speaks no SSH",
    ),
    "Certificate signed with disallowed algorithm\nNo ED25519 host key is known for h and you have requested strict "
    "checking.\nHost key verification failed.": (
        HostKeyError,
        "host_key",
        "is unknown to /k; Certificate signed with disallowed algorithm\n  the authority signs with SHA-1",
    ),
    "Certificate signed with disallowed algorithm\nHost key verification failed.": (
        HostKeyError,
        "host_key",
        "isn't trusted: Certificate signed with disallowed algorithm\n",
    ),
}


@pytest.mark.parametrize("said", SAID)
def test_what_ssh_logs_is_an_error_with_its_reason(said: str) -> None:
    kind, reason, words = SAID[said]
    error = trouble(ASKED, said.splitlines())
    assert (type(error), error.reason) == (kind, reason)
    with pytest.raises(TransportError, match=words):
        raise error


TICKETED = Asked(name="h", known_hosts="/k", scan="ssh-keyscan h", ticket=True)
DENIED = "joe@h: Permission denied (gssapi-with-mic)."
FAILED = "debug1: gss-genr.c:ssh_gssapi_error():277 (pid=7): "


@pytest.mark.parametrize(
    ("said", "words", "hint"),
    [
        (f"{FAILED}No credentials\nNo Kerberos credentials available\n\n\n" * 2, "No Kerberos credentials", "get a "),
        (f"{FAILED}Unspecified\nTicket expired\n\n", "Ticket expired", "get a ticket"),
        (
            f"{FAILED}x\nServer host/h@R not found in Kerberos database\n\n",
            "Server host/h@R not",
            "reach the client by",
        ),
        (f"{FAILED}x\nCannot contact any KDC for realm 'R'\n\n", "Cannot contact any KDC", "see that the realm's KDC"),
        (f"{FAILED}x\nClock skew too great\n\n", "Clock skew too great", "set the clocks"),
        (f"{FAILED}Something new\n\n", "Something new", "get a ticket"),
    ],
)
def test_what_kerberos_says_in_the_log_is_told_once_with_what_to_do(said: str, words: str, hint: str) -> None:
    error = trouble(TICKETED, [*said.splitlines(), DENIED])
    assert type(error) is AuthenticationError
    assert error.message.count(f"; Kerberos: {words}") == 1
    assert error.hint.startswith(hint)
    assert "ssh-add" not in error.hint


def test_where_tickets_are_not_the_only_way_in_the_others_are_named_too() -> None:
    log = [f"{FAILED}x", "Ticket expired", "", DENIED]
    for asked in (replace(TICKETED, keys=True), ASKED):
        error = trouble(asked, log)
        assert "kinit" in error.hint
        assert "ssh-add" in error.hint
    assert "kinit" not in trouble(ASKED, [DENIED]).hint


def test_a_ticket_of_long_ago_is_not_why_a_connection_breaks() -> None:
    assert farewell([f"{FAILED}x", "Ticket expired", ""]) == ""
    assert farewell([f"{FAILED}x", "Ticket expired", "", "Timeout, server h not responding."]).startswith("Timeout")


@given(st.lists(st.text(max_size=80), max_size=5))
def test_whatever_ssh_logs_is_an_error_that_can_be_shown(lines: list[str]) -> None:
    error = trouble(ASKED, lines)
    assert error.message.isprintable()


# --- its socket -----------------------------------------------------------------------------------------------------

HELLO = struct.pack(">III", 8, 1, 4)


@pytest.mark.parametrize(
    ("answers", "words"),
    [
        (b"", "the ssh is gone"),
        (HELLO[:7], "the ssh is gone"),
        (struct.pack(">III", 8, 1, 5), "another version"),
        (struct.pack(">I", 2**31), "what no ssh says"),
        (struct.pack(">II", 0, 0), "what no ssh says"),
        (HELLO + struct.pack(">IIII", 12, 0x80000001, 1, 0), "doesn't say that it is alive"),
        (HELLO + struct.pack(">III", 8, 0x80000005, 1), "doesn't say that it is alive"),
    ],
)
def test_whatever_answers_on_the_socket_in_place_of_an_ssh_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answers: bytes, words: str
) -> None:
    monkeypatch.chdir(tmp_path)  # a socket's path is short
    with serving(lambda connection: connection.sendall(answers)):  # noqa: SIM117
        with pytest.raises(MuxError, match=words), MuxSocket("s", patience=30, still=lambda: True) as mux:
            mux.pid()


def test_an_ssh_that_gives_no_answer_is_not_waited_for_once_nobody_waits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    over = threading.Event()
    with serving(lambda _connection: over.wait(60)):
        with pytest.raises(SilentError):
            MuxSocket("s", patience=600, still=lambda: False)
        over.set()


@contextmanager
def serving(answer: Callable[[socket.socket], object]) -> Iterator[None]:
    """Answer one connection to the socket `s`, for the time of the block or until it is closed there."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("s")
        listener.listen()

        def serve() -> None:
            connection, _address = listener.accept()
            with connection, suppress(OSError):  # who has heard enough hangs up
                answer(connection)
                connection.shutdown(socket.SHUT_WR)
                while connection.recv(4096):
                    pass

        thread = threading.Thread(target=serve)
        thread.start()
        yield
        thread.join()


# --- certificates ---------------------------------------------------------------------------------------------------


def field(data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + data


def certificate(
    kind: bytes, fields: int, *, of: int = 1, begins: int = 0, ends: int = 2**64 - 1, signed: bytes = b"ssh-ed25519"
) -> bytes:
    name = kind + b"-cert-v01@openssh.com"
    names = field(b"joe") + field(b"root")
    said = struct.pack(">QI", 7, of) + field(b"id") + field(names) + struct.pack(">QQ", begins, ends)
    data = (
        field(name)
        + field(b"nonce")
        + field(b"part") * fields
        + said
        + field(b"") * 4
        + field(field(signed) + field(b"signature"))
    )
    return name + b" " + base64.b64encode(data) + b" joe@pc\n"


KINDS = {
    b"ssh-ed25519": 1,
    b"ssh-rsa": 2,
    b"ecdsa-sha2-nistp256": 2,
    b"sk-ssh-ed25519": 2,
    b"sk-ecdsa-sha2-nistp256": 3,
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_certificate_says_for_whom_it_is_and_until_when(kind: bytes) -> None:
    begins = datetime(2026, 1, 1, tzinfo=UTC)
    ends = begins + timedelta(hours=16)
    times: dict[str, Any] = {"begins": int(begins.timestamp()), "ends": int(ends.timestamp())}
    found = read_certificate(certificate(kind, KINDS[kind], **times).decode())
    assert (found.kind, found.key_id, found.names) == ("user", "id", ("joe", "root"))
    assert found.signed_by == "ssh-ed25519"
    assert (found.begins, found.ends) == (begins, ends)
    assert "counts only from 2026-01-01 00:00 UTC" in found.why_not(begins - timedelta(seconds=1))
    assert found.why_not(begins) == found.why_not(ends - timedelta(seconds=1)) == ""
    assert found.why_not(ends) == "ended at 2026-01-01 16:00 UTC"
    assert read_certificate(certificate(kind, KINDS[kind]).decode()).ends is None


@given(st.binary(max_size=200))
def test_what_is_no_certificate_is_said_to_be_none(data: bytes) -> None:
    whole = certificate(b"ssh-ed25519", 1).decode()
    name, encoded, _comment = whole.split()
    for text in (data.decode("latin-1"), f"{name} {base64.b64encode(data).decode()}", whole[: len(data)], encoded):
        with pytest.raises(ValueError, match="it is"):
            read_certificate(text)
    with pytest.raises(ValueError, match="neither"):
        read_certificate(certificate(b"ssh-ed25519", 1, of=9).decode())
