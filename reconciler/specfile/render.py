"""Renders the text of a merged tree in place: `vars` first, in file order, then all else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from reconciler.specfile.tree import BROKEN, Map, Odd, replace, scalars, value_place
from reconciler.templates.fault import TemplateFault
from reconciler.templates.spec_text import MARK, MAX_VARIABLE, Renderer

if TYPE_CHECKING:
    from collections.abc import Mapping

    from reconciler.errors import Problem


def render_tree(root: Map, given: Mapping[str, Any], environ: Mapping[str, str], *, no_exec: bool) -> list[Problem]:
    """Render all text of the merged tree in place, `vars` first; give what is wrong with it."""
    problems: list[Problem] = []
    renderer = Renderer(given, environ, no_exec=no_exec)
    variables = root.get("vars")
    if isinstance(variables, Map):
        for name, value in list(variables.items()):
            if name in given:
                continue
            _render_one(renderer, variables, name, value, problems)
            rendered = variables[name]
            if isinstance(rendered, str) and len(rendered) > MAX_VARIABLE:
                problems.append(value_place(variables, name).problem(f"the variable is longer than {MAX_VARIABLE}"))
            elif isinstance(rendered, (str, int, float)) or rendered is None:
                renderer.define(name, rendered)
            elif isinstance(rendered, Odd):
                renderer.define(name, rendered.raw)
    for container, key, value, path in scalars(root):
        if path[0] != "vars":
            _render_one(renderer, container, key, value, problems)
    return problems


def _render_one(renderer: Renderer, container: Any, key: str | int, value: Any, problems: list[Problem]) -> None:
    if not isinstance(value, str) or not MARK.search(value):
        return
    place = value_place(container, key)
    try:
        text = renderer.render(value)
    except TemplateFault as fault:
        problems.append(place.problem(fault.message, fault.hint))
        replace(container, key, BROKEN, place)
    else:
        replace(container, key, text, place._replace(template=value))
