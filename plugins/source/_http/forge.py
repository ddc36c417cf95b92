"""Releases of a forge: what the APIs of GitHub and GitLab say of a project, made into versions.

Source of the forms: "REST API endpoints for releases" of GitHub, "Releases API" and "Repositories API" of GitLab.
"""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from reconciler.errors import SourceError, printable

from .found import MAX_TAG, Found, checked_url, name_in, newest, notes_in, time_in, version_in
from .versions import json_at

if TYPE_CHECKING:
    from collections.abc import Mapping

    from reconciler.model.version import VersionScheme

    from .documents import Documents
    from .told import Told

PAGE = 100
"""Releases that are looked at: the newest that the API gives on one page."""
_GITHUB = (("Accept", "application/vnd.github+json"), ("X-GitHub-Api-Version", "2022-11-28"))
_BYTES = (("Accept", "application/octet-stream"),)
_SHOWN = 5


class NoAssetError(SourceError):
    """A release has no file that is meant."""


def find(told: Told, scheme: VersionScheme, documents: Documents) -> list[Found]:
    """Give the newest releases of a project, the newest first; at most as many as are kept.

    Raises:
        SourceError: they can't be found out, or none has what is wanted.
    """
    headers: tuple[tuple[str, str], ...] = ()
    if told.github:
        url, headers = f"repos/{quote(told.github)}/releases?per_page={PAGE}", _GITHUB
    else:
        url = f"projects/{quote(told.gitlab, safe='')}/releases?per_page={PAGE}"
    entries = json_at(documents, url, told.interval, headers)
    if not isinstance(entries, list):
        raise SourceError(f"{told.project} has no list of releases at its forge")
    tags = [(tag, entry) for entry in entries[:PAGE] if (tag := _tag(entry, told))]
    named = [(own, pair) for pair in tags if (own := version_in(pair[0], scheme, told.strip_prefix)) is not None]
    if not named:
        raise SourceError(
            f"none of the {len(tags)} releases of {told.project} has a version of the scheme {scheme.name}",
            hint=f"such as {scheme.example}; `strip_prefix` takes away what stands before it",
        )
    found: list[Found] = []
    missing: list[NoAssetError] = []
    for own, (tag, entry) in newest(named, scheme, PAGE):
        if len(found) == told.keep:
            break
        try:
            found.append((_of_github if told.github else _of_gitlab)(told, own, tag, entry))
        except NoAssetError as error:  # it isn't complete yet, or is a release of another kind
            missing.append(error)
    if not found:
        raise missing[0]
    return found


def _tag(entry: Any, told: Told) -> str:
    if not isinstance(entry, dict) or entry.get("draft") or entry.get("upcoming_release"):
        return ""
    if entry.get("prerelease") and not told.prereleases:
        return ""
    tag = entry.get("tag_name")
    return tag if isinstance(tag, str) and len(tag) <= MAX_TAG else ""


def _of_github(told: Told, version: str, tag: str, entry: Mapping[str, Any]) -> Found:
    assets = _by_name(entry.get("assets"))
    # what isn't public is given by the API only
    key, headers = ("url", _BYTES) if told.has_token else ("browser_download_url", ())
    urls = {name: asset.get(key) for name, asset in assets.items()}
    chosen: Mapping[str, Any] = {}
    url: Any
    if told.archive == "api":
        url = f"{told.base}/repos/{quote(told.github)}/tarball/{quote(tag, safe='')}"
        name = f"{told.github.rpartition('/')[2]}-{version}.tar.gz"
    elif told.archive:
        page = str(entry.get("html_url", "")).partition("/releases/")[0]
        url = f"{page}/archive/refs/tags/{quote(tag)}.tar.gz"
        name = f"{told.github.rpartition('/')[2]}-{version}.tar.gz"
    else:
        name, chosen = _asset(told, version, tag, assets)
        url = urls[name]
    return _found(told, (version, tag), (url, name), entry, chosen, urls, headers, ("published_at", "body"))


def _of_gitlab(told: Told, version: str, tag: str, entry: Mapping[str, Any]) -> Found:
    parts = entry.get("assets")
    assets = _by_name(parts.get("links") if isinstance(parts, dict) else None)
    urls = {name: asset.get("direct_asset_url") or asset.get("url") for name, asset in assets.items()}
    chosen: Mapping[str, Any] = {}
    url: Any
    if told.archive:
        project = quote(told.gitlab, safe="")
        url = f"{told.base}/projects/{project}/repository/archive.tar.gz?sha={quote(tag, safe='')}"
        name = f"{told.gitlab.rpartition('/')[2]}-{version}.tar.gz"
    else:
        name, chosen = _asset(told, version, tag, assets)
        url = urls[name]
    return _found(told, (version, tag), (url, name), entry, chosen, urls, (), ("released_at", "description"))


def _found(
    told: Told,
    names: tuple[str, str],
    place: tuple[Any, str],
    entry: Mapping[str, Any],
    asset: Mapping[str, Any],
    urls: Mapping[str, Any],
    headers: tuple[tuple[str, str], ...],
    keys: tuple[str, str],
) -> Found:
    url = checked_url(told.base, place[0])
    size = asset.get("size")
    return Found(
        version=names[0],
        tag=names[1],
        url=url,
        name=place[1] if name_in(f"/{quote(place[1])}") == place[1] else name_in(url),
        released=time_in(entry.get(keys[0])),
        notes=notes_in(entry.get(keys[1])),
        size=size if isinstance(size, int) and size > 0 else None,
        entry={**entry, "asset": asset},
        assets={name: str(other) for name, other in urls.items() if isinstance(other, str)},
        headers=headers if asset else (),
        asset_headers=headers,
    )


def _by_name(assets: Any) -> dict[str, Mapping[str, Any]]:
    found: dict[str, Mapping[str, Any]] = {}
    for asset in assets if isinstance(assets, list) else ():
        if isinstance(asset, dict) and isinstance(asset.get("name"), str):
            found.setdefault(asset["name"], asset)
    return found


def _asset(
    told: Told, version: str, tag: str, assets: Mapping[str, Mapping[str, Any]]
) -> tuple[str, Mapping[str, Any]]:
    pattern = told.asset.replace("{version}", version).replace("{tag}", tag)
    chosen = [name for name in assets if fnmatchcase(name, pattern)]
    if len(chosen) > 1:
        both = " and ".join(printable(name[:80]) for name in sorted(chosen)[:2])
        raise SourceError(f"{told.project} {tag}: both {both} match `asset`", hint="write the pattern for one of them")
    if not chosen:
        there = ", ".join(printable(name[:80]) for name in sorted(assets)[:_SHOWN]) or "none at all"
        raise NoAssetError(f"{told.project} {tag} has no file that matches {told.asset!r}; there is: {there}")
    return chosen[0], assets[chosen[0]]
