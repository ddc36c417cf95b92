"""A plan as GitLab's merge requests count it, beside those of Terraform: `artifacts:reports:terraform`.

GitLab reads `create`, `update` and `delete` from the file and shows them with a link to the job. They count rows of
clients: what is new to them, what changes, and what goes back to an older release. What is done in the store isn't
counted, as nobody reviews that. Source: GitLab's documentation of Terraform integration in merge requests.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from reconciler.present.render import json_text

if TYPE_CHECKING:
    from collections.abc import Mapping


def terraform_report(document: Mapping[str, Any], **_how: Any) -> str:
    """Render the counts of a plan: changes of clients that have nothing yet, that get newer, and that go back."""
    counts = {"create": 0, "update": 0, "delete": 0}
    for change in document["changes"]:
        if change["action"] == "deploy":
            counts["create" if change["from"] is None else "delete" if change["downgrade"] else "update"] += 1
        elif change["action"] == "settings":
            counts["create" if change["reason"] == "missing" else "update"] += 1
    return json_text(counts)
