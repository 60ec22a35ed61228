-- Where a tenant is told what became of its syncs and its license, and the messages that wait to be delivered.

ALTER TABLE tenants ADD COLUMN license_level BIGINT NOT NULL DEFAULT 1;  -- as was last told: 1 normal, 2 above 85 percent, 3 above 95

CREATE TABLE webhooks (
    webhook_no       BIGINT PRIMARY KEY,
    tenant_no        BIGINT NOT NULL REFERENCES tenants (tenant_no),
    id               TEXT NOT NULL,
    uid              BYTEA NOT NULL,             -- 16 random bytes: what its secrets are sealed for, and part of the ids of its messages
    display_name     TEXT NOT NULL,
    url              TEXT NOT NULL,
    events           TEXT NOT NULL,             -- JSON, numbers; none means all
    state            BIGINT NOT NULL,
    version          BIGINT NOT NULL,
    secret           BYTEA NOT NULL,             -- both sealed
    previous_secret  BYTEA,
    previous_until   BIGINT,
    last_message     BIGINT NOT NULL DEFAULT 0, -- number of its newest message
    pending          BIGINT NOT NULL DEFAULT 0, -- messages that wait
    given_up         BIGINT NOT NULL DEFAULT 0, -- messages that were given up
    blocked_until    BIGINT NOT NULL DEFAULT 0, -- the receiver is not well: nothing is tried before
    lease_owner      TEXT NOT NULL DEFAULT '',  -- the replica that delivers to it, and for how long
    lease_expires_at BIGINT NOT NULL DEFAULT 0,
    tested_at        BIGINT NOT NULL DEFAULT 0,
    succeeded_at     BIGINT,
    failed_at        BIGINT,
    failure          BIGINT,
    failure_status   BIGINT,
    created_at       BIGINT NOT NULL,
    updated_at       BIGINT NOT NULL,
    UNIQUE (tenant_no, id)
);
CREATE INDEX webhooks_waiting ON webhooks (lease_expires_at) WHERE pending > 0;
INSERT INTO counters (name, value) VALUES ('webhook', 0);

CREATE TABLE webhook_messages (
    webhook_no      BIGINT NOT NULL REFERENCES webhooks (webhook_no) ON DELETE CASCADE,
    number          BIGINT NOT NULL,
    id              TEXT NOT NULL,
    event           BIGINT NOT NULL,
    body            TEXT NOT NULL,              -- as it is sent and signed
    created_at      BIGINT NOT NULL,
    attempts        BIGINT NOT NULL DEFAULT 0,
    next_attempt_at BIGINT NOT NULL,
    PRIMARY KEY (webhook_no, number)
);
