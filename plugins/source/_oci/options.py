"""The options of the source `oci`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from reconciler.web.options import WEB

from .._fetched.options import REFRESH_LIMIT
from .._fetched.unpack import UNPACK
from .._verify.options import VERIFY

if TYPE_CHECKING:
    from collections.abc import Mapping

DIGEST_PATTERN = "^sha256:[0-9a-f]{64}$"


def _some(what: str, example: list[str], says: str) -> dict[str, Any]:
    """Give the schema of one pattern or several."""
    item = {"type": "string", "minLength": 1, "maxLength": 200, "description": what, "examples": [example[0]]}
    return {
        "type": ["string", "array"],
        "minLength": 1,
        "minItems": 1,
        "items": item,
        "description": says,
        "examples": [example[0], example],
    }


COMPONENT: Mapping[str, Any] = {
    "type": "object",
    "description": "Where a component is in the registry, and what of it is taken.",
    "additionalProperties": False,
    "required": ["repository"],
    "examples": [{"repository": "falcosecurity/rules/falco-rules"}],
    "properties": {
        "repository": {
            "type": "string",
            "minLength": 1,
            "description": "The repository, without the registry.",
            "examples": ["falcosecurity/rules/falco-rules"],
        },
        "tags": _some(
            "A pattern.",
            ["4.*", "5.*"],
            "Which tags are taken: a pattern, or several; `*` is any text. Left out: all that are versions.",
        ),
        "strip_prefix": {
            "type": "string",
            "maxLength": 60,
            "default": "",
            "description": "What a tag begins with before its version; tags that don't are none.",
            "examples": ["v"],
        },
        "keep": {
            "type": "integer",
            "minimum": 1,
            "maximum": 100,
            "default": 3,
            "description": "How many versions are offered, the newest first. Each costs a request.",
            "examples": [5],
        },
        "floating": {
            "type": "array",
            "minItems": 1,
            "items": {
                "type": "string",
                "pattern": "^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$",
                "x-says": "a tag such as latest",
                "description": "A tag.",
                "examples": ["latest"],
            },
            "description": "Tags that move, which are taken all the same. What one stands for has the version that its "
            "annotation says, or when it came out; each move is a release of its own.",
            "examples": [["latest"]],
        },
        "digests": {
            "type": "object",
            "minProperties": 1,
            "propertyNames": {"minLength": 1},
            "additionalProperties": {
                "type": "string",
                "pattern": DIGEST_PATTERN,
                "x-says": "a digest such as sha256:… with 64 hexadecimal digits",
                "description": "The artifact's digest.",
                "examples": ["sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"],
            },
            "description": "Which artifacts the releases are, by version: then no tag decides that. Tags are looked at "
            "beside them only where `tags` says which.",
            "examples": [{"4.0.0": "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"}],
        },
        "platforms": {
            "type": "array",
            "minItems": 1,
            "items": {
                "type": "string",
                "pattern": "^[a-z0-9]+-[a-z0-9_]+$",
                "x-says": "a platform such as linux-x86_64",
                "description": "A platform.",
                "examples": ["linux-x86_64"],
            },
            "description": "Of an artifact for several platforms, those that are taken. Left out: all.",
            "examples": [["linux-x86_64", "linux-aarch64"]],
        },
        "layer": _some(
            "A pattern.",
            ["*.rules.tar.gz", "application/vnd.cncf.falco.rulesfile.layer.v1+tar.gz"],
            "Which layers are taken: a pattern for their titles or media types, or several. Left out: all.",
        ),
        "file": {
            "type": "string",
            "minLength": 1,
            "description": "What the file of the only layer is called. Left out: as its title says.",
            "examples": ["falco_rules.tar.gz"],
        },
        "unpack": UNPACK,
        "signed_as": {
            "type": "string",
            "minLength": 1,
            "description": "What signatures of cosign call the artifact, where this registry is a mirror of another "
            "one. Left out: as it is here, registry and repository.",
            "examples": ["ghcr.io/falcosecurity/rules/falco-rules"],
        },
        "verify": {**VERIFY, "description": "How this component is proven, in place of the source's `verify`."},
    },
}
OPTIONS: Mapping[str, Any] = {
    "type": "object",
    "description": "Artifacts of a registry (OCI), such as ghcr.io: each version is a tag, and its layers are files.",
    "properties": {
        "registry": {
            "type": "string",
            "minLength": 1,
            "description": "The registry: a host, and a port where it isn't the usual one.",
            "examples": ["ghcr.io", "registry.example:5000"],
        },
        "components": {
            "type": "object",
            "minProperties": 1,
            "propertyNames": {"pattern": "^[a-z0-9][a-z0-9_-]{0,63}$", "x-says": "the id of a component"},
            "additionalProperties": COMPONENT,
            "description": "What it has, by component.",
            "examples": [{"falco_rules": {"repository": "falcosecurity/rules/falco-rules"}}],
        },
        "verify": VERIFY,
        "insecure": {
            "type": "boolean",
            "default": False,
            "description": "Speak plain http with it: for a registry on this machine, or in a lab.",
        },
        "realm": {
            "type": "string",
            "pattern": "^https?://[^/\\s?#]+[^\\s?#]*$",
            "x-says": "a URL such as https://auth.example/token",
            "description": "Where tokens come from, if that is of another domain than the registry: user and password "
            "go there only when it is named here.",
            "examples": ["https://auth.example/token"],
        },
        **WEB,
        **REFRESH_LIMIT,
    },
    "required": ["registry", "components"],
    "additionalProperties": False,
}
