-- Which version of an entry was seen, so that an older observation writes nothing.

ALTER TABLE users ADD COLUMN entry_version TEXT;                            -- of the observation that last wrote the user: kind, origin, value; NULL: not known
ALTER TABLE deferred_records ADD COLUMN entry_version TEXT;                 -- the same, of the record
ALTER TABLE sync_jobs ADD COLUMN older_entries BIGINT NOT NULL DEFAULT 0;   -- entries that were older than they had been seen before
