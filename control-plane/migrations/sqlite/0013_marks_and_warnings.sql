-- What a record that waits may do, and optional values that cannot be used.

ALTER TABLE deferred_records ADD COLUMN mark_proved BIGINT NOT NULL DEFAULT 0;  -- 1: the entry itself shows that it has no mark; without that it enables no user
ALTER TABLE deferred_records ADD COLUMN warnings TEXT;                          -- JSON array of sentences; NULL if there are none
ALTER TABLE deferred_records ADD COLUMN reason BIGINT;                          -- why a record only disables its user, if it does
ALTER TABLE users ADD COLUMN warnings TEXT;                                     -- the same
ALTER TABLE user_changes ADD COLUMN warnings TEXT;                              -- the same
CREATE INDEX users_with_warnings ON users (source_no, user_no) WHERE warnings IS NOT NULL;

ALTER TABLE sync_jobs ADD COLUMN warnings BIGINT;  -- users with warnings after the job; NULL until then

-- Tells the entries of a read apart that were refused: digest of the record, or of what is told of an entry that is none.
ALTER TABLE job_details ADD COLUMN entry_key BLOB;
CREATE INDEX job_details_by_id ON job_details (job_no, immutable_id) WHERE category = 4 AND immutable_id IS NOT NULL;
CREATE INDEX job_details_by_key ON job_details (job_no, entry_key) WHERE category = 4 AND immutable_id IS NULL AND entry_key IS NOT NULL;
