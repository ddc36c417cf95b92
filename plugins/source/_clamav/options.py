"""The options of a source of ClamAV's databases."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from reconciler.web.options import WEB

from .._fetched.options import REFRESH_LIMIT

if TYPE_CHECKING:
    from collections.abc import Mapping

RECORD = "current.cvd.clamav.net"
"""The name whose TXT record has the vendor's versions."""

OPTIONS: Mapping[str, Any] = {
    "type": "object",
    "description": "Databases of ClamAV, from the vendor's network, a private mirror or a folder.",
    "properties": {
        "url": {
            "type": "string",
            "minLength": 1,
            "description": "Where `daily.cvd` and the others are: http or https, or a folder, as a path or a file URL. "
            "User and password don't belong here.",
            "examples": ["https://clamav-mirror.example", "media/clamav"],
        },
        "components": {
            "type": "object",
            "description": "Which database each component is. Left out: those whose ids are `clamav-` and a database's "
            "name, as in the bundled catalog.",
            "examples": [{"clamav-daily": {"database": "daily"}}],
            "additionalProperties": {
                "type": "object",
                "description": "A component of this source.",
                "additionalProperties": False,
                "required": ["database"],
                "examples": [{"database": "daily"}],
                "properties": {
                    "database": {
                        "type": "string",
                        "pattern": "^[A-Za-z0-9_]{1,64}$",
                        "x-says": "the name of a database such as daily",
                        "description": "The database: its files' name up to the first dot.",
                        "examples": ["daily", "main", "bytecode"],
                    }
                },
            },
        },
        "discovery": {
            "type": "string",
            "enum": ["dns", "dns.txt", "http"],
            "default": "http",
            "description": "How the newest versions are found: by a TXT record, as the vendor's network wants it; by a "
            "mirror's file `dns.txt`; or by the headers of the databases themselves, for mirrors that have neither.",
        },
        "record": {
            "type": "string",
            "pattern": "^[A-Za-z0-9_.-]{1,253}$",
            "x-says": "a name such as current.cvd.clamav.net",
            "default": RECORD,
            "description": "The name of the TXT record. Another database than the vendor's three has one beside it, of "
            "its own name.",
            "examples": [RECORD],
        },
        "resolver": {
            "type": "string",
            "minLength": 1,
            "description": "The name server to ask for it. Left out: those of this machine.",
            "examples": ["192.0.2.53", "192.0.2.53:5353"],
        },
        "form": {
            "type": "string",
            "enum": ["cld", "cvd"],
            "default": "cld",
            "description": "What is deployed. cld: one that is merged here of increments, unpacked, the same wherever "
            "it is made, so that little of it is sent to clients. cvd: the file as its vendor published it, which has "
            "to be fetched and sent whole; its signature goes along to mirrors of ours.",
        },
        "verify": {
            "type": "array",
            "minItems": 1,
            "maxItems": 1,
            "x-says": "a list of one: {clamsign: {keys: trust/clamav-keys.yaml}}",
            "description": "How databases are proven before anything believes them. Left out: plans say that they "
            "aren't signed.",
            "examples": [[{"clamsign": {"keys": "trust/clamav-keys.yaml"}}]],
            "items": {
                "type": "object",
                "description": "The way to verify.",
                "additionalProperties": False,
                "required": ["clamsign"],
                "examples": [{"clamsign": {"keys": "trust/clamav-keys.yaml"}}],
                "properties": {
                    "clamsign": {
                        "type": "object",
                        "description": "The signatures of ClamAV: within its files, and beside them (`.sign`).",
                        "additionalProperties": False,
                        "required": ["keys"],
                        "examples": [{"keys": "trust/clamav-keys.yaml"}],
                        "properties": {
                            "keys": {
                                "type": "string",
                                "minLength": 1,
                                "description": "The file of the public keys for containers, cdiffs and `.info`.",
                                "examples": ["trust/clamav-keys.yaml"],
                            },
                            "certificates": {
                                "type": "string",
                                "minLength": 1,
                                "description": "The certificates that signatures beside files must lead to: a file, or "
                                "a folder of *.pem and *.crt. Left out: these signatures are passed on and not looked "
                                "at.",
                                "examples": ["trust/clamav"],
                            },
                            "require": {
                                "type": "string",
                                "enum": ["any", "sign"],
                                "default": "any",
                                "description": "`sign`: what is fetched must have a signature beside it.",
                            },
                        },
                    }
                },
            },
        },
        **REFRESH_LIMIT,
        **WEB,
    },
    "required": ["url"],
    "additionalProperties": False,
}
