-- Everything that is kept. The same tables and columns in both engines; numbers are given by the counters table, points in time are
-- microseconds since 1970, keys of names are hashed by the program, so that engines compare bytes and nothing else.

CREATE TABLE counters (name TEXT PRIMARY KEY, value BIGINT NOT NULL);
INSERT INTO counters (name, value) VALUES ('tenant', 0), ('source', 0), ('job', 0);

CREATE TABLE tenants (
    tenant_no     BIGINT PRIMARY KEY,
    id            TEXT NOT NULL UNIQUE,
    license_limit BIGINT NOT NULL,
    enabled_users BIGINT NOT NULL DEFAULT 0,  -- seats taken; changed in the transaction that changes the users
    next_user_no  BIGINT NOT NULL DEFAULT 1,
    created_at    BIGINT NOT NULL
);

CREATE TABLE identity_sources (
    source_no             BIGINT PRIMARY KEY,
    tenant_no             BIGINT NOT NULL REFERENCES tenants (tenant_no),
    id                    TEXT NOT NULL,
    display_name          TEXT NOT NULL,
    version               BIGINT NOT NULL,
    draft                 TEXT NOT NULL,
    published             TEXT,
    published_revision    BIGINT NOT NULL DEFAULT 0,
    base_fingerprints     BYTEA,               -- 16 bytes a root, as read by the last complete sync of this revision:
    fingerprints_revision BIGINT NOT NULL DEFAULT 0,
    enabled_users         BIGINT NOT NULL DEFAULT 0,
    created_at            BIGINT NOT NULL,
    updated_at            BIGINT NOT NULL,
    published_at          BIGINT,
    UNIQUE (tenant_no, id)
);

CREATE TABLE identity_routers (
    tenant_no           BIGINT NOT NULL REFERENCES tenants (tenant_no),
    id                  TEXT NOT NULL,
    version             TEXT NOT NULL,
    connected           BIGINT NOT NULL,
    last_seen           BIGINT NOT NULL,
    certificate_expires BIGINT NOT NULL,
    created_at          BIGINT NOT NULL,
    PRIMARY KEY (tenant_no, id)
);

CREATE TABLE users (
    tenant_no          BIGINT NOT NULL,
    user_no            BIGINT NOT NULL,
    source_no          BIGINT NOT NULL,
    immutable_id       BYTEA NOT NULL,
    digest             BYTEA NOT NULL,
    user_name          TEXT NOT NULL,
    user_name_key      BYTEA,                  -- both keys: NULL while out of scope, so that others may take the names
    mail               TEXT NOT NULL,
    mail_key           BYTEA,
    first_name         TEXT NOT NULL,
    last_name          TEXT NOT NULL,
    display_name       TEXT NOT NULL,
    phone              TEXT NOT NULL,
    distinguished_name TEXT NOT NULL,
    policy_attributes  TEXT NOT NULL,
    status             BIGINT NOT NULL,
    added_job          BIGINT NOT NULL,
    changed_job        BIGINT NOT NULL DEFAULT 0,
    status_job         BIGINT NOT NULL DEFAULT 0,
    created_at         BIGINT NOT NULL,
    updated_at         BIGINT NOT NULL,
    disabled_at        BIGINT,
    PRIMARY KEY (tenant_no, user_no)
);
CREATE UNIQUE INDEX users_by_immutable_id ON users (source_no, immutable_id);
CREATE UNIQUE INDEX users_by_user_name ON users (user_name_key);
CREATE UNIQUE INDEX users_by_mail ON users (mail_key);

CREATE TABLE sync_jobs (
    job_no                BIGINT PRIMARY KEY,
    id                    BYTEA NOT NULL UNIQUE,
    tenant_no             BIGINT NOT NULL REFERENCES tenants (tenant_no),
    source_no             BIGINT NOT NULL REFERENCES identity_sources (source_no) ON DELETE CASCADE,
    state                 BIGINT NOT NULL,
    phase                 BIGINT,
    revision              BIGINT NOT NULL,
    router                TEXT,
    epoch                 BIGINT NOT NULL DEFAULT 0,  -- the fence: rises with each claim and each read
    reads                 BIGINT NOT NULL DEFAULT 0,  -- how often the directory was read from its beginning
    owner                 TEXT NOT NULL DEFAULT '',
    lease_expires_at      BIGINT NOT NULL DEFAULT 0,
    added                 BIGINT NOT NULL DEFAULT 0,
    updated               BIGINT NOT NULL DEFAULT 0,
    unchanged             BIGINT NOT NULL DEFAULT 0,
    disabled              BIGINT NOT NULL DEFAULT 0,
    not_synchronized      BIGINT NOT NULL DEFAULT 0,
    reenabled             BIGINT NOT NULL DEFAULT 0,
    disabled_in_directory BIGINT NOT NULL DEFAULT 0,
    waiting               BIGINT NOT NULL DEFAULT 0,
    expected              BIGINT NOT NULL DEFAULT 0,
    reserve               BIGINT NOT NULL DEFAULT 0,
    quota                 BIGINT NOT NULL DEFAULT 0,
    sync_limit            BIGINT NOT NULL DEFAULT 0,
    beyond_limit          BIGINT,
    failure_reason        BIGINT,
    failure_message       TEXT,
    withheld_users        BIGINT,
    withheld_message      TEXT,
    started_by            TEXT NOT NULL,
    stopped_by            TEXT NOT NULL DEFAULT '',
    request_id            TEXT,
    created_at            BIGINT NOT NULL,
    started_at            BIGINT,
    ended_at              BIGINT
);
CREATE UNIQUE INDEX sync_jobs_one_at_a_time ON sync_jobs (source_no) WHERE state IN (1, 2);
CREATE UNIQUE INDEX sync_jobs_by_request ON sync_jobs (source_no, request_id);
CREATE INDEX sync_jobs_by_source ON sync_jobs (source_no, job_no);

-- Records that cannot be decided before the read is complete. Emptied with every read.
CREATE TABLE deferred_records (
    job_no             BIGINT NOT NULL REFERENCES sync_jobs (job_no) ON DELETE CASCADE,
    queue              BIGINT NOT NULL,
    immutable_id       BYTEA NOT NULL,
    digest             BYTEA NOT NULL,
    user_name          TEXT NOT NULL,
    user_name_key      BYTEA,
    mail               TEXT NOT NULL,
    mail_key           BYTEA,
    first_name         TEXT NOT NULL,
    last_name          TEXT NOT NULL,
    display_name       TEXT NOT NULL,
    phone              TEXT NOT NULL,
    distinguished_name TEXT NOT NULL,
    policy_attributes  TEXT NOT NULL,
    status             BIGINT NOT NULL,
    PRIMARY KEY (job_no, immutable_id)
);
CREATE INDEX deferred_records_in_order ON deferred_records (job_no, queue, immutable_id);

-- The journal: users as they were before a job changed them.
CREATE TABLE user_changes (
    job_no             BIGINT NOT NULL REFERENCES sync_jobs (job_no) ON DELETE CASCADE,
    tenant_no          BIGINT NOT NULL,
    user_no            BIGINT NOT NULL,
    digest             BYTEA NOT NULL,
    user_name          TEXT NOT NULL,
    user_name_key      BYTEA,
    mail               TEXT NOT NULL,
    mail_key           BYTEA,
    first_name         TEXT NOT NULL,
    last_name          TEXT NOT NULL,
    display_name       TEXT NOT NULL,
    phone              TEXT NOT NULL,
    distinguished_name TEXT NOT NULL,
    policy_attributes  TEXT NOT NULL,
    status             BIGINT NOT NULL,
    changed_job        BIGINT NOT NULL,
    status_job         BIGINT NOT NULL,
    updated_at         BIGINT NOT NULL,
    disabled_at        BIGINT,
    PRIMARY KEY (job_no, user_no)
);

CREATE TABLE job_details (
    job_no       BIGINT NOT NULL REFERENCES sync_jobs (job_no) ON DELETE CASCADE,
    category     BIGINT NOT NULL,
    position     BIGINT NOT NULL,
    user_no      BIGINT,
    user_name    TEXT NOT NULL,
    mail         TEXT NOT NULL,
    immutable_id BYTEA,
    reason       BIGINT,
    message      TEXT NOT NULL,
    PRIMARY KEY (job_no, category, position)
);
