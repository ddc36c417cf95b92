"""The process: `updoser`, which is the same as `python -m reconciler`."""

from __future__ import annotations

import gc
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
    # A fleet is millions of small objects without cycles: looking for garbage every 700 of them costs a fifth, and so
    # it does of what is imported.
    gc.set_threshold(200_000, 20, 50)
    from reconciler import cli

    signal.signal(signal.SIGINT, before)
    try:
        cli.main()
    finally:
        gc.freeze()  # Python looks for garbage three times more before it ends, in all that ends with it anyway


if __name__ == "__main__":
    main()
