-- When versions of entries count no more: an administrator declared an older state the true one, or the source reads other servers.

ALTER TABLE users ADD COLUMN entry_version_at BIGINT NOT NULL DEFAULT 0;                    -- when entry_version was written
ALTER TABLE identity_sources ADD COLUMN versions_forgotten_at BIGINT NOT NULL DEFAULT -1;   -- versions that were written until then are ignored
