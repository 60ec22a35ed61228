-- What is kept of jobs, and whom an undo leaves alone.

ALTER TABLE users ADD COLUMN alone_at BIGINT NOT NULL DEFAULT 0;        -- updated_at of the last change by a sync of this user alone
ALTER TABLE sync_jobs ADD COLUMN lists_gone BIGINT NOT NULL DEFAULT 0;  -- whether its lists of records were thrown away
