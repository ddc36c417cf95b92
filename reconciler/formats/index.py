"""The index of a component: what a signed repository lists of it. schema/index.schema.json has its form.

An index is one signed target, `index/<component>.json`. It names releases, each file with size and SHA-256;
incrementals to them, each patch with size and SHA-256; and versions that were withdrawn. The bytes of files, of what is
attached to releases and of patches lie by their digest in `content/<first two>/<sha256>`. An incremental leads to a
release of the same index, so that it needs only say which file comes of which.

Reading is strict: one thing that doesn't fit, and the whole index is refused. Who signs isn't trusted to be right.
"""

from __future__ import annotations

from datetime import UTC
from functools import partial
from typing import TYPE_CHECKING, Any

from reconciler.formats.incremental_json import (
    check_format,
    digest_of,
    main_codec,
    object_of,
    patch_of,
    size_of,
    text_of,
)
from reconciler.formats.text import read_json
from reconciler.model.delta import Incremental, Kept, Patch, incremental_problem
from reconciler.model.offer import Withdrawal
from reconciler.model.release import (
    ANY_PLATFORM,
    COMPONENT_ID,
    PLATFORM,
    VERSION_NAME,
    Release,
    ReleaseFile,
    file_name_problem,
    release_time,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

FORMAT_VERSION = "1.0"
WITH_ATTACHED = "1.1"
FORMAT_MINOR = 1
FOLDER = "index"
CONTENT = "content"
MAX_BYTES = 64 * 2**20
MAX_RELEASES = 10_000
MAX_INCREMENTALS = 100_000
MAX_FILES = 10_000
MAX_NOTES = 10_000
MAX_REASON = 500

Index = tuple[tuple[Release, ...], tuple[Incremental, ...], tuple[Withdrawal, ...]]


def index_path(component: str) -> str:
    """Give the target path of a component's index."""
    return f"{FOLDER}/{component}.json"


def content_path(sha256: str) -> str:
    """Give the place of a file's bytes in a repository."""
    return f"{CONTENT}/{sha256[:2]}/{sha256}"


def index_document(
    component: str,
    releases: Iterable[Release],
    incrementals: Iterable[Incremental],
    withdrawn: Iterable[Withdrawal],
) -> dict[str, Any]:
    """Give the document of an index, the same for the same content in any order."""
    listed = sorted(releases, key=lambda entry: (entry.version, entry.platform))
    return {
        "format_version": WITH_ATTACHED if any(entry.attached for entry in listed) else FORMAT_VERSION,
        "component": component,
        "releases": [_release_entry(entry) for entry in listed],
        "incrementals": [
            _incremental_entry(entry) for entry in sorted(incrementals, key=lambda entry: (entry.platform, entry.name))
        ],
        "withdrawn": [{"version": entry.version, "reason": entry.reason} for entry in sorted(withdrawn)],
    }


def _release_entry(release: Release) -> dict[str, Any]:
    entry: dict[str, Any] = {"version": release.version, "platform": release.platform}
    if release.released is not None:
        entry["released"] = release.released.astimezone(UTC).isoformat().replace("+00:00", "Z")
    if release.notes:
        entry["notes"] = release.notes
    entry["files"] = [file_entry(file) for file in release.files]
    if release.attached:
        entry["attached"] = [file_entry(file) for file in release.attached]
    return entry


def file_entry(file: ReleaseFile) -> dict[str, Any]:
    """Give a file as documents have it."""
    return {"name": file.name, "size": file.size, "sha256": file.sha256}


def _incremental_entry(incremental: Incremental) -> dict[str, Any]:
    parts: dict[str, Patch | Kept] = {kept.name: kept for kept in incremental.kept}
    parts |= {patch.name: patch for patch in incremental.patches}
    return {
        "from": {"version": incremental.from_version, "digest": incremental.from_digest},
        "to": incremental.to_version,
        "platform": incremental.platform,
        "files": [_part_entry(parts[name]) for name in sorted(parts)],
    }


def _part_entry(part: Patch | Kept) -> dict[str, Any]:
    entry: dict[str, Any] = {"name": part.name}
    if part.base != part.name:
        entry["base"] = part.base
    if isinstance(part, Patch):
        entry["delta"] = {"codec": part.codec, "size": part.size, "sha256": part.sha256}
    return entry


def parse_index(content: bytes, component: str) -> Index:
    """Read the index of a component.

    Raises:
        ValueError: it isn't one; the message says what is wrong with it.
    """
    if len(content) > MAX_BYTES:
        raise ValueError(f"it is larger than {MAX_BYTES} bytes")
    try:
        data: Any = read_json(content)
    except ValueError as error:
        raise ValueError("it isn't JSON") from error
    head = object_of(
        data, "it", {"format_version", "component", "releases"}, {"incrementals", "withdrawn"}, lenient=True
    )
    minor = check_format(head)
    return _Reader(component, lenient=minor > FORMAT_MINOR).index(head)


class _Reader:
    """Reads one index; leniently where it has a higher minor version, whose new keys are passed over."""

    def __init__(self, component: str, *, lenient: bool) -> None:
        self._component = component
        self._take = partial(object_of, lenient=lenient)

    def index(self, head: Any) -> Index:
        component = self._component
        self._take(head, "it", {"format_version", "component", "releases"}, {"incrementals", "withdrawn"})
        if not COMPONENT_ID.fullmatch(component) or text_of(head, "component") != component:
            raise ValueError(f"it is about {head['component']!r:.80}")
        releases = [self._release(entry) for entry in _list(head, "releases", MAX_RELEASES)]
        goals = {(release.version, release.platform): release for release in releases}
        if len(goals) != len(releases):
            raise ValueError("it lists a release twice")
        incrementals = [self._incremental(entry, goals) for entry in _list(head, "incrementals", MAX_INCREMENTALS)]
        withdrawn = [self._withdrawal(entry) for entry in _list(head, "withdrawn", MAX_RELEASES)]
        taken_back = {entry.version for entry in withdrawn}
        if any(release.version in taken_back for release in releases):
            raise ValueError("it offers a version that it withdraws")
        return tuple(releases), tuple(incrementals), tuple(withdrawn)

    def _release(self, entry: Any) -> Release:
        data = self._take(entry, "a release", {"version", "files"}, {"platform", "released", "notes", "attached"})
        version = _version(data, "version")
        files = tuple(sorted(self._file(file, version) for file in _list(data, "files", MAX_FILES)))
        attached = tuple(sorted(self._file(file, version) for file in _list(data, "attached", MAX_FILES)))
        if not files or len({file.name for file in (*files, *attached)}) != len(files) + len(attached):
            raise ValueError(f"{version} has no files, or a file twice")
        notes = text_of(data, "notes") if "notes" in data else ""
        if len(notes) > MAX_NOTES:
            raise ValueError(f"{version} has notes of more than {MAX_NOTES} characters")
        return Release(
            component=self._component,
            version=version,
            platform=_platform(data),
            files=files,
            released=_released(data, version),
            notes=notes,
            attached=attached,
        )

    def _file(self, entry: Any, version: str) -> ReleaseFile:
        data = self._take(entry, "a file", {"name", "size", "sha256"})
        problem = file_name_problem(text_of(data, "name"))
        if problem:
            raise ValueError(f"{version}: {problem}")
        return ReleaseFile(data["name"], size_of(data), digest_of(data))

    def _incremental(self, entry: Any, goals: Mapping[tuple[str, str], Release]) -> Incremental:
        data = self._take(entry, "an incremental", {"from", "to", "files"}, {"platform"})
        start = self._take(data["from"], "from", {"version", "digest"})
        to, platform = _version(data, "to"), _platform(data)
        goal = goals.get((to, platform))
        if goal is None:
            raise ValueError(f"an incremental leads to {to}, which it doesn't list")
        sizes = {file.name: file.size for file in goal.files}
        parts = [self._part(file, sizes, to) for file in _list(data, "files", MAX_FILES)]
        patches = sorted(part for part in parts if isinstance(part, Patch))
        incremental = Incremental(
            component=self._component,
            platform=platform,
            from_version=_version(start, "version"),
            from_digest=text_of(start, "digest"),
            to_version=to,
            to_digest=goal.digest,
            codec=main_codec(patches),
            patches=tuple(patches),
            kept=tuple(sorted(part for part in parts if isinstance(part, Kept))),
        )
        problem = incremental_problem(incremental)
        if problem:
            raise ValueError(f"{incremental.name}: {problem}")
        if not incremental.makes(frozenset(sizes)):
            raise ValueError(f"{incremental.name} doesn't make the files of {to}")
        return incremental

    def _part(self, entry: Any, sizes: Mapping[str, int], to: str) -> Patch | Kept:
        data = self._take(entry, "a file of an incremental", {"name"}, {"base", "delta"})
        name = text_of(data, "name")
        if name not in sizes:
            raise ValueError(f"an incremental makes {name!r:.80}, which {to} doesn't have")
        base = text_of(data, "base") if "base" in data else name
        return patch_of(data["delta"], name, base, sizes[name]) if "delta" in data else Kept(name, base)

    def _withdrawal(self, entry: Any) -> Withdrawal:
        data = self._take(entry, "a withdrawal", {"version", "reason"})
        reason = text_of(data, "reason")
        if not reason.strip() or len(reason) > MAX_REASON or not reason.isprintable():
            raise ValueError(f"the withdrawal of {data['version']!r:.80} has no reason that can be shown")
        return Withdrawal(self._component, _version(data, "version"), reason)


def _list(head: Mapping[str, Any], key: str, limit: int) -> list[Any]:
    entries = head.get(key, [])
    if not isinstance(entries, list) or len(entries) > limit:
        raise ValueError(f"{key} isn't a list of at most {limit} entries")
    return entries


def _released(data: Mapping[str, Any], version: str) -> datetime | None:
    if "released" not in data:
        return None
    try:
        return release_time(text_of(data, "released"))
    except ValueError as error:
        raise ValueError(f"{version}: released: {error}") from error


def _platform(data: Mapping[str, Any]) -> str:
    platform = text_of(data, "platform") if "platform" in data else ANY_PLATFORM
    if not PLATFORM.fullmatch(platform):
        raise ValueError(f"the platform {platform!r:.80} is neither `any` nor `os-arch`")
    return platform


def _version(data: Mapping[str, Any], key: str) -> str:
    version = text_of(data, key)
    if not VERSION_NAME.fullmatch(version):
        raise ValueError(f"{version!r:.80} is no version")
    return version
