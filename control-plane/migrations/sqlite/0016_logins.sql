-- User names and mail addresses of a tenant are one namespace of logins: the user who held a login first keeps it.

ALTER TABLE tenants ADD COLUMN name_position BIGINT NOT NULL DEFAULT 1;         -- the last position that was given out: names that are written later have a greater one
ALTER TABLE users ADD COLUMN user_name_position BIGINT NOT NULL DEFAULT 0;      -- the position since which the user holds its user name
ALTER TABLE users ADD COLUMN user_name_job BIGINT NOT NULL DEFAULT 0;           -- the job that gave it the name; 0: it was asked for alone
ALTER TABLE users ADD COLUMN mail_position BIGINT NOT NULL DEFAULT 1;           -- the same of the mail address; of names of before, the user name was the login
ALTER TABLE users ADD COLUMN mail_job BIGINT NOT NULL DEFAULT 0;
ALTER TABLE users ADD COLUMN login_key BLOB;                                   -- the user name as a mail address, if it has the form of one and is not the user's own; NULL: it cannot be another's
ALTER TABLE users ADD COLUMN released_mail_key BLOB;                           -- within a transaction: the mail address that the user gives up
CREATE INDEX users_by_login_key ON users (tenant_no, login_key) WHERE login_key IS NOT NULL;

ALTER TABLE user_changes ADD COLUMN user_name_position BIGINT NOT NULL DEFAULT 0; -- the same, before the job
ALTER TABLE user_changes ADD COLUMN user_name_job BIGINT NOT NULL DEFAULT 0;
ALTER TABLE user_changes ADD COLUMN mail_position BIGINT NOT NULL DEFAULT 1;
ALTER TABLE user_changes ADD COLUMN mail_job BIGINT NOT NULL DEFAULT 0;
ALTER TABLE user_changes ADD COLUMN login_key BLOB;

-- The next sync sends the records of these users, which writes login_key.
UPDATE users SET digest = CAST(substr(digest, 9) || substr(digest, 1, 8) AS BLOB) WHERE user_name LIKE '%@%' AND user_name <> mail;
