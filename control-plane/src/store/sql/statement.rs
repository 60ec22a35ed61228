//! Texts of statements with a number of rows that varies.

/// An INSERT of so many rows: `into`, then for each row the parameters up to `shared`, which all have, and `own` more of its own.
pub(crate) fn insert_many(into: &str, shared: usize, own: usize, rows: usize) -> String {
    let numbers = |from: usize, count: usize| (from..from + count).map(|number| format!("${number}"));
    let row = |row: usize| {
        let parameters: Vec<_> = numbers(1, shared).chain(numbers(1 + shared + row * own, own)).collect();
        format!("({})", parameters.join(", "))
    };
    format!("INSERT INTO {into} VALUES {}", (0..rows).map(row).collect::<Vec<_>>().join(", "))
}
