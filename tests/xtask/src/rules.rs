//! Keeps the table of rules and paths in ARCHITECTURE.md true: no cell is empty, each letter in it
//! is explained, and each test or function that explains one is in the sources. That a proof shows
//! what its cell says, only a reader can tell.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use crate::tools::{sources, workspace};

/// Paths that each rule has a proof for.
const PATHS: usize = 13;
/// Where tests and functions are.
const FOLDERS: [&str; 4] = ["control-plane", "router-agent", "tests/e2e", "tests/harness"];

/// The lines of a block of the page.
fn block(name: &str) -> Vec<String> {
    let page = fs::read_to_string(workspace().join("ARCHITECTURE.md")).expect("the architecture page");
    let begin = page.lines().skip_while(|line| *line != format!("```{name}")).skip(1);
    begin.take_while(|line| *line != "```").map(str::to_owned).collect()
}

/// Each rule with the letters of its cells.
fn rules() -> Vec<(String, Vec<Vec<String>>)> {
    let words = |cell: &str| cell.split_whitespace().map(str::to_owned).collect();
    let rule = |line: &String| {
        let mut cells = line.split('|').map(str::trim);
        (cells.next().unwrap_or_default().to_owned(), cells.map(words).collect())
    };
    block("rules").iter().map(rule).collect()
}

/// What each letter stands for: `test` or `function`, and its name.
fn proofs() -> BTreeMap<String, (String, String)> {
    let proof = |line: &String| {
        let mut words = line.split_whitespace().map(|word| word.trim_end_matches(':').to_owned());
        let mut next = || words.next().unwrap_or_default();
        (next(), (next(), next()))
    };
    block("proofs").iter().map(proof).collect()
}

#[test]
fn every_rule_has_a_proof_on_every_path() {
    let (rules, proofs) = (rules(), proofs());
    assert!(rules.len() > 8, "the table is where this test looks for it");
    let mut used = BTreeSet::new();
    for (rule, cells) in &rules {
        assert_eq!(cells.len(), PATHS, "{rule}: one cell for each path");
        assert!(cells.iter().all(|cell| !cell.is_empty()), "{rule}: a cell is empty");
        if rule != "rule" {
            used.extend(cells.iter().flatten().cloned());
        }
    }
    let known: BTreeSet<String> = proofs.keys().cloned().collect();
    assert_eq!(used, known, "each letter of the table is explained once, and each that is explained is used");
}

#[test]
fn every_proof_of_a_rule_is_in_the_sources() {
    let text: String = FOLDERS.iter().map(|folder| sources(&workspace().join(folder))).collect();
    for (letter, (kind, name)) in proofs() {
        assert!(kind == "test" || kind == "function", "{letter} is a test or a function");
        assert!(text.contains(&format!("fn {name}(")), "{letter}: there is no {kind} {name}");
    }
}
