"""Values of arguments that have a form of their own, such as `36h` and `5%`."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from datetime import datetime, timedelta

    from reconciler.planner.thresholds import Condition
    from reconciler.present.policy import Condition as Limit


class Duration(click.ParamType):  # type: ignore[type-arg] # click's stubs made it generic in 8.4
    """A time span such as `36h`."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> timedelta:
        """Read the value, or fail with what is wrong with it."""
        from reconciler.formats.duration import parse_duration

        try:
            return parse_duration(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


class HostPort(click.ParamType):  # type: ignore[type-arg] # click's stubs made it generic in 8.4
    """A host and a port to listen at: `127.0.0.1:8485`, `[::1]:8485`."""

    name = "address"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, int]:
        """Read the value, or fail with what may stand there."""
        host, _colon, port = str(value).rpartition(":")
        bare = host.removeprefix("[").removesuffix("]")
        if not bare or (":" in bare) != (bare != host) or not (port.isascii() and port.isdigit()) or int(port) > _PORTS:
            self.fail(f"{value!r} is no address to listen at: such as 127.0.0.1:8485 or [::1]:8485", param, ctx)
        return bare, int(port)


_PORTS = 65535


class Conditions(click.ParamType):  # type: ignore[type-arg] # click's stubs made it generic in 8.4
    """Conditions such as `age>48h,outdated>5%`."""

    name = "conditions"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[Condition, ...]:
        """Read the value, or fail with what is wrong with it."""
        from reconciler.planner.thresholds import parse_conditions

        if not isinstance(value, str):
            return value  # type: ignore[no-any-return] # the default
        try:
            return parse_conditions(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


class Policy(click.ParamType):  # type: ignore[type-arg] # click's stubs made it generic in 8.4
    """Conditions on a plan, such as `downgrade,unknown>5%`."""

    name = "conditions"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[Limit, ...]:
        """Read the value, or fail with what is wrong with it."""
        from reconciler.present.policy import parse_policy

        if not isinstance(value, str):
            return value  # type: ignore[no-any-return] # the default
        try:
            return parse_policy(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


class Share(click.ParamType):  # type: ignore[type-arg] # click's stubs made it generic in 8.4
    """A share in percent, such as `5%`."""

    name = "percent"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Read the value, or fail with what is wrong with it."""
        from reconciler.model.share import of_percent

        if isinstance(value, float):
            return value
        try:
            share = of_percent(str(value).removesuffix("%"))
        except ValueError:
            share = -1
        if not 0 <= share <= 1:
            self.fail(f"{value!r} is no share such as 5%", param, ctx)
        return share


class Since(click.ParamType):  # type: ignore[type-arg] # click's stubs made it generic in 8.4
    """A time, as how long ago that was (`2d`) or as ISO 8601 writes it (`2026-11-24`, `2026-11-24T12:00Z`), in UTC."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> timedelta | datetime:
        """Read the value, or fail with what may stand there."""
        from datetime import UTC, datetime

        from reconciler.formats.duration import parse_duration

        with suppress(ValueError):
            return parse_duration(value)
        try:
            read = datetime.fromisoformat(value)
        except ValueError:
            self.fail(f"{value!r} is no time: such as 2d, 2026-11-24 or 2026-11-24T12:00Z", param, ctx)
        return read if read.tzinfo else read.replace(tzinfo=UTC)
