"""The options of the ssh transport."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

_SECRET: Mapping[str, Any] = {
    "type": "object",
    "x-secret": True,
    "minProperties": 1,
    "maxProperties": 1,
    "additionalProperties": False,
    "x-says": "a secret's place: {env: NAME}, {file: PATH} or {command: [PROGRAM, …]}",
    "examples": [{"file": "keys/updoser"}],
    "properties": {
        "env": {"type": "string", "description": "The environment variable that holds it.", "examples": ["SSH_KEY"]},
        "file": {"type": "string", "description": "The file that holds it.", "examples": ["keys/updoser"]},
        "command": {
            "type": "array",
            "description": "The program that prints it.",
            "items": {"type": "string", "description": "The program, or an argument.", "examples": ["pass"]},
            "examples": [["pass", "show", "updoser"]],
        },
    },
}
_DURATION: Mapping[str, Any] = {
    "type": "string",
    "pattern": "^([0-9]+[smhdw])+$",
    "x-says": "a duration such as 90s, 2m, 36h or 7d",
}

OPTIONS: Mapping[str, Any] = {
    "type": "object",
    "description": "Clients over SSH.",
    "additionalProperties": False,
    "properties": {
        "user": {
            "type": "string",
            "description": "Who logs in. Left out: the user who runs updoser.",
            "examples": ["updoser"],
        },
        "port": {
            "type": "integer",
            "description": "The port, where a client names none.",
            "default": 22,
            "minimum": 1,
            "maximum": 65535,
            "examples": [22],
        },
        "keys": {
            "type": "array",
            "description": "Private keys, tried in this order. Left out, and without `password`: those of the agent, "
            "then those in ~/.ssh.",
            "items": {**_SECRET, "description": "A private key, in OpenSSH's or PEM's form."},
            "examples": [[{"file": "keys/new"}, {"file": "keys/old"}]],
        },
        "passphrase": {**_SECRET, "description": "What the private keys are locked with."},
        "password": {**_SECRET, "description": "The user's password, tried after the keys."},
        "agent": {
            "type": "boolean",
            "description": "Whether the keys of the SSH agent are tried after `keys`.",
            "examples": [True],
        },
        "known_hosts": {
            "type": "string",
            "description": "The file of trusted host keys; a relative path starts from the spec's folder.",
            "default": "~/.ssh/known_hosts",
            "examples": ["trust/known_hosts"],
        },
        "accept_new": {
            "type": "boolean",
            "description": "Trust the key of a host that isn't known yet, and append it. Changed keys are refused.",
            "default": False,
            "examples": [True],
        },
        "connect_timeout": {
            **_DURATION,
            "description": "For connecting and logging in.",
            "default": "10s",
            "examples": ["10s"],
        },
        "idle_timeout": {
            **_DURATION,
            "description": "How long a client may be silent while it works.",
            "default": "5m",
            "examples": ["5m"],
        },
        "timeout": {**_DURATION, "description": "For one request as a whole.", "default": "1h", "examples": ["1h"]},
        "keep_alive": {
            **_DURATION,
            "description": "How often an idle connection is kept awake.",
            "default": "15s",
            "examples": ["15s"],
        },
        "compression": {
            "type": "boolean",
            "description": "Compress what is sent; worth it on slow lines only.",
            "default": False,
            "examples": [False],
        },
        "shell": {
            "type": "string",
            "description": "The command on the client that is a POSIX shell.",
            "default": "sh",
            "examples": ["sh", "busybox sh"],
        },
        "become": {
            "type": "object",
            "description": "Become root for the work on clients, without a password and a terminal.",
            "additionalProperties": False,
            "examples": [{"method": "sudo"}],
            "properties": {
                "method": {
                    "const": "sudo",
                    "description": "How to become root.",
                    "default": "sudo",
                    "examples": ["sudo"],
                },
                "command": {
                    "type": "string",
                    "description": "A fixed copy of the client script that sudoers allows, instead of a shell.",
                    "default": "",
                    "examples": ["/usr/local/libexec/updoser-client"],
                },
            },
        },
    },
}
