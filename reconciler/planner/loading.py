"""Whether the engine of a client runs with what is installed: files that are switched don't protect by themselves.

An engine that says another version than the installed one has that one loaded. One that says nothing that could be
believed isn't known to have loaded anything, and why stands in its place. Where nobody asked so far (the question is
new, or the transport puts none), nothing is said against what is installed; only a gate that counts loaded clients
waits for an answer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from reconciler.model.client import Installed
    from reconciler.model.spec import ComponentSpec


def unloaded(spec: ComponentSpec, installed: Installed) -> str:
    """Say what an engine has loaded instead of what is installed; empty where that is loaded, or nobody asked."""
    if spec.loaded is None or installed.loaded == installed.version or not (installed.loaded or installed.unsaid):
        return ""
    if installed.loaded and spec.component.scheme.accepts(installed.loaded):
        return f"{installed.loaded} is loaded"
    said = f"the answer is no version of {spec.component.scheme.name}: {installed.loaded}"
    return f"what is loaded isn't known: {said if installed.loaded else installed.unsaid}"


def not_loaded(spec: ComponentSpec, installed: Installed) -> str:
    """Say the same, or that nobody asked."""
    if spec.loaded is not None and not (installed.loaded or installed.unsaid):
        return "what is loaded isn't known: its engine wasn't asked yet"
    return unloaded(spec, installed)


def in_effect(spec: ComponentSpec, installed: Installed) -> str:
    """Give the version that a client runs with, as far as anybody knows; empty where that isn't known."""
    if not unloaded(spec, installed):
        return installed.version
    return installed.loaded if spec.component.scheme.accepts(installed.loaded) else ""
