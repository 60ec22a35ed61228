-- Users who are to be deleted: who marked them, why, and when they go; what the automatic marks rest on; the settings of a tenant.

ALTER TABLE users ADD COLUMN marked_at BIGINT;        -- since when the user is marked for deletion; NULL: it is not
ALTER TABLE users ADD COLUMN purge_at BIGINT;         -- from then on it is deleted
ALTER TABLE users ADD COLUMN marked_by TEXT;          -- an actor, as in the audit trail
ALTER TABLE users ADD COLUMN mark_reason BIGINT;
ALTER TABLE users ADD COLUMN undeleted_at BIGINT;     -- when an administrator last took a mark off: automatic ones count from then on
ALTER TABLE users ADD COLUMN last_sign_in_at BIGINT;  -- when the user was last let in at a sign-in, to within an hour
CREATE INDEX users_by_purge ON users (source_no, purge_at) WHERE purge_at IS NOT NULL;
CREATE INDEX users_marked_automatically ON users (tenant_no, user_no) WHERE mark_reason > 1;

-- When the newest read of the source that was complete began: whoever is in scope was synchronized then.
ALTER TABLE identity_sources ADD COLUMN synced_at BIGINT;
UPDATE identity_sources SET synced_at = (SELECT MAX(j.read_at) FROM sync_jobs j WHERE j.source_no = identity_sources.source_no AND j.state = 3);

-- All in microseconds; NULL: nobody is marked automatically.
ALTER TABLE tenants ADD COLUMN deletion_pending_period BIGINT NOT NULL DEFAULT 604800000000;
ALTER TABLE tenants ADD COLUMN deletion_disabled_for BIGINT;
ALTER TABLE tenants ADD COLUMN deletion_unused_for BIGINT;
-- Which replica deletes and marks by itself, and until when.
ALTER TABLE tenants ADD COLUMN deletion_owner TEXT NOT NULL DEFAULT '';
ALTER TABLE tenants ADD COLUMN deletion_lease_expires_at BIGINT NOT NULL DEFAULT 0;
