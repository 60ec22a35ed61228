//! Comments can be read beside the code: no comment of the workspace reaches beyond 100 columns.
//! rustfmt does not wrap comments, so this test holds the width.

use std::fs;
use std::path::Path;

use crate::tools::workspace;

/// The last column of a comment.
const MAX_WIDTH: usize = 100;
/// Folders that hold nothing of the project's own.
const SKIPPED: [&str; 2] = [".git", "target"];

/// What begins a comment in a file, by its name or, for scripts without an ending, its first line.
/// `None` for files that have no comments, or none that are written by hand.
fn marker(path: &Path, text: &str) -> Option<&'static str> {
    match path.extension().and_then(|ending| ending.to_str()) {
        Some("rs" | "proto") => Some("//"),
        Some("toml" | "sh") => Some("#"),
        None if text.starts_with("#!") => Some("#"),
        _ => None,
    }
}

/// Whether a line is too wide because of its comment.
fn is_too_wide(line: &str, marker: &str) -> bool {
    if line.chars().count() <= MAX_WIDTH {
        return false;
    }
    let text = line.trim_start();
    if text.starts_with("#[") || text.starts_with("#!") {
        return false;
    }
    if text.starts_with(marker) {
        // One long word, such as a URL, cannot be wrapped.
        return text.trim_start_matches(['/', '!', '#', '-', ' ']).contains(' ');
    }
    // A comment behind code. What a quote follows is a part of a string.
    line.rsplit_once(&format!(" {marker} ")).is_some_and(|(_, comment)| !comment.contains('"'))
}

/// `FILE:LINE` of each comment below a folder that is too wide, and how many files were read.
fn too_wide_below(folder: &Path, found: &mut Vec<String>) -> usize {
    let mut files = 0;
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            if !SKIPPED.iter().any(|name| path.ends_with(name)) {
                files += too_wide_below(&path, found);
            }
            continue;
        }
        // What is not text has no comments.
        let Ok(text) = fs::read_to_string(&path) else { continue };
        let Some(marker) = marker(&path, &text) else { continue };
        files += 1;
        for (at, line) in text.lines().enumerate().filter(|(_, line)| is_too_wide(line, marker)) {
            let columns = line.chars().count();
            found.push(format!("{}:{}: {columns} columns", path.display(), at + 1));
        }
    }
    files
}

#[test]
fn no_comment_is_wider_than_100_columns() {
    let mut found = Vec::new();
    let files = too_wide_below(&workspace(), &mut found);
    found.sort();
    assert!(files > 300, "the sources are where this test looks for them: {files} files");
    assert!(
        found.is_empty(),
        "{} comments are wider than {MAX_WIDTH} columns:\n{}",
        found.len(),
        found.join("\n")
    );
}

#[test]
fn wide_comments_are_told_from_wide_code() {
    let words = "a word ".repeat(20);
    for (line, marker) in [
        (format!("/// {words}"), "//"),
        (format!("    //! - {words}"), "//"),
        (format!("let a = 1; // the user's {words}"), "//"),
        (format!("# {words}"), "#"),
        (format!("a = 1 # {words}"), "#"),
    ] {
        assert!(is_too_wide(&line, marker), "{line}");
    }
    for (line, marker) in [
        (format!("let a = \"{words}\";"), "//"),
        (format!("let a = \"{words} // {words}\";"), "//"),
        (format!("#[expect(dead_code, reason = \"{words}\")]"), "#"),
        (format!("//! <https://example.com/{}>", "a".repeat(100)), "//"),
        (format!("//! - https://example.com/{}", "a".repeat(100)), "//"),
        ("// short".to_owned(), "//"),
    ] {
        assert!(!is_too_wide(&line, marker), "{line}");
    }
}
