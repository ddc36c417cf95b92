"""Celery as a program: a main process that takes orders, and processes that carry them out, one at a time each.

SIGTERM and SIGINT drain it: nothing more is taken and no client is begun, what was begun is finished and reported, the
rest goes back. It ends within the time for that, or kills its processes: their orders then come to another worker.
"""

from __future__ import annotations

import logging
import mmap
import os
import secrets
import signal
import socket
import warnings
from threading import Timer
from typing import TYPE_CHECKING, Any

from reconciler.errors import PluginError

from ...executor._celery.orders import GRACE
from ...executor._celery.wire import CONTENT_TYPE, ENCODING, HEARTBEAT, TASK, queue_of
from .carrying import Carrier
from .control import Control
from .post import Post

if TYPE_CHECKING:
    from collections.abc import Callable
    from logging import Logger

    from celery import Celery

    from reconciler.contracts import Labour

    from ...executor._celery.wire import Broker

_NOISY = ("celery.worker.consumer.delayed_delivery", "kombu.transport.native_delayed_delivery")
"""They warn that what needs more rights isn't available: tasks that wait, of which there are none."""
_SILENT = logging.CRITICAL + 1
PER_CHILD = 200
"""Batches after which a process makes place for a new one."""
BUDGET = 25 * 60.0
LOST = 0.5
"""Seconds after which a batch whose process died comes to another one, and at which that is looked for."""


class Program:
    """The worker of a site."""

    def __init__(
        self,
        broker: Broker,
        labour: Labour,
        read: Callable[[Any], Any],
        *,
        seal_key: str,
        drain: float,
        log: Logger,
    ) -> None:
        """Take the broker, what does the work, and what reads signed messages."""
        self._broker = broker
        self._labour = labour
        self._read = read
        self._seal_key = seal_key
        self._drain = drain
        self._log = log
        self._flag = mmap.mmap(-1, 1)  # shared with the processes that are forked
        self._carrier: Carrier | None = None
        self._control: Control | None = None
        self._post: Post | None = None

    def run(self) -> None:
        """Carry out what comes, until a signal ends it.

        Raises:
            PluginError: the broker refuses us.
        """
        from celery import signals
        from celery.platforms import SecurityWarning

        app = self._app()
        for name in _NOISY:
            logging.getLogger(name).setLevel(_SILENT)
        warnings.filterwarnings("ignore", category=SecurityWarning)  # who runs it is its unit's business
        handlers = (
            (signals.setup_logging, _nothing),  # whoever runs this has set it up
            (signals.worker_process_init, self._begin),
            (signals.worker_process_shutdown, self._end),
            (signals.worker_shutting_down, self._drains),
        )
        for hook, handler in handlers:
            hook.connect(handler, weak=False)
        worker = app.Worker(
            hostname=f"{self._labour.site}@{socket.gethostname()}",
            concurrency=self._labour.processes,
            pool=_pool(),
            optimization="fair",
            without_mingle=True,
            without_gossip=True,
            without_heartbeat=True,
            quiet=True,
            loglevel=logging.WARNING,
        )
        try:
            worker.start()
        finally:
            for hook, handler in handlers:
                hook.disconnect(handler)
        if worker.exitcode:
            raise PluginError(f"the worker of the site {self._labour.site} broke; its log says why")

    def _app(self) -> Celery:
        from celery import Celery
        from kombu import entity, serialization

        kombu: Any = entity  # half of it has types
        registered: Any = serialization.register
        registered("auth", _writes_nothing, self._read, content_type=CONTENT_TYPE, content_encoding=ENCODING)
        queue = queue_of(self._labour.site)
        app = Celery("updoser", broker=self._broker.url)
        app.conf.update(
            broker_login_method="EXTERNAL",
            broker_use_ssl=self._broker.tls(),
            broker_transport_options={"confirm_publish": True},
            broker_connection_retry_on_startup=True,
            broker_connection_max_retries=None,
            broker_heartbeat=HEARTBEAT,
            task_acks_late=True,
            task_reject_on_worker_lost=True,
            worker_prefetch_multiplier=1,
            # else clients are left in the middle; what is given out twice is answered twice, and counts once
            worker_cancel_long_running_tasks_on_connection_loss=False,
            worker_max_tasks_per_child=PER_CHILD,
            worker_lost_wait=LOST,
            worker_send_task_events=False,
            worker_enable_remote_control=False,
            worker_hijack_root_logger=False,
            worker_redirect_stdouts=False,
            task_ignore_result=True,
            task_create_missing_queues=False,
            task_queues=[kombu.Queue(queue, no_declare=True, queue_arguments={"x-queue-type": "quorum"})],
            task_default_queue=queue,
            task_default_exchange_type="direct",
            task_serializer="auth",
            accept_content=["auth"],
            task_time_limit=BUDGET + GRACE,  # an order says its own
        )
        app.task(name=TASK)(self._carry)
        return app

    def _carry(self, envelope: Any) -> None:
        assert self._carrier is not None
        self._carrier.carry(envelope)

    # --- in a process -------------------------------------------------------------------------------------------------

    def _begin(self, **_more: Any) -> None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the main process
        labour = self._labour
        name = f"{socket.gethostname()}/{os.getpid()}/{secrets.token_hex(4)}"
        self._post = Post(self._broker, labour.site, labour.write, self._log)
        self._control = Control(self._broker, labour.site, name, labour.forks, self._log)
        self._carrier = Carrier(labour, self._control, self._post, self._seal_key, self._draining, self._log)
        self._control.start()

    def _end(self, **_more: Any) -> None:
        if self._control is not None:
            self._control.close()
        if self._post is not None:
            self._post.close()

    def _draining(self) -> bool:
        return self._flag[0] != 0

    # --- in the main process ------------------------------------------------------------------------------------------

    def _drains(self, **_more: Any) -> None:
        self._flag[0] = 1
        timer = Timer(self._drain, self._give_up)
        timer.daemon = True
        timer.start()

    def _give_up(self) -> None:
        """End at once: what is under way is left as it is, and orders that aren't acknowledged come to others."""
        from billiard import active_children

        self._log.error("the worker isn't through within %.0f s, and ends", self._drain)
        for child in active_children():
            os.kill(child.pid, signal.SIGKILL)
        os._exit(1)


def _pool() -> type[Any]:
    """Give Celery's processes, which are looked after every five seconds there: a batch would wait for as long."""
    from celery.concurrency.asynpool import AsynPool
    from celery.concurrency.prefork import TaskPool

    class Processes(AsynPool):  # type: ignore[misc]
        @property
        def timers(self) -> dict[Callable[[], None], float]:
            return {self.maintain_pool: LOST}

    class Pool(TaskPool):  # type: ignore[misc]
        Pool = Processes

    return Pool


def _nothing(**_more: Any) -> None:
    """Do nothing."""


def _writes_nothing(_message: Any) -> bytes:
    raise NotImplementedError("workers sign nothing")
