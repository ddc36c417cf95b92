"""`{{ name }}` in the strings of the desired state: a small, bounded part of Jinja2.

* Only values that are text are rendered, never keys, and only after `extends` is merged. A rendered value is text.
* There are the variables of `vars` and `-e`, `env('UPDOSER_VAR_NAME')`, `{% if %}`, comparisons, arithmetic on numbers,
  `~`, and the filters of the profile. There are no loops, macros, attributes, subscripts or methods, so there is
  nothing to walk out of the sandbox with and nothing that can run long. `*` and the other operators take small numbers
  only.
* A variable is text, a number or true/false. `vars` are rendered in file order and see `-e` and the ones above them;
  `-e` wins and is taken as it stands.
* What isn't defined is an error. With `no_exec`, `env()` is one too.
* `{#` is left alone: it is no comment, because `${#x}` means something to a shell.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from reconciler.formats.text import unfit
from reconciler.hints import did_you_mean
from reconciler.templates.fault import TemplateFault
from reconciler.templates.profile import SPEC_TEXT

if TYPE_CHECKING:
    from collections.abc import Mapping

    from reconciler.templates.sandbox import Sandbox

ENV_PREFIX = "UPDOSER_VAR_"
NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
MAX_VARIABLE = 4 * 1024
MAX_DISTINCT = 2000

MARK = re.compile(r"\{\{|\{%")
_SIMPLE = re.compile(r"\{\{[ \t]*([A-Za-z_][A-Za-z0-9_]*)[ \t]*\}\}")
_WORDS = frozenset({"true", "false", "none", "True", "False", "None", "env"})
_LIMITS = SPEC_TEXT.limits


class Renderer:
    """Renders templates with one set of variables; equal templates are rendered once."""

    def __init__(self, variables: Mapping[str, Any], environ: Mapping[str, str], *, no_exec: bool = False) -> None:
        self.variables = dict(variables)
        self._environ = environ
        self._no_exec = no_exec
        self._rendered: dict[str, str] = {}
        self._sandbox: Sandbox | None = None

    def define(self, name: str, value: Any) -> None:
        """Add a variable; what was rendered before stays as it is."""
        self.variables[name] = value
        self._rendered.clear()

    def render(self, text: str) -> str:
        """Render a text; one without marks comes back as it is.

        Raises:
            TemplateFault: it isn't a template, uses what isn't there, or is out of bounds.
        """
        if not MARK.search(text):
            return text
        if text not in self._rendered:
            self._rendered[text] = self._quick(text) or self._slow(text)
        return self._rendered[text]

    def _quick(self, text: str) -> str | None:
        """Put variables in where a text has nothing but `{{ name }}`: most do, and a fleet may have many."""
        parts = _SIMPLE.split(text)
        known = self.variables
        if any(name not in known or name in _WORDS for name in parts[1::2]) or any(map(MARK.search, parts[::2])):
            return None
        if any("}}" in part or "%}" in part for part in parts[::2]):
            return None
        made = "".join(str(known[part]) if odd % 2 else part for odd, part in enumerate(parts))
        if len(made) > _LIMITS.output:
            raise TemplateFault(_LIMITS.long_output)
        return made

    def _slow(self, text: str) -> str:
        from jinja2 import UndefinedError

        from reconciler.templates.sandbox import Sandbox, fault_of
        from reconciler.templates.spec_filters import FILTERS

        if len(text) > _LIMITS.template:
            raise TemplateFault(_LIMITS.long_template)
        if len(self._rendered) >= MAX_DISTINCT:
            raise TemplateFault(f"there are more than {MAX_DISTINCT} different templates with expressions")
        if self._sandbox is None:
            self._sandbox = Sandbox(SPEC_TEXT, FILTERS, {"env": self._env})
        sandbox = self._sandbox
        try:
            made = sandbox.render(sandbox.compiled(sandbox.inspected(text)), self.variables)
        except UndefinedError as error:
            raise self._undefined(str(error.message)) from error
        except Exception as error:  # Jinja2's own, and whatever Python says of a value
            raise fault_of(error, "the template can't be rendered: ") from error
        if trouble := unfit(made):
            raise TemplateFault(f"the value has {trouble} in it")
        return made

    def _undefined(self, message: str) -> TemplateFault:
        match = re.search(r"'([^']*)' is undefined", message)
        if not match:
            return TemplateFault(message)
        name = match.group(1)
        near = did_you_mean(name, self.variables)
        return TemplateFault(
            f"the variable `{name}` isn't defined", near or f"set it under `vars` or with -e {name}=VALUE"
        )

    def _env(self, name: Any = "", default: Any = None) -> str:
        if self._no_exec:
            raise TemplateFault("env() isn't read with --no-exec", f"give the value with -e or under `vars`: {name}")
        if not isinstance(name, str) or not name.startswith(ENV_PREFIX):
            raise TemplateFault(f"env() reads only variables that begin with {ENV_PREFIX}")
        if name in self._environ:
            if trouble := unfit(self._environ[name]):
                raise TemplateFault(f"the environment variable {name} has {trouble} in it")
            if len(self._environ[name]) > MAX_VARIABLE:
                raise TemplateFault(f"the value is longer than {MAX_VARIABLE} characters")
            return self._environ[name]
        if default is None:
            raise TemplateFault(f"the environment variable {name} isn't set", f"set it, or env('{name}', 'default')")
        return str(default)
