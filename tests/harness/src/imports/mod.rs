//! Reads which source files of a crate import which, for tests that guard a crate's architecture.
//!
//! An import runs from the file that uses a name to the file that defines it, also where a `mod.rs`
//! re-exports the name. A declaration (`mod x;`) is no import, nor is the re-export of a module's
//! own children. Code under `#[cfg(test)]` is left out.
//!
//! - `tokens`: source text to tokens, without comments and tests
//! - `source`: the modules, definitions, `use` trees and paths of one file
//! - `resolve`: a path to the module that defines its last name
//! - `graph`: circles and upward imports
//! - `page`: the layers on the architecture page

mod graph;
mod page;
mod resolve;
mod source;
mod tokens;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};

use self::resolve::{Crate, Target};
use self::source::Module;

pub use graph::{circles, folder_circles, unplaced, upward, without_faces};
pub use page::{block, layers};

/// For each file the files that it imports. Paths are relative to `src`: `link/session.rs`.
pub type Imports = BTreeMap<String, BTreeSet<String>>;

/// Reads the imports of every file that `lib.rs` and `main.rs` in this `src` folder lead to.
///
/// # Errors
///
/// Fails where a file or the package's name cannot be read, or a declared module has no file.
pub fn read(src: &Path) -> Result<Imports> {
    let name = package_name(&src.join("../Cargo.toml"))?;
    let mut library = Vec::new();
    add_file(src, "lib.rs", Vec::new(), &mut library)?;
    let mut imports = imports_of(&Crate::new(&name, &library), &library);
    if src.join("main.rs").is_file() {
        let mut binary = Vec::new();
        add_file(src, "main.rs", Vec::new(), &mut binary)?;
        // The binary sees its own modules under `crate` and the library under the package's name.
        let own = imports_of(&Crate::new("crate", &binary), &binary);
        let of_library = Crate::new(&name, &library);
        for module in &binary {
            let arrows = imports.entry(module.file.clone()).or_default();
            arrows.extend(own.get(&module.file).into_iter().flatten().cloned());
            arrows.extend(
                library_paths(module, &name).filter_map(|path| file_of(of_library.find(&[], &path)?)),
            );
        }
    }
    Ok(imports)
}

/// The package's name as paths in its code write it.
fn package_name(manifest: &Path) -> Result<String> {
    let text = fs::read_to_string(manifest).with_context(|| format!("cannot read {}", manifest.display()))?;
    let name = text.lines().find_map(|line| line.strip_prefix("name = \"")?.strip_suffix('"'));
    Ok(name.with_context(|| format!("no name in {}", manifest.display()))?.replace('-', "_"))
}

/// Adds the modules of this file and of the files that it declares.
fn add_file(src: &Path, file: &str, path: Vec<String>, modules: &mut Vec<Module>) -> Result<()> {
    ensure!(modules.len() < 10_000, "modules declare each other without end");
    let text = fs::read_to_string(src.join(file))
        .with_context(|| format!("cannot read {file} in {}", src.display()))?;
    let (found, declared) = source::parse(&text, file, path);
    modules.extend(found);
    for child in declared {
        let file = child.candidates.iter().find(|file| src.join(file).is_file());
        let file = file.with_context(|| format!("no file for the module {}", child.path.join("::")))?;
        add_file(src, file, child.path, modules)?;
    }
    Ok(())
}

fn imports_of(whole: &Crate<'_>, modules: &[Module]) -> Imports {
    let mut imports = Imports::new();
    for module in modules {
        let arrows = imports.entry(module.file.clone()).or_default();
        for import in &module.uses {
            match whole.find(&module.path, &import.path) {
                // A re-export of what lies below is the face of the module, not a need of it.
                Some(target) if import.is_public && target.module().starts_with(&module.path) => {}
                Some(Target::Module { file, .. }) if import.name.is_none() => {
                    _ = arrows.insert(file.to_owned())
                }
                Some(target) => arrows.extend(file_of(target)),
                None => {}
            }
        }
        arrows.extend(module.paths.iter().filter_map(|path| file_of(whole.find(&module.path, path)?)));
        arrows.remove(&module.file);
    }
    imports
}

/// The file of a name. A module alone is no import: the paths that go through it say what is used.
fn file_of(target: Target<'_>) -> Option<String> {
    match target {
        Target::Item { file, .. } => Some(file.to_owned()),
        Target::Module { .. } => None,
    }
}

/// The paths of a module of the binary that lead into the library, also through a `use`.
fn library_paths<'a>(module: &'a Module, name: &'a str) -> impl Iterator<Item = Vec<String>> + 'a {
    let whole = module.uses.iter().map(|import| import.path.clone());
    let through = module.paths.iter().map(|path| {
        let import = module.uses.iter().find(|import| import.name.as_ref() == path.first());
        import
            .map_or_else(|| path.clone(), |import| [&import.path, path.get(1..).unwrap_or_default()].concat())
    });
    whole.chain(through).filter(move |path| path.first().is_some_and(|first| first == name))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A crate `house` of these files, its imports as `file: imported files`.
    fn imports(files: &[(&str, &str)]) -> Vec<String> {
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(folder.path().join("Cargo.toml"), "[package]\nname = \"my-house\"\n").expect("a manifest");
        let src = folder.path().join("src");
        for (file, text) in files {
            fs::create_dir_all(src.join(file).parent().expect("a parent")).expect("a folder");
            fs::write(src.join(file), text).expect("a file");
        }
        let imports = read(&src).expect("imports");
        let arrows = imports.into_iter().filter(|(_, to)| !to.is_empty());
        arrows.map(|(from, to)| format!("{from}: {}", to.into_iter().collect::<Vec<_>>().join(" "))).collect()
    }

    const LIBRARY: (&str, &str) = ("lib.rs", "pub mod a;\npub mod b;\npub mod c;");

    #[test]
    fn nested_use_trees_name_each_file() {
        let found = imports(&[
            LIBRARY,
            (
                "a.rs",
                "use crate::{b::{One, two::{self, Two as Three}}, c};\nfn f() { c::call(); two::call() }",
            ),
            ("b/mod.rs", "mod one; pub mod two; pub use one::One;"),
            ("b/one.rs", "pub struct One;"),
            ("b/two.rs", "pub struct Two; pub fn call() {}"),
            ("c.rs", "pub fn call() {}"),
        ]);
        assert_eq!(found, ["a.rs: b/one.rs b/two.rs c.rs"]);
    }

    #[test]
    fn super_self_and_inline_paths_are_imports() {
        let found = imports(&[
            LIBRARY,
            (
                "a.rs",
                "pub fn f() -> Option<crate::b::two::Two> { <crate::c::C as Default>::default(); None }",
            ),
            ("b/mod.rs", "mod one; pub mod two; mod inner { use super::two::Two; }"),
            ("b/one.rs", "use super::two::Two; use super::super::c::{C as _};"),
            ("b/two.rs", "pub struct Two;"),
            ("c.rs", "pub struct C; fn f() { self::g(); C::new() } fn g() {}"),
        ]);
        assert_eq!(found, ["a.rs: b/two.rs c.rs", "b/mod.rs: b/two.rs", "b/one.rs: b/two.rs c.rs"]);
    }

    #[test]
    fn re_exports_lead_to_the_file_that_defines_the_name() {
        let found = imports(&[
            LIBRARY,
            ("a.rs", "use crate::b::{One, here, unknown}; use crate::b; fn f() { b::Renamed::new() }"),
            (
                "b/mod.rs",
                "mod one; mod two; pub(crate) use one::{One}; pub use self::two::*; pub use two::Two as Renamed;\n\
                 pub fn here() {}",
            ),
            ("b/one.rs", "use super::here;\npub struct One;"),
            ("b/two.rs", "pub struct Two;"),
            ("c.rs", "pub use crate::a::f;"),
        ]);
        assert_eq!(found, ["a.rs: b/mod.rs b/one.rs b/two.rs", "b/one.rs: b/mod.rs", "c.rs: a.rs"]);
    }

    #[test]
    fn declarations_tests_comments_and_strings_are_no_imports() {
        let found = imports(&[
            LIBRARY,
            (
                "a.rs",
                "// use crate::b::B;\n/* crate::b::B /* */ */ const A: &str = \"crate::b::B\";\n\
                 const R: &str = r#\"\"crate::b::B\"#;",
            ),
            (
                "b.rs",
                "pub struct B; #[cfg(test)] mod tests { use crate::c::C; }\n\
                 #[cfg(test)] #[path = \"b_tests.rs\"] mod more;",
            ),
            ("b_tests.rs", "use crate::c::C;"),
            (
                "c.rs",
                "pub(in crate::b) struct C; fn f<'a>(c: &'a char) -> bool { *c == '\"' }\n\
                 #[cfg(test)] use crate::a::A; fn g() { crate::b::B }",
            ),
        ]);
        assert_eq!(found, ["c.rs: b.rs"]);
    }

    #[test]
    fn a_shared_file_and_the_binary_are_read_too() {
        let found = imports(&[
            LIBRARY,
            ("a.rs", "#[path = \"shared.rs\"] mod shared; pub struct Engine;"),
            ("b.rs", "#[path = \"shared.rs\"] mod shared; pub struct Engine;"),
            ("shared.rs", "use super::Engine;"),
            ("c.rs", "pub fn run() {}"),
            ("main.rs", "use my_house::{a::Engine, c}; fn main() { c::run(); my_house::b::Engine; }"),
        ]);
        assert_eq!(found, ["main.rs: a.rs b.rs c.rs", "shared.rs: a.rs b.rs"]);
    }
}
