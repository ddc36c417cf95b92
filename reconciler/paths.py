"""Paths that people write, in a spec or on a command line: what they mean, and what is there.

A reason that the system has for not opening one becomes an error that names it.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import TYPE_CHECKING

from reconciler.errors import UpdoserError, own_limit
from reconciler.formats.text import unfit

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_SHOWN = 60
_NEVER = {errno.ENAMETOOLONG, errno.ELOOP, errno.EINVAL}
"""What the system says of a path at which nothing can be, now or later."""


def path_from(base: Path, text: str, wrong: type[UpdoserError] = UpdoserError) -> Path:
    """Give the path that a text of the spec means: `~` is a home, and what is relative starts from `base`.

    Raises:
        UpdoserError, as `wrong`: there is no such home; or nothing can be there, as a name is too long, say.
    """
    shown = text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}…"
    if trouble := unfit(text):
        raise wrong(f"`{shown}` is no path: it has {trouble} in it")
    try:
        path = base / Path(text).expanduser()
    except RuntimeError as error:
        user = shown.partition("/")[0].removeprefix("~")
        why = f"there is no user `{user}` here" if user else "HOME isn't set, and this user stands in no passwd"
        raise wrong(f"`{shown}` is in no home: {why}", hint="write the path in full") from error
    try:
        path.stat()
    except OSError as error:
        if error.errno in _NEVER:
            raise wrong(f"`{shown}` is no path: {why_not(error)}") from error
    return path


def is_file(path: Path) -> bool:
    """Say whether a regular file is there, as far as it can be seen: `Path.is_file` raises for some paths."""
    return os.path.isfile(path)  # noqa: PTH113 - see above


def read_file(path: Path, limit: int, tell: Callable[[str], Exception]) -> bytes:
    """Read what the user named, up to `limit` bytes and one more: who gets that many knows that it is larger.

    Raises:
        Exception: it can't be read: what `tell` makes of the reason. LimitError: this machine has no room for more.
    """
    try:
        with path.open("rb") as stream:
            return stream.read(limit + 1)
    except (OSError, ValueError) as error:
        if own := own_limit(error):
            raise own from error
        raise tell(why_not(error)) from error


def why_not(error: OSError | ValueError) -> str:
    """Give the reason that the system has for not opening a path."""
    return getattr(error, "strerror", None) or str(error)
