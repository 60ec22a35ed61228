-- Who may connect, who may call, and what is remembered of it.

ALTER TABLE tenants ADD COLUMN suspended_at BIGINT;

-- What all replicas must share and nobody else may know, such as the key that page tokens are sealed with.
CREATE TABLE secrets (name TEXT PRIMARY KEY, value BYTEA NOT NULL);

-- Routers are made by enrollment from here on; those of before enroll anew.
DELETE FROM identity_routers;
ALTER TABLE identity_routers ADD COLUMN state BIGINT NOT NULL DEFAULT 1;
ALTER TABLE identity_routers ADD COLUMN state_message TEXT NOT NULL DEFAULT '';
ALTER TABLE identity_routers ADD COLUMN state_changed_at BIGINT NOT NULL DEFAULT 0;
ALTER TABLE identity_routers ADD COLUMN generation BIGINT NOT NULL DEFAULT 0;           -- of its newest certificate
ALTER TABLE identity_routers ADD COLUMN enrolled_generation BIGINT NOT NULL DEFAULT 0;  -- the first one since its last enrollment
ALTER TABLE identity_routers ADD COLUMN confirmed BIGINT NOT NULL DEFAULT 0;            -- the newest one that was shown to us
ALTER TABLE identity_routers ADD COLUMN sources TEXT NOT NULL DEFAULT '[]';             -- JSON; empty means all
ALTER TABLE identity_routers ADD COLUMN recoveries BIGINT NOT NULL DEFAULT 0;           -- since its last regular certificate
CREATE INDEX identity_routers_by_change ON identity_routers (state_changed_at);

-- The keys of its certificates: SHA-256 of each public key.
CREATE TABLE router_keys (
    tenant_no   BIGINT NOT NULL,
    router      TEXT NOT NULL,
    fingerprint BYTEA NOT NULL,
    generation  BIGINT NOT NULL,
    issued_at   BIGINT NOT NULL,
    expires_at  BIGINT NOT NULL,
    PRIMARY KEY (tenant_no, router, fingerprint)
);

CREATE TABLE registration_codes (
    tenant_no   BIGINT NOT NULL REFERENCES tenants (tenant_no),
    id          TEXT NOT NULL,
    secret_hash BYTEA NOT NULL UNIQUE,  -- SHA-256; the secret has 160 random bits, so there is nothing to guess
    router      TEXT NOT NULL,
    sources     TEXT NOT NULL,
    created_by  TEXT NOT NULL,
    created_at  BIGINT NOT NULL,
    expires_at  BIGINT NOT NULL,
    used_at     BIGINT,
    used_key    BYTEA,                  -- a lost answer can be asked for again, for the same key
    voided_at   BIGINT,
    PRIMARY KEY (tenant_no, id)
);

-- The audit trail: tenant 0 is the installation's own. Rows are only ever added.
CREATE TABLE audit_events (
    tenant_no  BIGINT NOT NULL,
    sequence   BIGINT NOT NULL,
    event_time BIGINT NOT NULL,
    type       BIGINT NOT NULL,
    outcome    BIGINT NOT NULL,
    actor      TEXT NOT NULL,
    via        TEXT NOT NULL,
    address    TEXT NOT NULL,
    subject    TEXT NOT NULL,
    details    TEXT NOT NULL,
    hash       BYTEA NOT NULL,
    PRIMARY KEY (tenant_no, sequence)
);
CREATE TABLE audit_heads (tenant_no BIGINT PRIMARY KEY, sequence BIGINT NOT NULL, hash BYTEA NOT NULL);
INSERT INTO audit_heads (tenant_no, sequence, hash) VALUES (0, 0, decode(repeat('00', 32), 'hex'));
INSERT INTO audit_heads (tenant_no, sequence, hash) SELECT tenant_no, 0, decode(repeat('00', 32), 'hex') FROM tenants;
