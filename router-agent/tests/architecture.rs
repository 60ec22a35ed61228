//! Keeps the layers of this crate as the header of `src/lib.rs` lists them, without circles.

use std::fs;
use std::path::{Path, PathBuf};

use harness::imports::{self, Imports, circles, folder_circles, unplaced, upward};

const NONE: [&str; 0] = [];

fn src() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

fn read() -> Imports {
    imports::read(&src()).expect("the imports of this crate")
}

/// The layers that the header of `lib.rs` lists, the top one first: the names before each colon.
fn layers() -> Vec<Vec<String>> {
    let text = fs::read_to_string(src().join("lib.rs")).expect("lib.rs");
    let lines = text.lines().filter_map(|line| line.strip_prefix("//! - ")?.split_once(": "));
    lines
        .map(|(names, _)| names.split(", ").map(|name| name.trim_matches('`').to_owned()).collect())
        .collect()
}

#[test]
fn no_files_import_each_other_in_a_circle() {
    assert_eq!(circles(&read()), Vec::<Vec<String>>::new());
}

#[test]
fn no_neighbours_in_a_folder_import_each_other_in_a_circle() {
    assert_eq!(folder_circles(&read()), Vec::<Vec<String>>::new());
}

#[test]
fn every_file_has_a_layer_and_imports_no_higher_one() {
    let (imports, layers) = (read(), layers());
    assert!(layers.len() > 5 && imports.len() > 50, "the test looks where the sources are");
    assert_eq!(unplaced(&imports, &layers), NONE, "name its layer in the header of lib.rs");
    assert_eq!(upward(&imports, &layers), NONE, "a file imports only from its own layer or lower ones");
}
