"""How the tables of the state came to be what they are: the steps from each version of the schema to the next.

A step is frozen text. It never names what `tables` declares: that changes with every later version, and a step must
still make the version that it made when it was new. A new state takes all steps, so there is one way to what is in
force, and `tables` is only how it is read. To change the schema:

1. Dump a state of the version that is in force, with rows, to tests/unit/data/states/N.sql (`sqlite3 state.db .dump`),
   if that isn't there yet.
2. Change `tables`; a column that is NOT NULL gets a `server_default`, for the rows that are there.
3. Add the next number here, or in a file beside this one where it is long: in SQL that SQLite and PostgreSQL both take,
   or in the words of each (`ByDialect`). What stands here already stays as it is.
4. Say in tests/unit/test_migrations.py what the rows that are there get.

Tests take each dump to each later version, cell by cell, and compare what comes of it with the next dump, with a new
state and with `tables`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconciler.storage.dialect import ByDialect
from reconciler.storage.migration_11 import STATEMENTS as CONSOLE
from reconciler.storage.migration_12 import STATEMENTS as SHARED
from reconciler.storage.migration_13 import STATEMENTS as MARKS

if TYPE_CHECKING:
    from collections.abc import Mapping


MIGRATIONS: Mapping[int, tuple[str | ByDialect, ...]] = {
    # What the state began as.
    1: (
        """
        CREATE TABLE schema_version (
            version INTEGER NOT NULL,
            PRIMARY KEY (version)
        )
        """,
        """
        CREATE TABLE identity (
            id INTEGER NOT NULL,
            lineage VARCHAR(64) NOT NULL,
            epoch INTEGER NOT NULL,
            serial INTEGER NOT NULL,
            frozen BOOLEAN NOT NULL,
            used BOOLEAN NOT NULL,
            PRIMARY KEY (id)
        )
        """,
        """
        CREATE TABLE clients (
            name VARCHAR(253) NOT NULL,
            grp VARCHAR(253) NOT NULL,
            labels TEXT NOT NULL,
            data TEXT NOT NULL,
            fingerprint VARCHAR(64),
            error TEXT NOT NULL,
            free BIGINT,
            seen_at FLOAT,
            gone_at FLOAT,
            PRIMARY KEY (name)
        )
        """,
        "CREATE INDEX clients_by_group ON clients (grp, name)",
        """
        CREATE TABLE profiles (
            fingerprint VARCHAR(64) NOT NULL,
            data TEXT NOT NULL,
            PRIMARY KEY (fingerprint)
        )
        """,
        """
        CREATE TABLE sources (
            name VARCHAR(253) NOT NULL,
            releases TEXT NOT NULL,
            problems TEXT NOT NULL,
            error TEXT NOT NULL,
            last_success FLOAT,
            PRIMARY KEY (name)
        )
        """,
        """
        CREATE TABLE first_seen (
            component VARCHAR(64) NOT NULL,
            version VARCHAR(128) NOT NULL,
            at FLOAT NOT NULL,
            PRIMARY KEY (component, version)
        )
        """,
        """
        CREATE TABLE plans (
            plan_id VARCHAR(64) NOT NULL,
            sha256 VARCHAR(64) NOT NULL,
            serial INTEGER NOT NULL,
            created FLOAT NOT NULL,
            status VARCHAR(16) NOT NULL,
            PRIMARY KEY (plan_id)
        )
        """,
        """
        CREATE TABLE runs (
            run_id VARCHAR(64) NOT NULL,
            plan_id VARCHAR(64) NOT NULL,
            command TEXT NOT NULL,
            started FLOAT NOT NULL,
            ended FLOAT,
            status VARCHAR(16) NOT NULL,
            report TEXT NOT NULL,
            PRIMARY KEY (run_id)
        )
        """,
        ByDialect(
            sqlite="""
            CREATE TABLE journal (
                id INTEGER NOT NULL,
                run_id VARCHAR(64) NOT NULL,
                client VARCHAR(253) NOT NULL,
                grp VARCHAR(253) NOT NULL,
                component VARCHAR(64) NOT NULL,
                from_version VARCHAR(128) NOT NULL,
                to_version VARCHAR(128) NOT NULL,
                outcome VARCHAR(16) NOT NULL,
                message TEXT NOT NULL,
                bytes BIGINT NOT NULL,
                at FLOAT NOT NULL,
                PRIMARY KEY (id)
            )
            """,
            postgresql="""
            CREATE TABLE journal (
                id BIGSERIAL NOT NULL,
                run_id VARCHAR(64) NOT NULL,
                client VARCHAR(253) NOT NULL,
                grp VARCHAR(253) NOT NULL,
                component VARCHAR(64) NOT NULL,
                from_version VARCHAR(128) NOT NULL,
                to_version VARCHAR(128) NOT NULL,
                outcome VARCHAR(16) NOT NULL,
                message TEXT NOT NULL,
                bytes BIGINT NOT NULL,
                at FLOAT NOT NULL,
                PRIMARY KEY (id)
            )
            """,
        ),
        "CREATE INDEX ix_journal_run_id ON journal (run_id)",
        """
        CREATE TABLE applied_spec (
            id INTEGER NOT NULL,
            digest VARCHAR(64) NOT NULL,
            effective TEXT NOT NULL,
            PRIMARY KEY (id)
        )
        """,
        """
        CREATE TABLE lock (
            id INTEGER NOT NULL,
            lock_id VARCHAR(64) NOT NULL,
            who TEXT NOT NULL,
            holder TEXT NOT NULL,
            command TEXT NOT NULL,
            since FLOAT NOT NULL,
            PRIMARY KEY (id)
        )
        """,
    ),
    # Sources have incrementals, and runs know what they moved.
    2: (
        "ALTER TABLE sources ADD COLUMN incrementals TEXT NOT NULL DEFAULT '[]'",
        "ALTER TABLE runs ADD COLUMN received BIGINT NOT NULL DEFAULT 0",
        "ALTER TABLE runs ADD COLUMN not_received BIGINT NOT NULL DEFAULT 0",
        "ALTER TABLE runs ADD COLUMN sent BIGINT NOT NULL DEFAULT 0",
        "ALTER TABLE runs ADD COLUMN saved BIGINT NOT NULL DEFAULT 0",
    ),
    # Clients have a way to them; sources withdraw versions, may be accepted expired, and want to be left alone.
    3: (
        "ALTER TABLE clients ADD COLUMN route TEXT NOT NULL DEFAULT 'direct'",
        "ALTER TABLE sources ADD COLUMN withdrawn TEXT NOT NULL DEFAULT '[]'",
        "ALTER TABLE sources ADD COLUMN accepted TEXT NOT NULL DEFAULT ''",
        "ALTER TABLE sources ADD COLUMN cooldown_until FLOAT",
    ),
    # Releases go out in waves; clients that fail again and again are left alone; settings have versions.
    4: (
        """
        CREATE TABLE rollouts (
            component VARCHAR(64) NOT NULL,
            version VARCHAR(128) NOT NULL,
            grp VARCHAR(253) NOT NULL,
            status VARCHAR(16) NOT NULL,
            wave INTEGER NOT NULL,
            started FLOAT NOT NULL,
            opened FLOAT NOT NULL,
            passed FLOAT,
            cleared BOOLEAN NOT NULL,
            first BOOLEAN NOT NULL,
            reason TEXT NOT NULL,
            undo VARCHAR(16) NOT NULL,
            structure VARCHAR(64) NOT NULL,
            cuts TEXT NOT NULL,
            sizes TEXT NOT NULL,
            approved TEXT NOT NULL,
            PRIMARY KEY (component, version, grp)
        )
        """,
        """
        CREATE TABLE rollout_failures (
            component VARCHAR(64) NOT NULL,
            version VARCHAR(128) NOT NULL,
            grp VARCHAR(253) NOT NULL,
            client VARCHAR(253) NOT NULL,
            message TEXT NOT NULL,
            PRIMARY KEY (component, version, grp, client)
        )
        """,
        "ALTER TABLE clients ADD COLUMN failing_since FLOAT",
        "ALTER TABLE clients ADD COLUMN failures INTEGER NOT NULL DEFAULT 0",
        "ALTER TABLE clients ADD COLUMN quarantined FLOAT",
        "ALTER TABLE clients ADD COLUMN settings TEXT NOT NULL DEFAULT ''",
        "ALTER TABLE identity ADD COLUMN settings_key VARCHAR(64) NOT NULL DEFAULT ''",
    ),
    # Clients are known to be one machine, whatever their names are; trouble of machines is told from that of releases;
    # which bytes a version stands for is remembered.
    5: (
        "ALTER TABLE clients ADD COLUMN machine VARCHAR(32)",
        "CREATE INDEX clients_by_machine ON clients (machine)",
        "ALTER TABLE rollout_failures ADD COLUMN fault VARCHAR(16) NOT NULL DEFAULT 'release'",
        """
        CREATE TABLE contents (
            component VARCHAR(64) NOT NULL,
            version VARCHAR(128) NOT NULL,
            platform VARCHAR(64) NOT NULL,
            digest VARCHAR(64) NOT NULL,
            replaced TEXT DEFAULT '[]' NOT NULL,
            PRIMARY KEY (component, version, platform)
        )
        """,
    ),
    # A version that is proven goes by waves to many who come late.
    6: (
        "ALTER TABLE rollouts ADD COLUMN catches_up BOOLEAN NOT NULL DEFAULT '0'",
        "ALTER TABLE rollouts ADD COLUMN had TEXT NOT NULL DEFAULT '{}'",
    ),
    # Runs know who began them and how long their steps took; what happened to a client is found without a search.
    7: (
        "ALTER TABLE runs ADD COLUMN origin TEXT NOT NULL DEFAULT '{}'",
        "ALTER TABLE runs ADD COLUMN steps TEXT NOT NULL DEFAULT '[]'",
        "CREATE INDEX journal_by_client ON journal (client, id)",
    ),
    # What failed is counted by its reason.
    8: ("ALTER TABLE journal ADD COLUMN reason VARCHAR(16) NOT NULL DEFAULT ''",),
    # Of several controllers one leads, and its lock is its successor's; it looks at clients in turn, and forgets.
    9: (
        "ALTER TABLE lock ADD COLUMN generation INTEGER",
        """
        CREATE TABLE lease (
            id INTEGER NOT NULL,
            generation INTEGER NOT NULL,
            beat BIGINT NOT NULL,
            holder TEXT NOT NULL,
            who TEXT NOT NULL,
            PRIMARY KEY (id)
        )
        """,
        """
        CREATE TABLE controller (
            id INTEGER NOT NULL,
            report TEXT NOT NULL,
            pause TEXT NOT NULL,
            asked INTEGER NOT NULL,
            PRIMARY KEY (id)
        )
        """,
        """
        CREATE TABLE forgotten_runs (
            id INTEGER NOT NULL,
            received BIGINT NOT NULL,
            not_received BIGINT NOT NULL,
            sent BIGINT NOT NULL,
            saved BIGINT NOT NULL,
            PRIMARY KEY (id)
        )
        """,
        "ALTER TABLE clients ADD COLUMN looked_at FLOAT",
    ),
    # What notifiers were told is remembered, and what they are to be told waits until it was delivered.
    10: (
        """
        CREATE TABLE known_conditions (
            notifier VARCHAR(64) NOT NULL,
            fingerprint VARCHAR(32) NOT NULL,
            kind VARCHAR(32) NOT NULL,
            about TEXT NOT NULL,
            severity VARCHAR(16) NOT NULL,
            summary TEXT NOT NULL,
            since FLOAT NOT NULL,
            told VARCHAR(16) NOT NULL,
            at FLOAT,
            PRIMARY KEY (notifier, fingerprint)
        )
        """,
        """
        CREATE TABLE outbox (
            notifier VARCHAR(64) NOT NULL,
            place BIGINT NOT NULL,
            body TEXT NOT NULL,
            attempts INTEGER NOT NULL,
            due FLOAT NOT NULL,
            PRIMARY KEY (notifier, place)
        )
        """,
    ),
    11: CONSOLE,
    12: SHARED,
    13: MARKS,
}
"""What brings a schema of version N - 1 to version N, by N; version 0 is an empty database."""
VERSION = max(MIGRATIONS)
