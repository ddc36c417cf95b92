"""`updoser release add --incremental-from`: a release and incrementals to it in a folder, all of them or none.

Incrementals are put in place before the release, whose rename makes all of it count at once; where that fails, they are
taken away again. The patches are made at the codec's highest level, as what is published is made once and fetched by
many, applied again and compared, and put in place by one rename, with `incremental.json` beside them. An incremental
that isn't clearly smaller than what it replaces isn't written.
"""

from __future__ import annotations

import hashlib
import json
from contextlib import ExitStack, contextmanager
from shutil import rmtree
from threading import Event
from typing import TYPE_CHECKING, Any

from reconciler.authoring.releases import (
    FACTS,
    FORMAT_VERSION,
    SUMS,
    add_release,
    check_words,
    making,
    release_folder,
    rename_new,
    temporary_folder,
    write_text,
    writing,
)
from reconciler.errors import PatchError, PluginError, RefusedError, SourceError, UsageError
from reconciler.execute.patchwork import Recipe, draft, load_codec, make_patches
from reconciler.files import sync_folder
from reconciler.formats.text import read_json
from reconciler.model.delta import CLEARLY
from reconciler.model.release import ANY_PLATFORM, ReleaseFile, content_digest

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import datetime
    from pathlib import Path

    from reconciler.execute.patchwork import Draft
    from reconciler.model.delta import Patch

INCREMENTALS = "incrementals"
INCREMENTAL = "incremental.json"


def add_with_incrementals(
    component: str,
    version: str,
    files: Sequence[Path],
    to: Path,
    *,
    before: Sequence[str],
    codec: str,
    platform: str = ANY_PLATFORM,
    notes: str = "",
    released: datetime | None = None,
) -> tuple[Path, dict[str, Path | None]]:
    """Add a release and the incrementals to it from releases that are there; give their folders, by the FROM.

    None stands for an incremental that wouldn't be clearly smaller than the files that it would replace.

    Raises:
        UsageError, RefusedError, SourceError, PatchError: see `add_release` and `add_incremental`; nothing was added.
    """
    made: dict[str, Path | None] = {}
    if not before:
        return add_release(component, version, files, to, platform=platform, notes=notes, released=released), made
    check_words(component, version, platform, released, notes)
    _highest_level(codec)
    for one in before:
        check_words(component, one, platform)
        if one == version:
            raise UsageError(f"{version} can't be made from itself", hint="name an earlier release")
        _read_release(to, component, one, platform)

    @contextmanager
    def incrementals(folder: Path) -> Iterator[None]:
        with ExitStack() as undo:
            undo.enter_context(making(to / component / INCREMENTALS))
            for one in dict.fromkeys(before):
                target = _incremental_folder(to, component, one, version, platform)
                stood = target.exists()
                made[one] = add_incremental(component, one, version, to, codec=codec, platform=platform, at=folder)
                if not stood:
                    undo.callback(rmtree, target, ignore_errors=True)
            yield
            undo.pop_all()

    path = add_release(
        component, version, files, to, platform=platform, notes=notes, released=released, beside=incrementals
    )
    return path, made


def _incremental_folder(to: Path, component: str, before: str, version: str, platform: str) -> Path:
    name = f"{before}..{version}" + ("" if platform == ANY_PLATFORM else f"@{platform}")
    return to / component / INCREMENTALS / name


def add_incremental(
    component: str,
    before: str,
    version: str,
    to: Path,
    *,
    codec: str,
    platform: str = ANY_PLATFORM,
    at: Path | None = None,
) -> Path | None:
    """Make the incremental from the release `before` to `version` in the folder `to`, and give its folder.

    `at` is a folder of the files of `version` where it isn't there yet. None when the incremental isn't clearly smaller
    than the files that it would replace.

    Raises:
        UsageError: one of the releases isn't in the folder, or there is no such codec.
        RefusedError: an incremental with other bytes stands there already.
        SourceError: a file can't be read, or the folder can't be written.
        PatchError: a patch can't be made.
    """
    old, old_folder = _read_release(to, component, before, platform)
    new, new_folder = _files_in(at) if at else _read_release(to, component, version, platform)
    recipe = Recipe(codec, _highest_level(codec))
    target = _incremental_folder(to, component, before, version, platform)
    with writing(target), making(target.parent), temporary_folder(target) as folder:
        work = folder / ".work"
        work.mkdir()
        planned = draft(
            old,
            new,
            recipe,
            work,
            old_at=lambda file: old_folder / file.name,
            new_at=lambda file: new_folder / file.name,
            codec_of=load_codec,
        )
        patches = _make(planned, folder)
        work.rmdir()
        if sum(patch.size for patch in patches.values()) > CLEARLY * planned.full:
            return None
        document = {
            "format_version": FORMAT_VERSION,
            "component": component,
            "platform": platform,
            "from": {"version": before, "digest": content_digest(old)},
            "to": {"version": version, "digest": content_digest(new)},
            "files": _file_entries(new, planned, patches),
        }
        text = json.dumps(document, indent=2, ensure_ascii=False) + "\n"
        if target.exists():
            return _same_or_refused(target, text)
        write_text(folder / INCREMENTAL, text)
        sync_folder(folder)
        rename_new(folder, target)
        sync_folder(target.parent)
    return target


def _highest_level(codec: str) -> int:
    try:
        traits = load_codec(codec).traits
    except PluginError as error:
        raise UsageError(f"there is no codec {codec!r}", hint="`updoser plugins` lists them") from error
    if not traits.based:
        raise UsageError(f"{codec} makes no incrementals", hint="use zstd, or bsdiff for executables")
    return max(grade.level for grade in traits.grades)


def _read_release(to: Path, component: str, version: str, platform: str) -> tuple[list[ReleaseFile], Path]:
    """Hash the files of a release in the folder."""
    folder = release_folder(to, component, version, platform)
    if not folder.is_dir():
        raise UsageError(f"{folder} isn't there", hint=f"add {component} {version} first")
    return _files_in(folder)


def _files_in(folder: Path) -> tuple[list[ReleaseFile], Path]:
    files = []
    try:
        for path in sorted(folder.iterdir()):
            if path.name not in {FACTS, SUMS} and not path.name.startswith(f"{SUMS}."):
                with path.open("rb") as stream:
                    digest = hashlib.file_digest(stream, "sha256").hexdigest()
                files.append(ReleaseFile(path.name, path.stat().st_size, digest))
    except OSError as error:
        raise SourceError(f"{folder} can't be read: {error.strerror}") from error
    if not files:
        raise UsageError(f"{folder} has no files")
    return files, folder


def _make(planned: Draft, folder: Path) -> dict[str, Patch]:
    """Make all patches of a draft and move them to their names; give them by the file that they make."""
    patches = {}
    for made in make_patches(planned.jobs, (), Event()):
        if made.error:
            raise PatchError(f"{planned.files[made.job.patch][0].name!r}: {made.error}")
        patch = planned.patch(made)
        made.job.patch.chmod(0o644)
        made.job.patch.rename(folder / f"{patch.name}.{patch.codec}")
        patches[patch.name] = patch
    return patches


def _file_entries(files: Sequence[ReleaseFile], planned: Draft, patches: Mapping[str, Patch]) -> list[dict[str, Any]]:
    bases = {kept.name: kept.base for kept in planned.kept} | {name: patch.base for name, patch in patches.items()}
    entries = []
    for file in files:
        entry: dict[str, Any] = {"name": file.name, "size": file.size, "sha256": file.sha256}
        if bases[file.name] != file.name:
            entry["base"] = bases[file.name]
        patch = patches.get(file.name)
        if patch is not None:
            entry["delta"] = {"codec": patch.codec, "size": patch.size, "sha256": patch.sha256}
        entries.append(entry)
    return entries


def _same_or_refused(target: Path, text: str) -> Path:
    """Give an incremental that stands there already between the same releases; refuse anything else."""
    try:
        there, mine = read_json((target / INCREMENTAL).read_bytes()), json.loads(text)
        if all(there[key] == mine[key] for key in ("component", "platform", "from", "to")):
            return target
    except (OSError, ValueError, KeyError, TypeError):
        pass
    raise RefusedError(f"{target} is there already, and something else", hint="look at what it is, and move it away")
