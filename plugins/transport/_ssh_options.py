"""The options of the ssh transport."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from reconciler.formats.option_schemas import DURATION, SECRET

if TYPE_CHECKING:
    from collections.abc import Mapping

LOGINS = 6
"""How many times `connect_timeout` logging in may take: so many keys are tried, as a rule."""
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
            "items": {**SECRET, "description": "A private key, in OpenSSH's or PEM's form."},
            "examples": [[{"file": "keys/new"}, {"file": "keys/old"}]],
        },
        "passphrase": {**SECRET, "description": "What the private keys are locked with."},
        "password": {**SECRET, "description": "The user's password, tried after the keys."},
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
            **DURATION,
            "description": "For connecting and logging in.",
            "default": "10s",
            "examples": ["10s"],
        },
        "idle_timeout": {
            **DURATION,
            "description": "How long a client may be silent while it works.",
            "default": "5m",
            "examples": ["5m"],
        },
        "timeout": {**DURATION, "description": "For one request as a whole.", "default": "1h", "examples": ["1h"]},
        "keep_alive": {
            **DURATION,
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
        "jump": {
            "type": "array",
            "minItems": 1,
            "maxItems": 8,
            "description": "Hosts that the way leads over, one after the other, as with ssh -J. The group's proxy "
            "leads to the first. Each must be known to `known_hosts`.",
            "examples": [[{"address": "bastion.example", "user": "ops"}]],
            "items": {
                "type": "object",
                "description": "A host on the way.",
                "required": ["address"],
                "additionalProperties": False,
                "examples": [{"address": "bastion.example"}],
                "properties": {
                    "address": {
                        "type": "string",
                        "minLength": 1,
                        "description": "A host name or a literal address.",
                        "examples": ["bastion.example"],
                    },
                    "port": {
                        "type": "integer",
                        "description": "Its port.",
                        "default": 22,
                        "minimum": 1,
                        "maximum": 65535,
                        "examples": [22],
                    },
                    "user": {
                        "type": "string",
                        "minLength": 1,
                        "description": "Who logs in there. Left out: the transport's user.",
                        "examples": ["ops"],
                    },
                    "keys": {
                        "type": "array",
                        "description": "Private keys for this host. Left out: those of the transport.",
                        "items": {**SECRET, "description": "A private key, in OpenSSH's or PEM's form."},
                        "examples": [[{"file": "keys/bastion"}]],
                    },
                    "password": {**SECRET, "description": "The user's password there, tried after the keys."},
                },
            },
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
