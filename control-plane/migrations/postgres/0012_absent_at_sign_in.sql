-- Users that sign-ins did not find, and syncs that are due for them.

ALTER TABLE users ADD COLUMN absent_since BIGINT;                      -- since when an enabled user was not found when asked for alone; NULL: it was found
ALTER TABLE users ADD COLUMN absent_job BIGINT NOT NULL DEFAULT 0;     -- the job that was under way or held when it was last not found; 0: none
ALTER TABLE users ADD COLUMN absent_stage BIGINT NOT NULL DEFAULT 0;   -- and its stage, as fetched_stage
CREATE INDEX users_absent ON users (source_no, user_no) WHERE absent_since IS NOT NULL;

ALTER TABLE identity_sources ADD COLUMN sync_due_at BIGINT;                      -- since when a sync is due for such a user; NULL: it is not
ALTER TABLE identity_sources ADD COLUMN due_queued_at BIGINT NOT NULL DEFAULT 0; -- when one was last queued for that
CREATE INDEX identity_sources_due ON identity_sources (sync_due_at) WHERE sync_due_at IS NOT NULL;
