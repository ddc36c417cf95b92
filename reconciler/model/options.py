"""Schemas of values that the options of several plugins have."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

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
DURATION: Mapping[str, Any] = {
    "type": "string",
    "pattern": "^([0-9]+[smhdw])+$",
    "x-says": "a duration such as 90s, 2m, 36h or 7d",
}
