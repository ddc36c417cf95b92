"""The run of a plan in documents: what each of its steps does, and what is left for later."""

from __future__ import annotations

from reconciler.model.outlook import Arrival, Later, Outlook, WaveOpen, WaveStep
from reconciler.present.forms import As, Form

STEP = Form(WaveStep, rollouts=As(of=Form(WaveOpen, group=As(null=True))))
RUN = Form(
    Outlook,
    steps=As(of=STEP),
    later=As(of=Form(Later, group=As(null=True))),
    arrivals=As(later=True, of=Form(Arrival, group=As(null=True))),
)
