"""Where releases come from, in documents."""

from __future__ import annotations

from reconciler.model.provenance import Provenance
from reconciler.model.release import SignedBy
from reconciler.present.forms import As, Form

SIGNED_BY = Form(SignedBy)
PROVENANCE = Form(Provenance, signed_by=As(of=SIGNED_BY))
