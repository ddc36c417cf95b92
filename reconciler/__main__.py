"""The process: `updoser`, which is the same as `python -m reconciler`."""

from __future__ import annotations

import signal
from typing import NoReturn


def main() -> NoReturn:
    """Run the command line of this process.

    Until it is imported, Ctrl-C ends the process as it ends any other: nothing has begun, and Python's own answer to it
    would be where in an import that was.
    """
    before = signal.getsignal(signal.SIGINT)
    if before is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from reconciler import cli

    signal.signal(signal.SIGINT, before)
    cli.main()


if __name__ == "__main__":
    main()
