"""What the broker of sites needs, printed for whoever runs it."""

from __future__ import annotations

import logging
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from reconciler import plugin_loader
from reconciler.assembly import utc_now
from reconciler.client.session import shell_session
from reconciler.contracts import Context, Provisioned
from reconciler.desk import read_spec
from reconciler.errors import PluginError, UsageError
from reconciler.guards import blaming
from reconciler.hints import suggestion
from reconciler.resolving import resolve

if TYPE_CHECKING:
    from reconciler.desk import Desk
    from reconciler.model.spec import PluginConfig, Spec


def broker(desk: Desk, site: str) -> int:
    """Print the definitions of the broker of a site, for all sites that are there; of the only one without a name.

    Raises:
        UsageError: there is no such site, or it isn't said which of several brokers is meant.
        PluginError: the executor can't say.
    """
    spec = read_spec(desk).spec
    if site and site not in spec.sites:
        raise UsageError(f"there is no site {site}", hint=suggestion(site, spec.sites))
    with tempfile.TemporaryDirectory(prefix="updoser-") as folder:
        found = _by_broker(spec, Path(folder))
        if site:
            found = {key: (made, sites) for key, (made, sites) in found.items() if site in sites}
        if len(found) > 1:
            named = "; ".join(", ".join(sites) for _made, sites in found.values())
            raise UsageError(f"there are {len(found)} brokers, of these sites: {named}", hint="name a site of one")
        if not found:
            who = f"the site {site}" if site else "any site"
            raise UsageError(f"nothing has to be set up for {who}", hint="`executor: {type: celery}` needs a broker")
        ((made, sites),) = found.values()
        with blaming("the definitions can't be made", PluginError):
            desk.terminal.result(made.definitions(sites))
    return 0


def _by_broker(spec: Spec, folder: Path) -> dict[str, tuple[Provisioned, list[str]]]:
    """Give the sites by what their executors want where there is no site: that is the same for one broker."""
    found: dict[str, tuple[Provisioned, list[str]]] = {}
    for site in spec.sites.values():
        made = _made(spec, site.executor, folder)
        if isinstance(made, Provisioned):
            with blaming(f"the executor of the site {site.name} broke", PluginError):
                found.setdefault(made.definitions(()), (made, []))[1].append(site.name)
    return found


def _made(spec: Spec, config: PluginConfig, folder: Path) -> object:
    context = Context(
        base=spec.base,
        home=spec.home,
        tree=spec.tree,
        work=folder,
        clock=utc_now,
        secret=lambda reference: resolve(reference, spec.start_of(reference), {}, {}),
        log=logging.getLogger(f"updoser.executor.{config.name}"),
        shell=shell_session,
    )
    return plugin_loader.load(config.kind, config.name, config.options, context, spec.plugin_folders)
