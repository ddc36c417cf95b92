"""What holds a Protocol of reconciler/contracts.py, for mypy: each bundled plugin, and each fake of one.

Nothing of this is run. A plugin that another kind of argument or answer is added to fails `make check` here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from collections.abc import Mapping

    # The checkout's own name of the bundled plugins: mypy doesn't follow the `__path__` of reconciler.plugins.
    from plugins.check import command as check_command  # noqa: TID251 - see above
    from plugins.codec import bsdiff, gzip, zstd  # noqa: TID251
    from plugins.content import folder as content_folder  # noqa: TID251
    from plugins.content import http as content_http  # noqa: TID251
    from plugins.content import s3  # noqa: TID251
    from plugins.executor import celery, processes, relay, threads  # noqa: TID251
    from plugins.inventory import command, csv  # noqa: TID251
    from plugins.layout import clamav as clamav_layout  # noqa: TID251
    from plugins.layout import tree  # noqa: TID251
    from plugins.notifier import command as notifier_command  # noqa: TID251
    from plugins.notifier import email, webhook  # noqa: TID251
    from plugins.source import clamav, directory, git, http, oci, sample, tuf  # noqa: TID251
    from plugins.station import celery as celery_station  # noqa: TID251
    from plugins.transport import local, openssh, ssh  # noqa: TID251
    from plugins.transport._openssh_client import Openssh  # noqa: TID251
    from plugins.transport._openssh_pipe import OpensshPipe  # noqa: TID251
    from plugins.transport._ssh_client import Ssh  # noqa: TID251
    from plugins.transport._ssh_pipe import SshPipe  # noqa: TID251
    from reconciler.contracts import (
        Check,
        Codec,
        ContentPlace,
        Context,
        Examined,
        Executor,
        Fetching,
        Inventory,
        Layout,
        Notifier,
        Pipe,
        PluginModule,
        Provisioned,
        Session,
        Source,
        Station,
        TalkingPipe,
        Transport,
        Trusting,
        WritablePlace,
    )
    from tests.fakes import FakeClient, FakeInventory, FakeSession, FakeSource, FakeTransport
    from tests.fetching import FakeFetchingSource

    def bundled(options: Mapping[str, Any], context: Context) -> None:
        sources: list[Source] = [
            clamav.ClamAV(options, context),
            directory.Directory(options, context),
            git.Git(options, context),
            http.Http(options, context),
            oci.Oci(options, context),
            sample.Sample(options, context),
            tuf.Tuf(options, context),
        ]
        transports: list[Transport] = [local.Local(options, context), Openssh(options, context), Ssh(options, context)]
        examined: list[Examined] = [Openssh(options, context)]
        inventories: list[Inventory] = [command.CommandInventory(options, context), csv.Csv(options, context)]
        codecs: list[Codec] = [
            bsdiff.Bsdiff(options, context),
            gzip.Gzip(options, context),
            zstd.Zstd(options, context),
        ]
        checks: list[Check] = [check_command.CommandCheck(options, context)]
        executors: list[Executor] = [
            celery.Workers(options, context),
            processes.Processes(options, context),
            relay.Relay(options, context),
            threads.Threads(options, context),
        ]
        stations: list[Station] = [celery_station.Station(options, context)]
        provisioned: list[Provisioned] = [celery.Workers(options, context)]
        del stations, provisioned, examined
        notifiers: list[Notifier] = [
            notifier_command.Command(options, context),
            email.Email(options, context),
            webhook.Webhook(options, context),
        ]
        layouts: list[Layout] = [clamav_layout.ClamAv(options, context), tree.Tree(options, context)]
        places: list[ContentPlace] = [content_http.HttpPlace(options, context)]
        writable: list[WritablePlace] = [content_folder.Folder(options, context), s3.Bucket(options, context)]
        pipes: list[Pipe] = [local.LocalPipe(context.stop)]
        talking: list[TalkingPipe] = [
            local.LocalPipe(context.stop),
            cast("OpensshPipe", None),
            cast("SshPipe", None),
        ]
        fetching: list[Fetching] = [git.Git(options, context), oci.Oci(options, context)]
        trusting: list[Trusting] = [git.Git(options, context), oci.Oci(options, context)]
        del fetching, trusting
        del sources, transports, inventories, codecs, checks, executors, notifiers, layouts, pipes, places, writable
        del talking

    def modules() -> None:
        found: list[PluginModule] = [
            check_command,
            bsdiff,
            gzip,
            zstd,
            processes,
            relay,
            threads,
            command,
            csv,
            clamav,
            directory,
            git,
            http,
            oci,
            sample,
            tuf,
            local,
            openssh,
            ssh,
            notifier_command,
            email,
            webhook,
            clamav_layout,
            tree,
            content_folder,
            content_http,
            s3,
        ]
        del found

    def fakes() -> None:
        sources: list[Source] = [FakeSource(), FakeFetchingSource()]
        fetching: list[Fetching] = [FakeFetchingSource()]
        inventories: list[Inventory] = [FakeInventory()]
        transports: list[Transport] = [FakeTransport({})]
        sessions: list[Session] = [FakeSession("pc-1", FakeClient())]
        del sources, fetching, inventories, transports, sessions
