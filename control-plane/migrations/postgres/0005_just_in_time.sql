-- Syncs of one user: the settings of a tenant, when a user was asked for alone, and whom such syncs disabled.

ALTER TABLE tenants ADD COLUMN jit_enabled BIGINT NOT NULL DEFAULT 0;
ALTER TABLE tenants ADD COLUMN jit_deadline BIGINT NOT NULL DEFAULT 5000000;  -- both in microseconds
ALTER TABLE tenants ADD COLUMN jit_last_known_max_age BIGINT NOT NULL DEFAULT 0;

ALTER TABLE users ADD COLUMN observed_at BIGINT NOT NULL DEFAULT 0;    -- when the directory was last asked for this user alone,
ALTER TABLE users ADD COLUMN fetched_job BIGINT NOT NULL DEFAULT 0;    -- which job of the source was under way or held then,
ALTER TABLE users ADD COLUMN fetched_stage BIGINT NOT NULL DEFAULT 0;  -- and where it was: twice its reads, and one once it reconciles

ALTER TABLE sync_jobs ADD COLUMN read_at BIGINT;  -- when its newest read began

-- Whom syncs of one user disabled for absence: the disable guard adds them up.
CREATE TABLE single_disables (
    source_no   BIGINT NOT NULL REFERENCES identity_sources (source_no) ON DELETE CASCADE,
    disabled_at BIGINT NOT NULL,
    user_no     BIGINT NOT NULL,
    unexplained BIGINT NOT NULL,
    PRIMARY KEY (source_no, disabled_at, user_no)
);
