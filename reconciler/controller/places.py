"""What the controller knows of the places where releases lie: its store, and the repository for other sites."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from reconciler.errors import RepositoryError
from reconciler.observe.mirrors import statuses_of
from reconciler.present.fields import time_text
from reconciler.repository.edition import folder_of
from reconciler.specfile.desired import desired_documents, mark_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from reconciler.specfile.load import Loaded
    from reconciler.workspace import Workspace

FORMAT_VERSION = "1.0"


def keep_wanted(work: Workspace, loaded: Loaded, mask: Callable[[Any], Any]) -> None:
    """Keep what is wanted, value by value, and what lies in the store and in the repository, for those who show it.

    What is wanted is made anew when the spec, or a file of it, is another one.

    `mask` takes secrets out of a document.

    Raises:
        StateError, StoreError: state or store can't be read or written.
    """
    state = work.state
    known = state.snapshot("desired")
    if known is None or known.document.get("mark") != mark_of(loaded):
        state.keep_snapshots("desired", {name: mask(document) for name, document in desired_documents(loaded).items()})
    state.keep_snapshots("places", {"": mask(places_document(work))})


def places_document(work: Workspace) -> dict[str, Any]:
    """Give the document of the store, and of repositories where there are some; `error` is why one can't be read."""
    inspection = work.store.inspect()
    contents = {file.sha256: file.size for release in inspection.releases for file in release.files}
    patches = sum(patch.size for one in inspection.incrementals for patch in one.patches)
    store = {
        "path": str(work.spec.server.store),
        "releases": len(inspection.releases),
        "components": len({release.component for release in inspection.releases}),
        "incrementals": len(inspection.incrementals),
        "bytes": sum(contents.values()),
        "incremental_bytes": patches,
        "problems": list(inspection.problems),
    }
    mirrors = [
        {
            "name": mirror.name,
            "layout": mirror.layout,
            "path": mirror.path,
            "releases": len(mirror.releases),
            "renew": mirror.renew,
            "error": mirror.problem,
        }
        for mirror in statuses_of(work)
    ]
    return {"format_version": FORMAT_VERSION, "store": store, "repository": _repository(work), "mirrors": mirrors}


def _repository(work: Workspace) -> dict[str, Any] | None:
    folder, spec = folder_of(work), work.spec.repository
    if folder is None or spec is None:
        return None
    document: dict[str, Any] = {"path": str(spec.path), "roles": [], "releases": 0, "renew": "", "error": ""}
    try:
        published = folder.published(work.means.clock(), spec.expires)
        roles = [
            {"role": role.role, "version": role.version, "expires": role.expires and time_text(role.expires)}
            for role in folder.roles()
        ]
        return {**document, "roles": roles, "releases": len(published.releases), "renew": published.renew}
    except RepositoryError as error:
        return {**document, "error": error.message}
