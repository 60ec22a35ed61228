-- Another immutable id for a source: what its dry run has read of both ids.

ALTER TABLE sync_jobs ADD COLUMN both_ids BIGINT NOT NULL DEFAULT 0;  -- whether the read had the published immutable id and the draft's

-- What each entry is called by both ids. Kept as long as the plan, or until the draft is published.
CREATE TABLE id_pairs (
    job_no    BIGINT NOT NULL REFERENCES sync_jobs (job_no) ON DELETE CASCADE,
    former_id BLOB NOT NULL,                 -- by what is published; empty if the entry has none
    new_id    BLOB NOT NULL,                 -- by the draft; empty if the entry has none
    digest    BLOB NOT NULL,                 -- of the record; zeros for an entry that is none
    counted   BIGINT NOT NULL,              -- whether it was taken for a record, as the first that had its ids
    clashes   BIGINT NOT NULL DEFAULT 0,    -- whether another entry has one of its ids
    user_no   BIGINT,                       -- whose it is, where that id is in the way while the draft is published
    PRIMARY KEY (job_no, former_id, new_id, digest)
);
CREATE INDEX id_pairs_by_new_id ON id_pairs (job_no, new_id);
