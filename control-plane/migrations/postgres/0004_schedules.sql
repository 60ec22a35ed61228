-- When sources are synchronized by themselves.

CREATE TABLE sync_schedules (
    source_no       BIGINT PRIMARY KEY REFERENCES identity_sources (source_no) ON DELETE CASCADE,
    schedule        TEXT NOT NULL,      -- JSON
    version         BIGINT NOT NULL,
    next_planned_at BIGINT,             -- as the schedule says; the next run is later than that by its delay:
    next_run_at     BIGINT,
    last_planned_at BIGINT,
    last_run_at     BIGINT,
    last_outcome    BIGINT,
    last_job        BYTEA
);
CREATE INDEX sync_schedules_due ON sync_schedules (next_run_at) WHERE next_run_at IS NOT NULL;
