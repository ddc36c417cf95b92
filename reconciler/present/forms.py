"""What a class is in a document: declared once by its fields, and written and read by that.

A field stands under its own name, in the order of the class, as its type says: a text, one of the words of a Literal, a
whole number, a flag, a time to the second; tuples are lists, mappings are maps, None is null. `As` says where a field
differs:

    Form(Download, previous=As("from", null=True))

What is read is hostile until checked: each field must be there, and be exactly what it should be. Keys that a form
doesn't have are passed over.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, dataclass, fields
from datetime import datetime
from functools import cached_property, partial
from typing import Any, Generic, Literal, NamedTuple, TypeVar, get_args, get_origin, get_type_hints

from reconciler.present import fields as values

Made = TypeVar("Made")


class Way(NamedTuple):
    """How a value is taken, given the key that it stands under, and how it is written; None: as it is."""

    read: Callable[[Any, str], Any]
    write: Callable[[Any], Any] | None = None


@dataclass(frozen=True, slots=True)
class As:
    """Where a field differs from what its type says.

    `key` is what it stands under. With `null` it is null where the text is empty. With `exact` a time is to the
    microsecond. With `later` it may be missing, as documents of an earlier minor version don't have it. With `if_any`
    it is missing where it is empty. `of` is the form of what it holds, once or in a tuple; with `inline` the keys of
    that stand among those of the whole. `way` is how it is taken and written, whatever its type.
    """

    key: str = ""
    null: bool = False
    exact: bool = False
    later: bool = False
    if_any: bool = False
    of: Form[Any] | Way | None = None
    inline: bool = False
    way: Way | None = None


_USUAL = As()
_WAYS: dict[Any, Way] = {
    str: Way(values.text),
    int: Way(values.number),
    bool: Way(values.flag),
    datetime: Way(values.time, values.time_text),
    tuple[str, ...]: Way(values.texts, list),
    Sequence[str]: Way(values.texts, list),
}


class Form(Generic[Made]):
    """The form of a class; see the module's docstring.

    `check` raises a ValueError for what one entry may not say. `first` are keys that stand before the others. The
    fields in `apart` aren't part of the form: who reads gives them, who writes has them elsewhere.
    """

    def __init__(
        self,
        made: type[Made],
        *,
        check: Callable[[Made], None] = lambda _made: None,
        first: tuple[str, ...] = (),
        apart: tuple[str, ...] = (),
        **differs: As,
    ) -> None:
        self.made = made
        self._check = check
        self._first = first
        self._apart = apart
        self._differs = differs

    @cached_property
    def _fields(self) -> dict[str, As]:
        """How each field of the form differs, in order."""
        names = [field.name for field in fields(self.made) if field.name not in self._apart]  # type: ignore[arg-type]
        unknown = set(self._differs) - set(names)
        if unknown:
            raise TypeError(f"{self.made.__name__} has no {', '.join(sorted(unknown))}")
        return {name: self._differs.get(name, _USUAL) for name in names}

    @cached_property
    def _ways(self) -> list[tuple[str, str, Way]]:
        """Name, key and way of each field that stands under a key."""
        hints = get_type_hints(self.made)
        return [
            (name, field.key or name, _way(hints[name], field))
            for name, field in self._fields.items()
            if not field.inline
        ]

    @cached_property
    def _inline(self) -> list[tuple[str, Form[Any]]]:
        return [(name, field.of) for name, field in self._fields.items() if field.inline and isinstance(field.of, Form)]

    @cached_property
    def _later(self) -> dict[str, Any]:
        """What stands under the keys that may be missing, where they are."""
        found = {}
        for field in fields(self.made):  # type: ignore[arg-type]
            declared = self._fields.get(field.name, _USUAL)
            if declared.later or declared.if_any:
                default = field.default if field.default_factory is MISSING else field.default_factory()
                way = next(way for name, _key, way in self._ways if name == field.name)
                found[declared.key or field.name] = default if way.write is None else way.write(default)
        return found

    @cached_property
    def _writes(self) -> list[tuple[str, Callable[[Any], Any]]]:
        return [(key, way.write) for _name, key, way in self._ways if way.write is not None]

    @cached_property
    def _if_any(self) -> list[str]:
        return [field.key or name for name, field in self._fields.items() if field.if_any]

    @property
    def keys(self) -> tuple[str, ...]:
        """The keys of an entry, in their order but for those that come first."""
        inline = (key for _name, form in self._inline for key in form.keys)
        return (*inline, *(key for _name, key, _way in self._ways))

    def read(self, entry: Any, key: str = "entry", **apart: Any) -> Made:
        """Read an entry, with what isn't part of the form.

        Raises:
            KeyError, TypeError, ValueError: it is malformed, or says what it may not say.
        """
        found = values.typed(entry, key, dict)
        if self._later:
            found = {**self._later, **found}
        parts = {name: way.read(found[key], key) for name, key, way in self._ways}
        for name, form in self._inline:
            parts[name] = form.read(found)
        made = self.made(**parts, **apart)
        self._check(made)
        return made

    def write(self, value: Made) -> dict[str, Any]:
        """Write an entry."""
        entry: dict[str, Any] = {}
        for name, form in self._inline:
            entry |= form.write(getattr(value, name))
        for name, key, _way in self._ways:
            entry[key] = getattr(value, name)
        for key, write in self._writes:
            entry[key] = write(entry[key])
        for key in self._if_any:
            if not entry[key]:
                del entry[key]
        return {**{key: entry[key] for key in self._first}, **entry} if self._first else entry


def _way(hint: Any, field: As) -> Way:
    """Give the way of a field by its type, and by what it differs in."""
    if field.way is not None:
        return field.way
    if get_origin(hint) is Literal:
        return Way(partial(values.one_of, known=get_args(hint)), _null if field.null else None)
    if field.null:
        return Way(values.optional, _null)
    return _typed_way(hint, field)


def _typed_way(hint: Any, field: As) -> Way:
    parts = get_args(hint)
    if type(None) in parts:
        (inner,) = (part for part in parts if part is not type(None))
        return _or_none(_typed_way(inner, field))
    if field.exact:
        return Way(values.exact_time, values.exact_time_text)
    if hint in _WAYS:
        return _WAYS[hint]
    if get_origin(hint) is tuple:
        return _each(_typed_way(parts[0], field))
    if get_origin(hint) is Mapping:
        return _map(_typed_way(parts[1], field))
    if field.of is None:
        raise TypeError(f"there is no form for {hint}")
    return Way(field.of.read, field.of.write)


def _null(text: str) -> str | None:
    return text or None


def _or_none(way: Way) -> Way:
    read, write = way
    return Way(
        lambda value, key: None if value is None else read(value, key),
        write and (lambda value: None if value is None else write(value)),
    )


def _each(way: Way) -> Way:
    read, write = way
    return Way(
        lambda value, key: tuple(read(entry, key) for entry in values.typed(value, key, list)),
        list if write is None else (lambda value: [write(entry) for entry in value]),
    )


def _map(way: Way) -> Way:
    read, write = way
    return Way(
        lambda value, key: {str(name): read(entry, name) for name, entry in values.typed(value, key, dict).items()},
        dict if write is None else (lambda value: {name: write(entry) for name, entry in value.items()}),
    )
