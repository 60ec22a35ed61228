//! Keeps `tests/faults.md` true: every test that it names is in that package's sources, and its
//! counts are those of its rows. That a test proves what its row says, only a reader can tell.

use std::fs;
use std::path::{Path, PathBuf};

use crate::tools::sources;

/// Packages that have tests, and where, from the workspace's root.
const PACKAGES: [(&str, &str); 4] = [
    ("e2e", "tests/e2e"),
    ("harness", "tests/harness"),
    ("router-agent", "router-agent"),
    ("control-plane", "control-plane"),
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The tables, each with its title: the cells of its rows, without those of its head.
fn tables() -> Vec<(String, Vec<Vec<String>>)> {
    let text = fs::read_to_string(root().join("tests/faults.md")).expect("the table of faults");
    let mut tables: Vec<(String, Vec<Vec<String>>)> = Vec::new();
    for line in text.lines() {
        if let Some(title) = line.strip_prefix("## ") {
            tables.push((title.to_owned(), Vec::new()));
        } else if let (Some(row), Some((_, rows))) = (line.strip_prefix('|'), tables.last_mut()) {
            let row = row.strip_suffix('|').expect("a row ends as it begins");
            rows.push(row.split('|').map(|cell| cell.trim().to_owned()).collect());
        }
    }
    for (title, rows) in &mut tables {
        assert!(rows.len() > 2, "{title} has no rows");
        rows.drain(..2);
    }
    tables
}

/// Package and name of each test in a cell such as "partly: e2e `a_name`, router-agent `another`;
/// the rest is not tested".
fn named(cell: &str) -> Vec<(&str, &str)> {
    let parts: Vec<_> = cell.split('`').collect();
    let pairs =
        parts.chunks_exact(2).map(|pair| (pair[0].split_whitespace().next_back().unwrap_or(""), pair[1]));
    pairs.filter(|(package, _)| PACKAGES.iter().any(|(known, _)| known == package)).collect()
}

#[test]
fn every_test_that_the_table_of_faults_names_exists() {
    let sources = PACKAGES.map(|(package, folder)| (package, sources(&root().join(folder))));
    let mut tests = 0;
    for (title, rows) in tables().iter().filter(|(title, _)| title != "Count") {
        for row in rows {
            let [number, _, _, proof] = &row[..] else { panic!("{title}: {row:?} has other columns") };
            for (package, name) in named(proof) {
                let (_, text) = sources.iter().find(|(known, _)| *known == package).expect("a package");
                assert!(text.contains(&format!("fn {name}(")), "{number}: {package} has no test {name}");
                tests += 1;
            }
        }
    }
    assert!(tests > 100, "the table is where this test looks for it: {tests}");
}

#[test]
fn the_counts_of_the_table_of_faults_are_those_of_its_rows() {
    let tables = tables();
    let (count, faults) = tables.split_last().expect("tables");
    let mut all = [0; 4];
    let mut counted = Vec::new();
    for (title, rows) in faults {
        let mut sums = [0; 4];
        for row in rows {
            let proof = row.last().map(String::as_str).unwrap_or_default();
            let kind = match (named(proof).is_empty(), proof.starts_with("partly: ")) {
                (false, false) => 0,
                (false, true) => 1,
                (true, _) => 2,
            };
            let said = proof.starts_with("open: ") || proof == "not built yet";
            assert_eq!(said, kind == 2, "{row:?} names a test, or says why there is none");
            sums[kind] += 1;
            sums[3] += 1;
        }
        (0..4).for_each(|at| all[at] += sums[at]);
        counted.push((title.as_str(), sums));
    }
    counted.push(("All", all));
    let counted: Vec<_> =
        counted.iter().map(|(title, [a, b, c, d])| format!("{title} {a} {b} {c} {d}")).collect();
    let said: Vec<_> = count.1.iter().map(|row| row.join(" ")).collect();
    assert_eq!(said, counted);
}
