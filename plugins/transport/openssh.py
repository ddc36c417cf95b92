"""Clients over the system's `ssh`: certificates of an SSH CA, keys on hardware, Kerberos, and the user's ssh_config.

* No key comes into this process: ssh reads them, or has an agent sign. What would have to be typed must be in an agent.
* A host key must stand in `known_hosts`, or be signed by an authority that stands there. No ssh_config changes that.
* ssh has one connection for each client, and all commands go over it (ControlMaster): a look and the deploy that
  follows. It ends with the run, and by itself some seconds after one that was killed.
* What leads to a client is ours, as with `ssh`: the group's proxy, `jump` hosts, time-outs. ssh gets a connection that
  is open. Only where the spec names a `config`, and neither of those, ssh finds the way by itself, as that file says.
* Nothing is asked, nothing goes through a shell, and names are checked before ssh sees them.
* Its sockets and its configuration lie in a folder that is only this user's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from reconciler.contracts import Traits
from reconciler.formats.known_hosts import SSH_PORT, host_name

from ._openssh_options import OPTIONS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from reconciler.contracts import Context, Transport


def _traits(options: Mapping[str, Any]) -> Traits:
    hops = options.get("jump", ())
    port = None if "config" in options else SSH_PORT
    return Traits(
        programs=True,
        network=True,
        jump=hops[0]["address"] if hops else "",
        hops=tuple(host_name(hop["address"], hop["port"]) for hop in hops),
        port=options["port"] if "port" in options else port,  # noqa: SIM401 - no default of the option's own
        user=options.get("user", ""),
        keys=tuple(key["file"] for key in options.get("keys", ()) if not key["file"].endswith(".pub")),
        become="become" in options,
        speaks="ssh",
    )


def _openssh(options: Mapping[str, Any], context: Context) -> Transport:
    from ._openssh_client import Openssh

    return Openssh(options, context)


__all__ = ["OPTIONS", "PLUGIN", "TRAITS"]
TRAITS = _traits
PLUGIN = _openssh
