//! The lists on the architecture page that tests keep true.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

/// The lines of the fenced block with this name on the architecture page.
///
/// # Errors
///
/// Fails where the page cannot be read or has no such block.
pub fn block(name: &str) -> Result<String> {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../ARCHITECTURE.md");
    let text = fs::read_to_string(&page).with_context(|| format!("cannot read {}", page.display()))?;
    find(&text, name).with_context(|| format!("{} has no block ```{name}", page.display()))
}

fn find(text: &str, name: &str) -> Option<String> {
    let begin = format!("\n```{name}\n");
    let rest = &text[text.find(&begin)? + begin.len()..];
    Some(rest[..rest.find("\n```")?].to_owned())
}

/// The layers of a package on the architecture page, the top one first. A folder that has a block
/// of its own (`layers PACKAGE/src/FOLDER`) stands with the layers inside it.
///
/// # Errors
///
/// Fails where the page cannot be read or has no layers of this package.
pub fn layers(package: &str) -> Result<Vec<Vec<String>>> {
    let mut layers = Vec::new();
    for line in block(&format!("layers {package}"))?.lines() {
        match block(&format!("layers {package}/src/{line}")) {
            Ok(inside) => layers.extend(inside.lines().map(|inner| names(inner, &format!("{line}/")))),
            Err(_) => layers.push(names(line, "")),
        }
    }
    Ok(layers)
}

fn names(line: &str, folder: &str) -> Vec<String> {
    line.split(", ").map(|name| format!("{folder}{name}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_is_found_by_its_whole_name() {
        let page = "# Page\n\n```layers a/src/b\nx\n```\n\n```layers a\none, two\nb\n```\n";
        assert_eq!(find(page, "layers a").as_deref(), Some("one, two\nb"));
        assert_eq!(find(page, "layers a/src/b").as_deref(), Some("x"));
        assert_eq!(find(page, "layers"), None);
        assert_eq!(names("one, two", "b/"), ["b/one", "b/two"]);
    }
}
