"""The options of the openssh transport: those of the ssh transport, where they mean the same, and its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ._ssh_options import OPTIONS as SSH

if TYPE_CHECKING:
    from collections.abc import Mapping


def _file(description: str, example: str) -> Mapping[str, Any]:
    return {
        "type": "object",
        "description": description,
        "required": ["file"],
        "additionalProperties": False,
        "x-says": "the place of a file, {file: PATH}: ssh reads it by itself, so it can't come from elsewhere",
        "examples": [{"file": example}],
        "properties": {
            "file": {"type": "string", "minLength": 1, "description": "The file.", "examples": [example]},
        },
    }


_KEY = _file(
    "A private key; or a public one, where an agent or hardware has the private one.",
    "keys/updoser",
)
_SHARED = ("idle_timeout", "timeout", "connect_timeout", "keep_alive", "compression", "shell", "become")
_OF_SSH: Mapping[str, Any] = SSH["properties"]
_HOP: Mapping[str, Any] = _OF_SSH["jump"]["items"]

OPTIONS: Mapping[str, Any] = {
    "type": "object",
    "description": "Clients over the system's ssh program.",
    "additionalProperties": False,
    "properties": {
        "user": {
            "type": "string",
            "minLength": 1,
            "description": "Who logs in. Left out: whom `config` names, or else the user who runs updoser.",
            "examples": ["updoser"],
        },
        "port": {
            "type": "integer",
            "description": "The port, where a client names none. Left out: that of `config`, or else 22.",
            "minimum": 1,
            "maximum": 65535,
            "examples": [22],
        },
        "keys": {
            "type": "array",
            "description": "Files of private keys, tried in this order; a certificate beside one (`KEY-cert.pub`) goes "
            "with it. Left out: those of the agent, then those in ~/.ssh. One with a passphrase must be in the agent.",
            "items": _KEY,
            "examples": [[{"file": "keys/updoser"}]],
        },
        "certificates": {
            "type": "array",
            "description": "Files of certificates for these keys, or for those of the agent, that lie elsewhere.",
            "items": _file("A certificate that an SSH CA made for a user.", "keys/updoser-cert.pub"),
            "examples": [[{"file": "/run/updoser/id-cert.pub"}]],
        },
        "agent": {
            "type": "boolean",
            "description": "Whether all keys of the SSH agent are tried, too, where `keys` are named; or, as `false`, "
            "that the agent isn't asked for anything.",
            "examples": [True],
        },
        "gssapi": {
            "type": "boolean",
            "description": "Log in with the ticket of Kerberos that this user has.",
            "examples": [True],
        },
        "known_hosts": {
            "type": "string",
            "description": "The file of trusted host keys, and of authorities that sign them (`@cert-authority`); a "
            "relative path starts from the spec's folder. No other file is asked.",
            "default": "~/.ssh/known_hosts",
            "examples": ["trust/known_hosts"],
        },
        "config": {
            "type": "string",
            "minLength": 1,
            "description": "An ssh_config that ssh reads as well, with all that may stand in one: Match, ProxyCommand, "
            "ProxyJump, Include. It may run programs. What the spec says comes first. Left out: none is read.",
            "examples": ["~/.ssh/config"],
        },
        "program": {
            "type": "string",
            "minLength": 1,
            "description": "The ssh program.",
            "default": "ssh",
            "examples": ["/opt/openssh/bin/ssh"],
        },
        **{name: _OF_SSH[name] for name in _SHARED},
        "jump": {
            **_OF_SSH["jump"],
            "items": {
                **_HOP,
                "properties": {
                    **{name: _HOP["properties"][name] for name in ("address", "port", "user")},
                    "keys": {
                        "type": "array",
                        "description": "Files of private keys for this host, tried before those of the transport.",
                        "items": _KEY,
                        "examples": [[{"file": "keys/bastion"}]],
                    },
                },
            },
        },
    },
}
