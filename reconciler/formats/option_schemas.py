"""Schemas of values that the options of several plugins have."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

SECRET: Mapping[str, Any] = {
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
PASS_ENV: Mapping[str, Any] = {
    "type": "array",
    "items": {"type": "string", "minLength": 1, "description": "A variable's name.", "examples": ["NETBOX_TOKEN"]},
    "description": "Variables of the environment that hold secrets, which the program gets all the same: others that "
    "the file names as `{env: …}` are taken out. On the server only.",
    "examples": [["NETBOX_TOKEN"]],
}


def command_option(text: str, words: Sequence[str]) -> Mapping[str, Any]:
    """Give the schema of a command of this machine, with an example of each form."""
    return {
        "type": ["string", "array"],
        "items": {"type": "string", "description": "The program, or an argument.", "examples": [words[0]]},
        "minItems": 1,
        "pattern": "\\S",
        "x-says": "a command",
        "description": "The command: a text for sh, or a program with its arguments.",
        "examples": [text, list(words)],
    }


DURATION: Mapping[str, Any] = {
    "type": "string",
    "pattern": "^([0-9]+[smhdw])+$",
    "x-says": "a duration such as 90s, 2m, 36h or 7d",
}
CA: Mapping[str, Any] = {
    "type": "string",
    "minLength": 1,
    "description": "The file of the authorities that its certificate must come from. Left out: those of the system.",
    "examples": ["trust/internal-ca.pem"],
}
FAMILY: Mapping[str, Any] = {
    "type": "string",
    "enum": ["any", "ipv4", "ipv6"],
    "default": "any",
    "description": "The address family to connect with.",
    "examples": ["ipv4"],
}
