"""The client of python-tuf in our words: how it gets files, and what its errors mean."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

from reconciler.errors import SourceError, UpdoserError, words_of
from reconciler.web.answer import no_json
from reconciler.web.stream import CHUNK, HttpStatusError, SlowError

if TYPE_CHECKING:
    import io
    from collections.abc import Iterator

    from tuf.ngclient.fetcher import FetcherInterface

_NOT_THERE = frozenset({403, 404, 410})
"""What a server answers of a file that another one, of a later state, has promised."""


class BrokenPromiseError(SourceError):
    """What came isn't what the repository promised, which a second look may not find again."""


class ExpiredError(BrokenPromiseError):
    """The repository's signatures have expired."""


def repository_error() -> type[Exception]:
    """Give what python-tuf raises for a repository that isn't one."""
    from tuf.api.exceptions import RepositoryError

    return RepositoryError


def fetcher(files: Any, base: str) -> FetcherInterface:
    """Give python-tuf our way to get files; its URLs are paths below the repository, and all of them are JSON."""
    from tuf.api.exceptions import DownloadError, DownloadHTTPError
    from tuf.ngclient.fetcher import FetcherInterface

    class Fetcher(FetcherInterface):
        def __init__(self) -> None:
            self._opened = ExitStack()

        @contextmanager
        def download_file(self, url: str, max_length: int) -> Iterator[Any]:
            # What is longer than it may be isn't read on, and python-tuf leaves it to the collector to close it.
            self._opened = ExitStack()
            with self._opened, super().download_file(url, max_length) as file:
                yield file

        def _fetch(self, url: str) -> Iterator[bytes]:
            try:
                stream = self._opened.enter_context(files.open(url))
                first = stream.read(CHUNK)
            except HttpStatusError as error:
                raise DownloadHTTPError(error.message, error.status) from error
            except SourceError as error:
                raise DownloadError(error.message) from error
            odd = no_json(getattr(stream, "headers", {}), first)
            if odd:
                raise DownloadError(odd) from BrokenPromiseError(f"{base}/{url} is none of its files: {odd}")
            return self._rest(stream, first)

        def _rest(self, stream: io.RawIOBase, chunk: bytes | None) -> Iterator[bytes]:
            try:
                while chunk:
                    yield chunk
                    chunk = stream.read(CHUNK)
            except SourceError as error:
                raise DownloadError(error.message) from error

    return Fetcher()


@contextmanager
def mapped(what: str) -> Iterator[None]:
    """Turn what python-tuf found out into a sentence of its own for each kind of attack that the specification names.

    Raises:
        SourceError: in place of its errors.
    """
    from tuf.api import exceptions

    try:
        yield
    except SourceError:
        raise
    except exceptions.ExpiredMetadataError as error:
        raise ExpiredError(
            f"its signatures have expired ({error}): nobody signs it any more, or somebody keeps it frozen",
            hint="ask the publisher; `accept_expired` takes what was verified before for some days",
        ) from error
    except exceptions.DownloadError as error:
        if isinstance(error.__cause__, SourceError):
            raise _same(error.__cause__) from error
        if isinstance(error.__cause__, UpdoserError):
            raise error.__cause__ from error
        long = isinstance(error, exceptions.DownloadLengthMismatchError)
        said = "doesn't end where it should, and was cut off" if long else "can't be had"
        raise SourceError(f"{what} {said}: {error}") from error
    except (exceptions.RepositoryError, ValueError) as error:
        said, hint = _broken_rule(error)
        raise BrokenPromiseError(f"{what}{said}: {error}", hint=hint) from error
    except OSError as error:
        raise SourceError(f"{error.filename or 'the work folder'} can't be written: {error.strerror}") from error
    except UpdoserError:
        raise
    except Exception as error:  # what a repository has can be of any form, and python-tuf doesn't expect all of them
        raise BrokenPromiseError(f"{what} breaks the rules of TUF: {words_of(error)}") from error


def _broken_rule(error: Exception) -> tuple[str, str]:
    """Say which rule of the specification a repository broke, and what to do about it."""
    from tuf.api import exceptions

    if isinstance(error, exceptions.BadVersionNumberError):
        return (
            " is older than before, at a second look too: the server lags behind, or it is refused as a rollback",
            "a mirror catches up by itself; if the publisher lost his repository, he must sign later versions",
        )
    if isinstance(error, exceptions.UnsignedMetadataError):
        return (
            " isn't signed by enough of the trusted keys",
            "if the publisher changed his keys, the old keys must have signed the new root",
        )
    if isinstance(error, exceptions.LengthOrHashMismatchError):
        return " isn't what was signed: parts of different states are mixed", ""
    return " breaks the rules of TUF", ""


def _same(cause: SourceError) -> SourceError:
    if isinstance(cause, SlowError):
        return SourceError(f"{cause.message}; a source that is kept slow is refused")
    lost = isinstance(cause, HttpStatusError) and cause.status in _NOT_THERE
    kind = BrokenPromiseError if lost or isinstance(cause, BrokenPromiseError) else SourceError
    return kind(cause.message, hint=cause.hint, cooldown_until=cause.cooldown_until)
