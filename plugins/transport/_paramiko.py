"""paramiko without what it has beside SSH: its reader of ssh_config wants `invoke`, which is 70 modules.

It does without where that isn't installed, and asks for it only for `Match exec`, in files that this transport doesn't
read. Whoever else wants `invoke` imports it as ever.
"""

from __future__ import annotations

import sys

if "invoke" in sys.modules:
    import paramiko
else:
    sys.modules["invoke"] = None  # type: ignore[assignment] # as Python marks what isn't to be found
    try:
        import paramiko
    finally:
        del sys.modules["invoke"]
from paramiko.compress import ZlibCompressor
from paramiko.packet import Packetizer

__all__ = ["Packetizer", "ZlibCompressor", "paramiko"]
