"""What Kerberos says in ssh's log when a ticket is no good, and what to do about it. Pure.

ssh writes it down in two lines or more, with an empty one behind them: GSSAPI's own words, which say little, and then
those of Kerberos. It says nothing of a ticket that it could send: whether that is let in is the host's affair.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

LOGGED = "gss-genr.c:ssh_gssapi_error():*"
"""The lines of ssh that are logged though they are details otherwise (LogVerbose)."""
METHOD = "gssapi-with-mic"
_FAILURE = re.compile(r"debug1: gss-genr\.c:ssh_gssapi_error\(\):\d+ \(pid=\d+\): (.*)")
GET_TICKET = "get a ticket as the user who runs updoser: kinit, or without a password kinit -k -t KEYTAB PRINCIPAL; "
GET_TICKET += "`klist` shows it, and KRB5CCNAME says where it lies"
_HINTS = {
    r"No Kerberos credentials available|No credentials|Credentials cache|Can't find client principal": GET_TICKET,
    r"[Tt]icket expired|Ticket not yet valid|Matching credential not found": GET_TICKET,
    r"Server .*not found in Kerberos database": "reach the client by the name that its principal host/NAME has "
    "(`address`, or else its name), or add that principal, and its key to the client's keytab",
    r"Cannot (contact any|find) KDC|Cannot determine realm|Cannot find (file|key)": "see that the realm's KDC can be "
    "reached from this machine, and what krb5.conf says of it: kinit tries the same",
    r"Clock skew": "set the clocks of this machine, of the KDC and of the client by one time",
}
_REFUSED = "the host accepts tickets, and not this one: see that it lets its principal in as this user (~/.k5login, or "
_REFUSED += "auth_to_local in krb5.conf there), that its keytab has host/NAME, and that `klist` shows a ticket here"
NOT_ASKED = "the host accepts no tickets: GSSAPIAuthentication yes in its sshd_config, and a keytab"


def parted(lines: Sequence[str]) -> tuple[list[str], list[str]]:
    """Give a log without what Kerberos said and without empty lines, and that, each thing once."""
    rest: list[str] = []
    said: dict[str, None] = {}
    words = ""
    for line in map(str.strip, lines):
        if found := _FAILURE.fullmatch(line):
            words = found[1]
        elif words and line:  # the last line says most
            words = line
        elif words:
            said[words], words = None, ""
        elif line:
            rest.append(line)
    return rest, list(said if not words else {**said, words: None})


def hint(said: Sequence[str], accepted: str) -> str:
    """Say what to do where a login by ticket failed; `accepted` are the ways in that the host named, if it did."""
    for words in said:
        for pattern, what in _HINTS.items():
            if re.search(pattern, words):
                return what
    if METHOD not in accepted:
        return NOT_ASKED if accepted else GET_TICKET
    return GET_TICKET if said else _REFUSED
