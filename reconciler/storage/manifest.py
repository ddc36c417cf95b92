"""Releases and incrementals as JSON, in the store and in the state; hostile until checked."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC
from typing import TYPE_CHECKING, Any

from reconciler.formats.index import file_entry
from reconciler.model.delta import Incremental, Kept, Patch, incremental_problem
from reconciler.model.release import (
    COMPONENT_ID,
    PLATFORM,
    SHA256,
    VERSION_NAME,
    Release,
    ReleaseFile,
    SignedBy,
    file_name_problem,
    release_time,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

FORMAT_VERSION = "1.0"


def release_document(release: Release) -> dict[str, Any]:
    """Give the document of a release."""
    return {
        "format_version": FORMAT_VERSION,
        "component": release.component,
        "version": release.version,
        "platform": release.platform,
        "released": release.released.astimezone(UTC).isoformat() if release.released else None,
        "notes": release.notes,
        **({"signed": asdict(release.signed)} if release.signed else {}),
        "files": [file_entry(file) for file in release.files],
        **({"attached": [file_entry(file) for file in release.attached]} if release.attached else {}),
    }


def _file(entry: Mapping[str, Any]) -> ReleaseFile:
    return ReleaseFile(entry["name"], entry["size"], entry["sha256"])


def read_release(document: Mapping[str, Any]) -> Release:
    """Read the document of a release.

    Raises:
        ValueError: the document isn't what `release_document` gives, or would lead out of its folder.
    """
    try:
        if not document["format_version"].startswith("1."):
            raise ValueError(f"it has the format {document['format_version']}, not 1.x")
        released = document["released"]
        release = Release(
            component=document["component"],
            version=document["version"],
            platform=document["platform"],
            files=tuple(map(_file, document["files"])),
            released=release_time(released) if released else None,
            notes=str(document["notes"]),
            signed=_signed(document["signed"]) if "signed" in document else None,
            attached=tuple(map(_file, document.get("attached", []))),
        )
        _check(release)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"it is malformed: {error!r}") from error
    return release


def _signed(entry: Mapping[str, Any]) -> SignedBy:
    """Read whose signatures vouch for a release."""
    found = SignedBy(**{**entry, "keys": tuple(entry["keys"])})
    counts = (found.signatures, found.known, found.threshold)
    texts = (found.source, found.role, found.scheme, *found.keys)
    if any(type(count) is not int or count < 0 for count in counts) or any(type(text) is not str for text in texts):
        raise ValueError("who signed it isn't said in words and numbers")
    return found


def _check(release: Release) -> None:
    if not COMPONENT_ID.fullmatch(release.component) or not PLATFORM.fullmatch(release.platform):
        raise ValueError(f"{release.component!r} for {release.platform!r} names no release")
    if not VERSION_NAME.fullmatch(release.version):
        raise ValueError(f"{release.version!r} is no version")
    files = (*release.files, *release.attached)
    for file in files:
        problem = file_name_problem(file.name)
        if problem:
            raise ValueError(problem)
        if type(file.size) is not int or file.size < 0 or not SHA256.fullmatch(file.sha256):
            raise ValueError(f"the file {file.name!r} has no size or digest")
    if len({file.name for file in files}) != len(files) or not release.files:
        raise ValueError("it has no files, or a file twice")


def incremental_document(incremental: Incremental) -> dict[str, Any]:
    """Give the document of an incremental."""
    return {
        "format_version": FORMAT_VERSION,
        "component": incremental.component,
        "platform": incremental.platform,
        "from": {"version": incremental.from_version, "digest": incremental.from_digest},
        "to": {"version": incremental.to_version, "digest": incremental.to_digest},
        "codec": incremental.codec,
        "refused": incremental.refused,
        "patches": [
            {
                "name": patch.name,
                "size": patch.size,
                "sha256": patch.sha256,
                "codec": patch.codec,
                "base": patch.base,
                "result": patch.result,
            }
            for patch in incremental.patches
        ],
        "kept": [{"name": kept.name, "base": kept.base} for kept in incremental.kept],
    }


def read_incremental(document: Mapping[str, Any]) -> Incremental:
    """Read the document of an incremental.

    Raises:
        ValueError: the document isn't what `incremental_document` gives, or would lead out of its folder.
    """
    try:
        if not document["format_version"].startswith("1."):
            raise ValueError(f"it has the format {document['format_version']}, not 1.x")
        incremental = Incremental(
            component=document["component"],
            platform=document["platform"],
            from_version=document["from"]["version"],
            from_digest=document["from"]["digest"],
            to_version=document["to"]["version"],
            to_digest=document["to"]["digest"],
            codec=document["codec"],
            patches=tuple(
                Patch(
                    name=entry["name"],
                    size=entry["size"],
                    sha256=entry["sha256"],
                    codec=entry["codec"],
                    base=entry["base"],
                    result=entry["result"],
                )
                for entry in document["patches"]
            ),
            kept=tuple(Kept(entry["name"], entry["base"]) for entry in document["kept"]),
            refused=str(document["refused"]),
        )
        problem = incremental_problem(incremental)
        if problem:
            raise ValueError(problem)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"it is malformed: {error!r}") from error
    return incremental
