"""The sandbox of all templates: Jinja2 with what a profile lists, and nothing else.

* A tree is inspected before anything of it runs: what the profile doesn't list is refused.
* Then it is rewritten, so that text is put together within limits and, where the profile spends something, loops are
  counted and every expression is weighed that can give more than it takes.
* What Jinja2 says, and what Python says of a value, becomes a TemplateFault.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from jinja2 import StrictUndefined, TemplateSyntaxError, Undefined, nodes, pass_context
from jinja2.runtime import LoopContext
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.visitor import NodeTransformer

from reconciler.templates.fault import TemplateFault
from reconciler.templates.values import OPERATORS, joined, operate, weigh, written

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from reconciler.templates.profile import Profile

BUDGET = "_updoser_budget"
"""The variable that holds the budget of one rendering."""


class Sandbox(ImmutableSandboxedEnvironment):
    """Gives values of maps before their methods, and of other values only the methods of the profile."""

    intercepted_binops = frozenset({*OPERATORS, "**"})

    def __init__(
        self, profile: Profile, filters: Mapping[str, Callable[..., Any]], functions: Mapping[str, Callable[..., Any]]
    ) -> None:
        """Take what carries out the filters and functions that the profile names."""
        limits = profile.limits
        super().__init__(
            undefined=StrictUndefined,
            finalize=lambda value: written(value, limits),
            keep_trailing_newline=True,
            cache_size=0,
            **profile.syntax,
        )
        self._profile = profile
        self.globals = {name: functions[name] for name in profile.functions}
        self.filters = {name: filters[name] for name in profile.filters}
        self.filters |= {
            "_counted": _counted,
            "_joined": lambda values: joined(values, limits),
            "_weighed": _weighed,
        }
        self.tests = {name: self.tests[name] for name in profile.tests}

    # --- compiling and rendering --------------------------------------------------------------------------------------

    def inspected(self, text: str, name: str | None = None) -> nodes.Template:
        """Parse a template, and refuse what the profile doesn't list; `name` is what tracebacks call it.

        Raises:
            TemplateFault: there is something like that, with its line.
            TemplateSyntaxError, RecursionError, ValueError: it is malformed; `fault_of` takes them.
        """
        tree = self.parse(text, name)
        _inspect(tree, self._profile)
        return tree

    def compiled(self, tree: nodes.Template, name: str | None = None) -> Any:
        """Give what renders an inspected tree, within bounds; the tree is changed.

        Raises:
            TemplateSyntaxError, RecursionError, MemoryError, SyntaxError: it can't be done; `fault_of` takes them.
        """
        bounded = _Bounds(weighs=self._profile.spending is not None).visit(tree)
        bounded.set_environment(self)
        return self.template_class.from_code(self, self.compile(bounded, name, name), self.globals)

    def render(self, program: Any, values: Mapping[str, Any]) -> str:
        """Render what `compiled` gave, up to the limits.

        Raises:
            TemplateFault: something is out of bounds.
            Exception: whatever Jinja2 and Python say of values; `fault_of` takes it.
        """
        limits, budget = self._profile.limits, None
        if self._profile.spending is not None:
            budget = Budget(self._profile)
            values = {**values, BUDGET: budget}
        pieces: list[str] = []
        size = 0
        for piece in program.generate(values):
            size += len(piece)
            if size > limits.output:
                raise TemplateFault(limits.long_output)
            if budget is not None:
                budget.look()
            pieces.append(piece)
        return "".join(pieces)

    # --- what Jinja2 asks while it renders ----------------------------------------------------------------------------

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        """Work an operator out, within bounds."""
        made = operate(operator, left, right, self._profile)
        return made if self._profile.spending is None else _weighed(context, made)

    def call(self, context: Any, called: Any, /, *args: Any, **kwargs: Any) -> Any:
        """Call a method or function."""
        if isinstance(getattr(called, "__self__", None), str):
            most = self._profile.limits.argument
            for argument in (*args, *kwargs.values()):
                if isinstance(argument, str) and len(argument) > most:
                    raise TemplateFault(f"a method of a text takes at most {most} characters")
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
        return any(isinstance(obj, kind) and attr in methods for kind, methods in self._profile.methods.items())

    def is_safe_callable(self, _obj: Any) -> bool:
        """Let it be called: the inspection looked at what is called, and only safe methods can be had."""
        return True


# --- before it runs ---------------------------------------------------------------------------------------------------


def _inspect(node: nodes.Node, profile: Profile, depth: int = 0, *, called: bool = False) -> None:
    """Refuse what the profile doesn't list; `called` is the name of a function where it is called."""
    kind = type(node).__name__
    trouble, hint = "", profile.hint
    if kind not in profile.nodes or (isinstance(node, nodes.For) and node.recursive):
        trouble = f"a template can't use {profile.words.get(kind, kind.lower())}"
    elif depth > profile.limits.nesting or (
        isinstance(node, nodes.Compare) and len(node.ops) > profile.limits.compared
    ):
        trouble, hint = "the template is nested too deeply", ""
    elif isinstance(node, nodes.Call) and not _may_be_called(node.node, profile):
        trouble = f"a template can't call anything but {profile.callables}"
    elif isinstance(node, nodes.Filter) and node.name not in profile.filters:
        trouble, hint = f"there is no filter `{node.name}`", profile.hint_filters
    elif isinstance(node, nodes.Test) and profile.inspects_tests and node.name not in profile.tests:
        trouble = f"there is no test `{node.name}`"
    elif isinstance(node, nodes.Name) and node.ctx == "store" and (node.name in profile.fixed or node.name[0] == "_"):
        trouble = f"`{node.name}` can't be set"
    elif isinstance(node, nodes.Name) and node.name in profile.no_values and not called:
        trouble = profile.no_values[node.name]
    if trouble:
        raise TemplateFault(trouble, hint, line=_line_of(node))
    for child in node.iter_child_nodes():
        _inspect(child, profile, depth + 1, called=isinstance(node, nodes.Call) and child is node.node)


def _line_of(node: nodes.Node) -> int:
    """Give the line of a node; a scope of Jinja2's has none, and what is in it has."""
    return node.lineno or next((child.lineno or 0 for child in node.iter_child_nodes()), 0)


def _may_be_called(called: nodes.Node, profile: Profile) -> bool:
    """Say whether it is a function of the profile, or a method: whether that may be had, the sandbox says then."""
    if isinstance(called, nodes.Name):
        return called.name in profile.functions
    return isinstance(called, nodes.Getattr) and bool(profile.methods)


class _Bounds(NodeTransformer):
    """Has text put together within limits; where the profile `weighs`, loops are counted, and values weighed."""

    def __init__(self, *, weighs: bool) -> None:
        self._weighs = weighs

    def generic_visit(self, node: Any, *args: Any, **kwargs: Any) -> Any:
        """Weigh what every expression gives that can give more than it takes, and look at the clock with each."""
        super().generic_visit(node, *args, **kwargs)
        taken = isinstance(node, nodes.Getitem) and not isinstance(node.arg, nodes.Slice)
        if not isinstance(node, _BUILDING) or getattr(node, "ctx", "load") != "load" or taken:
            return node
        return self._weigh(node)

    def visit_For(self, node: Any) -> Any:  # noqa: N802  (Jinja2's name)
        self.generic_visit(node)
        node.iter = _through("_counted", node.iter, node.lineno)
        return node

    def visit_Concat(self, node: Any) -> Any:  # noqa: N802  (Jinja2's name)
        self.generic_visit(node)
        parts = nodes.List(node.nodes, lineno=node.lineno)
        return self._weigh(_through("_joined", parts, node.lineno))

    def _weigh(self, node: Any) -> Any:
        return _through("_weighed", node, node.lineno) if self._weighs else node


_BUILDING = (nodes.List, nodes.Tuple, nodes.Dict, nodes.Filter, nodes.Test, nodes.Call, nodes.Compare, nodes.Getitem)


def _through(name: str, node: Any, line: int) -> nodes.Filter:
    return nodes.Filter(node, name, [], [], None, None, lineno=line)


# --- while it runs ----------------------------------------------------------------------------------------------------


class Budget:
    """The rounds and the time that one rendering may take, and what it may build."""

    def __init__(self, profile: Profile) -> None:
        """Begin now, with what the profile may spend."""
        assert profile.spending is not None
        self._most, self._limits = profile.spending, profile.limits
        self._rounds = self._most.rounds
        self._left = self._most.built
        self._until = time.monotonic() + self._most.seconds

    def look(self) -> None:
        """Look at the clock."""
        if time.monotonic() > self._until:
            raise TemplateFault(f"rendering took longer than {self._most.seconds:.0f} s")

    def build(self, value: Any) -> None:
        """Count what a new value weighs; one that isn't there weighs nothing until it is used."""
        self._left -= 0 if isinstance(value, Undefined) else weigh(value, self._limits)
        if self._left < 0:
            raise TemplateFault(f"it builds more than {self._most.built // 2**20} MiB of values")
        self.look()

    def count(self) -> None:
        """Count a round of a loop."""
        self._rounds -= 1
        if self._rounds < 0:
            raise TemplateFault(f"its loops run more than {self._most.rounds} rounds")
        if not self._rounds % 64:
            self.look()


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


# --- what went wrong --------------------------------------------------------------------------------------------------


def fault_of(
    error: Exception, otherwise: str = "", place: Callable[[Exception], tuple[int, int]] = lambda _error: (0, 0)
) -> TemplateFault:
    """Map what ended compiling or rendering; what is neither ours nor Jinja2's syntax begins with `otherwise`.

    `place` gives the line and column at which that was.
    """
    if isinstance(error, TemplateFault):
        return error.at(place(error))
    if isinstance(error, TemplateSyntaxError):
        return TemplateFault(f"the template is malformed: {error.message}").at(place(error))
    if isinstance(error, (RecursionError, MemoryError, SyntaxError)):
        return TemplateFault("the template is nested too deeply")
    return TemplateFault(f"{otherwise}{str(error) or type(error).__name__}").at(place(error))
