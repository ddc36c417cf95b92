"""Where releases come from, in documents."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from reconciler.model.change import Publish
from reconciler.model.provenance import Provenance
from reconciler.model.release import SignedBy
from reconciler.present.forms import As, Form

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

SIGNED_BY = Form(SignedBy, scheme=As(if_any=True))
PROVENANCE = Form(Provenance, signed_by=As(of=SIGNED_BY))

NOT_SIGNED = "not signed"
_BRINGING = frozenset({"download", "merge", "deploy"})


def brings(change: Mapping[str, Any]) -> bool:
    """Say whether a change brings a release to the store, clients or others, and so is to say who vouches for it."""
    return change["action"] in _BRINGING or (change["action"] == "publish" and change["kind"] in Publish.PASSING_ON)


def mark_signed(changes: Sequence[dict[str, Any]], provenance: Sequence[Mapping[str, Any]]) -> None:
    """Have each change that brings a release say whether it is signed, as far as that is known."""
    signed = {
        tuple(entry[key] for key in ("component", "version", "platform", "digest")): entry["signed_by"] is not None
        for entry in provenance
    }
    for change in changes:
        if change.get("signed", True) is None:  # nobody knows before it is fetched
            del change["signed"]
        if brings(change):
            known = signed.get((change["component"], change["to"], change["platform"], change["to_digest"]))
            if known is not None:
                change["signed"] = known


def with_bare(words: str, change: Mapping[str, Any]) -> str:
    """Add to the words of a change that nobody signed its release."""
    return words if change.get("signed", True) else ", ".join(filter(None, (words, NOT_SIGNED)))
