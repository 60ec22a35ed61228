-- What became of absent users, and everything that speaks against a read.

ALTER TABLE users ADD COLUMN absence BIGINT;                           -- why the user last went out of scope; NULL: not known
ALTER TABLE sync_jobs ADD COLUMN not_visible BIGINT NOT NULL DEFAULT 0; -- absent users whom the directory does not show to be gone
ALTER TABLE sync_jobs ADD COLUMN hold_checks TEXT;                     -- JSON: every check that broke, of a hold or of a plan
