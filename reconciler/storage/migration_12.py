"""What brings a schema of version 11 to version 12: what many machines need that work on one state."""

from __future__ import annotations

from reconciler.storage.dialect import ByDialect

STATEMENTS: tuple[str | ByDialect, ...] = (
    "ALTER TABLE identity ADD COLUMN fence BIGINT DEFAULT 0 NOT NULL",
    "ALTER TABLE lock ADD COLUMN beat BIGINT DEFAULT 0 NOT NULL",
    "ALTER TABLE lock ADD COLUMN beat_at FLOAT",
    "ALTER TABLE lock ADD COLUMN fence BIGINT DEFAULT 0 NOT NULL",
    "ALTER TABLE lease ADD COLUMN beat_at FLOAT",
    # What a store holds whose content several machines share, and what is known of that content.
    """
    CREATE TABLE manifests (
        kind VARCHAR(16) NOT NULL,
        component VARCHAR(64) NOT NULL,
        name VARCHAR(300) NOT NULL,
        platform VARCHAR(64) NOT NULL,
        codec VARCHAR(64) NOT NULL,
        document TEXT NOT NULL,
        PRIMARY KEY (kind, component, name, platform, codec)
    )
    """,
    """
    CREATE TABLE content_marks (
        sha256 VARCHAR(64) NOT NULL,
        mark VARCHAR(16) NOT NULL,
        at FLOAT NOT NULL,
        PRIMARY KEY (sha256, mark)
    )
    """,
    # What sources believed, so that two controllers can't be told less.
    """
    CREATE TABLE trusted (
        owner VARCHAR(253) NOT NULL,
        name VARCHAR(253) NOT NULL,
        version BIGINT NOT NULL,
        content TEXT NOT NULL,
        PRIMARY KEY (owner, name)
    )
    """,
    """
    CREATE TABLE relays (
        relay VARCHAR(64) NOT NULL,
        host VARCHAR(255) NOT NULL,
        at FLOAT,
        held TEXT NOT NULL,
        error TEXT NOT NULL,
        PRIMARY KEY (relay, host)
    )
    """,
    # A state that was moved isn't used any more.
    "ALTER TABLE identity ADD COLUMN moved_to TEXT NOT NULL DEFAULT ''",
    # The journal of a run begins somewhere, and has each outcome of a step once.
    "ALTER TABLE runs ADD COLUMN journal_from BIGINT NOT NULL DEFAULT 0",
    "ALTER TABLE journal ADD COLUMN step INTEGER NOT NULL DEFAULT 0",
    ByDialect(
        sqlite="CREATE INDEX clients_alike ON clients (labels, fingerprint, error, route, failing_since, quarantined,"
        " settings, grp, name) WHERE gone_at IS NULL",
        postgresql="",  # it counts by hashes, and has no room for long texts in an index
    ),
    # Batches of workers that outlive the process which gave them, and for whom these were answered.
    """
    CREATE TABLE batches (
        run_id VARCHAR(64) NOT NULL,
        batch VARCHAR(64) NOT NULL,
        site VARCHAR(64) NOT NULL,
        lane VARCHAR(128) NOT NULL,
        status VARCHAR(16) NOT NULL,
        attempt INTEGER NOT NULL,
        fence BIGINT NOT NULL,
        lease_until FLOAT NOT NULL,
        clients TEXT NOT NULL,
        digest VARCHAR(64) NOT NULL,
        PRIMARY KEY (run_id, batch)
    )
    """,
    """
    CREATE TABLE answered (
        run_id VARCHAR(64) NOT NULL,
        batch VARCHAR(64) NOT NULL,
        client VARCHAR(253) NOT NULL,
        attempt INTEGER NOT NULL,
        PRIMARY KEY (run_id, batch, client)
    )
    """,
)
