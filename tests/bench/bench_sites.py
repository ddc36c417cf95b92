"""Batches of 50 clients through a broker while workers, broker and database die: what came of each client.

--batches 20000 is a million clients. It prints for how many of them the state has an answer, and for how many it has
several; a client that kills whoever works on it, and those of its batch, fail. The state is SQLite, or with
--postgresql a server that is restarted as by a power cut on the way. All faults happen once for each 4,000 batches.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from measure import ROOT, table

sys.path.insert(0, str(ROOT))

from tests.postgres import postgres_server
from tests.rabbitmq import rabbitmq_server
from tests.site_faults import DEADLY, Faults, carry

SIZE, ROUND = 50, 4000


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batches", type=int, default=400)
    parser.add_argument("--forks", type=int, default=50)
    parser.add_argument("--postgresql", action="store_true")
    asked = parser.parse_args()
    clients = asked.batches * SIZE
    rounds = max(1, asked.batches // ROUND)
    with ExitStack() as stack:
        folder, broker = stack.enter_context(tempfile.TemporaryDirectory()), stack.enter_context(rabbitmq_server())
        broker.clear()
        url, faults = f"sqlite:///{folder}/state.db", Faults(rounds)
        if asked.postgresql:
            server = stack.enter_context(postgres_server(fsync="on", autovacuum="on", synchronous_commit="on"))
            url, faults = server.fresh(), Faults(rounds, server.restart)
        cpu, begun = time.process_time(), time.monotonic()
        found = carry(broker, Path(folder), url, clients, size=SIZE, forks=asked.forks, faults=faults)
        cpu, wall = time.process_time() - cpu, time.monotonic() - begun
    rows = [
        ("clients", f"{clients:,}"),
        ("counted", f"{found.counted:,}"),
        ("counted twice", f"{found.twice:,}"),
        ("lost", f"{clients - found.counted:,}"),
        ("answers that were refused", f"{found.refused:,}"),
        ("failed, in batches that kill their workers", f"{len(found.failed):,}"),
        ("faults beside those", f"{found.faults:,}"),
        ("controller, CPU for each batch", f"{cpu / asked.batches * 1000:.1f} ms"),
        ("from the first to the last, with all faults", f"{wall:.0f} s"),
    ]
    table(("what", "is"), rows)
    deadly = {name for name in found.failed if name.startswith(DEADLY)}
    if found.twice or found.counted != clients or len(deadly) != rounds or len(found.failed) > rounds * SIZE:
        sys.exit(1)


if __name__ == "__main__":
    main()
