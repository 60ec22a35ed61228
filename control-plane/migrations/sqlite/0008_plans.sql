-- Dry runs and the plans that they make, syncs that apply a plan, and undoing a job.

ALTER TABLE sync_jobs ADD COLUMN kind BIGINT NOT NULL DEFAULT 1;  -- 1 sync, 2 dry run, 3 sync that applies a plan, 4 undo
ALTER TABLE sync_jobs ADD COLUMN origin BIGINT;                   -- the job whose plan it applies, or which it undoes
ALTER TABLE sync_jobs ADD COLUMN settings TEXT;                   -- JSON of the draft that a dry run reads in the place of what is published
ALTER TABLE sync_jobs ADD COLUMN plan_expires_at BIGINT;
ALTER TABLE sync_jobs ADD COLUMN plan_reason BIGINT;              -- why a sync would be held
ALTER TABLE sync_jobs ADD COLUMN plan_message TEXT;
CREATE INDEX sync_jobs_with_plan ON sync_jobs (plan_expires_at) WHERE plan_expires_at IS NOT NULL;

-- What a sync would do to each record or user that it would not leave as it is.
CREATE TABLE plan_entries (
    job_no        BIGINT NOT NULL REFERENCES sync_jobs (job_no) ON DELETE CASCADE,
    position      BIGINT NOT NULL,
    category      BIGINT NOT NULL,
    user_no       BIGINT,                     -- none for who would be added, or never was a user
    immutable_id  BLOB NOT NULL,
    digest        BLOB,                       -- of the record; none for who would be disabled for absence
    before_digest BLOB,                       -- of the user as it was
    before_status BIGINT,
    before_values TEXT,                       -- JSON
    after_values  TEXT,
    after_status  BIGINT,
    reason        BIGINT,
    message       TEXT NOT NULL,
    taken_by      BIGINT NOT NULL DEFAULT 0,  -- the job that applied it, or left it out
    PRIMARY KEY (job_no, position)
);
CREATE INDEX plan_entries_by_id ON plan_entries (job_no, immutable_id);
CREATE INDEX plan_entries_by_user ON plan_entries (job_no, user_no);
