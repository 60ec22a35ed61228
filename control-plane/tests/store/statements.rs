//! The inventory of statements: `statements/sqlite.sql` and `statements/postgres.sql` hold the text
//! of every statement that the store sends, one a line.
//!
//! Each test of this suite watches the statements that it causes and fails on one that is not in
//! the inventory. To record new ones, run the suite with `ROLLCALL_RECORD_STATEMENTS=1` and review
//! what it added. `query_plans` prepares and explains all of them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{LazyLock, Mutex, PoisonError};

use control_plane::store::statements::set_observer;

/// Statements that were sent and are not in the inventory.
static UNKNOWN: Mutex<BTreeSet<(&'static str, String)>> = Mutex::new(BTreeSet::new());

static INVENTORY: LazyLock<BTreeMap<&'static str, BTreeSet<String>>> =
    LazyLock::new(|| ["sqlite", "postgres"].into_iter().map(|engine| (engine, inventory(engine))).collect());

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/store/statements")
}

/// The statements of an engine.
pub(crate) fn inventory(engine: &str) -> BTreeSet<String> {
    // Without it, `query_plans` would prepare nothing and pass.
    let text = fs::read_to_string(folder().join(format!("{engine}.sql"))).expect("the inventory");
    text.lines().filter(|line| !line.is_empty() && !line.starts_with("--")).map(str::to_owned).collect()
}

/// Starts to watch. A second call changes nothing.
pub(crate) fn watch() {
    set_observer(|engine, text| {
        let text = normalized(text);
        if INVENTORY.get(engine).is_some_and(|known| known.contains(&text)) {
            return;
        }
        UNKNOWN.lock().unwrap_or_else(PoisonError::into_inner).insert((engine, text));
    });
}

/// Fails if a statement was sent that is not in the inventory, or records it.
pub(crate) fn check() {
    let unknown = std::mem::take(&mut *UNKNOWN.lock().unwrap_or_else(PoisonError::into_inner));
    if std::env::var_os("ROLLCALL_RECORD_STATEMENTS").is_some() {
        for (engine, text) in unknown {
            let file = folder().join(format!("{engine}.sql"));
            let mut file = fs::OpenOptions::new().create(true).append(true).open(file).expect("a file");
            file.write_all(format!("{text}\n").as_bytes()).expect("a line");
        }
        return;
    }
    assert!(
        unknown.is_empty(),
        "statements that are not in tests/store/statements: {unknown:#?}\nRecord them with ROLLCALL_RECORD_STATEMENTS=1."
    );
}

/// The text with one row where it has as many as its caller had. Rows differ in their numbers
/// alone.
fn normalized(text: &str) -> String {
    let mut kept = String::with_capacity(text.len().min(4_096));
    let mut rest = text;
    while let Some(at) = rest.find("VALUES (") {
        let begin = at + "VALUES ".len();
        kept.push_str(&rest[..begin]);
        rest = &rest[begin..];
        let row = |text: &str| text.starts_with('(').then(|| text.find(')')).flatten().map(|end| end + 1);
        let Some(first) = row(rest) else { break };
        kept.push_str(&rest[..first]);
        rest = &rest[first..];
        while let Some(next) = rest.strip_prefix(", ").and_then(row) {
            rest = &rest[", ".len() + next..];
        }
    }
    kept.push_str(rest);
    kept
}

/// Text literals of the store's sources that begin as a statement does, or with a shared head, each
/// as the parts between the names that it has in braces.
fn literals() -> Vec<(PathBuf, Vec<String>)> {
    let mut found = Vec::new();
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src/store/sql")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path()) {
            if entry.is_dir() {
                folders.push(entry);
                continue;
            }
            let source = fs::read_to_string(&entry).expect("a source file");
            let code = source.lines().filter(|line| !line.trim_start().starts_with("//"));
            let code: String = code.map(|line| format!("{line}\n")).collect();
            for literal in code.split('"').skip(1).step_by(2) {
                let begins = ["SELECT ", "INSERT ", "UPDATE ", "DELETE "];
                let shared = literal.strip_prefix('{').and_then(|name| name.chars().next());
                if begins.iter().any(|begin| literal.starts_with(begin))
                    || shared.is_some_and(|first| first.is_ascii_uppercase())
                {
                    found.push((entry.clone(), parts(literal)));
                }
            }
        }
    }
    found
}

fn parts(literal: &str) -> Vec<String> {
    let mut text = String::new();
    let mut lines = literal.split("\\\n");
    text.push_str(lines.next().unwrap_or_default());
    lines.for_each(|line| text.push_str(line.trim_start()));
    text.split('{')
        .enumerate()
        .map(|(at, part)| match part.split_once('}') {
            Some((_, rest)) if at > 0 => rest.to_owned(),
            _ => part.to_owned(),
        })
        .collect()
}

fn has_in_order(statement: &str, parts: &[String]) -> bool {
    let mut rest = statement;
    parts.iter().all(|part| match rest.find(part.as_str()) {
        Some(at) => {
            rest = &rest[at + part.len()..];
            true
        }
        None => false,
    })
}

#[test]
fn every_statement_of_the_sources_is_in_both_inventories() {
    let literals = literals();
    assert!(literals.len() > 200, "the sources are where this test looks for them");
    for (engine, known) in INVENTORY.iter() {
        let missing: Vec<_> = literals
            .iter()
            .filter(|(_, parts)| !known.iter().any(|statement| has_in_order(statement, parts)))
            .collect();
        assert!(
            missing.is_empty(),
            "not in the inventory of {engine}; let a test of this suite send them: {missing:#?}"
        );
    }
}

#[test]
fn rows_of_one_statement_count_as_one() {
    assert_eq!(normalized("INSERT INTO t VALUES ($1, $2), ($1, $3)"), "INSERT INTO t VALUES ($1, $2)");
    assert_eq!(normalized("FROM (VALUES (?,?), (?,?)) AS r"), "FROM (VALUES (?,?)) AS r");
    assert_eq!(normalized("SELECT 1"), "SELECT 1");
}
