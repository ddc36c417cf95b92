BEGIN TRANSACTION;
CREATE TABLE answered (
        run_id VARCHAR(64) NOT NULL,
        batch VARCHAR(64) NOT NULL,
        client VARCHAR(253) NOT NULL,
        attempt INTEGER NOT NULL,
        PRIMARY KEY (run_id, batch, client)
    );
CREATE TABLE applied_spec (
	id INTEGER NOT NULL, 
	digest VARCHAR(64) NOT NULL, 
	effective TEXT NOT NULL, 
	PRIMARY KEY (id)
);
INSERT INTO "applied_spec" VALUES(1,'dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd','{"version": 1}');
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
    );
CREATE TABLE clients (
	name VARCHAR(253) NOT NULL, 
	grp VARCHAR(253) NOT NULL, 
	labels TEXT NOT NULL, 
	data TEXT NOT NULL, 
	fingerprint VARCHAR(64), 
	error TEXT NOT NULL, 
	free BIGINT, 
	route TEXT DEFAULT 'direct' NOT NULL, 
	seen_at FLOAT, 
	failing_since FLOAT, 
	failures INTEGER DEFAULT '0' NOT NULL, 
	quarantined FLOAT, 
	settings TEXT DEFAULT '' NOT NULL, 
	gone_at FLOAT, 
	machine VARCHAR(32), looked_at FLOAT, back_at FLOAT, 
	PRIMARY KEY (name)
);
INSERT INTO "clients" VALUES('a','g','["canary"]','{"address": "192.0.2.1", "families": [], "group": "g", "install_root": "", "labels": ["canary"], "name": "a", "port": null, "user": null, "vars": {"site": "k\u00f6ln"}}','148ea4f8975fc68b401c5b432fe5341e6d8b2e51034d9af34d71e9f60cd243af','',100,'direct',1795521600.0,NULL,0,NULL,'',NULL,'0123456789abcdef0123456789abcdef',NULL,NULL);
INSERT INTO "clients" VALUES('b','g','[]','{"address": "", "families": [], "group": "g", "install_root": "", "labels": [], "name": "b", "port": null, "user": null, "vars": {}}',NULL,'no connection: refused',NULL,'direct',NULL,1795521600.0,1,1795608000.0,'',NULL,NULL,NULL,NULL);
INSERT INTO "clients" VALUES('gone','g','[]','{"address": "", "families": [], "group": "g", "install_root": "", "labels": [], "name": "gone", "port": null, "user": null, "vars": {}}',NULL,'',NULL,'direct',NULL,NULL,0,NULL,'',1795521600.0,NULL,NULL,NULL);
CREATE TABLE content_marks (
        sha256 VARCHAR(64) NOT NULL,
        mark VARCHAR(16) NOT NULL,
        at FLOAT NOT NULL,
        PRIMARY KEY (sha256, mark)
    );
CREATE TABLE contents (
	component VARCHAR(64) NOT NULL, 
	version VARCHAR(128) NOT NULL, 
	platform VARCHAR(64) NOT NULL, 
	digest VARCHAR(64) NOT NULL, 
	replaced TEXT DEFAULT '[]' NOT NULL, 
	PRIMARY KEY (component, version, platform)
);
INSERT INTO "contents" VALUES('rules','1','any','dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd','[]');
CREATE TABLE controller (
            id INTEGER NOT NULL,
            report TEXT NOT NULL,
            pause TEXT NOT NULL,
            asked INTEGER NOT NULL, progress TEXT NOT NULL DEFAULT '',
            PRIMARY KEY (id)
        );
INSERT INTO "controller" VALUES(1,'{"who": "ann@host", "phase": "sleeping", "mode": "apply", "since": 1795521600.0, "trouble": "", "failures": 0}','{"who": "ann", "reason": "audit", "since": 1795521600.0}',2,'');
CREATE TABLE first_seen (
	component VARCHAR(64) NOT NULL, 
	version VARCHAR(128) NOT NULL, 
	at FLOAT NOT NULL, 
	PRIMARY KEY (component, version)
);
INSERT INTO "first_seen" VALUES('rules','1',1795521600.0);
CREATE TABLE forgotten_runs (
            id INTEGER NOT NULL,
            received BIGINT NOT NULL,
            not_received BIGINT NOT NULL,
            sent BIGINT NOT NULL,
            saved BIGINT NOT NULL,
            PRIMARY KEY (id)
        );
INSERT INTO "forgotten_runs" VALUES(1,0,0,0,0);
CREATE TABLE identity (
	id INTEGER NOT NULL, 
	lineage VARCHAR(64) NOT NULL, 
	epoch INTEGER NOT NULL, 
	serial INTEGER NOT NULL, 
	frozen BOOLEAN NOT NULL, 
	used BOOLEAN NOT NULL, 
	settings_key VARCHAR(64) DEFAULT '' NOT NULL, fence BIGINT DEFAULT 0 NOT NULL, moved_to TEXT NOT NULL DEFAULT '', 
	PRIMARY KEY (id)
);
INSERT INTO "identity" VALUES(1,'c0ffeec0ffeec0ffeec0ffeec0ffee12',7,1,0,1,'abababababababababababababababababababababababababababababababab',0,'');
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
	at FLOAT NOT NULL, reason VARCHAR(16) NOT NULL DEFAULT '', step INTEGER NOT NULL DEFAULT 0, 
	PRIMARY KEY (id)
);
INSERT INTO "journal" VALUES(1,'r1','a','g','rules','','1','changed','',5,1795521600.0,'',0);
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
        );
INSERT INTO "known_conditions" VALUES('mail','f00df00df00df00df00df00df00df00d','rollout_halted','rules 2','critical','rules 2 is halted',1795521600.0,'critical',1795521600.0);
CREATE TABLE lease (
            id INTEGER NOT NULL,
            generation INTEGER NOT NULL,
            beat BIGINT NOT NULL,
            holder TEXT NOT NULL,
            who TEXT NOT NULL, beat_at FLOAT,
            PRIMARY KEY (id)
        );
INSERT INTO "lease" VALUES(1,3,17,'host boot ns 1 2','ann@host',NULL);
CREATE TABLE lock (
	id INTEGER NOT NULL, 
	lock_id VARCHAR(64) NOT NULL, 
	who TEXT NOT NULL, 
	holder TEXT NOT NULL, 
	command TEXT NOT NULL, 
	since FLOAT NOT NULL, generation INTEGER, beat BIGINT DEFAULT 0 NOT NULL, beat_at FLOAT, fence BIGINT DEFAULT 0 NOT NULL, 
	PRIMARY KEY (id)
);
CREATE TABLE manifests (
        kind VARCHAR(16) NOT NULL,
        component VARCHAR(64) NOT NULL,
        name VARCHAR(300) NOT NULL,
        platform VARCHAR(64) NOT NULL,
        codec VARCHAR(64) NOT NULL,
        document TEXT NOT NULL,
        PRIMARY KEY (kind, component, name, platform, codec)
    );
CREATE TABLE outbox (
            notifier VARCHAR(64) NOT NULL,
            place BIGINT NOT NULL,
            body TEXT NOT NULL,
            attempts INTEGER NOT NULL,
            due FLOAT NOT NULL,
            PRIMARY KEY (notifier, place)
        );
INSERT INTO "outbox" VALUES('mail',1,'{"event": "begin", "kind": "rollout_halted"}',0,1795521600.0);
CREATE TABLE plans (
	plan_id VARCHAR(64) NOT NULL, 
	sha256 VARCHAR(64) NOT NULL, 
	serial INTEGER NOT NULL, 
	created FLOAT NOT NULL, 
	status VARCHAR(16) NOT NULL, 
	PRIMARY KEY (plan_id)
);
INSERT INTO "plans" VALUES('p1','0000000000000000000000000000000000000000000000000000000000000000',0,1795521600.0,'done');
CREATE TABLE profile_components (
            standing INTEGER NOT NULL,
            profile INTEGER NOT NULL,
            PRIMARY KEY (standing, profile)
        );
INSERT INTO "profile_components" VALUES(2,2);
CREATE TABLE profile_numbers (
            number INTEGER NOT NULL,
            fingerprint VARCHAR(64) NOT NULL,
            PRIMARY KEY (number),
            UNIQUE (fingerprint)
        );
INSERT INTO "profile_numbers" VALUES(2,'fingerprint');
CREATE TABLE profiles (
	fingerprint VARCHAR(64) NOT NULL, 
	data TEXT NOT NULL, 
	PRIMARY KEY (fingerprint)
);
INSERT INTO "profiles" VALUES('148ea4f8975fc68b401c5b432fe5341e6d8b2e51034d9af34d71e9f60cd243af','{"epoch":0,"installed":[{"component":"rules","damage":"","digest":"0000000000000000000000000000000000000000000000000000000000000000","kept":[],"layout":"","previous":"","version":"1"}],"lineage":"","memory":0,"platform":"linux-x86_64","selinux":false,"tools":[],"unmanaged":[]}');
CREATE TABLE protection (
            component VARCHAR(64) NOT NULL,
            version VARCHAR(128) NOT NULL,
            began FLOAT NOT NULL,
            half FLOAT,
            most FLOAT,
            nearly FLOAT,
            loads BOOLEAN NOT NULL,
            PRIMARY KEY (component, version)
        );
INSERT INTO "protection" VALUES('component','version',1795521600.0,1795521600.0,1795521600.0,1795521600.0,1);
CREATE TABLE relays (
        relay VARCHAR(64) NOT NULL,
        host VARCHAR(255) NOT NULL,
        at FLOAT,
        held TEXT NOT NULL,
        error TEXT NOT NULL,
        PRIMARY KEY (relay, host)
    );
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
            );
INSERT INTO "requests" VALUES(2,1795521600.0,'who','roles','address','kind','target','reason','seen','status',1795521600.0,'says','asked_as');
CREATE TABLE rollout_failures (
	component VARCHAR(64) NOT NULL, 
	version VARCHAR(128) NOT NULL, 
	grp VARCHAR(253) NOT NULL, 
	client VARCHAR(253) NOT NULL, 
	message TEXT NOT NULL, 
	fault VARCHAR(16) DEFAULT 'release' NOT NULL, 
	PRIMARY KEY (component, version, grp, client)
);
INSERT INTO "rollout_failures" VALUES('rules','2','','a','client failed: no','release');
INSERT INTO "rollout_failures" VALUES('rules','2','','b','no space','machine');
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
            );
INSERT INTO "rollout_moves" VALUES(2,'component','version','grp',2,'status',1795521600.0,'reason');
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
	approved TEXT NOT NULL, catches_up BOOLEAN NOT NULL DEFAULT '0', had TEXT NOT NULL DEFAULT '{}', 
	PRIMARY KEY (component, version, grp)
);
INSERT INTO "rollouts" VALUES('rules','2','','halted',1,1795521600.0,1795521600.0,NULL,0,0,'1 of 1 failed','','5555555555555555','[{"select": "label=canary", "upto": -1, "names": []}, {"select": "", "upto": 4294967295, "names": []}]','[1, 1]','[[2, "ann", 1795521600.0]]',1,'{"g": 1}');
CREATE TABLE runs (
	run_id VARCHAR(64) NOT NULL, 
	plan_id VARCHAR(64) NOT NULL, 
	command TEXT NOT NULL, 
	started FLOAT NOT NULL, 
	ended FLOAT, 
	status VARCHAR(16) NOT NULL, 
	report TEXT NOT NULL, 
	received BIGINT DEFAULT '0' NOT NULL, 
	not_received BIGINT DEFAULT '0' NOT NULL, 
	sent BIGINT DEFAULT '0' NOT NULL, 
	saved BIGINT DEFAULT '0' NOT NULL, origin TEXT NOT NULL DEFAULT '{}', steps TEXT NOT NULL DEFAULT '[]', journal_from BIGINT NOT NULL DEFAULT 0, 
	PRIMARY KEY (run_id)
);
INSERT INTO "runs" VALUES('r1','p1','apply',1795521600.0,1795521600.0,'done','{"recap": {"g": {"changed": 1}}}',0,0,0,0,'{}','[]',0);
CREATE TABLE samples (
            at FLOAT NOT NULL,
            component VARCHAR(64) NOT NULL,
            updated INTEGER NOT NULL,
            outdated INTEGER NOT NULL,
            ahead INTEGER NOT NULL,
            unknown INTEGER NOT NULL,
            pending INTEGER NOT NULL,
            PRIMARY KEY (at, component)
        );
INSERT INTO "samples" VALUES(1795521600.0,'component',2,2,2,2,2);
CREATE TABLE schema_version (
	version INTEGER NOT NULL, 
	PRIMARY KEY (version)
);
INSERT INTO "schema_version" VALUES(12);
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
        );
INSERT INTO "sessions" VALUES('digest','who','roles','way','address',1795521600.0,1795521600.0,1795521600.0);
CREATE TABLE snapshots (
            kind VARCHAR(16) NOT NULL,
            name VARCHAR(253) NOT NULL,
            at FLOAT NOT NULL,
            digest VARCHAR(64) NOT NULL,
            data TEXT NOT NULL,
            PRIMARY KEY (kind, name)
        );
CREATE TABLE sources (
	name VARCHAR(253) NOT NULL, 
	releases TEXT NOT NULL, 
	incrementals TEXT DEFAULT '[]' NOT NULL, 
	problems TEXT NOT NULL, 
	error TEXT NOT NULL, 
	last_success FLOAT, 
	withdrawn TEXT DEFAULT '[]' NOT NULL, 
	accepted TEXT DEFAULT '' NOT NULL, 
	cooldown_until FLOAT, signatures TEXT NOT NULL DEFAULT '{}', unfetched TEXT NOT NULL DEFAULT '[]', signed_up_to TEXT NOT NULL DEFAULT '{}', signed_until FLOAT, 
	PRIMARY KEY (name)
);
INSERT INTO "sources" VALUES('drop','[{"format_version": "1.0", "component": "rules", "version": "1", "platform": "any", "released": "2026-11-24T12:00:00+00:00", "notes": "", "files": [{"name": "rules.txt", "size": 4, "sha256": "1111111111111111111111111111111111111111111111111111111111111111"}]}]','[]','["odd"]','',1795521600.0,'[]','',NULL,'{}','[]','{}',NULL);
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
        );
INSERT INTO "standings" VALUES(2,'component','platform','has','lineage',3,'state','wanted',2,2,2);
CREATE TABLE trusted (
        owner VARCHAR(253) NOT NULL,
        name VARCHAR(253) NOT NULL,
        version BIGINT NOT NULL,
        content TEXT NOT NULL,
        PRIMARY KEY (owner, name)
    );
CREATE INDEX clients_by_machine ON clients (machine);
CREATE INDEX clients_by_group ON clients (grp, name);
CREATE INDEX ix_journal_run_id ON journal (run_id);
CREATE INDEX journal_by_client ON journal (client, id);
CREATE INDEX clients_by_profile ON clients (fingerprint, name);
CREATE INDEX clients_by_seen ON clients (seen_at);
CREATE INDEX clients_by_labels ON clients (labels, name) WHERE labels <> '[]';
CREATE INDEX clients_in_trouble ON clients (name) WHERE error <> '';
CREATE INDEX clients_failing ON clients (name) WHERE failures > 0;
CREATE INDEX clients_in_quarantine ON clients (name) WHERE quarantined IS NOT NULL;
CREATE INDEX clients_without_way ON clients (name) WHERE substr(route, 1, 13) = 'unreachable: ';
CREATE INDEX clients_never_seen ON clients (name) WHERE seen_at IS NULL;
CREATE UNIQUE INDEX requests_by_name ON requests (asked_as);
CREATE INDEX moves_by_rollout ON rollout_moves (component, version, grp, id);
CREATE INDEX runs_by_start ON runs (started, run_id);
CREATE INDEX runs_of_people ON runs (started, run_id) WHERE command <> 'apply';
CREATE INDEX journal_of_trouble ON journal (run_id, reason) WHERE reason <> '';
CREATE INDEX components_by_profile ON profile_components (profile, standing);
CREATE INDEX clients_alike ON clients (labels, fingerprint, error, route, failing_since, quarantined, settings, grp, name) WHERE gone_at IS NULL;
COMMIT;
