"""What is wrong with a template, whichever profile it is read by."""

from __future__ import annotations


class TemplateFault(Exception):  # noqa: N818  (never leaves the room: it becomes a Problem, or a client's outcome)
    """A template can't be compiled or rendered; `line` and `column` count from 1, 0 where they aren't known."""

    def __init__(self, message: str, hint: str = "", *, line: int = 0, column: int = 0) -> None:
        super().__init__(message)
        self.message, self.hint, self.line, self.column = message, hint, line, column

    def at(self, place: tuple[int, int]) -> TemplateFault:
        """Give the same fault with its line and column."""
        return TemplateFault(self.message, self.hint, line=place[0], column=place[1])
