//! Keeps the layers that ARCHITECTURE.md draws, transport and SQL out of the code that decides, and
//! SQL and row locks in their places in the store.

use std::fs;
use std::path::{Path, PathBuf};

use harness::imports::{self, Imports, circles, folder_circles, unplaced, upward, without_faces};

const NONE: [&str; 0] = [];

fn src() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

fn imports() -> Imports {
    without_faces(&imports::read(&src()).expect("the imports of this crate"))
}

#[test]
fn no_files_import_each_other_in_a_circle() {
    assert_eq!(circles(&imports()), Vec::<Vec<String>>::new());
}

#[test]
fn no_neighbours_in_a_folder_import_each_other_in_a_circle() {
    assert_eq!(folder_circles(&imports()), Vec::<Vec<String>>::new());
}

#[test]
fn every_file_has_a_layer_and_imports_no_higher_one() {
    let (imports, layers) = (imports(), imports::layers("control-plane").expect("the page's layers"));
    assert!(layers.len() > 10 && imports.len() > 200, "the test looks where the sources are");
    assert_eq!(unplaced(&imports, &layers), NONE, "name its layer in ARCHITECTURE.md");
    assert_eq!(upward(&imports, &layers), NONE, "a file imports only from its own layer or lower ones");
}

fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder of sources") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            files.extend(sources(&path));
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            files.push(path);
        }
    }
    files
}

/// Lines of code, not comments, of these files that have one of these words.
fn lines_with(files: &[PathBuf], words: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    for file in files {
        let text = fs::read_to_string(file).expect("a source file");
        for line in text.lines().filter(|line| !line.trim_start().starts_with("//")) {
            if words.iter().any(|word| line.contains(word)) {
                found.push(format!("{}: {}", file.display(), line.trim()));
            }
        }
    }
    found
}

fn below(folder: &str) -> Vec<PathBuf> {
    sources(&src().join(folder))
}

#[test]
fn deciding_code_knows_no_transport_no_sql_no_clock_and_does_no_io() {
    let deciding: Vec<_> = ["reconcile", "model", "enroll"].into_iter().flat_map(below).collect();
    assert!(deciding.len() > 10, "the folders are where this test looks for them");
    let words = [
        "tonic",
        "prost",
        "rollcall_proto",
        "sqlx",
        "tokio",
        "async ",
        "std::fs",
        "std::net::Tcp",
        "SystemTime",
        "Instant",
    ];
    assert_eq!(lines_with(&deciding, &words), NONE, "decide in reconcile or enroll, do it elsewhere");
}

#[test]
fn sql_is_in_the_store_alone_and_the_store_knows_no_transport() {
    let (store, others): (Vec<_>, Vec<_>) =
        below("").into_iter().partition(|file| file.components().any(|part| part.as_os_str() == "store"));
    assert_eq!(lines_with(&others, &["sqlx"]), NONE, "ask the store instead");
    assert_eq!(lines_with(&store, &["tonic", "rollcall_proto"]), NONE, "the store speaks the domain's words");
}

#[test]
fn statements_go_through_one_file_and_rows_are_locked_in_one() {
    let but = |name: &str| -> Vec<_> {
        below("store/sql").into_iter().filter(|file| !file.ends_with(name)).collect()
    };
    assert_eq!(lines_with(&but("sql/statement.rs"), &["sqlx::query"]), NONE, "use statement::query");
    let locks = ["LOCK}", "FOR UPDATE", "FOR SHARE", "SHARE}", "LOCK_SOURCE}", "LOCK_CODE}", "LOCK_USERS}"];
    assert_eq!(lines_with(&but("sql/locks.rs"), &locks), NONE, "lock rows in sql/locks.rs");
}

#[test]
fn statements_compare_columns_with_names_not_with_numbers() {
    let columns =
        ["state", "kind", "status", "phase", "category", "queue", "hold_decision", "mark_reason", "what"];
    let mut found = Vec::new();
    for file in below("store/sql") {
        let text = fs::read_to_string(&file).expect("a source file");
        for column in columns {
            for operator in [" = ", " <> ", " < ", " > ", " >= ", " <= ", " % ", " IN ("] {
                let begin = format!("{column}{operator}");
                found.extend(text.match_indices(&begin).filter_map(|(at, _)| {
                    let next = text[at + begin.len()..].chars().next()?;
                    let name = text[..at].chars().next_back().is_none_or(|before| !before.is_alphanumeric());
                    (name && next.is_ascii_digit()).then(|| format!("{}: {begin}{next}", file.display()))
                }));
            }
        }
    }
    assert_eq!(found, NONE, "name the number in store/sql/words.rs");
}

/// The order of locks on the page is the order of `locks.rs`.
#[test]
fn rows_are_locked_in_the_order_of_the_page() {
    let page = imports::block("locks").expect("the page's order of locks");
    let source = fs::read_to_string(src().join("store/sql/locks.rs")).expect("locks.rs");
    let mut after = 0;
    for table in page.lines() {
        let at = source[after..]
            .find(&format!("FROM {table}"))
            .or_else(|| source[after..].find(&format!("UPDATE {table}")));
        after += at.unwrap_or_else(|| panic!("{table} is locked in another place of locks.rs"));
    }
}

#[test]
fn a_file_can_be_read_to_its_end() {
    for file in below("") {
        let lines = fs::read_to_string(&file).expect("a source file").lines().count();
        assert!(lines <= 500, "{} has {lines} lines: split it by subject", file.display());
    }
}
