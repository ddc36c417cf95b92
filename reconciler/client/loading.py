"""Waiting on a client until its engine has loaded what was switched to: a check like any other, as a text for sh.

It asks again and again, and is good as soon as the answer is the version; when its time is up, it is a check that
failed after the switch. What the engine said last stands in the failure.
"""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from reconciler.model.deploy import ClientCheck

if TYPE_CHECKING:
    from reconciler.model.question import Question

_WAIT = r"""set -f
blank=$(printf ' \t\r')
while :; do
IFS='
'
said=nothing
for line in $(sh -c {command} 2>/dev/null | tail -c 2000); do
case $line in *[!"$blank"]*) said=$line ;; esac
done
IFS=$blank
set -- $said
[ $# -ne 1 ] || [ "$1" != "$UPDOSER_VERSION" ] || exit 0
printf '%s\n' "the engine says: $said"
sleep 2
done"""


def loading_check(question: Question) -> ClientCheck | None:
    """Give the check that waits; None where nobody is to wait."""
    if not question.within:
        return None
    run = _WAIT.replace("{command}", shlex.quote(question.run))
    return ClientCheck("loaded", "switched", run, timeout=question.within)
