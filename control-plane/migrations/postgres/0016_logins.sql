-- User names and mail addresses of a tenant are one namespace of logins: the user who held a login first keeps it.

ALTER TABLE users ADD COLUMN user_name_since BIGINT NOT NULL DEFAULT 0;         -- since when the user holds its user name
ALTER TABLE users ADD COLUMN user_name_job BIGINT NOT NULL DEFAULT 0;           -- the job that gave it the name; 0: it was asked for alone
ALTER TABLE users ADD COLUMN mail_since BIGINT NOT NULL DEFAULT 0;              -- the same of the mail address
ALTER TABLE users ADD COLUMN mail_job BIGINT NOT NULL DEFAULT 0;
ALTER TABLE users ADD COLUMN login_key BYTEA;                                   -- the user name as a mail address, if it has the form of one and is not the user's own; NULL: it cannot be another's
UPDATE users SET user_name_since = created_at, mail_since = created_at;
CREATE INDEX users_by_login_key ON users (tenant_no, login_key) WHERE login_key IS NOT NULL;

ALTER TABLE user_changes ADD COLUMN user_name_since BIGINT NOT NULL DEFAULT 0;  -- the same, before the job
ALTER TABLE user_changes ADD COLUMN user_name_job BIGINT NOT NULL DEFAULT 0;
ALTER TABLE user_changes ADD COLUMN mail_since BIGINT NOT NULL DEFAULT 0;
ALTER TABLE user_changes ADD COLUMN mail_job BIGINT NOT NULL DEFAULT 0;
ALTER TABLE user_changes ADD COLUMN login_key BYTEA;
