"""Batches of 50 clients through a broker while workers, broker and database die: what came of each client.

--batches 20000 is a million clients. It prints how many were counted, how many of them twice, and which weren't; a
client that kills whoever works on it, and those of its batch, fail. A state is SQLite in a folder, or what --state
names.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

from measure import ROOT, table

sys.path.insert(0, str(ROOT))

from tests.rabbitmq import rabbitmq_server
from tests.site_faults import DEADLY, carry

SIZE = 50


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batches", type=int, default=400)
    parser.add_argument("--forks", type=int, default=50)
    parser.add_argument("--state", default="", help="the URL of an empty state")
    asked = parser.parse_args()
    clients = asked.batches * SIZE
    with tempfile.TemporaryDirectory() as folder, rabbitmq_server() as broker:
        broker.clear()
        url = asked.state or f"sqlite:///{folder}/state.db"
        cpu, begun = time.process_time(), time.monotonic()
        found = carry(broker, Path(folder), url, clients, size=SIZE, forks=asked.forks)
        cpu, wall = time.process_time() - cpu, time.monotonic() - begun
    twice = sum(times > 1 for times in found.counted.values())
    rows = [
        ("clients", f"{clients:,}"),
        ("counted", f"{len(found.counted):,}"),
        ("counted twice", f"{twice:,}"),
        ("lost", f"{clients - len(found.counted):,}"),
        ("answers that were refused", f"{found.refused:,}"),
        ("failed, in the batch that kills its workers", f"{len(found.failed):,}"),
        ("controller, CPU for each batch", f"{cpu / asked.batches * 1000:.1f} ms"),
        ("from the first to the last, with all faults", f"{wall:.0f} s"),
    ]
    table(("what", "is"), rows)
    if twice or len(found.counted) != clients or DEADLY not in found.failed or len(found.failed) > SIZE:
        sys.exit(1)


if __name__ == "__main__":
    main()
