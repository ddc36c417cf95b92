"""Take the orders of a site and carry them out, until a signal ends it: a service at the site."""

from __future__ import annotations

import logging
import os
import sys
from datetime import UTC, datetime
from threading import Event
from typing import TYPE_CHECKING, cast

from reconciler import plugin_loader
from reconciler.client.session import shell_session
from reconciler.contracts import Context, Labour
from reconciler.errors import PluginError, UsageError
from reconciler.formats.answer_json import write_report
from reconciler.formats.batch_json import read_batch
from reconciler.formats.sealed import new_key
from reconciler.guards import blaming
from reconciler.resolving import resolve
from reconciler.worker.crewing import Means, Worker, contents_of
from reconciler.worker.lending import lends_of
from reconciler.worker.setup import place_of
from reconciler.worker_file import file_in_force, read_worker_file

if TYPE_CHECKING:
    from contextlib import AbstractContextManager
    from pathlib import Path

    from reconciler.contracts import ContentPlace, Crew, Station
    from reconciler.model.secret import SecretRef
    from reconciler.model.spec import PluginConfig
    from reconciler.worker_file import WorkerFile


def serve(site: str, config: Path | None) -> int:
    """Work for a site, as a file says, or that of the working folder.

    Raises:
        SpecError: the file is no good.
        UsageError: it is of another site, or doesn't say where orders come from.
        PluginError: the station can't begin.
    """
    path = file_in_force(config)
    file = read_worker_file(path)
    if file.site and file.site != site:
        raise UsageError(f"{path} is of the site {file.site}, and not of {site}")
    if file.station is None:
        raise UsageError(f"{path} doesn't say where orders come from", hint="`station: {type: celery, …}`")
    level = logging.DEBUG if _debugging() else logging.INFO
    logging.basicConfig(level=level, format="%(levelname)s %(name)s: %(message)s", stream=sys.stderr, force=True)
    logging.getLogger("amqp").setLevel(logging.WARNING)
    logging.getLogger("paramiko").setLevel(logging.WARNING)
    station = _station(file, file.station)
    processes = min(file.processes or os.cpu_count() or 1, file.forks)
    labour = Labour(
        site=site,
        threads=_Threads(file),
        read=read_batch,
        write=write_report,
        forks=file.forks // processes,
        processes=processes,
    )
    with blaming(f"the station {file.station.name} broke", PluginError):
        station.serve(labour)
    return 0


class _Threads:
    """Gives crews of threads in the process that asks: nothing is opened before that."""

    def __init__(self, file: WorkerFile) -> None:
        self._file = file
        self._worker: Worker | None = None
        self._stop = Event()

    def __call__(self, forks: int) -> AbstractContextManager[Crew]:
        if self._worker is None:
            file = self._file
            means = Means(
                forks=forks,
                lends=lends_of(file.forks),
                stop=self._stop,
                over=Event(),
                clock=_now,
                debug=_debugging(),
            )
            places: list[ContentPlace] = [place_of(config, file.setup, means.stop, _now) for config in file.content]
            self._worker = Worker(file.setup, means, contents_of(file.cache, file.limit, places, means.over))
        return self._worker.crew()


def _station(file: WorkerFile, config: PluginConfig) -> Station:
    setup = file.setup
    work = setup.work / "station"
    try:
        work.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise PluginError(f"{work} can't be made: {error.strerror}") from error

    def secret(reference: SecretRef) -> str:
        return resolve(reference, setup.base, os.environ, public)

    public = {name: value for name, value in os.environ.items() if name not in setup.hidden}
    context = Context(
        base=setup.base,
        work=work,
        clock=_now,
        secret=secret,
        log=logging.getLogger("updoser.station"),
        shell=shell_session,
        environ=public,
    )
    made = plugin_loader.load("station", config.name, config.options, context, setup.plugin_folders)
    return cast("Station", made)


def new_seal_key(path: Path) -> int:
    """Make the key pair of a site: write the private key, which only its owner may read, and print the public one.

    Raises:
        UsageError: there is something already, or it can't be written.
    """
    private, public = new_key()
    try:
        number = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(number, "w", encoding="ascii") as stream:
            stream.write(f"{private}\n")
    except FileExistsError:
        raise UsageError(f"{path} is there already", hint="a site's key is made once; name another file") from None
    except OSError as error:
        raise UsageError(f"{path} can't be written: {error.strerror}") from error
    sys.stdout.write(f"{public}\n")
    return 0


def _now() -> datetime:
    return datetime.now(UTC)


def _debugging() -> bool:
    return os.environ.get("UPDOSER_DEBUG", "") not in {"", "0"}
