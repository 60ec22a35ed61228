DELETE FROM absent_users WHERE job_no = $1
DELETE FROM absent_users WHERE job_no = $1 AND user_no = ANY($2::BIGINT[])
DELETE FROM absent_users WHERE job_no IN (SELECT job_no FROM sync_jobs WHERE source_no = $1) AND user_no = ANY($2::BIGINT[])
DELETE FROM deferred_records WHERE job_no = $1
DELETE FROM deferred_records WHERE job_no = $1 AND immutable_id = ANY($2::BYTEA[])
DELETE FROM id_pairs WHERE job_no = $1
DELETE FROM id_pairs WHERE job_no IN (SELECT job_no FROM sync_jobs WHERE source_no = $1)
DELETE FROM id_pairs WHERE job_no IN (SELECT job_no FROM sync_jobs WHERE source_no = $1) AND former_id = ANY($2::BYTEA[])
DELETE FROM identity_sources WHERE source_no = $1
DELETE FROM job_details WHERE category < 4 AND job_no IN (SELECT job_no FROM sync_jobs WHERE source_no = $1 AND job_no < $2 AND kind <> 2) AND EXISTS (SELECT 1 FROM sync_jobs WHERE job_no = $2 AND kind <> 2)
DELETE FROM job_details WHERE category <> 4 AND job_no IN (SELECT job_no FROM sync_jobs WHERE source_no = $1) AND (user_no = ANY($2::BIGINT[]) OR immutable_id = ANY($3::BYTEA[]))
DELETE FROM job_details WHERE job_no = $1
DELETE FROM job_details WHERE job_no = $1 AND category = 4
DELETE FROM job_details WHERE job_no = $1 AND category = 4 AND immutable_id IN (SELECT immutable_id FROM deferred_records WHERE job_no = $1 AND queue > $2 AND queue < $3)
DELETE FROM job_details WHERE job_no = $1 AND category = 6
DELETE FROM job_details WHERE job_no = $1 AND category IN (1, 2) AND user_no = ANY($2::BIGINT[])
DELETE FROM job_details WHERE job_no = $1 AND category IN (4, 8)
DELETE FROM job_details WHERE job_no IN (SELECT job_no FROM sync_jobs WHERE source_no = $1 AND kind <> 2 AND created_at < $3 AND COALESCE(plan_expires_at, 0) <= $4 AND job_no <> COALESCE((SELECT n.origin FROM sync_jobs n WHERE n.job_no = $5), 0) AND job_no < (SELECT MIN(job_no) FROM (SELECT job_no FROM sync_jobs WHERE source_no = $1 AND kind <> 2 ORDER BY job_no DESC LIMIT $2) AS newest))
DELETE FROM job_details WHERE job_no IN (SELECT job_no FROM sync_jobs WHERE source_no = $1 AND kind = 2 AND created_at < $3 AND COALESCE(plan_expires_at, 0) <= $4 AND job_no <> COALESCE((SELECT n.origin FROM sync_jobs n WHERE n.job_no = $5), 0) AND job_no < (SELECT MIN(job_no) FROM (SELECT job_no FROM sync_jobs WHERE source_no = $1 AND kind = 2 ORDER BY job_no DESC LIMIT $2) AS newest))
DELETE FROM plan_entries WHERE job_no = $1
DELETE FROM plan_entries WHERE job_no IN (SELECT job_no FROM sync_jobs WHERE source_no = $1) AND (user_no = ANY($2::BIGINT[]) OR immutable_id = ANY($3::BYTEA[]))
DELETE FROM registration_codes WHERE tenant_no = $1 AND expires_at < $2
DELETE FROM replica_routers WHERE certificate = $1
DELETE FROM replicas WHERE address = $1 AND certificate <> $2
DELETE FROM replicas WHERE certificate = $1
DELETE FROM replicas WHERE heard_at < $1
DELETE FROM router_keys WHERE tenant_no = $1 AND router = $2 AND expires_at < $3
DELETE FROM single_disables WHERE source_no = $1 AND disabled_at < $2
DELETE FROM sync_jobs WHERE job_no IN (SELECT job_no FROM sync_jobs WHERE source_no = $1 AND created_at < $3 AND COALESCE(plan_expires_at, 0) <= $4 AND job_no <> COALESCE((SELECT n.origin FROM sync_jobs n WHERE n.job_no = $5), 0) AND job_no < (SELECT MIN(job_no) FROM (SELECT job_no FROM sync_jobs WHERE source_no = $1 ORDER BY job_no DESC LIMIT $2) AS newest))
DELETE FROM sync_jobs WHERE source_no = $1
DELETE FROM user_changes WHERE job_no = $1 AND user_no = $2
DELETE FROM user_changes WHERE job_no IN (SELECT job_no FROM sync_jobs WHERE source_no = $1 AND kind <> 2 AND created_at < $3 AND COALESCE(plan_expires_at, 0) <= $4 AND job_no <> COALESCE((SELECT n.origin FROM sync_jobs n WHERE n.job_no = $5), 0) AND job_no < (SELECT MIN(job_no) FROM (SELECT job_no FROM sync_jobs WHERE source_no = $1 AND kind <> 2 ORDER BY job_no DESC LIMIT $2) AS newest))
DELETE FROM user_changes WHERE job_no IN (SELECT job_no FROM sync_jobs WHERE source_no = $1) AND user_no = ANY($2::BIGINT[])
DELETE FROM users WHERE source_no = $1
DELETE FROM users WHERE tenant_no = $1 AND user_no = $2
DELETE FROM users WHERE tenant_no = $1 AND user_no = ANY($2::BIGINT[])
DELETE FROM webhook_messages WHERE webhook_no = $1
DELETE FROM webhook_messages WHERE webhook_no = $1 AND number = $2
DELETE FROM webhooks WHERE webhook_no = $1
INSERT INTO absent_users (job_no, user_no, absence) SELECT $1, user_no, $3 FROM users WHERE tenant_no = $2 AND user_no = ANY($4::BIGINT[]) ON CONFLICT (job_no, user_no) DO NOTHING
INSERT INTO audit_events (tenant_no, sequence, event_time, type, outcome, actor, via, address, subject, details, hash) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
INSERT INTO audit_heads (tenant_no, sequence, hash) VALUES ($1, 0, $2)
INSERT INTO deferred_records (job_no, queue, immutable_id, digest, user_name, user_name_key, mail, mail_key, first_name, last_name, display_name, phone, distinguished_name, policy_attributes, status, mark_proved, warnings, entry_version) SELECT $1, $3 + 1, immutable_id, digest, user_name, user_name_key, mail, mail_key, first_name, last_name, display_name, phone, distinguished_name, policy_attributes, status, CASE WHEN EXISTS (SELECT 1 FROM user_changes c WHERE c.job_no = $1 AND c.user_no = users.user_no AND c.status = 1) THEN 0 ELSE 1 END, warnings, entry_version FROM users WHERE tenant_no = $2 AND user_no = ANY($4::BIGINT[]) ON CONFLICT (job_no, immutable_id) DO NOTHING
INSERT INTO deferred_records (job_no, queue, immutable_id, digest, user_name, user_name_key, mail, mail_key, first_name, last_name, display_name, phone, distinguished_name, policy_attributes, status, mark_proved, warnings, entry_version) SELECT s.job_no, r.queue, r.immutable_id, r.digest, r.user_name, r.user_name_key, r.mail, r.mail_key, r.first_name, r.last_name, r.display_name, r.phone, r.distinguished_name, r.policy_attributes, r.status, r.mark_proved, r.warnings, r.entry_version FROM UNNEST($5::BIGINT[], $6::BYTEA[], $7::BYTEA[], $8::TEXT[], $9::BYTEA[], $10::TEXT[], $11::BYTEA[], $12::TEXT[], $13::TEXT[], $14::TEXT[], $15::TEXT[], $16::TEXT[], $17::TEXT[], $18::BIGINT[], $19::BIGINT[], $20::BIGINT[], $21::TEXT[], $22::TEXT[]) AS r (user_no, immutable_id, digest, user_name, user_name_key, mail, mail_key, first_name, last_name, display_name, phone, distinguished_name, policy_attributes, status, queue, mark_proved, warnings, entry_version) CROSS JOIN (SELECT $1::BIGINT AS tenant_no, $2::BIGINT AS source_no, $3::BIGINT AS job_no, $4::BIGINT AS at) AS s WHERE true ON CONFLICT (job_no, immutable_id) DO NOTHING
INSERT INTO deferred_records (job_no, queue, immutable_id, digest, user_name, user_name_key, mail, mail_key, first_name, last_name, display_name, phone, distinguished_name, policy_attributes, status, warnings, reason) SELECT $1, 1, immutable_id, $5, user_name, user_name_key, mail, mail_key, first_name, last_name, display_name, phone, distinguished_name, policy_attributes, 2, warnings, $3 FROM users WHERE tenant_no = $2 AND user_no = ANY($4::BIGINT[]) ON CONFLICT (job_no, immutable_id) DO NOTHING
INSERT INTO id_pairs (job_no, former_id, new_id, digest, counted) VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING
INSERT INTO identity_routers (tenant_no, id, version, connected, last_seen, certificate_expires, created_at) VALUES ($1, $2, '', 0, 0, 0, $3) ON CONFLICT (tenant_no, id) DO NOTHING
INSERT INTO identity_sources (source_no, tenant_no, id, display_name, version, draft, created_at, updated_at) VALUES ($1, $2, $3, $4, 1, $5, $6, $6)
INSERT INTO job_details (job_no, category, position, user_no, user_name, mail, immutable_id, reason, message, entry_key) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
INSERT INTO plan_entries (job_no, position, category, user_no, immutable_id, digest, before_digest, before_status, before_values, after_values, after_status, reason, message) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)
INSERT INTO registration_codes (tenant_no, id, secret_hash, router, sources, created_by, created_at, expires_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
INSERT INTO replica_routers (certificate, tenant_no, router) VALUES ($1, $2, $3)
INSERT INTO replicas (certificate, heard_at, address) VALUES ($1, $2, $3) ON CONFLICT (certificate) DO UPDATE SET heard_at = excluded.heard_at, address = excluded.address
INSERT INTO router_keys (tenant_no, router, fingerprint, generation, issued_at, expires_at) VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (tenant_no, router, fingerprint) DO UPDATE SET generation = excluded.generation, issued_at = excluded.issued_at, expires_at = excluded.expires_at
INSERT INTO secrets (name, value) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING
INSERT INTO single_disables (source_no, disabled_at, user_no, unexplained) VALUES ($1, $2, $3, 0) ON CONFLICT (source_no, disabled_at, user_no) DO NOTHING
INSERT INTO sync_jobs (job_no, id, tenant_no, source_no, state, revision, started_by, request_id, created_at, kind, origin, settings) VALUES ($1, $2, $3, $4, 1, $5, $6, $7, $8, $9, $10, $11)
INSERT INTO sync_schedules (source_no, schedule, version, next_planned_at, next_run_at) VALUES ($1, $2, $3, $4, $5) ON CONFLICT (source_no) DO UPDATE SET schedule = excluded.schedule, version = excluded.version, next_planned_at = excluded.next_planned_at, next_run_at = excluded.next_run_at
INSERT INTO tenants (tenant_no, id, license_limit, created_at) VALUES ($1, $2, $3, $4)
INSERT INTO tenants (tenant_no, id, license_limit, created_at) VALUES ($1, $2, $3, $4) ON CONFLICT (id) DO NOTHING
INSERT INTO user_changes (job_no, tenant_no, user_no, digest, user_name, user_name_key, mail, mail_key, first_name, last_name, display_name, phone, distinguished_name, policy_attributes, status, changed_job, status_job, updated_at, disabled_at, warnings, what) SELECT $1, tenant_no, user_no, digest, user_name, user_name_key, mail, mail_key, first_name, last_name, display_name, phone, distinguished_name, policy_attributes, status, changed_job, status_job, updated_at, disabled_at, warnings, $3 FROM users WHERE tenant_no = $2 AND user_no = ANY($4::BIGINT[]) ON CONFLICT (job_no, user_no) DO UPDATE SET what = user_changes.what | excluded.what
INSERT INTO users (tenant_no, user_no, source_no, immutable_id, digest, user_name, user_name_key, mail, mail_key, first_name, last_name, display_name, phone, distinguished_name, policy_attributes, status, added_job, changed_job, created_at, updated_at, warnings, entry_version) SELECT s.tenant_no, r.user_no, s.source_no, r.immutable_id, r.digest, r.user_name, r.user_name_key, r.mail, r.mail_key, r.first_name, r.last_name, r.display_name, r.phone, r.distinguished_name, r.policy_attributes, r.status, s.job_no, s.job_no, s.at, s.at, r.warnings, r.entry_version FROM UNNEST($5::BIGINT[], $6::BYTEA[], $7::BYTEA[], $8::TEXT[], $9::BYTEA[], $10::TEXT[], $11::BYTEA[], $12::TEXT[], $13::TEXT[], $14::TEXT[], $15::TEXT[], $16::TEXT[], $17::TEXT[], $18::BIGINT[], $19::BIGINT[], $20::BIGINT[], $21::TEXT[], $22::TEXT[]) AS r (user_no, immutable_id, digest, user_name, user_name_key, mail, mail_key, first_name, last_name, display_name, phone, distinguished_name, policy_attributes, status, queue, mark_proved, warnings, entry_version) CROSS JOIN (SELECT $1::BIGINT AS tenant_no, $2::BIGINT AS source_no, $3::BIGINT AS job_no, $4::BIGINT AS at) AS s WHERE true ON CONFLICT (tenant_no, user_no) DO UPDATE SET digest = excluded.digest, user_name = excluded.user_name, user_name_key = excluded.user_name_key, mail = excluded.mail, mail_key = excluded.mail_key, first_name = excluded.first_name, last_name = excluded.last_name, display_name = excluded.display_name, phone = excluded.phone, distinguished_name = excluded.distinguished_name, policy_attributes = excluded.policy_attributes, status = excluded.status, changed_job = excluded.changed_job, updated_at = excluded.updated_at, status_job = CASE WHEN users.status = excluded.status THEN users.status_job ELSE excluded.changed_job END, disabled_at = CASE WHEN excluded.status = 1 THEN NULL WHEN users.status = 1 THEN excluded.updated_at ELSE users.disabled_at END, absent_since = CASE WHEN excluded.status = 1 THEN users.absent_since END, warnings = excluded.warnings, entry_version = COALESCE(excluded.entry_version, users.entry_version)
INSERT INTO users (tenant_no, user_no, source_no, immutable_id, digest, user_name, user_name_key, mail, mail_key, first_name, last_name, display_name, phone, distinguished_name, policy_attributes, status, added_job, changed_job, created_at, updated_at, warnings, entry_version) SELECT s.tenant_no, r.user_no, s.source_no, r.immutable_id, r.digest, r.user_name, r.user_name_key, r.mail, r.mail_key, r.first_name, r.last_name, r.display_name, r.phone, r.distinguished_name, r.policy_attributes, r.status, s.job_no, s.job_no, s.at, s.at, r.warnings, r.entry_version FROM UNNEST($5::BIGINT[], $6::BYTEA[], $7::BYTEA[], $8::TEXT[], $9::BYTEA[], $10::TEXT[], $11::BYTEA[], $12::TEXT[], $13::TEXT[], $14::TEXT[], $15::TEXT[], $16::TEXT[], $17::TEXT[], $18::BIGINT[], $19::BIGINT[], $20::BIGINT[], $21::TEXT[], $22::TEXT[]) AS r (user_no, immutable_id, digest, user_name, user_name_key, mail, mail_key, first_name, last_name, display_name, phone, distinguished_name, policy_attributes, status, queue, mark_proved, warnings, entry_version) CROSS JOIN (SELECT $1::BIGINT AS tenant_no, $2::BIGINT AS source_no, $3::BIGINT AS job_no, $4::BIGINT AS at) AS s WHERE true ON CONFLICT (tenant_no, user_no) DO UPDATE SET digest = excluded.digest, warnings = excluded.warnings, entry_version = COALESCE(excluded.entry_version, users.entry_version)
INSERT INTO users (tenant_no, user_no, source_no, immutable_id, digest, user_name, user_name_key, mail, mail_key, first_name, last_name, display_name, phone, distinguished_name, policy_attributes, status, added_job, status_job, created_at, updated_at, disabled_at, warnings, entry_version) SELECT s.tenant_no, r.user_no, s.source_no, r.immutable_id, r.digest, r.user_name, r.user_name_key, r.mail, r.mail_key, r.first_name, r.last_name, r.display_name, r.phone, r.distinguished_name, r.policy_attributes, r.status, s.job_no, s.job_no, s.at, s.at, CASE WHEN r.status = 1 THEN NULL ELSE s.at END, r.warnings, r.entry_version FROM UNNEST($5::BIGINT[], $6::BYTEA[], $7::BYTEA[], $8::TEXT[], $9::BYTEA[], $10::TEXT[], $11::BYTEA[], $12::TEXT[], $13::TEXT[], $14::TEXT[], $15::TEXT[], $16::TEXT[], $17::TEXT[], $18::BIGINT[], $19::BIGINT[], $20::BIGINT[], $21::TEXT[], $22::TEXT[]) AS r (user_no, immutable_id, digest, user_name, user_name_key, mail, mail_key, first_name, last_name, display_name, phone, distinguished_name, policy_attributes, status, queue, mark_proved, warnings, entry_version) CROSS JOIN (SELECT $1::BIGINT AS tenant_no, $2::BIGINT AS source_no, $3::BIGINT AS job_no, $4::BIGINT AS at) AS s 
INSERT INTO webhook_messages (webhook_no, number, id, event, body, created_at, next_attempt_at) VALUES ($1, $2, $3, $4, $5, $6, $6)
INSERT INTO webhooks (webhook_no, tenant_no, id, uid, display_name, url, events, state, version, secret, created_at, updated_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 1, $9, $10, $10)
SELECT (SELECT COUNT(*) FROM user_changes WHERE job_no = $1) + (SELECT COUNT(*) FROM users WHERE tenant_no = $2 AND source_no = $3 AND added_job = $1)
SELECT CAST($2 AS BIGINT), u.user_no, u.user_no, u.user_name, u.mail, u.immutable_id, CAST(NULL AS BIGINT), CAST($3 AS TEXT) FROM user_changes c JOIN users u ON u.tenant_no = c.tenant_no AND u.user_no = c.user_no WHERE u.tenant_no = $4 AND u.source_no + 0 = $5 AND c.job_no = $1 AND c.what IN (2, 3) AND c.user_no > $6 ORDER BY c.job_no, c.user_no LIMIT $7
SELECT CAST($2 AS BIGINT), u.user_no, u.user_no, u.user_name, u.mail, u.immutable_id, CAST(NULL AS BIGINT), CAST($3 AS TEXT) FROM users u WHERE u.tenant_no = $4 AND u.source_no + 0 = $5 AND u.added_job = $1 AND u.user_no > $6 ORDER BY u.tenant_no, u.user_no LIMIT $7
SELECT CAST(COALESCE(SUM(CASE WHEN queue < $3 THEN 1 ELSE 0 END), 0) AS BIGINT), COUNT(*) FROM deferred_records WHERE job_no = $1 AND queue > $2
SELECT CAST(COALESCE(SUM(disabled), 0) AS BIGINT), CAST(COALESCE(SUM(unexplained), 0) AS BIGINT) FROM sync_jobs WHERE source_no = $1 AND (job_no = $2 OR (hold_decision <> 1 AND kind = 1 AND COALESCE(ended_at, progress_at) > $3))
SELECT COALESCE(MAX(position), 0) FROM job_details WHERE job_no = $1 AND category = $2
SELECT COALESCE(MAX(position), 0) FROM plan_entries WHERE job_no = $1
SELECT COALESCE(SUM(CASE WHEN added_job = $3 THEN 1 ELSE 0 END), 0), COALESCE(SUM(CASE WHEN changed_job = $3 AND added_job <> $3 THEN 1 ELSE 0 END), 0) FROM users WHERE tenant_no = $1 AND source_no = $2
SELECT COUNT(*) FROM deferred_records WHERE job_no = $1 AND queue >= $2 AND queue <= 7
SELECT COUNT(*) FROM deferred_records d JOIN users u ON u.source_no = $2 AND u.immutable_id = d.immutable_id WHERE d.job_no = $1 AND d.queue < 10 AND d.status = 1 AND u.status <> 1
SELECT COUNT(*) FROM deferred_records d JOIN users u ON u.source_no = $2 AND u.immutable_id = d.immutable_id WHERE d.job_no = $1 AND d.queue > $3 AND d.queue < $4 AND u.status = 3
SELECT COUNT(*) FROM identity_sources WHERE tenant_no = $1
SELECT COUNT(*) FROM identity_sources WHERE tenant_no = $1 AND id = $2
SELECT COUNT(*) FROM identity_sources s JOIN sync_schedules c ON c.source_no = s.source_no JOIN tenants t ON t.tenant_no = s.tenant_no WHERE s.sync_due_at IS NOT NULL AND s.due_queued_at <= $1 AND s.published IS NOT NULL AND c.next_run_at IS NOT NULL AND t.suspended_at IS NULL AND NOT EXISTS (SELECT 1 FROM sync_jobs j WHERE j.source_no = s.source_no AND j.state IN (1, 2, 6)) AND s.source_no = $2
SELECT COUNT(*) FROM registration_codes WHERE tenant_no = $1 AND used_at IS NULL AND voided_at IS NULL AND expires_at >= $2
SELECT COUNT(*) FROM sync_jobs WHERE source_no = $1 AND job_no > $2 AND kind <> 2
SELECT COUNT(*) FROM sync_jobs n JOIN sync_jobs j ON j.source_no = n.source_no WHERE j.job_no = $1 AND n.job_no > $1 AND n.kind <> 2
SELECT COUNT(*) FROM tenants WHERE id = $1 AND suspended_at IS NULL
SELECT COUNT(*) FROM users WHERE source_no = $1
SELECT COUNT(*) FROM users WHERE tenant_no = $1 AND source_no = $2 AND status <> 3
SELECT COUNT(*) FROM users WHERE tenant_no = $1 AND source_no = $2 AND status = 2 AND status_job <> $3
SELECT COUNT(*) FROM users u WHERE u.tenant_no = $3 AND u.source_no = $2 AND u.status <> 3 AND NOT EXISTS (SELECT 1 FROM id_pairs p WHERE p.job_no = $1 AND p.former_id = u.immutable_id) AND NOT EXISTS (SELECT 1 FROM plan_entries e WHERE e.job_no = $1 AND e.user_no = u.user_no AND e.category = 3 AND u.observed_at <= $4 AND $5 <= $4)
SELECT COUNT(*), CAST(COALESCE(SUM(unexplained), 0) AS BIGINT) FROM single_disables WHERE source_no = $1 AND disabled_at > $2
SELECT COUNT(*), COALESCE(SUM(CASE WHEN id = $2 THEN 1 ELSE 0 END), 0) FROM webhooks WHERE tenant_no = $1
SELECT COUNT(*), COALESCE(SUM(CASE WHEN status <> 3 THEN 1 ELSE 0 END), 0), COALESCE(SUM(CASE WHEN status <> 1 AND status_job <> $3 THEN 1 ELSE 0 END), 0) FROM users WHERE tenant_no = $1 AND source_no = $2
SELECT COUNT(*), COALESCE(SUM(CASE WHEN status = 1 THEN 1 ELSE 0 END), 0) FROM users WHERE tenant_no = $1 AND source_no = $2
SELECT DISTINCT t.id FROM tenants t JOIN identity_routers r ON r.tenant_no = t.tenant_no ORDER BY t.id
SELECT MAX(n.job_no) FROM sync_jobs n JOIN sync_jobs j ON j.source_no = n.source_no WHERE j.job_no = $1 AND (n.kind <> 2 AND j.kind <> 2 OR n.job_no = j.job_no)
SELECT MIN(number) FROM (SELECT MIN(tenant_no) AS number FROM audit_events WHERE tenant_no > $1 UNION ALL SELECT MIN(tenant_no) FROM audit_heads WHERE tenant_no > $1 UNION ALL SELECT MIN(tenant_no) FROM tenants WHERE tenant_no > $1 UNION ALL SELECT CAST(0 AS BIGINT) WHERE 0 > $1) AS numbers
SELECT a.user_no, a.absence FROM absent_users a JOIN sync_jobs j ON j.job_no = a.job_no WHERE a.job_no = $1 AND j.source_no = $2 AND a.user_no > $3 ORDER BY a.user_no LIMIT $4
SELECT a.user_no, a.absence, u.user_name, u.mail, u.immutable_id FROM absent_users a JOIN sync_jobs j ON j.job_no = a.job_no JOIN users u ON u.tenant_no = j.tenant_no AND u.user_no = a.user_no WHERE a.job_no = $1 AND j.state = 6 AND u.status = 1 AND a.user_no > $2 ORDER BY a.user_no LIMIT $3
SELECT a.user_no, u.status FROM absent_users a JOIN users u ON u.tenant_no = $2 AND u.user_no = a.user_no WHERE a.job_no = $1
SELECT beyond_limit FROM sync_jobs WHERE job_no = $1
SELECT c.schedule, c.version, c.next_planned_at, c.next_run_at, c.last_planned_at, c.last_run_at, c.last_outcome, c.last_job FROM sync_schedules c WHERE c.source_no = $1
SELECT c.tenant_no, t.id AS tenant, t.suspended_at, c.id, c.router, c.sources, c.expires_at, c.used_key, c.voided_at FROM registration_codes c JOIN tenants t ON t.tenant_no = c.tenant_no WHERE c.secret_hash = $1 FOR UPDATE OF c
SELECT c.tenant_no, t.id, c.id, c.router FROM registration_codes c JOIN tenants t ON t.tenant_no = c.tenant_no WHERE c.used_at IS NULL AND c.voided_at IS NULL AND c.expires_at >= $1 ORDER BY c.tenant_no, c.id
SELECT category, position, user_no, user_name, mail, immutable_id, reason, message FROM job_details WHERE job_no = $1 AND ($2 = 0 OR category = $2) AND (category > $3 OR (category = $3 AND position > $4)) AND position <= $6 ORDER BY category, position LIMIT $5
SELECT category, position, user_no, user_name, mail, immutable_id, reason, message FROM job_details WHERE job_no = $1 AND category = $2 AND position > $3 ORDER BY position LIMIT $4
SELECT certificate, address FROM replicas WHERE heard_at >= $1
SELECT deletion_pending_period, deletion_disabled_for, deletion_unused_for FROM tenants WHERE id = $1
SELECT disabled_at, user_no FROM single_disables WHERE source_no = $1 AND user_no = ANY($2::BIGINT[])
SELECT enabled_users FROM identity_sources WHERE source_no = $1
SELECT enabled_users, license_limit FROM tenants WHERE tenant_no = $1
SELECT entry_key FROM job_details WHERE job_no = $1 AND category = 4 AND immutable_id IS NULL AND entry_key = ANY($2::BYTEA[])
SELECT epoch, state, kind, reads, reserve, quota, sync_limit, doubts, expected, both_ids, beyond_limit, added, updated, unchanged, disabled, not_synchronized, reenabled, disabled_in_directory, waiting, still_in_scope, not_visible FROM sync_jobs WHERE job_no = $1
SELECT epoch, state, kind, reads, reserve, quota, sync_limit, doubts, expected, both_ids, beyond_limit, added, updated, unchanged, disabled, not_synchronized, reenabled, disabled_in_directory, waiting, still_in_scope, not_visible FROM sync_jobs WHERE job_no = $1 FOR UPDATE
SELECT former_id FROM id_pairs WHERE job_no = $1 AND clashes = 1 AND counted = 1 ORDER BY former_id
SELECT former_id, new_id, digest FROM id_pairs WHERE job_no = $1 AND former_id = ANY($2::BYTEA[])
SELECT former_id, new_id, digest FROM id_pairs WHERE job_no = $1 AND new_id = ANY($2::BYTEA[])
SELECT generation FROM router_keys WHERE tenant_no = $1 AND router = $2 AND fingerprint = $3
SELECT hash FROM audit_events WHERE tenant_no = $1 AND sequence = $2
SELECT id FROM sync_jobs WHERE source_no = $1 AND state IN (1, 2)
SELECT id FROM tenants WHERE suspended_at IS NOT NULL
SELECT id FROM tenants WHERE tenant_no = $1
SELECT id, created_at, suspended_at FROM tenants WHERE id = $1
SELECT id, created_at, suspended_at FROM tenants WHERE id > $1 ORDER BY id LIMIT $2
SELECT id, enabled_users FROM identity_sources WHERE tenant_no = $1 ORDER BY id
SELECT id, enabled_users, license_limit, license_level FROM tenants WHERE tenant_no = $1 FOR UPDATE
SELECT id, router, sources, created_by, created_at, expires_at, used_at, voided_at FROM registration_codes WHERE tenant_no = $1 AND ($2 = '' OR id < $2) ORDER BY id DESC LIMIT $3
SELECT id, router, sources, created_by, created_at, expires_at, used_at, voided_at FROM registration_codes WHERE tenant_no = $1 AND id = $2
SELECT immutable_id, category, digest, before_digest, before_status, reason FROM plan_entries WHERE job_no = (SELECT origin FROM sync_jobs WHERE job_no = $1) AND immutable_id = ANY($2::BYTEA[])
SELECT immutable_id, digest, user_name, user_name_key, mail, mail_key, first_name, last_name, display_name, phone, distinguished_name, policy_attributes, status, mark_proved, warnings, entry_version FROM deferred_records WHERE job_no = $1 AND immutable_id = ANY($2::BYTEA[])
SELECT immutable_id, digest, user_name, user_name_key, mail, mail_key, first_name, last_name, display_name, phone, distinguished_name, policy_attributes, status, mark_proved, warnings, entry_version FROM deferred_records WHERE job_no = $1 AND queue < 4 ORDER BY queue, immutable_id LIMIT $2
SELECT immutable_id, digest, user_name, user_name_key, mail, mail_key, first_name, last_name, display_name, phone, distinguished_name, policy_attributes, status, mark_proved, warnings, entry_version FROM deferred_records WHERE job_no = $1 AND queue = 1 ORDER BY immutable_id
SELECT immutable_id, digest, user_name, user_name_key, mail, mail_key, first_name, last_name, display_name, phone, distinguished_name, policy_attributes, status, mark_proved, warnings, entry_version FROM deferred_records WHERE job_no = $1 AND queue BETWEEN $2 AND $3 LIMIT $4
SELECT immutable_id, entry_key, reason FROM job_details WHERE job_no = $1 AND category = 4 AND immutable_id IS NOT NULL AND immutable_id = ANY($2::BYTEA[])
SELECT immutable_id, queue FROM deferred_records WHERE job_no = $1 AND immutable_id = ANY($2::BYTEA[])
SELECT immutable_id, user_name_key, mail_key, status, mark_proved, reason FROM deferred_records WHERE job_no = $1 ORDER BY immutable_id
SELECT j.job_no, j.id, t.id AS tenant, j.tenant_no, s.id AS source, j.source_no, j.state, j.phase, j.revision, j.router, j.reads, j.added, j.updated, j.unchanged, j.disabled, j.not_synchronized, j.reenabled, j.disabled_in_directory, j.waiting, j.still_in_scope, j.not_visible, j.expected, j.failure_reason, j.failure_message, j.withheld_users, j.withheld_message, j.hold_reason, j.hold_message, j.hold_users, j.hold_etag, j.held_at, j.hold_expires_at, j.hold_decision, j.hold_decided_by, j.hold_checks, j.started_by, j.stopped_by, j.created_at, j.started_at, j.progress_at, j.ended_at, j.kind, o.id AS origin, j.plan_expires_at, j.plan_reason, j.plan_message, j.warnings, j.settings IS NOT NULL AS of_draft FROM sync_jobs j LEFT JOIN sync_jobs o ON o.job_no = j.origin JOIN tenants t ON t.tenant_no = j.tenant_no JOIN identity_sources s ON s.source_no = j.source_no WHERE j.job_no = $1
SELECT j.job_no, j.id, t.id AS tenant, j.tenant_no, s.id AS source, j.source_no, j.state, j.phase, j.revision, j.router, j.reads, j.added, j.updated, j.unchanged, j.disabled, j.not_synchronized, j.reenabled, j.disabled_in_directory, j.waiting, j.still_in_scope, j.not_visible, j.expected, j.failure_reason, j.failure_message, j.withheld_users, j.withheld_message, j.hold_reason, j.hold_message, j.hold_users, j.hold_etag, j.held_at, j.hold_expires_at, j.hold_decision, j.hold_decided_by, j.hold_checks, j.started_by, j.stopped_by, j.created_at, j.started_at, j.progress_at, j.ended_at, j.kind, o.id AS origin, j.plan_expires_at, j.plan_reason, j.plan_message, j.warnings, j.settings IS NOT NULL AS of_draft FROM sync_jobs j LEFT JOIN sync_jobs o ON o.job_no = j.origin JOIN tenants t ON t.tenant_no = j.tenant_no JOIN identity_sources s ON s.source_no = j.source_no WHERE j.source_no = $1 AND j.id = $2
SELECT j.job_no, j.id, t.id AS tenant, j.tenant_no, s.id AS source, j.source_no, j.state, j.phase, j.revision, j.router, j.reads, j.added, j.updated, j.unchanged, j.disabled, j.not_synchronized, j.reenabled, j.disabled_in_directory, j.waiting, j.still_in_scope, j.not_visible, j.expected, j.failure_reason, j.failure_message, j.withheld_users, j.withheld_message, j.hold_reason, j.hold_message, j.hold_users, j.hold_etag, j.held_at, j.hold_expires_at, j.hold_decision, j.hold_decided_by, j.hold_checks, j.started_by, j.stopped_by, j.created_at, j.started_at, j.progress_at, j.ended_at, j.kind, o.id AS origin, j.plan_expires_at, j.plan_reason, j.plan_message, j.warnings, j.settings IS NOT NULL AS of_draft FROM sync_jobs j LEFT JOIN sync_jobs o ON o.job_no = j.origin JOIN tenants t ON t.tenant_no = j.tenant_no JOIN identity_sources s ON s.source_no = j.source_no WHERE j.source_no = $1 AND j.job_no < $2 ORDER BY j.job_no DESC LIMIT $3
SELECT j.job_no, j.id, t.id AS tenant, j.tenant_no, s.id AS source, j.source_no, j.state, j.phase, j.revision, j.router, j.reads, j.added, j.updated, j.unchanged, j.disabled, j.not_synchronized, j.reenabled, j.disabled_in_directory, j.waiting, j.still_in_scope, j.not_visible, j.expected, j.failure_reason, j.failure_message, j.withheld_users, j.withheld_message, j.hold_reason, j.hold_message, j.hold_users, j.hold_etag, j.held_at, j.hold_expires_at, j.hold_decision, j.hold_decided_by, j.hold_checks, j.started_by, j.stopped_by, j.created_at, j.started_at, j.progress_at, j.ended_at, j.kind, o.id AS origin, j.plan_expires_at, j.plan_reason, j.plan_message, j.warnings, j.settings IS NOT NULL AS of_draft FROM sync_jobs j LEFT JOIN sync_jobs o ON o.job_no = j.origin JOIN tenants t ON t.tenant_no = j.tenant_no JOIN identity_sources s ON s.source_no = j.source_no WHERE j.source_no = $1 ORDER BY j.job_no DESC LIMIT 1
SELECT j.job_no, j.state, j.phase, j.reads FROM sync_jobs j WHERE j.source_no = $1 AND j.kind <> 2 ORDER BY j.job_no DESC LIMIT 1
SELECT j.job_no, j.tenant_no, COALESCE(j.read_at, 0) AS read_at, COALESCE(s.synced_at, 0) AS synced_at FROM sync_jobs j JOIN identity_sources s ON s.source_no = j.source_no WHERE j.source_no = $1 AND j.revision = $2 AND j.settings = $3 AND j.plan_expires_at > $4 AND j.kind = $5 AND j.state = $6 AND j.both_ids = 1 ORDER BY j.job_no DESC LIMIT 1
SELECT j.job_no, t.id AS tenant, s.id AS source, j.created_at, j.progress_at, j.kind, (SELECT l.router FROM sync_jobs l WHERE l.source_no = j.source_no AND l.router IS NOT NULL ORDER BY l.job_no DESC LIMIT 1) AS last_router FROM sync_jobs j JOIN tenants t ON t.tenant_no = j.tenant_no JOIN identity_sources s ON s.source_no = j.source_no WHERE j.state = 1 OR (j.state = 2 AND j.lease_expires_at <= $1) ORDER BY j.job_no LIMIT $2
SELECT j.read_at FROM sync_jobs j JOIN users u ON u.source_no = j.source_no WHERE u.tenant_no = $1 AND u.user_no = $2 AND j.state = 3 AND j.kind IN (1, 3) AND j.withheld_users IS NULL AND j.read_at IS NOT NULL AND j.lists_gone = 0 AND u.added_job <= j.job_no AND NOT EXISTS (SELECT 1 FROM job_details d WHERE d.job_no = j.job_no AND d.category = 4 AND d.immutable_id = u.immutable_id) ORDER BY j.job_no DESC LIMIT 1
SELECT job_no FROM sync_jobs WHERE source_no = $1 AND request_id = $2
SELECT job_no FROM sync_jobs WHERE source_no = $1 AND state = 6
SELECT job_no FROM sync_jobs WHERE state = 6 AND hold_expires_at <= $1 LIMIT 1
SELECT job_no FROM sync_jobs WHERE tenant_no = $1 AND state = 2 ORDER BY job_no FOR UPDATE
SELECT job_no FROM sync_jobs WHERE tenant_no = $1 AND state IN (1, 2, 6) ORDER BY job_no
SELECT job_no FROM sync_jobs j WHERE plan_expires_at IS NOT NULL AND plan_expires_at <= $1 AND (EXISTS (SELECT 1 FROM plan_entries e WHERE e.job_no = j.job_no) OR EXISTS (SELECT 1 FROM id_pairs p WHERE p.job_no = j.job_no)) AND NOT EXISTS (SELECT 1 FROM sync_jobs a WHERE a.source_no = j.source_no AND a.origin = j.job_no AND a.state IN (1, 2)) LIMIT 1
SELECT job_no, position, user_name, mail, message FROM job_details WHERE category = 4 AND immutable_id IS NULL AND user_no IS NULL AND reason <> 16 AND (job_no > $2 OR (job_no = $2 AND position > $3)) AND job_no IN (SELECT job_no FROM sync_jobs WHERE source_no = $1) ORDER BY job_no, position LIMIT $4
SELECT job_no, state, phase, reads FROM sync_jobs WHERE source_no = $1 AND state IN (1, 2, 6) ORDER BY job_no FOR UPDATE
SELECT kind, state, plan_expires_at FROM sync_jobs WHERE job_no = $1
SELECT license_limit - enabled_users FROM tenants WHERE tenant_no = $1
SELECT license_limit - enabled_users FROM tenants WHERE tenant_no = $1 FOR UPDATE
SELECT license_limit FROM tenants WHERE id = $1 FOR UPDATE
SELECT number, id, event, body, created_at, attempts FROM webhook_messages WHERE webhook_no = $1 AND next_attempt_at <= $2 ORDER BY number LIMIT 1
SELECT o.job_no, COALESCE(o.ended_at, 0) FROM sync_jobs j JOIN sync_jobs o ON o.job_no = j.origin WHERE j.job_no = $1
SELECT older_entries FROM sync_jobs WHERE job_no = $1
SELECT p.certificate, p.address, r.id, r.sources FROM tenants t JOIN replica_routers c ON c.tenant_no = t.tenant_no JOIN replicas p ON p.certificate = c.certificate JOIN identity_routers r ON r.tenant_no = t.tenant_no AND r.id = c.router WHERE t.id = $1 AND p.certificate <> $2 AND p.heard_at >= $3 AND r.state = $4 ORDER BY p.heard_at DESC, r.id
SELECT position, category, user_no, immutable_id, COALESCE(after_values, before_values) AS shown FROM plan_entries WHERE job_no = (SELECT origin FROM sync_jobs WHERE job_no = $1) AND category IN (1, 2, 3) AND taken_by <> $1 ORDER BY position LIMIT $2
SELECT position, category, user_no, immutable_id, before_status, before_values, after_values, after_status, reason, message FROM plan_entries WHERE job_no = $1 AND position > $2 AND ($3 = 0 OR category = $3) ORDER BY position LIMIT $4
SELECT published, published_revision, last_read, last_read_revision, enabled_users FROM identity_sources WHERE source_no = $1
SELECT published_revision FROM identity_sources WHERE source_no = $1 FOR UPDATE
SELECT r.id, r.state, r.state_message, r.version, r.connected, r.last_seen, r.created_at, r.certificate_expires, r.generation, r.sources, r.recoveries, k.fingerprint FROM identity_routers r LEFT JOIN router_keys k ON k.tenant_no = r.tenant_no AND k.router = r.id AND k.generation = r.generation WHERE r.tenant_no = $1 AND r.id = $2
SELECT r.id, r.state, r.state_message, r.version, r.connected, r.last_seen, r.created_at, r.certificate_expires, r.generation, r.sources, r.recoveries, k.fingerprint FROM identity_routers r LEFT JOIN router_keys k ON k.tenant_no = r.tenant_no AND k.router = r.id AND k.generation = r.generation WHERE r.tenant_no = $1 AND r.id > $2 ORDER BY r.id LIMIT $3
SELECT r.state, t.suspended_at FROM identity_routers r JOIN tenants t ON t.tenant_no = r.tenant_no WHERE t.id = $1 AND r.id = $2
SELECT reason, COUNT(*) FROM job_details WHERE job_no = $1 AND category = 4 AND reason IS NOT NULL GROUP BY reason ORDER BY reason
SELECT revision, kind, settings IS NOT NULL AND both_ids = 0 FROM sync_jobs WHERE job_no = $1
SELECT s.source_no, s.id, s.display_name, s.version, s.draft, s.published, s.published_revision, s.created_at, s.updated_at, s.published_at, s.sync_due_at FROM identity_sources s JOIN tenants t ON t.tenant_no = s.tenant_no WHERE t.id = $1 AND s.id = $2
SELECT s.source_no, s.id, s.display_name, s.version, s.draft, s.published, s.published_revision, s.created_at, s.updated_at, s.published_at, s.sync_due_at FROM identity_sources s JOIN tenants t ON t.tenant_no = s.tenant_no WHERE t.id = $1 AND s.id = $2 FOR UPDATE OF s
SELECT s.source_no, s.id, s.display_name, s.version, s.draft, s.published, s.published_revision, s.created_at, s.updated_at, s.published_at, s.sync_due_at FROM identity_sources s JOIN tenants t ON t.tenant_no = s.tenant_no WHERE t.id = $1 AND s.id > $2 ORDER BY s.id LIMIT $3
SELECT sequence, event_time, type, outcome, actor, via, address, subject, details, hash FROM audit_events WHERE tenant_no = $1 AND sequence < $2 AND ($3 = 0 OR type = ANY($4::BIGINT[])) AND (CAST($5 AS TEXT) IS NULL OR actor = $5) AND (CAST($6 AS TEXT) IS NULL OR subject = $6 OR SUBSTR(subject, 1, LENGTH(CAST($6 AS TEXT)) + 1) = CAST($6 AS TEXT) || '/') AND (CAST($7 AS BIGINT) IS NULL OR outcome = $7) AND event_time >= $8 AND event_time < $9 ORDER BY sequence DESC LIMIT $10
SELECT sequence, event_time, type, outcome, actor, via, address, subject, details, hash FROM audit_events WHERE tenant_no = $1 AND sequence > $2 ORDER BY sequence LIMIT $3
SELECT sequence, event_time, type, outcome, actor, via, address, subject, details, hash FROM audit_events WHERE tenant_no = $1 AND sequence >= $2 AND ($3 = 0 OR type = ANY($4::BIGINT[])) AND (CAST($5 AS TEXT) IS NULL OR actor = $5) AND (CAST($6 AS TEXT) IS NULL OR subject = $6 OR SUBSTR(subject, 1, LENGTH(CAST($6 AS TEXT)) + 1) = CAST($6 AS TEXT) || '/') AND (CAST($7 AS BIGINT) IS NULL OR outcome = $7) AND event_time >= $8 AND event_time < $9 ORDER BY sequence ASC LIMIT $10
SELECT sequence, hash FROM audit_heads WHERE tenant_no = $1
SELECT sequence, hash FROM audit_heads WHERE tenant_no = $1 FOR UPDATE
SELECT settings FROM sync_jobs WHERE job_no = $1
SELECT source_no FROM users WHERE tenant_no = $1 AND user_no = $2
SELECT state FROM identity_routers WHERE tenant_no = $1 AND id = $2 FOR SHARE
SELECT state FROM sync_jobs WHERE job_no = $1 FOR UPDATE
SELECT state, generation, confirmed, enrolled_generation, recoveries, sources FROM identity_routers WHERE tenant_no = $1 AND id = $2 FOR UPDATE
SELECT status_job FROM users WHERE tenant_no = $1 AND user_no = $2
SELECT t.id, r.id, r.state, r.enrolled_generation FROM identity_routers r JOIN tenants t ON t.tenant_no = r.tenant_no WHERE r.state_changed_at >= $1
SELECT t.id, s.id FROM identity_sources s JOIN sync_schedules c ON c.source_no = s.source_no JOIN tenants t ON t.tenant_no = s.tenant_no WHERE s.sync_due_at IS NOT NULL AND s.due_queued_at <= $1 AND s.published IS NOT NULL AND c.next_run_at IS NOT NULL AND t.suspended_at IS NULL AND NOT EXISTS (SELECT 1 FROM sync_jobs j WHERE j.source_no = s.source_no AND j.state IN (1, 2, 6)) ORDER BY s.sync_due_at LIMIT $2
SELECT t.id, s.id, c.schedule, c.version, c.next_planned_at, c.next_run_at FROM sync_schedules c JOIN identity_sources s ON s.source_no = c.source_no JOIN tenants t ON t.tenant_no = s.tenant_no WHERE c.next_run_at <= $1 AND t.suspended_at IS NULL ORDER BY c.next_run_at LIMIT $2
SELECT t.id, s.id, s.source_no FROM identity_sources s JOIN tenants t ON t.tenant_no = s.tenant_no WHERE t.suspended_at IS NULL AND EXISTS (SELECT 1 FROM users u WHERE u.source_no = s.source_no AND u.purge_at <= $1) ORDER BY s.source_no LIMIT $2
SELECT t.id, t.tenant_no, deletion_pending_period, deletion_disabled_for, deletion_unused_for FROM tenants t WHERE t.suspended_at IS NULL AND t.tenant_no > $1 AND (t.deletion_disabled_for IS NOT NULL OR t.deletion_unused_for IS NOT NULL OR EXISTS (SELECT 1 FROM users u WHERE u.tenant_no = t.tenant_no AND u.mark_reason > 1)) ORDER BY t.tenant_no LIMIT $2
SELECT t.tenant_no, t.jit_enabled, t.jit_deadline, t.jit_last_known_max_age, t.suspended_at FROM tenants t WHERE t.id = $1
SELECT t.tenant_no, t.jit_enabled, t.jit_deadline, t.jit_last_known_max_age, t.suspended_at, u.user_no, s.id AS source, u.immutable_id, u.user_name, u.mail, u.first_name, u.last_name, u.display_name, u.phone, u.distinguished_name, u.policy_attributes, u.status, u.created_at, u.updated_at, u.disabled_at, u.absence, u.last_sign_in_at, u.marked_at, u.purge_at, u.marked_by, u.mark_reason, u.absent_since, u.warnings, u.digest, u.observed_at, u.fetched_job, u.fetched_stage, u.absent_job, u.absent_stage, s.source_no, s.published_revision FROM users u JOIN identity_sources s ON s.source_no = u.source_no JOIN tenants t ON t.tenant_no = u.tenant_no WHERE u.tenant_no = $1 AND u.user_no = COALESCE((SELECT user_no FROM users WHERE user_name_key = $2), (SELECT user_no FROM users WHERE mail_key = $3)) AND t.id = $4
SELECT tenant_no FROM tenants WHERE id = $1
SELECT tenant_no, deletion_owner, deletion_lease_expires_at, suspended_at FROM tenants WHERE id = $1 FOR UPDATE
SELECT tenant_no, license_limit, enabled_users, license_level FROM tenants WHERE id = $1
SELECT tenant_no, source_no FROM sync_jobs WHERE job_no = $1
SELECT tenant_no, source_no, added, updated FROM sync_jobs WHERE job_no = $1
SELECT tenant_no, source_no, epoch, held_at, read_facts FROM sync_jobs WHERE job_no = $1 AND owner = $2 AND state = 2 AND hold_decision = 1 FOR UPDATE
SELECT tenant_no, source_no, epoch, revision, reads, kind, settings, origin FROM sync_jobs WHERE job_no = $1 AND owner = $2 AND state = 2 FOR UPDATE
SELECT tenant_no, suspended_at FROM tenants WHERE id = $1
SELECT tenant_no, suspended_at FROM tenants WHERE id = $1 FOR UPDATE
SELECT u.user_no FROM plan_entries e JOIN users u ON u.tenant_no = $2 AND u.user_no = e.user_no WHERE e.job_no = (SELECT origin FROM sync_jobs WHERE job_no = $1) AND e.category = 3 AND u.digest = e.before_digest AND u.status = e.before_status AND e.user_no = ANY($3::BIGINT[])
SELECT u.user_no, s.id AS source, u.immutable_id, u.user_name, u.mail, u.first_name, u.last_name, u.display_name, u.phone, u.distinguished_name, u.policy_attributes, u.status, u.created_at, u.updated_at, u.disabled_at, u.absence, u.last_sign_in_at, u.marked_at, u.purge_at, u.marked_by, u.mark_reason, u.absent_since, u.warnings FROM users u JOIN identity_sources s ON s.source_no = u.source_no WHERE u.tenant_no = $1 AND u.user_no = $2
SELECT u.user_no, s.id AS source, u.immutable_id, u.user_name, u.mail, u.first_name, u.last_name, u.display_name, u.phone, u.distinguished_name, u.policy_attributes, u.status, u.created_at, u.updated_at, u.disabled_at, u.absence, u.last_sign_in_at, u.marked_at, u.purge_at, u.marked_by, u.mark_reason, u.absent_since, u.warnings FROM users u JOIN identity_sources s ON s.source_no = u.source_no WHERE u.tenant_no = $1 AND u.user_no = ANY($2::BIGINT[]) ORDER BY u.user_no
SELECT u.user_no, s.id AS source, u.immutable_id, u.user_name, u.mail, u.first_name, u.last_name, u.display_name, u.phone, u.distinguished_name, u.policy_attributes, u.status, u.created_at, u.updated_at, u.disabled_at, u.absence, u.last_sign_in_at, u.marked_at, u.purge_at, u.marked_by, u.mark_reason, u.absent_since, u.warnings FROM users u JOIN identity_sources s ON s.source_no = u.source_no WHERE u.tenant_no = $1 AND u.user_no > $2 AND ($3 = '' OR s.id = $3) AND ($4 < 0 OR (u.status = 1) = ($4 = 1)) AND ($5 = '' OR u.user_name ILIKE $5 ESCAPE '!' OR u.mail ILIKE $5 ESCAPE '!' OR u.display_name ILIKE $5 ESCAPE '!') AND ($7 = 0 OR u.purge_at IS NOT NULL) AND ($8 = 0 OR u.absent_since IS NOT NULL) ORDER BY u.user_no LIMIT $6
SELECT u.user_no, s.id AS source, u.immutable_id, u.user_name, u.mail, u.first_name, u.last_name, u.display_name, u.phone, u.distinguished_name, u.policy_attributes, u.status, u.created_at, u.updated_at, u.disabled_at, u.absence, u.last_sign_in_at, u.marked_at, u.purge_at, u.marked_by, u.mark_reason, u.absent_since, u.warnings, u.digest, u.observed_at, u.fetched_job, u.fetched_stage, u.absent_job, u.absent_stage, s.source_no, s.published_revision FROM users u JOIN identity_sources s ON s.source_no = u.source_no WHERE u.tenant_no = $1 AND u.user_no = $2
SELECT u.user_no, s.id AS source, u.immutable_id, u.user_name, u.mail, u.first_name, u.last_name, u.display_name, u.phone, u.distinguished_name, u.policy_attributes, u.status, u.created_at, u.updated_at, u.disabled_at, u.absence, u.last_sign_in_at, u.marked_at, u.purge_at, u.marked_by, u.mark_reason, u.absent_since, u.warnings, u.digest, u.observed_at, u.fetched_job, u.fetched_stage, u.absent_job, u.absent_stage, s.source_no, s.published_revision FROM users u JOIN identity_sources s ON s.source_no = u.source_no WHERE u.tenant_no = $1 AND u.user_no = COALESCE((SELECT user_no FROM users WHERE user_name_key = $2), (SELECT user_no FROM users WHERE mail_key = $3))
SELECT u.user_no, s.id AS source, u.immutable_id, u.user_name, u.mail, u.first_name, u.last_name, u.display_name, u.phone, u.distinguished_name, u.policy_attributes, u.status, u.created_at, u.updated_at, u.disabled_at, u.absence, u.last_sign_in_at, u.marked_at, u.purge_at, u.marked_by, u.mark_reason, u.absent_since, u.warnings, u.digest, u.observed_at, u.fetched_job, u.fetched_stage, u.absent_job, u.absent_stage, s.source_no, s.published_revision, j.job_no, j.state, j.phase, j.reads, s.sync_due_at FROM users u JOIN identity_sources s ON s.source_no = u.source_no JOIN tenants t ON t.tenant_no = u.tenant_no LEFT JOIN sync_jobs j ON j.job_no = (SELECT MAX(l.job_no) FROM sync_jobs l WHERE l.source_no = u.source_no AND l.kind <> 2) WHERE t.id = $1 AND u.user_no = $2
SELECT u.user_no, t.id, s.id FROM users u JOIN tenants t ON t.tenant_no = u.tenant_no JOIN identity_sources s ON s.source_no = u.source_no WHERE u.tenant_no = $1 AND u.user_no = ANY($2::BIGINT[])
SELECT u.user_no, u.immutable_id, c.digest, c.user_name, c.user_name_key, c.mail, c.mail_key, c.first_name, c.last_name, c.display_name, c.phone, c.distinguished_name, c.policy_attributes, c.status, CAST(1 AS BIGINT) AS mark_proved, c.warnings, CAST(NULL AS TEXT) AS entry_version, CAST(CASE WHEN u.changed_job = $1 OR u.status_job = $1 THEN 1 ELSE 0 END AS BIGINT) AS done, CAST(CASE WHEN u.updated_at > $2 OR (c.what <> 2 AND u.changed_job <> $3) OR (c.what <> 1 AND u.status_job <> $3) OR u.alone_at = u.updated_at THEN 1 ELSE 0 END AS BIGINT) AS changed_since FROM user_changes c JOIN users u ON u.tenant_no = c.tenant_no AND u.user_no = c.user_no WHERE c.job_no = $3 AND u.added_job <> $3 AND c.user_no > $4 ORDER BY c.job_no, c.user_no LIMIT $5
SELECT u.user_no, u.status, u.disabled_at, u.created_at, u.updated_at, u.observed_at, s.synced_at, u.last_sign_in_at, u.undeleted_at, u.mark_reason, u.marked_at FROM users u JOIN identity_sources s ON s.source_no = u.source_no WHERE u.tenant_no = $1 AND u.user_no = ANY($2::BIGINT[]) ORDER BY u.user_no
SELECT u.user_no, u.status, u.disabled_at, u.created_at, u.updated_at, u.observed_at, s.synced_at, u.last_sign_in_at, u.undeleted_at, u.mark_reason, u.marked_at FROM users u JOIN identity_sources s ON s.source_no = u.source_no WHERE u.tenant_no = $1 AND u.user_no > $2 AND u.mark_reason > 1 ORDER BY u.tenant_no, u.user_no LIMIT $3
SELECT u.user_no, u.status, u.disabled_at, u.created_at, u.updated_at, u.observed_at, s.synced_at, u.last_sign_in_at, u.undeleted_at, u.mark_reason, u.marked_at FROM users u JOIN identity_sources s ON s.source_no = u.source_no WHERE u.tenant_no = $1 AND u.user_no > $2 AND u.marked_at IS NULL AND (u.disabled_at <= $3 OR (u.last_sign_in_at IS NULL AND u.created_at <= $4 AND u.updated_at <= $4 AND u.observed_at <= $4 AND (u.status = 3 OR COALESCE(s.synced_at, 0) <= $4))) ORDER BY u.tenant_no, u.user_no LIMIT $5
SELECT u.user_no, u.status, u.disabled_at, u.created_at, u.updated_at, u.observed_at, s.synced_at, u.last_sign_in_at, u.undeleted_at, u.mark_reason, u.marked_at, u.immutable_id, u.user_name, u.mail, u.added_job, u.changed_job FROM users u JOIN identity_sources s ON s.source_no = u.source_no WHERE u.tenant_no = $1 AND u.source_no = $2 AND u.purge_at <= $3 ORDER BY u.purge_at, u.user_no LIMIT $4 FOR UPDATE OF u
SELECT u.user_no, u.status, u.disabled_at, u.created_at, u.updated_at, u.observed_at, s.synced_at, u.last_sign_in_at, u.undeleted_at, u.mark_reason, u.marked_at, u.immutable_id, u.user_name, u.mail, u.added_job, u.changed_job FROM users u JOIN identity_sources s ON s.source_no = u.source_no WHERE u.tenant_no = $1 AND u.user_no = $2 FOR UPDATE OF u
SELECT u.user_no, u.user_name, u.mail, u.immutable_id FROM deferred_records d JOIN sync_jobs j ON j.job_no = d.job_no JOIN users u ON u.source_no = j.source_no AND u.immutable_id = d.immutable_id WHERE d.job_no = $1 AND d.mark_proved = 1 AND j.state = 6 AND d.status = 1 AND u.status <> 1 AND u.user_no > $2 ORDER BY u.user_no LIMIT $3
SELECT user_no FROM job_details WHERE job_no = $1 AND category = $2 AND user_no IS NOT NULL ORDER BY user_no LIMIT $3
SELECT user_no FROM users WHERE source_no = $1 AND absent_since IS NOT NULL AND user_no > $2 ORDER BY user_no LIMIT $3
SELECT user_no FROM users WHERE tenant_no = $1 AND source_no = $2 AND status <> 3 ORDER BY user_no LIMIT 1 OFFSET $3
SELECT user_no, absence FROM users WHERE tenant_no = $1 AND status = 3 AND status_job = $2 AND absence IS NOT NULL AND user_no = ANY($3::BIGINT[])
SELECT user_no, entry_version FROM users WHERE tenant_no = $1 AND user_no = ANY($2::BIGINT[]) AND entry_version IS NOT NULL
SELECT user_no, immutable_id, digest, user_name, mail, first_name, last_name, display_name, phone, distinguished_name, policy_attributes, status FROM users WHERE tenant_no = $1 AND user_no = ANY($2::BIGINT[])
SELECT user_no, immutable_id, distinguished_name, status, updated_at FROM users WHERE tenant_no = $1 AND source_no = $2 AND status <> 3 AND user_no = ANY($3::BIGINT[]) ORDER BY user_no
SELECT user_no, immutable_id, user_name, mail FROM users WHERE tenant_no = $1 AND status = 1 AND user_no = ANY($2::BIGINT[]) ORDER BY user_no
SELECT user_no, immutable_id, user_name, mail, CAST(CASE WHEN updated_at > $6 OR alone_at = updated_at THEN 1 ELSE 0 END AS BIGINT), status_job FROM users WHERE tenant_no = $1 AND source_no + 0 = $2 AND added_job = $3 AND user_no > $4 ORDER BY tenant_no, user_no LIMIT $5
SELECT user_no, status FROM users WHERE tenant_no = $1 AND source_no + 0 = $2 AND status <> 3 AND user_no > $3 ORDER BY tenant_no, user_no LIMIT $4
SELECT user_no, status, distinguished_name FROM users WHERE tenant_no = $1 AND source_no + 0 = $2 AND status <> 3 AND user_no > $3 ORDER BY tenant_no, user_no LIMIT $4
SELECT user_no, status, user_name_key, mail_key FROM user_changes WHERE job_no = $1 AND user_no = ANY($2::BIGINT[])
SELECT user_no, user_name, mail FROM users WHERE tenant_no = $1 AND user_no = ANY($2::BIGINT[])
SELECT user_no, user_name, mail, first_name, last_name, display_name, phone, distinguished_name, policy_attributes FROM users WHERE tenant_no = $1 AND user_no = ANY($2::BIGINT[])
SELECT user_no, user_name, mail, immutable_id FROM users WHERE tenant_no = $1 AND user_no = ANY($2::BIGINT[]) ORDER BY user_no
SELECT user_no, user_name, mail, immutable_id, status FROM users WHERE tenant_no = $1 AND source_no = $2 AND status <> 3 AND updated_at <= $3 AND NOT (fetched_job = $4 AND fetched_stage > $5) AND user_no = ANY($6::BIGINT[]) ORDER BY user_no
SELECT user_no, user_name, mail, immutable_id, warnings FROM users WHERE source_no = (SELECT source_no FROM sync_jobs WHERE job_no = $1) AND warnings IS NOT NULL AND status <> 3 AND user_no > $2 ORDER BY user_no LIMIT $3
SELECT users.user_no, users.immutable_id, users.digest, users.status, users.user_name_key, users.mail_key, users.added_job, users.changed_job, users.fetched_job, users.fetched_stage FROM UNNEST($2::BYTEA[]) AS k(key) CROSS JOIN LATERAL (SELECT * FROM users WHERE users.source_no = $1 AND users.immutable_id = k.key LIMIT 1) AS users
SELECT users.user_no, users.immutable_id, users.digest, users.status, users.user_name_key, users.mail_key, users.added_job, users.changed_job, users.fetched_job, users.fetched_stage FROM UNNEST($2::BYTEA[]) AS k(key) CROSS JOIN LATERAL (SELECT * FROM users WHERE users.tenant_no + 0 = $1 AND users.mail_key = k.key LIMIT 1) AS users
SELECT users.user_no, users.immutable_id, users.digest, users.status, users.user_name_key, users.mail_key, users.added_job, users.changed_job, users.fetched_job, users.fetched_stage FROM UNNEST($2::BYTEA[]) AS k(key) CROSS JOIN LATERAL (SELECT * FROM users WHERE users.tenant_no + 0 = $1 AND users.user_name_key = k.key LIMIT 1) AS users
SELECT value FROM secrets WHERE name = $1
SELECT version, next_run_at FROM sync_schedules WHERE source_no = $1 FOR UPDATE
SELECT version, state FROM webhooks WHERE webhook_no = $1 FOR UPDATE
SELECT w.webhook_no FROM webhooks w JOIN tenants t ON t.tenant_no = w.tenant_no WHERE w.pending > 0 AND w.state = 1 AND w.lease_expires_at <= $1 AND w.blocked_until <= $1 AND t.suspended_at IS NULL AND EXISTS (SELECT 1 FROM webhook_messages m WHERE m.webhook_no = w.webhook_no AND m.next_attempt_at <= $1) ORDER BY w.lease_expires_at, w.webhook_no LIMIT $2
SELECT w.webhook_no, t.id AS tenant, w.id, w.uid, w.display_name, w.url, w.events, w.state, w.version, w.secret, w.previous_secret, w.previous_until, w.pending, w.given_up, w.blocked_until, w.succeeded_at, w.failed_at, w.failure, w.failure_status, w.created_at, w.updated_at, (SELECT MIN(m.next_attempt_at) FROM webhook_messages m WHERE m.webhook_no = w.webhook_no) AS next_attempt_at FROM webhooks w JOIN tenants t ON t.tenant_no = w.tenant_no WHERE t.id = $1 AND w.id = $2
SELECT w.webhook_no, t.id AS tenant, w.id, w.uid, w.display_name, w.url, w.events, w.state, w.version, w.secret, w.previous_secret, w.previous_until, w.pending, w.given_up, w.blocked_until, w.succeeded_at, w.failed_at, w.failure, w.failure_status, w.created_at, w.updated_at, (SELECT MIN(m.next_attempt_at) FROM webhook_messages m WHERE m.webhook_no = w.webhook_no) AS next_attempt_at FROM webhooks w JOIN tenants t ON t.tenant_no = w.tenant_no WHERE t.id = $1 AND w.id > $2 ORDER BY w.id LIMIT $3
SELECT w.webhook_no, t.id AS tenant, w.id, w.uid, w.display_name, w.url, w.events, w.state, w.version, w.secret, w.previous_secret, w.previous_until, w.pending, w.given_up, w.blocked_until, w.succeeded_at, w.failed_at, w.failure, w.failure_status, w.created_at, w.updated_at, (SELECT MIN(m.next_attempt_at) FROM webhook_messages m WHERE m.webhook_no = w.webhook_no) AS next_attempt_at FROM webhooks w JOIN tenants t ON t.tenant_no = w.tenant_no WHERE w.webhook_no = $1
SELECT webhook_no, uid, events, pending, last_message FROM webhooks WHERE tenant_no = $1 AND state = 1 ORDER BY webhook_no FOR UPDATE
UPDATE audit_heads SET sequence = $2, hash = $3 WHERE tenant_no = $1
UPDATE counters SET value = value + 1 WHERE name = $1 RETURNING value
UPDATE deferred_records SET queue = $2 WHERE job_no = $1 AND immutable_id = ANY($3::BYTEA[])
UPDATE deferred_records SET queue = 1 WHERE job_no = $1 AND queue = 8
UPDATE deferred_records SET queue = CASE WHEN queue IN (4, 6) THEN 2 ELSE 1 END WHERE job_no = $1 AND immutable_id = ANY($2::BYTEA[])
UPDATE deferred_records SET queue = CASE WHEN queue IN (4, 6) THEN 2 ELSE 1 END WHERE job_no = $1 AND queue BETWEEN 4 AND 8
UPDATE deferred_records SET queue = queue + $2 WHERE job_no = $1 AND immutable_id = ANY($3::BYTEA[])
UPDATE deferred_records SET queue = queue - CASE WHEN queue > 20 THEN 20 ELSE 10 END WHERE job_no = $1 AND queue > 10
UPDATE id_pairs AS p SET user_no = (SELECT u.user_no FROM users u WHERE u.source_no = $2 AND u.immutable_id = p.former_id) WHERE p.job_no = $1 AND p.clashes = 0 AND length(p.former_id) > 0 AND length(p.new_id) > 0 AND EXISTS (SELECT 1 FROM id_pairs o WHERE o.job_no = $1 AND o.new_id = p.former_id)
UPDATE id_pairs SET clashes = 1 WHERE job_no = $1 AND ((length(former_id) > 0 AND former_id IN (SELECT former_id FROM id_pairs WHERE job_no = $1 AND length(former_id) > 0 GROUP BY former_id HAVING COUNT(*) > 1)) OR (length(new_id) > 0 AND new_id IN (SELECT new_id FROM id_pairs WHERE job_no = $1 AND length(new_id) > 0 GROUP BY new_id HAVING COUNT(*) > 1)))
UPDATE identity_routers SET certificate_expires = $3 WHERE tenant_no = $1 AND id = $2
UPDATE identity_routers SET confirmed = $3 WHERE tenant_no = $1 AND id = $2
UPDATE identity_routers SET connected = 0, last_seen = $3 WHERE tenant_no = $1 AND id = $2
UPDATE identity_routers SET generation = $3, confirmed = $4, recoveries = $5 WHERE tenant_no = $1 AND id = $2
UPDATE identity_routers SET state = $3, state_message = $4, state_changed_at = $5 WHERE tenant_no = $1 AND id = $2
UPDATE identity_routers SET state = 1, state_message = '', state_changed_at = $3, generation = $4, enrolled_generation = $4, confirmed = $4, sources = $5, recoveries = 0 WHERE tenant_no = $1 AND id = $2
UPDATE identity_routers SET version = $3, connected = 1, last_seen = $4 WHERE tenant_no = $1 AND id = $2
UPDATE identity_sources SET display_name = $2, draft = $3, version = version + 1, updated_at = $4 WHERE source_no = $1
UPDATE identity_sources SET due_queued_at = $2 WHERE source_no = $1
UPDATE identity_sources SET enabled_users = enabled_users + $2 WHERE source_no = $1
UPDATE identity_sources SET last_read = $2, last_read_revision = published_revision WHERE source_no = $1
UPDATE identity_sources SET last_read = $2, last_read_revision = published_revision WHERE source_no = $1 AND last_read_revision <> published_revision
UPDATE identity_sources SET published = draft, published_revision = published_revision + 1, version = version + 1, published_at = $2 WHERE source_no = $1
UPDATE identity_sources SET sync_due_at = (SELECT MIN(u.absent_since) FROM users u WHERE u.source_no = $1 AND u.absent_since IS NOT NULL AND u.absent_job = $2 AND u.absent_stage >= $3) WHERE source_no = $1 AND sync_due_at IS NOT NULL
UPDATE identity_sources SET sync_due_at = COALESCE(sync_due_at, $2) WHERE source_no = $1
UPDATE identity_sources SET synced_at = j.read_at FROM sync_jobs j WHERE j.job_no = $1 AND j.read_at IS NOT NULL AND j.kind IN (1, 3) AND identity_sources.source_no = j.source_no
UPDATE job_details SET message = $2 WHERE job_no = $1 AND category = 2
UPDATE job_details SET reason = 13, message = '' WHERE job_no = $1 AND category = 4 AND immutable_id IS NOT NULL AND immutable_id = ANY($2::BYTEA[])
UPDATE job_details SET user_no = NULL, user_name = '', mail = '', immutable_id = NULL, entry_key = NULL, reason = 16, message = '' WHERE category = 4 AND job_no IN (SELECT job_no FROM sync_jobs WHERE source_no = $1) AND (user_no = ANY($2::BIGINT[]) OR immutable_id = ANY($3::BYTEA[]))
UPDATE job_details SET user_no = NULL, user_name = '', mail = '', immutable_id = NULL, entry_key = NULL, reason = 16, message = '' WHERE job_no = $1 AND category = 4 AND position = $2
UPDATE plan_entries SET taken_by = $1 WHERE job_no = (SELECT origin FROM sync_jobs WHERE job_no = $1) AND category <> 3 AND immutable_id = ANY($2::BYTEA[])
UPDATE plan_entries SET taken_by = $1 WHERE job_no = (SELECT origin FROM sync_jobs WHERE job_no = $1) AND category = 3 AND user_no = ANY($2::BIGINT[])
UPDATE plan_entries SET taken_by = $1 WHERE job_no = (SELECT origin FROM sync_jobs WHERE job_no = $1) AND position = ANY($2::BIGINT[])
UPDATE registration_codes SET used_at = $2, used_key = $3 WHERE secret_hash = $1
UPDATE registration_codes SET voided_at = $3 WHERE tenant_no = $1 AND id = $2
UPDATE registration_codes SET voided_at = $3 WHERE tenant_no = $1 AND id = $2 AND used_at IS NULL AND voided_at IS NULL AND expires_at >= $3
UPDATE registration_codes SET voided_at = $3 WHERE tenant_no = $1 AND router = $2 AND used_at IS NULL AND voided_at IS NULL
UPDATE replicas SET heard_at = $2, address = $3 WHERE certificate = $1
UPDATE single_disables SET user_no = (SELECT COALESCE(MIN(o.user_no), 0) - 1 FROM single_disables o WHERE o.source_no = $1 AND o.disabled_at = $2 AND o.user_no < 0) WHERE source_no = $1 AND disabled_at = $2 AND user_no = $3
UPDATE sync_jobs SET added = $2, updated = $3, reenabled = (SELECT COUNT(*) FROM user_changes c JOIN users u ON u.tenant_no = c.tenant_no AND u.user_no = c.user_no WHERE c.job_no = $1 AND c.what IN (1, 3) AND c.status <> 1 AND u.status = 1), disabled_in_directory = (SELECT COUNT(*) FROM users u LEFT JOIN user_changes c ON c.job_no = $1 AND c.user_no = u.user_no WHERE u.tenant_no = $4 AND u.source_no = $5 AND u.status = 2 AND (u.added_job = $1 OR (u.changed_job = $1 AND c.status = 1))) WHERE job_no = $1
UPDATE sync_jobs SET added = 0, updated = 0, disabled = 0, reenabled = 0, disabled_in_directory = 0 WHERE job_no = $1
UPDATE sync_jobs SET added = added + $2, updated = updated + $3, unchanged = unchanged + $4, disabled = disabled + $5, not_synchronized = not_synchronized + $6, reenabled = reenabled + $7, disabled_in_directory = disabled_in_directory + $8, waiting = waiting + $9, still_in_scope = still_in_scope + $12, not_visible = not_visible + $14, progress_at = CASE WHEN $13 > progress_at THEN $13 ELSE progress_at END, reserve = CASE WHEN $10 < 0 THEN reserve ELSE $10 END, quota = CASE WHEN $11 < 0 THEN quota ELSE $11 END WHERE job_no = $1
UPDATE sync_jobs SET epoch = epoch + 1 WHERE job_no = $1
UPDATE sync_jobs SET epoch = epoch + 1 WHERE source_no = $1 AND state IN (1, 2)
UPDATE sync_jobs SET epoch = epoch + 1 WHERE tenant_no = $1 AND state = 2 AND router = $2
UPDATE sync_jobs SET epoch = epoch + 1, phase = 2, progress_at = $2 WHERE job_no = $1
UPDATE sync_jobs SET epoch = epoch + 1, reads = reads + 1, phase = 1, router = $2, started_at = COALESCE(started_at, $3), unchanged = 0, not_synchronized = 0, waiting = 0, still_in_scope = 0, not_visible = 0, older_entries = 0, doubts = $9, progress_at = $3, read_at = $3, expected = $4, reserve = $5, quota = $6, sync_limit = $7, beyond_limit = $8, both_ids = $10 WHERE job_no = $1
UPDATE sync_jobs SET epoch = epoch + 1, reads = reads + 1, phase = 1, started_at = COALESCE(started_at, $2), unchanged = 0, not_synchronized = 0, waiting = 0, progress_at = $2, read_at = $2, expected = $3, reserve = 0 WHERE job_no = $1
UPDATE sync_jobs SET lease_expires_at = $3 WHERE job_no = $1 AND owner = $2 AND state = 2
UPDATE sync_jobs SET lists_gone = 1 WHERE lists_gone = 0 AND job_no IN (SELECT job_no FROM sync_jobs WHERE source_no = $1 AND kind <> 2 AND created_at < $3 AND COALESCE(plan_expires_at, 0) <= $4 AND job_no <> COALESCE((SELECT n.origin FROM sync_jobs n WHERE n.job_no = $5), 0) AND job_no < (SELECT MIN(job_no) FROM (SELECT job_no FROM sync_jobs WHERE source_no = $1 AND kind <> 2 ORDER BY job_no DESC LIMIT $2) AS newest))
UPDATE sync_jobs SET older_entries = older_entries + $2 WHERE job_no = $1
UPDATE sync_jobs SET phase = 2 WHERE job_no = $1
UPDATE sync_jobs SET plan_expires_at = $2, plan_reason = $3, plan_message = $4, hold_checks = $5 WHERE job_no = $1
UPDATE sync_jobs SET state = $2, phase = NULL, failure_reason = $3, failure_message = $4, withheld_users = $5, withheld_message = $6, ended_at = $7, progress_at = $7, read_facts = NULL, waiting = 0 WHERE job_no = $1
UPDATE sync_jobs SET state = 2, owner = $2, lease_expires_at = $3, epoch = epoch + 1 WHERE job_no = $1 AND (state = 1 OR (state = 2 AND lease_expires_at <= $4))
UPDATE sync_jobs SET state = 2, phase = 2, hold_decision = 1, hold_decided_by = $2, epoch = epoch + 1, progress_at = $3 WHERE job_no = $1
UPDATE sync_jobs SET state = 3, phase = NULL, hold_decision = $2, hold_decided_by = $3, withheld_users = $4, withheld_message = $5, ended_at = $6, waiting = 0 WHERE job_no = $1 AND state = 6
UPDATE sync_jobs SET state = 4, phase = NULL, stopped_by = $2, ended_at = $3, waiting = 0 WHERE job_no = $1 AND state IN (1, 2, 6)
UPDATE sync_jobs SET state = 5, phase = NULL, failure_reason = $3, failure_message = $4, ended_at = $5, waiting = 0 WHERE job_no = $1 AND owner = $2 AND state = 2
UPDATE sync_jobs SET state = 6, phase = NULL, owner = '', lease_expires_at = 0, hold_reason = $2, hold_message = $3, hold_users = $4, hold_etag = $5, held_at = $6, hold_expires_at = $7, read_facts = $8, progress_at = $6, hold_checks = $9 WHERE job_no = $1
UPDATE sync_jobs SET unexplained = unexplained + $2 WHERE job_no = $1
UPDATE sync_jobs SET warnings = (SELECT COUNT(*) FROM users WHERE source_no = $2 AND warnings IS NOT NULL AND status <> 3) WHERE job_no = $1
UPDATE sync_schedules SET next_planned_at = $2, next_run_at = $3, last_planned_at = $4, last_run_at = $5, last_outcome = $6, last_job = $7 WHERE source_no = $1
UPDATE tenants SET deletion_owner = $2, deletion_lease_expires_at = $3 WHERE tenant_no = $1
UPDATE tenants SET deletion_pending_period = $2, deletion_disabled_for = $3, deletion_unused_for = $4 WHERE id = $1
UPDATE tenants SET enabled_users = enabled_users + $2 WHERE tenant_no = $1
UPDATE tenants SET jit_enabled = $2, jit_deadline = $3, jit_last_known_max_age = $4 WHERE id = $1
UPDATE tenants SET license_level = $2 WHERE tenant_no = $1
UPDATE tenants SET license_limit = $2 WHERE id = $1
UPDATE tenants SET next_user_no = next_user_no + $2 WHERE tenant_no = $1 RETURNING next_user_no - $2
UPDATE tenants SET suspended_at = $2 WHERE tenant_no = $1
UPDATE tenants SET suspended_at = NULL WHERE tenant_no = $1
UPDATE users SET absent_since = COALESCE(absent_since, $3), absent_job = $4, absent_stage = $5 WHERE tenant_no = $1 AND user_no = $2
UPDATE users SET absent_since = NULL WHERE tenant_no = $1 AND source_no = $2 AND NOT (absent_job = $3 AND absent_stage >= $4) AND user_no = ANY($5::BIGINT[])
UPDATE users SET absent_since = NULL WHERE tenant_no = $1 AND user_no = $2
UPDATE users SET digest = c.digest, user_name = c.user_name, user_name_key = c.user_name_key, mail = c.mail, mail_key = c.mail_key, first_name = c.first_name, last_name = c.last_name, display_name = c.display_name, phone = c.phone, distinguished_name = c.distinguished_name, policy_attributes = c.policy_attributes, warnings = c.warnings FROM user_changes c WHERE users.tenant_no = $1 AND users.user_no = $2 AND c.job_no = $3 AND c.user_no = $2
UPDATE users SET digest = c.digest, user_name = c.user_name, user_name_key = c.user_name_key, mail = c.mail, mail_key = c.mail_key, first_name = c.first_name, last_name = c.last_name, display_name = c.display_name, phone = c.phone, distinguished_name = c.distinguished_name, policy_attributes = c.policy_attributes, warnings = c.warnings, status = c.status, changed_job = c.changed_job, status_job = c.status_job, updated_at = c.updated_at, disabled_at = c.disabled_at FROM user_changes c WHERE users.tenant_no = $1 AND users.user_no = $2 AND c.job_no = $3 AND c.user_no = $2
UPDATE users SET immutable_id = decode('fe' || lpad(to_hex(users.user_no), 16, '0'), 'hex') WHERE tenant_no = $3 AND source_no = $2 AND (NOT EXISTS (SELECT 1 FROM id_pairs p WHERE p.job_no = $1 AND p.former_id = users.immutable_id AND p.clashes = 0 AND length(p.former_id) > 0 AND length(p.new_id) > 0) OR EXISTS (SELECT 1 FROM id_pairs p WHERE p.job_no = $1 AND p.new_id = users.immutable_id AND p.clashes = 0 AND length(p.former_id) > 0 AND length(p.new_id) > 0))
UPDATE users SET immutable_id = p.new_id FROM id_pairs p WHERE p.job_no = $1 AND p.clashes = 0 AND length(p.former_id) > 0 AND length(p.new_id) > 0 AND users.tenant_no = $2 AND users.source_no = $3 AND p.user_no IS NULL AND users.immutable_id = p.former_id
UPDATE users SET immutable_id = p.new_id FROM id_pairs p WHERE p.job_no = $1 AND p.clashes = 0 AND length(p.former_id) > 0 AND length(p.new_id) > 0 AND users.tenant_no = $2 AND users.source_no = $3 AND users.user_no = p.user_no
UPDATE users SET last_sign_in_at = $2 WHERE tenant_no = $1 AND (last_sign_in_at IS NULL OR last_sign_in_at <= $3) AND user_no = ANY($4::BIGINT[])
UPDATE users SET marked_at = $2, purge_at = $3, marked_by = $4, mark_reason = $5 WHERE tenant_no = $1 AND user_no = ANY($6::BIGINT[])
UPDATE users SET marked_at = NULL, purge_at = NULL, marked_by = NULL, mark_reason = NULL, undeleted_at = COALESCE($2, undeleted_at) WHERE tenant_no = $1 AND user_no = ANY($3::BIGINT[])
UPDATE users SET observed_at = $3, fetched_job = $4, fetched_stage = $5, absent_since = NULL WHERE tenant_no = $1 AND user_no = $2
UPDATE users SET observed_at = $3, fetched_job = $4, fetched_stage = $5, absent_since = NULL, alone_at = updated_at WHERE tenant_no = $1 AND user_no = $2
UPDATE users SET status = 2, status_job = $2, changed_job = $2, updated_at = $3, disabled_at = $3, absent_since = NULL WHERE tenant_no = $1 AND user_no = ANY($4::BIGINT[])
UPDATE users SET status = 3, user_name_key = NULL, mail_key = NULL, status_job = $2, updated_at = $3, disabled_at = COALESCE(disabled_at, $3), absence = $4, absent_since = NULL WHERE tenant_no = $1 AND user_no = ANY($5::BIGINT[])
UPDATE users SET status = 3, user_name_key = NULL, mail_key = NULL, updated_at = $3, disabled_at = COALESCE(disabled_at, $3), absence = $4, absent_since = NULL WHERE tenant_no = $1 AND user_no = $2
UPDATE users SET status_job = $3 WHERE tenant_no = $1 AND user_no = $2
UPDATE users SET user_name_key = NULL, mail_key = NULL WHERE tenant_no = $1 AND user_no = ANY($2::BIGINT[])
UPDATE webhook_messages SET attempts = attempts + 1, next_attempt_at = $3 WHERE webhook_no = $1 AND number = $2
UPDATE webhook_messages SET next_attempt_at = $2 WHERE webhook_no = $1 AND next_attempt_at > $2
UPDATE webhooks SET blocked_until = $2 WHERE webhook_no = $1
UPDATE webhooks SET blocked_until = 0 WHERE webhook_no = $1
UPDATE webhooks SET display_name = $2, url = $3, events = $4, state = $5, version = version + 1, updated_at = $6 WHERE webhook_no = $1
UPDATE webhooks SET failed_at = $2, failure = $3, failure_status = $4 WHERE webhook_no = $1
UPDATE webhooks SET given_up = given_up + 1 WHERE webhook_no = $1
UPDATE webhooks SET lease_owner = $2, lease_expires_at = $3 WHERE webhook_no = $1 AND pending > 0 AND state = 1 AND lease_expires_at <= $4 AND blocked_until <= $4 AND (SELECT COUNT(*) FROM webhooks o WHERE o.tenant_no = webhooks.tenant_no AND o.lease_expires_at > $4) < $5 AND NOT EXISTS (SELECT 1 FROM tenants t WHERE t.tenant_no = webhooks.tenant_no AND t.suspended_at IS NOT NULL)
UPDATE webhooks SET lease_owner = '', lease_expires_at = $3 WHERE webhook_no = $1 AND lease_owner = $2
UPDATE webhooks SET pending = 0, blocked_until = 0 WHERE webhook_no = $1
UPDATE webhooks SET pending = pending + 1, last_message = $2 WHERE webhook_no = $1
UPDATE webhooks SET pending = pending - 1, given_up = given_up + $2, blocked_until = 0 WHERE webhook_no = $1
UPDATE webhooks SET previous_secret = $3, previous_until = $4, secret = $2, version = version + 1, updated_at = $5 WHERE webhook_no = $1
UPDATE webhooks SET state = $2, given_up = given_up + $3, version = version + 1, updated_at = $4 WHERE webhook_no = $1
UPDATE webhooks SET succeeded_at = $2, blocked_until = 0 WHERE webhook_no = $1
UPDATE webhooks SET tested_at = $2 WHERE webhook_no = $1 AND tested_at <= $3
