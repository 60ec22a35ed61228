-- Disables that wait for an administrator, what the last complete read found, and whole lists.

ALTER TABLE identity_sources DROP COLUMN base_fingerprints;
ALTER TABLE identity_sources DROP COLUMN fingerprints_revision;
ALTER TABLE identity_sources ADD COLUMN last_read TEXT;  -- JSON of what the last trusted read of this revision found:
ALTER TABLE identity_sources ADD COLUMN last_read_revision BIGINT NOT NULL DEFAULT 0;

ALTER TABLE sync_jobs ADD COLUMN reads BIGINT NOT NULL DEFAULT 0;           -- how often the directory was read from its beginning
ALTER TABLE sync_jobs ADD COLUMN still_in_scope BIGINT NOT NULL DEFAULT 0;
ALTER TABLE sync_jobs ADD COLUMN unexplained BIGINT NOT NULL DEFAULT 0;  -- of the disabled
ALTER TABLE sync_jobs ADD COLUMN doubts BIGINT NOT NULL DEFAULT 0;       -- 1: changes that take an attribute away wait for the end
ALTER TABLE sync_jobs ADD COLUMN progress_at BIGINT NOT NULL DEFAULT 0;
ALTER TABLE sync_jobs ADD COLUMN read_facts TEXT;                        -- JSON of what its read found, while it is held
ALTER TABLE sync_jobs ADD COLUMN hold_reason BIGINT;
ALTER TABLE sync_jobs ADD COLUMN hold_message TEXT;
ALTER TABLE sync_jobs ADD COLUMN hold_users BIGINT;
ALTER TABLE sync_jobs ADD COLUMN hold_etag TEXT;
ALTER TABLE sync_jobs ADD COLUMN held_at BIGINT;
ALTER TABLE sync_jobs ADD COLUMN hold_expires_at BIGINT;
ALTER TABLE sync_jobs ADD COLUMN hold_decision BIGINT NOT NULL DEFAULT 0;
ALTER TABLE sync_jobs ADD COLUMN hold_decided_by TEXT NOT NULL DEFAULT '';
CREATE INDEX sync_jobs_held ON sync_jobs (hold_expires_at) WHERE state = 6;

-- Users whom a job found absent and has not disabled: the list of a held job, or of one that saw them through the eyes of a server that
-- may be behind.
CREATE TABLE absent_users (
    job_no  BIGINT NOT NULL REFERENCES sync_jobs (job_no) ON DELETE CASCADE,
    user_no BIGINT NOT NULL,
    absence BIGINT NOT NULL,
    PRIMARY KEY (job_no, user_no)
);

-- What the job did to the user: 1 changed, 2 disabled, 3 both (in two reads).
ALTER TABLE user_changes ADD COLUMN what BIGINT NOT NULL DEFAULT 1;
