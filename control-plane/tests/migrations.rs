//! The migrations of SQLite and PostgreSQL make the same tables. Each SQLite step is translated to
//! PostgreSQL's dialect and compared statement by statement. Comments and spaces do not count.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// The dialect: what SQLite writes, what PostgreSQL writes, and why.
const RULES: [(&str, &str, &str); 2] = [
    ("BLOB", "BYTEA", "each engine's type for bytes"),
    ("zeroblob(32)", "decode(repeat('00', 32), 'hex')", "32 zero bytes"),
];

/// An intended difference in one statement of one step.
struct Difference {
    step: &'static str,
    statement: &'static str,
    sqlite: &'static str,
    postgres: &'static str,
    why: &'static str,
}

const DIFFERENCES: [Difference; 1] = [Difference {
    step: "0001_initial",
    statement: "CREATE TABLE users (",
    sqlite: ") WITHOUT ROWID",
    postgres: ")",
    why: "SQLite keeps users in the order of their primary key, so a look-up by number reads one \
           tree instead of two. PostgreSQL has no such tables.",
}];

/// Statements of each step, by the step's name.
type Steps = BTreeMap<String, Vec<String>>;

/// Reads all steps of an engine.
fn steps(engine: &str) -> Steps {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations").join(engine);
    let files = fs::read_dir(folder).expect("a folder of migrations");
    let step = |file: fs::DirEntry| {
        let path = file.path();
        assert!(path.extension().is_some_and(|ending| ending == "sql"), "{} is no step", path.display());
        let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
        (name, statements(&fs::read_to_string(path).expect("a step")))
    };
    files.map(|file| step(file.expect("an entry"))).collect()
}

/// Splits SQL into statements, drops comments, and writes one space for each run of white space.
fn statements(sql: &str) -> Vec<String> {
    let mut statements = vec![String::new()];
    let mut characters = sql.chars().peekable();
    let mut quoted = false;
    while let Some(character) = characters.next() {
        let current = statements.last_mut().expect("a statement");
        match character {
            '\'' => {
                quoted = !quoted;
                current.push(character);
            }
            _ if quoted => current.push(character),
            '-' if characters.peek() == Some(&'-') => {
                characters.by_ref().find(|next| *next == '\n');
                current.push(' ');
            }
            ';' => statements.push(String::new()),
            _ => current.push(character),
        }
    }
    assert!(!quoted, "a quote is not closed");
    let spaced = statements.iter().map(|text| text.split_whitespace().collect::<Vec<_>>().join(" "));
    spaced.filter(|statement| !statement.is_empty()).collect()
}

/// Replaces whole words only: `BLOB` is not in `BLOBS`.
fn replace_words(text: &str, from: &str, to: &str) -> String {
    let is_word = |character: char| character.is_alphanumeric() || character == '_';
    let mut replaced = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(from) {
        let (before, after) = (&rest[..at], &rest[at + from.len()..]);
        let cut = before.ends_with(is_word) || (from.ends_with(is_word) && after.starts_with(is_word));
        replaced += before;
        replaced += if cut { from } else { to };
        rest = after;
    }
    replaced + rest
}

/// A SQLite statement in PostgreSQL's dialect.
fn translate(step: &str, statement: &str) -> String {
    let mut text = statement.to_owned();
    for (sqlite, postgres, _) in RULES {
        text = replace_words(&text, sqlite, postgres);
    }
    for difference in DIFFERENCES.iter().filter(|difference| difference.applies(step, statement)) {
        text = text.replacen(difference.sqlite, difference.postgres, 1);
    }
    text
}

impl Difference {
    fn applies(&self, step: &str, statement: &str) -> bool {
        step == self.step && statement.starts_with(self.statement) && statement.contains(self.sqlite)
    }
}

/// What the engines do not agree on, one sentence for each.
fn disagreements(sqlite: &Steps, postgres: &Steps) -> Vec<String> {
    let mut found = Vec::new();
    for name in sqlite.keys().chain(postgres.keys()) {
        let (Some(ours), Some(theirs)) = (sqlite.get(name), postgres.get(name)) else {
            found.push(format!("{name} exists for one engine only"));
            continue;
        };
        if ours.len() != theirs.len() {
            found.push(format!(
                "{name} has {} statements on SQLite, {} on PostgreSQL",
                ours.len(),
                theirs.len()
            ));
        }
        for (ours, theirs) in ours.iter().zip(theirs) {
            let translated = translate(name, ours);
            if translated != *theirs {
                found
                    .push(format!("{name}:\nSQLite, translated: {translated}\nPostgreSQL:         {theirs}"));
            }
        }
    }
    found.sort();
    found.dedup();
    found
}

#[test]
fn both_engines_have_the_same_migrations() {
    let (sqlite, postgres) = (steps("sqlite"), steps("postgres"));
    assert!(sqlite.len() >= 11, "the steps are where this test looks for them");
    let found = disagreements(&sqlite, &postgres);
    assert!(found.is_empty(), "the engines' migrations differ:\n{}", found.join("\n"));
}

#[test]
fn every_rule_and_every_difference_is_used() {
    let sqlite = steps("sqlite");
    let all = || sqlite.iter().flat_map(|(name, list)| list.iter().map(move |text| (name, text)));
    for (ours, theirs, _) in RULES {
        assert!(all().any(|(_, text)| replace_words(text, ours, theirs) != *text), "no step has {ours}");
    }
    for difference in &DIFFERENCES {
        let uses = all().filter(|(name, text)| difference.applies(name, text)).count();
        let Difference { step, statement, why, .. } = difference;
        assert_eq!(uses, 1, "{step} has no statement {statement} with this difference: {why}");
    }
}

#[test]
fn a_change_on_one_side_only_is_found() {
    let (sqlite, postgres) = (steps("sqlite"), steps("postgres"));
    let with = |from: &str, to: &str| {
        let change = |text: &String| text.replace(from, to);
        let changed: Steps =
            postgres.iter().map(|(name, list)| (name.clone(), list.iter().map(change).collect())).collect();
        assert!(changed != postgres, "no step has {from}");
        disagreements(&sqlite, &changed).len()
    };
    assert_eq!(with("phone TEXT NOT NULL, ", ""), 3, "a column is missing in three tables");
    assert_eq!(with("heard_at BIGINT NOT NULL", "heard_at BIGINT"), 1, "a constraint is missing");
    assert_eq!(with("previous_secret BYTEA", "previous_secret TEXT"), 1, "a column has another type");
    assert_eq!(with("WHERE state = 6", ""), 1, "an index covers other rows");
    assert_eq!(with("('tenant', 0)", "('tenant', 1)"), 1, "a row has another value");

    let mut fewer = postgres.clone();
    fewer.get_mut("0010_replicas").expect("a step").pop();
    assert_eq!(disagreements(&sqlite, &fewer).len(), 1, "a statement is missing");
    fewer.remove("0010_replicas");
    assert_eq!(disagreements(&sqlite, &fewer).len(), 1, "a step is missing");
}

#[test]
fn comments_and_spaces_do_not_count_but_quoted_text_does() {
    let sql =
        "-- head; not a statement\nCREATE  TABLE a (b TEXT); -- tail\nINSERT INTO a VALUES ('x -- ; y');\n";
    assert_eq!(statements(sql), ["CREATE TABLE a (b TEXT)", "INSERT INTO a VALUES ('x -- ; y')"]);
    assert_eq!(replace_words("a BLOB, BLOBS, b_BLOB BLOB", "BLOB", "BYTEA"), "a BYTEA, BLOBS, b_BLOB BYTEA");
}
