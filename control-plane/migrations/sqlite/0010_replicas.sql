-- Replicas that others may ask, and which routers are connected to them. A row is a replica's, of one start of its process.

CREATE TABLE replicas (
    certificate BLOB NOT NULL PRIMARY KEY,  -- SHA-256 of the certificate that it made at its start
    address     TEXT NOT NULL,               -- where others reach it
    heard_at    BIGINT NOT NULL
);

CREATE TABLE replica_routers (
    certificate BLOB NOT NULL REFERENCES replicas (certificate) ON DELETE CASCADE,
    tenant_no   BIGINT NOT NULL REFERENCES tenants (tenant_no) ON DELETE CASCADE,
    router      TEXT NOT NULL,
    PRIMARY KEY (tenant_no, router, certificate)
);

CREATE INDEX replica_routers_of ON replica_routers (certificate);
