//! The inventories of the two engines hold the same statements. What one engine's tests happen to
//! send and the other's do not is missing from the other's inventory until a random test sends it.

use std::collections::BTreeSet;

use crate::statements::inventory;

/// A piece of a statement that each engine writes in its own way: how it begins, how it ends.
type Piece = (&'static str, &'static str);

const SQLITE: [(Piece, &str); 6] = [
    (("FROM (SELECT unhex(value) AS key FROM json_each(", "CROSS JOIN users ON "), "keys "),
    (("FROM (SELECT column1 ", "AS position) AS s"), "rows"),
    (("unhex('fe' || printf('%016x', users.user_no))", ""), "gone"),
    (("IN (SELECT value FROM json_each(", "))"), "in"),
    (("IN (SELECT unhex(value) FROM json_each(", "))"), "in"),
    ((" LIKE ", ""), " like "),
];

const POSTGRES: [(Piece, &str); 8] = [
    (("FROM UNNEST($2::BYTEA[]) AS k(key)", "FROM users WHERE "), "keys "),
    ((" LIMIT 1) AS users", ""), ""),
    (("FROM UNNEST($6::BIGINT[]", "AS position) AS s"), "rows"),
    (("decode('fe' || lpad(to_hex(users.user_no), 16, '0'), 'hex')", ""), "gone"),
    (("= ANY(", "[])"), "in"),
    ((" ILIKE ", ""), " like "),
    ((" FOR UPDATE", "$"), ""),
    ((" FOR SHARE", "$"), ""),
];

fn replaced(mut text: String, (begin, end): Piece, name: &str) -> String {
    let mut from = 0;
    while let Some(at) = text[from..].find(begin).map(|at| from + at) {
        let rest = at + begin.len();
        let end = match end {
            "$" => text.len(),
            end => rest + text[rest..].find(end).unwrap_or_else(|| panic!("no {end} in {text}")) + end.len(),
        };
        text.replace_range(at..end, name);
        from = at + name.len();
    }
    text
}

fn common(engine: &str, pieces: &[(Piece, &str)]) -> BTreeSet<String> {
    let of_one = |text: String| pieces.iter().fold(text, |text, (piece, name)| replaced(text, *piece, name));
    inventory(engine).into_iter().map(of_one).collect()
}

#[test]
fn both_engines_have_the_same_statements() {
    let sqlite = common("sqlite", &SQLITE);
    let postgres = common("postgres", &POSTGRES);
    let sqlite_alone: Vec<_> = sqlite.difference(&postgres).collect();
    let postgres_alone: Vec<_> = postgres.difference(&sqlite).collect();
    assert!(
        sqlite_alone.is_empty() && postgres_alone.is_empty(),
        "only in the inventory of sqlite: {sqlite_alone:#?}, only in that of postgres: {postgres_alone:#?}"
    );
}
