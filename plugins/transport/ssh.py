"""Clients over SSH: strict host keys, one connection, one exec channel for each request.

* A host key must stand in `known_hosts`. Unknown, changed and revoked keys are refused; `accept_new` appends one line.
* Keys are tried in their order, then the password. Without either it is as with ssh: the agent's keys, then those of
  ~/.ssh. Nothing is asked.
* A server that takes only one command at a time, or for each connection, gets no more.
* Whatever a host says or does is that host's error; a limit of this machine is none.
* The way leads through the group's proxy and over `jump` hosts, where there are some; each of those is checked alike.
* Each step has its time-out: connecting and logging in, silence on the channel, the request as a whole.

paramiko takes a tenth of a second to import: what only checks a spec does without.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from reconciler.contracts import Traits
from reconciler.formats.known_hosts import host_name

from ._ssh_options import OPTIONS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from reconciler.contracts import Context, Transport


def _traits(options: Mapping[str, Any]) -> Traits:
    hops = options.get("jump", ())
    return Traits(
        network=True,
        jump=hops[0]["address"] if hops else "",
        hops=tuple(host_name(hop["address"], hop["port"]) for hop in hops),
        port=options["port"],
        user=options.get("user", ""),
        keys=tuple(str(key.value) for key in options.get("keys", ()) if key.kind == "file"),
        become="become" in options,
    )


def _ssh(options: Mapping[str, Any], context: Context) -> Transport:
    from ._ssh_client import Ssh

    return Ssh(options, context)


__all__ = ["OPTIONS", "PLUGIN", "TRAITS"]
TRAITS = _traits
PLUGIN = _ssh
