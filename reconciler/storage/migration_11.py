"""What brings a schema of version 10 to version 11, the console: what it shows, is asked for, and finds clients by."""

from __future__ import annotations

from reconciler.storage.dialect import ByDialect

STATEMENTS: tuple[str | ByDialect, ...] = (
    "ALTER TABLE controller ADD COLUMN progress TEXT NOT NULL DEFAULT ''",
    "ALTER TABLE clients ADD COLUMN back_at FLOAT",
    "ALTER TABLE sources ADD COLUMN signatures TEXT NOT NULL DEFAULT '{}'",
    "ALTER TABLE sources ADD COLUMN unfetched TEXT NOT NULL DEFAULT '[]'",
    "ALTER TABLE sources ADD COLUMN signed_up_to TEXT NOT NULL DEFAULT '{}'",
    "ALTER TABLE sources ADD COLUMN signed_until FLOAT",
    "CREATE INDEX clients_by_profile ON clients (fingerprint, name)",
    "CREATE INDEX clients_by_seen ON clients (seen_at)",
    "CREATE INDEX clients_by_labels ON clients (labels, name) WHERE labels <> '[]'",
    "CREATE INDEX clients_in_trouble ON clients (name) WHERE error <> ''",
    "CREATE INDEX clients_failing ON clients (name) WHERE failures > 0",
    "CREATE INDEX clients_in_quarantine ON clients (name) WHERE quarantined IS NOT NULL",
    "CREATE INDEX clients_without_way ON clients (name) WHERE substr(route, 1, 13) = 'unreachable: '",
    "CREATE INDEX clients_never_seen ON clients (name) WHERE seen_at IS NULL",
    """
    CREATE TABLE snapshots (
        kind VARCHAR(16) NOT NULL,
        name VARCHAR(253) NOT NULL,
        at FLOAT NOT NULL,
        digest VARCHAR(64) NOT NULL,
        data TEXT NOT NULL,
        PRIMARY KEY (kind, name)
    )
    """,
    ByDialect(
        sqlite="""
        CREATE TABLE requests (
            id INTEGER NOT NULL,
            at FLOAT NOT NULL,
            who TEXT NOT NULL,
            roles TEXT NOT NULL,
            address TEXT NOT NULL,
            kind VARCHAR(32) NOT NULL,
            target TEXT NOT NULL,
            reason TEXT NOT NULL,
            seen VARCHAR(64) NOT NULL,
            status VARCHAR(16) NOT NULL,
            done_at FLOAT,
            says TEXT NOT NULL,
            asked_as VARCHAR(64),
            PRIMARY KEY (id)
        )
        """,
        postgresql="""
        CREATE TABLE requests (
            id BIGSERIAL NOT NULL,
            at FLOAT NOT NULL,
            who TEXT NOT NULL,
            roles TEXT NOT NULL,
            address TEXT NOT NULL,
            kind VARCHAR(32) NOT NULL,
            target TEXT NOT NULL,
            reason TEXT NOT NULL,
            seen VARCHAR(64) NOT NULL,
            status VARCHAR(16) NOT NULL,
            done_at FLOAT,
            says TEXT NOT NULL,
            asked_as VARCHAR(64),
            PRIMARY KEY (id)
        )
        """,
    ),
    "CREATE UNIQUE INDEX requests_by_name ON requests (asked_as)",
    """
    CREATE TABLE sessions (
        digest VARCHAR(64) NOT NULL,
        who TEXT NOT NULL,
        roles TEXT NOT NULL,
        way VARCHAR(16) NOT NULL,
        address TEXT NOT NULL,
        created FLOAT NOT NULL,
        used FLOAT NOT NULL,
        ends FLOAT NOT NULL,
        PRIMARY KEY (digest)
    )
    """,
    ByDialect(
        sqlite="""
        CREATE TABLE rollout_moves (
            id INTEGER NOT NULL,
            component VARCHAR(64) NOT NULL,
            version VARCHAR(128) NOT NULL,
            grp VARCHAR(253) NOT NULL,
            wave INTEGER NOT NULL,
            status VARCHAR(16) NOT NULL,
            at FLOAT NOT NULL,
            reason TEXT NOT NULL,
            PRIMARY KEY (id)
        )
        """,
        postgresql="""
        CREATE TABLE rollout_moves (
            id BIGSERIAL NOT NULL,
            component VARCHAR(64) NOT NULL,
            version VARCHAR(128) NOT NULL,
            grp VARCHAR(253) NOT NULL,
            wave INTEGER NOT NULL,
            status VARCHAR(16) NOT NULL,
            at FLOAT NOT NULL,
            reason TEXT NOT NULL,
            PRIMARY KEY (id)
        )
        """,
    ),
    "CREATE INDEX moves_by_rollout ON rollout_moves (component, version, grp, id)",
    "CREATE INDEX runs_by_start ON runs (started, run_id)",
    "CREATE INDEX runs_of_people ON runs (started, run_id) WHERE command <> 'apply'",
    "CREATE INDEX journal_of_trouble ON journal (run_id, reason) WHERE reason <> ''",
    """
    CREATE TABLE samples (
        at FLOAT NOT NULL,
        component VARCHAR(64) NOT NULL,
        updated INTEGER NOT NULL,
        outdated INTEGER NOT NULL,
        ahead INTEGER NOT NULL,
        unknown INTEGER NOT NULL,
        pending INTEGER NOT NULL,
        PRIMARY KEY (at, component)
    )
    """,
    """
    CREATE TABLE protection (
        component VARCHAR(64) NOT NULL,
        version VARCHAR(128) NOT NULL,
        began FLOAT NOT NULL,
        half FLOAT,
        most FLOAT,
        nearly FLOAT,
        loads BOOLEAN NOT NULL,
        PRIMARY KEY (component, version)
    )
    """,
    """
    CREATE TABLE standings (
        id INTEGER NOT NULL,
        component VARCHAR(64) NOT NULL,
        platform TEXT NOT NULL,
        has TEXT NOT NULL,
        lineage TEXT NOT NULL,
        epoch BIGINT NOT NULL,
        state VARCHAR(16) NOT NULL,
        wanted TEXT NOT NULL,
        behind INTEGER NOT NULL,
        profiles INTEGER NOT NULL,
        clients INTEGER NOT NULL,
        PRIMARY KEY (id)
    )
    """,
    """
    CREATE TABLE profile_numbers (
        number INTEGER NOT NULL,
        fingerprint VARCHAR(64) NOT NULL,
        PRIMARY KEY (number),
        UNIQUE (fingerprint)
    )
    """,
    """
    CREATE TABLE profile_components (
        standing INTEGER NOT NULL,
        profile INTEGER NOT NULL,
        PRIMARY KEY (standing, profile)
    )
    """,
    "CREATE INDEX components_by_profile ON profile_components (profile, standing)",
)
