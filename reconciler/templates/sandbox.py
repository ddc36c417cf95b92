"""The sandbox that templates of settings run in: Jinja2 with what template.py lists, and nothing else."""

from __future__ import annotations

import time
from functools import cache
from typing import TYPE_CHECKING, Any

from jinja2 import StrictUndefined, Undefined, nodes, pass_context
from jinja2.runtime import LoopContext
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.visitor import NodeTransformer

from reconciler.templates.filters import FILTERS, MAX_ROUNDS, OPERATORS, bounded_range, join, operate, weigh, written
from reconciler.templates.settings_file import METHODS, TESTS, TemplateFault

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_SECONDS = 5.0
MAX_BUILT = 16 * 2**20
"""What all values that one rendering builds may weigh together; in memory that is some 50 MiB."""
MAX_ARGUMENT = 1024
"""Characters of a text that a method of a text takes: looking for a long one may take as long as both multiplied."""
BUDGET = "_updoser_budget"
"""The variable that holds the budget of one rendering."""


class Sandbox(ImmutableSandboxedEnvironment):
    """Gives values of maps before their methods, and of other values only the methods of METHODS."""

    intercepted_binops = frozenset({*OPERATORS, "**"})

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        """Work an operator out, within bounds."""
        return _weighed(context, operate(operator, left, right))

    def call(self, context: Any, called: Any, /, *args: Any, **kwargs: Any) -> Any:
        """Call a method or range()."""
        if isinstance(getattr(called, "__self__", None), str):
            for argument in (*args, *kwargs.values()):
                if isinstance(argument, str) and len(argument) > MAX_ARGUMENT:
                    raise TemplateFault(f"a method of a text takes at most {MAX_ARGUMENT} characters")
        return super().call(context, called, *args, **kwargs)

    def getattr(self, obj: Any, attribute: str) -> Any:
        """Give an entry of a map, or else a method."""
        if isinstance(obj, dict) and attribute in obj:
            return obj[attribute]
        return super().getattr(obj, attribute)

    def is_safe_attribute(self, obj: Any, attr: str, _value: Any) -> bool:
        """Say whether a method may be had, or what a loop tells of itself."""
        if isinstance(obj, LoopContext):
            return not attr.startswith("_")
        return any(isinstance(obj, kind) and attr in methods for kind, methods in METHODS.items())

    def is_safe_callable(self, _obj: Any) -> bool:
        """Let it be called: template.py looked at what is called, and only safe methods can be had."""
        return True


@cache
def sandbox() -> Sandbox:
    """Give the sandbox that all templates share."""
    made = Sandbox(
        undefined=StrictUndefined, finalize=written, trim_blocks=True, keep_trailing_newline=True, cache_size=0
    )
    made.globals = {"range": bounded_range}
    made.filters = {**FILTERS, "_counted": _counted, "_joined": join, "_weighed": _weighed}
    made.tests = {name: made.tests[name] for name in TESTS}
    return made


@pass_context
def _counted(context: Any, values: Any) -> Iterator[Any]:
    budget = context[BUDGET]
    for value in values:
        budget.count()
        yield value


@pass_context
def _weighed(context: Any, value: Any) -> Any:
    context[BUDGET].build(value)
    return value


class _Bounds(NodeTransformer):
    def generic_visit(self, node: Any, *args: Any, **kwargs: Any) -> Any:
        """Weigh what every expression gives that can give more than it takes, and look at the clock with each."""
        super().generic_visit(node, *args, **kwargs)
        taken = isinstance(node, nodes.Getitem) and not isinstance(node.arg, nodes.Slice)
        if not isinstance(node, _BUILDING) or getattr(node, "ctx", "load") != "load" or taken:
            return node
        return nodes.Filter(node, "_weighed", [], [], None, None, lineno=node.lineno)

    def visit_For(self, node: Any) -> Any:  # noqa: N802  (Jinja2's name)
        self.generic_visit(node)
        node.iter = nodes.Filter(node.iter, "_counted", [], [], None, None, lineno=node.lineno)
        return node

    def visit_Concat(self, node: Any) -> Any:  # noqa: N802  (Jinja2's name)
        self.generic_visit(node)
        parts = nodes.List(node.nodes, lineno=node.lineno)
        joined = nodes.Filter(parts, "_joined", [], [], None, None, lineno=node.lineno)
        return nodes.Filter(joined, "_weighed", [], [], None, None, lineno=node.lineno)


_BUILDING = (nodes.List, nodes.Tuple, nodes.Dict, nodes.Filter, nodes.Test, nodes.Call, nodes.Compare, nodes.Getitem)


def bounded(tree: Any) -> Any:
    """Rewrite a tree so that loops are counted, and what is built is weighed."""
    made = _Bounds().visit(tree)
    made.set_environment(tree.environment)
    return made


class Budget:
    """The rounds and the time that one rendering may take, and what it may build."""

    def __init__(self) -> None:
        """Begin now."""
        self._rounds = MAX_ROUNDS
        self._left = MAX_BUILT
        self._until = time.monotonic() + MAX_SECONDS

    def look(self) -> None:
        """Look at the clock."""
        if time.monotonic() > self._until:
            raise TemplateFault(f"rendering took longer than {MAX_SECONDS:.0f} s")

    def build(self, value: Any) -> None:
        """Count what a new value weighs; one that isn't there weighs nothing until it is used."""
        self._left -= 0 if isinstance(value, Undefined) else weigh(value)
        if self._left < 0:
            raise TemplateFault(f"it builds more than {MAX_BUILT // 2**20} MiB of values")
        self.look()

    def count(self) -> None:
        """Count a round of a loop."""
        self._rounds -= 1
        if self._rounds < 0:
            raise TemplateFault(f"its loops run more than {MAX_ROUNDS} rounds")
        if not self._rounds % 64:
            self.look()
