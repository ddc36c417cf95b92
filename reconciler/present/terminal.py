"""Where commands write and ask: results on stdout, everything else on stderr, secrets in neither.

No command fails because something of that can't be written. What is lost is said once, where that can be done, and
makes an exit code that was good a bad one.
On a terminal the progress of a run is a bar (rich); elsewhere it is plain lines, one for each thing worth a line.
"""

from __future__ import annotations

import errno
import json
import logging
import os
import signal
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal, TextIO

from reconciler.errors import UsageError, printable
from reconciler.files import check_writable, write_whole
from reconciler.present.fields import time_text
from reconciler.present.render import FORMATS, json_text, render
from reconciler.present.streams import look_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from reconciler.model.events import Event, Level
    from reconciler.present.look import Look
    from reconciler.present.render import View
    from reconciler.present.streams import Outlet

_GOOD = (0, 2)
"""Exit codes that say that all went well."""


def is_interactive() -> bool:
    """Say whether a person can be asked."""
    return sys.stdin is not None and sys.stdin.isatty() and sys.stderr.isatty()


@dataclass(frozen=True, slots=True)
class LogStyle:
    """How notes and progress are written to stderr: in `form`, and how much.

    `""` is for people: a bar on a terminal, plain lines elsewhere. `text` and `json` are for logs: a line for each
    thing, with its time, its level and the run's id. With `quiet` only trouble is told; with `verbose` also what comes
    once for each client, and what libraries and plugins say of their work (all of it at 2).
    """

    form: Literal["", "text", "json"] = ""
    quiet: bool = False
    verbose: int = 0

    @property
    def threshold(self) -> int:
        """From which level on what libraries and plugins log is shown."""
        return {0: logging.WARNING, 1: logging.INFO}.get(self.verbose, logging.DEBUG)


def _masked(document: Any, mask: Callable[[str], str]) -> Any:
    """Give a document in whose sentences nothing is left to mask; mostly there is nothing.

    Words, names and times stay as they are, as renderers go by them; nobody breaks or cuts those.
    """
    whole = "\n".join(_sentences(document))
    return document if mask(whole) == whole else _each(document, mask)


def _sentences(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        if _is_sentence(value):
            yield value
    elif isinstance(value, (dict, list, tuple)):
        for entry in value.values() if isinstance(value, dict) else value:
            yield from _sentences(entry)


def _is_sentence(text: str) -> bool:
    return " " in text or "\n" in text


def _each(value: Any, mask: Callable[[str], str]) -> Any:
    if isinstance(value, str):
        return mask(value) if _is_sentence(value) else value
    if isinstance(value, dict):
        return {key: _each(entry, mask) for key, entry in value.items()}
    return [_each(entry, mask) for entry in value] if isinstance(value, (list, tuple)) else value


class Terminal:
    """Standard output and error of a command; `mask` takes secrets out of all that is written.

    `form` is that of the results: what isn't asked for may stand behind a text only. `log` is the style of all that
    isn't a result, and `run_id` the run that it is about.
    """

    def __init__(self, mask: Callable[[str], str] = str, *, streams: tuple[Outlet, Outlet] | None = None) -> None:
        """Write to the process's own streams; `streams` is where they lead, when they never fail."""
        self.mask = mask
        self.form = "text"
        self.into: Path | None = None
        self.log = LogStyle()
        self.run_id = ""
        self._out: Outlet | None
        self._err: Outlet | None
        self._out, self._err = streams or (None, None)
        self._lost: dict[str, str] = {}
        self._unsaid: list[str] = []

    @property
    def look(self) -> Look:
        """How results look where they are read."""
        return look_of(sys.stdout)

    def result(self, text: str) -> None:
        """Write a result to stdout."""
        _write(sys.stdout, self.mask(text))
        if self._out is not None and self._out.trouble is not None:
            self.lose("standard output", self._out.trouble)

    def write_into(self, path: Path) -> None:
        """Write each document that is shown into a file as well, as JSON; the last one stays.

        Raises:
            UsageError: it can't be written; found out now, not at the end of long work.
        """
        check_place("--json-into", path)
        self.into = path

    def show(self, document: Any, form: str, view: View, **how: Any) -> None:
        """Write a document to stdout in a format, and as JSON into the file that was asked for."""
        self.result(self.rendered(document, form, view, look=self.look, **how))
        self.keep(document)

    def rendered(self, document: Any, form: str, view: View, **how: Any) -> str:
        """Give a document in a format, without secrets: they are taken out before it is broken into lines, and cut."""
        return render(_masked(document, self.mask), form, view, **how)

    def keep(self, document: Any) -> None:
        """Write a document as JSON into the file that was asked for, if one was; what is done by then isn't undone."""
        if self.into is not None:
            self.write_whole("--json-into", self.into, json_text(document))

    def write_whole(self, option: str, path: Path, text: str) -> None:
        """Write a text into the file that an option names, whole or not at all."""
        try:
            write_whole(path, self.mask(text).encode())
        except OSError as error:
            self.lose(f"{option} {path}", error)

    def note(self, text: str, level: Level = "info") -> None:
        """Write a line for people to stderr: all that isn't progress goes through here, whoever wrote parts of it."""
        if not (self.log.quiet and level == "info"):
            self._tell(text, level, datetime.now(UTC), {})

    def hint(self, text: str) -> None:
        """Tell people what to do next, behind a result that is for them; nothing is told where that is empty."""
        if text and FORMATS[self.form].talks and not (self.log.quiet or self.log.form):
            self.note(f"\nNext: {text}")

    def event(self, event: Event, now: datetime, entry: Mapping[str, object]) -> None:
        """Write an event to stderr; `entry` is what it is for machines."""
        if not (self.log.quiet and event.level == "info"):
            self._tell(event.message if self.log.form else event_line(event, now), event.level, now, entry)

    def _tell(self, text: str, level: Level, now: datetime, more: Mapping[str, object]) -> None:
        if self.log.form == "json":
            head = {"time": time_text(now), "run_id": self.run_id or None, "level": level, "message": self.mask(text)}
            _write(
                sys.stderr,
                self.mask(json.dumps({**head, **{key: more[key] for key in more if key not in head}})) + "\n",
            )
        elif self.log.form == "text":
            head_text = f"{time_text(now)} {level.upper():<7} {self.run_id or '-'}"
            lines = self._shown(text).strip("\n").split("\n")
            _write(sys.stderr, "".join(f"{head_text} {line}\n" for line in lines))
        else:
            _write(sys.stderr, self._shown(text) + "\n")

    def _shown(self, text: str) -> str:
        return printable(self.mask(text), but="\n\t")

    def lose(self, what: str, error: OSError) -> None:
        """Take note that the rest of something can't be written; it is said at once, or at the end."""
        if what not in self._lost:
            self._lost[what] = f"warning: {what} can't be written: {error.strerror}; what is missing there is lost"
            self._unsaid.append(what)
            self.note(self._lost[what], "warning")
            if self._err is None or self._err.trouble is None:
                self._unsaid.remove(what)

    def settle(self, code: int) -> int:
        """End the command: say what wasn't said of what is lost, and give the exit code with that in it."""
        if self._out is not None and self._out.trouble is not None and self._out.trouble.errno != errno.EPIPE:
            self.lose("standard output", self._out.trouble)  # such as a help text; who left didn't want to see it all
        if self._err is not None and self._err.trouble is not None:
            self.lose("standard error", self._err.trouble)
        if self._unsaid and FORMATS[self.form].talks:
            _write(sys.stdout, "".join(f"{self.mask(self._lost[what])}\n" for what in self._unsaid))
        return 1 if self._lost and code in _GOOD else code

    def approves(self, question: str, first: str) -> bool:
        """Ask a person for a `yes`, as Terraform does; `first` is what to do where nobody can be asked.

        Raises:
            UsageError: nobody can.
        """
        if not is_interactive():
            raise UsageError("there is no terminal to ask on", hint=f"{first}, then --auto-approve")
        return self.ask(f"\n{question}\n  Only 'yes' will be accepted to approve.\n\n  Enter a value: ") == "yes"

    def ask(self, question: str) -> str:
        """Ask a person, who sees the question on stderr; no answer is an empty one, Ctrl-C ends the command."""
        before = signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            _write(sys.stderr, self._shown(question))
            return sys.stdin.readline().strip()
        except OSError:  # the terminal is gone
            return ""
        finally:
            signal.signal(signal.SIGINT, before)


def check_place(option: str, path: Path) -> None:
    """Find out now, and not at the end of long work, whether a file that an option names can be written.

    Raises:
        UsageError: it can't.
    """
    try:
        check_writable(path)
    except OSError as error:
        raise UsageError(f"{option} {path}: it can't be written: {error.strerror}") from error


def _write(stream: TextIO, text: str) -> None:
    stream.write(text)
    stream.flush()


class Log(logging.Handler):
    """Shows what libraries and plugins log, as all other notes: without secrets, and without what moves a cursor."""

    def __init__(self, terminal: Terminal) -> None:
        super().__init__(logging.DEBUG)
        self._terminal = terminal

    def emit(self, record: logging.LogRecord) -> None:
        """Write a line."""
        if debugging() or record.levelno >= self._terminal.log.threshold:
            self._terminal.note(self.format(record), _level_of(record))


def _level_of(record: logging.LogRecord) -> Level:
    if record.levelno >= logging.ERROR:
        return "error"
    return "warning" if record.levelno >= logging.WARNING else "info"


def event_line(event: Event, now: datetime) -> str:
    """Write an event as a line for people."""
    mark = {"warning": "warning: ", "error": "error: "}.get(event.level, "")
    return f"{now:%H:%M:%S} {mark}{printable(event.message)}"


def debugging() -> bool:
    """Say whether the user wants to see where in the code an error came from."""
    return os.environ.get("UPDOSER_DEBUG", "") not in {"", "0"}
