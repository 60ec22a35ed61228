//! What is wrong with the configuration, the policy or a file that they name.

use std::path::Path;

/// Everything that is wrong, one sentence each.
#[derive(Debug, thiserror::Error)]
#[error("{}", .0.join("\n"))]
pub struct ConfigError(pub Vec<String>);

/// Adds a mistake if the file that this key names cannot be read.
pub(crate) fn check_readable(mistakes: &mut Vec<String>, key: &str, path: &Path) {
    if let Err(error) = std::fs::File::open(path) {
        mistakes.push(format!("{key}: {}: {error}", path.display()));
    }
}
