"""How a client stands, as a document: `schema/why.schema.json` describes it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from reconciler.model.standing import Asked, ClientStanding, ComponentStanding, Happened, RolloutPlace, SettingStanding
from reconciler.present.fields import FORMAT_VERSION
from reconciler.present.forms import As, Form
from reconciler.present.protection_form import PROTECTION
from reconciler.present.provenance_form import PROVENANCE

if TYPE_CHECKING:
    from collections.abc import Mapping

_ASKED = Form(Asked, where=As("from"))
_HAPPENED = Form(
    Happened,
    at=As("time"),
    component=As(null=True),
    from_version=As("from", null=True),
    to_version=As("to", null=True),
    message=As(null=True),
)
_COMPONENT = Form(
    ComponentStanding,
    version=As(null=True),
    wanted=As(null=True),
    damage=As(null=True),
    previous=As(null=True),
    asked=As(of=_ASKED),
    to=As(null=True),
    rollouts=As(of=Form(RolloutPlace, group=As(null=True))),
    happened=As(of=_HAPPENED),
    release=As(of=PROVENANCE),
    loaded=As(if_any=True),
    unsaid=As(if_any=True),
    protection=As(if_any=True, way=PROTECTION),
)
_SETTING = Form(
    SettingStanding,
    path=As(null=True),
    template=As(null=True),
    version=As(null=True),
    wanted=As(null=True),
    trouble=As(null=True),
    asked=As(of=_ASKED),
    reads=As(of=_ASKED),
    happened=As(of=_HAPPENED),
)
_CLIENT = Form(
    ClientStanding,
    platform=As(null=True),
    holds=As(of=_ASKED),
    components=As(of=_COMPONENT),
    settings=As(of=_SETTING),
    happened=As(of=_HAPPENED),
    site=As(if_any=True),
)


def standing_document(standing: ClientStanding) -> Mapping[str, Any]:
    """Give the document of how a client stands."""
    return {"format_version": FORMAT_VERSION, **_CLIENT.write(standing)}
