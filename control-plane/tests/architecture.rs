//! Keeps transport and SQL out of the code that decides, and SQL in the store alone.

use std::fs;
use std::path::{Path, PathBuf};

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
    sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src").join(folder))
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
    assert_eq!(
        lines_with(&deciding, &words),
        Vec::<String>::new(),
        "decide in reconcile or enroll, do it elsewhere"
    );
}

#[test]
fn sql_is_in_the_store_alone_and_the_store_knows_no_transport() {
    let (store, others): (Vec<_>, Vec<_>) =
        below("").into_iter().partition(|file| file.components().any(|part| part.as_os_str() == "store"));
    assert_eq!(lines_with(&others, &["sqlx"]), Vec::<String>::new(), "ask the store instead");
    assert_eq!(
        lines_with(&store, &["tonic", "rollcall_proto"]),
        Vec::<String>::new(),
        "the store speaks the domain's words"
    );
}

#[test]
fn a_file_can_be_read_to_its_end() {
    for file in below("") {
        let lines = fs::read_to_string(&file).expect("a source file").lines().count();
        assert!(lines <= 600, "{} has {lines} lines: split it by subject", file.display());
    }
}
