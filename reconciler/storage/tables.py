"""The tables of the state. Times are seconds since the epoch (UTC), documents JSON text.

An index that has some rows only has its condition in `info`: SQLAlchemy takes one by dialect, and imports each dialect
that is named. Who makes indexes (`migrations`) says it in SQL.
"""

from __future__ import annotations

import sqlalchemy
from sqlalchemy import Column, Index, MetaData, Table

from reconciler.storage.cells import BigInteger, Boolean, Float, Integer, String, Text

METADATA = MetaData()

SCHEMA = Table("schema_version", METADATA, Column("version", Integer, primary_key=True, autoincrement=False))

BY_PEOPLE = "command <> 'apply'"
"""What is true of runs that no controller began by itself: they are few."""
FAILED = "reason <> ''"
"""What is true of entries of the journal that say of trouble: they are few."""
ODD = {
    "in_trouble": "error <> ''",
    "failing": "failures > 0",
    "in_quarantine": "quarantined IS NOT NULL",
    "without_way": "substr(route, 1, 13) = 'unreachable: '",
    "never_seen": "seen_at IS NULL",
}
"""What is true of few clients of most fleets: these have indexes of their own, and are found by just these words."""
OF_THE_FLEET = "gone_at IS NULL"
"""What is true of clients that are of the fleet: these stand in an index by what their rows are alike in."""
LABELLED = "labels <> '[]'"
"""What is true of clients that have labels; these stand in an index by them."""

# One row. `used`: this state changed or adopted something; `settings_key` leaves it never; `fence` is that of the lock
# that was taken last; `moved_to` says why it isn't to be used any more, see storage.moving.
IDENTITY = Table(
    "identity",
    METADATA,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("lineage", String(64), nullable=False),
    Column("epoch", Integer, nullable=False),
    Column("serial", Integer, nullable=False),
    Column("frozen", Boolean, nullable=False),
    Column("used", Boolean, nullable=False),
    Column("settings_key", String(64), nullable=False, server_default=""),
    Column("fence", BigInteger, nullable=False, server_default="0"),
    Column("moved_to", Text, nullable=False, server_default=""),
)

# `error` is empty when the last look went well, and `failing_since` says since when it didn't; a client that left the
# inventory has `gone_at`, and one that no apply took in yet has fleet.LISTED there. `failures` counts them in a row; it
# is left alone until `quarantined`. At `back_at` it answered for the first time, or again after it hadn't. For
# `settings` see model.settings, for `mark` model.mark. `machine` is equal for names of one machine, see
# model.client.Facts.
CLIENTS = Table(
    "clients",
    METADATA,
    Column("name", String(253), primary_key=True),
    Column("grp", String(253), nullable=False),
    Column("labels", Text, nullable=False),
    Column("data", Text, nullable=False),
    Column("fingerprint", String(64)),
    Column("error", Text, nullable=False, default=""),
    Column("free", BigInteger),
    Column("route", Text, nullable=False, server_default="direct"),
    Column("seen_at", Float),
    Column("failing_since", Float),
    Column("failures", Integer, nullable=False, server_default="0"),
    Column("quarantined", Float),
    Column("settings", Text, nullable=False, server_default=""),
    Column("gone_at", Float),
    Column("machine", String(32)),
    Column("looked_at", Float),
    Column("back_at", Float),
    Column("mark", String(80), nullable=False, server_default=""),
    Index("clients_by_group", "grp", "name"),
    Index("clients_by_machine", "machine"),
    Index("clients_by_profile", "fingerprint", "name"),
    Index("clients_by_seen", "seen_at"),
    Index(
        "clients_by_labels",
        *("labels", "name"),
        info={"where": LABELLED},
    ),
    Index(  # see storage.blocks; PostgreSQL counts by hashes, and has no room for long texts in an index
        "clients_alike",
        *("labels", "fingerprint", "error", "route", "failing_since", "quarantined", "settings", "grp", "name"),
        info={"where": OF_THE_FLEET},
    ).ddl_if(dialect="sqlite"),
    *(Index(f"clients_{odd}", "name", info={"where": which}) for odd, which in ODD.items()),
)

PROFILES = Table(
    "profiles", METADATA, Column("fingerprint", String(64), primary_key=True), Column("data", Text, nullable=False)
)

SOURCES = Table(
    "sources",
    METADATA,
    Column("name", String(253), primary_key=True),
    Column("releases", Text, nullable=False),
    Column("incrementals", Text, nullable=False, server_default="[]"),
    Column("problems", Text, nullable=False),
    Column("error", Text, nullable=False),
    Column("last_success", Float),
    Column("withdrawn", Text, nullable=False, server_default="[]"),
    Column("accepted", Text, nullable=False, server_default=""),
    Column("cooldown_until", Float),
    Column("signatures", Text, nullable=False, server_default="{}"),
    Column("unfetched", Text, nullable=False, server_default="[]"),
    Column("signed_up_to", Text, nullable=False, server_default="{}"),
    Column("signed_until", Float),
)

FIRST_SEEN = Table(
    "first_seen",
    METADATA,
    Column("component", String(64), primary_key=True),
    Column("version", String(128), primary_key=True),
    Column("at", Float, nullable=False),
)

CONTENTS = Table(  # `digest` is what the version stands for since it came into the store, or was accepted
    "contents",
    METADATA,
    Column("component", String(64), primary_key=True),
    Column("version", String(128), primary_key=True),
    Column("platform", String(64), primary_key=True),
    Column("digest", String(64), nullable=False),
    Column("replaced", Text, nullable=False, server_default="[]"),
)

ROLLOUTS = Table(  # `grp` is empty where the whole fleet is meant; see model.rollout.RolloutRecord
    "rollouts",
    METADATA,
    Column("component", String(64), primary_key=True),
    Column("version", String(128), primary_key=True),
    Column("grp", String(253), primary_key=True),
    Column("status", String(16), nullable=False),
    Column("wave", Integer, nullable=False),
    Column("started", Float, nullable=False),
    Column("opened", Float, nullable=False),
    Column("passed", Float),
    Column("cleared", Boolean, nullable=False),
    Column("first", Boolean, nullable=False),
    Column("reason", Text, nullable=False),
    Column("undo", String(16), nullable=False),
    Column("structure", String(64), nullable=False),
    Column("cuts", Text, nullable=False),
    Column("sizes", Text, nullable=False),
    Column("approved", Text, nullable=False),
    Column("catches_up", Boolean, nullable=False, server_default="0"),
    Column("had", Text, nullable=False, server_default="{}"),
)

ROLLOUT_FAILURES = Table(  # `fault`: see model.client.FAULTS
    "rollout_failures",
    METADATA,
    Column("component", String(64), primary_key=True),
    Column("version", String(128), primary_key=True),
    Column("grp", String(253), primary_key=True),
    Column("client", String(253), primary_key=True),
    Column("message", Text, nullable=False),
    Column("fault", String(16), nullable=False, server_default="release"),
)

PLANS = Table(
    "plans",
    METADATA,
    Column("plan_id", String(64), primary_key=True),
    Column("sha256", String(64), nullable=False),
    Column("serial", Integer, nullable=False),
    Column("created", Float, nullable=False),
    Column("status", String(16), nullable=False),
)

RUNS = Table(  # `origin`, `steps`: see model.report.Run; all entries of its journal have ids above `journal_from`
    "runs",
    METADATA,
    Column("run_id", String(64), primary_key=True),
    Column("plan_id", String(64), nullable=False),
    Column("command", Text, nullable=False),
    Column("started", Float, nullable=False),
    Column("ended", Float),
    Column("status", String(16), nullable=False),
    Column("report", Text, nullable=False, default=""),
    Column("received", BigInteger, nullable=False, server_default="0"),
    Column("not_received", BigInteger, nullable=False, server_default="0"),
    Column("sent", BigInteger, nullable=False, server_default="0"),
    Column("saved", BigInteger, nullable=False, server_default="0"),
    Column("origin", Text, nullable=False, server_default="{}"),
    Column("steps", Text, nullable=False, server_default="[]"),
    Column("journal_from", BigInteger, nullable=False, server_default="0"),
    Index("runs_by_start", "started", "run_id"),
    Index(
        "runs_of_people",
        "started",
        "run_id",
        info={"where": BY_PEOPLE},
    ),
)

# `reason`: see reasons; empty where nothing failed, or an earlier version wrote the row. `step`: of how manieth step of
# the run, where its outcomes count once (`outcomes`).
JOURNAL = Table(
    "journal",
    METADATA,
    Column("id", BigInteger().with_variant(sqlalchemy.Integer, "sqlite"), primary_key=True),
    Column("run_id", String(64), nullable=False, index=True),
    Column("client", String(253), nullable=False),
    Column("grp", String(253), nullable=False),
    Column("component", String(64), nullable=False),
    Column("from_version", String(128), nullable=False),
    Column("to_version", String(128), nullable=False),
    Column("outcome", String(16), nullable=False),
    Column("message", Text, nullable=False),
    Column("bytes", BigInteger, nullable=False),
    Column("at", Float, nullable=False),
    Column("reason", String(16), nullable=False, server_default=""),
    Column("step", Integer, nullable=False, server_default="0"),
    Index("journal_by_client", "client", "id"),
    Index(
        "journal_of_trouble",
        "run_id",
        "reason",
        info={"where": FAILED},
    ),
)

APPLIED = Table(  # one row: the spec that was applied last
    "applied_spec",
    METADATA,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("digest", String(64), nullable=False),
    Column("effective", Text, nullable=False),
)

BATCHES = Table(  # of workers that outlive a process: `status` is given, over, or left by a run that ended before them
    "batches",
    METADATA,
    Column("run_id", String(64), primary_key=True),
    Column("batch", String(64), primary_key=True),
    Column("site", String(64), nullable=False),
    Column("lane", String(128), nullable=False),
    Column("status", String(16), nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("fence", BigInteger, nullable=False),
    Column("lease_until", Float, nullable=False),
    Column("clients", Text, nullable=False),
    Column("digest", String(64), nullable=False),
)

ANSWERED = Table(  # clients for whom a batch was answered: each once, whoever says it again
    "answered",
    METADATA,
    Column("run_id", String(64), primary_key=True),
    Column("batch", String(64), primary_key=True),
    Column("client", String(253), primary_key=True),
    Column("attempt", Integer, nullable=False),
)

# At most one row. `generation` is that of the lease of who took it as the leader; for `beat_at` see storage.holding.
LOCK = Table(
    "lock",
    METADATA,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("lock_id", String(64), nullable=False),
    Column("who", Text, nullable=False),
    Column("holder", Text, nullable=False),
    Column("command", Text, nullable=False),
    Column("since", Float, nullable=False),
    Column("generation", Integer),
    Column("beat", BigInteger, nullable=False, server_default="0"),
    Column("beat_at", Float),
    Column("fence", BigInteger, nullable=False, server_default="0"),
)

LEASE = Table(  # at most one row; see storage.lease
    "lease",
    METADATA,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("generation", Integer, nullable=False),
    Column("beat", BigInteger, nullable=False),
    Column("holder", Text, nullable=False),
    Column("who", Text, nullable=False),
    Column("beat_at", Float),
)

CONTROLLER = (
    Table(  # at most one row: what the controller says of itself, and what people want of it; see model.controller
        "controller",
        METADATA,
        Column("id", Integer, primary_key=True, autoincrement=False),
        Column("report", Text, nullable=False),
        Column("pause", Text, nullable=False),
        Column("asked", Integer, nullable=False),
        Column("progress", Text, nullable=False, server_default=""),
    )
)

KNOWN = Table(  # the conditions that a notifier knows of; `told` is the severity, empty where nothing was told yet
    "known_conditions",
    METADATA,
    Column("notifier", String(64), primary_key=True),
    Column("fingerprint", String(32), primary_key=True),
    Column("kind", String(32), nullable=False),
    Column("about", Text, nullable=False),
    Column("severity", String(16), nullable=False),
    Column("summary", Text, nullable=False),
    Column("since", Float, nullable=False),
    Column("told", String(16), nullable=False),
    Column("at", Float),
)

OUTBOX = Table(  # the messages that weren't delivered yet; see storage.outbox
    "outbox",
    METADATA,
    Column("notifier", String(64), primary_key=True),
    Column("place", BigInteger, primary_key=True, autoincrement=False),
    Column("body", Text, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("due", Float, nullable=False),
)

FORGOTTEN = Table(  # at most one row: what runs that aren't remembered any more received, sent and saved
    "forgotten_runs",
    METADATA,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("received", BigInteger, nullable=False),
    Column("not_received", BigInteger, nullable=False),
    Column("sent", BigInteger, nullable=False),
    Column("saved", BigInteger, nullable=False),
)

# --- what the console shows, and what people ask for in it ------------------------------------------------------------

SNAPSHOTS = Table(  # documents as the controller made them last, by their kind; see storage.snapshots
    "snapshots",
    METADATA,
    Column("kind", String(16), primary_key=True),
    Column("name", String(253), primary_key=True),
    Column("at", Float, nullable=False),
    Column("digest", String(64), nullable=False),
    Column("data", Text, nullable=False),
)

REQUESTS = Table(  # kept for good: see model.request; `asked_as` is what a program calls one that it may send twice
    "requests",
    METADATA,
    Column("id", BigInteger().with_variant(sqlalchemy.Integer, "sqlite"), primary_key=True),
    Column("at", Float, nullable=False),
    Column("who", Text, nullable=False),
    Column("roles", Text, nullable=False),
    Column("address", Text, nullable=False),
    Column("kind", String(32), nullable=False),
    Column("target", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("seen", String(64), nullable=False),
    Column("status", String(16), nullable=False),
    Column("done_at", Float),
    Column("says", Text, nullable=False),
    Column("asked_as", String(64)),
    Index("requests_by_name", "asked_as", unique=True),
)

SESSIONS = Table(  # `digest` is that of what a browser keeps; see storage.sessions
    "sessions",
    METADATA,
    Column("digest", String(64), primary_key=True),
    Column("who", Text, nullable=False),
    Column("roles", Text, nullable=False),
    Column("way", String(16), nullable=False),
    Column("address", Text, nullable=False),
    Column("created", Float, nullable=False),
    Column("used", Float, nullable=False),
    Column("ends", Float, nullable=False),
)

ROLLOUT_MOVES = Table(  # each change of how far a rollout is
    "rollout_moves",
    METADATA,
    Column("id", BigInteger().with_variant(sqlalchemy.Integer, "sqlite"), primary_key=True),
    Column("component", String(64), nullable=False),
    Column("version", String(128), nullable=False),
    Column("grp", String(253), nullable=False),
    Column("wave", Integer, nullable=False),
    Column("status", String(16), nullable=False),
    Column("at", Float, nullable=False),
    Column("reason", Text, nullable=False),
    Index("moves_by_rollout", "component", "version", "grp", "id"),
)

SAMPLES = Table(  # how many clients were how far at a time
    "samples",
    METADATA,
    Column("at", Float, primary_key=True),
    Column("component", String(64), primary_key=True),
    Column("updated", Integer, nullable=False),
    Column("outdated", Integer, nullable=False),
    Column("ahead", Integer, nullable=False),
    Column("unknown", Integer, nullable=False),
    Column("pending", Integer, nullable=False),
)

PROTECTION = Table(  # when so many clients had a version that was offered first at `began`; `loads`: had it loaded
    "protection",
    METADATA,
    Column("component", String(64), primary_key=True),
    Column("version", String(128), primary_key=True),
    Column("began", Float, nullable=False),
    Column("half", Float),
    Column("most", Float),
    Column("nearly", Float),
    Column("loads", Boolean, nullable=False),
)

RELAYS = Table(  # what hosts of relays had (JSON) when they answered last, and what went wrong since
    "relays",
    METADATA,
    Column("relay", String(64), primary_key=True),
    Column("host", String(255), primary_key=True),
    Column("at", Float),
    Column("held", Text, nullable=False),
    Column("error", Text, nullable=False),
)

STANDINGS = Table(  # what components of clients may be like, and what each counts as; see storage.standings
    "standings",
    METADATA,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("component", String(64), nullable=False),
    Column("platform", Text, nullable=False),
    Column("has", Text, nullable=False),
    Column("lineage", Text, nullable=False),
    Column("epoch", BigInteger, nullable=False),
    Column("state", String(16), nullable=False),
    Column("wanted", Text, nullable=False),
    Column("behind", Integer, nullable=False),
    Column("profiles", Integer, nullable=False),
    Column("clients", Integer, nullable=False),
)

PROFILE_NUMBERS = Table(  # short names of profiles whose components are known
    "profile_numbers",
    METADATA,
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("fingerprint", String(64), nullable=False, unique=True),
)

PROFILE_COMPONENTS = Table(  # what the components of each profile are like
    "profile_components",
    METADATA,
    Column("standing", Integer, primary_key=True, autoincrement=False),
    Column("profile", Integer, primary_key=True, autoincrement=False),
    Index("components_by_profile", "profile", "standing"),
)

MANIFESTS = Table(  # what a store holds whose content several machines share; see storage.shelf
    "manifests",
    METADATA,
    Column("kind", String(16), primary_key=True),
    Column("component", String(64), primary_key=True),
    Column("name", String(300), primary_key=True),
    Column("platform", String(64), primary_key=True),
    Column("codec", String(64), primary_key=True),
    Column("document", Text, nullable=False),
)

CONTENT_MARKS = Table(  # `left`: no manifest names it since then; `damaged`: it was found so
    "content_marks",
    METADATA,
    Column("sha256", String(64), primary_key=True),
    Column("mark", String(16), primary_key=True),
    Column("at", Float, nullable=False),
)

TRUSTED = Table(  # what a source believed and must not believe less than from then on; see storage.memory
    "trusted",
    METADATA,
    Column("owner", String(253), primary_key=True),
    Column("name", String(253), primary_key=True),
    Column("version", BigInteger, nullable=False),
    Column("content", Text, nullable=False),
)
