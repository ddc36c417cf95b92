"""`verify`: how what a source fetches is proven, as an option of every source that fetches.

verify: [{minisign: {key: trust/vendor.pub}}, {sha256: {sums: SHA256SUMS}}]    all of them
verify: {any: [{gpg: {keyring: trust/vendor.gpg}}, …]}                         the first that there is
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from reconciler.contracts import Traits

_ONE = {"minProperties": 1, "maxProperties": 1, "additionalProperties": False}
_SUMS: Mapping[str, Any] = {
    "type": "string",
    "minLength": 1,
    "description": "The sums file that is signed in place of the file itself, which must be listed in it.",
    "examples": ["SHA256SUMS"],
}
_PLACES = "Where it is: a name beside the file, or a whole URL; {url}, {name} and {version} stand for the file's own."

_SHA256: Mapping[str, Any] = {
    "type": "object",
    **_ONE,
    "x-says": "one of {file: …}, {sums: …} and {json: …}",
    "description": "The digest that the source itself says. It tells damage from what is whole, and proves nothing of "
    "who made it: alone it is no signature.",
    "examples": [{"sums": "SHA256SUMS"}],
    "properties": {
        "file": {
            "type": "string",
            "minLength": 1,
            "description": f"A file of one digest. {_PLACES}",
            "examples": ["{url}.sha256"],
        },
        "sums": {
            "type": "string",
            "minLength": 1,
            "description": f"A file of many, in any form that `sha256sum -c` takes. {_PLACES}",
            "examples": ["SHA256SUMS"],
        },
        "json": {
            "type": "string",
            "pattern": "^(/.*)?$",
            "x-says": "a JSON pointer such as /assets/0/digest",
            "description": "A JSON pointer into the document that the version came from.",
            "examples": ["/assets/0/digest"],
        },
    },
}
_MINISIGN: Mapping[str, Any] = {
    "type": "object",
    "description": "A signature of minisign. What its trusted comment says of `file:` and `version:` must be so.",
    "additionalProperties": False,
    "required": ["key"],
    "examples": [{"key": "trust/vendor.pub"}],
    "properties": {
        "key": {
            "type": "string",
            "minLength": 1,
            "description": "The file of the public key, or the key itself: a line that begins with RW.",
            "examples": ["trust/vendor.pub"],
        },
        "signature": {
            "type": "string",
            "minLength": 1,
            "description": f"The signature; left out, it has the file's name with .minisig behind it. {_PLACES}",
            "examples": ["{url}.minisig"],
        },
        "sums": _SUMS,
    },
}
_GPG: Mapping[str, Any] = {
    "type": "object",
    "description": "A detached signature of OpenPGP, verified by the program gpgv.",
    "additionalProperties": False,
    "required": ["keyring"],
    "examples": [{"keyring": "trust/vendor.gpg"}],
    "properties": {
        "keyring": {
            "type": "string",
            "minLength": 1,
            "description": "The file of the keys that may sign, as `gpg --export` writes it, armoured or not.",
            "examples": ["trust/vendor.gpg"],
        },
        "signature": {
            "type": "string",
            "minLength": 1,
            "description": f"The signature, armoured or not; left out, it is the one that what is fetched has in "
            f"itself, or the file with .asc behind its name. {_PLACES}",
            "examples": ["{url}.asc"],
        },
        "sums": _SUMS,
    },
}
_COSIGN: Mapping[str, Any] = {
    "type": "object",
    "description": "A signature of cosign beside an artifact of a registry, made with a key.",
    "additionalProperties": False,
    "required": ["key"],
    "examples": [{"key": "trust/cosign.pub"}],
    "properties": {
        "key": {
            "type": "string",
            "minLength": 1,
            "description": "The file of the public key, as `cosign generate-key-pair` writes it: ECDSA on P-256, RSA "
            "or Ed25519.",
            "examples": ["trust/cosign.pub"],
        },
    },
}
_CLAMSIGN: Mapping[str, Any] = {
    "type": "object",
    "description": "A signature of ClamAV beside the file: PKCS#7 that leads to a certificate. Databases are verified "
    "by more than that: by the source `clamav`.",
    "additionalProperties": False,
    "required": ["certificates"],
    "examples": [{"certificates": "trust/clamav"}],
    "properties": {
        "certificates": {
            "type": "string",
            "minLength": 1,
            "description": "What the signer's certificate must lead to: a PEM file, or a folder of *.pem and *.crt.",
            "examples": ["trust/clamav"],
        },
        "signature": {
            "type": "string",
            "minLength": 1,
            "default": "{url}.sign",
            "description": f"The signature. {_PLACES}",
            "examples": ["{url}.sign"],
        },
    },
}
_SSH: Mapping[str, Any] = {
    "type": "object",
    "description": "A signature of an SSH key, as `ssh-keygen -Y sign` makes it, and git of tags and commits.",
    "additionalProperties": False,
    "required": ["signers"],
    "examples": [{"signers": "trust/allowed_signers"}],
    "properties": {
        "signers": {
            "type": "string",
            "minLength": 1,
            "description": "The file of the keys that may sign, as ssh-keygen has it (ALLOWED SIGNERS): "
            "`release@example.org ssh-ed25519 AAAA…`.",
            "examples": ["trust/allowed_signers"],
        },
        "signature": {
            "type": "string",
            "minLength": 1,
            "description": f"The signature; left out, it is the one that what is fetched has in itself, or the file "
            f"with .sig behind its name. {_PLACES}",
            "examples": ["{url}.sig"],
        },
        "namespace": {
            "type": "string",
            "minLength": 1,
            "default": "file",
            "description": "What a signature beside a file was made for; those of git are for `git`.",
            "examples": ["file"],
        },
        "sums": _SUMS,
    },
}
_TUF: Mapping[str, Any] = {
    "type": "object",
    "description": "A signed repository (TUF) that lists the file as a target.",
    "additionalProperties": False,
    "required": ["url", "trusted_root"],
    "examples": [{"url": "https://tuf.vendor.example", "trusted_root": "trust/root.json"}],
    "properties": {
        "url": {
            "type": "string",
            "pattern": "^(https?://[^/\\s]+|file:///)\\S*$",
            "x-says": "a URL such as https://tuf.vendor.example",
            "description": "Where the repository is; its metadata lies in `metadata` below that.",
            "examples": ["https://tuf.vendor.example"],
        },
        "trusted_root": {
            "type": "string",
            "minLength": 1,
            "description": "The file with the first root that is trusted, got from the publisher by a way of its own.",
            "examples": ["trust/root.json"],
        },
        "target": {
            "type": "string",
            "minLength": 1,
            "default": "{name}",
            "description": "What the file is called there.",
            "examples": ["rules/{name}"],
        },
    },
}
_WAY: Mapping[str, Any] = {
    "x-section": "way",
    "type": "object",
    **_ONE,
    "x-says": "one way to verify, such as {minisign: {key: trust/vendor.pub}}",
    "description": "A way to verify what was fetched.",
    "examples": [{"minisign": {"key": "trust/vendor.pub"}}],
    "properties": {
        "sha256": _SHA256,
        "minisign": _MINISIGN,
        "gpg": _GPG,
        "ssh": _SSH,
        "cosign": _COSIGN,
        "clamsign": _CLAMSIGN,
        "tuf": _TUF,
    },
}


def _list(says: str) -> dict[str, Any]:
    return {"type": "array", "minItems": 1, "items": _WAY, "description": says, "examples": _WAY["examples"]}


VERIFY: Mapping[str, Any] = {
    "x-section": "verify",
    "type": ["array", "object"],
    "minItems": 1,
    "items": _WAY,
    **_ONE,
    "x-says": "a list of ways to verify, or one of {all: …} and {any: …}",
    "description": "How what is fetched is proven before anything believes it. A list: in all of these ways. Left out: "
    "plans say that it isn't signed.",
    "examples": [[{"minisign": {"key": "trust/vendor.pub"}}]],
    "properties": {
        "all": _list("In all of these ways."),
        "any": _list("In the first of these ways that there is; a signature that is there and wrong is refused."),
    },
}
"""The property `verify` in a schema of options."""
UNSIGNED = frozenset({"sha256"})
"""Ways that say nothing of who made a file."""


def ways_of(verify: Any) -> tuple[bool, list[tuple[str, Mapping[str, Any]]]]:
    """Read the option: whether all ways count, and their names and options in order."""
    every = not (isinstance(verify, dict) and "any" in verify)
    ways: Iterable[Mapping[str, Any]] = verify or ()
    if isinstance(verify, dict):
        ways = verify["all" if every else "any"]
    return every, [next(iter(way.items())) for way in ways]


def verifying(traits: Traits, *verify: Any) -> Traits:
    """Give the traits of a source with what verifying adds; a source has one option `verify`, or several."""
    each = [{"verify": one} for one in verify]
    ways = [way for one in verify for way in ways_of(one)[1]]
    remote = any(name == "tuf" and not str(options["url"]).startswith("file:") for name, options in ways)
    return replace(
        traits,
        signed=bool(each) and all(map(signed_by_options, each)),
        vouches=any(map(some_signed_by_options, each)),
        programs=traits.programs or any(name == "gpg" for name, _options in ways),
        network=traits.network or remote,
    )


def signed_by_options(options: Mapping[str, Any]) -> bool:
    """Say whether all that passes is signed, whichever way it goes."""
    every, ways = ways_of(options.get("verify"))
    signs = [name not in UNSIGNED for name, _options in ways]
    return any(signs) if every else bool(signs) and all(signs)


def some_signed_by_options(options: Mapping[str, Any]) -> bool:
    """Say whether some of what passes may be signed."""
    return any(name not in UNSIGNED for name, _options in ways_of(options.get("verify"))[1])
