//! Every statement of the inventory is valid on its engine, and reads no large table from end to
//! end.
//!
//! `statements/scans.txt` lists the statements that do so today, each with the issue that removes
//! it: `engine | table | issue | statement`. The list may only get shorter.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use control_plane::store;
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection, Row as _, SqliteConnection};

use crate::database::{Engine, block_on};
use crate::statements::inventory;

/// Lines of the list when it was made.
const MAX_KNOWN_SCANS: usize = 11;

/// Tables that grow with users, jobs or time. Others have a row a tenant, a source or a router.
const LARGE: [&str; 11] = [
    "users",
    "user_changes",
    "deferred_records",
    "job_details",
    "absent_users",
    "plan_entries",
    "id_pairs",
    "audit_events",
    "webhook_messages",
    "single_disables",
    "sync_jobs",
];

fn known_scans() -> BTreeSet<(String, String, String)> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/store/statements/scans.txt");
    let text = fs::read_to_string(file).expect("the list of known scans");
    let lines: Vec<_> = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).collect();
    assert!(lines.len() <= MAX_KNOWN_SCANS, "the list of known scans may only get shorter");
    lines
        .into_iter()
        .map(|line| {
            let parts: Vec<_> = line.splitn(4, " | ").collect();
            assert!(parts[2].starts_with("issue "), "which issue removes it? {line}");
            (parts[0].to_owned(), parts[1].to_owned(), parts[3].to_owned())
        })
        .collect()
}

fn compare(engine: &str, found: &BTreeSet<(String, String)>) {
    let known = known_scans();
    let known: BTreeSet<_> = known
        .iter()
        .filter(|scan| scan.0 == engine)
        .map(|(_, table, text)| (table.clone(), text.clone()))
        .collect();
    let new: Vec<_> = found
        .difference(&known)
        .map(|(table, text)| format!("{engine} | {table} | issue  | {text}"))
        .collect();
    assert!(new.is_empty(), "statements that read a whole table; give them an index:\n{}", new.join("\n"));
    let gone: Vec<_> = known.difference(found).collect();
    assert!(gone.is_empty(), "these have an index now: take them off scans.txt: {gone:#?}");
}

#[test]
fn sqlite_prepares_every_statement_and_scans_no_large_table() {
    block_on(async {
        let engine = Engine::sqlite();
        let url = engine.url();
        drop(store::open(&url).await.expect("a store"));
        let mut connection = SqliteConnection::connect(&url).await.expect("a connection");
        let mut scans = BTreeSet::new();
        for text in inventory("sqlite") {
            let prepared =
                connection.prepare(sqlx::SqlStr::from_static(Box::leak(text.clone().into_boxed_str()))).await;
            prepared.map(drop).unwrap_or_else(|error| panic!("{error}: {text}"));
            let plan = sqlx::query(AssertSqlSafe(format!("EXPLAIN QUERY PLAN {text}")));
            let rows =
                plan.fetch_all(&mut connection).await.unwrap_or_else(|error| panic!("{error}: {text}"));
            for row in rows {
                let step: String = row.get("detail");
                scans.extend(scanned(&step, &text).map(|table| (table, text.clone())));
            }
        }
        compare("sqlite", &scans);
    });
}

/// The large table that a step of SQLite's plan reads from end to end: `SCAN u`, but not
/// `SCAN u USING INDEX …` for an index that holds just the rows in question.
fn scanned(step: &str, statement: &str) -> Option<String> {
    let name = step.strip_prefix("SCAN ")?.split(' ').next()?;
    let partial = [
        "sync_jobs_held",
        "sync_jobs_with_plan",
        "sync_schedules_due",
        "users_by_purge",
        "users_marked_automatically",
        "webhooks_waiting",
        "sync_jobs_one_at_a_time",
    ];
    if partial.iter().any(|index| step.ends_with(index)) {
        return None;
    }
    let table = LARGE.into_iter().find(|table| {
        name == *table
            || [" ", " AS "].iter().any(|between| {
                let alias = format!("{table}{between}{name}");
                statement.match_indices(&alias).any(|(at, _)| {
                    !statement[at + alias.len()..]
                        .starts_with(|next: char| next.is_alphanumeric() || next == '_')
                })
            })
    });
    table.map(str::to_owned)
}

#[test]
fn postgres_prepares_every_statement_and_scans_no_large_table() {
    let engine = Engine::postgres();
    block_on(async {
        let url = engine.url();
        drop(store::open(&url).await.expect("a store"));
        let mut connection = PgConnection::connect(&url).await.expect("a connection");
        // Where the planner has a way through an index, it takes it; what is left has none.
        for setting in
            ["enable_seqscan = off", "enable_bitmapscan = off", "plan_cache_mode = force_generic_plan"]
        {
            connection.execute(AssertSqlSafe(format!("SET {setting}"))).await.expect("a setting");
        }
        let mut scans = BTreeSet::new();
        for text in inventory("postgres") {
            let parameters = (1..40).take_while(|number| has_parameter(&text, *number)).count();
            let nulls = vec!["NULL"; parameters].join(", ");
            let arguments = if parameters == 0 { String::new() } else { format!("({nulls})") };
            connection
                .execute(AssertSqlSafe(format!("PREPARE s AS {text}")))
                .await
                .unwrap_or_else(|error| panic!("{error}: {text}"));
            let plan = sqlx::raw_sql(AssertSqlSafe(format!("EXPLAIN (COSTS off) EXECUTE s{arguments}")));
            let rows =
                plan.fetch_all(&mut connection).await.unwrap_or_else(|error| panic!("{error}: {text}"));
            let lines: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
            for (at, line) in lines.iter().enumerate() {
                scans.extend(read_whole(&lines, at, line).map(|table| (table, text.clone())));
            }
            connection.execute("DEALLOCATE s").await.expect("forgotten");
        }
        compare("postgres", &scans);
    });
}

fn has_parameter(text: &str, number: usize) -> bool {
    let name = format!("${number}");
    text.match_indices(&name)
        .any(|(at, _)| !text[at + name.len()..].starts_with(|next: char| next.is_ascii_digit()))
}

/// The large table that a step of PostgreSQL's plan reads from end to end: without an index, or
/// with one and no condition on it.
fn read_whole(lines: &[String], at: usize, line: &str) -> Option<String> {
    let step = line.trim_start().trim_start_matches("->").trim_start();
    let conditioned = lines[at + 1..]
        .iter()
        .take_while(|next| !next.trim_start().starts_with("->"))
        .any(|next| next.trim_start().starts_with("Index Cond:"));
    let partial = ["sync_jobs_held", "sync_jobs_with_plan", "users_by_purge", "users_marked_automatically"];
    if conditioned || partial.iter().any(|index| step.contains(index)) || !step.contains("Scan") {
        return None;
    }
    let table = step.split(" on ").nth(1)?.split(' ').next()?;
    LARGE.contains(&table).then(|| table.to_owned())
}
