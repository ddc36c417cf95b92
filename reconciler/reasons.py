"""Why clients are in trouble: thousands of them that fail alike are counted by a reason, whatever each of them said.

A reason is known where something goes wrong, from an exception, an error number or the code that a client gives, and it
goes with the error from there on: nothing is told by the wording of a message. Documents hold its word; states and
findings hold its label, before the message of a client.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

Reason = Literal[
    "silent",
    "refused",
    "name",
    "no_way",
    "proxy",
    "jump",
    "crowded",
    "connection",
    "host_key",
    "login",
    "secret",
    "sudo",
    "tools",
    "folder",
    "disk",
    "damaged",
    "busy",
    "controller",
    "protocol",
    "check",
    "hook",
    "bytes",
    "settings",
    "relay",
    "client",
    "server",
    "worker",
    "limit",
    "fault",
    "other",
]

ReasonIfAny = Literal[Reason, ""]


class About(NamedTuple):
    """What is said of a reason: its label, and what to do about it, as hints of errors are worded.

    Labels stand in states, so none is ever worded otherwise.
    """

    label: str
    todo: str


REASONS: Mapping[Reason, About] = {
    "silent": About("did not answer", "see that they are on, and that no firewall stands between this server and them"),
    "refused": About("connection refused", "see that sshd runs there, and on the `port` that the spec names"),
    "name": About("name not found", "mend their `address` in the spec or the inventory, or the DNS of this server"),
    "no_way": About("no way to it", "give their group a `proxy` or a jump host that speaks what they speak"),
    "proxy": About("no way through the proxy", "see that the proxy runs, knows us, and lets us through to them"),
    "jump": About(
        "no way over the jump host", "see that the jump host runs, that we can log in there, and that it lets us go on"
    ),
    "crowded": About(
        "hung up before it greeted", "work on fewer clients at a time with --forks, or raise MaxStartups there"
    ),
    "connection": About("no connection", "look at the network, and at what sshd logs there"),
    "host_key": About(
        "host key not trusted",
        "compare the fingerprint with the machine's own, then add its key to the `known_hosts` of the transport",
    ),
    "login": About(
        "authentication failed",
        "name the right `keys` or `password` in the transport, or add our public key to ~/.ssh/authorized_keys there",
    ),
    "secret": About("secret not found", "set the variable, or make the file or the command work, that the spec names"),
    "sudo": About(
        "sudo refused", "allow it without a password and a terminal in /etc/sudoers.d; the quickstart shows the line"
    ),
    "tools": About(
        "tools missing", "install GNU coreutils or busybox there, and have the PATH of the user name them first"
    ),
    "folder": About(
        "folder not usable",
        "give the folders to the user alone, or set `become: {method: sudo}`; `updoser doctor` says which",
    ),
    "disk": About("disk full", "make room on the clients, or lower `client_keep`"),
    "damaged": About("files damaged", "look at the disk; the next apply writes anew what is damaged"),
    "busy": About("client busy", "wait for the other run; a lock whose process is gone is taken over by itself"),
    "controller": About(
        "other controller", "two states drive these clients: use that of the other controller, or take them over anew"
    ),
    "protocol": About("protocol error", "look at what the login shell prints there, and renew a copied client script"),
    "check": About("check failed", "look at what the check found; if the release is bad: `updoser rollback COMPONENT`"),
    "hook": About("hook failed", "run the hook on one of them by hand, and mend it in the spec or there"),
    "bytes": About("other bytes arrived", "apply again; if that doesn't help, look at the store and at the disk there"),
    "settings": About("settings not rendered", "mend the template, or the `vars` of these clients"),
    "relay": About("relay gives nothing", "see that the relay is on and its disk has room, or set `then: direct`"),
    "client": About("client failed", "look at what each of them said, and at one of them by hand"),
    "server": About("failed on this server", "look at what each says; the next apply tries it again"),
    "worker": About("no worker", "see that the workers of their site run, and that they reach what they dial out to"),
    "limit": About(
        "limit of this machine", "work on fewer clients at a time with --forks, or raise `ulimit -n` and `ulimit -u`"
    ),
    "fault": About("fault of updoser", "please report it, with what UPDOSER_DEBUG=1 shows"),
    "other": About("error", "look at what each of them says"),
}
"""in the order in which trouble is told, where as many clients have it"""
_OFF: frozenset[Reason] = frozenset(
    (
        *("silent", "refused", "name", "no_way", "proxy", "jump", "crowded", "connection", "host_key", "login"),
        *("secret", "worker", "limit", "other"),
    )
)
"""Reasons of clients that weren't reached; all others were there, and failed."""
_BY_LABEL: Mapping[str, Reason] = {about.label: reason for reason, about in REASONS.items()}


def label_of(brief: str) -> str:
    """Give the label of an error that was recorded in brief: `label: message`."""
    return brief.partition(":")[0]


def reason_of(brief: str) -> Reason:
    """Give the reason of an error that was recorded in brief, or of a label; `other` where there is none in it."""
    return _BY_LABEL.get(label_of(brief), "other")


def reached(brief: str) -> bool:
    """Say whether a client was there and failed, after an error of it that was recorded in brief."""
    return reason_of(brief) not in _OFF


def todo_of(label: str) -> str:
    """Say what to do about the reason with a label; nothing where it is none's."""
    reason = _BY_LABEL.get(label)
    return REASONS[reason].todo if reason else ""
